/** What must hold in every world at every moment; each breach is told as one sentence. */

import type { Controller } from '../../services/controller/controller.ts';
import { lastGoodReference } from '../../services/controller/observe.ts';
import type { DeviceRow } from '../../services/controller/world.ts';
import { LABEL, OWNER, RECORDER_ENV, VIRTUAL_DEVICE } from '../../services/shared/contract.ts';
import { cause, countCalm, fail, type Made, madeOf, note, type Run, rowOf, stickOf } from './run.ts';
import { HELPER } from './simulated-database.ts';
import type { SimulatedContainer } from './simulated-engine.ts';
import { isRunning, isWell } from './simulated-recorder.ts';
import { RECORDER_IMAGE } from './simulated-station.ts';
import { bears, isPluggedIn, isVirtual, portPathOf, type Stick, seenAs, VIRTUAL } from './simulated-usb.ts';

/** A tick, and what a cycle and a late answer take: so long what explained a stop may still lead to one. Calm time. */
const EXPLAINED_FOR_MS = 40_000;
/** A tick, the grace, the longest stop and one that is tried again. Calm time. */
const FORBIDDEN_AT_MOST_MS = 75_000;
/** A tick, a stall's timeout and what a cycle takes. Calm time. */
const UNTRUE_AT_MOST_MS = 75_000;
/** At once, then after 1, 2, 4, 8, 16 s, and begun anew by good running or by each cause. */
const STARTS_IN_A_MINUTE = 9;
const STARTS_PER_CAUSE = 5;
const CAUSE_LASTS_MS = 120_000;
const CHECK_EVERY_MS = 500;

/** Looks at everything that the engine is asked to do. */
export function watchEngine(run: Run): void {
  const { engine, database } = run.station;
  engine.onMake = (container) => {
    const row = rowOf(run, container.deviceId);
    const profile = database.state.profiles.find(({ slug }) => slug === row?.profileSlug);
    run.made.set(container.id, {
      stick: null,
      stay: 0,
      seenStay: 0,
      restartToken: serviceRow(run, container)?.restartToken ?? row?.restartToken ?? '',
      profileSlug: row?.profileSlug ?? null,
      settings: row?.settings,
      config: profile?.config,
      // It may have been made by an older view.
      explainedAtMs: run.calmMs,
      forbiddenSinceMs: null,
      elsewhereSinceMs: null,
      stopAsked: false,
    });
    const { limits } = container.spec;
    const all = [limits.memoryBytes, limits.cpus, limits.pids, limits.logBytes];
    if (!run.foreign.has(container.id) && !all.every((limit) => limit > 0)) fail(run, 'a container without limits');
  };
  engine.onStart = (container) => started(run, container);
  engine.onStop = (container) => asked(run, container);
  engine.onRemove = (container) => {
    if (run.foreign.has(container.id)) fail(run, `a container of somebody else was removed (${container.spec.name})`);
  };
  run.station.onCycle = (controller) => checkOutcomes(run, controller);
  run.station.onKill = () => note(run, () => '  the controller is gone');
}

function started(run: Run, container: SimulatedContainer): void {
  const { engine, clock, sticks } = run.station;
  note(run, () => `  started ${container.id} for ${nameOf(container)}: ${container.behaviour}`);
  run.startCount += 1;
  const made = madeOf(run, container);
  const running = [...engine.containers.values()].filter((one) => one !== container && isRunning(one));
  if (container.deviceId !== '') {
    if (running.some(({ deviceId }) => deviceId === container.deviceId))
      fail(run, `two recorders on one microphone (${container.deviceId})`);
    const isSynthetic = container.spec.env[RECORDER_ENV.device] === VIRTUAL_DEVICE;
    const real = sticks.find((one) => isPluggedIn(one) && isExpected(one, container));
    const stick = isSynthetic ? VIRTUAL : real;
    const holder = real && running.find((one) => heardBy(run, one) === stick);
    const busy = holder !== undefined;
    if (busy) fail(run, `a second recorder on the microphone of another (${container.deviceId})`);
    // As the real one: what it cannot open it says, and ends.
    if (busy) clock.after(60, () => engine.kill(container, 11));
    else if (stick === undefined) clock.after(60, () => engine.kill(container, 10));
    else Object.assign(made, { stick, stay: stick.stay, seenStay: stick.seenStay });
  }
  countStart(run, container.deviceId || (container.spec.labels[LABEL.service] ?? ''), container.imageId);
}

/** As the real one: a card that is another microphone's by now is not opened. */
function isExpected(stick: Stick, { spec: { env } }: SimulatedContainer): boolean {
  const { sound } = seenAs(stick);
  return sound?.hw === env[RECORDER_ENV.device] && sound?.usbDevice === env[RECORDER_ENV.usbDevice];
}

/** An image that a subject has not been started with yet is tried anew, however long ago it came. */
function countStart(run: Run, id: string, imageId: string): void {
  const tried = run.triedImages.get(id) ?? new Set();
  if (!tried.has(imageId)) cause(run, id);
  run.triedImages.set(id, tried.add(imageId));
  const nowMs = run.station.clock.nowMs();
  const recent = (times: readonly number[] | undefined, withinMs: number): number[] =>
    (times ?? []).filter((atMs) => nowMs - atMs < withinMs);
  const starts = [...recent(run.starts.get(id), 60_000), nowMs];
  run.starts.set(id, starts);
  if (starts.length <= STARTS_IN_A_MINUTE) return;
  const causes = recent(run.causes.get(id), CAUSE_LASTS_MS).length + recent(run.causes.get('*'), CAUSE_LASTS_MS).length;
  if (starts.length > STARTS_IN_A_MINUTE + STARTS_PER_CAUSE * causes)
    fail(run, `${starts.length} starts of ${id} in a minute`);
}

function asked(run: Run, container: SimulatedContainer): void {
  note(run, () => `  stopping ${container.id} of ${nameOf(container)}`);
  countCalm(run);
  const made = madeOf(run, container);
  if (made.stopAsked) return;
  made.stopAsked = true;
  const why = explanation(run, container, made);
  if (why === null && run.calmMs - made.explainedAtMs > EXPLAINED_FOR_MS)
    fail(run, `what works and is wanted was stopped without a reason (${nameOf(container)})`);
}

const nameOf = ({ deviceId, spec }: SimulatedContainer): string =>
  deviceId || (spec.labels[LABEL.service] ?? spec.name);

const serviceRow = (run: Run, { spec }: SimulatedContainer) =>
  run.station.database.state.services.find(({ name }) => name === spec.labels[LABEL.service]);

/** Why a stop of this one would be right just now; null: its owner would not agree. */
function explanation(run: Run, container: SimulatedContainer, made: Made): string | null {
  const { station } = run;
  if (!isRunning(container)) return 'it does not run';
  if (!isWell(container.behaviour)) return 'it does not work';
  if (container.frozenAtMs !== null && container.frozenAtMs <= station.clock.nowMs()) return 'it is frozen';
  if (container.spec.labels[LABEL.service] === HELPER.name) {
    const row = serviceRow(run, container);
    if (!row?.enabled) return 'it is switched off';
    return row.restartToken === made.restartToken ? null : 'it is to be restarted';
  }
  const row = rowOf(run, container.deviceId);
  if (row === undefined) return 'nobody asks for it';
  if (forbids(row)) return 'it must not run';
  if (isVirtual(row) && retiresVirtual(run)) return 'a real one is there';
  const { stick } = made;
  if (stick === null || stick.stay !== made.seenStay || stickOf(run, row) !== stick)
    return 'its microphone is another one';
  const { config, profiles } = station.database.state;
  const profile = profiles.find(({ slug }) => slug === row.profileSlug);
  // What cannot be used replaces nothing.
  if (profile === undefined || !profile.config.ok || !row.settings.ok) return null;
  if (row.restartToken !== made.restartToken || row.profileSlug !== made.profileSlug) return 'somebody changed it';
  if (row.settings !== made.settings || profile.config !== made.config) return 'somebody changed its settings';
  // What a database that is away says now was not heard.
  const updatesItself = config.autoUpdate || station.disk.lastGood?.config.autoUpdate === true;
  if (updatesItself && updates(run, container)) return 'a release waits';
  return null;
}

/** Forward to the image of the tag; or back to the last good one while that of the tag has not proven itself. */
function updates({ station }: Run, { imageId }: SimulatedContainer): boolean {
  const current = station.engine.images.get(RECORDER_IMAGE);
  return imageId !== current || current !== station.engine.images.get(lastGoodReference(RECORDER_IMAGE));
}

const forbids = (row: DeviceRow): boolean =>
  !row.enabled || row.enrollmentStatus !== 'enrolled' || row.profileSlug === null;

/** Between two moments. Whatever explains a stop is noted at once (`happened`), what lasts too long a little later. */
export function checkInvariants(run: Run, happened: boolean): void {
  const nowMs = run.station.clock.nowMs();
  if (!happened && nowMs - run.lastCheckMs < CHECK_EVERY_MS) return;
  run.lastCheckMs = nowMs;
  countCalm(run);
  for (const container of run.station.engine.containers.values()) {
    if (!isRunning(container) || run.foreign.has(container.id)) continue;
    const made = madeOf(run, container);
    if (explanation(run, container, made) !== null) made.explainedAtMs = run.calmMs;
    checkForbidden(run, container, made);
    checkSound(run, container, made);
  }
  const { devices } = run.station.database.state;
  for (const row of devices) checkTruth(run, row);
  for (const id of run.lies.keys()) if (!devices.some((row) => row.id === id)) run.lies.delete(id);
}

function checkForbidden(run: Run, container: SimulatedContainer, made: Made): void {
  if (!isForbidden(run, container)) {
    made.forbiddenSinceMs = null;
    return;
  }
  made.forbiddenSinceMs ??= run.calmMs;
  if (run.calmMs - made.forbiddenSinceMs > FORBIDDEN_AT_MOST_MS)
    fail(run, `${nameOf(container)} runs though it must not`);
}

function isForbidden(run: Run, container: SimulatedContainer): boolean {
  if (container.deviceId === '') return !serviceRow(run, container)?.enabled;
  const row = rowOf(run, container.deviceId);
  if (row === undefined || forbids(row) || stickOf(run, row) === undefined) return true;
  return isVirtual(row) && run.station.virtualMicrophones.kind === 'auto' && records(run);
}

/** A virtual microphone that came by itself goes when a real one records, or is there when a controller begins. */
function retiresVirtual({ station }: Run): boolean {
  return (
    station.virtualMicrophones.kind === 'auto' && station.sticks.some((stick) => isPluggedIn(stick) && !stick.cardLate)
  );
}

export const records = ({ station }: Run): boolean =>
  station.database.state.devices.some((row) => row.phase === 'recording' && !isVirtual(row));

/** The microphone that a recorder has open; null: none, or the one that it opened was pulled out since. */
function heardBy(run: Run, container: SimulatedContainer): Stick | null {
  const made = run.made.get(container.id);
  return made?.stick != null && isPluggedIn(made.stick) && made.stick.stay === made.stay ? made.stick : null;
}

/** Sound of another under its name, by what a row remembers of itself. */
function checkSound(run: Run, container: SimulatedContainer, made: Made): void {
  const row = rowOf(run, container.deviceId);
  const stick = heardBy(run, container);
  const isOther = row !== undefined && stick !== null && (isVirtual(row) ? stick !== VIRTUAL : !bears(stick, row));
  if (isOther) fail(run, `${nameOf(container)} hears another microphone`);
  // Twins are told apart by their ports alone, and an older database remembers an older port until it is told.
  const isElsewhere = row?.id.includes('-port') && stick !== null && portPathOf(stick) !== row.portPath;
  if (!isElsewhere) made.elsewhereSinceMs = null;
  else made.elsewhereSinceMs ??= run.calmMs;
  if (made.elsewhereSinceMs !== null && run.calmMs - made.elsewhereSinceMs > UNTRUE_AT_MOST_MS)
    fail(run, `${nameOf(container)} hears its twin`);
}

/** What a row says for longer than it takes to find out must be so. */
function checkTruth(run: Run, row: DeviceRow): void {
  const untrue = untruth(run, row);
  if (untrue === null) {
    run.lies.delete(row.id);
    return;
  }
  const sinceMs = run.lies.get(row.id) ?? run.calmMs;
  run.lies.set(row.id, sinceMs);
  if (run.calmMs - sinceMs > UNTRUE_AT_MOST_MS) fail(run, `${row.id} ${untrue} (${row.phase}, ${row.reason})`);
}

function untruth(run: Run, row: DeviceRow): string | null {
  const there = stickOf(run, row) !== undefined;
  if (there !== (row.status === 'online')) return `is ${row.status}, and is not`;
  switch (row.phase) {
    case 'recording': {
      const { containers } = run.station.engine;
      const runs = [...containers.values()].some((one) => one.deviceId === row.id && isRunning(one));
      return runs ? null : 'says that it records and does not';
    }
    case 'offline':
      return there ? 'says that it is not plugged in and is' : null;
    case 'disabled':
      return row.enabled ? 'says that it is switched off and is not' : null;
    case 'ignored':
      return row.enrollmentStatus === 'ignored' ? null : 'says that it is ignored and is not';
    case 'pending':
      return row.enrollmentStatus === 'enrolled' && row.profileSlug !== null ? 'says that it is new and is not' : null;
    default:
      return there ? null : 'says that something is to come though it is not plugged in';
  }
}

/** Every subject in exactly one outcome, and no row without one. */
function checkOutcomes(run: Run, controller: Controller): void {
  run.cycles += 1;
  const { outcomes, devices } = controller.snapshot();
  const told = new Set(outcomes.map(({ subject }) => subject));
  if (told.size !== outcomes.length) fail(run, 'a subject has two outcomes');
  for (const { id } of devices) if (!told.has(`recorder:${id}`)) fail(run, `${id} has no outcome`);
}

/** Someone else's containers, beside ours: of no station, and of another one. */
export function placeForeign(run: Run): void {
  const { engine } = run.station;
  for (const [name, labels] of [
    ['someone-s', {}],
    ['silvasonic-ffffffff-recorder-x', { [LABEL.owner]: OWNER, [LABEL.station]: 'ffffffff-1', [LABEL.deviceId]: 'x' }],
  ] as const)
    addForeign(run, name, labels);
  note(run, () => `  ${engine.containers.size} containers of others`);
}

export function addForeign(run: Run, name: string, labels: Record<string, string>): SimulatedContainer {
  const container = run.station.engine.make({ ...FOREIGN_SPEC, name, labels });
  run.foreign.add(container.id);
  container.state = 'live';
  return container;
}

const FOREIGN_SPEC = {
  name: '',
  image: RECORDER_IMAGE,
  env: {},
  labels: {},
  network: 'none',
  binds: [],
  devices: [],
  limits: { memoryBytes: 1, cpus: 1, pids: 1, oomScoreAdj: 0, logBytes: 1 },
  capabilities: [],
  readOnlyRoot: true,
  tmpfs: {},
  stopTimeoutS: 10,
  ports: [],
  entrypoint: null,
  command: null,
  user: null,
};

/** A recorder whose microphone is gone, or is another stay, ends by itself; one that hangs does not. */
export function plugsChanged(run: Run): void {
  const { engine, clock } = run.station;
  cause(run, '*');
  for (const container of engine.containers.values()) {
    const made = run.made.get(container.id);
    if (made?.stick == null || container.frozenAtMs !== null || !isRunning(container)) continue;
    if (isPluggedIn(made.stick) && made.stick.stay === made.stay) continue;
    clock.after(200, () => engine.kill(container, 10));
  }
}
