/** Time as an argument, and the real clock. */

/** Monotonic time, wall time and timers; the simulation has its own. */
export interface Clock {
  /** Monotonic, milliseconds. */
  nowMs(): number;
  /** Unix milliseconds; jumps when the clock is set. */
  wallMs(): number;
  /** Calls back once after `delayMs`; returns its cancellation. */
  timer(delayMs: number, callback: () => void): () => void;
}

/** Node fires a timer at once whose delay does not fit into 31 bits, so a longer wait goes in steps. Milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Monotonic time is `CLOCK_MONOTONIC`: no jump when the clock is set, and it stands still while the machine sleeps.
 * A pending timer keeps the process alive, so that a deadline that somebody waits for cannot be forgotten.
 */
export function createClock(): Clock {
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    timer(delayMs, callback) {
      let remainingMs = delayMs;
      let handle: NodeJS.Timeout;
      const step = () => {
        const stepMs = Math.min(remainingMs, LONGEST_TIMER_MS);
        remainingMs -= stepMs;
        handle = setTimeout(remainingMs > 0 ? step : callback, stepMs);
      };
      step();
      return () => clearTimeout(handle);
    },
  };
}

/** Waits for something that never fails, but no longer than `limitMs`. */
export function atMost(clock: Clock, limitMs: number, awaited: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.timer(limitMs, resolve);
    void awaited.then(resolve).finally(cancel);
  });
}
