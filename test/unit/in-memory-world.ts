/** Our own ports in memory: a clock that only the test moves, an engine, a database, folders. */

import { type Alerts, noAlerts } from '../../services/controller/alerts.ts';
import type { Log } from '../../services/controller/log.ts';
import { isOurs } from '../../services/controller/podman-container.ts';
import type {
  ActionOutcome,
  Changes,
  Clock,
  ContainerSpec,
  DependencyState,
  DesiredState,
  Engine,
  Explanation,
  ImageIds,
  Microphone,
  MicrophoneSource,
  ObservedContainer,
  Reading,
  ServiceFolders,
  Store,
  Workspaces,
} from '../../services/controller/world.ts';
import { DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';
import {
  type Heartbeat,
  isWorkspaceName,
  LABEL,
  type LogLine,
  type Processing,
  type RecorderStatus,
} from '../../services/shared/contract.ts';
import { createInMemoryBus, type InMemoryBus } from './in-memory-bus.ts';
import { createStorePort } from './in-memory-database.ts';
import { createInMemoryLogs, type InMemoryLogs } from './in-memory-logs.ts';
import { createInMemoryRegistry, createPull, type InMemoryRegistry } from './in-memory-registry.ts';
import { GENERIC_PROFILE, status, UMIK_PROFILE } from './sample-world.ts';

export { applyChanges } from './in-memory-database.ts';

export const quietLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quietLog };

export interface ManualClock extends Clock {
  /** Moves time on; timers fire in order, and what they started is awaited in between. */
  advance(byMs: number): Promise<void>;
  jumpWall(byMs: number): void;
}

export function createManualClock(): ManualClock {
  let nowMs = 0;
  let wallOffsetMs = 1_700_000_000_000;
  let timers: { atMs: number; callback: () => void }[] = [];
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  };
  return {
    nowMs: () => nowMs,
    wallMs: () => nowMs + wallOffsetMs,
    jumpWall(byMs) {
      wallOffsetMs += byMs;
    },
    timer(delayMs, callback) {
      const timer = { atMs: nowMs + delayMs, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
    async advance(byMs) {
      const untilMs = nowMs + byMs;
      await settle();
      for (;;) {
        const [next] = timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
        if (next === undefined) break;
        timers = timers.filter((one) => one !== next);
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
        await settle();
      }
      nowMs = untilMs;
      await settle();
    },
  };
}

const up = (name: string): DependencyState => ({ name, state: 'up', message: '', sinceMs: 0 });

/** What the test sees and sets; the ports below read and write it. */
export interface WorldState {
  plugged: Microphone[];
  usbFails: boolean;
  /** Who has a microphone open, by `hw:1,0`. */
  holders: Map<string, string>;
  database: DesiredState;
  databaseAway: boolean;
  databaseReadOnly: boolean;
  /** It takes every question and answers none. */
  databaseHangs: boolean;
  reads: number;
  writes: Changes[];
  containers: ObservedContainer[];
  started: string[];
  removed: string[];
  engineAway: boolean;
  /** The engine takes every request and answers none. */
  engineHangs: boolean;
  /** The engine takes this long to list. */
  listDelayMs: number;
  images: ImageIds;
  /** Where images come from that are not there. */
  registry: InMemoryRegistry;
  /** What containers have written. */
  logs: InMemoryLogs;
  /** What a recorder writes instead of an advancing status, by workspace; null: nothing. */
  statuses: Map<string, RecorderStatus | null>;
  /** What was told to whoever processes a device's segments, by workspace. */
  processing: Map<string, Processing>;
  /** What services tell in their status files. */
  reports: Map<string, Explanation>;
  /** What services were told last. */
  toldServices: readonly ServiceFolders[];
  /** What was published on the bus. */
  heartbeats: Heartbeat[];
  /** Each gets the log lines that are told while it is among them. */
  logReaders: Set<LogLine[]>;
  marker: string | null;
  lastGood: DesiredState | null;
}

export function emptyDatabase(): DesiredState {
  return {
    stationId: null,
    config: {
      name: 'Station',
      position: null,
      autoEnrollment: true,
      autoUpdate: false,
      workspaceMarked: false,
      alerts: DEFAULT_ALERT_SETTINGS,
    },
    profiles: structuredClone([UMIK_PROFILE, GENERIC_PROFILE]),
    devices: [],
    services: [],
    problems: [],
  };
}

export function createWorld(clock: Clock): { state: WorldState; ports: InMemoryPorts } {
  const state: WorldState = {
    plugged: [],
    usbFails: false,
    holders: new Map(),
    database: emptyDatabase(),
    databaseAway: false,
    databaseReadOnly: false,
    databaseHangs: false,
    reads: 0,
    writes: [],
    containers: [],
    started: [],
    removed: [],
    engineAway: false,
    engineHangs: false,
    listDelayMs: 0,
    images: { 'localhost/silvasonic-recorder:latest': 'sha256:aaaa' },
    registry: createInMemoryRegistry(),
    logs: createInMemoryLogs(clock, {
      isAway: () => state.engineAway,
      stateOf(containerId) {
        const found = state.containers.find(({ id }) => id === containerId);
        return found === undefined ? 'gone' : found.state === 'live' ? 'live' : 'ended';
      },
    }),
    statuses: new Map(),
    processing: new Map(),
    reports: new Map(),
    toldServices: [],
    heartbeats: [],
    logReaders: new Set(),
    marker: null,
    lastGood: null,
  };
  return { state, ports: createPorts(state, clock) };
}

export interface InMemoryPorts {
  microphones: MicrophoneSource & { changed(): void };
  store: Store & { available(): void };
  engine: Engine & { event(name: string): void };
  bus: InMemoryBus;
  workspaces: Workspaces;
  alerts: Alerts;
}

function createPorts(state: WorldState, clock: Clock): InMemoryPorts {
  const good = <T>(value: T, startedAtMs = clock.nowMs()): Reading<T> => ({ ok: true, value, startedAtMs });
  const bad = <T>(error: string): Reading<T> => ({ ok: false, error, startedAtMs: clock.nowMs() });
  return {
    microphones: createMicrophones(state, clock, good, bad),
    store: createStore(state, clock),
    engine: createEngine(state, clock, good, bad),
    bus: createInMemoryBus(
      { onHeartbeat: (heartbeat) => state.heartbeats.push(heartbeat), logReaders: state.logReaders },
      clock,
    ),
    workspaces: createFolders(state, clock, good),
    alerts: noAlerts,
  };
}

type Good = <T>(value: T, startedAtMs?: number) => Reading<T>;
type Bad = <T>(error: string) => Reading<T>;

/** Nothing is known before the first scan, which ends a moment after the start. */
function createMicrophones(state: WorldState, clock: Clock, good: Good, bad: Bad): InMemoryPorts['microphones'] {
  let onChange: (() => void) | null = null;
  let isScanned = false;
  const changed = (): void => {
    if (isScanned && !state.usbFails) onChange?.();
  };
  return {
    start: (callback) => {
      onChange = callback;
      clock.timer(0, () => {
        isScanned = true;
        changed();
      });
    },
    changed,
    read() {
      if (!isScanned) return bad('the first USB scan has not finished');
      return state.usbFails ? bad('EIO') : good([...state.plugged]);
    },
    holder: ({ hw }) => state.holders.get(hw) ?? null,
    dependency: () => ({ ...up('usb'), state: isScanned && !state.usbFails ? 'up' : 'down' }),
    stop() {
      onChange = null;
    },
  };
}

function createStore(state: WorldState, clock: Clock): InMemoryPorts['store'] {
  let onAvailable = (): void => {};
  const isAway = (): boolean => state.databaseAway || state.databaseHangs;
  const port = createStorePort(
    async (work, isWrite) => {
      const startedAtMs = clock.nowMs();
      if (state.databaseHangs) await new Promise<void>((resolve) => clock.timer(DATABASE_DEADLINE_MS, resolve));
      if (isAway()) return { ok: false, error: 'the database is away', startedAtMs };
      if (isWrite && state.databaseReadOnly) return { ok: false, error: 'the database is read-only', startedAtMs };
      return { ...work(), startedAtMs };
    },
    () => state.database,
    clock.nowMs,
  );
  return {
    ...port,
    start: (callback) => {
      onAvailable = callback;
      clock.timer(0, () => {
        if (onAvailable === callback && !isAway()) callback();
      });
    },
    available: () => onAvailable(),
    read() {
      state.reads += 1;
      return port.read();
    },
    async write(changes) {
      const outcome = await port.write(changes);
      if (outcome.ok) state.writes.push(structuredClone(changes));
      return outcome;
    },
    async stop() {
      onAvailable = () => {};
    },
  };
}

const DATABASE_DEADLINE_MS = 2000;
const READ_DEADLINE_MS = 5000;
const ACTION_DEADLINE_MS = 20_000;

function createEngine(state: WorldState, clock: Clock, good: Good, bad: Bad): InMemoryPorts['engine'] {
  let onEvent: (name: string) => void = () => {};
  let watched = '';
  let dependency: DependencyState = { ...up('engine'), state: 'down' };
  const done = (containerId: string | null): ActionOutcome => ({ kind: 'done', containerId, refusedLimits: [] });
  const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => clock.timer(delayMs, resolve));
  const read = async <T>(value: () => T, delayMs = 0): Promise<Reading<T>> => {
    const startedAtMs = clock.nowMs();
    if (state.engineHangs) await sleep(READ_DEADLINE_MS);
    else if (delayMs > 0) await sleep(delayMs);
    const failed = state.engineAway || state.engineHangs;
    dependency = { ...dependency, state: failed ? 'down' : 'up' };
    return failed ? bad('the engine is away') : good(value(), startedAtMs);
  };
  const act = async (work: () => ActionOutcome): Promise<ActionOutcome> => {
    if (state.engineAway) return { kind: 'failed', reason: 'EngineUnavailable', message: 'the engine is away' };
    if (!state.engineHangs) return work();
    await sleep(ACTION_DEADLINE_MS);
    return { kind: 'unknown', message: 'no answer within 20 s' };
  };
  return {
    list: (stationId) =>
      read(
        () => structuredClone(state.containers.filter(({ labels }) => isOurs(labels, stationId))),
        state.listDelayMs,
      ),
    images: (references) =>
      read(() => Object.fromEntries(references.map((reference) => [reference, state.images[reference] ?? null]))),
    run: (spec) => act(() => runContainer(state, spec, done)),
    remove: (containerId) =>
      act(() => {
        state.removed.push(containerId);
        const gone = state.containers.find(({ id }) => id === containerId);
        state.containers = state.containers.filter((container) => container !== gone);
        if (gone !== undefined && isOurs(gone.labels, watched)) onEvent(gone.name);
        return done(null);
      }),
    tag: (imageId, reference) =>
      act(() => {
        const known = [...Object.values(state.images), ...state.containers.map((container) => container.imageId)];
        if (!known.includes(imageId)) return { kind: 'lookAgain', message: `the image ${imageId} is gone` };
        state.images[reference] = imageId;
        return done(null);
      }),
    pull: createPull(state.registry, {
      sleep,
      isAway: () => state.engineAway,
      isHanging: () => state.engineHangs,
      keep(reference, id) {
        state.images[reference] = id;
      },
    }),
    followLog: state.logs.follow,
    watch: (stationId, callback) => {
      onEvent = callback;
      watched = stationId;
      clock.timer(0, () => onEvent === callback && callback(''));
    },
    event: (name) => onEvent(name),
    dependency: () => dependency,
    async stop() {
      onEvent = () => {};
    },
  };
}

function runContainer(
  state: WorldState,
  { name, image, labels }: ContainerSpec,
  done: (containerId: string) => ActionOutcome,
): ActionOutcome {
  const holder = state.containers.find((container) => container.name === name);
  if (holder !== undefined) {
    return isOurs(holder.labels, labels[LABEL.station])
      ? { kind: 'lookAgain', message: 'the name is taken' }
      : { kind: 'blocked', reason: 'NameTaken', message: `somebody else holds the name ${name}` };
  }
  // By tag, or by id.
  const imageId = state.images[image] ?? Object.values(state.images).find((id) => id === image);
  if (imageId == null) return { kind: 'blocked', reason: 'ImageMissing', message: `no image ${image}` };
  const id = `c${state.started.length + 1}`;
  state.started.push(name);
  state.containers.push({ id, name, imageId, state: 'live', exitCode: null, oomKilled: false, labels: { ...labels } });
  return done(id);
}

/** A recorder that lives advances, 48 frames a millisecond. */
function livelyStatus(state: WorldState, clock: Clock, workspace: string): RecorderStatus | null {
  const container = state.containers.find(
    ({ name, state: engineState }) => name.endsWith(workspace) && engineState === 'live',
  );
  return container === undefined ? null : status(1 + clock.nowMs() * 48, { run: container.id });
}

function createFolders(state: WorldState, clock: Clock, good: Good): Workspaces {
  const refused: Reading<never> = { ok: false, error: 'that is not the name of a workspace', startedAtMs: 0 };
  /** What recorders were last seen to tell: it stays when they end, until the folder is prepared for the next one. */
  const left = new Map<string, RecorderStatus>();
  return {
    async prepare(folders) {
      if (folders.kind !== 'recorder') return good(null);
      if (!isWorkspaceName(folders.workspace)) return refused;
      left.delete(folders.workspace);
      return good(null);
    },
    async writeProcessing(workspace, processing) {
      if (!isWorkspaceName(workspace)) return refused;
      state.processing.set(workspace, structuredClone(processing));
      return good(null);
    },
    readStatus: async (workspace) => {
      if (!isWorkspaceName(workspace)) return refused;
      const told = state.statuses.get(workspace);
      if (told !== undefined) return good(told);
      const lively = livelyStatus(state, clock, workspace);
      if (lively !== null) left.set(workspace, lively);
      return good(lively ?? left.get(workspace) ?? null);
    },
    async tellServices(services) {
      state.toldServices = [...services];
      return good(null);
    },
    readSecrets: async (_service, names) => good(Object.fromEntries(names.map((name) => [name, null]))),
    readReport: async (service) => good(state.reports.get(service) ?? null),
    readMarker: async () => good(state.marker),
    async writeMarker(stationId) {
      state.marker = stationId;
      return good(null);
    },
    readLastGood: async () => good(structuredClone(state.lastGood)),
    async writeLastGood(given) {
      state.lastGood = structuredClone(given);
      return good(null);
    },
  };
}
