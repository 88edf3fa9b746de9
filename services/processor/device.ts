/**
 * What is told about a device in its own workspace: how its recordings are to be processed, and up to when its copies
 * were removed to make room, so that they are not made again. Both are read as hostile: nonsense counts as nothing.
 */
import { PROCESSING_FILE, PROCESSING_FILE_MAX_BYTES, type Processing, processingSchema } from '../shared/contract.ts';
import { type Folder, moveDurably, readSmallFile, withFolder, withFreshFile } from '../shared/folders.ts';
import { hasFiles, PROCESSED, type StoredSegment } from '../shared/recordings.ts';
import { writeFully } from './file-bytes.ts';

export interface DeviceRules {
  processing: Processing;
  /** Unix milliseconds: copies of what began at or before then are not made again. null: none were removed. */
  removedUntilMs: number | null;
}

export interface Work {
  copies: boolean;
  archive: boolean;
}

/** In `data/processed`: an ISO time. */
export const REMOVED_UNTIL_FILE = '.removed-until';
const REMOVED_UNTIL_MAX_BYTES = 64;

/** What is to be done for one recording; pure. */
export function workOn(stored: StoredSegment, rules: DeviceRules): Work {
  const hasCopies = Object.values(stored.copies).every((file) => file !== null);
  const isRemoved = rules.removedUntilMs !== null && stored.segment.startedAt.getTime() <= rules.removedUntilMs;
  return {
    copies: hasFiles(stored, 'recording') && !hasCopies && !isRemoved,
    // Both files: a run was killed between the two last steps, which are finished whatever is wished now.
    archive: stored.wav !== null && (rules.processing.archive === 'flac' || stored.archive !== null),
  };
}

/** Throws when the disk fails. */
export async function readDeviceRules(workspace: Folder, defaults: Processing): Promise<DeviceRules> {
  const processing = await readSmallFile(workspace, PROCESSING_FILE, PROCESSING_FILE_MAX_BYTES);
  const until = await withFolder(workspace, PROCESSED, (folder) =>
    readSmallFile(folder, REMOVED_UNTIL_FILE, REMOVED_UNTIL_MAX_BYTES),
  );
  const removedUntilMs = until === null ? Number.NaN : Date.parse(until.trim());
  return {
    processing: (processing === null ? null : parseProcessing(processing)) ?? defaults,
    removedUntilMs: Number.isNaN(removedUntilMs) ? null : removedUntilMs,
  };
}

/** Written before the copies go: whoever is killed in between has lost nothing but the wish to make them. */
export async function writeRemovedUntil(workspace: Folder, untilMs: number): Promise<void> {
  await withFolder(workspace, PROCESSED, async (folder) => {
    const aside = `${REMOVED_UNTIL_FILE}.new`;
    await withFreshFile(folder, aside, async (file) => {
      await writeFully(file, 0, Buffer.from(`${new Date(untilMs).toISOString()}\n`));
      await file.sync();
    });
    await moveDurably(folder, aside, folder, REMOVED_UNTIL_FILE);
  });
}

function parseProcessing(text: string): Processing | null {
  try {
    return processingSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
