/** Where a process runs: in a container or not, and in which package. */
import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How a process ends whose configuration is wrong (`EX_CONFIG` of sysexits.h). */
export const BAD_CONFIG_EXIT_CODE = 78;

/**
 * The folder above `dist` or `services` in which the running module lies; `package.json`, `migrations` and `profiles`
 * stand there. Throws where the module lies in neither.
 */
export function findPackageFolder(moduleUrl: string): string {
  const file = fileURLToPath(moduleUrl);
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    if (['dist', 'services'].includes(basename(folder))) return dirname(folder);
  }
  throw new Error(`${file} lies in no folder named "dist" or "services", so its migrations cannot be found.`);
}

/** True in a Podman container: it marks itself by this file, but not over a read-only root, and always by this variable. */
export function isInsideContainer(environment: Readonly<Record<string, string | undefined>>): boolean {
  return existsSync('/run/.containerenv') || environment.container === 'podman';
}
