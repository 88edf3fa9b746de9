/**
 * Readings of the outside world, kept until something says that they may be out of date. A failed reading never
 * replaces what it failed to read by nothing: whoever depends on it keeps what it has.
 */

import type { CatalogueEntry } from '../shared/catalogue.ts';
import { LABEL, NOTHING_TO_REPORT, type RecorderStatus } from '../shared/contract.ts';
import { isSameButForStatus } from './device-row.ts';
import { createPatience } from './patience.ts';
import { recorderSubject, type SpecInput } from './spec.ts';
import { lookAtWorkspace, noProblem } from './workspace-marker.ts';
import type {
  Clock,
  DesiredState,
  Engine,
  Explanation,
  ImageIds,
  Microphone,
  MicrophoneSource,
  ObservedContainer,
  Reading,
  SecretVersions,
  ServiceRow,
  StationEvent,
  Store,
  SubjectKey,
  Wish,
  Workspaces,
} from './world.ts';

/** What may have changed since it was last read. */
export type Dirty = 'database' | 'containers' | 'images';

export interface Observed {
  /** null: neither the database nor a last good state could ever be read. */
  desired: DesiredState | null;
  /** `desired` is a last good state's: the database has not been read yet. */
  remembered: boolean;
  stationId: string | null;
  scan: Reading<Microphone[]>;
  containers: Reading<ObservedContainer[]>;
  image: { reference: string; currentId: string | null; lastGoodReference: string; lastGoodId: string | null };
  /** Ids behind every tag that was asked for. */
  images: ImageIds;
  workspaceProblem: Explanation | null;
  configChanges: { workspaceMarked?: true };
  events: StationEvent[];
}

export interface ObserverPorts {
  clock: Clock;
  microphones: MicrophoneSource;
  store: Store;
  engine: Engine;
  workspaces: Workspaces;
}

export interface ObserverOptions {
  recorderImage: string;
  /** Images of the catalogue's services. */
  serviceImages: readonly string[];
  /** A fresh station id. */
  newStationId: () => string;
  /** Called once the station id is known: from then on its containers can be followed. */
  onStationId: (stationId: string) => void;
  /** A reading that took longer than a cycle waits has come in. */
  onLateReading: () => void;
}

export interface Observer {
  refresh(isTick: boolean): Promise<Observed>;
  readStatuses(
    wished: readonly Wish[],
    containers: Reading<ObservedContainer[]>,
  ): Promise<Map<SubjectKey, Reading<RecorderStatus | null>>>;
  /** What services that should run have to tell. */
  readReports(wished: readonly Wish[]): Promise<Map<SubjectKey, Explanation>>;
  /** Whether the secrets are there of services that are switched on and need some. */
  readSecrets(services: readonly ServiceRow[], catalogue: readonly CatalogueEntry[]): Promise<SpecInput['secrets']>;
  /** To be written down with what the next cycle finds. */
  report(event: StationEvent): void;
  markDirty(what: Dirty): void;
  /** Keeps what the cycle goes by: in memory, and on disk where it would be missed after a wiped database. */
  remember(state: DesiredState): void;
  /** The last list of containers, however old. */
  lastContainers(): readonly ObservedContainer[];
}

/** Images change rarely: they are looked up at every other tick. */
const TICKS_PER_IMAGE_LOOKUP = 2;

/** `repository:tag` → `repository:last-good`. */
export function lastGoodReference(reference: string): string {
  return `${reference.slice(0, reference.lastIndexOf(':'))}:last-good`;
}

export function createObserver(ports: ObserverPorts, options: ObserverOptions): Observer {
  const dirty = new Set<Dirty>(['database', 'containers', 'images']);
  const neverRead = { ok: false as const, error: 'It has not been read yet.', startedAtMs: ports.clock.nowMs() };
  let desired: DesiredState | null = null;
  let wasRead = false;
  let stationId: string | null = null;
  let lastGoodLoaded = false;
  let savedJson = '';
  let remembered: DesiredState | null = null;
  let containers: Reading<ObservedContainer[]> = neverRead;
  let lastContainers: readonly ObservedContainer[] = [];
  let images: ImageIds = {};
  let ticks = 0;
  let events: StationEvent[] = [];
  /** What recorders say, by workspace; asked for at the beginning of a cycle. */
  let statusReadings = new Map<string, Promise<Reading<RecorderStatus | null>>>();
  const patience = createPatience(ports.clock, options.onLateReading);
  const lastGood = lastGoodReference(options.recorderImage);
  const references = [...new Set([options.recorderImage, lastGood, ...options.serviceImages])];

  const becomeStation = (id: string): void => {
    if (stationId === id) return;
    stationId = id;
    options.onStationId(id);
  };

  const loadLastGood = async (): Promise<void> => {
    lastGoodLoaded = true;
    const saved = await ports.workspaces.readLastGood();
    if (!saved.ok) events.push(warning('LastGoodUnreadable', saved.error));
    else if (saved.value?.stationId != null) {
      desired = saved.value;
      becomeStation(saved.value.stationId);
    }
  };

  /** A database that belongs to nobody or to another station is made ours; nothing that runs is touched meanwhile. */
  const adoptDatabase = async (read: DesiredState): Promise<void> => {
    const known = desired;
    if (known !== null) {
      const adopted = await ports.store.adopt(known);
      const found = read.stationId === null ? 'was empty' : 'belongs to another station';
      if (adopted.ok)
        events.push(
          warning(
            'DatabaseRestored',
            `The database ${found}: devices, profiles and settings were restored from the last good state.`,
          ),
        );
      return;
    }
    const marker = await ports.workspaces.readMarker();
    if (!marker.ok) {
      // Not "no marker": with another id the recorders that run, and the recordings, would be a stranger's.
      events.push(warning('WorkspaceUnreadable', marker.error));
      return;
    }
    const id = marker.value ?? options.newStationId();
    const fresh = { ...read, stationId: id, devices: [], services: [], profiles: [] };
    const adopted = await ports.store.adopt(fresh);
    if (adopted.ok) becomeStation(id);
  };

  const refreshDesired = async (): Promise<void> => {
    if (!lastGoodLoaded) await loadLastGood();
    for (let attempt = 0; attempt < 2 && dirty.has('database'); attempt += 1) {
      dirty.delete('database');
      const reading = await ports.store.read();
      if (!reading.ok) {
        dirty.add('database');
        return;
      }
      const foreign = reading.value.stationId === null || (stationId !== null && reading.value.stationId !== stationId);
      if (foreign) {
        await adoptDatabase(reading.value);
        dirty.add('database');
      } else {
        if (reading.value.stationId !== null) becomeStation(reading.value.stationId);
        desired = reading.value;
        wasRead = true;
        for (const problem of reading.value.problems) events.push(warning('RowUnreadable', problem));
      }
    }
  };

  const refreshContainers = async (id: string): Promise<void> => {
    if (!dirty.has('containers') && containers.ok) return;
    dirty.delete('containers');
    const reading = await patience('containers', () => ports.engine.list(id));
    if (reading === 'late')
      containers = { ok: false, error: 'The engine has not answered yet.', startedAtMs: ports.clock.nowMs() };
    else containers = reading;
    if (containers.ok) lastContainers = containers.value;
    else dirty.add('containers');
  };

  const refreshImages = async (): Promise<void> => {
    if (!dirty.has('images')) return;
    dirty.delete('images');
    const reading = await patience('images', () => ports.engine.images(references));
    if (reading !== 'late' && reading.ok) images = reading.value;
    // A missing image may be built or pulled at any moment, and a failed reading says nothing.
    if (reading === 'late' || !reading.ok || images[options.recorderImage] == null) dirty.add('images');
  };

  /** Of those that were seen running: files are read while database and engine are waited for. */
  const beginStatuses = (): void => {
    const live = liveDevices(lastContainers);
    const rows = desired?.devices.filter(({ id }) => live.has(id)) ?? [];
    statusReadings = new Map(rows.map(({ workspace }) => [workspace, ports.workspaces.readStatus(workspace)]));
  };

  return {
    markDirty: (what) => void dirty.add(what),
    lastContainers: () => lastContainers,
    async refresh(isTick) {
      ticks += isTick ? 1 : 0;
      if (isTick) for (const what of ['database', 'containers'] as const) dirty.add(what);
      if (isTick && ticks % TICKS_PER_IMAGE_LOOKUP === 1) dirty.add('images');
      const known = stationId;
      const marker = ports.workspaces.readMarker();
      beginStatuses();
      if (known === null) await refreshDesired();
      await Promise.all([
        known === null ? null : refreshDesired(),
        stationId === null ? null : refreshContainers(stationId),
        stationId === null ? null : refreshImages(),
      ]);
      const workspace =
        desired === null || stationId === null
          ? noProblem
          : await lookAtWorkspace(ports.workspaces, await marker, stationId, desired.config);
      const told = events;
      events = [];
      return {
        desired,
        remembered: !wasRead,
        stationId,
        scan: ports.microphones.read(),
        containers,
        image: {
          reference: options.recorderImage,
          currentId: images[options.recorderImage] ?? null,
          lastGoodReference: lastGood,
          lastGoodId: images[lastGood] ?? null,
        },
        images,
        workspaceProblem: workspace.problem,
        configChanges: workspace.marked ? { workspaceMarked: true } : {},
        events: told,
      };
    },
    async readStatuses(wished, reading) {
      const live = liveDevices(reading.ok ? reading.value : []);
      const wanted = wished.flatMap((wish) => {
        if (wish.target.kind !== 'device' || wish.kind === 'off') return [];
        // Without an engine the files are all that tells whether it records.
        const looking = !reading.ok || live.has(wish.target.id);
        const row = desired?.devices.find((device) => wish.target.kind === 'device' && device.id === wish.target.id);
        return looking && row !== undefined ? [{ subject: recorderSubject(row.id), workspace: row.workspace }] : [];
      });
      const statuses = wanted.map(
        async ({ subject, workspace }) =>
          [subject, await (statusReadings.get(workspace) ?? ports.workspaces.readStatus(workspace))] as const,
      );
      return new Map(await Promise.all(statuses));
    },
    async readSecrets(services, catalogue) {
      const secrets = new Map<string, Reading<SecretVersions>>();
      for (const entry of catalogue) {
        const wanted = entry.secrets.length > 0 && services.some(({ name, enabled }) => name === entry.name && enabled);
        if (!wanted) continue;
        const names = entry.secrets.map(({ name }) => name);
        secrets.set(entry.name, await ports.workspaces.readSecrets(entry.name, names));
      }
      return secrets;
    },
    report: (event) => void events.push(event),
    async readReports(wished) {
      const reports = new Map<SubjectKey, Explanation>();
      for (const { subject, target, kind } of wished) {
        if (target.kind !== 'service' || kind !== 'run') continue;
        const report = await ports.workspaces.readReport(target.name);
        if (report.ok && report.value !== null && report.value.reason !== NOTHING_TO_REPORT)
          reports.set(subject, report.value);
      }
      return reports;
    },
    remember(state) {
      desired = state;
      // Most cycles change nothing, and the text of a station with many rows is long.
      if (remembered !== null && isSame(remembered, state)) return;
      remembered = state;
      const lasting = withoutStatus(state);
      const json = JSON.stringify(lasting);
      if (json === savedJson) return;
      savedJson = json;
      void ports.workspaces.writeLastGood(lasting).then((written) => {
        if (written.ok) return;
        savedJson = '';
        remembered = null;
        events.push(warning('LastGoodUnwritable', written.error));
      });
    },
  };
}

function warning(reason: string, message: string): StationEvent {
  return { subject: 'station', type: 'warning', reason, message };
}

/** Of the very same parts: nothing was read or decided anew. */
function isSame(a: DesiredState, b: DesiredState): boolean {
  const areSame = <T>(some: readonly T[], others: readonly T[], isEqual = Object.is as (a: T, b: T) => boolean) =>
    some === others ||
    (some.length === others.length &&
      some.every((part, index) => {
        const other = others[index];
        return other !== undefined && isEqual(part, other);
      }));
  return (
    a.stationId === b.stationId &&
    a.config === b.config &&
    areSame(a.profiles, b.profiles) &&
    areSame(a.devices, b.devices, isSameButForStatus) &&
    areSame(a.services, b.services)
  );
}

/** Status columns change often and are found again by looking: they are not worth wearing out an SD card. */
function withoutStatus(state: DesiredState): DesiredState {
  const quiet = { observedGeneration: 0, reason: '', message: '' };
  return {
    ...state,
    problems: [],
    devices: state.devices.map((row) => ({ ...row, ...quiet, phase: 'waiting', lastSeenAt: row.firstSeenAt })),
    services: state.services.map((row) => ({ ...row, ...quiet, phase: 'disabled' })),
  };
}

/** Whose containers run. */
function liveDevices(containers: readonly ObservedContainer[]): Set<string | undefined> {
  return new Set(containers.filter(({ state }) => state === 'live').map(({ labels }) => labels[LABEL.deviceId]));
}
