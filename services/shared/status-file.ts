/**
 * The status file of a Tier 2 service of ours: one small JSON document on tmpfs, replaced as a whole, so that a reader
 * never sees half of it.
 */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { STATUS_FILE } from './recording.ts';

export interface StatusFile<Status> {
  /** Writes soon; of several in a row only the last. */
  write(status: Status): void;
  /** Resolves once the last one is written. */
  settle(): Promise<void>;
}

/** `told` hears of each change between being able and unable to write; null: it works again. */
export function createStatusFile<Status>(runPath: string, told: (error: unknown) => void): StatusFile<Status> {
  const path = join(runPath, STATUS_FILE);
  // Readers know the final name only; one writer, so one name aside is enough.
  const asidePath = join(runPath, `.${STATUS_FILE}.new`);
  let next: Status | null = null;
  let working: Promise<void> | null = null;
  let failing = false;

  async function work(): Promise<void> {
    for (let status = next; status !== null; status = next) {
      next = null;
      try {
        await writeFile(asidePath, `${JSON.stringify(status)}\n`);
        await rename(asidePath, path);
        if (failing) told(null);
        failing = false;
      } catch (error) {
        if (!failing) told(error);
        failing = true;
      }
    }
    working = null;
  }

  return {
    write(status) {
      next = status;
      working ??= work();
    },
    async settle() {
      await working;
    },
  };
}
