/**
 * Bounded reads of the small files that the kernel makes up in sysfs and procfs. They are synchronous: the kernel
 * answers from memory, and a detour over the thread pool would cost more than the read. Never used on a disk.
 */
import { closeSync, constants, opendirSync, openSync, readSync, realpathSync } from 'node:fs';

/** No file that is read here is longer; a longer one is not what it claims to be. Bytes. */
export const KERNEL_FILE_MAX_BYTES = 64 * 1024;
/** More entries than any folder has that is listed here. */
const FOLDER_MAX_ENTRIES = 10_000;

/** True where an error says "no such file", or that the device behind it was pulled out while it was being read. */
export function isAbsent(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENODEV' || code === 'ENXIO';
}

/** The bytes of a file. Throws the system's error, or an Error for a file beyond `KERNEL_FILE_MAX_BYTES`. */
export function readBytes(path: string): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(4096);
      const length = readSync(file, chunk, 0, chunk.length, null);
      if (length === 0) return Buffer.concat(chunks, total);
      total += length;
      if (total > KERNEL_FILE_MAX_BYTES) throw new Error(`${path} is longer than ${KERNEL_FILE_MAX_BYTES} bytes`);
      chunks.push(chunk.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}

/** The text of a file without white space around it. Throws as `readBytes` does. */
export function readText(path: string): string {
  return readBytes(path).toString('utf8').trim();
}

/** The text of a file, or null where there is none. Any other failure is thrown. */
export function readTextIfPresent(path: string): string | null {
  return nullIfAbsent(() => readText(path));
}

/**
 * Names in a folder, sorted; null where there is no such folder. Any other failure is thrown. Uses `opendir`, because
 * `scandir` walks past the library that tests put between a program and the kernel.
 */
export function listFolderIfPresent(path: string): string[] | null {
  const folder = nullIfAbsent(() => opendirSync(path));
  if (folder === null) return null;
  try {
    const names: string[] = [];
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
      names.push(entry.name);
      if (names.length > FOLDER_MAX_ENTRIES) throw new Error(`${path} has more than ${FOLDER_MAX_ENTRIES} entries`);
    }
    return names.sort();
  } finally {
    folder.closeSync();
  }
}

/** Where a path really leads, or null where that is nowhere. Any other failure is thrown. */
export function resolveIfPresent(path: string): string | null {
  return nullIfAbsent(() => realpathSync.native(path));
}

function nullIfAbsent<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}
