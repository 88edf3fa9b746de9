/** What mutants are tried by: the unit tests and properties of the core, then simulated worlds. Bundled with mutants inside. */
import '../unit/progress.test.ts';
import '../unit/plan.test.ts';
import '../unit/plan-properties.test.ts';
import '../unit/inventory.test.ts';
import '../unit/spec.test.ts';
import '../unit/controller.test.ts';
import '../unit/loop.test.ts';
import '../unit/wishes-remembered.test.ts';
import '../unit/inventory-facts.test.ts';
import '../unit/plan-words.test.ts';
import '../unit/plan-updates.test.ts';
import '../unit/plan-told.test.ts';
import '../unit/plan-failures.test.ts';
import '../unit/plan-remembered.test.ts';
import '../unit/device-identity.test.ts';
import fc from 'fast-check';
import { simulate } from '../simulation/simulation.ts';
import { collect } from './runner.ts';

// The same luck for every mutant, and less of it: what properties need many runs for, worlds find.
fc.configureGlobal({ seed: 7, numRuns: 40, endOnFailure: true });

interface Stryker {
  activeMutant?: string | undefined;
  currentTestId?: string | undefined;
  hitCount?: number | undefined;
  hitLimit?: number | undefined;
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> };
}

/** Set by the thread before this was loaded. */
const stryker = (globalThis as unknown as { __stryker__: Stryker }).__stryker__;
/** Loops without end are ended by this many visits of the mutant: in a world, and in a test for each visit without a mutant. */
const WORLD_HIT_LIMIT = 3_000_000;
const HIT_FACTOR = 100;
const LEAST_HIT_LIMIT = 10_000;

interface SurveyedTest {
  ms: number;
  /** Mutant → how often. */
  visits: Record<string, number>;
}

/**
 * Without any mutant: which are visited while this is loaded (`isStatic`), which while tests prepare what they share
 * (`isPrepared`), which by which test, and how long each takes. Throws where one fails.
 */
export async function survey(): Promise<{
  isStatic: string[];
  isPrepared: string[];
  tests: Record<string, SurveyedTest>;
}> {
  const tests: Record<string, SurveyedTest> = {};
  const outsideOfTests = (): string[] => Object.keys(stryker.mutantCoverage?.static ?? {});
  const atLoad = outsideOfTests();
  const cases = collect();
  const isPrepared = outsideOfTests();
  for (const { name, run } of cases) {
    stryker.currentTestId = name;
    const beganMs = performance.now();
    await run();
    const ms = performance.now() - beganMs;
    tests[name] = { ms, visits: stryker.mutantCoverage?.perTest[name] ?? {} };
  }
  stryker.currentTestId = undefined;
  return { isStatic: atLoad, isPrepared, tests };
}

/** Who kills this mutant, of these tests in this order, then of these worlds: a test's name, or a seed; null: it lives. */
export async function attempt(
  mutant: string,
  tests: readonly { name: string; visits: number }[],
  seeds: { from: number; count: number },
): Promise<string | null> {
  stryker.activeMutant = mutant;
  stryker.hitCount = 0;
  stryker.hitLimit = WORLD_HIT_LIMIT;
  try {
    const cases = new Map(collect().map(({ name, run }) => [name, run]));
    for (const { name, visits } of tests) {
      const run = cases.get(name);
      if (run === undefined) return `${name}: it cannot be prepared`;
      stryker.hitCount = 0;
      stryker.hitLimit = Math.max(LEAST_HIT_LIMIT, visits * HIT_FACTOR);
      try {
        await run();
      } catch (cause) {
        return `${name}: ${String(cause).split('\n', 1)[0]}`;
      }
    }
    stryker.hitLimit = WORLD_HIT_LIMIT;
    for (let seed = seeds.from; seed < seeds.from + seeds.count; seed += 1) {
      stryker.hitCount = 0;
      const { failure } = await simulate(seed);
      if (failure !== null) return `seed ${seed}: ${failure.what}`;
    }
    return null;
  } finally {
    stryker.activeMutant = undefined;
  }
}
