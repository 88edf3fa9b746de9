/** The small parts of a recorder: names and metadata of its files, what arecord tells of buffers, who holds, who begins anew. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createArecordMessages } from '../../services/recorder/arecord-messages.ts';
import { describeHolder } from '../../services/recorder/holder.ts';
import { metadataChunks, type SegmentFacts } from '../../services/recorder/metadata.ts';
import { createRestartingSource } from '../../services/recorder/restarting-source.ts';
import type { CaptureEnd, CaptureSink } from '../../services/recorder/source.ts';
import { formatSegmentName, parseSegmentName, recorderStatusSchema } from '../../services/shared/contract.ts';
import { sampleRecorderConfig } from './recorder-sample.ts';

describe('the name of a segment', () => {
  const segment = { workspace: 'oak-0a1b2c3d', startedAt: new Date('2026-05-01T03:04:05Z'), run: 'r1', sequence: 7 };

  it.each([
    [segment, 'oak-0a1b2c3d_20260501_030405_r1_000007.wav'],
    [{ ...segment, salvaged: true as const }, 'oak-0a1b2c3d_20260501_030405_r1_000007_salvaged.wav'],
  ])('is made and read back: %o', (given, name) => {
    expect(formatSegmentName(given)).toBe(name);
    expect(parseSegmentName(name)).toEqual(given);
  });

  it.each([
    'oak-0a1b2c3d_20260501_030405_r1_000007_saved.wav',
    'oak-0a1b2c3d_20260501_030405_r1_000007_salvaged_salvaged.wav',
    'oak-0a1b2c3d_20260501_030405_r1_0000007.wav',
    'oak-0a1b2c3d_20260231_030405_r1_000007.wav',
    '../oak-0a1b2c3d_20260501_030405_r1_000007.wav',
  ])('is nobody else’s: %s', (name) => {
    expect(parseSegmentName(name)).toBeNull();
  });
});

describe('the status', () => {
  it('of an earlier recorder, which does not tell all that this one does, is read', () => {
    const earlier = {
      ...{
        schema: 1,
        run: 'a1',
        state: 'recording',
        reason: 'Capturing',
        message: '',
        frames: 1,
        rate: 1,
        channels: 1,
      },
      ...{ format: 'S16_LE', levels: [], silent: false, overruns: 0, lostFrames: 0, lastSegment: null, at: 1 },
    };
    expect(recorderStatusSchema.parse(earlier)).toEqual(earlier);
  });
});

describe('metadata', () => {
  const facts: SegmentFacts = {
    ...{ name: 'a.wav', startedAt: Date.UTC(2026, 4, 1, 3, 4, 5, 678), startKnownTo: 'millisecond', rate: 48_000 },
    ...{ channels: 1, bitsPerSample: 16, frames: 24_000, clockSynchronised: null, salvaged: false },
    clockSteps: [{ at: Date.UTC(2026, 4, 1), seconds: -3600 }],
    gaps: Array.from({ length: 60 }, () => ({ at: Date.UTC(2026, 4, 1), frames: 10, cause: 'overrun' as const })),
  };

  it('keeps to even places, whatever the texts are, and one line per field', () => {
    for (const name of ['', 'x', 'xy', 'é\r\nMake: Other', '\0\u0007']) {
      const config = sampleRecorderConfig({ microphone: { ...sampleRecorderConfig().microphone, name } });
      const chunks = metadataChunks(facts, config);
      const listBytes = chunks.readUInt32LE(4);
      expect(listBytes % 2).toBe(0);
      expect(chunks.toString('latin1', 8 + listBytes, 12 + listBytes)).toBe('guan');
      expect(8 + listBytes + 8 + chunks.readUInt32LE(12 + listBytes)).toBe(chunks.length);
      expect(chunks.length % 2).toBe(0);
      const guano = chunks.toString('utf8', 16 + listBytes);
      expect(guano.match(/^Make: /gm)).toHaveLength(1);
      expect(guano).toContain('Timestamp: 2026-05-01T03:04:05.678Z\n');
      expect(guano).toContain('Length: 0.500000\n');
      expect(guano).toContain('Silvasonic|Lost Frames: 600\n');
      expect(guano).toContain('and 10 more\n');
      expect(guano).toContain('Silvasonic|Clock Steps: 2026-05-01T00:00:00.000Z -3600 s\n');
    }
  });

  it('of a salvaged file says what is not known', () => {
    const chunks = metadataChunks({ ...facts, salvaged: true, startKnownTo: 'second' }, sampleRecorderConfig());
    expect(chunks.toString()).toContain('Timestamp: 2026-05-01T03:04:05Z\n');
    expect(chunks.toString()).toContain('Silvasonic|Salvaged: yes');
    expect(chunks.toString()).toContain('Silvasonic|Clock Synchronised: unknown');
  });
});

describe('arecord tells', () => {
  it('the buffer that was granted, and what an overrun cost: what came since, and what lay in the buffer', () => {
    const { line } = createArecordMessages({ device: 'hw:1,0', rate: 48_000, channels: 1, format: 'S16_LE' });
    const said = [
      'Hardware PCM card 1 "AudioMoth" device 0 subdevice 0',
      'Its setup is:',
      '  buffer_size  : 524288',
      '  avail        : 77',
      'overrun!!! (at least 1234.567 ms long)',
      'Status:',
      '  state       : XRUN',
      '  trigger_time: 77.5',
      '  delay       : 0',
      '  avail       : 524300',
      '  avail_max   : 524300',
    ];
    expect(said.map(line).filter((event) => event !== null)).toEqual([
      { kind: 'buffer', frames: 524_288 },
      { kind: 'overrun', lostMs: 1234.567 },
      { kind: 'discarded', frames: 524_300 },
    ]);
  });
});

describe('who holds a busy microphone', () => {
  it('is named as far as it can be seen', async () => {
    const procPath = await mkdtemp(join(tmpdir(), 'silvasonic-proc-'));
    try {
      expect(describeHolder('hw:1,0', procPath)).toBe('Which one cannot be seen from here.');
      const folder = join(procPath, 'asound/card1/pcm0c/sub0');
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'status'), 'state: RUNNING\nowner_pid   : 812\n');
      expect(describeHolder('hw:1,0', procPath)).toBe('It is process 812 of this computer.');
      await mkdir(join(procPath, '812'));
      await writeFile(join(procPath, '812/comm'), 'pulseaudio\n');
      expect(describeHolder('hw:1,0', procPath)).toBe('It is pulseaudio (process 812).');
      expect(describeHolder('hw:2,0', procPath)).toBe('Which one cannot be seen from here.');
    } finally {
      await rm(procPath, { recursive: true });
    }
  });
});

describe('a source that is begun anew', () => {
  afterEach(() => void vi.useRealTimers());

  /** Its sources do what `script` says of each, the last for ever. */
  function begin(script: ((sink: CaptureSink) => void)[]) {
    vi.useFakeTimers();
    const told: string[] = [];
    let begun = 0;
    let stops = 0;
    const source = createRestartingSource(
      () => ({
        start: (sink) => script[Math.min(begun++, script.length - 1)]?.(sink),
        async stop() {
          stops += 1;
        },
      }),
      { delaysMs: [0, 100, 200], stallLooks: 3, goodLooks: 5, lookIntervalMs: 1000 },
    );
    source.start({
      opened: () => told.push('opened'),
      frames: () => told.push('frames'),
      lost: () => told.push('lost'),
      retrying: (end) => told.push(`retrying ${end.reason}`),
      ended: (end) => told.push(`ended ${end.reason}`),
    });
    return { source, told, begun: () => begun, stops: () => stops };
  }
  const end = (exitCode: CaptureEnd['exitCode'], reason: string) => ({ exitCode, reason, message: `${reason}.` });
  const crash = (sink: CaptureSink) => sink.ended(end(1, 'CaptureFailed'));

  it('gives up after as many attempts as are allowed', async () => {
    const { told, begun } = begin([crash]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(begun()).toBe(4);
    expect(told).toEqual([...Array(3).fill('retrying CaptureFailed'), 'ended CaptureFailed']);
  });

  it('does not begin anew what only others can mend', async () => {
    const { told, begun } = begin([(sink) => sink.ended(end(10, 'MicrophoneGone'))]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([begun(), told]).toEqual([1, ['ended MicrophoneGone']]);
  });

  it('ends one that delivers nothing, and forgives after good running', async () => {
    let deliver: NodeJS.Timeout | undefined;
    const sing = (sink: CaptureSink) => {
      deliver = setInterval(() => sink.frames(Buffer.alloc(2)), 500);
    };
    const { told, stops, source } = begin([crash, crash, crash, sing, () => {}, sing]);
    await vi.advanceTimersByTimeAsync(7000);
    clearInterval(deliver);
    await vi.advanceTimersByTimeAsync(4000);
    expect(stops()).toBe(1);
    expect(told.filter((word) => word !== 'frames')).toEqual([
      ...Array(3).fill('retrying CaptureFailed'),
      'retrying CaptureStalled',
    ]);
    await source.stop();
    clearInterval(deliver);
  });
});
