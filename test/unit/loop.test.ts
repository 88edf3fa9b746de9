/** When the controller looks: at once, not too often, at the latest every tick. */
import { describe, expect, test } from 'vitest';
import { createLoop, MIN_CYCLE_GAP_MS } from '../../services/controller/loop.ts';
import { createManualClock } from './in-memory-world.ts';

const TICK_MS = 30_000;

/** Cycles take as long as is said, and ask for what is said. */
function watchedLoop(given: { lastsMs?: number; deadline?: (nowMs: number) => number | null } = {}) {
  const clock = createManualClock();
  /** Timers of the loop that are still to come. */
  const pending = new Set<object>();
  const watched = {
    ...clock,
    timer(delayMs: number, run: () => void) {
      const one = {};
      pending.add(one);
      const cancel = clock.timer(delayMs, () => {
        pending.delete(one);
        run();
      });
      return () => {
        pending.delete(one);
        cancel();
      };
    },
  };
  const cycles: { atMs: number; isTick: boolean }[] = [];
  let running = 0;
  let most = 0;
  const loop = createLoop({
    clock: watched,
    tickMs: TICK_MS,
    async cycle(isTick) {
      cycles.push({ atMs: clock.nowMs(), isTick });
      running += 1;
      most = Math.max(most, running);
      const { lastsMs = 0 } = given;
      if (lastsMs > 0) await new Promise<void>((resolve) => clock.timer(lastsMs, resolve));
      running -= 1;
      return given.deadline?.(clock.nowMs()) ?? null;
    },
  });
  return { clock, loop, cycles, pending, times: () => cycles.map(({ atMs }) => atMs), most: () => most };
}

describe('the loop', () => {
  test('looks at its start, then at every tick', async () => {
    const { clock, loop, cycles } = watchedLoop();
    loop.start();
    await clock.advance(2 * TICK_MS);
    expect(cycles).toEqual([0, TICK_MS, 2 * TICK_MS].map((atMs) => ({ atMs, isTick: true })));
  });

  test('woken: looks at once, and the tick comes all the same', async () => {
    const { clock, loop, cycles } = watchedLoop();
    loop.start();
    await clock.advance(5000);
    loop.wake();
    await clock.advance(TICK_MS);
    expect(cycles).toEqual([
      { atMs: 0, isTick: true },
      { atMs: 5000, isTick: false },
      { atMs: TICK_MS, isTick: true },
    ]);
  });

  test('woken ever again: no more often than the gap allows, and not forgotten', async () => {
    const { clock, loop, times } = watchedLoop();
    loop.start();
    await clock.advance(10);
    for (let step = 0; step < 30; step += 1) {
      loop.wake();
      await clock.advance(10);
    }
    await clock.advance(1000);
    expect(times()).toEqual([0, 1, 2, 3, 4].map((index) => index * MIN_CYCLE_GAP_MS));
  });

  test('woken during a cycle: looks again after it, never two at once', async () => {
    const { clock, loop, times, most } = watchedLoop({ lastsMs: 250 });
    loop.start();
    await clock.advance(100);
    loop.wake();
    loop.wake();
    await clock.advance(1000);
    expect(times()).toEqual([0, 250]);
    expect(most()).toBe(1);
  });

  test('a cycle that asks to look again is obeyed, but not before the gap', async () => {
    const asked = [7000, 7010, null, null];
    const { clock, loop, times } = watchedLoop({ deadline: () => asked.shift() ?? null });
    loop.start();
    await clock.advance(TICK_MS - 1);
    expect(times()).toEqual([0, 7000, 7000 + MIN_CYCLE_GAP_MS]);
  });

  test('stopped: waits for the cycle that runs, begins no other, and is deaf', async () => {
    const { clock, loop, pending, times } = watchedLoop({ lastsMs: 250 });
    loop.wake();
    expect(pending.size).toBe(0);
    await clock.advance(1000);
    expect(times()).toEqual([]);
    loop.start();
    await clock.advance(100);
    loop.wake();
    let ended = false;
    void loop.stop().then(() => {
      ended = true;
    });
    await clock.advance(100);
    expect(ended).toBe(false);
    await clock.advance(100);
    expect(ended).toBe(true);
    loop.wake();
    // Nothing is left that would keep a process alive.
    expect(pending.size).toBe(0);
    await clock.advance(3 * TICK_MS);
    expect(times()).toEqual([1000]);
  });

  test('stopped between two cycles: no timer is left', async () => {
    const { clock, loop, pending } = watchedLoop();
    loop.start();
    await clock.advance(5000);
    expect(pending.size).toBe(1);
    await loop.stop();
    expect(pending.size).toBe(0);
  });
});
