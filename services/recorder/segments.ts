/**
 * Cuts an endless stream of frames into files of exactly the same number of frames, without a gap. A file grows in
 * `.buffer/` and appears in `data/raw/<day>/` complete, synced, in one step.
 */
import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatSegmentName } from '../shared/contract.ts';
import { frameBytesOf, headerBytesOf, MAX_DATA_BYTES, needsPadding, type WavFormat, wavHeader } from './wav.ts';

/** Where a workspace's parts are. */
export const bufferPath = (workspacePath: string): string => join(workspacePath, '.buffer');
export const rawPath = (workspacePath: string): string => join(workspacePath, 'data', 'raw');

export interface FinishedSegment {
  name: string;
  /** Unix milliseconds of its first frame. */
  startedAt: number;
  frames: number;
}

export interface SegmentWriterOptions {
  workspacePath: string;
  /** The device's folder name, which begins each file's name. */
  workspace: string;
  run: string;
  format: WavFormat;
  segmentSeconds: number;
  /** A file has appeared in `data/raw`. */
  finished(segment: FinishedSegment): void;
  /** Something could not be written; so many frames are lost for it. Later frames are tried again in a new file. */
  failed(error: unknown, lostFrames: number): void;
}

export interface SegmentWriter {
  /** Whole frames, the last of which was captured at `atMs` (Unix milliseconds). Kept in memory until written. */
  write(frames: Buffer, atMs: number): void;
  /** Ends the file that grows, however short it is. */
  cut(): void;
  /** Ends it and waits until all is on disk. */
  close(): Promise<void>;
  /** Bytes that wait to be written. */
  pendingBytes(): number;
}

interface GrowingSegment {
  handle: FileHandle;
  path: string;
  name: string;
  startedAt: number;
  dataBytes: number;
}

type Job = { kind: 'frames'; frames: Buffer; atMs: number } | { kind: 'cut' };

export function createSegmentWriter(options: SegmentWriterOptions): SegmentWriter {
  const { format } = options;
  const frameBytes = frameBytesOf(format);
  const segmentBytes = segmentFrames(format, options.segmentSeconds) * frameBytes;
  const jobs: Job[] = [];
  let pending = 0;
  let sequence = 0;
  let growing: GrowingSegment | null = null;
  let working: Promise<void> | null = null;
  // The sync of a finished file may take seconds on an SD card; the next file grows meanwhile.
  let finishing: Promise<void> = Promise.resolve();

  /** Resolves once the file before is on disk, so that at most two are open. */
  async function finishGrowing(): Promise<void> {
    const segment = growing;
    if (segment === null) return;
    growing = null;
    await finishing;
    finishing = finishSegment(options, segment).catch((error: unknown) => options.failed(error, 0));
  }

  async function store(frames: Buffer, atMs: number): Promise<void> {
    for (let offset = 0; offset < frames.length; ) {
      if (growing === null) {
        const startedAt = Math.round(atMs - ((frames.length - offset) / frameBytes / format.rate) * 1000);
        sequence += 1;
        growing = await beginSegment(options, startedAt, sequence);
      }
      const part = frames.subarray(offset, offset + segmentBytes - growing.dataBytes);
      await append(growing, part, format);
      offset += part.length;
      if (growing.dataBytes === segmentBytes) await finishGrowing();
    }
  }

  async function work(): Promise<void> {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      try {
        await (job.kind === 'cut' ? finishGrowing() : store(job.frames, job.atMs));
      } catch (error) {
        options.failed(error, job.kind === 'cut' ? 0 : job.frames.length / frameBytes);
        await finishGrowing();
      }
      if (job.kind === 'frames') pending -= job.frames.length;
    }
    working = null;
  }

  function enqueue(job: Job): void {
    jobs.push(job);
    working ??= work();
  }

  return {
    write(frames, atMs) {
      pending += frames.length;
      enqueue({ kind: 'frames', frames, atMs });
    },
    cut: () => enqueue({ kind: 'cut' }),
    async close() {
      enqueue({ kind: 'cut' });
      await working;
      await finishing;
    },
    pendingBytes: () => pending,
  };
}

/** Frames per file: as long as asked for, or as long as a WAV file can be. */
export function segmentFrames(format: WavFormat, segmentSeconds: number): number {
  return Math.min(segmentSeconds * format.rate, Math.floor(MAX_DATA_BYTES / frameBytesOf(format)));
}

/** Moves a complete, synced file to the day on which it began (UTC), durably. Throws what the file system throws. */
export async function publishSegment(workspacePath: string, name: string, startedAt: Date): Promise<void> {
  const dayPath = join(rawPath(workspacePath), startedAt.toISOString().slice(0, 10));
  const created = await mkdir(dayPath, { recursive: true });
  await rename(join(bufferPath(workspacePath), name), join(dayPath, name));
  await syncFolder(dayPath);
  if (created !== undefined) await syncFolder(dirname(dayPath));
}

/** Makes a file's header tell the truth and syncs it; what follows the last whole frame is cut off. */
export async function completeFile(handle: FileHandle, format: WavFormat, dataBytes: number): Promise<void> {
  const headerBytes = headerBytesOf(format);
  // Longer by zeros where the data chunk must be padded to an even length.
  await handle.truncate(headerBytes + dataBytes + (needsPadding(dataBytes) ? 1 : 0));
  await writeAll(handle, wavHeader(format, dataBytes), 0);
  await handle.datasync();
}

async function beginSegment(
  options: SegmentWriterOptions,
  startedAt: number,
  sequence: number,
): Promise<GrowingSegment> {
  const { workspace, run } = options;
  const name = formatSegmentName({ workspace, startedAt: new Date(startedAt), run, sequence });
  const path = join(bufferPath(options.workspacePath), name);
  const handle = await open(path, 'wx', 0o644);
  const segment = { handle, path, name, startedAt, dataBytes: 0 };
  try {
    await writeAll(handle, wavHeader(options.format, 0), 0);
  } catch (error) {
    await discard(segment);
    throw error;
  }
  return segment;
}

async function append(segment: GrowingSegment, frames: Buffer, format: WavFormat): Promise<void> {
  let written = 0;
  while (written < frames.length) {
    const position = headerBytesOf(format) + segment.dataBytes;
    const { bytesWritten } = await segment.handle.write(frames, written, frames.length - written, position);
    written += bytesWritten;
    segment.dataBytes += bytesWritten;
  }
}

async function finishSegment(options: SegmentWriterOptions, segment: GrowingSegment): Promise<void> {
  const frameBytes = frameBytesOf(options.format);
  const frames = Math.floor(segment.dataBytes / frameBytes);
  if (frames === 0) return discard(segment);
  try {
    await completeFile(segment.handle, options.format, frames * frameBytes);
  } finally {
    await segment.handle.close();
  }
  await publishSegment(options.workspacePath, segment.name, new Date(segment.startedAt));
  options.finished({ name: segment.name, startedAt: segment.startedAt, frames });
}

async function discard(segment: GrowingSegment): Promise<void> {
  await segment.handle.close();
  await unlink(segment.path);
}

async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const result = await handle.write(bytes, written, bytes.length - written, position + written);
    written += result.bytesWritten;
  }
}

/** A rename is on disk once the folder is. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
