/**
 * Does a recorder advance? Judged by what its status file says, timed by our own monotonic clock: file times and the
 * recorder's wall clock jump. Pure.
 */
import type { RecorderStatus } from '../shared/contract.ts';
import type { Reading } from './world.ts';

/** What is known of one live container's advance. */
export interface Watch {
  containerId: string;
  /** It ran before this controller saw it: the first position read is where counting begins, not an advance. */
  adopted: boolean;
  /** `run:frames` as last read. */
  position: string | null;
  /** The recorder's own clock as last read; changes as long as it writes, also while it waits for room or hardware. */
  writtenAt: number | null;
  /** Last advance, or where its window began. Monotonic ms. */
  lastAdvanceMs: number;
  /** First advance of the present stretch; null: none yet. */
  advancingSinceMs: number | null;
}

/** A full window is granted from the moment we first look. */
export function startWatch(containerId: string, adopted: boolean, nowMs: number): Watch {
  return { containerId, adopted, position: null, writtenAt: null, lastAdvanceMs: nowMs, advancingSinceMs: null };
}

/**
 * Takes one reading of the status file. `null` status: this subject has none to look at, living is advancing.
 * A failed reading is unknown and costs nothing; a missing or unparsable file is "not advancing".
 */
export function advance(watch: Watch, status: Reading<RecorderStatus | null> | null | undefined, nowMs: number): Watch {
  if (status === null) return { ...watch, lastAdvanceMs: nowMs, advancingSinceMs: watch.advancingSinceMs ?? nowMs };
  if (status === undefined || !status.ok) return { ...watch, lastAdvanceMs: nowMs };
  const told = status.value;
  if (told === null) return watch;
  const position = `${told.run}:${told.frames}`;
  const seen = { ...watch, position, writtenAt: told.at };
  // What it can be judged by begins here: whatever kept us from reading it before is not its fault.
  if (watch.position === null && watch.adopted) return { ...seen, lastAdvanceMs: nowMs };
  if (position !== watch.position && told.frames > 0) {
    return { ...seen, lastAdvanceMs: nowMs, advancingSinceMs: watch.advancingSinceMs ?? nowMs };
  }
  const waitsForReason = (told.state === 'no_space' || told.state === 'retrying') && told.reason !== '';
  if (waitsForReason && told.at !== watch.writtenAt) return { ...seen, lastAdvanceMs: nowMs, advancingSinceMs: null };
  return seen;
}

export function isStalled(watch: Watch, nowMs: number, stallTimeoutMs: number): boolean {
  return nowMs - watch.lastAdvanceMs >= stallTimeoutMs;
}

/** Good running: it has advanced for this long. */
export function isGood(watch: Watch, goodAfterMs: number): boolean {
  return watch.advancingSinceMs !== null && watch.lastAdvanceMs - watch.advancingSinceMs >= goodAfterMs;
}

/** A cycle that waits for database and engine as long as it may takes less. */
const READING_LASTS_MS = 5000;

/**
 * Only what was read just now: between a look and its use this process may have been held up, and what stood still then
 * may have advanced ever since. Unknown costs nothing.
 */
export function currentOnly<Key>(
  statuses: ReadonlyMap<Key, Reading<RecorderStatus | null>>,
  nowMs: number,
): Map<Key, Reading<RecorderStatus | null>> {
  return new Map(
    [...statuses].map(([key, status]) => {
      if (nowMs - status.startedAtMs <= READING_LASTS_MS) return [key, status];
      return [key, { ok: false, error: 'It was read too long ago.', startedAtMs: status.startedAtMs }];
    }),
  );
}
