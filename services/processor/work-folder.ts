/**
 * Where files grow before they appear: `data/processed/.work` of the same workspace, so that moving one is a single step
 * on one file system. Whatever lies there at a start was left by a run that was killed.
 */
import type { FileHandle } from 'node:fs/promises';
import { parseDerivedName } from '../shared/contract.ts';
import {
  type Folder,
  moveDurably,
  namesIn,
  removeFile,
  withFolder,
  withFreshFile,
  withMadeFolder,
} from '../shared/folders.ts';
import { PROCESSED } from '../shared/recordings.ts';

const WORK_FOLDER = '.work';

/**
 * Lets `make` fill a new file, then moves it, synced, to `name` in the folder of `target`. When `make` throws, nothing
 * is left.
 */
export async function makeFile(
  workspace: Folder,
  target: readonly string[],
  name: string,
  make: (file: FileHandle, work: Folder) => Promise<void>,
): Promise<void> {
  await withMadeFolder(workspace, [...PROCESSED, WORK_FOLDER], async (work) => {
    try {
      await withFreshFile(work, name, async (file) => {
        await make(file, work);
        await file.sync();
      });
      await withMadeFolder(workspace, target, (folder) => moveDurably(work, name, folder, name));
    } catch (error) {
      await removeFile(work, name);
      throw error;
    }
  });
}

/** Removes what a killed run left: files of ours by name, nothing else. */
export async function clearWork(workspace: Folder): Promise<void> {
  await withFolder(workspace, [...PROCESSED, WORK_FOLDER], async (work) => {
    const leftovers: string[] = [];
    for await (const name of namesIn(work)) {
      if (parseDerivedName(name.replace(UNTAGGED, '')) !== null) leftovers.push(name);
    }
    for (const name of leftovers) await removeFile(work, name);
  });
}

/** Ends the name of a file from which the wanted one is made. */
export const UNTAGGED_ENDING = '.untagged';
const UNTAGGED = /\.untagged$/;
