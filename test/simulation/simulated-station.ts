/** Database, USB, folders and the controller that is killed and started again, all in one simulated machine. */
import { noAlerts } from '../../services/controller/alerts.ts';
import { type Controller, createController } from '../../services/controller/controller.ts';
import type {
  Changes,
  Clock,
  DesiredState,
  Microphone,
  Reading,
  Store,
  Workspaces,
} from '../../services/controller/world.ts';
import { applyChanges, emptyDatabase, quietLog } from '../unit/in-memory-world.ts';
import { microphone } from '../unit/sample-world.ts';
import type { Random } from './random.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import { createSimulatedEngine, type SimulatedEngine } from './simulated-engine.ts';

export const RECORDER_IMAGE = 'localhost/silvasonic-recorder:latest';

/** A microphone that somebody owns: where it is plugged in, and how often it was. */
export interface Stick {
  serial: string | null;
  port: number | null;
  stay: number;
  /** Not seen by the next scan though it is there. */
  missed: boolean;
  cardLate: boolean;
}

export interface DatabaseFaults {
  away: boolean;
  readOnly: boolean;
  readDelayMs: number;
}

export interface SimulatedStation {
  clock: SimulatedClock;
  engine: SimulatedEngine;
  sticks: Stick[];
  usbFails: boolean;
  database: { state: DesiredState; faults: DatabaseFaults };
  disk: { marker: string | null; lastGood: DesiredState | null };
  plugChanged(): void;
  nudge(): void;
  available(): void;
  startController(): void;
  killController(): void;
  controller(): Controller | null;
}

export function createSimulatedStation(clock: SimulatedClock, random: Random): SimulatedStation {
  const engine = createSimulatedEngine(clock, random);
  engine.images.set(RECORDER_IMAGE, 'sha256:first');
  let generation = 0;
  let controller: Controller | null = null;
  let wakes: { plug: () => void; nudge: () => void; available: () => void } = { plug() {}, nudge() {}, available() {} };
  const station: SimulatedStation = {
    clock,
    engine,
    sticks: [],
    usbFails: false,
    database: { state: emptyDatabase(), faults: { away: false, readOnly: false, readDelayMs: 2 } },
    disk: { marker: null, lastGood: null },
    plugChanged: () => wakes.plug(),
    nudge: () => wakes.nudge(),
    available: () => wakes.available(),
    controller: () => controller,
    killController() {
      generation += 1;
      controller = null;
      wakes = { plug() {}, nudge() {}, available() {} };
    },
    startController() {
      station.killController();
      const mine = generation;
      const alive = (): boolean => mine === generation;
      const view = clock.view(alive);
      controller = makeController(station, view, alive, (made) => {
        wakes = made;
      });
      controller.start();
    },
  };
  return station;
}

function makeController(
  station: SimulatedStation,
  clock: Clock,
  alive: () => boolean,
  onWakes: (wakes: { plug: () => void; nudge: () => void; available: () => void }) => void,
): Controller {
  const wakes = { plug: () => {}, nudge: () => {}, available: () => {} };
  onWakes(wakes);
  const up = (name: string) => ({ name, state: 'up' as const, message: '', sinceMs: 0 });
  return createController(
    {
      clock,
      log: quietLog,
      microphones: {
        start: (onChange) => {
          wakes.plug = onChange;
        },
        read: () => scan(station),
        holder: () => null,
        dependency: () => up('usb'),
        stop() {},
      },
      store: createStore(station, alive, (onAvailable) => {
        wakes.available = onAvailable;
      }),
      engine: station.engine.port(alive),
      bus: {
        start: (onNudge) => {
          wakes.nudge = onNudge;
        },
        publish: async () => true,
        logListeners: async () => 0,
        publishLogs: async () => true,
        dependency: () => ({ ...up('redis'), state: 'down' }),
        stop: async () => {},
      },
      workspaces: createFolders(station, alive),
      alerts: noAlerts,
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
      catalogue: [],
      seedHashes: new Map(),
      virtualMicrophones: { kind: 'fixed', count: 0 },
      graceMs: 3000,
      stallTimeoutMs: 30_000,
      goodAfterMs: 60_000,
      version: '0.0.0',
      recorderImage: RECORDER_IMAGE,
      recorderWorkspace: '/srv/recorder',
      tickMs: 30_000,
      onShutdown: 'leave',
      onCycle: () => {},
    },
  );
}

/** The microphone that a stick is while it is plugged in. */
export function seenAs({ serial, port, stay, cardLate }: Stick): Microphone {
  const portPath = `pci0000:00/0000:00:14.0/0/${port}`;
  const there = microphone({ portPath, incarnation: `${portPath}#${stay}#${stay}#116:${stay}`, serial });
  if (!cardLate || there.sound === null) return there;
  const obstacle = { reason: 'WaitingForSound', message: 'Waiting for the sound system.', lasting: false };
  return { ...there, incarnation: `${portPath}#${stay}#-#-`, sound: null, obstacle };
}

function scan(station: SimulatedStation): Reading<Microphone[]> {
  const startedAtMs = station.clock.nowMs();
  if (station.usbFails) return { ok: false, error: 'EIO', startedAtMs };
  const value = station.sticks.filter(({ port, missed }) => port !== null && !missed).map(seenAs);
  return { ok: true, value, startedAtMs };
}

function createStore(
  station: SimulatedStation,
  alive: () => boolean,
  onStart: (onAvailable: () => void) => void,
): Store {
  const { clock, database } = station;
  const answer = async <T>(work: () => T, writes: boolean): Promise<Reading<T>> => {
    const startedAtMs = clock.nowMs();
    await clock.sleep(Math.min(2000, database.faults.readDelayMs));
    if (!alive()) return await new Promise(() => {});
    const refused = database.faults.away || database.faults.readDelayMs >= 2000 || (writes && database.faults.readOnly);
    if (refused) return { ok: false, error: 'The database does not answer.', startedAtMs };
    return { ok: true, value: work(), startedAtMs };
  };
  return {
    start: onStart,
    read: () => answer(() => structuredClone(database.state), false),
    write: (changes: Changes) =>
      answer(() => {
        applyChanges(database.state, structuredClone(changes));
        return null;
      }, true),
    adopt: (given) =>
      answer(() => {
        database.state = { ...structuredClone(given), profiles: database.state.profiles };
        return null;
      }, true),
    dependency: () => ({ name: 'database', state: 'up', message: '', sinceMs: 0 }),
    stop: async () => {},
  };
}

function createFolders(station: SimulatedStation, alive: () => boolean): Workspaces {
  const good = async <T>(value: T): Promise<Reading<T>> => {
    await Promise.resolve();
    return alive() ? { ok: true, value, startedAtMs: station.clock.nowMs() } : await new Promise(() => {});
  };
  return {
    prepare: () => good(null),
    writeProcessing: () => good(null),
    readStatus: (workspace) => good(station.engine.statusOf(workspace)),
    tellServices: () => good(null),
    readSecrets: () => good({}),
    readReport: () => good(null),
    readMarker: () => good(station.disk.marker),
    writeMarker(stationId) {
      station.disk.marker = stationId;
      return good(null);
    },
    readLastGood: () => good(structuredClone(station.disk.lastGood)),
    writeLastGood(state) {
      station.disk.lastGood = structuredClone(state);
      return good(null);
    },
  };
}
