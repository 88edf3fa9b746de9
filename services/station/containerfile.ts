/** What a Containerfile says about itself: the images that it stands on, and what it takes from the build's context. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** Images that a Containerfile begins with: neither its own earlier stages nor `scratch`. Its `ARG` defaults count. */
export function baseImages(containerfile: string): string[] {
  const defaults = new Map<string, string>();
  for (const [, name = '', value = ''] of containerfile.matchAll(/^ARG\s+(\w+)=(\S+)/gim)) defaults.set(name, value);
  const stages = new Set(['scratch']);
  const bases = new Set<string>();
  for (const [, given = '', stage] of containerfile.matchAll(/^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/gim)) {
    const image = given.replace(/\$\{?(\w+)\}?/g, (whole, name: string) => defaults.get(name) ?? whole);
    if (!stages.has(image)) bases.add(image);
    if (stage !== undefined) stages.add(stage);
  }
  return [...bases];
}

/** Paths that a Containerfile copies from the context, relative to it; nothing that it copies between stages. */
export function copiedPaths(containerfile: string): string[] {
  const lines = containerfile.replace(/\\\n/g, ' ').split('\n');
  const paths = lines.flatMap((line) => {
    const words = /^\s*(?:COPY|ADD)\s+(.*)$/i.exec(line)?.[1]?.trim().split(/\s+/) ?? [];
    if (words.some((word) => word.startsWith('--from='))) return [];
    // Everything up to a wildcard is looked at: rather too much than too little.
    return words
      .filter((word) => !word.startsWith('--'))
      .slice(0, -1)
      .map((word) => word.replace(/\/?[^/]*[*?[].*$/, '') || '.');
  });
  return [...new Set(paths)].sort();
}

/**
 * SHA-256 over the Containerfile, the ignore file, every file that the build copies, with their names, and the inputs
 * of those of our own images that it is built on.
 */
export function inputsHash(context: string, containerfile: string, ownBases: readonly string[]): string {
  const hash = createHash('sha256').update(containerfile).update(ownBases.join());
  for (const path of ['.containerignore', '.dockerignore', ...copiedPaths(containerfile)]) {
    for (const file of filesUnder(join(context, path))) {
      hash.update(`\0${relative(context, file)}\0`).update(readFileSync(file));
    }
  }
  return hash.digest('hex');
}

const NEVER_COPIED = new Set(['node_modules', '.git']);

function filesUnder(path: string): string[] {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).sort();
  return names.flatMap((name) => (NEVER_COPIED.has(name) ? [] : filesUnder(join(path, name))));
}
