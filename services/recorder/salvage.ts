/**
 * What a run left in `.buffer` when it was killed, the power failed or the disk was full: its files get the header that
 * they would have had, and move to where they belong.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecorderConfig } from '../shared/contract.ts';
import { formatSegmentName, parseSegmentName, type SegmentName } from '../shared/recording.ts';
import {
  declaredSizes,
  frameBytesOf,
  headerBytesOf,
  MAX_HEADER_BYTES,
  readWavFormat,
  type WavFormat,
} from '../shared/wav.ts';
import { bufferPath } from './folders.ts';
import { errorText, type Log } from './log.ts';
import { metadataChunks } from './metadata.ts';
import { completeFile, publishFile } from './segment-file.ts';

export interface SalvageOptions {
  workspacePath: string;
  /** Of the microphone to which the workspace belongs; names it in the metadata. */
  config: RecorderConfig;
  /** True of files that are still being written. */
  isOpen(name: string): boolean;
  log: Log;
}

/**
 * Salvages all that is not open. A file that cannot be salvaged stays where it is, and the log says why. Throws when
 * `.buffer` cannot be read.
 */
export async function salvageLeftovers(options: SalvageOptions): Promise<void> {
  const { workspacePath, log } = options;
  for (const entry of await readdir(bufferPath(workspacePath), { withFileTypes: true })) {
    const segment = parseSegmentName(entry.name);
    if (segment === null || options.isOpen(entry.name) || !entry.isFile()) continue;
    try {
      const frames = await salvage(options, entry.name, segment);
      const outcome = frames === 0 ? 'held no sound and was removed' : `was saved with ${frames} frames`;
      log('warn', `The unfinished recording ${entry.name} ${outcome}.`);
    } catch (error) {
      log('error', `The unfinished recording ${entry.name} stays in .buffer: ${errorText(error)}.`);
    }
  }
}

/** Frames saved; 0: there were none, and the file is gone. */
async function salvage(options: SalvageOptions, name: string, segment: SegmentName): Promise<number> {
  const { workspacePath } = options;
  const folder = bufferPath(workspacePath);
  const handle = await open(join(folder, name), constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = await examine(handle);
    if (found === null) {
      await unlink(join(folder, name));
      return 0;
    }
    // Complete, only not moved: nothing of it is lost, and nothing has to be marked.
    const finalName = found.complete ? name : formatSegmentName({ ...segment, salvaged: true });
    if (!found.complete) {
      // Renamed first: however often the power fails from here on, the file never looks as if it were whole.
      if (finalName !== name) await rename(join(folder, name), join(folder, finalName));
      await repair(options, handle, found, finalName, segment);
    }
    await publishFile(workspacePath, finalName, segment.startedAt.getTime());
    return found.frames;
  } finally {
    await handle.close();
  }
}

interface Found {
  /** At least one. */
  frames: number;
  format: WavFormat;
  /** Finished, and only not moved. */
  complete: boolean;
}

/** How much sound is in a file, by its header where that was finished, else by its size; null: none. */
async function examine(handle: FileHandle): Promise<Found | null> {
  const { size } = await handle.stat();
  if (size < 44) return null;
  const head = Buffer.alloc(MAX_HEADER_BYTES);
  const { bytesRead } = await handle.read(head, 0, head.length, 0);
  const format = readWavFormat(head.subarray(0, bytesRead));
  if (format === null) throw new Error('its header is not one that a recorder writes');
  const { fileBytes, dataBytes } = declaredSizes(head, format);
  const presentBytes = Math.max(0, size - headerBytesOf(format));
  const soundBytes = dataBytes === 0 ? presentBytes : Math.min(dataBytes, presentBytes);
  const frames = Math.floor(soundBytes / frameBytesOf(format));
  if (frames === 0) return null;
  return { frames, format, complete: dataBytes > 0 && fileBytes === size };
}

async function repair(
  { config }: SalvageOptions,
  handle: FileHandle,
  found: Found,
  name: string,
  segment: SegmentName,
): Promise<void> {
  const { frames, format } = found;
  const facts = {
    name,
    startedAt: segment.startedAt.getTime(),
    startKnownTo: 'second' as const,
    ...format,
    frames,
    clockSynchronised: null,
    clockSteps: [],
    gaps: [],
    salvaged: true,
  };
  await completeFile(handle, format, frames * frameBytesOf(format), metadataChunks(facts, config));
}
