/**
 * When to look: at once when woken, never more than ten times a second, at the latest every tick. A wake carries no
 * data, so losing one costs at most a tick, and a thousand of them cost no more than one.
 */
import type { Clock } from './world.ts';

export interface Loop {
  start(): void;
  /** Asks for a cycle. During a cycle: for another one after it. */
  wake(): void;
  /** No further cycle begins; resolves when the present one has ended. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  clock: Clock;
  tickMs: number;
  /** One cycle; answers when to look again by itself (monotonic ms), null: at the tick. Must not throw. */
  cycle: (isTick: boolean) => Promise<number | null>;
}

/** Between the starts of two cycles. */
export const MIN_CYCLE_GAP_MS = 100;

export function createLoop({ clock, tickMs, cycle }: LoopOptions): Loop {
  let running: Promise<void> | null = null;
  let woken = false;
  let stopped = true;
  let lastStartMs = Number.NEGATIVE_INFINITY;
  let nextTickMs = 0;
  let cancelTimer = (): void => {};

  const schedule = (atMs: number): void => {
    cancelTimer();
    cancelTimer = clock.timer(Math.max(0, atMs - clock.nowMs()), begin);
  };

  const begin = (): void => {
    woken = false;
    lastStartMs = clock.nowMs();
    const isTick = lastStartMs >= nextTickMs;
    if (isTick) nextTickMs = lastStartMs + tickMs;
    running = cycle(isTick).then((deadlineMs) => {
      running = null;
      if (stopped) return;
      const earliestMs = lastStartMs + MIN_CYCLE_GAP_MS;
      const wantedMs = woken ? earliestMs : Math.min(nextTickMs, deadlineMs ?? Number.POSITIVE_INFINITY);
      schedule(Math.max(earliestMs, wantedMs));
    });
  };

  return {
    start() {
      stopped = false;
      nextTickMs = clock.nowMs();
      schedule(nextTickMs);
    },
    wake() {
      woken = true;
      // During a cycle no timer runs, so that no two cycles ever do.
      if (!stopped && running === null) schedule(lastStartMs + MIN_CYCLE_GAP_MS);
    },
    async stop() {
      stopped = true;
      cancelTimer();
      await running;
    },
  };
}
