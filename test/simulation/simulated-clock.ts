/**
 * Time that only the simulation moves. Each controller has a view of its own, so that a killed one never wakes again;
 * between two timers every promise that can settle does.
 */
import type { Clock } from '../../services/controller/world.ts';

export interface SimulatedClock {
  nowMs(): number;
  wallMs(): number;
  jumpWall(byMs: number): void;
  /** A clock that stops for ever when `alive` answers false. */
  view(alive: () => boolean): Clock;
  /** Resolves after so much simulated time. */
  sleep(delayMs: number): Promise<void>;
  /** Moves time on, timer by timer. */
  advance(byMs: number): Promise<void>;
}

export function createSimulatedClock(): SimulatedClock {
  let nowMs = 0;
  let wallOffsetMs = 1_750_000_000_000;
  let sequence = 0;
  const timers = new Map<number, { atMs: number; callback: () => void }>();
  const timer = (delayMs: number, callback: () => void): (() => void) => {
    sequence += 1;
    const id = sequence;
    timers.set(id, { atMs: nowMs + Math.max(0, delayMs), callback });
    return () => void timers.delete(id);
  };
  const settle = async (): Promise<void> => {
    // A turn of the event loop runs every microtask that is due, however long their chain.
    await new Promise<void>((resolve) => setImmediate(resolve));
  };
  const earliest = (untilMs: number): number | null => {
    let found: { id: number; atMs: number } | null = null;
    for (const [id, { atMs }] of timers)
      if (atMs <= untilMs && (found === null || atMs < found.atMs)) found = { id, atMs };
    return found?.id ?? null;
  };
  return {
    nowMs: () => nowMs,
    wallMs: () => nowMs + wallOffsetMs,
    jumpWall(byMs) {
      wallOffsetMs += byMs;
    },
    view: (alive) => ({
      nowMs: () => nowMs,
      wallMs: () => nowMs + wallOffsetMs,
      timer: (delayMs, callback) => timer(delayMs, () => alive() && callback()),
    }),
    sleep: (delayMs) => new Promise((resolve) => void timer(delayMs, resolve)),
    async advance(byMs) {
      const untilMs = nowMs + byMs;
      await settle();
      for (let id = earliest(untilMs); id !== null; id = earliest(untilMs)) {
        const due = timers.get(id);
        timers.delete(id);
        if (due === undefined) continue;
        nowMs = Math.max(nowMs, due.atMs);
        due.callback();
        await settle();
      }
      nowMs = untilMs;
    },
  };
}
