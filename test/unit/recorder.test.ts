/** What a recorder reads: its environment, and the words of `arecord`. */
import { describe, expect, it } from 'vitest';
import { createArecordMessages } from '../../services/recorder/arecord-messages.ts';
import { readRecorderSettings } from '../../services/recorder/config.ts';
import { hasRoom } from '../../services/recorder/folders.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from './recorder-sample.ts';

describe('the environment', () => {
  it('is taken as given, folders by default those of the container', () => {
    const outcome = readRecorderSettings({ ...sampleRecorderEnvironment(), PATH: '/bin' });
    expect(outcome).toEqual({
      ok: true,
      value: {
        device: 'virtual',
        usbDevice: null,
        profileSlug: 'audiomoth',
        instanceId: 'recorder-1',
        config: sampleRecorderConfig(),
        workspacePath: '/app/workspace',
        runPath: '/run/silvasonic',
        childEnvironment: expect.objectContaining({ PATH: '/bin', LC_ALL: 'C' }),
      },
    });
  });

  it.each(['-', '0', `-${'z'.repeat(59)}`])('any slug that the database takes is one: %s', (slug) => {
    const outcome = readRecorderSettings({ ...sampleRecorderEnvironment(), SILVASONIC_RECORDER_PROFILE_SLUG: slug });
    expect(outcome).toMatchObject({ ok: true, value: { profileSlug: slug } });
  });

  it.each([
    [{ SILVASONIC_RECORDER_DEVICE: 'default' }, 'SILVASONIC_RECORDER_DEVICE was given "default", allowed: hw:'],
    [{ SILVASONIC_RECORDER_DEVICE: undefined }, 'SILVASONIC_RECORDER_DEVICE was given nothing, allowed: hw:'],
    [{ SILVASONIC_RECORDER_DEVICE: 'hw:1,0 -v' }, 'SILVASONIC_RECORDER_DEVICE was given "hw:1,0 -v"'],
    [{ SILVASONIC_RECORDER_PROFILE_SLUG: 'A B' }, 'SILVASONIC_RECORDER_PROFILE_SLUG was given "A B", allowed: 1 to 60'],
    [{ SILVASONIC_INSTANCE_ID: '' }, 'SILVASONIC_INSTANCE_ID was given "", allowed: 1 to 200'],
    [{ SILVASONIC_RECORDER_WORKSPACE: 'data' }, 'SILVASONIC_RECORDER_WORKSPACE was given "data", allowed: an absolute'],
    [{ SILVASONIC_RECORDER_RUN: 'run' }, 'SILVASONIC_RECORDER_RUN was given "run", allowed: an absolute'],
    [
      { SILVASONIC_RECORDER_CONFIG_JSON: '{' },
      'SILVASONIC_RECORDER_CONFIG_JSON was given "{", allowed: one JSON object',
    ],
    [{ SILVASONIC_RECORDER_CONFIG_JSON: undefined }, 'SILVASONIC_RECORDER_CONFIG_JSON was given nothing'],
  ])('is refused where it is wrong: %o', (changes, expected) => {
    expect(refusal({ ...sampleRecorderEnvironment(), ...changes })).toContain(expected);
  });

  it.each([
    [{ ...sampleRecorderConfig(), rate: 12 }, /CONFIG_JSON field rate was given "12", allowed: .*4000/],
    [{ ...sampleRecorderConfig(), format: 'U8' }, /CONFIG_JSON field format was given "U8", allowed: .*S16_LE/],
    [{ ...sampleRecorderConfig(), extra: 1 }, /CONFIG_JSON field extra was given "1", allowed: only the fields rate/],
    [
      sampleRecorderConfig({ microphone: { ...sampleRecorderConfig().microphone, workspace: '../etc' } }),
      /field microphone.workspace was given "..\/etc", allowed: .*hexadecimal/,
    ],
  ])('is refused where a field of the configuration is wrong', (config, expected) => {
    expect(refusal(sampleRecorderEnvironment(config))).toMatch(expected);
  });

  it('names all that is wrong at once', () => {
    const told = refusal({
      ...sampleRecorderEnvironment({ ...sampleRecorderConfig(), rate: 1, channels: 0 }),
      SILVASONIC_INSTANCE_ID: '',
    });
    for (const name of ['SILVASONIC_INSTANCE_ID', 'field rate', 'field channels']) expect(told).toContain(name);
  });
});

describe('the words of arecord', () => {
  const request = { device: 'hw:7,0', rate: 384_000, channels: 1, format: 'S16_LE' } as const;

  it.each([
    ['arecord: main:831: audio open error: No such file or directory', 10],
    ['arecord: main:831: audio open error: No such device', 10],
    ['arecord: pcm_read:2221: read error: No such device', 10],
    ['arecord: main:831: audio open error: Device or resource busy', 11],
    ['arecord: main:831: audio open error: Permission denied', 12],
    ['arecord: main:831: audio open error: Operation not permitted', 12],
    ['arecord: set_params:1352: Sample format non available', 13],
    ['arecord: set_params:1362: Channels count non available', 13],
    ['arecord: set_params:1339: Broken configuration for this PCM: no configurations available', 13],
    ['arecord: set_params:1449: Unable to install hw params:', 13],
    ['arecord: pcm_read:2221: read error: Input/output error', 1],
  ])('%s → %i', (line, exitCode) => {
    const messages = createArecordMessages(request);
    expect(messages.line('ALSA lib confmisc.c:165:(snd_config_get_card) Cannot get card index for 7')).toBeNull();
    expect(messages.line(line)).toBeNull();
    const end = messages.end(1, null);
    expect(end.exitCode).toBe(exitCode);
    expect(end.message).toContain('hw:7,0');
  });

  it('that it never said: a crash, with the signal', () => {
    expect(createArecordMessages(request).end(null, 'SIGSEGV')).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('SIGSEGV'),
    });
  });

  it('"rate is not accurate" means that the format is refused', () => {
    const line = 'Warning: rate is not accurate (requested = 384000Hz, got = 48000Hz)';
    expect(createArecordMessages(request).line(line)).toMatchObject({
      kind: 'refused',
      end: { exitCode: 13, message: expect.stringMatching(/384000 Hz.*48000 Hz/) },
    });
  });

  it('a setup other than asked for is refused, also where arecord finds it near enough', () => {
    const tell = (lines: string[]) => {
      const messages = createArecordMessages(request);
      return lines.map(messages.line).find((event) => event !== null) ?? null;
    };
    const setup = (rate: number, channels: number, format: string) => [
      'Its setup is:',
      '  stream       : CAPTURE',
      `  format       : ${format}`,
      `  channels     : ${channels}`,
      `  rate         : ${rate}`,
      `  exact rate   : ${rate} (${rate}/1)`,
    ];
    expect(tell([...setup(384_000, 1, 'S16_LE'), 'Slave: Hardware PCM', ...setup(44_100, 2, 'S32_LE')])).toBeNull();
    expect(tell(setup(375_000, 1, 'S16_LE'))).toMatchObject({ kind: 'refused', end: { exitCode: 13 } });
    expect(tell(setup(384_000, 2, 'S16_LE'))).toMatchObject({ kind: 'refused' });
    expect(tell(setup(384_000, 1, 'S32_LE'))).toMatchObject({ kind: 'refused' });
  });

  it('an overrun is told with what it cost', () => {
    const { line } = createArecordMessages(request);
    expect(line('overrun!!! (at least 12.500 ms long)')).toEqual({ kind: 'overrun', lostMs: 12.5 });
    expect(line('overrun!!! (at least -1838.501 ms long)')).toEqual({ kind: 'overrun', lostMs: 0 });
  });
});

describe('the disk reserve', () => {
  it('ends writing below it, and needs a margin above it before writing goes on', () => {
    const reserve = { reserveBytes: 1000, marginBytes: 100 };
    expect([999, 1000].map((free) => hasRoom(free, true, reserve))).toEqual([false, true]);
    expect([1099, 1100].map((free) => hasRoom(free, false, reserve))).toEqual([false, true]);
  });
});

function refusal(environment: Record<string, string | undefined>): string {
  const outcome = readRecorderSettings(environment);
  if (outcome.ok) throw new Error('this environment should have been refused');
  return outcome.message;
}
