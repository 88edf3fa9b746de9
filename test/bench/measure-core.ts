/** Runs `core.ts` in a process of its own and makes rows of what it measured. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { runProgram } from '../../services/station/run-program.ts';
import type { Progress } from './measure-starts.ts';
import { compare, type Row } from './statistics.ts';

const DEADLINE_MS = 600_000;
const GROWTH_CYCLES = 10_000;
/** Ten times the subjects: ten would be linear to the letter; the collection of garbage has its moods. */
const LINEAR_FACTOR = 12.5;

export interface CoreResult {
  rows: Row[];
  /** Milliseconds of CPU for a cycle, by number of simulated microphones. */
  cycles: Map<number, number>;
}

/** `n`: of how many measurements the medians are; each is a process of its own. */
export async function measureCore(growthCycles: number, n: number, progress: Progress): Promise<CoreResult> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-bench-core-'));
  try {
    const program = join(folder, 'core.mjs');
    await build({
      entryPoints: [resolve(import.meta.dirname, '../../test/bench/core.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      logLevel: 'warning',
      banner: {
        js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
      },
    });
    const ask = async <T>(...words: string[]): Promise<T> => {
      progress(`core: ${words.join(' ')}`);
      // As the controller runs.
      const args = ['--expose-gc', '--max-semi-space-size=1', program, ...words];
      const { code, stdout, stderr } = await runProgram(process.execPath, args, { timeoutMs: DEADLINE_MS });
      if (code !== 0) throw new Error(`The core could not be measured (${words.join(' ')}): ${stderr}`);
      return JSON.parse(stdout);
    };
    const plans: Record<string, number>[] = [];
    for (let sample = 0; sample < n; sample += 1) plans.push(await ask('plan'));
    const cycles = await ask<Record<string, number>>('cycles');
    const grown = await ask<number>('growth', String(growthCycles));
    return {
      rows: [...planRows(plans), growthRow(grown, growthCycles)],
      cycles: new Map(Object.entries(cycles).map(([count, costMs]) => [Number(count), costMs])),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function planRows(plans: readonly Record<string, number>[]): Row[] {
  const of = (subjects: number): number[] => plans.map((times) => times[subjects] ?? Number.NaN);
  return [
    compare({
      name: 'plan, 100 subjects',
      floor: null,
      ours: of(100),
      unit: 'ms',
      bar: '≤ 1 ms',
      limit: () => 1,
    }),
    // Those of a hundred fit into the processor's cache: what it costs to leave that says nothing of the growth.
    compare({
      name: 'plan, 10 000 subjects against 100',
      floor: of(100),
      ours: of(10_000),
      unit: 'ms',
      bar: '',
      limit: null,
    }),
    compare({
      name: 'plan, 10 000 subjects against 1000',
      floor: of(1000),
      ours: of(10_000),
      unit: 'ms',
      bar: `linear: ≤ ${LINEAR_FACTOR} × floor`,
      limit: (floor) => LINEAR_FACTOR * floor,
    }),
  ];
}

function growthRow(mebibytes: number, cycles: number): Row {
  const scaled = cycles < GROWTH_CYCLES ? `, of ${cycles} measured` : '';
  const ours = Math.max(0, (mebibytes * GROWTH_CYCLES) / cycles);
  return compare({
    name: `controller, growth over 10 000 cycles (simulated world${scaled})`,
    floor: null,
    ours: [ours],
    unit: 'MiB',
    bar: '≤ 5 MiB',
    limit: () => 5,
  });
}
