/**
 * One segment on disk: it grows in `.buffer/`, is synced as it grows, and appears in `data/raw/<day>/` complete, in one
 * step. A power cut at any moment leaves either the whole file there, or one in `.buffer/` that can be salvaged.
 */
import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RecorderConfig } from '../shared/contract.ts';
import { frameBytesOf, headerBytesOf, paddedBytes, type WavFormat, wavHeader } from '../shared/wav.ts';
import { bufferPath, isDiskFull, rawPath } from './folders.ts';
import { metadataChunks, type SegmentFacts } from './metadata.ts';

export interface SegmentFile {
  /** Adds to its end. After an error, `dataBytes` says how much arrived all the same. */
  append(parts: Buffer[]): Promise<void>;
  /** What was added until now survives a power cut. */
  sync(): Promise<void>;
  /** Bytes of samples in it. */
  dataBytes(): number;
  /** Completes it and puts it where it belongs; one without a whole frame is removed. Returns its frames. */
  finish(facts: SegmentFacts, config: RecorderConfig): Promise<number>;
}

/** Parts that one call may write (IOV_MAX of Linux is 1024). */
const MOST_PARTS = 512;

/** Begins a file in `.buffer/`. Throws what the file system throws; nothing is left then. */
export async function createSegmentFile(workspacePath: string, name: string, format: WavFormat): Promise<SegmentFile> {
  const path = join(bufferPath(workspacePath), name);
  const handle = await open(path, 'wx', 0o644);
  const headerBytes = headerBytesOf(format);
  let dataBytes = 0;
  try {
    // Sizes of zero: salvage knows by them that the file was not finished.
    await writeAll(handle, wavHeader(format, 0), 0);
  } catch (error) {
    await discard(handle, path);
    throw error;
  }
  return {
    async append(parts) {
      for (let index = 0; index < parts.length; index += MOST_PARTS) {
        await appendSome(parts.slice(index, index + MOST_PARTS));
      }
    },
    sync: () => handle.datasync(),
    dataBytes: () => dataBytes,
    async finish(facts, config) {
      const frameBytes = frameBytesOf(format);
      const frames = Math.floor(dataBytes / frameBytes);
      if (frames === 0) {
        await discard(handle, path);
        return 0;
      }
      try {
        await completeFile(handle, format, frames * frameBytes, metadataChunks({ ...facts, frames }, config));
      } finally {
        await handle.close();
      }
      await publishFile(workspacePath, name, facts.startedAt);
      return frames;
    },
  };

  async function appendSome(parts: Buffer[]): Promise<void> {
    let left = parts;
    while (left.length > 0) {
      const { bytesWritten } = await handle.writev(left, headerBytes + dataBytes);
      dataBytes += bytesWritten;
      left = without(left, bytesWritten);
    }
  }
}

/**
 * Makes a file's header tell the truth, adds what it says about itself, and syncs it; what follows the last whole frame
 * is cut off. The samples are safe first: a cut in between leaves a file whose header says where they end.
 */
export async function completeFile(
  handle: FileHandle,
  format: WavFormat,
  dataBytes: number,
  metadata: Buffer,
): Promise<void> {
  const end = headerBytesOf(format) + paddedBytes(dataBytes);
  // Longer by a zero where the data chunk must be padded to an even length.
  await handle.truncate(end);
  await writeAll(handle, wavHeader(format, dataBytes), 0);
  await handle.datasync();
  try {
    await writeAll(handle, metadata, end);
    await writeAll(handle, wavHeader(format, dataBytes, metadata.length), 0);
  } catch (error) {
    // On a full disk the samples are worth more than what would be said about them.
    if (!isDiskFull(error)) throw error;
    await handle.truncate(end);
  }
  await handle.sync();
}

/** Moves a complete, synced file to the day on which it began (UTC), durably. Throws what the file system throws. */
export async function publishFile(workspacePath: string, name: string, startedAt: number): Promise<void> {
  const dayPath = join(rawPath(workspacePath), new Date(startedAt).toISOString().slice(0, 10));
  const created = await mkdir(dayPath, { recursive: true });
  await rename(join(bufferPath(workspacePath), name), join(dayPath, name));
  await syncFolder(dayPath);
  if (created !== undefined) await syncFolder(dirname(dayPath));
}

async function discard(handle: FileHandle, path: string): Promise<void> {
  await handle.close();
  await unlink(path);
}

async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const result = await handle.write(bytes, written, bytes.length - written, position + written);
    written += result.bytesWritten;
  }
}

/** What is left of the parts after so many bytes. */
function without(parts: Buffer[], bytes: number): Buffer[] {
  let skip = bytes;
  const left: Buffer[] = [];
  for (const part of parts) {
    if (skip < part.length) left.push(part.subarray(skip));
    skip = Math.max(0, skip - part.length);
  }
  return left;
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
