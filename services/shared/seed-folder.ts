/**
 * Reads a folder of documents that come with a release, one YAML file each. A file that cannot be used is named, and
 * costs nothing but itself.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { DOCUMENT_MAX_BYTES, type ParsedFields } from './parse.ts';

/** More files than anybody has; the rest is named as a problem. */
const MAX_FILES = 500;

export interface SeedFolderOptions<T> {
  folder: string;
  parse: (bytes: Uint8Array, file: string) => ParsedFields<T>;
  /** What no two documents may share, and what that is called. */
  keyOf: (value: T) => string;
  keyName: string;
}

/**
 * Reads all `.yml` and `.yaml` files, by name. `problems` has one sentence for each file that was left out, and for the
 * folder where that cannot be read. Of two with one key the first counts. Never throws.
 */
export function readSeedFolder<T>({ folder, parse, keyOf, keyName }: SeedFolderOptions<T>): {
  values: T[];
  problems: string[];
} {
  const found = new Map<string, { value: T; file: string }>();
  const problems: string[] = [];
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  } catch (error) {
    return { values: [], problems: [`The folder ${folder} cannot be read: ${messageOf(error)}.`] };
  }
  if (names.length > MAX_FILES)
    problems.push(`${folder} has ${names.length} files; only the first ${MAX_FILES} are read.`);
  for (const file of names.sort().slice(0, MAX_FILES)) {
    try {
      const parsed = parse(readDocument(join(folder, file)), file);
      if (!parsed.ok) {
        problems.push(parsed.message);
        continue;
      }
      const key = keyOf(parsed.value);
      const earlier = found.get(key);
      if (earlier === undefined) found.set(key, { value: parsed.value, file });
      else problems.push(`${file}: ${keyName} ${key} is already used by ${earlier.file}; choose another one.`);
    } catch (error) {
      problems.push(`${file}: ${messageOf(error)}.`);
    }
  }
  return { values: [...found.values()].map(({ value }) => value), problems };
}

/**
 * The bytes of a regular file; one more than allowed of a longer one, so that the parser refuses it with its sentence.
 * A link could lead anywhere, and a FIFO would wait for ever: both are refused.
 */
function readDocument(path: string): Uint8Array {
  const file = openDocument(path);
  try {
    if (!fstatSync(file).isFile()) throw new Error('is not a regular file; put the file itself here');
    const buffer = Buffer.alloc(DOCUMENT_MAX_BYTES + 1);
    let length = 0;
    while (length < buffer.length) {
      const count = readSync(file, buffer, length, buffer.length - length, null);
      if (count === 0) break;
      length += count;
    }
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

function openDocument(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const isLink = error instanceof Error && 'code' in error && error.code === 'ELOOP';
    if (isLink) throw new Error('is a link; put the file itself here', { cause: error });
    throw new Error(`cannot be opened: ${messageOf(error)}`, { cause: error });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
