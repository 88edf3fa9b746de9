/**
 * `npm run simulate -- --seeds 10000 [--from 1] [--workers 2] [--visits 100]`: so many worlds on all cores, with the table of
 * what was seen when. `--seed 7 [--only 3,14,15]` replays one world, or some of its steps, and tells its story.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { FAULTS } from './faults.ts';
import { shrink } from './shrink.ts';
import { PHASES, type SimulationResult, STEPS, simulate } from './simulation.ts';
import { countSeldom, visitTable } from './visits.ts';

/** What a worker answers to a range of seeds. */
export interface Share {
  worlds: number;
  faults: number;
  starts: number;
  cycles: number;
  visits: Uint32Array;
  failed: { seed: number; what: string } | null;
}

const SEEDS_PER_SHARE = 50;
const TELL_EVERY_MS = 5000;
const LINES_OF_HISTORY = 60;

interface Options {
  seeds: number;
  from: number;
  workers: number;
  /** Fewer visits of any pair fail the run; 0: they are only told. */
  visits: number;
  replay: { seed: number; only: ReadonlySet<number> | null } | null;
}

/** Runs what the command line asks for; answers the exit code. `program`: the bundle that workers run. */
export async function runCommand(args: readonly string[], program: string): Promise<number> {
  const options = parseCommand(args);
  if (typeof options === 'string') {
    console.error(options);
    return 64;
  }
  if (options.replay !== null) return await replay(options.replay.seed, options.replay.only);
  const beganMs = performance.now();
  const total = await runWorlds(options, program, beganMs);
  const seconds = (performance.now() - beganMs) / 1000;
  if (total.failed !== null) {
    await explain(total.failed.seed);
    return 1;
  }
  console.log(visitTable(total.visits));
  const seldom = countSeldom(total.visits, options.visits);
  const speed = `${(total.worlds / seconds).toFixed(0)} a second on ${options.workers} cores`;
  console.log(
    `${total.worlds} worlds in ${seconds.toFixed(0)} s (${speed}), ${total.faults} faults, ${total.cycles} cycles, ${total.starts} starts.`,
  );
  if (seldom.length > 0)
    console.log(
      `Seen fewer than ${options.visits} times: ${seldom.map(([phase, fault]) => `${phase} × ${fault}`).join('; ')}.`,
    );
  // A world in which nothing ever starts proves nothing.
  const hollow = total.starts < total.worlds;
  if (hollow) console.log(`Only ${total.starts} recorders were ever started: nothing is proven by that.`);
  return hollow || seldom.length > 0 ? 1 : 0;
}

function parseCommand(args: readonly string[]): Options | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '2000' },
      from: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(availableParallelism()) },
      visits: { type: 'string', default: '0' },
      seed: { type: 'string' },
      only: { type: 'string' },
    },
  });
  const [seeds, from, workers, visits] = [values.seeds, values.from, values.workers, values.visits].map(Number);
  if (![seeds, from, workers, visits].every((value) => Number.isInteger(value) && Number(value) >= 0))
    return 'Give whole numbers: --seeds 10000 --from 1 --workers 2 --visits 100.';
  const only = values.only === undefined ? null : new Set(values.only.split(',').map(Number));
  if (only !== null && [...only].some((step) => !Number.isInteger(step) || step < 0 || step >= STEPS))
    return `Give steps from 0 to ${STEPS - 1}: --only 3,14,15.`;
  const replay = values.seed === undefined ? null : { seed: Number(values.seed), only };
  return { seeds: seeds ?? 0, from: from ?? 1, workers: Math.max(1, workers ?? 1), visits: visits ?? 0, replay };
}

/** Hands out shares of seeds to workers until all are done or one has failed. */
async function runWorlds({ seeds, from, workers }: Options, program: string, beganMs: number): Promise<Share> {
  const total: Share = {
    worlds: 0,
    faults: 0,
    starts: 0,
    cycles: 0,
    visits: new Uint32Array(PHASES.length * FAULTS.length),
    failed: null,
  };
  let next = from;
  let toldMs = beganMs;
  const add = (share: Share): void => {
    total.worlds += share.worlds;
    total.faults += share.faults;
    total.starts += share.starts;
    total.cycles += share.cycles;
    for (const [cell, count] of share.visits.entries()) total.visits[cell] = (total.visits[cell] ?? 0) + count;
    if (share.failed !== null && (total.failed === null || share.failed.seed < total.failed.seed))
      total.failed = share.failed;
    const nowMs = performance.now();
    if (nowMs - toldMs < TELL_EVERY_MS) return;
    toldMs = nowMs;
    const speed = (total.worlds / ((nowMs - beganMs) / 1000)).toFixed(0);
    console.log(`${total.worlds} of ${seeds} worlds, ${speed} a second`);
  };
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(program, { resourceLimits: { maxYoungGenerationSizeMb: 64 } });
      const askForMore = (): void => {
        const count = total.failed === null ? Math.min(SEEDS_PER_SHARE, from + seeds - next) : 0;
        if (count <= 0) return void worker.terminate().then(() => resolve());
        worker.postMessage({ from: next, count });
        next += count;
      };
      worker.on('message', (share: Share) => {
        add(share);
        askForMore();
      });
      worker.on('error', reject);
      askForMore();
    });
  await Promise.all(Array.from({ length: workers }, work));
  return total;
}

/** One share, in a worker: ends at the first world that fails. */
export async function runShare(from: number, count: number): Promise<Share> {
  const visits = new Uint32Array(PHASES.length * FAULTS.length);
  const share: Share = { worlds: 0, faults: 0, starts: 0, cycles: 0, visits, failed: null };
  for (let seed = from; seed < from + count; seed += 1) {
    const result = await simulate(seed);
    share.worlds += 1;
    share.faults += result.faults;
    share.starts += result.starts;
    share.cycles += result.cycles;
    for (const [cell, seen] of result.visits.entries()) visits[cell] = (visits[cell] ?? 0) + seen;
    if (result.failure === null) continue;
    share.failed = { seed, what: result.failure.what };
    break;
  }
  return share;
}

async function explain(seed: number): Promise<void> {
  console.log(`Seed ${seed} breaks; looking for the least that does …`);
  const steps = await shrink(seed);
  const result = await simulate(seed, { only: new Set(steps), traced: true });
  tell(result);
  console.log(`With all its steps:   npm run simulate -- --seed ${seed}`);
  console.log(`With those alone:     npm run simulate -- --seed ${seed} --only ${steps.join(',')}`);
}

async function replay(seed: number, only: ReadonlySet<number> | null): Promise<number> {
  const result = await simulate(seed, { traced: true, ...(only !== null && { only }) });
  tell(result);
  return result.failure === null ? 0 : 1;
}

function tell({ seed, history, failure }: SimulationResult): void {
  console.log(history.slice(-LINES_OF_HISTORY).join('\n'));
  console.log(failure === null ? `Seed ${seed} holds.` : `Seed ${seed}, after ${failure.atMs} ms: ${failure.what}.`);
}
