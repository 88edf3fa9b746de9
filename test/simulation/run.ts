/** One world on its way: the station, what was done to it, and what explains what the controller does. */
import type { DeviceRow } from '../../services/controller/world.ts';
import type { SimulatedContainer } from './simulated-engine.ts';
import type { SimulatedStation } from './simulated-station.ts';
import { bears, isPluggedIn, isVirtual, portPathOf, type Stick, VIRTUAL } from './simulated-usb.ts';

/** What a container was made by; compared by identity, since states are never changed in place. */
export interface Made {
  /** The microphone that it hears, and which stay of it; null: none, or it has not been started. */
  stick: Stick | null;
  stay: number;
  /** The stay that it was meant for, which an unreadable USB may have hidden from whoever made it. */
  seenStay: number;
  restartToken: string;
  profileSlug: string | null;
  settings: unknown;
  config: unknown;
  /** When a stop of it was last explained, in calm time. */
  explainedAtMs: number;
  /** Since when it runs though it must not, in calm time; null: it may. */
  forbiddenSinceMs: number | null;
  /** Since when it hears a microphone on another port than its row remembers, in calm time; null: it does not. */
  elsewhereSinceMs: number | null;
  stopAsked: boolean;
}

export interface Run {
  station: SimulatedStation;
  /** Time that has passed without anything in the controller's way. */
  calmMs: number;
  calmCountedAtMs: number;
  /** When it goes on after a hindrance. */
  calmFromMs: number;
  lastCheckMs: number;
  made: Map<string, Made>;
  /** Containers of others. */
  foreign: Set<string>;
  /** Times at which something happened that explains starts, by device id; `*`: of all. */
  causes: Map<string, number[]>;
  starts: Map<string, number[]>;
  /** Ids of the images that each was ever started with. */
  triedImages: Map<string, Set<string>>;
  startCount: number;
  cycles: number;
  /** Since when a row says what is not so, in calm time, by what. */
  lies: Map<string, number>;
  /** Conditions that last, and when they end. */
  lasting: Map<string, { endsAtMs: number; end: () => void }>;
  /** null: nobody reads it. */
  history: string[] | null;
  failure: { what: string; atMs: number } | null;
}

export function createRun(station: SimulatedStation, traced: boolean): Run {
  return {
    station,
    calmMs: 0,
    calmCountedAtMs: 0,
    calmFromMs: 0,
    lastCheckMs: 0,
    made: new Map(),
    foreign: new Set(),
    causes: new Map(),
    starts: new Map(),
    triedImages: new Map(),
    startCount: 0,
    cycles: 0,
    lies: new Map(),
    lasting: new Map(),
    history: traced ? [] : null,
    failure: null,
  };
}

export function note({ history, station }: Run, text: () => string): void {
  history?.push(`${String(station.clock.nowMs()).padStart(9)} ms  ${text()}`);
}

/** The first one counts. It is looked at between two moments: thrown inside a port it would be taken for its failure. */
export function fail(run: Run, what: string): void {
  if (run.failure !== null) return;
  run.failure = { what, atMs: run.station.clock.nowMs() };
  note(run, () => `BROKEN: ${what}`);
}

/** Something happened that explains starts of this device; `*`: of all. */
export function cause(run: Run, deviceId: string): void {
  const times = run.causes.get(deviceId);
  if (times === undefined) run.causes.set(deviceId, [run.station.clock.nowMs()]);
  else times.push(run.station.clock.nowMs());
}

/** What happened while nobody could look is seen now, however long ago it was. */
export const seenAgain = (run: Run): void => cause(run, '*');

export const rowOf = ({ station }: Run, id: string): DeviceRow | undefined =>
  station.database.state.devices.find((row) => row.id === id);

/**
 * The microphone that stands on a row's port and is what the row remembers. Of two rows that remember the same, as after
 * an older database was restored, it is that of the one which is online.
 */
export function stickOf({ station }: Run, row: DeviceRow): Stick | undefined {
  // Only the controller says when one is plugged in; what it may say is among the invariants.
  if (isVirtual(row)) return row.status === 'online' ? VIRTUAL : undefined;
  const stick = station.sticks.find((one) => isPluggedIn(one) && portPathOf(one) === row.portPath && bears(one, row));
  if (stick === undefined || row.status === 'online') return stick;
  const others = station.database.state.devices.some(
    (other) => other !== row && other.status === 'online' && other.portPath === row.portPath && bears(stick, other),
  );
  return others ? undefined : stick;
}

export const madeOf = (run: Run, container: SimulatedContainer): Made => {
  const made = run.made.get(container.id);
  if (made === undefined) throw new Error(`nobody saw ${container.id} being made`);
  return made;
};

/** Something stands between what is wished and the containers, so that delays are excused. */
export function isHindered({ station }: Run): boolean {
  const { engine, database, disk } = station;
  const { away, runFails, removeFails, removeUnanswered, listDelayMs } = engine.faults;
  const { faults, state } = database;
  return (
    station.isUnattended() ||
    station.usbFails ||
    away ||
    runFails > 0 ||
    removeFails > 0 ||
    removeUnanswered > 0 ||
    listDelayMs > 0 ||
    faults.away ||
    faults.delayMs > 100 ||
    faults.writeUnanswered > 0 ||
    // A wiped database that cannot be written cannot be restored either.
    faults.readOnly ||
    state.stationId === null ||
    (disk.marker !== null && state.stationId !== disk.marker) ||
    disk.faults.markerHidden ||
    disk.faults.markerUnreadable ||
    disk.faults.foldersUnwritable
  );
}

/** A hindrance may have swallowed a whole tick: only after the next one things take their usual time again. */
const RECOVERY_MS = 31_000;

/** Calm time goes on while nothing hinders, and nothing did for longer than a tick. */
export function countCalm(run: Run): void {
  const nowMs = run.station.clock.nowMs();
  if (isHindered(run)) run.calmFromMs = nowMs + RECOVERY_MS;
  run.calmMs += Math.max(0, nowMs - Math.max(run.calmCountedAtMs, run.calmFromMs));
  run.calmCountedAtMs = nowMs;
}
