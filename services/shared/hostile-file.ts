/**
 * Files and folders where somebody else may have planted something: a FIFO that blocks its reader, a link that leads
 * out, a file without end. Every step is taken relative to an open folder (Linux: `/proc/self/fd/<n>/<name>`), and no
 * link below the trusted root is followed, so nothing can be swapped between check and use.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = constants.O_RDONLY | constants.O_DIRECTORY;
const FOLDER = ROOT | constants.O_NOFOLLOW;
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

export interface HostilePlace {
  /** Trusted: its path may contain links. */
  root: string;
  /** The one folder between root and file that must not be a link; absent: the file lies in the root. */
  folder?: string;
  name: string;
}

/** `unusable`: something is there, but no file of ours. */
export type HostileText = { kind: 'text'; text: string } | { kind: 'missing' } | { kind: 'unusable'; why: string };

/**
 * Reads a text file. A link, a FIFO, socket, device or folder, more than `maxBytes`, not UTF-8: unusable. Throws where
 * the disk, our rights or our limits are to blame (EIO, EACCES, EMFILE …), since then nothing is known.
 */
export async function readHostileFile(place: HostilePlace, maxBytes: number): Promise<HostileText> {
  try {
    const file = await openIn(await openFolder(place.root, place.folder), place.name);
    return await using(file, () => readRegular(file, maxBytes));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { kind: 'missing' };
    const why = plantedReason(error);
    if (why === null) throw fileError(join(place.root, place.folder ?? '', place.name), error);
    return { kind: 'unusable', why };
  }
}

/** Folders by name, each with those in it. */
export interface FolderTree {
  [name: string]: FolderTree;
}

/**
 * Makes `root` (trusted, links allowed) and below it the folders of `tree`. What exists stays. Throws an error that names
 * the place where something else than a folder stands.
 */
export async function makeFolders(root: string, tree: FolderTree, mode: number): Promise<void> {
  const opened = await orPlanted(root, async () => {
    try {
      return await open(root, ROOT);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      await mkdir(root, { recursive: true });
      return await open(root, ROOT);
    }
  });
  await using(opened, () => makeBelow(opened, root, tree, mode));
}

/** Side by side: each folder is a few waits for the disk, and somebody waits to be recorded. */
async function makeBelow(parent: FileHandle, path: string, tree: FolderTree, mode: number): Promise<void> {
  const made = Object.entries(tree).map(async ([name, below]) => {
    const at = join(path, name);
    const folder = await orPlanted(at, () => makeFolder(parent, name, mode));
    await using(folder, () => makeBelow(folder, at, below, mode));
  });
  await allEnded(made);
}

/** As `Promise.all`, but nothing of it is under way any more when it throws: handles may be closed, folders used. */
export async function allEnded(works: readonly Promise<unknown>[]): Promise<void> {
  const ended = await Promise.allSettled(works);
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}

async function orPlanted<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (plantedReason(error) === null) throw fileError(path, error);
    throw new Error(`${path} is a link or a file where a folder belongs: remove it.`, { cause: error });
  }
}

/** Removes everything in `folder`, directly below the trusted `root`. Links in it are removed, never followed. */
export async function emptyFolder(root: string, folder: string): Promise<void> {
  try {
    const opened = await openFolder(root, folder);
    await using(opened, async () => {
      for (const name of await readdir(within(opened, '.'))) await remove(within(opened, name));
    });
  } catch (error) {
    throw fileError(join(root, folder), error);
  }
}

/** Most of what is removed is a file, and that takes one step. */
async function remove(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch {
    await rm(path, { recursive: true, force: true });
  }
}

const CAUSES: Record<string, string> = {
  EACCES: "the controller's user has no right to it",
  EPERM: "the controller's user has no right to it",
  EROFS: 'the disk is mounted read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: "the user's share of the disk is used up",
  EIO: 'the disk reports an error',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
};

/** An error in words that names the real path; Node's own would name one below `/proc/self/fd`. */
export function fileError(path: string, error: unknown): Error {
  const code = errorCode(error);
  const why = code === null ? String(error) : `${CAUSES[code] ?? 'the system refuses it'}, ${code}`;
  return new Error(`${path} cannot be used (${why}).`, { cause: error });
}

/** The code of a system error (`ENOENT`); null for any other. */
export function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

async function readRegular(file: FileHandle, maxBytes: number): Promise<HostileText> {
  const tooLong: HostileText = { kind: 'unusable', why: `it is longer than ${maxBytes} bytes` };
  const info = await file.stat();
  if (!info.isFile()) return { kind: 'unusable', why: 'it is no regular file' };
  if (info.size > maxBytes) return tooLong;
  // Some files of the kernel have no size: the buffer is the limit.
  const buffer = Buffer.allocUnsafe(Math.min(maxBytes, Math.max(info.size, 4096)) + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    length += bytesRead;
    // As long as it was measured: whoever writes it replaces it whole.
    if (bytesRead === 0 || length === info.size) return decode(buffer.subarray(0, length));
  }
  return tooLong;
}

function decode(bytes: Buffer): HostileText {
  try {
    return { kind: 'text', text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { kind: 'unusable', why: 'it is not UTF-8' };
  }
}

/** What an error tells about the thing at a path; null: it tells about the disk, our rights or our limits. */
function plantedReason(error: unknown): string | null {
  switch (errorCode(error)) {
    case 'ELOOP':
      return 'it is a link';
    case 'ENOTDIR':
      return 'its folder is a link or no folder';
    case 'ENXIO':
    case 'ENODEV':
      return 'it is a socket or a device';
    case 'EISDIR':
      return 'it is a folder';
    default:
      return null;
  }
}

/** Opens `folder` in `root`; a link in its place fails with ELOOP or ENOTDIR. */
function openFolder(root: string, folder: string | undefined): Promise<FileHandle> {
  return folder === undefined ? open(root, ROOT) : open(join(root, folder), FOLDER);
}

/** Opens a file and lets go of its folder, both whatever happens. */
async function openIn(folder: FileHandle, name: string): Promise<FileHandle> {
  return await using(folder, () => open(within(folder, name), FILE));
}

function within(folder: FileHandle, name: string): string {
  return join('/proc/self/fd', String(folder.fd), name);
}

async function makeFolder(parent: FileHandle, name: string, mode: number): Promise<FileHandle> {
  const path = within(parent, name);
  try {
    return await open(path, FOLDER);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  return await open(path, FOLDER);
}

async function using<T>(handle: FileHandle, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await handle.close();
  }
}
