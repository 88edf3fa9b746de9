/**
 * What an earlier run left in `.buffer` when it was killed or the power failed: its files get the header that they
 * would have had, and move to where they belong.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSegmentName } from '../shared/contract.ts';
import { errorText, type Log } from './log.ts';
import { bufferPath, completeFile, publishSegment } from './segments.ts';
import { frameBytesOf, headerBytesOf, MAX_HEADER_BYTES, readWavFormat } from './wav.ts';

/**
 * Salvages all that is not of this `run`. A file that cannot be salvaged stays where it is, and the log says why.
 * Throws when `.buffer` cannot be read.
 */
export async function salvageLeftovers(workspacePath: string, run: string, log: Log): Promise<void> {
  for (const entry of await readdir(bufferPath(workspacePath), { withFileTypes: true })) {
    const segment = parseSegmentName(entry.name);
    if (segment === null || segment.run === run || !entry.isFile()) continue;
    try {
      const frames = await salvage(workspacePath, entry.name, segment.startedAt);
      const outcome = frames === 0 ? 'held no sound and was removed' : `was saved with ${frames} frames`;
      log('warn', `The unfinished recording ${entry.name} of an earlier run ${outcome}.`);
    } catch (error) {
      log('error', `The unfinished recording ${entry.name} stays in .buffer: ${errorText(error)}.`);
    }
  }
}

/** Frames saved; 0: there were none, and the file is gone. */
async function salvage(workspacePath: string, name: string, startedAt: Date): Promise<number> {
  const path = join(bufferPath(workspacePath), name);
  const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  let frames: number;
  try {
    frames = await repair(handle);
  } finally {
    await handle.close();
  }
  if (frames === 0) await unlink(path);
  else await publishSegment(workspacePath, name, startedAt);
  return frames;
}

/** The number of frames by the file's size; its header is made to say the same. */
async function repair(handle: FileHandle): Promise<number> {
  const { size } = await handle.stat();
  if (size < 44) return 0;
  const head = Buffer.alloc(MAX_HEADER_BYTES);
  const { bytesRead } = await handle.read(head, 0, head.length, 0);
  const format = readWavFormat(head.subarray(0, bytesRead));
  if (format === null) throw new Error('its header is not one that a recorder writes');
  const frameBytes = frameBytesOf(format);
  const frames = Math.max(0, Math.floor((size - headerBytesOf(format)) / frameBytes));
  if (frames > 0) await completeFile(handle, format, frames * frameBytes);
  return frames;
}
