/** The processor's parts that need neither SoX nor time. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readProcessorSettings } from '../../services/processor/config.ts';
import { workOn } from '../../services/processor/device.ts';
import { createFailures } from '../../services/processor/failures.ts';
import { createOverviewBuilder } from '../../services/processor/overview.ts';
import { type Situation, tell } from '../../services/processor/telling.ts';
import { BrokenRecording, guanoText, readWavFile } from '../../services/processor/wav-file.ts';
import {
  formatDerivedName,
  formatSegmentName,
  overviewSchema,
  parseDerivedName,
  processorConfigSchema,
} from '../../services/shared/contract.ts';
import { isDayName, type StoredSegment } from '../../services/shared/recordings.ts';
import { OAK, sampleWav, segmentAt } from './processor-place.ts';

const SEGMENT = segmentAt(OAK, '2026-05-01T04:05:06Z', 7);

describe('names', () => {
  it('of what is made of a segment differ from it in the ending', () => {
    expect(formatDerivedName(SEGMENT, 'png')).toBe(`${OAK}_20260501_040506_run1_000007.png`);
    expect(parseDerivedName(formatDerivedName(SEGMENT, 'json'))).toEqual({ segment: SEGMENT, ending: 'json' });
    expect(parseDerivedName(formatSegmentName(SEGMENT))).toBeNull();
  });

  it('are known whole or not at all (any text)', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const name of [text, `${text}.png`, `${formatDerivedName(SEGMENT, 'png')}${text}`]) {
          const parsed = parseDerivedName(name);
          if (parsed !== null) expect(formatDerivedName(parsed.segment, parsed.ending)).toBe(name);
        }
      }),
    );
  });

  it.each([
    ['2026-05-01', true],
    ['2026-02-30', false],
    ['2026-5-1', false],
    ['2026-05-01 ', false],
    ['..', false],
  ])('"%s" is a day: %s', (name, expected) => expect(isDayName(name)).toBe(expected));
});

describe('the overview', () => {
  const bytesOf = (samples: readonly number[]) => {
    const bytes = Buffer.alloc(samples.length * 4);
    for (const [index, sample] of samples.entries()) bytes.writeInt32LE(sample, index * 4);
    return bytes;
  };

  it('holds the lowest and highest of each stretch, wherever the sound was cut (any sound)', () => {
    const frame = fc.tuple(fc.integer(), fc.integer());
    fc.assert(
      fc.property(
        fc.array(frame, { minLength: 1, maxLength: 3000 }),
        fc.integer({ min: 1, max: 999 }),
        (frames, cut) => {
          const builder = createOverviewBuilder({ rate: 48_000, channels: 2, frames: frames.length });
          const bytes = bytesOf(frames.flat());
          for (let offset = 0; offset < bytes.length; offset += cut) builder.add(bytes.subarray(offset, offset + cut));
          const overview = overviewSchema.parse(builder.finish());
          const points = Math.min(1000, frames.length);
          const expected = Array.from({ length: points }, (_, point) =>
            frames
              .slice(Math.floor((point * frames.length) / points), Math.floor(((point + 1) * frames.length) / points))
              .flat(),
          );
          expect(overview.minimum).toEqual(expected.map((samples) => Math.min(...samples) >> 16));
          expect(overview.maximum).toEqual(expected.map((samples) => Math.max(...samples) >> 16));
        },
      ),
      { numRuns: 30 },
    );
  });

  it.each([
    [[0, 0], 0],
    [[1 << 16, -(1 << 20)], 16],
    [[1 << 8], 24],
    [[-1], 32],
    [[-(2 ** 31)], 1],
  ])('%j uses %i bits', (samples, bits) => {
    const builder = createOverviewBuilder({ rate: 1, channels: 1, frames: samples.length });
    builder.add(bytesOf(samples));
    expect(builder.finish().usedBits).toBe(bits);
  });

  it('is none of sound that is shorter or longer than its head says', () => {
    const builder = createOverviewBuilder({ rate: 1, channels: 1, frames: 2 });
    builder.add(bytesOf([1]));
    expect(() => builder.finish()).toThrow('1 frames where its head tells of 2');
    expect(() => builder.add(bytesOf([1, 2]))).toThrow('more than the 2 frames');
  });
});

describe('a WAV file', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'silvasonic-wav-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const read = async (content: Buffer) => {
    writeFileSync(join(folder, 'file'), content);
    const file = await open(join(folder, 'file'));
    try {
      return await readWavFile(file);
    } finally {
      await file.close();
    }
  };
  const SOUND = { rate: 96_000, channels: 2, bitsPerSample: 24 as const, seconds: 0.01 };

  it('tells where its samples are, and what was written about them', async () => {
    const wav = await read(sampleWav({ ...SOUND, after: [['guan', 'Make:Oak\n\0\x07Model:Ü']] }));
    expect(wav).toMatchObject({ rate: 96_000, channels: 2, bitsPerSample: 24, frames: 960, dataBytes: 5760 });
    expect(guanoText(wav)).toBe('Make:Oak\nModel:Ü');
    expect(guanoText(await read(sampleWav(SOUND)))).toBeNull();
  });

  it('that is cut off anywhere, or changed anywhere, is read or called broken (any damage)', async () => {
    const whole = sampleWav(SOUND);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length), fc.nat(80), fc.nat(255), async (length, position, value) => {
        const damaged = Buffer.from(whole.subarray(0, length));
        if (position < damaged.length) damaged[position] = value;
        const outcome = await read(damaged).catch((error: unknown) => error);
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(BrokenRecording);
      }),
    );
    await expect(read(whole.subarray(0, 1000))).rejects.toThrow('its end is missing');
    await expect(read(whole.subarray(0, 20))).rejects.toThrow(BrokenRecording);
  });
});

describe('what is to be done', () => {
  const file = { bytes: 1, diskBytes: 1 };
  const copies = { flac: file, png: file, json: file };
  const stored = (changes: Partial<StoredSegment>): StoredSegment => ({
    segment: SEGMENT,
    wav: file,
    archive: null,
    copies,
    ...changes,
  });
  const rules = (archive: 'wav' | 'flac', removedUntilMs: number | null = null) => ({
    processing: { gainDb: 0, highPassHz: 0, archive },
    removedUntilMs,
  });
  const atMs = SEGMENT.startedAt.getTime();

  it.each([
    ['all is there', stored({}), rules('wav'), { copies: false, archive: false }],
    [
      'one copy is missing',
      stored({ copies: { ...copies, png: null } }),
      rules('wav'),
      { copies: true, archive: false },
    ],
    [
      'copies had to go',
      stored({ copies: { ...copies, png: null } }),
      rules('wav', atMs),
      { copies: false, archive: false },
    ],
    [
      'older ones had to go',
      stored({ copies: { ...copies, png: null } }),
      rules('wav', atMs - 1),
      { copies: true, archive: false },
    ],
    ['FLAC is wished', stored({}), rules('flac'), { copies: false, archive: true }],
    ['FLAC is there', stored({ wav: null, archive: file }), rules('flac'), { copies: false, archive: false }],
    ['both are there', stored({ archive: file }), rules('wav'), { copies: false, archive: true }],
    [
      'the recording is gone',
      stored({ wav: null, copies: { ...copies, png: null } }),
      rules('flac'),
      { copies: false, archive: false },
    ],
  ])('%s', (_, segment, given, expected) => expect(workOn(segment, given)).toEqual(expected));
});

describe('failures', () => {
  it('of the recording are final, those of the machine are tried again until others succeed', () => {
    const failures = createFailures();
    expect(failures.note('a', new BrokenRecording('it holds no sound'), 0)).toBe(true);
    expect(failures.broken()).toEqual([['a', 'it holds no sound']]);
    for (let attempt = 0; attempt < 9; attempt += 1) expect(failures.note('b', new Error('x'), 5)).toBe(false);
    expect(failures.isDoubtful('b')).toBe(true);
    expect(failures.note('b', new Error('x'), 6)).toBe(true);
    expect(failures.isLeft('b')).toBe(true);
  });
});

describe('what is told', () => {
  const disk = { freeBytes: 9e9, totalBytes: 64e9, reserveBytes: 4e9, growthBytesPerDay: 1e9, fullInDays: 40.7 };
  const fine: Situation = { retention: 'keep', disk, isPressed: false, isFull: false, trouble: null, backlog: 0 };

  it.each([
    ['idle', 'Fine', fine, 'Every recording has its copies. Full in 40 days at 1.0 GB a day.'],
    ['working', 'Fine', { ...fine, backlog: 1 }, '1 recording waits for copies. Full in 40 days'],
    ['idle', 'FullSoon', { ...fine, disk: { ...disk, fullInDays: 1.2 } }, 'Full in 1 day at 1.0 GB a day: exchange'],
    ['paused', 'LittleRoom', { ...fine, isPressed: true }, 'recording goes on'],
    ['full', 'DiskFull', { ...fine, isPressed: true, isFull: true }, 'let the oldest be overwritten'],
    [
      'full',
      'DiskFull',
      { ...fine, retention: 'overwrite' as const, isFull: true },
      'remove what else is on that disk',
    ],
    [
      'retrying',
      'Trouble',
      { ...fine, trouble: 'x cannot be used (EIO)' },
      'x cannot be used (EIO). It is tried again.',
    ],
  ])('%s, %s', (state, reason, situation, words) => {
    expect(tell(situation)).toMatchObject({ state, reason });
    expect(tell(situation).message).toContain(words);
  });
});

describe('the configuration', () => {
  it('may be left out', () => {
    const outcome = readProcessorSettings({});
    expect(outcome.ok && outcome.value).toMatchObject({
      config: processorConfigSchema.parse({}),
      recordingsPath: '/app/recordings',
      runPath: '/run/silvasonic',
    });
  });

  it('of any shape is taken or refused in a sentence', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const outcome = readProcessorSettings({ SILVASONIC_PROCESSOR_CONFIG_JSON: text });
        expect(outcome.ok || outcome.message.includes('SILVASONIC_PROCESSOR_CONFIG_JSON')).toBe(true);
      }),
    );
  });

  it('that is wrong is told at once, all of it', () => {
    const outcome = readProcessorSettings({
      SILVASONIC_PROCESSOR_RECORDINGS: 'recordings',
      SILVASONIC_PROCESSOR_CONFIG_JSON: '{"retention":"shred","processing":{"gainDb":99}}',
    });
    for (const words of [
      'RECORDINGS was given "recordings"',
      'field retention',
      'field processing.gainDb was given "99"',
    ]) {
      expect(!outcome.ok && outcome.message).toContain(words);
    }
  });
});
