/** Every clock keeps the contract of the port: the two of the tests, and the real one. */
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { createSimulatedClock } from '../simulation/simulated-clock.ts';
import { createManualClock } from '../unit/in-memory-world.ts';

interface ClockHarness {
  clock: Clock;
  /** Comes back when so much time has passed. */
  pass(byMs: number): Promise<void>;
}

function realClock(): ClockHarness {
  const clock = createClock();
  return { clock, pass: (byMs) => new Promise((resolve) => void setTimeout(resolve, byMs)) };
}
function manualClock(): ClockHarness {
  const clock = createManualClock();
  return { clock, pass: (byMs) => clock.advance(byMs) };
}
function simulatedClock(): ClockHarness {
  const clock = createSimulatedClock();
  return { clock: clock.view(() => true), pass: (byMs) => clock.advance(byMs) };
}

describe.each([
  ['real', realClock],
  ['manual', manualClock],
  ['simulated', simulatedClock],
])('the clock port: %s', (_name, open) => {
  test('a timer fires once, not before its time, never within the call, and in the order of their times', async () => {
    const { clock, pass } = open();
    const fired: [string, number][] = [];
    const beganMs = clock.nowMs();
    for (const [name, delayMs] of [
      ['late', 60],
      ['now', 0],
      ['soon', 20],
    ] as const)
      clock.timer(delayMs, () => fired.push([name, clock.nowMs() - beganMs]));
    expect(fired).toEqual([]);
    await pass(120);
    expect(fired.map(([name]) => name)).toEqual(['now', 'soon', 'late']);
    // Node rounds to whole milliseconds.
    expect(fired[1]?.[1]).toBeGreaterThanOrEqual(19);
    expect(fired[2]?.[1]).toBeGreaterThanOrEqual(59);
    await pass(80);
    expect(fired).toHaveLength(3);
  });

  test('one that was cancelled never fires, also when that is done by another that fires, and twice is once', async () => {
    const { clock, pass } = open();
    const fired: string[] = [];
    const cancel = clock.timer(30, () => fired.push('cancelled'));
    clock.timer(10, () => {
      fired.push('first');
      cancel();
      cancel();
    });
    await pass(80);
    expect(fired).toEqual(['first']);
    cancel();
  });

  test('a timer made by a timer fires too, and time goes on meanwhile', async () => {
    const { clock, pass } = open();
    const seenMs: number[] = [clock.nowMs()];
    clock.timer(10, () => {
      seenMs.push(clock.nowMs());
      clock.timer(10, () => seenMs.push(clock.nowMs()));
    });
    await pass(100);
    expect(seenMs).toHaveLength(3);
    expect([...seenMs].sort((a, b) => a - b)).toEqual(seenMs);
    expect(clock.nowMs()).toBeGreaterThanOrEqual(seenMs[2] ?? Number.POSITIVE_INFINITY);
  });
});
