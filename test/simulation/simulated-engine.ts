/**
 * An engine and the recorders in it, with the quirks of the real one: answers that come late, never, or after the deed
 * was done; lists that fail; events that are lost or doubled; stops that take ten seconds.
 */
import type {
  ActionOutcome,
  ContainerSpec,
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
const FRAMES_PER_MS = 48;
const never = <T>(): Promise<T> => new Promise<T>(() => {});

export function createSimulatedEngine(clock: SimulatedClock, random: Random): SimulatedEngine {
  const listeners = new Set<(name: string) => void>();
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
      announce(container.spec.name);
    },
    vanish(container) {
      engine.containers.delete(container.id);
      announce(container.spec.name);
    },
    statusOf: (workspace) => statusOf(engine, clock, workspace),
    port: (alive) => createPort(alive),
  };

  function announce(name: string): void {
    if (random.chance(engine.faults.eventLost)) return;
    const times = random.chance(0.1) ? 2 : 1;
    void clock.sleep(random.between(20, 290)).then(() => {
      for (let time = 0; time < times; time += 1) for (const listener of listeners) listener(name);
    });
  }

  function make(spec: ContainerSpec): SimulatedContainer {
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
      state: 'live',
      exitCode: null,
      startedAtMs: clock.nowMs(),
      behaviour: bad ? 'crashes' : (engine.behaviours.get(deviceId) ?? 'good'),
      frozenAtMs: null,
      stopDelayMs: random.chance(engine.faults.slowStop) ? 10_000 : random.between(20, 300),
    };
    engine.containers.set(container.id, container);
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
    if ([...engine.containers.values()].some(({ spec: other }) => other.name === spec.name)) {
      return { kind: 'lookAgain', message: 'The name is in use.' };
    }
    if (!engine.images.has(spec.image))
      return { kind: 'blocked', reason: 'ImageMissing', message: 'There is no such image.' };
    if (random.chance(engine.faults.runFails))
      return { kind: 'failed', reason: 'StartFailed', message: 'It could not be started.' };
    const container = make(spec);
    if (unanswered) {
      await clock.sleep(20_000);
      return { kind: 'unknown', message: 'No answer within 20 s.' };
    }
    return { kind: 'done', containerId: container.id, refusedLimits: [] };
  }

  async function remove(containerId: string): Promise<ActionOutcome> {
    if (engine.faults.away) return { kind: 'failed', reason: 'EngineUnavailable', message: 'The engine is away.' };
    const container = engine.containers.get(containerId);
    if (container === undefined) return { kind: 'done', containerId: null, refusedLimits: [] };
    if (random.chance(engine.faults.removeFails))
      return { kind: 'failed', reason: 'StopFailed', message: 'It could not be stopped.' };
    if (container.state === 'live') engine.onStop(container);
    const unanswered = random.chance(engine.faults.removeUnanswered);
    await clock.sleep(container.state === 'live' ? container.stopDelayMs : 10);
    engine.containers.delete(containerId);
    announce(container.spec.name);
    if (!unanswered) return { kind: 'done', containerId: null, refusedLimits: [] };
    await clock.sleep(20_000);
    return { kind: 'unknown', message: 'No answer within 20 s.' };
  }

  function createPort(alive: () => boolean): Engine {
    let listener: (name: string) => void = () => {};
    const whileAlive = async <T>(work: Promise<T>): Promise<T> => {
      const value = await work;
      return alive() ? value : never<T>();
    };
    const read = async <T>(value: () => T): Promise<Reading<T>> => {
      const startedAtMs = clock.nowMs();
      if (engine.faults.away) return { ok: false, error: 'The engine is away.', startedAtMs };
      const seen = value();
      await clock.sleep(3 + engine.faults.listDelayMs);
      return { ok: true, value: seen, startedAtMs };
    };
    return {
      list: (stationId) => whileAlive(read(() => observe(engine, stationId))),
      images: (references) =>
        whileAlive(read(() => Object.fromEntries(references.map((tag) => [tag, engine.images.get(tag) ?? null])))),
      run: (spec) => whileAlive(run(spec)),
      remove: (containerId) => whileAlive(remove(containerId)),
      async tag(imageId, reference) {
        engine.images.set(reference, imageId);
        return await whileAlive(Promise.resolve<ActionOutcome>({ kind: 'done', containerId: null, refusedLimits: [] }));
      },
      watch(_stationId, onEvent) {
        listeners.delete(listener);
        listener = (name) => alive() && onEvent(name);
        listeners.add(listener);
      },
      dependency: () => ({ name: 'engine', state: 'up', message: '', sinceMs: 0 }),
      stop: async () => void listeners.delete(listener),
    };
  }
  return engine;
}

function observe(engine: SimulatedEngine, stationId: string): ObservedContainer[] {
  return [...engine.containers.values()]
    .filter(({ spec }) => spec.labels[LABEL.station] === stationId)
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
