/**
 * One seed, one world: the real controller over a simulated machine in which everything that can go wrong does. After
 * every step the invariants of services/ARCHITECTURE.md are checked; when the faults stop, the world must come to rest.
 */
import type { DeviceRow } from '../../services/controller/world.ts';
import { UMIK_PROFILE } from '../unit/sample-world.ts';
import { FAULTS } from './faults.ts';
import { createRandom, type Random } from './random.ts';
import { createSimulatedClock } from './simulated-clock.ts';
import { quietFaults, type SimulatedContainer } from './simulated-engine.ts';
import { createSimulatedStation, RECORDER_IMAGE, type SimulatedStation, seenAs } from './simulated-station.ts';

export interface SimulationResult {
  seed: number;
  steps: number;
  /** What happened, in order, for whoever replays it. */
  history: string[];
  /** "phase × kind of fault" → how often that was seen. */
  visits: Map<string, number>;
}

/** Breaking an invariant ends the simulation with its seed and history. */
export class InvariantBroken extends Error {
  constructor(seed: number, what: string, history: readonly string[]) {
    super(`seed ${seed}: ${what}\n${history.slice(-40).join('\n')}`);
    this.name = 'InvariantBroken';
  }
}

/** A person's edit, a plug or a bad recorder explains a stop for this long after it, not counting what hinders. */
const CAUSE_LASTS_MS = 130_000;
/** Longer than the longest stop, an unanswered call, and a tick. */
const FORBIDDEN_AT_MOST_MS = 100_000;
/** Longer than the longest back-off and the retry of what was blocked. */
const REST_MS = 700_000;
const STARTS_IN_A_MINUTE = 9;

export interface Run {
  seed: number;
  random: Random;
  station: SimulatedStation;
  history: string[];
  visits: Map<string, number>;
  /** When something last happened to a device that explains a stop or a start, by device id; `*`: to all. */
  causes: Map<string, { atMs: number; calmMs: number }>;
  /** Time that has passed without anything in the controller's way. */
  calmMs: number;
  starts: Map<string, number[]>;
  moreStartsUntilMs: number;
  /** Since when a container runs that must not, by container id. */
  forbiddenSince: Map<string, number>;
  /** Since when nothing hinders the controller. */
  unhinderedSince: number;
  failure: InvariantBroken | null;
}

/** Runs one world of about `steps` steps; throws `InvariantBroken`. */
export async function simulate(seed: number, steps = 60): Promise<SimulationResult> {
  const random = createRandom(seed);
  const clock = createSimulatedClock();
  const station = createSimulatedStation(clock, random);
  const run: Run = {
    seed,
    random,
    station,
    history: [],
    visits: new Map(),
    causes: new Map(),
    calmMs: 0,
    starts: new Map(),
    moreStartsUntilMs: 0,
    forbiddenSince: new Map(),
    unhinderedSince: 0,
    failure: null,
  };
  watchEngine(run);
  setUp(run);
  for (let step = 0; step < steps; step += 1) {
    const fault = random.pick(FAULTS);
    note(run, fault.name);
    fault.happen(run);
    visit(run, fault.name);
    await pass(run, random.pick([50, 200, 1000, 3500, 12_000, 40_000]));
  }
  await comeToRest(run);
  return { seed, steps, history: run.history, visits: run.visits };
}

function setUp({ station, random }: Run): void {
  const serials = ['A1', 'A1', 'B2', null, 'C3'];
  station.sticks = serials.slice(0, random.between(1, 5)).map((serial, index) => {
    return { serial, port: index + 1, stay: 1, missed: false, cardLate: false };
  });
  station.startController();
}

/** Moves time on in small pieces, so that nothing forbidden slips through between two looks. */
async function pass(run: Run, forMs: number): Promise<void> {
  for (let passed = 0; passed < forMs; passed += 1000) {
    const pieceMs = Math.min(1000, forMs - passed);
    await run.station.clock.advance(pieceMs);
    if (!isHindered(run)) run.calmMs += pieceMs;
    run.station.sticks.forEach((stick) => {
      if (stick.missed) stick.missed = false;
    });
    endDeadRecorders(run);
    checkInvariants(run);
    if (run.failure !== null) throw run.failure;
  }
}

export const note = (run: Run, text: string): void => void run.history.push(`${run.station.clock.nowMs()} ms  ${text}`);

function visit(run: Run, fault: string): void {
  for (const { phase } of run.station.database.state.devices) {
    const key = `${phase} × ${fault}`;
    run.visits.set(key, (run.visits.get(key) ?? 0) + 1);
  }
}

/** Something happened that explains a stop or many starts of this device; `*`: of all. */
export function cause(run: Run, deviceId: string): void {
  run.causes.set(deviceId, { atMs: run.station.clock.nowMs(), calmMs: run.calmMs });
}

const LONG_AGO = { atMs: -1e9, calmMs: -1e9 };

/** The latest cause that concerns a device. */
function lastCause(run: Run, deviceId: string): { atMs: number; calmMs: number } {
  const [own, all] = [run.causes.get(deviceId) ?? LONG_AGO, run.causes.get('*') ?? LONG_AGO];
  return own.atMs > all.atMs ? own : all;
}

/** A recorder whose microphone is gone, or is another incarnation, ends by itself. */
function endDeadRecorders({ station }: Run): void {
  const incarnations = new Set(
    station.sticks.filter(({ port }) => port !== null).map((stick) => `hw:${stick.stay},0 ${stick.port}`),
  );
  for (const container of station.engine.containers.values()) {
    if (container.state === 'live' && !incarnations.has(heardBy(container, station)))
      station.engine.kill(container, 10);
  }
}

/** Which stay of which port a recorder was made for. */
const made = new WeakMap<SimulatedContainer, string>();
function heardBy(container: SimulatedContainer, station: SimulatedStation): string {
  const known = made.get(container);
  if (known !== undefined) return known;
  const row = rowOf(station, container.deviceId);
  const stick = station.sticks.find((one) => one.port !== null && row?.portPath.endsWith(`/${one.port}`));
  const heard = `hw:${stick?.stay},0 ${stick?.port}`;
  made.set(container, heard);
  return heard;
}

const rowOf = (station: SimulatedStation, id: string): DeviceRow | undefined =>
  station.database.state.devices.find((row) => row.id === id);

// ----------------------------------------------------------------------------------------------------- invariants

function watchEngine(run: Run): void {
  const { engine, clock } = run.station;
  const stopping = new Set<string>();
  engine.onStart = (container) => {
    note(run, `  started ${container.id} for ${container.deviceId}`);
    const { limits } = container.spec;
    if (!(limits.memoryBytes > 0 && limits.cpus > 0 && limits.pids > 0 && limits.logBytes > 0))
      fail(run, 'a container without limits');
    const others = [...engine.containers.values()].filter(
      (one) => one !== container && one.deviceId === container.deviceId && one.state === 'live',
    );
    if (others.length > 0) fail(run, `two recorders on one microphone (${container.deviceId})`);
    const recent = [...(run.starts.get(container.deviceId) ?? []), clock.nowMs()].filter(
      (atMs) => clock.nowMs() - atMs < 60_000,
    );
    run.starts.set(container.deviceId, recent);
    const excusedAtMs = lastCause(run, container.deviceId).atMs;
    const most = clock.nowMs() < run.moreStartsUntilMs ? 2 * STARTS_IN_A_MINUTE : STARTS_IN_A_MINUTE;
    if (recent.length > most && clock.nowMs() - excusedAtMs > 60_000)
      fail(run, `${recent.length} starts of ${container.deviceId} in a minute`);
  };
  engine.onStop = (container) => {
    note(run, `  stopping ${container.id} of ${container.deviceId}`);
    if (stopping.has(container.id)) return;
    stopping.add(container.id);
    const healthy =
      container.behaviour === 'good' || container.behaviour === 'silent' || container.behaviour === 'noSpace';
    const calmMs = run.calmMs - lastCause(run, container.deviceId).calmMs;
    if (healthy && container.frozenAtMs === null && calmMs > CAUSE_LASTS_MS) {
      fail(run, `a healthy recorder was stopped without a reason (${container.deviceId})`);
    }
  };
}

function checkInvariants(run: Run): void {
  const { station } = run;
  const nowMs = station.clock.nowMs();
  const hindered = isHindered(run);
  if (hindered) run.unhinderedSince = Number.POSITIVE_INFINITY;
  else if (run.unhinderedSince === Number.POSITIVE_INFINITY) run.unhinderedSince = nowMs;
  for (const container of station.engine.containers.values()) {
    const row = rowOf(station, container.deviceId);
    const forbidden =
      container.state === 'live' && (row === undefined || !row.enabled || row.enrollmentStatus !== 'enrolled');
    if (!forbidden) run.forbiddenSince.delete(container.id);
    else if (!run.forbiddenSince.has(container.id)) run.forbiddenSince.set(container.id, nowMs);
    const sinceMs = Math.max(run.forbiddenSince.get(container.id) ?? nowMs, run.unhinderedSince);
    if (nowMs - sinceMs > FORBIDDEN_AT_MOST_MS) fail(run, `${container.deviceId} runs though it must not`);
  }
}

/** Something stands between the database and the containers, so that delays are excused. */
function isHindered({ station }: Run): boolean {
  const { engine, database, disk } = station;
  const { away, removeFails, removeUnanswered, listDelayMs } = engine.faults;
  const { faults, state } = database;
  const engineBad = away || removeFails > 0 || removeUnanswered > 0 || listDelayMs > 0;
  // A wiped database that cannot be written cannot be restored either.
  const databaseBad = faults.away || faults.readDelayMs > 100 || faults.readOnly || state.stationId !== disk.marker;
  return station.controller() === null || engineBad || databaseBad;
}

/** The first one counts. It is thrown by `pass`: thrown inside a port it would be taken for the engine's failure. */
function fail(run: Run, what: string): void {
  run.failure ??= new InvariantBroken(run.seed, what, [...run.history]);
}

/** The faults stop; in a bounded time what is wished runs and advances, nothing else does, and every row says so. */
async function comeToRest(run: Run): Promise<void> {
  const { station } = run;
  note(run, '--- the faults stop');
  Object.assign(station.engine.faults, quietFaults);
  station.engine.behaviours.clear();
  station.engine.badImages.clear();
  station.engine.images.set(RECORDER_IMAGE, station.engine.images.get(RECORDER_IMAGE) ?? 'sha256:first');
  Object.assign(station.database.faults, { away: false, readOnly: false, readDelayMs: 2 });
  station.usbFails = false;
  cause(run, '*');
  for (const container of station.engine.containers.values())
    if (container.behaviour !== 'good') station.engine.kill(container, 1);
  for (const stick of station.sticks) Object.assign(stick, { missed: false, cardLate: false });
  for (const profile of station.database.state.profiles)
    if (profile.slug === 'umik-1') profile.config = UMIK_PROFILE.config;
  if (station.controller() === null) station.startController();
  station.plugChanged();
  station.available();
  for (let passed = 0; passed < REST_MS; passed += 10_000) await pass(run, 10_000);
  checkRest(run);
  if (run.failure !== null) throw run.failure;
}

function checkRest(run: Run): void {
  const { station } = run;
  const present = station.sticks.filter(({ port }) => port !== null).map(seenAs);
  for (const row of station.database.state.devices) {
    const there = present.some((one) => one.portPath === row.portPath && one.serial === row.serial);
    const wished = there && row.enabled && row.enrollmentStatus === 'enrolled' && row.profileSlug !== null;
    const live = [...station.engine.containers.values()].filter(
      ({ deviceId, state }) => deviceId === row.id && state === 'live',
    );
    const told = `${row.id}: ${row.phase} ${row.reason} ${row.generation}/${row.observedGeneration}`;
    if (live.length !== (wished ? 1 : 0))
      fail(run, `at rest ${live.length} recorders instead of ${wished ? 1 : 0}; ${told}`);
    if (wished !== (row.phase === 'recording')) fail(run, `at rest the row does not tell the truth; ${told}`);
    if (row.observedGeneration !== row.generation && row.phase !== 'pending' && row.phase !== 'offline')
      fail(run, `at rest not in effect; ${told}`);
  }
  for (const microphone of present) {
    const known = station.database.state.devices.some(
      (row) => row.portPath === microphone.portPath && row.status === 'online',
    );
    if (!known) fail(run, `at rest nobody knows the microphone on ${microphone.portPath}`);
  }
  const total = [...station.engine.containers.values()];
  if (total.some(({ state }) => state !== 'live')) fail(run, 'at rest something dead is left over');
}
