/** What the fuzz tests found once, each as its smallest case. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatLastGood, parseLastGood } from '../../services/controller/last-good.ts';
import { createMicrophoneSource } from '../../services/controller/microphones.ts';
import { createFrameReader } from '../../services/controller/podman-logs.ts';
import { createDesiredParser, parseAnswer } from '../../services/controller/store-rows.ts';
import { cleanSerial } from '../../services/controller/usb-identity.ts';
import type { EngineLogLine } from '../../services/controller/world.ts';
import { readProcessorSettings } from '../../services/processor/config.ts';
import { createArecordMessages } from '../../services/recorder/arecord-messages.ts';
import { readRecorderSettings } from '../../services/recorder/config.ts';
import { describeHolder } from '../../services/recorder/holder.ts';
import { createClock } from '../../services/shared/clock.ts';
import { negotiate } from '../../services/shared/negotiate.ts';
import { parseProfileYaml } from '../../services/shared/profile.ts';
import { quietLog } from './in-memory-world.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from './recorder-sample.ts';
import { desiredState, deviceRow, profileConfig } from './sample-world.ts';

/** As text: as a value it could not be written down again. */
const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

describe('rows of the database', () => {
  const service = {
    ...{ name: 'processor', enabled: true, restart_token: '', generation: 1, observed_generation: 0 },
    ...{ phase: 'running', reason: '', message: '' },
  };
  const read = (config: string, settings: string) => {
    const row = JSON.stringify(service).replace(/}$/, `,"settings":${settings}}`);
    return createDesiredParser()(parseAnswer({ schema_at: null, config, profiles: [], devices: [], services: [row] }));
  };

  test("a service's settings without end are no settings, and the state can still be kept", () => {
    const state = read('{}', nested(8000));
    expect(state.services[0]?.settings).toBeTypeOf('string');
    expect(parseLastGood(formatLastGood(state))).toMatchObject({ ok: true });
    expect(read('{}', nested(8)).services[0]?.settings).toEqual(JSON.parse(nested(8)));
  });

  test('a setting of the station without end is named and costs nothing but itself', () => {
    const { config, problems } = read(`{"position":${nested(8000)}}`, '{}');
    expect(config.position).toBeNull();
    expect(problems).toMatchObject([expect.stringContaining('system_config.position')]);
  });
});

test('a moment that no calendar has is refused in the last good state: it could not be written to a database', () => {
  const state = desiredState({ devices: [deviceRow('a', { firstSeenAt: 1e300 })] });
  expect(parseLastGood(formatLastGood(state))).toMatchObject({
    ok: false,
    message: expect.stringContaining('firstSeenAt'),
  });
});

test('a last good state that is no JSON is quoted without what a terminal obeys', () => {
  expect(parseLastGood('\u001b[31m')).toMatchObject({ ok: false, message: expect.stringMatching(/^\P{Cc}+$/u) });
});

describe('who holds a microphone', () => {
  test('calls itself what it likes, and forges neither line nor terminal', () => {
    const folder = mkdtempSync(join(tmpdir(), 'silvasonic-holder-'));
    try {
      mkdirSync(join(folder, 'asound/card1/pcm0c/sub0'), { recursive: true });
      mkdirSync(join(folder, '4711'));
      writeFileSync(join(folder, 'asound/card1/pcm0c/sub0/status'), 'state: RUNNING\nowner_pid   : 4711\n');
      writeFileSync(join(folder, '4711/comm'), 'a\n\u001b[2Jb\n');
      expect(describeHolder('hw:1,0', folder)).toBe('It is a  [2Jb (process 4711).');
      const source = createMicrophoneSource({ pollMs: 250, clock: createClock(), log: quietLog, procRoot: folder });
      const sound = { card: 1, device: 0, hw: 'hw:1,0', usbDevice: '', nodes: [], capabilities: { offers: [] } };
      expect(source.holder(sound)).toBe('a [2Jb (process 4711)');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('arecord', () => {
  const messages = () => createArecordMessages({ device: 'hw:1,0', rate: 48_000, channels: 1, format: 'S16_LE' });

  test('numbers that are none are not counted with', () => {
    expect(messages().line('overrun!!! (at least 1.2.3 ms long)')).toEqual({ kind: 'overrun', lostMs: 0 });
    const one = messages();
    one.line('Its setup is:');
    expect(one.line(`  buffer_size  : ${'9'.repeat(400)}`)).toBeNull();
    one.line('overrun!!! (at least 1.5 ms long)');
    expect(one.line(`  avail       : ${'9'.repeat(400)}`)).toBeNull();
  });

  test('a line without end is told by its beginning', () => {
    const one = messages();
    one.line(`arecord: main:1: ${'x'.repeat(100_000)}`);
    expect(one.end(1, null).message.length).toBeLessThan(500);
  });
});

test('what the YAML library quotes of a document is told without what a terminal obeys, and in short', () => {
  const outcome = parseProfileYaml(`|x\u001b[31m${'y'.repeat(1000)}`, 'mine.yml');
  expect(outcome.ok ? '' : outcome.message).toMatch(/^mine\.yml: is not valid YAML: \P{Cc}{1,250}$/u);
});

test("a log line's time that no calendar has is none", () => {
  const content = Buffer.from('2025-13-45T99:99:99Z text\n');
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, content.length]);
  const lines: EngineLogLine[] = [];
  createFrameReader((line) => lines.push(line)).read(Buffer.concat([head, content]));
  expect(lines).toEqual([{ timestamp: '', stream: 'stdout', text: '2025-13-45T99:99:99Z text' }]);
});

test('a device that offers thousands of rates is told of in a sentence that can be read', () => {
  const values = Array.from({ length: 4000 }, (_, index) => 8000 + index);
  const offers = [{ format: 'S16_LE', channels: 1, rates: { kind: 'list' as const, values } }];
  const outcome = negotiate(profileConfig(), { offers }, { rate: 96_000 });
  const messages = outcome.ok ? outcome.warnings.map(({ message }) => message) : [];
  expect(messages).toHaveLength(1);
  expect(messages[0]).toMatch(/8000, 8001, .*…/);
  expect(messages[0]?.length).toBeLessThan(500);
});

test('what stands behind the rate of an AudioMoth is its serial, without white space', () => {
  expect(cleanSerial('0384_ 24F3', '16d0', '06f3')).toBe('24F3');
  expect(cleanSerial('0384_ ', '16d0', '06f3')).toBeNull();
});

test('what stands in the environment forges no line of a log, and is told in short', () => {
  const recorder = { ...sampleRecorderEnvironment(), SILVASONIC_RECORDER_DEVICE: 'hw:1\n\u001b[31m' };
  expect(readRecorderSettings(recorder)).toMatchObject({
    ok: false,
    message: expect.stringContaining('"hw:1\\n\\u001b[31m"'),
  });
  const field = sampleRecorderEnvironment({ ...sampleRecorderConfig(), ['x'.repeat(50_000)]: 1 });
  const outcome = readRecorderSettings(field);
  expect(outcome.ok ? '' : outcome.message.length).toBeLessThan(1000);
  const processor = readProcessorSettings({ SILVASONIC_PROCESSOR_CONFIG_JSON: '\u001b[31m' });
  expect(processor).toMatchObject({ ok: false, message: expect.stringContaining('"\\u001b[31m"') });
});
