/**
 * Reads the profiles that come with a release, one YAML file each. A file that cannot be used is named, and costs
 * nothing but itself.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { PROFILE_FILE_MAX_BYTES, parseProfileYaml, type SeedProfile } from '../shared/profile.ts';

/** More files than anybody has; the rest is named as a problem. */
const MAX_FILES = 500;

/**
 * Reads all `.yml` and `.yaml` files of a folder, by name. `problems` has one sentence for each file that was left out,
 * and for the folder where that cannot be read. Of two profiles with one slug the first counts. Never throws.
 */
export function loadSeedProfiles(folder: string): { profiles: SeedProfile[]; problems: string[] } {
  const profiles = new Map<string, { profile: SeedProfile; file: string }>();
  const problems: string[] = [];
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  } catch (error) {
    return { profiles: [], problems: [`The folder of profiles ${folder} cannot be read: ${messageOf(error)}.`] };
  }
  if (names.length > MAX_FILES)
    problems.push(`${folder} has ${names.length} profiles; only the first ${MAX_FILES} are read.`);
  for (const file of names.sort().slice(0, MAX_FILES)) {
    try {
      const parsed = parseProfileYaml(readProfileFile(join(folder, file)), file);
      if (!parsed.ok) {
        problems.push(parsed.message);
        continue;
      }
      const earlier = profiles.get(parsed.value.slug);
      if (earlier === undefined) profiles.set(parsed.value.slug, { profile: parsed.value, file });
      else problems.push(`${file}: slug ${parsed.value.slug} is already used by ${earlier.file}; choose another one.`);
    } catch (error) {
      problems.push(`${file}: ${messageOf(error)}.`);
    }
  }
  return { profiles: [...profiles.values()].map(({ profile }) => profile), problems };
}

/**
 * The bytes of a regular file; one more than allowed of a longer one, so that the parser refuses it with its sentence.
 * A link could lead anywhere, and a FIFO would wait for ever: both are refused.
 */
function readProfileFile(path: string): Uint8Array {
  const file = openProfileFile(path);
  try {
    if (!fstatSync(file).isFile()) throw new Error('is not a regular file; put the profile itself here');
    const buffer = Buffer.alloc(PROFILE_FILE_MAX_BYTES + 1);
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

function openProfileFile(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const isLink = error instanceof Error && 'code' in error && error.code === 'ELOOP';
    if (isLink) throw new Error('is a link; put the profile itself here', { cause: error });
    throw new Error(`cannot be opened: ${messageOf(error)}`, { cause: error });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
