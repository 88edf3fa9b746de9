/** Wall clock with the resolution of the monotonic one: the engine tells its times by the wall. */

export interface WallClock {
  /** Unix milliseconds, with fractions. */
  nowMs(): number;
}

/** Set by the edge of a millisecond, which it waits for: clocks are disciplined while a bench runs, so make one per measurement. */
export function createWallClock(): WallClock {
  const before = Date.now();
  let now = before;
  while (now === before) now = Date.now();
  const offsetMs = now - performance.now();
  return { nowMs: () => performance.now() + offsetMs };
}

export const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs));
