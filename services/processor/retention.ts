/**
 * What goes when the disk runs full, and when it will. Pure: given files and a time, the answer.
 *
 * Order of values: audio that is captured > audio being captured > everything made of it. So copies go first, the oldest
 * before all others; recordings go only where their owner chose "overwrite".
 */
import type { ProcessorConfig } from '../shared/contract.ts';
import { byAge, diskBytesOf, hasFiles, type StoredSegment } from '../shared/recordings.ts';

export type RetentionRule = Pick<ProcessorConfig, 'reserveBytes' | 'reservePercent' | 'retention'>;

/** Bytes. */
export interface DiskSpace {
  freeBytes: number;
  totalBytes: number;
}

/** One step of making room: what goes, oldest first, of all that by its name began in a span of time. */
export interface RemovalStage {
  kind: 'recording' | 'copies';
  /** Unix milliseconds, the first within. */
  fromMs: number;
  /** Unix milliseconds, the first beyond. */
  beforeMs: number;
}

/** Unix milliseconds by the clock as it stands, which may be wrong. */
export interface Clock {
  nowMs: number;
  /** When the machine was started. */
  bootedMs: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/**
 * Copies of the last day are worth more to who overwrites than recordings of long ago: without them the page of a station
 * whose disk is always full would show no picture.
 */
const FRESH_COPIES_MS = DAY_MS;
/** What was just recorded never goes: a disk that something else fills would take every recording along. */
const FRESH_RECORDINGS_MS = HOUR_MS;
/** So much of the reserve is freed beyond it: without a margin there would be something to remove at every look. */
const MARGIN_SHARE = 0.1;
/** The last week tells how fast a disk fills; less than an hour tells nothing. */
export const GROWTH_WINDOW_MS = 7 * DAY_MS;
const SHORTEST_GROWTH_MS = HOUR_MS;
/** No recording of ours is older: whatever is dated before was recorded before its clock was set. */
const FIRST_POSSIBLE_MS = Date.parse('2026-01-01T00:00:00Z');
/** What is dated further ahead is of a clock that was wrong then, or is now. Less is a clock that was put right a little. */
const AHEAD_MS = DAY_MS;

/** Bytes that are to stay free on a disk of this size. */
export function reserveOf(rule: RetentionRule, totalBytes: number): number {
  return Math.max(rule.reserveBytes, Math.ceil((totalBytes * rule.reservePercent) / 100));
}

/** Bytes that must be free again before copies are made anew. */
export function comfortOf(reserveBytes: number): number {
  return Math.ceil(reserveBytes * (1 + MARGIN_SHARE));
}

/** Bytes to be freed now; 0 while the reserve is untouched. */
export function bytesToFree(rule: RetentionRule, disk: DiskSpace): number {
  const reserve = reserveOf(rule, disk.totalBytes);
  return disk.freeBytes >= reserve ? 0 : comfortOf(reserve) - disk.freeBytes;
}

/**
 * The steps of making room, in order. Names tell the age only as far as clocks were right: one without a battery begins
 * years ago at each boot, until somebody sets it. So what was recorded since this boot goes last, before it what bears an
 * impossible date, and before that what is surely of an earlier boot.
 */
export function removalStages(retention: RetentionRule['retention'], { nowMs, bootedMs }: Clock): RemovalStage[] {
  const begin = Number.NEGATIVE_INFINITY;
  const end = Number.POSITIVE_INFINITY;
  const allCopies: RemovalStage = { kind: 'copies', fromMs: begin, beforeMs: end };
  if (retention === 'keep') return [allCopies];
  const freshMs = nowMs - FRESH_RECORDINGS_MS;
  const sinceBootMs = Math.min(bootedMs, freshMs);
  const aheadMs = nowMs + AHEAD_MS;
  return [
    { kind: 'copies', fromMs: begin, beforeMs: nowMs - FRESH_COPIES_MS },
    { kind: 'recording', fromMs: FIRST_POSSIBLE_MS, beforeMs: sinceBootMs },
    { kind: 'recording', fromMs: aheadMs, beforeMs: end },
    { kind: 'recording', fromMs: begin, beforeMs: Math.min(FIRST_POSSIBLE_MS, sinceBootMs) },
    { kind: 'copies', fromMs: aheadMs, beforeMs: end },
    { kind: 'recording', fromMs: sinceBootMs, beforeMs: freshMs },
    allCopies,
  ];
}

/** Which of these go in one stage: the oldest, only as many as are needed. */
export function chooseRemovals(
  segments: readonly StoredSegment[],
  stage: RemovalStage,
  bytesNeeded: number,
): StoredSegment[] {
  const chosen: StoredSegment[] = [];
  let freed = 0;
  for (const stored of [...segments].sort(byAge)) {
    const atMs = stored.segment.startedAt.getTime();
    if (freed >= bytesNeeded || atMs >= stage.beforeMs) break;
    if (atMs < stage.fromMs || !hasFiles(stored, stage.kind)) continue;
    chosen.push(stored);
    freed += diskBytesOf(stored, stage.kind);
  }
  return chosen;
}

/** What is known of one day of one device, for the forecast. */
export interface DayOnDisk {
  /** Unix milliseconds of the first recording of that day. */
  firstMs: number | null;
  recordingBytes: number;
  copyBytes: number;
}

export interface Forecast {
  growthBytesPerDay: number | null;
  fullInDays: number | null;
}

/**
 * How fast recordings fill the disk, by those of the last week, and when they will have taken all but the reserve (copies
 * make room for them).
 */
export function forecast(rule: RetentionRule, disk: DiskSpace, days: readonly DayOnDisk[], nowMs: number): Forecast {
  const dayOf = (atMs: number): number => Math.floor(atMs / DAY_MS);
  const recordedDays = new Set(days.flatMap(({ firstMs }) => (firstMs === null ? [] : [dayOf(firstMs)])));
  let bytes = 0;
  let beganMs = nowMs;
  let copyBytes = 0;
  for (const day of days) {
    copyBytes += day.copyBytes;
    // What seems to come from the future was recorded by a clock that was wrong.
    if (day.firstMs === null || day.firstMs < nowMs - GROWTH_WINDOW_MS || day.firstMs > nowMs) continue;
    bytes += day.recordingBytes;
    // Who recorded the day before as well didn't begin with this day's first recording: the silence before it counts.
    const isContinued = recordedDays.has(dayOf(day.firstMs) - 1);
    beganMs = Math.min(beganMs, isContinued ? dayOf(day.firstMs) * DAY_MS : day.firstMs);
  }
  const spanMs = nowMs - beganMs;
  if (spanMs < SHORTEST_GROWTH_MS) return { growthBytesPerDay: null, fullInDays: null };
  const growthBytesPerDay = (bytes / spanMs) * DAY_MS;
  const room = Math.max(0, disk.freeBytes + copyBytes - reserveOf(rule, disk.totalBytes));
  const fills = rule.retention === 'keep' && growthBytesPerDay > 0;
  return { growthBytesPerDay, fullInDays: fills ? room / growthBytesPerDay : null };
}
