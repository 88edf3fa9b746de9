/** What a database of ours does with changes and edits, in memory: the rules of `store-write`, `store-adopt` and the triggers. */
import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_CONFIG } from '../../services/controller/store-rows.ts';
import type {
  Changes,
  DependencyState,
  DesiredState,
  DeviceChange,
  DeviceRow,
  ProfileRow,
  Reading,
  ServiceRow,
  StationConfig,
  Store,
} from '../../services/controller/world.ts';
import { isWorkspaceName, workspaceDigest } from '../../services/shared/recording.ts';

/** Why the database would take none of these changes; null: it takes them. */
export function refusalOf(database: DesiredState, { devices }: Changes): string | null {
  const wrong = devices.find(
    (change) =>
      change.kind === 'insert' &&
      !(isWorkspaceName(change.workspace) && change.workspace.endsWith(`-${workspaceDigest(change.id)}`)) &&
      !database.devices.some(({ id }) => id === change.id),
  );
  return wrong === undefined ? null : `The workspace of ${wrong.id} is not its own (devices_workspace_digest).`;
}

export const isEmpty = ({ devices, statuses, events, config }: Changes): boolean =>
  devices.length + statuses.length + events.length === 0 && config.workspaceMarked === undefined;

/** In place. Must not have been refused. */
export function applyChanges(database: DesiredState, changes: Changes): void {
  for (const change of structuredClone(changes.devices)) applyDeviceChange(database, change);
  for (const { subject, ...columns } of changes.statuses) {
    const row =
      subject.kind === 'device'
        ? database.devices.find(({ id }) => id === subject.id)
        : database.services.find(({ name }) => name === subject.name);
    if (row !== undefined) Object.assign(row, columns);
  }
  Object.assign(database.config, changes.config);
}

function applyDeviceChange(database: DesiredState, change: DeviceChange): void {
  const row = database.devices.find(({ id }) => id === change.id);
  switch (change.kind) {
    case 'update':
      if (row !== undefined) Object.assign(row, change.facts);
      return;
    case 'enroll':
      if (row?.enrollmentStatus !== 'pending' || row.decidedBy !== null) return;
      editRow(row, change.enrollment);
      row.decidedBy = change.enrollment.decidedBy;
      return;
    case 'forget':
      database.devices = database.devices.filter((device) => device !== row || device.status === 'online');
      return;
    case 'insert':
      if (row === undefined) database.devices.push(newRow(change));
      else Object.assign(row, change.facts);
      return;
    default:
      throw new Error(`Unknown change: ${JSON.stringify(change satisfies never)}`);
  }
}

function newRow({ id, workspace, name, facts, enrollment }: Extract<DeviceChange, { kind: 'insert' }>): DeviceRow {
  return {
    id,
    workspace,
    name,
    ...facts,
    ...enrollment,
    enabled: true,
    settings: { ok: true, value: {} },
    restartToken: '',
    firstSeenAt: facts.lastSeenAt,
    generation: 1,
    observedGeneration: 0,
    phase: 'waiting',
    reason: '',
    message: '',
  };
}

/** Columns that are a person's; a change of any but the name is counted. */
export type PersonsColumns = Partial<
  Pick<DeviceRow, 'name' | 'enabled' | 'enrollmentStatus' | 'profileSlug' | 'settings' | 'restartToken'>
>;

const COUNTED = ['enabled', 'enrollmentStatus', 'profileSlug', 'settings', 'restartToken'] as const;

function editRow(row: DeviceRow, columns: PersonsColumns): void {
  const before = { ...row };
  Object.assign(row, structuredClone(columns));
  if (COUNTED.some((column) => !isDeepStrictEqual(before[column], row[column]))) row.generation += 1;
}

/** A person's edit of a device, counted as the trigger counts. */
export function editDevice(database: DesiredState, id: string, columns: PersonsColumns): void {
  const row = database.devices.find((device) => device.id === id);
  if (row === undefined) return;
  const { enrollmentStatus, profileSlug } = row;
  editRow(row, columns);
  if (row.enrollmentStatus !== enrollmentStatus || row.profileSlug !== profileSlug) row.decidedBy = 'person';
}

/** A person's edit of a profile: counted at every device that uses it. */
export function editProfile(database: DesiredState, slug: string, config: ProfileRow['config']): void {
  const profile = database.profiles.find((row) => row.slug === slug);
  if (profile === undefined || isDeepStrictEqual(profile.config, config)) return;
  profile.config = structuredClone(config);
  for (const row of database.devices) if (row.profileSlug === slug) row.generation += 1;
}

/** In place. What the state remembers is put back, what is there besides stays; of the config what is there wins. */
export function adoptState(database: DesiredState, given: DesiredState): void {
  const state = structuredClone(given);
  database.stationId = state.stationId;
  database.config = adoptConfig(database.config, state.config);
  for (const profile of state.profiles) {
    const there = database.profiles.find(({ slug }) => slug === profile.slug);
    if (there === undefined) database.profiles.push(profile);
    else if (profile.config.ok) {
      editProfile(database, profile.slug, profile.config);
      Object.assign(there, profile);
    }
  }
  const slugs = new Set(database.profiles.map(({ slug }) => slug));
  for (const row of state.devices) if (!slugs.has(row.profileSlug ?? '')) row.profileSlug = null;
  database.devices = merged(database.devices, state.devices, ({ id }) => id);
  database.services = merged(database.services, state.services, ({ name }: ServiceRow) => name);
}

function adoptConfig(there: StationConfig, given: StationConfig): StationConfig {
  const untouched = Object.entries(DEFAULT_CONFIG).flatMap(([key, value]) =>
    isDeepStrictEqual(Reflect.get(there, key), value) ? [[key, Reflect.get(given, key)]] : [],
  );
  return {
    ...there,
    ...Object.fromEntries(untouched),
    workspaceMarked: there.workspaceMarked || given.workspaceMarked,
  };
}

function merged<T>(there: readonly T[], given: readonly T[], keyOf: (row: T) => string): T[] {
  const rows = new Map([...there, ...given].map((row) => [keyOf(row), row]));
  return [...rows.values()];
}

/** A copy, in the order of the reading statement. */
function asRead(database: DesiredState): DesiredState {
  const state = structuredClone(database);
  state.devices.sort((a, b) => (a.id < b.id ? -1 : 1));
  state.profiles.sort((a, b) => (a.slug < b.slug ? -1 : 1));
  state.services.sort((a, b) => (a.name < b.name ? -1 : 1));
  return state;
}

/** The part of a store that is the same in every fake; `ask` is how long an answer takes and whether there is one. */
export function createStorePort(
  ask: <T>(work: () => Reading<T>, isWrite: boolean) => Promise<Reading<T>>,
  database: () => DesiredState,
  nowMs: () => number,
): Pick<Store, 'read' | 'write' | 'adopt' | 'dependency'> {
  let dependency: DependencyState = { name: 'database', state: 'down', message: '', sinceMs: nowMs() };
  const good = <T>(value: T): Reading<T> => ({ ok: true, value, startedAtMs: nowMs() });
  const told = async <T>(answer: Promise<Reading<T>>): Promise<Reading<T>> => {
    const reading = await answer;
    dependency = { ...dependency, state: reading.ok ? 'up' : 'down', message: reading.ok ? '' : reading.error };
    return reading;
  };
  return {
    read: () => told(ask(() => good(asRead(database())), false)),
    async write(changes) {
      if (isEmpty(changes)) return good(null);
      return await told(
        ask(() => {
          const error = refusalOf(database(), changes);
          if (error !== null) return { ok: false, error, startedAtMs: nowMs() };
          applyChanges(database(), changes);
          return good(null);
        }, true),
      );
    },
    adopt: (state) =>
      told(
        ask(() => {
          adoptState(database(), state);
          return good(null);
        }, true),
      ),
    dependency: () => dependency,
  };
}
