/**
 * One seed, one world: the real controller over a simulated machine in which everything that can go wrong does. At every
 * moment the invariants of services/ARCHITECTURE.md are checked; when the faults stop, the world must come to rest.
 */
import { DEVICE_PHASES } from '../../services/shared/schema.ts';
import { FAULTS } from './faults.ts';
import { checkInvariants, placeForeign, watchEngine } from './invariants.ts';
import { createRandom, type Random } from './random.ts';
import { comeToRest } from './rest.ts';
import { createRun, fail, note, type Run } from './run.ts';
import { createSimulatedClock } from './simulated-clock.ts';
import { editService, HELPER } from './simulated-database.ts';
import { createSimulatedStation } from './simulated-station.ts';
import { type Model, plugIn } from './simulated-usb.ts';

/** Worlds are of different lengths: in short ones few troubles meet and rest comes soon, in long ones they pile up. */
const LEAST_STEPS = 10;
export const STEPS = 60;
const DWELLS_MS = [20, 50, 200, 1000, 3500, 12_000, 40_000];

export interface SimulationOptions {
  /** Only these of the world's steps happen; the others take no time. */
  only?: ReadonlySet<number>;
  /** Keep a history. */
  traced?: boolean;
}

export interface SimulationResult {
  seed: number;
  /** null: nothing was found. */
  failure: { what: string; atMs: number } | null;
  /** What happened, in order, for whoever replays it. */
  history: readonly string[];
  /** By phase and kind of fault (`visitIndex`): how often that was seen. */
  visits: Uint32Array;
  /** How many things happened to it. */
  faults: number;
  starts: number;
  cycles: number;
}

export const PHASES: readonly string[] = DEVICE_PHASES;
export const visitIndex = (phase: number, fault: number): number => phase * FAULTS.length + fault;

/** One thing that happens, with luck of its own: what is left out changes nothing about the others'. */
interface Step {
  fault: number;
  seed: number;
  dwellMs: number;
}

/** Runs one world. Never throws: what breaks is told. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const random = createRandom(seed);
  const steps = Array.from({ length: random.between(LEAST_STEPS, STEPS) }, () => drawStep(random));
  const clock = createSimulatedClock();
  const run = createRun(createSimulatedStation(clock, random), options.traced ?? false);
  const visits = new Uint32Array(PHASES.length * FAULTS.length);
  watchEngine(run);
  placeForeign(run);
  setUp(run, random);
  let faults = 0;
  for (const [index, step] of steps.entries()) {
    if (options.only !== undefined && !options.only.has(index)) continue;
    faults += (await take(run, index, step, visits)) ? 1 : 0;
    if (run.failure !== null) break;
  }
  if (run.failure === null) await comeToRest(run, seed % 16 === 0);
  // Without one, nothing was decided and so nothing could be found.
  if (run.failure === null && run.cycles === 0) fail(run, 'no cycle has ended');
  run.station.killController();
  const { failure, history, startCount, cycles } = run;
  return { seed, failure, history: history ?? [], visits, faults, starts: startCount, cycles };
}

function drawStep(random: Random): Step {
  return {
    fault: random.between(0, FAULTS.length - 1),
    seed: random.between(0, 2 ** 31),
    dwellMs: random.pick(DWELLS_MS),
  };
}

/** A few microphones, twins among them; the first start of a station, or one whose disk is known. */
function setUp({ station }: Run, random: Random): void {
  const owned: readonly [Model, string | null][] = [
    ['umik', 'A1'],
    ['umik', 'A1'],
    ['rode', 'B2'],
    ['plain', null],
    ['webcam', 'C3'],
  ];
  const first = random.between(0, 1);
  for (const [model, serial] of owned.slice(first, first + random.between(1, 4))) {
    const stick = { model, serial, port: null, stay: 0, seenStay: 0, card: 0, missed: false, cardLate: false };
    station.sticks.push(stick);
    plugIn(stick, station.sticks.length, station.sticks);
  }
  const hex = (): string => random.between(0, 0xffff).toString(16).padStart(4, '0');
  if (random.chance(0.9)) station.disk.marker = `${hex()}${hex()}-0000-4000-8000-000000000000`;
  if (random.chance(0.5)) editService(station.database, HELPER.name, { enabled: true });
  station.engine.registry.away = random.chance(0.2);
  station.startController();
}

/** Answers whether there was something to do it to. */
async function take(run: Run, index: number, { fault, seed, dwellMs }: Step, visits: Uint32Array): Promise<boolean> {
  const kind = FAULTS[fault];
  if (kind === undefined) throw new Error(`there is no fault ${fault}`);
  note(run, () => `${index}: ${kind.name}, then ${dwellMs} ms`);
  const phases = run.station.database.state.devices.map(({ phase }) => PHASES.indexOf(phase));
  const happened = kind.happen(run, createRandom(seed));
  if (happened) {
    for (const phase of phases) {
      const cell = visitIndex(phase, fault);
      visits[cell] = (visits[cell] ?? 0) + 1;
    }
  } else note(run, () => '  there was nothing to do it to');
  checkInvariants(run, true);
  await run.station.clock.advance(dwellMs, () => checkInvariants(run, false));
  checkInvariants(run, true);
  return happened;
}
