/**
 * What lies in a device's workspace, by name alone: which recordings there are and what was made of each. A name that no
 * recorder or processor would have given, or in another device's or day's folder, is not seen at all.
 */
import {
  type DerivedEnding,
  formatDerivedName,
  formatSegmentName,
  isWorkspaceName,
  parseDerivedName,
  parseSegmentName,
  type SegmentName,
  segmentDay,
} from './contract.ts';
import { type FileFact, type Folder, fileFact, namesIn, withFolder } from './folders.ts';

/** Folders within a workspace. */
export const RAW = ['data', 'raw'] as const;
export const PROCESSED = ['data', 'processed'] as const;

/** One recording and what belongs to it. */
export interface StoredSegment {
  segment: SegmentName;
  /** In `data/raw`: as it was recorded, and its archive form. Both only between two steps of archiving. */
  wav: FileFact | null;
  archive: FileFact | null;
  /** In `data/processed`. */
  copies: Record<DerivedEnding, FileFact | null>;
}

/** Names a recording for people and in our memory: its file's name without ending. */
export function segmentTitle(segment: SegmentName): string {
  return formatSegmentName(segment).slice(0, -'.wav'.length);
}

/** True of `YYYY-MM-DD` where there is such a day. */
export function isDayName(name: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(name)) return false;
  const day = new Date(`${name}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(name);
}

/** Workspaces of all devices, plugged in or not. */
export async function listWorkspaces(root: Folder): Promise<string[]> {
  const names: string[] = [];
  for await (const name of namesIn(root)) if (isWorkspaceName(name)) names.push(name);
  return names.sort();
}

/** Days with a folder of recordings or copies, in no order. */
export async function listDays(workspace: Folder): Promise<string[]> {
  const days = new Set<string>();
  for (const place of [RAW, PROCESSED]) {
    await withFolder(workspace, place, async (folder) => {
      for await (const name of namesIn(folder)) if (isDayName(name)) days.add(name);
    });
  }
  return [...days];
}

/** All recordings and copies of one day, oldest first. */
export async function listSegments(workspace: Folder, name: string, day: string): Promise<StoredSegment[]> {
  const found = new Map<string, StoredSegment>();
  const belongs = (segment: SegmentName) => segment.workspace === name && segmentDay(segment) === day;
  const entry = (segment: SegmentName): StoredSegment => {
    const title = segmentTitle(segment);
    const known = found.get(title);
    if (known !== undefined) return known;
    const fresh = { segment, wav: null, archive: null, copies: { flac: null, png: null, json: null } };
    found.set(title, fresh);
    return fresh;
  };
  await withFolder(workspace, [...RAW, day], async (folder) => {
    for await (const file of namesIn(folder)) {
      const recorded = parseSegmentName(file);
      const archived = recorded === null ? parseDerivedName(file) : null;
      const segment = recorded ?? (archived?.ending === 'flac' ? archived.segment : null);
      if (segment === null || !belongs(segment)) continue;
      const fact = await fileFact(folder, recorded ? formatSegmentName(segment) : formatDerivedName(segment, 'flac'));
      if (fact !== null) entry(segment)[recorded ? 'wav' : 'archive'] = fact;
    }
  });
  await withFolder(workspace, [...PROCESSED, day], async (folder) => {
    for await (const file of namesIn(folder)) {
      const derived = parseDerivedName(file);
      if (derived === null || !belongs(derived.segment)) continue;
      const fact = await fileFact(folder, formatDerivedName(derived.segment, derived.ending));
      if (fact !== null) entry(derived.segment).copies[derived.ending] = fact;
    }
  });
  return [...found.values()].sort(byAge);
}

/** Oldest first, of all devices; the order is total, so that it is the same at each look. */
export function byAge(a: StoredSegment, b: StoredSegment): number {
  const difference = a.segment.startedAt.getTime() - b.segment.startedAt.getTime();
  if (difference !== 0) return difference;
  const [left, right] = [segmentTitle(a.segment), segmentTitle(b.segment)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** What removing a recording, or its copies, gives back. Bytes. */
export function diskBytesOf(stored: StoredSegment, kind: 'recording' | 'copies'): number {
  const files = kind === 'recording' ? [stored.wav, stored.archive] : Object.values(stored.copies);
  return files.reduce((sum, file) => sum + (file?.diskBytes ?? 0), 0);
}

export function hasFiles(stored: StoredSegment, kind: 'recording' | 'copies'): boolean {
  const files = kind === 'recording' ? [stored.wav, stored.archive] : Object.values(stored.copies);
  return files.some((file) => file !== null);
}
