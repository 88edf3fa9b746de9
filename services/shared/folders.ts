/**
 * Folders that anybody may have written to: a recorder's workspace belongs to a container that hears, not to us. Each
 * step is taken relative to an open folder (Linux: `/proc/self/fd/<n>/<name>`), no link is followed, and whatever is not
 * a regular file is none of ours, so nothing planted there can block us or lead us out.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from './log.ts';

const ROOT = constants.O_RDONLY | constants.O_DIRECTORY;
const FOLDER = ROOT | constants.O_NOFOLLOW;
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
const FRESH = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** An open folder; `path` is for sentences only. */
export interface Folder {
  path: string;
  handle: FileHandle;
}

export interface FileFact {
  /** What removing it gives back. */
  diskBytes: number;
  bytes: number;
}

/** Opens the trusted root (its path may contain links). Throws what the file system throws. */
export async function withRoot<T>(path: string, work: (folder: Folder) => Promise<T>): Promise<T> {
  return await using({ path, handle: await open(path, ROOT) }, work);
}

/**
 * Opens the folders of `names`, one inside the other, for the time of `work`; null when one of them is missing, or is no
 * folder but a link or a file.
 */
export async function withFolder<T>(
  parent: Folder,
  names: readonly string[],
  work: (folder: Folder) => Promise<T>,
): Promise<T | null> {
  const [name, ...others] = names;
  if (name === undefined) return await work(parent);
  let handle: FileHandle;
  try {
    handle = await open(within(parent, name), FOLDER);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw failed(parent, name, error);
  }
  return await using({ path: join(parent.path, name), handle }, (folder) => withFolder(folder, others, work));
}

/** As `withFolder`, but makes what is missing. Throws an error that names what stands in a folder's place. */
export async function withMadeFolder<T>(
  parent: Folder,
  names: readonly string[],
  work: (folder: Folder) => Promise<T>,
): Promise<T> {
  const [name, ...others] = names;
  if (name === undefined) return await work(parent);
  try {
    await mkdir(within(parent, name), { mode: 0o755 });
    await parent.handle.sync();
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw failed(parent, name, error);
  }
  let handle: FileHandle;
  try {
    handle = await open(within(parent, name), FOLDER);
  } catch (error) {
    if (isAbsent(error)) throw new Error(`${join(parent.path, name)} is no folder: remove it`, { cause: error });
    throw failed(parent, name, error);
  }
  return await using({ path: join(parent.path, name), handle }, (folder) => withMadeFolder(folder, others, work));
}

/** The names in it, as they come: whatever their number, few are in memory at once. */
export async function* namesIn(folder: Folder): AsyncGenerator<string> {
  for await (const entry of await opendir(within(folder, '.'))) yield entry.name;
}

/** null: missing, or no regular file. */
export async function fileFact(folder: Folder, name: string): Promise<FileFact | null> {
  try {
    const info = await lstat(within(folder, name));
    return info.isFile() ? { bytes: info.size, diskBytes: info.blocks * 512 } : null;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw failed(folder, name, error);
  }
}

/** Nanoseconds of its last change: of a name that came, went or moved. null: missing, or no folder. */
export async function folderChange(folder: Folder, name: string): Promise<bigint | null> {
  try {
    const info = await lstat(within(folder, name), { bigint: true });
    return info.isDirectory() ? info.mtimeNs : null;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw failed(folder, name, error);
  }
}

/** Opens a regular file for reading, for the time of `work`; null: missing, or none. */
export async function withFile<T>(
  folder: Folder,
  name: string,
  work: (file: FileHandle) => Promise<T>,
): Promise<T | null> {
  let file: FileHandle;
  try {
    file = await open(within(folder, name), FILE);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw failed(folder, name, error);
  }
  try {
    return (await file.stat()).isFile() ? await work(file) : null;
  } finally {
    await file.close();
  }
}

/** The text of a small file; null: missing, no regular file, or longer than `maxBytes`. */
export async function readSmallFile(folder: Folder, name: string, maxBytes: number): Promise<string | null> {
  return await withFile(folder, name, async (file) => {
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) return buffer.toString('utf8', 0, length);
      length += bytesRead;
    }
    return null;
  });
}

/** Makes a new file, in place of whatever bore its name, for the time of `work`. */
export async function withFreshFile<T>(
  folder: Folder,
  name: string,
  work: (file: FileHandle) => Promise<T>,
): Promise<T> {
  await removeFile(folder, name);
  let file: FileHandle;
  try {
    file = await open(within(folder, name), FRESH, 0o644);
  } catch (error) {
    throw failed(folder, name, error);
  }
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

/** Moves a file that is on disk, so that after a power cut it is in one place or the other, whole. */
export async function moveDurably(from: Folder, fromName: string, to: Folder, toName: string): Promise<void> {
  try {
    await rename(within(from, fromName), within(to, toName));
    await to.handle.sync();
  } catch (error) {
    throw failed(to, toName, error);
  }
}

/** False: there was none. A link is removed, not what it leads to. */
export async function removeFile(folder: Folder, name: string): Promise<boolean> {
  try {
    await unlink(within(folder, name));
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw failed(folder, name, error);
  }
}

/** False: it stays, since something is in it (or it is gone, or no folder). */
export async function removeEmptyFolder(parent: Folder, name: string): Promise<boolean> {
  try {
    await rmdir(within(parent, name));
    return true;
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || isAbsent(error)) return false;
    throw failed(parent, name, error);
  }
}

/** True: nothing of ours is at that name, which is known and no failure to look. */
function isAbsent(error: unknown): boolean {
  const code = errorCode(error);
  // ELOOP, ENOTDIR: a link, or no folder. ENXIO, ENODEV: a socket or a device. ENAMETOOLONG: nothing can be there.
  return ['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO', 'ENODEV', 'ENAMETOOLONG'].includes(`${code}`);
}

/** Node's own message would name a place below `/proc/self/fd`. */
function failed(folder: Folder, name: string, error: unknown): Error {
  return new Error(`${join(folder.path, name)} cannot be used (${errorCode(error) ?? String(error)})`, {
    cause: error,
  });
}

function within(folder: Folder, name: string): string {
  return join('/proc/self/fd', String(folder.handle.fd), name);
}

async function using<T>(folder: Folder, work: (folder: Folder) => Promise<T>): Promise<T> {
  try {
    return await work(folder);
  } finally {
    await folder.handle.close();
  }
}
