/** Names and files of recordings, damaged: nothing is taken for ours that is not, and nothing of ours is lost. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { readFlacStream } from '../../services/processor/flac-file.ts';
import { BrokenRecording, guanoText, readWavFile } from '../../services/processor/wav-file.ts';
import { metadataChunks } from '../../services/recorder/metadata.ts';
import { salvageLeftovers } from '../../services/recorder/salvage.ts';
import {
  DERIVED_ENDINGS,
  formatDerivedName,
  formatSegmentName,
  isWorkspaceName,
  parseDerivedName,
  parseSegmentName,
  segmentDay,
  workspaceName,
} from '../../services/shared/contract.ts';
import { isDayName } from '../../services/shared/recordings.ts';
import { frameBytesOf, headerBytesOf, readWavFormat, type WavFormat, wavHeader } from '../../services/shared/wav.ts';
import { sampleRecorderConfig } from '../unit/recorder-sample.ts';
import { corpus, damagedBytes, damagedText, fuzz } from './fuzzing.ts';

const NAMES = corpus('segment-names').flatMap((text) => text.trim().split('\n'));

describe('names', () => {
  fuzz(
    'a segment: only what we would have written is read, and it is read as it was meant',
    damagedText(NAMES, 4096),
    (name) => {
      const segment = parseSegmentName(name);
      if (segment === null) return;
      expect(formatSegmentName(segment)).toBe(name);
      expect(name).not.toMatch(/[/\s]|\.\./);
      expect(isDayName(segmentDay(segment))).toBe(true);
      for (const ending of DERIVED_ENDINGS)
        expect(parseDerivedName(formatDerivedName(segment, ending))).toEqual({ segment, ending });
    },
  );

  const segments = fc.record({
    workspace: fc.tuple(fc.string(), fc.string()).map(([id, product]) => workspaceName(id, product)),
    startedAt: fc
      .date({ min: new Date('1970-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
      .map((date) => new Date(Math.floor(date.getTime() / 1000) * 1000)),
    run: fc.stringMatching(/^[0-9a-z]{1,16}$/),
    sequence: fc.integer({ min: 0, max: 999_999_999_999 }),
  });
  fuzz('a segment that is written is read as the same', segments, (segment) => {
    expect(parseSegmentName(formatSegmentName(segment))).toEqual(segment);
  });

  fuzz(
    'a workspace: any id and product make a name that leads nowhere else',
    fc.tuple(fc.string({ unit: 'binary' }), damagedText(['AudioMoth', 'Ümlaut / ..', ''])),
    ([id, product]) => {
      expect(isWorkspaceName(workspaceName(id, product))).toBe(true);
    },
  );

  fuzz('a day: only days that there are', damagedText(['2025-06-14', '2024-02-29', '1970-01-01'], 30), (name) => {
    if (isDayName(name)) expect(new Date(`${name}T00:00:00Z`).toISOString().slice(0, 10)).toBe(name);
  });
});

const FORMATS: WavFormat[] = [
  { rate: 48_000, channels: 1, bitsPerSample: 16 },
  { rate: 384_000, channels: 2, bitsPerSample: 24 },
  { rate: 96_000, channels: 8, bitsPerSample: 32 },
];

function wholeFile(format: WavFormat): Buffer {
  const frames = 20;
  const name = NAMES[0] ?? '';
  const facts = {
    ...{ name, startedAt: 1_749_870_900_000, startKnownTo: 'millisecond' as const, ...format, frames },
    ...{ clockSynchronised: true, clockSteps: [], gaps: [], salvaged: false },
  };
  const trailing = metadataChunks(facts, sampleRecorderConfig());
  const sound = Buffer.alloc(frames * frameBytesOf(format), 0x55);
  return Buffer.concat([wavHeader(format, sound.length, trailing.length), sound, trailing]);
}

const FILES = FORMATS.map(wholeFile);
const UNFINISHED = FORMATS.map((format) => Buffer.concat([wavHeader(format, 0), Buffer.alloc(500, 0x11)]));
const FLAC = Buffer.concat([
  Buffer.from('fLaC'),
  Buffer.from([0x80, 0, 0, 34]),
  Buffer.from('10001000000000000000', 'hex'),
  Buffer.from('0bb802f000002710', 'hex'),
  Buffer.alloc(16),
]);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-fuzz-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function withFile<T>(bytes: Uint8Array, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const path = join(folder, 'file');
  writeFileSync(path, bytes);
  const file = await open(path, 'r');
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

describe('headers', () => {
  fuzz(
    'of a recorder: what is read back is what would be written',
    damagedBytes([...FILES, ...UNFINISHED]),
    (bytes) => {
      const format = readWavFormat(bytes);
      if (format === null) return;
      const written = wavHeader(format, 0);
      expect(written.length).toBe(headerBytesOf(format));
      expect(bytes.subarray(8, written.length - 4).equals(written.subarray(8, written.length - 4))).toBe(true);
    },
  );

  fuzz('WAV: sound that lies within the file, or a recording that is broken', damagedBytes(FILES), async (bytes) => {
    await withFile(bytes, async (file) => {
      const wav = await readWavFile(file).catch((error: unknown) => {
        expect(error).toBeInstanceOf(BrokenRecording);
        return null;
      });
      if (wav === null) return;
      expect(wav.dataOffset + wav.dataBytes).toBeLessThanOrEqual(bytes.length);
      expect(wav.frames * ((wav.channels * wav.bitsPerSample) / 8)).toBeLessThanOrEqual(wav.dataBytes);
      expect(wav.frames).toBeGreaterThan(0);
      expect(wav.chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBeLessThanOrEqual(bytes.length);
      expect(guanoText(wav) ?? '').not.toContain('\0');
    });
  });

  fuzz('FLAC: a stream that there can be, or a recording that is broken', damagedBytes([FLAC]), async (bytes) => {
    await withFile(bytes, async (file) => {
      const stream = await readFlacStream(file).catch((error: unknown) => {
        expect(error).toBeInstanceOf(BrokenRecording);
        return null;
      });
      if (stream === null) return;
      expect(stream.rate > 0 && stream.rate < 2 ** 20).toBe(true);
      expect(stream.frames > 0 && stream.frames < 2 ** 36).toBe(true);
      expect(
        stream.channels >= 1 && stream.channels <= 8 && stream.bitsPerSample >= 1 && stream.bitsPerSample <= 32,
      ).toBe(true);
    });
  });
});

describe('what a killed recorder left', () => {
  const name = NAMES[0] ?? '';

  fuzz(
    'is published, stays where it is, or held no sound: nothing of it is lost',
    damagedBytes([...UNFINISHED, ...FILES]),
    async (bytes) => {
      const workspacePath = mkdtempSync(join(folder, 'workspace-'));
      mkdirSync(join(workspacePath, '.buffer'));
      mkdirSync(join(workspacePath, 'data/raw'), { recursive: true });
      const left = join(workspacePath, '.buffer', name);
      writeFileSync(left, bytes);
      const told: string[] = [];
      const log = (_level: string, message: string): void => void told.push(message);
      await salvageLeftovers({ workspacePath, config: sampleRecorderConfig(), isOpen: () => false, log });
      expect(told).toHaveLength(1);
      const published = readdirSync(workspacePath, { recursive: true }).filter((path) => String(path).endsWith('.wav'));
      const format = readWavFormat(bytes);
      const hasSound =
        format === null ? bytes.length >= 44 : bytes.length >= headerBytesOf(format) + frameBytesOf(format);
      expect(published).toHaveLength(hasSound ? 1 : 0);
      if (format !== null && hasSound) {
        // A second look changes nothing.
        expect(existsSync(left)).toBe(false);
        await salvageLeftovers({ workspacePath, config: sampleRecorderConfig(), isOpen: () => false, log });
        expect(told).toHaveLength(1);
        const file = await open(join(workspacePath, String(published[0])), 'r');
        const wav = await readWavFile(file).finally(() => file.close());
        expect(wav).toMatchObject(format);
        expect(wav.frames).toBeLessThanOrEqual((bytes.length - headerBytesOf(format)) / frameBytesOf(format));
      }
      rmSync(workspacePath, { recursive: true, force: true });
    },
  );
});
