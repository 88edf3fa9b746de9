/** Guessing is slow: after five failures from one address it has to wait, and all addresses together may try only so often. */
import type { Clock } from '../shared/clock.ts';

export interface Attempts {
  /** Whole seconds to wait before this address may try; 0: now. */
  waitSeconds(address: string): number;
  failed(address: string): void;
  /** The latest of this address was right after all. */
  succeeded(address: string): void;
}

export const MOST_FAILURES = 5;
export const LOCK_OUT_MS = 30_000;
/** From whichever addresses: a network has many. */
const MOST_IN_WINDOW = 60;
const WINDOW_MS = 60_000;
/** Addresses remembered; the oldest are forgotten. */
const MOST_ADDRESSES = 1000;

export function createAttempts(clock: Clock): Attempts {
  const byAddress = new Map<string, { failures: number; lastAtMs: number }>();
  let recent: number[] = [];

  return {
    waitSeconds(address) {
      const nowMs = clock.nowMs();
      recent = recent.filter((atMs) => nowMs - atMs < WINDOW_MS);
      const known = byAddress.get(address);
      const untilMs = known !== undefined && known.failures >= MOST_FAILURES ? known.lastAtMs + LOCK_OUT_MS : nowMs;
      const [oldest = nowMs] = recent;
      const freeAtMs = recent.length >= MOST_IN_WINDOW ? oldest + WINDOW_MS : nowMs;
      return Math.max(0, Math.ceil((Math.max(untilMs, freeAtMs) - nowMs) / 1000));
    },
    failed(address) {
      const nowMs = clock.nowMs();
      const known = byAddress.get(address);
      // Served out: counting begins anew.
      const isOver = known !== undefined && nowMs - known.lastAtMs > LOCK_OUT_MS;
      const failures = known === undefined || isOver ? 1 : known.failures + 1;
      byAddress.delete(address);
      byAddress.set(address, { failures, lastAtMs: nowMs });
      recent.push(nowMs);
      const [first] = byAddress.keys();
      if (byAddress.size > MOST_ADDRESSES && first !== undefined) byAddress.delete(first);
    },
    succeeded(address) {
      if (byAddress.has(address)) recent.pop();
      byAddress.delete(address);
    },
  };
}
