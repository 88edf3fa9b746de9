/** A folder of recordings on a real disk, for the processor's tests. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  DERIVED_ENDINGS,
  formatDerivedName,
  formatSegmentName,
  type SegmentName,
  segmentDay,
} from '../../services/shared/contract.ts';
import { type WavFormat, wavHeader } from '../../services/shared/wav.ts';

export const OAK = 'oak-0a1b2c3d';
export const POND = 'pond-11223344';

export interface ProcessorPlace {
  path: string;
  recordingsPath: string;
  runPath: string;
  remove(): void;
}

export function makeProcessorPlace(): ProcessorPlace {
  const path = mkdtempSync(join(tmpdir(), 'silvasonic-processor-'));
  const recordingsPath = join(path, 'recordings');
  mkdirSync(recordingsPath);
  return { path, recordingsPath, runPath: join(path, 'run'), remove: () => rmSync(path, { recursive: true }) };
}

export function segmentAt(workspace: string, iso: string, sequence = 1): SegmentName {
  return { workspace, startedAt: new Date(iso), run: 'run1', sequence };
}

export const rawFile = (segment: SegmentName): string =>
  join(segment.workspace, 'data', 'raw', segmentDay(segment), formatSegmentName(segment));
export const archiveFile = (segment: SegmentName): string =>
  join(segment.workspace, 'data', 'raw', segmentDay(segment), formatDerivedName(segment, 'flac'));
export const copyFile = (segment: SegmentName, ending: (typeof DERIVED_ENDINGS)[number]): string =>
  join(segment.workspace, 'data', 'processed', segmentDay(segment), formatDerivedName(segment, ending));
export const copyFiles = (segment: SegmentName): string[] => DERIVED_ENDINGS.map((ending) => copyFile(segment, ending));

/** Writes a file, with the folders that it needs. */
export function put(place: ProcessorPlace, name: string, content: string | Buffer): void {
  const path = join(place.recordingsPath, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** All files below the recordings, as paths from there, sorted. */
export function filesOf(place: ProcessorPlace): string[] {
  return readdirSync(place.recordingsPath, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(place.recordingsPath.length + 1))
    .sort();
}

export interface SampleSound extends WavFormat {
  seconds: number;
  /** Chunks after the samples: id and text. */
  after?: readonly (readonly [string, string])[];
  /** Zeroes so many low bits of each sample: a 24-bit microphone in a 32-bit file. */
  zeroBits?: number;
}

/** A sweep with some noise, different in each channel and for each `seed`. */
export function sampleWav(sound: SampleSound, seed = 1): Buffer {
  const { rate, channels, bitsPerSample, seconds, zeroBits = 0 } = sound;
  const frames = Math.round(rate * seconds);
  const bytesEach = bitsPerSample / 8;
  const data = Buffer.alloc(frames * channels * bytesEach);
  let random = seed;
  for (let frame = 0; frame < frames; frame += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      random = (Math.imul(random, 1664525) + 1013904223) | 0;
      const time = frame / rate;
      const wave = Math.sin(2 * Math.PI * (500 + 400 * channel + 1000 * time) * time);
      const wanted = Math.round((0.4 * wave + 0.1 * (random / 2 ** 31)) * (2 ** (bitsPerSample - 1) - 1));
      const sample = zeroBits === 0 ? wanted : (wanted >> zeroBits) << zeroBits;
      data.writeIntLE(sample, (frame * channels + channel) * bytesEach, bytesEach);
    }
  }
  const chunks = (sound.after ?? []).map(([id, text]) => {
    const content = Buffer.from(text);
    const head = Buffer.alloc(8);
    head.write(id, 'latin1');
    head.writeUInt32LE(content.length, 4);
    return Buffer.concat([head, content, Buffer.alloc(content.length % 2)]);
  });
  const wav = Buffer.concat([wavHeader(sound, data.length), data, Buffer.alloc(data.length % 2), ...chunks]);
  wav.writeUInt32LE(wav.length - 8, 4);
  return wav;
}
