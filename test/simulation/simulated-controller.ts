/** The real controller over simulated ports. One that was killed hears and gets nothing any more; a frozen one, later. */
import { noAlerts } from '../../services/controller/alerts.ts';
import { type Controller, createController } from '../../services/controller/controller.ts';
import type { DesiredState, Engine, Reading, Store, Workspaces } from '../../services/controller/world.ts';
import { isWorkspaceName } from '../../services/shared/contract.ts';
import { createInMemoryBus } from '../unit/in-memory-bus.ts';
import { quietLog } from '../unit/in-memory-world.ts';
import { IDLE_HOST } from '../unit/sample-world.ts';
import { createSimulatedStore, HELPER } from './simulated-database.ts';
import { createSimulatedMicrophones } from './simulated-microphones.ts';
import { RECORDER_IMAGE, type SimulatedStation } from './simulated-station.ts';
import { hwOf } from './simulated-usb.ts';

/** What the world calls when something happened. */
export interface Wakes {
  plug: () => void;
  nudge: () => void;
  redis: (away: boolean) => void;
  available: () => void;
}

export interface Life {
  alive: () => boolean;
  /** Called before and after each deed. */
  effect: () => void;
  /** Until then it is frozen. */
  awakeAtMs: () => number;
  /** When it was last frozen. */
  frozenAtMs: () => number;
}

export const GRACE_MS = 3000;
const POLL_MS = 250;
export const STALL_TIMEOUT_MS = 30_000;
export const GOOD_AFTER_MS = 60_000;
export const TICK_MS = 30_000;

export function startSimulatedController(
  station: SimulatedStation,
  life: Life,
): { controller: Controller; wakes: Wakes } {
  const { clock, random, database } = station;
  const view = clock.view(life.alive, life.awakeAtMs);
  const wakes: Wakes = { plug() {}, nudge() {}, redis() {}, available() {} };
  const whenAwake = (callback: () => void) => (): void => {
    if (clock.nowMs() < life.awakeAtMs()) view.timer(0, callback);
    else if (life.alive()) callback();
  };
  const bus = createInMemoryBus({ onHeartbeat: null, logReaders: new Set() }, view);
  bus.setAway(station.redisAway);
  wakes.nudge = whenAwake(bus.nudge);
  wakes.redis = bus.setAway;
  const controller: Controller = createController(
    {
      clock: view,
      log: quietLog,
      alerts: noAlerts,
      microphones: createSimulatedMicrophones(station, {
        clock: view,
        onStart: (changed) => void Object.assign(wakes, { plug: whenAwake(changed) }),
        // What is due when it goes on is done in any order: the cycle may come before the poll.
        polledAtMs: () => (clock.nowMs() - life.awakeAtMs() < POLL_MS ? life.frozenAtMs() : clock.nowMs()),
        isHeld: (stick) => station.engine.findsBusy(hwOf(stick)),
      }),
      store: sleepyStore(
        createSimulatedStore(database, {
          ...life,
          clock,
          random,
          onStart: (onAvailable) => void Object.assign(wakes, { available: whenAwake(onAvailable) }),
        }),
        station,
        life,
      ),
      engine: sleepyEngine(station.engine.port(life.alive, life.effect), station, life, whenAwake),
      bus,
      workspaces: createSimulatedFolders(station, life),
    },
    {
      operator: {
        recorderImage: RECORDER_IMAGE,
        hostRecorderWorkspace: '/srv/recorder',
        hostRunPath: '/run/silvasonic',
        recorderMemoryBytes: 512 * 1024 * 1024,
        recorderCpus: 1,
        network: 'silvasonic-net',
        hostServicesFolder: '/srv/services',
        hostSecretsFolder: '/srv/secrets',
        pageUrl: 'http://host.containers.internal:8090',
        takenPorts: [],
      },
      catalogue: [HELPER],
      seedHashes: new Map(),
      virtualMicrophones: station.virtualMicrophones,
      graceMs: GRACE_MS,
      stallTimeoutMs: STALL_TIMEOUT_MS,
      goodAfterMs: GOOD_AFTER_MS,
      version: '0.0.0',
      recorderImage: RECORDER_IMAGE,
      hostLoad: async () => IDLE_HOST,
      tickMs: TICK_MS,
      onShutdown: 'leave',
      onCycle: () => station.onCycle(controller),
      // A world is the same in every run, the names of its containers too.
      newStationId: () => `${clock.nowMs().toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`,
    },
  );
  return { controller, wakes };
}

/** A frozen process takes an answer when it goes on. */
async function taken<T>(answer: Promise<T>, station: SimulatedStation, { awakeAtMs }: Life): Promise<T> {
  const value = await answer;
  for (let ms = awakeAtMs() - station.clock.nowMs(); ms > 0; ms = awakeAtMs() - station.clock.nowMs())
    await station.clock.sleep(ms);
  return value;
}

function sleepyStore(store: Store, station: SimulatedStation, life: Life): Store {
  return {
    ...store,
    read: () => taken(store.read(), station, life),
    write: (changes) => taken(store.write(changes), station, life),
    adopt: (state) => taken(store.adopt(state), station, life),
  };
}

function sleepyEngine(
  engine: Engine,
  station: SimulatedStation,
  life: Life,
  whenAwake: (callback: () => void) => () => void,
): Engine {
  return {
    ...engine,
    list: (stationId) => taken(engine.list(stationId), station, life),
    images: (references) => taken(engine.images(references), station, life),
    run: (spec) => taken(engine.run(spec), station, life),
    remove: (containerId, stopTimeoutS) => taken(engine.remove(containerId, stopTimeoutS), station, life),
    tag: (imageId, reference) => taken(engine.tag(imageId, reference), station, life),
    watch: (stationId, onEvent) => engine.watch(stationId, (name) => whenAwake(() => onEvent(name))()),
  };
}

/** Nothing of them is ever on a disk: what is there stands in `station.disk`, and recorders tell by themselves how they fare. */
export function createSimulatedFolders(
  station: Pick<SimulatedStation, 'clock' | 'disk' | 'engine'>,
  { alive, effect }: Pick<Life, 'alive' | 'effect'>,
): Workspaces {
  const { disk, clock } = station;
  const { faults } = disk;
  const answer = async <T>(fails: boolean, work: () => T): Promise<Reading<T>> => {
    await Promise.resolve();
    if (!alive()) return await new Promise(() => {});
    const startedAtMs = clock.nowMs();
    if (fails) return { ok: false, error: 'EIO: it cannot be read or written.', startedAtMs };
    return { ok: true, value: work(), startedAtMs };
  };
  const deed = async (fails: boolean, work: () => void): Promise<Reading<null>> => {
    effect();
    const done = await answer(fails, () => {
      work();
      return null;
    });
    effect();
    return alive() ? done : await new Promise(() => {});
  };
  const nothing = (): void => {};
  const refuseForeignName = (workspace: string): Reading<never> | null =>
    isWorkspaceName(workspace)
      ? null
      : { ok: false, error: `${workspace} is not the name of a workspace.`, startedAtMs: clock.nowMs() };
  return {
    prepare: async (folders) =>
      (folders.kind === 'recorder' ? refuseForeignName(folders.workspace) : null) ??
      deed(faults.foldersUnwritable, () => {
        if (folders.kind === 'recorder') disk.statuses.delete(folders.workspace);
      }),
    writeProcessing: async (workspace) => refuseForeignName(workspace) ?? deed(faults.foldersUnwritable, nothing),
    tellServices: () => deed(faults.foldersUnwritable, nothing),
    readSecrets: (_service, names) => answer(false, () => Object.fromEntries(names.map((name) => [name, null]))),
    readStatus: async (workspace) =>
      refuseForeignName(workspace) ?? answer(faults.statusUnreadable, () => statusFile(station, workspace)),
    readReport: () => answer(false, () => null),
    readMarker: () => answer(faults.markerUnreadable, () => (faults.markerHidden ? null : disk.marker)),
    writeMarker: (stationId) =>
      deed(false, () => {
        if (!faults.markerHidden) disk.marker = stationId;
      }),
    readLastGood: () => answer(false, () => structuredClone(disk.lastGood)),
    writeLastGood: (state) =>
      deed(faults.lastGoodUnwritable, () => {
        disk.lastGood = rowsCopied(state);
      }),
  };
}

/** What a recorder told last stays when it ends, until the folder is prepared for the next one. */
function statusFile({ disk, engine }: Pick<SimulatedStation, 'disk' | 'engine'>, workspace: string) {
  const told = engine.statusOf(workspace);
  if (told !== null) disk.statuses.set(workspace, told);
  return told ?? disk.statuses.get(workspace) ?? null;
}

/** What rows are made of is never changed in place: copies of the rows are copies of all. */
function rowsCopied(state: DesiredState): DesiredState {
  const copied = <T extends object>(rows: readonly T[]): T[] => rows.map((row) => ({ ...row }));
  return {
    ...state,
    config: { ...state.config },
    profiles: copied(state.profiles),
    devices: copied(state.devices),
    services: copied(state.services),
  };
}
