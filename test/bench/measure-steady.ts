/** What ten recorders that do their work cost, what becomes of one that is killed, and of one that cannot live. */
import type { BenchMicrophone, BenchStation } from './bench-station.ts';
import { startFloor } from './floor.ts';
import { lastBody, type Progress } from './measure-starts.ts';
import { commandOf, cpuMs, memoryOf, processTree } from './process-cost.ts';
import { compare, median, type Row } from './statistics.ts';
import { createWallClock, sleep } from './wall-clock.ts';

const MINUTE_MS = 60_000;

export interface IdleCost {
  cpuSeconds: number;
  statements: number;
  engineCalls: number;
  redisConnections: number;
}

/**
 * What the controller costs per minute while nothing happens. Processor time goes by the clock. What is asked goes by the
 * ticks, and every other one asks more: so two ticks are what counts as the minute that they usually take.
 */
export async function measureIdle(bench: BenchStation, windowMs: number, tickSeconds: number): Promise<IdleCost> {
  const pid = pidOf(bench);
  const look = async () => ({
    redis: await redisConnections(bench),
    statements: await statements(bench),
    engine: bench.requests.all().length,
    cpu: cpuMs(pid),
    atMs: performance.now(),
  });
  const before = await look();
  await sleep(windowMs);
  const after = await look();
  const perMinute = MINUTE_MS / (after.atMs - before.atMs);
  const perTwoTicks = (2000 * tickSeconds) / (after.atMs - before.atMs);
  return {
    cpuSeconds: ((after.cpu - before.cpu) / 1000) * perMinute,
    statements: Math.round((after.statements - before.statements) * perTwoTicks),
    engineCalls: Math.round((after.engine - before.engine) * perTwoTicks),
    redisConnections: Math.round((after.redis - before.redis) * perMinute),
  };
}

export function idleRows(costs: readonly IdleCost[], windowMs: number, tickSeconds: number): Row[] {
  const scaled = windowMs < MINUTE_MS ? ` (scaled: ${windowMs / 1000} s, ticks of ${tickSeconds} s)` : '';
  const row = (name: string, values: number[], unit: string, bar: number): Row =>
    compare({
      name: `ten idle microphones, per minute${scaled}: ${name}`,
      floor: null,
      ours: values,
      unit,
      bar: `≤ ${bar}`,
      limit: () => bar,
    });
  return [
    row(
      'CPU of the controller',
      costs.map(({ cpuSeconds }) => cpuSeconds),
      's',
      0.25,
    ),
    row(
      'SQL statements',
      costs.map((cost) => cost.statements),
      '',
      4,
    ),
    row(
      'engine calls',
      costs.map(({ engineCalls }) => engineCalls),
      '',
      4,
    ),
    row(
      'new Redis connections',
      costs.map(({ redisConnections }) => redisConnections),
      '',
      0,
    ),
  ];
}

/** The server's own count, of the controller's role alone; asking is done as somebody else. */
async function statements({ station }: BenchStation): Promise<number> {
  const [row] = await station.sql<{ calls: number }[]>`
    select coalesce(sum(calls), 0)::int as calls
    from pg_stat_statements join pg_database on pg_database.oid = dbid join pg_roles on pg_roles.oid = userid
    where datname = current_database() and rolname = 'silvasonic_controller'`;
  if (row === undefined) throw new Error('The database does not say how many statements it was given.');
  return row.calls;
}

async function redisConnections({ redis }: BenchStation): Promise<number> {
  const [, count] = /total_connections_received:(\d+)/.exec(await redis.info('stats')) ?? [];
  if (count === undefined) throw new Error('Redis does not say how many connections it took.');
  return Number(count);
}

/** One after another is killed and comes back: until its next recorder runs. Milliseconds. */
export async function measureKills(
  bench: BenchStation,
  microphones: readonly BenchMicrophone[],
  progress: Progress,
): Promise<{ floor: number[]; ours: number[] }> {
  const floor: number[] = [];
  const ours: number[] = [];
  for (const [index, microphone] of microphones.entries()) {
    floor.push(await startFloor(bench, lastBody(bench, microphone)));
    await bench.settle();
    const pid = await recorderPid(bench, microphone);
    const beganMs = createWallClock().nowMs();
    process.kill(pid, 'SIGKILL');
    ours.push((await bench.events.time('start', microphone.name, beganMs)) - beganMs);
    progress(`killed recorder ${index + 1} of ${microphones.length}`);
  }
  return { floor, ours };
}

export function killRow(samples: { floor: number[]; ours: number[] }): Row {
  return compare({
    name: 'killed good recorder → running',
    ...samples,
    unit: 'ms',
    bar: '≤ floor + 300 ms',
    limit: (floor) => floor + 300,
  });
}

/** Until the kernel has let go of the last of what was killed, starts go on: so they are counted, not waited for. */
export function crashRow(bench: BenchStation, crashing: readonly BenchMicrophone[], sinceMs: number): Row {
  const starts = crashing.map(({ name }) => bench.events.count('start', name, sinceMs, sinceMs + MINUTE_MS));
  if (starts.includes(0)) throw new Error('A recorder that ends with 1 was never started.');
  return compare({
    name: 'recorder that ends with 1, starts in 60 s',
    floor: null,
    ours: starts,
    part: 1,
    unit: '',
    bar: '≤ 8',
    limit: () => 8,
  });
}

export async function memoryRows(bench: BenchStation, recording: readonly BenchMicrophone[]): Promise<Row[]> {
  const controller = memoryOf(pidOf(bench));
  const recorders = await Promise.all(recording.map((microphone) => recorderMemory(bench, microphone)));
  const row = (name: string, values: number[], bar: number | null): Row =>
    compare({
      name,
      floor: null,
      ours: values,
      unit: 'MiB',
      bar: bar === null ? '' : `≤ ${bar} MiB`,
      limit: bar === null ? null : () => bar,
    });
  return [
    row('controller, private memory', [controller.privateMebibytes], 60),
    row('controller, resident memory', [controller.residentMebibytes], null),
    row(
      'recorder, private memory',
      recorders.map(({ privateMebibytes }) => privateMebibytes),
      24,
    ),
    row(
      'recorder, resident memory',
      recorders.map(({ residentMebibytes }) => residentMebibytes),
      null,
    ),
  ];
}

/** The recorder and its `arecord`, without what stands in for the microphone. */
async function recorderMemory(
  bench: BenchStation,
  microphone: BenchMicrophone,
): Promise<{ privateMebibytes: number; residentMebibytes: number }> {
  const all = processTree(await recorderPid(bench, microphone)).filter((pid) => !commandOf(pid).includes('feeder'));
  const memories = all.map(memoryOf);
  return {
    privateMebibytes: sum(memories.map(({ privateMebibytes }) => privateMebibytes)),
    residentMebibytes: sum(memories.map(({ residentMebibytes }) => residentMebibytes)),
  };
}

export interface CycleCost {
  /** CPU of the controller for one cycle, in milliseconds. */
  cpuMsPerCycle: number;
  cycles: number;
}

/** Nudged as often as it takes nudges; what it costs anyway is taken off. */
export async function measureCycles(bench: BenchStation, idle: IdleCost, windowMs: number): Promise<CycleCost> {
  const pid = pidOf(bench);
  const before = { cpu: cpuMs(pid), statements: await statements(bench), atMs: performance.now() };
  while (performance.now() - before.atMs < windowMs) {
    bench.nudge();
    await sleep(110);
  }
  const spentMs = performance.now() - before.atMs;
  // Each cycle reads the database once, and a steady one does nothing else there.
  const cycles = (await statements(bench)) - before.statements;
  if (cycles === 0) throw new Error('The controller was nudged and made no cycle.');
  const idleMs = (idle.cpuSeconds * 1000 * spentMs) / MINUTE_MS;
  return { cpuMsPerCycle: (cpuMs(pid) - before.cpu - idleMs) / cycles, cycles };
}

export const idleMedian = (costs: readonly IdleCost[]): IdleCost => ({
  cpuSeconds: median(costs.map(({ cpuSeconds }) => cpuSeconds)),
  statements: median(costs.map((cost) => cost.statements)),
  engineCalls: median(costs.map(({ engineCalls }) => engineCalls)),
  redisConnections: median(costs.map(({ redisConnections }) => redisConnections)),
});

async function recorderPid({ docker }: BenchStation, { name }: BenchMicrophone): Promise<number> {
  const { State } = await docker.getContainer(name).inspect();
  if (State.Pid === 0) throw new Error(`${name} does not run.`);
  return State.Pid;
}

function pidOf({ controller }: BenchStation): number {
  const { pid } = controller.process;
  if (pid === undefined) throw new Error('The controller has no process.');
  return pid;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
