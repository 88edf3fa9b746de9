/** Tries again and again, often at first, then at most every 30 s, until it succeeds. */
import type { Clock } from './world.ts';

export interface Prober {
  /** Tries at once, and goes on until an attempt succeeds. While it is trying, this changes nothing. */
  start(): void;
  /** Ends the trying for good. */
  stop(): void;
}

const FIRST_DELAY_MS = 250;
/** So many attempts before the delay begins to double: most outages are a restart. */
const QUICK_ATTEMPTS = 4;
const LONGEST_DELAY_MS = 30_000;

/** Time from attempt number `failed` (1 is the first) to the next. Milliseconds. */
export function probeDelayMs(failed: number): number {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, failed - QUICK_ATTEMPTS));
}

/**
 * `attempt` says whether it succeeded, and must not throw. `onSuccess` is called when the prober has come to rest, so
 * that it can be started again from there.
 */
export function createProber(clock: Clock, attempt: () => Promise<boolean>, onSuccess: () => void): Prober {
  let state: 'resting' | 'trying' | 'stopped' = 'resting';
  let cancelTimer = (): void => {};

  const tryOnce = async (failedBefore: number): Promise<void> => {
    const succeeded = await attempt();
    if (state !== 'trying') return;
    if (succeeded) {
      state = 'resting';
      onSuccess();
    } else cancelTimer = clock.timer(probeDelayMs(failedBefore + 1), () => void tryOnce(failedBefore + 1));
  };

  return {
    start() {
      if (state !== 'resting') return;
      state = 'trying';
      void tryOnce(0);
    },
    stop() {
      state = 'stopped';
      cancelTimer();
    },
  };
}
