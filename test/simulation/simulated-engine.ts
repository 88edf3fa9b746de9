/**
 * An engine and the recorders in it, with the quirks of the real one: answers that come late, never, or after the deed
 * was done; lists that fail; events that are lost or doubled; stops that take ten seconds.
 */
import { isOurs } from '../../services/controller/podman-container.ts';
import type {
  ActionOutcome,
  ContainerSpec,
  DependencyState,
  Engine,
  ObservedContainer,
  Reading,
} from '../../services/controller/world.ts';
import { LABEL, type RecorderStatus } from '../../services/shared/contract.ts';
import type { Random } from './random.ts';
import type { SimulatedClock } from './simulated-clock.ts';

/** What a recorder does once it runs. */
export type Behaviour = 'good' | 'crashes' | 'stalls' | 'silent' | 'noSpace';

export interface SimulatedContainer {
  id: string;
  spec: ContainerSpec;
  deviceId: string;
  workspace: string;
  imageId: string;
  state: ObservedContainer['state'];
  exitCode: number | null;
  startedAtMs: number;
  behaviour: Behaviour;
  /** Frames stand still from here on; null: they advance. */
  frozenAtMs: number | null;
  /** Seconds that it takes to end after SIGTERM. */
  stopDelayMs: number;
}

export interface EngineFaults {
  away: boolean;
  listDelayMs: number;
  /** Probability of each, per call. */
  runFails: number;
  runUnanswered: number;
  removeFails: number;
  removeUnanswered: number;
  eventLost: number;
  slowStop: number;
}

export interface SimulatedEngine {
  containers: Map<string, SimulatedContainer>;
  faults: EngineFaults;
  /** Tag → image id. */
  images: Map<string, string>;
  /** How a recorder of this device behaves from its next start on. */
  behaviours: Map<string, Behaviour>;
  /** Images with which every recorder crashes. */
  badImages: Set<string>;
  /** Called when a container is made, and when a live one is asked to stop. */
  onStart: (container: SimulatedContainer) => void;
  onStop: (container: SimulatedContainer) => void;
  /** Ends from outside, as `podman kill` and `rm -f` do. */
  kill(container: SimulatedContainer, exitCode: number): void;
  vanish(container: SimulatedContainer): void;
  statusOf(workspace: string): RecorderStatus | null;
  /** The port of one controller; dead controllers hear and get nothing. */
  port(alive: () => boolean): Engine;
}

export const quietFaults: EngineFaults = {
  away: false,
  listDelayMs: 0,
  runFails: 0,
  runUnanswered: 0,
  removeFails: 0,
  removeUnanswered: 0,
  eventLost: 0,
  slowStop: 0,
};

const START_MS = 100;
const READ_DEADLINE_MS = 5000;
/** How long after its return an engine is found again by whoever follows its events. */
const RECONNECT_MS = 1000;
const FRAMES_PER_MS = 48;
const never = <T>(): Promise<T> => new Promise<T>(() => {});

export function createSimulatedEngine(clock: SimulatedClock, random: Random): SimulatedEngine {
  const listeners = new Set<(name: string, labels: ContainerSpec['labels'] | null) => void>();
  let made = 0;
  const engine: SimulatedEngine = {
    containers: new Map(),
    faults: { ...quietFaults },
    images: new Map(),
    behaviours: new Map(),
    badImages: new Set(),
    onStart: () => {},
    onStop: () => {},
    kill(container, exitCode) {
      if (container.state !== 'live') return;
      container.state = 'ended';
      container.exitCode = exitCode;
      announce(container.spec);
    },
    vanish(container) {
      engine.containers.delete(container.id);
      announce(container.spec);
    },
    statusOf: (workspace) => statusOf(engine, clock, workspace),
    port: (alive) => createPort(alive),
  };

  function announce({ name, labels }: ContainerSpec): void {
    if (random.chance(engine.faults.eventLost)) return;
    const times = random.chance(0.1) ? 2 : 1;
    void whenHeard(random.between(20, 290)).then((missed) => {
      for (let time = 0; time < times; time += 1)
        for (const listener of listeners) missed ? listener('', null) : listener(name, labels);
    });
  }

  /** True: the engine was away meanwhile. What happens then is not told, but each new connection says "look". */
  async function whenHeard(delayMs: number): Promise<boolean> {
    await clock.sleep(delayMs);
    let missed = false;
    for (; engine.faults.away; missed = true) await clock.sleep(RECONNECT_MS);
    return missed;
  }

  function make(spec: ContainerSpec, isStarted = true): SimulatedContainer {
    made += 1;
    const deviceId = spec.labels[LABEL.deviceId] ?? '';
    const imageId = engine.images.get(spec.image) ?? 'none';
    const bad = engine.badImages.has(imageId);
    const container: SimulatedContainer = {
      id: `c${made}`,
      spec,
      deviceId,
      workspace: spec.binds[0]?.source.split('/').at(-1) ?? '',
      imageId,
      state: isStarted ? 'live' : 'created',
      exitCode: null,
      startedAtMs: clock.nowMs(),
      behaviour: bad ? 'crashes' : (engine.behaviours.get(deviceId) ?? 'good'),
      frozenAtMs: null,
      stopDelayMs: random.chance(engine.faults.slowStop) ? 10_000 : random.between(20, 300),
    };
    engine.containers.set(container.id, container);
    if (!isStarted) return container;
    if (container.behaviour === 'crashes')
      void clock.sleep(random.between(50, 2000)).then(() => engine.kill(container, 1));
    if (container.behaviour === 'stalls') container.frozenAtMs = clock.nowMs() + random.between(0, 5000);
    engine.onStart(container);
    return container;
  }

  async function run(spec: ContainerSpec): Promise<ActionOutcome> {
    if (engine.faults.away) return { kind: 'failed', reason: 'EngineUnavailable', message: 'The engine is away.' };
    const unanswered = random.chance(engine.faults.runUnanswered);
    if (unanswered && random.chance(0.5)) {
      await clock.sleep(20_000);
      return { kind: 'unknown', message: 'No answer within 20 s.' };
    }
    await clock.sleep(START_MS);
    const holder = [...engine.containers.values()].find(({ spec: other }) => other.name === spec.name);
    if (holder !== undefined) {
      return isOurs(holder.spec.labels, spec.labels[LABEL.station])
        ? { kind: 'lookAgain', message: 'The name is in use.' }
        : { kind: 'blocked', reason: 'NameTaken', message: `Somebody else holds the name ${spec.name}.` };
    }
    if (!engine.images.has(spec.image))
      return { kind: 'blocked', reason: 'ImageMissing', message: `There is no image ${spec.image}.` };
    if (random.chance(engine.faults.runFails))
      return { kind: 'failed', reason: 'StartFailed', message: 'It could not be started.' };
    // Creating and starting are two calls: the second may never have been made.
    const container = make(spec, !unanswered || random.chance(0.5));
    if (unanswered) {
      await clock.sleep(20_000);
      return { kind: 'unknown', message: 'No answer within 20 s.' };
    }
    return { kind: 'done', containerId: container.id, refusedLimits: [] };
  }

  async function remove(containerId: string, stopTimeoutS: number): Promise<ActionOutcome> {
    if (engine.faults.away) return { kind: 'failed', reason: 'EngineUnavailable', message: 'The engine is away.' };
    const container = engine.containers.get(containerId);
    if (container === undefined) return { kind: 'done', containerId: null, refusedLimits: [] };
    if (random.chance(engine.faults.removeFails))
      return { kind: 'failed', reason: 'StopFailed', message: 'It could not be stopped.' };
    if (container.state === 'live') engine.onStop(container);
    const unanswered = random.chance(engine.faults.removeUnanswered);
    await clock.sleep(container.state === 'live' ? Math.min(container.stopDelayMs, stopTimeoutS * 1000) : 10);
    engine.containers.delete(containerId);
    announce(container.spec);
    if (!unanswered) return { kind: 'done', containerId: null, refusedLimits: [] };
    await clock.sleep(20_000);
    return { kind: 'unknown', message: 'No answer within 20 s.' };
  }

  function createPort(alive: () => boolean): Engine {
    let listener: (name: string, labels: ContainerSpec['labels'] | null) => void = () => {};
    let dependency: DependencyState = { name: 'engine', state: 'down', message: '', sinceMs: clock.nowMs() };
    const whileAlive = async <T>(work: Promise<T>): Promise<T> => {
      const value = await work;
      return alive() ? value : never<T>();
    };
    const read = async <T>(value: () => T): Promise<Reading<T>> => {
      const startedAtMs = clock.nowMs();
      const { away, listDelayMs } = engine.faults;
      const seen = value();
      if (!away) await clock.sleep(Math.min(READ_DEADLINE_MS, 3 + listDelayMs));
      const failed = away || 3 + listDelayMs >= READ_DEADLINE_MS;
      dependency = { ...dependency, state: failed ? 'down' : 'up' };
      return failed
        ? { ok: false, error: 'The engine does not answer.', startedAtMs }
        : { ok: true, value: seen, startedAtMs };
    };
    const tag = async (imageId: string, reference: string): Promise<ActionOutcome> => {
      if (engine.faults.away) return { kind: 'failed', reason: 'EngineUnavailable', message: 'The engine is away.' };
      const inUse = [...engine.containers.values()].map((container) => container.imageId);
      if (![...engine.images.values(), ...inUse].includes(imageId))
        return { kind: 'lookAgain', message: `The image ${imageId} is gone.` };
      engine.images.set(reference, imageId);
      return { kind: 'done', containerId: null, refusedLimits: [] };
    };
    return {
      list: (stationId) => whileAlive(read(() => observe(engine, stationId))),
      images: (references) =>
        whileAlive(read(() => Object.fromEntries(references.map((tag) => [tag, engine.images.get(tag) ?? null])))),
      run: (spec) => whileAlive(run(spec)),
      remove: (containerId, stopTimeoutS) => whileAlive(remove(containerId, stopTimeoutS)),
      tag: (imageId, reference) => whileAlive(tag(imageId, reference)),
      pull: () => whileAlive(Promise.resolve({ kind: 'failed', reason: 'PullFailed', message: 'No registry.' })),
      followLog: () => () => {},
      watch(stationId, onEvent) {
        listeners.delete(listener);
        const mine: typeof listener = (name, labels) => {
          if (alive() && (labels === null || isOurs(labels, stationId))) onEvent(name);
        };
        listener = mine;
        listeners.add(listener);
        // Each connection begins with "look": nobody knows what was missed before it.
        void whenHeard(20).then(() => listeners.has(mine) && mine('', null));
      },
      dependency: () => dependency,
      stop: async () => void listeners.delete(listener),
    };
  }
  return engine;
}

function observe(engine: SimulatedEngine, stationId: string): ObservedContainer[] {
  return [...engine.containers.values()]
    .filter(({ spec }) => isOurs(spec.labels, stationId))
    .map(({ id, spec, imageId, state, exitCode }) => ({
      id,
      name: spec.name,
      imageId,
      state,
      exitCode,
      oomKilled: false,
      labels: { ...spec.labels },
    }));
}

function statusOf(engine: SimulatedEngine, clock: SimulatedClock, workspace: string): RecorderStatus | null {
  const container = [...engine.containers.values()].find((one) => one.workspace === workspace && one.state === 'live');
  if (container === undefined) return null;
  const frozen = container.frozenAtMs !== null && clock.nowMs() >= container.frozenAtMs;
  const untilMs = frozen ? (container.frozenAtMs ?? 0) : clock.nowMs();
  const noSpace = container.behaviour === 'noSpace';
  return {
    schema: 1,
    run: container.id,
    state: noSpace ? 'no_space' : 'recording',
    reason: noSpace ? 'NoSpace' : 'Recording',
    message: noSpace ? 'The disk is full.' : 'Recording.',
    // Once a second, as a recorder writes.
    frames: noSpace ? 0 : Math.floor((untilMs - container.startedAtMs) / 1000) * 1000 * FRAMES_PER_MS,
    rate: 48_000,
    channels: 1,
    format: 'S16_LE',
    levels: [],
    silent: container.behaviour === 'silent',
    overruns: 0,
    lostFrames: 0,
    lastSegment: null,
    at: frozen ? 0 : clock.nowMs(),
  };
}
