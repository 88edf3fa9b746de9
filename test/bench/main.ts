/**
 * `npm run bench`: everything that the station promises about speed and cost, measured on this machine, with the engine's own
 * floor in the same run. Prints which bars hold; fails only when something could not be measured.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, release } from 'node:os';
import { resolve } from 'node:path';
import { type BenchMicrophone, type BenchStation, createBenchStation } from './bench-station.ts';
import { measureCore } from './measure-core.ts';
import { first, lastBody, measureMany, measureNudges, measurePlugs, type Progress } from './measure-starts.ts';
import {
  crashRow,
  type IdleCost,
  idleMedian,
  idleRows,
  killRow,
  measureCycles,
  measureIdle,
  measureKills,
  memoryRows,
} from './measure-steady.ts';
import { measureStops } from './measure-stops.ts';
import { plot } from './plot.ts';
import { prepareEngine } from './provided.ts';
import { holds, type Row } from './statistics.ts';
import { excess, table } from './table.ts';
import { sleep } from './wall-clock.ts';

/** How often each thing is measured. */
interface Extent {
  nudges: number;
  manyAtOnce: number;
  plugs: number;
  slowStopRounds: number;
  idleWindows: number;
  idleWindowMs: number;
  /** Of the controller. Two ticks of 30 s are a minute; a short window has short ticks, so that it holds two as well. */
  tickSeconds: number;
  killsPerWindow: number;
  /** Once before the first idle window too: only where the recorders have run well for long by then. */
  killsFirst: boolean;
  cycleWindowMs: number;
  growthCycles: number;
  plans: number;
}

const TEN = 10;
const FULL: Extent = {
  nudges: 30,
  manyAtOnce: 30,
  plugs: 30,
  // Each has four starts beside ten stops, so that there are more than thirty starts. That ten stops end after ten seconds
  // and some tenths differs little from round to round, and each round takes seventeen.
  slowStopRounds: 8,
  // With the kills before the first there are thirty of those.
  idleWindows: 2,
  idleWindowMs: 60_000,
  tickSeconds: 30,
  killsPerWindow: TEN,
  killsFirst: true,
  cycleWindowMs: 12_000,
  growthCycles: 10_000,
  // Each is the median of sixty.
  plans: 3,
};
const QUICK: Extent = {
  nudges: 5,
  manyAtOnce: 2,
  plugs: 4,
  slowStopRounds: 1,
  idleWindows: 1,
  idleWindowMs: 20_000,
  tickSeconds: 10,
  killsPerWindow: 5,
  killsFirst: false,
  cycleWindowMs: 4000,
  growthCycles: 2000,
  plans: 1,
};

const CRASHING = 2;
/** Only after so much good running a restart is immediate. */
const GOOD_AFTER_MS = 60_000;
const PLOT_FILE = 'test/bench/cost-by-microphones.svg';
const USAGE = `npm run bench [-- --quick] [-- --json]
  --quick  two minutes: fewer measurements, shorter windows
  --json   the result as JSON; progress goes to standard error`;

/** @returns exit code */
export async function main(words: readonly string[]): Promise<number> {
  const unknown = words.filter((word) => !['--quick', '--json'].includes(word));
  if (unknown.length > 0) {
    console.error(`${unknown.join(' ')} is not known.\n${USAGE}`);
    return 1;
  }
  const asJson = words.includes('--json');
  const quick = words.includes('--quick');
  // The result alone is standard output, whatever the fixtures tell.
  console.log = (...told: unknown[]) => console.error(...told);
  try {
    const result = await bench(quick ? QUICK : FULL);
    const { rows, ...about } = result;
    const judged = rows.map((row) => ({ ...row, holds: holds(row) }));
    const json = JSON.stringify({ ...about, quick, rows: judged }, null, 2);
    process.stdout.write(asJson ? `${json}\n` : report(result, quick));
    return 0;
  } catch (error) {
    console.error(`It could not be measured: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

interface Result {
  machine: { cpus: number; kernel: string; node: string; loadBefore: number; loadAfter: number };
  seconds: number;
  rows: Row[];
}

async function bench(extent: Extent): Promise<Result> {
  const beganMs = performance.now();
  const loadBefore = load();
  const progress = createProgress();
  const interrupted = interruption();
  const removeEngine = await prepareEngine();
  try {
    const station = await createBenchStation(extent.tickSeconds);
    let rows: Row[];
    try {
      rows = await Promise.race([measureAll(station, extent, progress), interrupted]);
    } finally {
      await station.remove();
    }
    const seconds = Math.round((performance.now() - beganMs) / 1000);
    const machine = { cpus: availableParallelism(), kernel: release(), node: process.version };
    return { machine: { ...machine, loadBefore, loadAfter: load() }, seconds, rows };
  } finally {
    await removeEngine();
    progress('');
  }
}

async function measureAll(bench: BenchStation, extent: Extent, progress: Progress): Promise<Row[]> {
  const ten = await plugMany(bench, TEN, 'switched');
  const recording = await plugMany(bench, TEN, 'recording');
  const crashing = await plugMany(bench, CRASHING, 'crashing');
  const other = await plugMany(bench, 1, 'other');
  for (const microphone of recording) bench.setDeed(microphone, 'record');
  for (const microphone of crashing) bench.setDeed(microphone, 'crash');
  // Ten record from here on, as they do where a microphone more is switched on or plugged in.
  await bench.switchOn(recording);
  const recordingMs = Date.now();

  const nudges = await measureNudges(bench, ten, extent.nudges, progress);
  const many = await measureMany(bench, ten, extent.manyAtOnce, progress);
  // Not before: each of their ends is a cycle of its own, and whoever nudges within 100 ms of one waits for the rest of them.
  const crashingMs = Date.now();
  await bench.write(crashing, true);
  bench.nudge();
  const plugs = await measurePlugs(bench, lastBody(bench, first(ten)), extent.plugs, progress);
  for (const microphone of ten) bench.setDeed(microphone, 'stubborn');
  const rounds = extent.slowStopRounds;
  const stops = await measureStops(bench, { stubborn: ten, other: first(other), rounds, progress });
  const core = await measureCore(extent.growthCycles, extent.plans, progress);
  progress('until the recorders have run well for a minute');
  await sleep(Math.max(0, Math.max(recordingMs, crashingMs) + GOOD_AFTER_MS + 3000 - Date.now()));
  const crash = crashRow(bench, crashing, crashingMs);
  await bench.switchOff(crashing);

  const steady = await measureSteady(bench, recording, extent, progress);
  const memory = await memoryRows(bench, recording);
  const costs = await measureCostByNumber(bench, recording, idleMedian(steady.idle), extent, progress);
  const caption = 'CPU of one cycle of the controller, by number of microphones';
  const picture = plot(
    [
      { name: 'real: process, engine, PostgreSQL, Redis, USB, files', points: costs },
      { name: 'simulated: the core alone, all ports in memory', points: core.cycles },
    ],
    caption,
  );
  writeFileSync(resolve(import.meta.dirname, '../..', PLOT_FILE), picture);
  return [
    ...nudges.rows,
    ...many,
    ...stops,
    ...plugs,
    steady.kill,
    crash,
    ...idleRows(steady.idle, extent.idleWindowMs, extent.tickSeconds),
    ...memory,
    ...core.rows,
  ];
}

async function measureSteady(
  bench: BenchStation,
  recording: readonly BenchMicrophone[],
  extent: Extent,
  progress: Progress,
): Promise<{ idle: IdleCost[]; kill: Row }> {
  const idle: IdleCost[] = [];
  const kills = { floor: [] as number[], ours: [] as number[] };
  const kill = async (): Promise<void> => {
    const { floor, ours } = await measureKills(bench, recording.slice(0, extent.killsPerWindow), progress);
    kills.floor.push(...floor);
    kills.ours.push(...ours);
  };
  if (extent.killsFirst) await kill();
  for (let window = 0; window < extent.idleWindows; window += 1) {
    progress(`idle ${window + 1} of ${extent.idleWindows}`);
    // The first ones killed must have run well for as long as the last ones.
    if (window > 0 || extent.killsFirst) await sleep(Math.max(0, GOOD_AFTER_MS + 10_000 - extent.idleWindowMs));
    await bench.settle();
    idle.push(await measureIdle(bench, extent.idleWindowMs, extent.tickSeconds));
    await kill();
  }
  return { idle, kill: killRow(kills) };
}

/** A cycle's cost with ten real microphones and with one. */
async function measureCostByNumber(
  bench: BenchStation,
  recording: readonly BenchMicrophone[],
  idle: IdleCost,
  extent: Extent,
  progress: Progress,
): Promise<Map<number, number>> {
  await bench.settle();
  progress('cycles with ten microphones');
  const ofTen = await measureCycles(bench, idle, extent.cycleWindowMs);
  await bench.switchOff(recording.slice(1));
  await bench.settle();
  progress('cycles with one microphone');
  const ofOne = await measureCycles(
    bench,
    await measureIdle(bench, extent.cycleWindowMs, extent.tickSeconds),
    extent.cycleWindowMs,
  );
  return new Map([
    [1, ofOne.cpuMsPerCycle],
    [recording.length, ofTen.cpuMsPerCycle],
  ]);
}

/** Plugged in, known, switched off. */
async function plugMany(bench: BenchStation, count: number, name: string): Promise<BenchMicrophone[]> {
  const serials = Array.from({ length: count }, (_, index) => `${name}-${index}`);
  const plugged = serials.map((serial) => ({ serial, device: bench.plug(serial) }));
  const microphones = await Promise.all(plugged.map(({ serial, device }) => bench.known(serial, device)));
  await Promise.all(microphones.map(({ name: container }) => bench.events.time('start', container, 0)));
  await bench.switchOff(microphones);
  return microphones;
}

/** Rejects when somebody ends the bench; what was made is removed before it goes. */
function interruption(): Promise<never> {
  const interrupted = new Promise<never>((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => reject(new Error(`stopped by ${signal}.`)));
  });
  // Until something waits for it.
  interrupted.catch(() => {});
  return interrupted;
}

const load = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100;

/** One line that changes on a terminal, a line each elsewhere only when something else is measured. */
function createProgress(): Progress {
  const { stderr } = process;
  if (stderr.isTTY) return (text) => void stderr.write(`\r\u001b[K${text}`);
  let last = '';
  return (text) => {
    const what = text.replace(/ \d+ of \d+$/, '');
    if (what !== last && what !== '') stderr.write(`${what}\n`);
    last = what;
  };
}

function report({ machine, seconds, rows }: Result, quick: boolean): string {
  const { cpus, kernel, node, loadBefore, loadAfter } = machine;
  const broken = rows.filter((row) => holds(row) === false);
  const judged = rows.filter(({ limit }) => limit !== null);
  return [
    `${quick ? 'Quick' : 'Full'} form, ${seconds} s. ${cpus} CPUs, Linux ${kernel}, Node ${node}; load ${loadBefore} before, ${loadAfter} after.`,
    '',
    table(rows),
    '',
    broken.length === 0
      ? `All ${judged.length} bars hold.`
      : `${judged.length - broken.length} of ${judged.length} bars hold. Not: ${broken.map((row) => `${row.name} (${excess(row)})`).join('; ')}.`,
    `Cost by number of microphones: ${PLOT_FILE}`,
    '',
  ].join('\n');
}
