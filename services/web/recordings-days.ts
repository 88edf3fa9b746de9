/**
 * A day at a glance: how many recordings, how long, how large, and when of its 24 hours there is sound. A year has half a
 * million files, so a day is looked at once and again only when its folder changed.
 */
import type { SegmentName } from '../shared/contract.ts';
import { type Folder, fileFact, folderChange, withFolder } from '../shared/folders.ts';
import { RAW } from '../shared/recordings.ts';
import { type DayEntry, listDay, rawPlace, readSound } from './recordings.ts';

export interface DaySummary {
  /** `YYYY-MM-DD`, UTC. */
  day: string;
  /** Recordings; copies alone don't count. */
  count: number;
  seconds: number;
  /** Of many files about. */
  bytes: number;
  covered: Span[];
}

/** Seconds since the day's beginning (UTC); the last recording may reach into the next day. */
export interface Span {
  from: number;
  to: number;
}

/** `name`: of the workspace. */
export type DaySummaries = (workspace: Folder, name: string, day: string) => Promise<DaySummary>;

/** Days of all microphones that are remembered. */
const MOST_DAYS = 4000;
/** Of a day with more files, every n-th tells its size for its neighbours: an SD card takes a second for a thousand looks. */
const MOST_ASKED = 120;
const LONGEST_SECONDS = 900;

export function createDaySummaries(): DaySummaries {
  const known = new Map<string, { changed: bigint; summary: DaySummary }>();
  return async (workspace, name, day) => {
    const key = `${name}/${day}`;
    // Before the look: what changes meanwhile is seen at the next one.
    const changed = await withFolder(workspace, RAW, (raw) => folderChange(raw, day));
    const before = known.get(key);
    if (before !== undefined && before.changed === changed) return before.summary;
    const summary = await summarise(workspace, name, day);
    known.delete(key);
    if (changed !== null) known.set(key, { changed, summary });
    const [oldest] = known.keys();
    if (known.size > MOST_DAYS && oldest !== undefined) known.delete(oldest);
    return summary;
  };
}

async function summarise(workspace: Folder, name: string, day: string): Promise<DaySummary> {
  const entries = (await listDay(workspace, name, day)).filter(({ raw }) => raw !== null);
  const bytes = await sizeOf(workspace, day, entries);
  const spans: Span[] = [];
  for (const [index, entry] of entries.entries()) {
    const from = secondOfDay(entry.segment);
    const seconds = secondsUntilNext(entry.segment, entries[index + 1]?.segment);
    // Only the last one before a gap has to be opened.
    const length = seconds ?? (await readSound(workspace, entry))?.seconds ?? 0;
    spans.push({ from, to: from + length });
  }
  const covered = joinSpans(spans);
  const seconds = covered.reduce((sum, { from, to }) => sum + to - from, 0);
  return { day, count: entries.length, seconds, bytes, covered };
}

/** Exact of few, nearly so of many: files of one run are equally long. Bytes. */
async function sizeOf(workspace: Folder, day: string, entries: readonly DayEntry[]): Promise<number> {
  const step = Math.ceil(entries.length / MOST_ASKED);
  const asked = entries.filter((_, index) => index % step === 0).flatMap((entry) => rawPlace(entry)?.name ?? []);
  const facts = await withFolder(workspace, [...RAW, day], (folder) =>
    Promise.all(asked.map((name) => fileFact(folder, name))),
  );
  const bytes = (facts ?? []).reduce((sum, fact) => sum + (fact?.bytes ?? 0), 0);
  return asked.length === 0 ? 0 : Math.round((bytes / asked.length) * entries.length);
}

/** Two files of one run whose numbers follow each other join without a gap. null: the next is no such file. */
export function secondsUntilNext(segment: SegmentName, next: SegmentName | undefined): number | null {
  if (next === undefined || next.run !== segment.run || next.sequence !== segment.sequence + 1) return null;
  const seconds = (next.startedAt.getTime() - segment.startedAt.getTime()) / 1000;
  // Beyond that the clock was set in between.
  return seconds >= 0 && seconds <= LONGEST_SECONDS + 1 ? seconds : null;
}

/** Names tell whole seconds, so what is less apart belongs together. */
export function joinSpans(spans: readonly Span[]): Span[] {
  const joined: Span[] = [];
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = joined.at(-1);
    if (last !== undefined && from - last.to <= 1) last.to = Math.max(last.to, to);
    else joined.push({ from, to });
  }
  return joined;
}

function secondOfDay({ startedAt }: SegmentName): number {
  return (startedAt.getTime() / 1000) % 86_400;
}
