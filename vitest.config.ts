import { availableParallelism, totalmem } from 'node:os';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/longest-first.ts';

/** A worker of the integration tests waits most of its time, and has a database, a browser and recorders beside it. */
const WORKERS_PER_CORE = 2;
const BYTES_PER_WORKER = 1.5 * 2 ** 30;
const waitingWorkers = Math.max(
  2,
  Math.min(WORKERS_PER_CORE * availableParallelism(), Math.floor(totalmem() / BYTES_PER_WORKER)),
);

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts', 'test/contract/**/*.unit.test.ts', 'test/fuzz/**/*.test.ts'],
          sequence: { groupOrder: 1 },
          testTimeout: 20_000,
          // One process for many files: most of their time was the start of a process and its imports.
          pool: 'forks',
          isolate: false,
          maxWorkers: availableParallelism(),
        },
      },
      {
        test: {
          name: 'simulation',
          include: ['test/simulation/**/*.test.ts'],
          // Beside the integration tests, in the time in which those wait.
          sequence: { groupOrder: 2 },
          setupFiles: ['test/simulation/give-way.ts'],
          testTimeout: 600_000,
          pool: 'forks',
          maxWorkers: waitingWorkers,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/{integration,e2e,chaos}/**/*.test.ts', 'test/contract/**/*.integration.test.ts'],
          // Projects of one group must agree on their workers.
          sequence: { groupOrder: 2 },
          globalSetup: ['test/integration/global-setup.ts'],
          testTimeout: 90_000,
          hookTimeout: 180_000,
          pool: 'forks',
          maxWorkers: waitingWorkers,
        },
      },
    ],
  },
});
