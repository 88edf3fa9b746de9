/**
 * A short chaos. `CHAOS_MINUTES=30 npm run chaos` is the long one, and prints what it did; `CHAOS_SEED` does the same things
 * in the same order again, though the machine answers in its own time.
 */
import { expect, test } from 'vitest';
import { runChaos } from './chaos.ts';

const minutes = Number(process.env.CHAOS_MINUTES ?? '0.7');
const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);
const isLong = process.env.CHAOS_MINUTES !== undefined;
/** Coming up, and coming to rest. */
const AROUND_MS = 360_000;

test(`chaos for ${minutes} minutes, seed ${seed}`, { timeout: minutes * 60_000 + AROUND_MS }, async () => {
  const begin = performance.now();
  const tell = (line: string): void => {
    if (isLong) console.log(`${((performance.now() - begin) / 1000).toFixed(1).padStart(7)} s  ${line}`);
  };
  const report = await runChaos({ seed, durationMs: minutes * 60_000, firstCard: 300, tell });
  tell(JSON.stringify(report, null, 2));
  expect(report.problems).toEqual([]);
  // A chaos in which nothing was recorded would prove nothing.
  expect(report.frames).toBeGreaterThan(0);
  expect(report.recorderRuns).toBeGreaterThan(report.problems.length);
});
