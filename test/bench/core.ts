/**
 * The core alone, over ports in memory: what `plan` costs, what a whole cycle costs, and whether memory grows. A process
 * of its own, so that nothing else is in what it measures: `node --expose-gc core.js <what>` prints one line of JSON.
 */
import { createController } from '../../services/controller/controller.ts';
import { plan } from '../../services/controller/plan.ts';
import { emptyPlanMemory } from '../../services/controller/plan-memory.ts';
import type { PlanInput } from '../../services/controller/plan-outcome.ts';
import { wishes } from '../../services/controller/spec.ts';
import type { DeviceRow, Microphone } from '../../services/controller/world.ts';
import { workspaceName } from '../../services/shared/contract.ts';
import { createManualClock, createWorld, quietLog } from '../unit/in-memory-world.ts';
import {
  containerOf,
  desiredState,
  deviceRow,
  IDLE_HOST,
  microphone,
  planInput,
  reading,
  specInput,
  status,
} from '../unit/sample-world.ts';
import { memoryOf } from './process-cost.ts';
import { median } from './statistics.ts';

/** So long at least, so that the compiler has seen it and one collection of garbage does not decide. */
const LEAST_MS = 400;
const LEAST_REPEATS = 30;
/** Longer than the loop's least gap. */
const NUDGE_GAP_MS = 110;
/** Somebody switches a microphone every so many cycles. */
const CHANGE_EVERY = 10;
const WARM_CYCLES = 1000;

/** Milliseconds of one plan for so many subjects that all record. */
export function timePlan(subjects: number): number {
  const input = steadyInput(subjects);
  const spend = (): number => {
    const before = process.cpuUsage();
    plan(input);
    const spent = process.cpuUsage(before);
    return (spent.user + spent.system) / 1000;
  };
  return medianOf(spend);
}

/** Processor time, not time on the clock: others may use this machine too. The first half warms up. */
function medianOf(spend: () => number): number {
  const times: number[] = [];
  const beganMs = performance.now();
  while (performance.now() - beganMs < 2 * LEAST_MS || times.length < 2 * LEAST_REPEATS) times.push(spend());
  return median(times.slice(times.length / 2));
}

function steadyInput(subjects: number): PlanInput {
  const microphones = manyMicrophones(subjects);
  const rows = microphones.map(rowOf);
  const wished = wishes(
    specInput({ rows, present: new Map(rows.map(({ id }, index) => [id, microphones[index] ?? microphone()])) }),
  );
  const input = planInput({
    wishes: wished,
    containers: reading(
      wished.map((wish) => containerOf(wish)),
      2000,
    ),
    statuses: new Map(wished.map(({ subject }) => [subject, reading(status(48_000))])),
  });
  // As in the middle of a night: everybody has been watched for a while.
  const before = plan({ ...input, memory: emptyPlanMemory });
  return { ...input, memory: before.memory, nowMs: input.nowMs + 1000 };
}

function manyMicrophones(count: number): Microphone[] {
  return Array.from({ length: count }, (_, index) => {
    const portPath = `pci0000:00/0000:00:14.0/0/${index + 1}`;
    return microphone({ portPath, incarnation: `${portPath}#7#1#116:5,116:6`, serial: `bench-${index}` });
  });
}

function rowOf(seen: Microphone): DeviceRow {
  const id = `${seen.vendorId}-${seen.productId}-${seen.serial}`;
  return deviceRow(id, {
    serial: seen.serial,
    portPath: seen.portPath,
    workspace: workspaceName(id, seen.product),
  });
}

/** A controller over ports in memory with so many microphones, all recording; `cycle` makes it look once. */
async function createSimulated(count: number) {
  const clock = createManualClock();
  const { state, ports } = createWorld(clock);
  state.plugged = manyMicrophones(count);
  state.database = desiredState({ devices: state.plugged.map(rowOf) });
  state.marker = state.database.stationId;
  // As the real ports do it: what is read is read, and found by name. Copies and searches are the costs of a fake.
  const statuses = new Map(state.database.devices.map(({ workspace, id }) => [workspace, id]));
  ports.store.read = async () => ({ ok: true, value: state.database, startedAtMs: clock.nowMs() });
  ports.workspaces.readStatus = async (workspace) => ({
    ok: true,
    value: status(1 + clock.nowMs() * 48, { run: statuses.get(workspace) ?? '' }),
    startedAtMs: clock.nowMs(),
  });
  const { operator } = specInput();
  const controller = createController(
    { clock, log: quietLog, ...ports },
    {
      operator,
      catalogue: [],
      seedHashes: new Map(),
      virtualMicrophones: { kind: 'fixed', count: 0 },
      graceMs: 3000,
      stallTimeoutMs: 30_000,
      goodAfterMs: 60_000,
      version: '0.0.0',
      recorderImage: operator.recorderImage,
      hostLoad: async () => IDLE_HOST,
      tickMs: 30_000,
      onShutdown: 'leave',
      onCycle: () => {},
    },
  );
  controller.start();
  const recording = (): number => controller.snapshot().devices.filter(({ phase }) => phase === 'recording').length;
  for (let step = 0; step < 2 * count + 100 && recording() < count; step += 1) await clock.advance(NUDGE_GAP_MS);
  if (recording() < count) throw new Error(`Of ${count} simulated microphones ${recording()} record.`);
  return {
    state,
    async cycle() {
      ports.bus.nudge();
      await clock.advance(NUDGE_GAP_MS);
    },
  };
}

/** Milliseconds of CPU for one cycle that finds nothing to do. */
export async function timeCycle(count: number): Promise<number> {
  const { cycle } = await createSimulated(count);
  const times: number[] = [];
  const beganMs = performance.now();
  while (performance.now() - beganMs < 2 * LEAST_MS || times.length < 2 * LEAST_REPEATS) {
    const before = process.cpuUsage();
    await cycle();
    const spent = process.cpuUsage(before);
    times.push((spent.user + spent.system) / 1000);
  }
  return median(times.slice(times.length / 2));
}

/** MiB of private memory that so many cycles with ten microphones added; every tenth follows somebody's change. */
export async function growth(cycles: number): Promise<number> {
  const { state, cycle } = await createSimulated(10);
  const run = async (count: number): Promise<number> => {
    for (let index = 0; index < count; index += 1) {
      const device = state.database.devices[index % state.database.devices.length];
      if (index % CHANGE_EVERY === 0 && device !== undefined) {
        device.enabled = !device.enabled;
        device.generation += 1;
      }
      await cycle();
      // What the fake keeps for tests to look at.
      state.writes.length = 0;
      state.removed.length = 0;
    }
    globalThis.gc?.();
    return memoryOf(process.pid).privateMebibytes;
  };
  const before = await run(WARM_CYCLES);
  return (await run(cycles)) - before;
}

const work: Record<string, () => Promise<unknown>> = {
  plan: async () => Object.fromEntries([100, 1000, 10_000].map((subjects) => [subjects, timePlan(subjects)])),
  cycles: async () => {
    const costs: Record<number, number> = {};
    for (const count of [1, 10, 100, 1000]) costs[count] = await timeCycle(count);
    return costs;
  },
  growth: () => growth(Number(process.argv[3])),
};
const [, , what = ''] = process.argv;
const chosen = work[what];
if (chosen === undefined) throw new Error(`Say what to measure: ${Object.keys(work).join(', ')}.`);
console.log(JSON.stringify(await chosen()));
