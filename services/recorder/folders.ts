/**
 * The two folders of a recorder: whether they can be written, and whether there is room left.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from './log.ts';

/** Where a workspace's parts are. */
export const bufferPath = (workspacePath: string): string => join(workspacePath, '.buffer');
export const rawPath = (workspacePath: string): string => join(workspacePath, 'data', 'raw');

/** Makes what is missing and writes to each once. Throws an error whose message names the folder. */
export async function prepareFolders(workspacePath: string, runPath: string): Promise<void> {
  for (const path of [bufferPath(workspacePath), rawPath(workspacePath), runPath]) {
    try {
      await mkdir(path, { recursive: true });
      await writeProbe(join(path, `.probe-${randomBytes(6).toString('hex')}`));
    } catch (error) {
      // A full disk is not an unwritable one: that is waited for.
      if (!isDiskFull(error)) throw new Error(`The folder ${path} cannot be written`, { cause: error });
    }
  }
}

/** True of an error that says: no space, or no more of it for us. */
export function isDiskFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export interface DiskReserve {
  /** Below so many free bytes nothing more is written. */
  reserveBytes: number;
  /** So many more must be free before it goes on: without them it would stop and go at every reading. */
  marginBytes: number;
}

/** Whether a recorder that so far had room (or had not) has room with so many bytes free. */
export function hasRoom(freeBytes: number, hadRoom: boolean, reserve: DiskReserve): boolean {
  return freeBytes >= reserve.reserveBytes + (hadRoom ? 0 : reserve.marginBytes);
}

/** Bytes that an ordinary user can still write there. Throws what the file system throws. */
export async function freeBytesAt(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

async function writeProbe(path: string): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    await handle.write('probe');
  } finally {
    await handle.close();
    await unlink(path);
  }
}
