/**
 * A database that can be away, hang, be read-only, do what it is asked and not say so. What it holds is never changed in
 * place: a state that somebody has read stays as he read it, and what was not touched is the same object as before.
 */
import type {
  Changes,
  DependencyState,
  DesiredState,
  DeviceRow,
  Reading,
  ServiceRow,
  Store,
} from '../../services/controller/world.ts';
import { catalogueEntrySchema } from '../../services/shared/catalogue.ts';
import { adoptState, applyChanges, isEmpty, refusalOf } from '../unit/in-memory-database.ts';
import { emptyDatabase } from '../unit/in-memory-world.ts';
import type { Random } from './random.ts';
import type { SimulatedClock } from './simulated-clock.ts';

export interface DatabaseFaults {
  away: boolean;
  readOnly: boolean;
  delayMs: number;
  /** Probability that something is written, and its writer not told. */
  writeUnanswered: number;
}

export interface SimulatedDatabase {
  state: DesiredState;
  faults: DatabaseFaults;
  /** How often something was written. */
  writes: number;
  /** A person who edits between what the controller reads and what it writes. */
  beforeNextWrite: (() => void) | null;
}

/** The one service of the simulated catalogue. */
export const HELPER = catalogueEntrySchema.parse({
  name: 'helper',
  title: 'Helper',
  description: 'Helps.',
  // Not of this machine: where it is missing it is fetched.
  image: 'registry.example/helper:1',
  limits: { memoryMebibytes: 128, cpus: 0.5, pids: 32 },
});

export const QUIET_DATABASE: DatabaseFaults = { away: false, readOnly: false, delayMs: 2, writeUnanswered: 0 };
/** After this the caller gives up. */
const DEADLINE_MS = 2000;

/** Fresh from its migrations: with the profiles and services that come with the release, and nobody's. */
export function freshState(): DesiredState {
  const untold = { observedGeneration: 0, phase: 'disabled' as const, reason: '', message: '' };
  const service = { name: HELPER.name, enabled: false, settings: {}, restartToken: '', generation: 1, ...untold };
  return { ...emptyDatabase(), services: [service] };
}

export function createSimulatedDatabase(): SimulatedDatabase {
  return { state: freshState(), faults: { ...QUIET_DATABASE }, writes: 0, beforeNextWrite: null };
}

/** A person's edit: the columns change and the trigger counts. */
export function editDevice(database: SimulatedDatabase, id: string, change: Partial<DeviceRow>): void {
  const devices = database.state.devices.map((row) =>
    row.id === id ? { ...row, ...change, generation: row.generation + 1 } : row,
  );
  database.state = { ...database.state, devices };
}

export function editService(database: SimulatedDatabase, name: string, change: Partial<ServiceRow>): void {
  const services = database.state.services.map((row) =>
    row.name === name ? { ...row, ...change, generation: row.generation + 1 } : row,
  );
  database.state = { ...database.state, services };
}

export interface StoreHooks {
  clock: SimulatedClock;
  random: Random;
  alive: () => boolean;
  /** Called before and after each deed. */
  effect: () => void;
  onStart: (onAvailable: () => void) => void;
}

export function createSimulatedStore(database: SimulatedDatabase, hooks: StoreHooks): Store {
  const { clock, random, alive, effect } = hooks;
  const refused = { ok: false as const, error: 'The database does not answer.' };
  const isAway = (): boolean => database.faults.away || database.faults.delayMs >= DEADLINE_MS;
  let dependency: DependencyState = { name: 'database', state: 'down', message: '', sinceMs: clock.nowMs() };
  const answer = async <T>(work: () => T, writes: boolean): Promise<Reading<T>> => {
    const startedAtMs = clock.nowMs();
    await clock.sleep(Math.min(DEADLINE_MS, database.faults.delayMs));
    if (!alive()) return await new Promise(() => {});
    const { readOnly, writeUnanswered } = database.faults;
    if (isAway()) return { ...refused, startedAtMs };
    if (writes && readOnly) return { ok: false, error: 'The database is read-only.', startedAtMs };
    if (!writes) return { ok: true, value: work(), startedAtMs };
    effect();
    if (!alive()) return await new Promise(() => {});
    database.beforeNextWrite?.();
    database.beforeNextWrite = null;
    database.writes += 1;
    const value = work();
    effect();
    if (random.chance(writeUnanswered)) await clock.sleep(DEADLINE_MS);
    if (!alive()) return await new Promise(() => {});
    return random.chance(writeUnanswered) ? { ...refused, startedAtMs } : { ok: true, value, startedAtMs };
  };
  const told = async <T>(reading: Promise<Reading<T>>): Promise<Reading<T>> => {
    const { ok } = await reading;
    dependency = { ...dependency, state: ok ? 'up' : 'down', message: ok ? '' : refused.error };
    return await reading;
  };
  return {
    start(onAvailable) {
      hooks.onStart(onAvailable);
      clock.after(database.faults.delayMs, () => {
        if (alive() && !isAway()) onAvailable();
      });
    },
    read: () => told(answer(() => database.state, false)),
    async write(changes) {
      // A change of nothing touches no connection.
      if (isEmpty(changes)) return { ok: true, value: null, startedAtMs: clock.nowMs() };
      const error = refusalOf(database.state, changes);
      if (error !== null)
        return await told(answer(() => null, false).then((reading) => ({ ...reading, ok: false, error })));
      return await told(
        answer(() => {
          database.state = changed(database.state, changes);
          return null;
        }, true),
      );
    },
    adopt: (given) =>
      told(
        answer(() => {
          const next = structuredClone(database.state);
          adoptState(next, given);
          next.devices.sort(byId);
          database.state = next;
          return null;
        }, true),
      ),
    dependency: () => dependency,
    stop: async () => {},
  };
}

/** Only what is named is copied. */
function changed(state: DesiredState, changes: Changes): DesiredState {
  const named = new Set<string>([
    ...changes.devices.map(({ id }) => id),
    ...changes.statuses.map(({ subject }) => (subject.kind === 'device' ? subject.id : subject.name)),
  ]);
  const next: DesiredState = {
    ...state,
    config: changes.config.workspaceMarked === undefined ? state.config : { ...state.config },
    devices: state.devices.map((row) => (named.has(row.id) ? { ...row } : row)),
    services: state.services.map((row) => (named.has(row.name) ? { ...row } : row)),
  };
  applyChanges(next, changes);
  if (changes.devices.some(({ kind }) => kind === 'insert')) next.devices.sort(byId);
  return next;
}

/** As the reading statement orders them. */
const byId = (a: DeviceRow, b: DeviceRow): number => (a.id < b.id ? -1 : 1);
