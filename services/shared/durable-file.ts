/** Writing a file so that a power cut leaves the old content or the new one, never half of it. */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from './hostile-file.ts';

const FRESH = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;

/**
 * Replaces `file`: written aside, synced, renamed, and the folder synced, which makes the rename itself last (fsync(2)).
 * Makes the folder where it is missing. One writer at a time per file. Throws an error that names the file.
 */
export async function writeDurably(file: string, text: string, mode: number): Promise<void> {
  const folder = dirname(file);
  const aside = `${file}.new`;
  try {
    await mkdir(folder, { recursive: true });
    // What an interrupted write left there, or somebody else: a FIFO would block us, a link would lead elsewhere.
    await rm(aside, { force: true });
    await synced(await open(aside, FRESH, mode), (written) => written.writeFile(text));
    await rename(aside, file);
    await synced(await open(folder, constants.O_RDONLY | constants.O_DIRECTORY), async () => {});
  } catch (error) {
    throw fileError(file, error);
  }
}

async function synced(handle: FileHandle, work: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    await work(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
