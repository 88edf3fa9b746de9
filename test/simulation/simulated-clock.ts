/**
 * Time that only the simulation moves. Each controller has a view of its own, so that a killed one never wakes again;
 * between two timers every promise that can settle does.
 */
import type { Clock } from '../../services/controller/world.ts';

export interface SimulatedClock {
  nowMs(): number;
  wallMs(): number;
  jumpWall(byMs: number): void;
  /** A clock that stops for ever when `alive` answers false, and whose timers wait for `awakeAtMs`. */
  view(alive: () => boolean, awakeAtMs?: () => number): Clock;
  /** Resolves after so much simulated time. */
  sleep(delayMs: number): Promise<void>;
  /** Calls back after so much simulated time. */
  after(delayMs: number, callback: () => void): void;
  /** Moves time on, timer by timer; `onMoved` is called when all that was due at one moment has been done. */
  advance(byMs: number, onMoved?: () => void): Promise<void>;
}

interface Timer {
  atMs: number;
  sequence: number;
  callback: (() => void) | null;
}

export function createSimulatedClock(): SimulatedClock {
  let nowMs = 0;
  let wallOffsetMs = 1_750_000_000_000;
  let sequence = 0;
  const timers = createHeap();
  const timer = (delayMs: number, callback: () => void): (() => void) => {
    sequence += 1;
    const entry: Timer = { atMs: nowMs + Math.max(0, delayMs), sequence, callback };
    timers.push(entry);
    return () => {
      entry.callback = null;
    };
  };
  const after = (delayMs: number, callback: () => void): void => void timer(delayMs, callback);
  return {
    nowMs: () => nowMs,
    wallMs: () => nowMs + wallOffsetMs,
    jumpWall(byMs) {
      wallOffsetMs += byMs;
    },
    view(alive, awakeAtMs = () => 0) {
      const wake = (callback: () => void): void => {
        if (!alive()) return;
        const asleepMs = awakeAtMs() - nowMs;
        if (asleepMs > 0) after(asleepMs, () => wake(callback));
        else callback();
      };
      return {
        nowMs: () => nowMs,
        wallMs: () => nowMs + wallOffsetMs,
        timer(delayMs, callback) {
          let due: (() => void) | null = callback;
          const cancel = timer(delayMs, () => wake(() => due?.()));
          // One that is due while its owner sleeps can still be taken back when he goes on.
          return () => {
            due = null;
            cancel();
          };
        },
      };
    },
    sleep: (delayMs) => new Promise((resolve) => after(delayMs, resolve)),
    after,
    async advance(byMs, onMoved) {
      const untilMs = nowMs + byMs;
      await settle();
      for (let next = timers.peek(); next !== undefined && next.atMs <= untilMs; next = timers.peek()) {
        timers.pop();
        if (next.callback === null) continue;
        if (next.atMs > nowMs) onMoved?.();
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
        await settle();
      }
      nowMs = untilMs;
      onMoved?.();
    },
  };
}

/** Node begins its next tick when no promise is left that can settle, however long their chain. */
const settle = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

const isBefore = (a: Timer, b: Timer): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);

/** A binary heap: the earliest first, and of one moment in the order in which they were set. */
function createHeap() {
  const entries: Timer[] = [];
  const swapIfBefore = (child: number, parent: number): boolean => {
    const [a, b] = [entries[child], entries[parent]];
    if (a === undefined || b === undefined || !isBefore(a, b)) return false;
    entries[child] = b;
    entries[parent] = a;
    return true;
  };
  return {
    peek: (): Timer | undefined => entries[0],
    push(entry: Timer): void {
      let index = entries.push(entry) - 1;
      while (index > 0) {
        const parent = (index - 1) >> 1;
        if (!swapIfBefore(index, parent)) return;
        index = parent;
      }
    },
    pop(): void {
      const last = entries.pop();
      if (last === undefined || entries.length === 0) return;
      entries[0] = last;
      for (let index = 0; ; ) {
        const left = 2 * index + 1;
        const [a, b] = [entries[left], entries[left + 1]];
        const smaller = a !== undefined && b !== undefined && isBefore(b, a) ? left + 1 : left;
        if (!swapIfBefore(smaller, index)) return;
        index = smaller;
      }
    },
  };
}
