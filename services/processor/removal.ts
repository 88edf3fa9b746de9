/** Makes room: removes what `retention` says, oldest first, of all devices, until enough is free. */
import type { ProcessorConfig } from '../shared/contract.ts';
import { DERIVED_ENDINGS, formatDerivedName, formatSegmentName, segmentDay } from '../shared/contract.ts';
import { type Folder, fileFact, removeFile, withFolder } from '../shared/folders.ts';
import { errorCode } from '../shared/log.ts';
import { diskBytesOf, hasFiles, listSegments, PROCESSED, RAW, type StoredSegment } from '../shared/recordings.ts';
import { type DeviceRules, writeRemovedUntil } from './device.ts';
import { type Clock, chooseRemovals, type RemovalStage, removalStages } from './retention.ts';
import type { SurveyedDay } from './survey.ts';

const DAY_MS = 24 * 3_600_000;

export interface RemovalRequest {
  days: readonly SurveyedDay[];
  bytesNeeded: number;
  retention: ProcessorConfig['retention'];
  clock: Clock;
  rulesOf(workspace: string): DeviceRules;
  /** Ends it between two files. */
  stop: AbortSignal;
}

/** Recordings that went, and recordings whose copies went. Bytes as the files' blocks tell. */
export interface Removed {
  copies: number;
  recordings: number;
  freedBytes: number;
}

/**
 * Removes until so many bytes should be free, or nothing more may go. It measures by the files' sizes, not by the disk: some
 * file systems give room back late, and waiting for them would remove too much. Throws what the file system throws.
 */
export async function makeRoom(root: Folder, request: RemovalRequest): Promise<Removed> {
  const removed: Removed = { copies: 0, recordings: 0, freedBytes: 0 };
  for (const stage of removalStages(request.retention, request.clock)) {
    const bytesOf = (day: SurveyedDay) => (stage.kind === 'copies' ? day.copyBytes : day.recordingBytes);
    const days = [...new Set(request.days.filter((day) => bytesOf(day) > 0).map(({ day }) => day))].sort();
    for (const day of days) {
      if (removed.freedBytes >= request.bytesNeeded || request.stop.aborted) return removed;
      const beginsMs = Date.parse(`${day}T00:00:00Z`);
      if (beginsMs >= stage.beforeMs) break;
      if (beginsMs + DAY_MS <= stage.fromMs) continue;
      const devices = request.days.filter((one) => one.day === day && bytesOf(one) > 0);
      await removeOfDay(root, request, stage, devices, removed);
    }
  }
  return removed;
}

async function removeOfDay(
  root: Folder,
  request: RemovalRequest,
  stage: RemovalStage,
  devices: readonly SurveyedDay[],
  removed: Removed,
): Promise<void> {
  const segments: StoredSegment[] = [];
  for (const { workspace, day } of devices) {
    segments.push(...((await withFolder(root, [workspace], (folder) => listSegments(folder, workspace, day))) ?? []));
  }
  const chosen = chooseRemovals(segments, stage, request.bytesNeeded - removed.freedBytes);
  if (stage.kind === 'copies') await rememberRemoval(root, request, chosen);
  for (const stored of chosen) {
    if (request.stop.aborted) return;
    if (!(await removeFiles(root, stored, stage.kind))) continue;
    removed.freedBytes += diskBytesOf(stored, stage.kind);
    removed[stage.kind === 'copies' ? 'copies' : 'recordings'] += 1;
  }
}

/** So that the processor doesn't make again what had to go. */
async function rememberRemoval(root: Folder, request: RemovalRequest, chosen: readonly StoredSegment[]): Promise<void> {
  const untilMs = new Map<string, number>();
  // Oldest first: the last one of a device stays. Of a recording that is gone nothing could be made again.
  const remade = chosen.filter((stored) => hasFiles(stored, 'recording'));
  for (const { segment } of remade) untilMs.set(segment.workspace, segment.startedAt.getTime());
  for (const [workspace, atMs] of untilMs) {
    if (atMs <= (request.rulesOf(workspace).removedUntilMs ?? Number.NEGATIVE_INFINITY)) continue;
    try {
      await withFolder(root, [workspace], (folder) => writeRemovedUntil(folder, atMs));
    } catch (error) {
      // No room for even this: making room goes before; at worst a copy is made once more.
      if (errorCode(error) !== 'ENOSPC' && errorCode(error) !== 'EDQUOT') throw error;
    }
  }
}

/** Names are built from their parts, not taken from the disk. False: nothing was there any more. */
async function removeFiles(root: Folder, stored: StoredSegment, kind: RemovalStage['kind']): Promise<boolean> {
  const { segment } = stored;
  const place = kind === 'copies' ? PROCESSED : RAW;
  const names =
    kind === 'copies'
      ? DERIVED_ENDINGS.map((ending) => formatDerivedName(segment, ending))
      : [formatSegmentName(segment), formatDerivedName(segment, 'flac')];
  const removed = await withFolder(root, [segment.workspace, ...place, segmentDay(segment)], async (folder) => {
    let any = false;
    for (const name of names) {
      if ((await fileFact(folder, name)) !== null) any = (await removeFile(folder, name)) || any;
    }
    return any;
  });
  return removed ?? false;
}
