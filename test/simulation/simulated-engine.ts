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
import { LABEL, RECORDER_ENV, type RecorderStatus } from '../../services/shared/contract.ts';
import { createInMemoryLogs, type InMemoryLogs } from '../unit/in-memory-logs.ts';
import { createInMemoryRegistry, createPull, type InMemoryRegistry } from '../unit/in-memory-registry.ts';
import type { Random } from './random.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import { type Behaviour, endingOf, isRunning, type SimulatedContainer, statusOf } from './simulated-recorder.ts';

export type { Behaviour, SimulatedContainer } from './simulated-recorder.ts';

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
  /** Where images come from that are not there. */
  registry: InMemoryRegistry;
  logs: InMemoryLogs;
  /** How a recorder of this device behaves from its next start on. */
  behaviours: Map<string, Behaviour>;
  /** Images with which every recorder crashes. */
  badImages: Set<string>;
  /** Called when a container is made, when it is started, and when a live one is asked to stop. */
  onMake: (container: SimulatedContainer) => void;
  onStart: (container: SimulatedContainer) => void;
  onStop: (container: SimulatedContainer) => void;
  /** Called before a container is removed by the controller. */
  onRemove: (container: SimulatedContainer) => void;
  /** Made and never started. */
  make(spec: ContainerSpec): SimulatedContainer;
  start(container: SimulatedContainer): void;
  /** Ends from outside, as `podman kill` and `rm -f` do. */
  kill(container: SimulatedContainer, exitCode: number, oomKilled?: boolean): void;
  vanish(container: SimulatedContainer): void;
  /** Says that something happened to such a container, true or not. */
  announce(spec: Pick<ContainerSpec, 'name' | 'labels'>): void;
  statusOf(workspace: string): RecorderStatus | null;
  /** Whether its recorder finds that another program has this microphone, `hw:1,0`. */
  findsBusy(hw: string): boolean;
  /** The port of one controller; dead controllers hear and get nothing. `effect` is called before and after each deed. */
  port(alive: () => boolean, effect?: () => void): Engine;
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

const CREATE_MS = 60;
const START_MS = 40;
const READ_DEADLINE_MS = 5000;
const DEADLINE_MS = 20_000;
/** How long after its return an engine is found again by whoever follows its events. */
const RECONNECT_MS = 1000;

export function createSimulatedEngine(clock: SimulatedClock, random: Random): SimulatedEngine {
  const listeners = new Set<Listener>();
  let made = 0;
  const engine: SimulatedEngine = {
    containers: new Map(),
    faults: { ...quietFaults },
    images: new Map(),
    registry: createInMemoryRegistry(),
    logs: createInMemoryLogs(
      clock.view(() => true),
      {
        isAway: () => engine.faults.away,
        stateOf(containerId) {
          const container = engine.containers.get(containerId);
          return container === undefined ? 'gone' : isRunning(container) ? 'live' : 'ended';
        },
      },
    ),
    behaviours: new Map(),
    badImages: new Set(),
    onMake: () => {},
    onStart: () => {},
    onStop: () => {},
    onRemove: () => {},
    make(spec) {
      made += 1;
      const container: SimulatedContainer = {
        id: `c${made}`,
        spec,
        deviceId: spec.labels[LABEL.deviceId] ?? '',
        workspace: spec.binds[0]?.source.split('/').at(-1) ?? '',
        imageId: imageOf(engine, spec.image) ?? 'none',
        state: 'created',
        exitCode: null,
        oomKilled: false,
        startedAtMs: clock.nowMs(),
        behaviour: 'good',
        frozenAtMs: null,
        stopDelayMs: random.chance(engine.faults.slowStop) ? 10_000 : random.between(20, 300),
      };
      engine.containers.set(container.id, container);
      engine.onMake(container);
      return container;
    },
    start: (container) => start(engine, container, clock, random),
    kill(container, exitCode, oomKilled = false) {
      if (!isRunning(container)) return;
      Object.assign(container, { state: 'ended', exitCode, oomKilled });
      announce(container.spec);
    },
    vanish(container) {
      engine.containers.delete(container.id);
      announce(container.spec);
    },
    announce,
    statusOf(workspace) {
      for (const container of engine.containers.values())
        if (container.workspace === workspace && isRunning(container)) return statusOf(container, clock.nowMs());
      return null;
    },
    findsBusy: (hw) =>
      [...engine.containers.values()].some(
        ({ behaviour, spec }) => behaviour === 'busy' && spec.env[RECORDER_ENV.device] === hw,
      ),
    port: (alive, effect = () => {}) => createPort(engine, { clock, random, listeners, announce, alive, effect }),
  };

  function announce({ name, labels }: Pick<ContainerSpec, 'name' | 'labels'>): void {
    if (random.chance(engine.faults.eventLost)) return;
    const times = random.chance(0.1) ? 2 : 1;
    whenHeard(engine, clock, random.between(20, 290), (missed) => {
      for (let time = 0; time < times; time += 1)
        for (const listener of listeners) missed ? listener('', null) : listener(name, labels);
    });
  }
  return engine;
}

/** By tag, or by id: an image without a tag is still there. */
const imageOf = ({ images }: SimulatedEngine, reference: string): string | null =>
  images.get(reference) ?? (reference.startsWith('sha256:') ? reference : null);

/** `missed`: the engine was away meanwhile. What happens then is not told, but each new connection says "look". */
function whenHeard(engine: SimulatedEngine, clock: SimulatedClock, delayMs: number, tell: (missed: boolean) => void) {
  let missed = false;
  const look = (): void => {
    if (!engine.faults.away) tell(missed);
    else {
      missed = true;
      clock.after(RECONNECT_MS, look);
    }
  };
  clock.after(delayMs, look);
}

function start(engine: SimulatedEngine, container: SimulatedContainer, clock: SimulatedClock, random: Random): void {
  const bad = engine.badImages.has(container.imageId);
  const behaviour = bad ? 'crashes' : (engine.behaviours.get(container.deviceId) ?? 'good');
  Object.assign(container, { state: 'live', startedAtMs: clock.nowMs(), behaviour });
  const code = endingOf(behaviour);
  if (code !== null)
    clock.after(random.between(50, 2000), () => engine.kill(container, code, behaviour === 'outOfMemory'));
  if (behaviour === 'stalls') container.frozenAtMs = clock.nowMs() + random.between(0, 5000);
  engine.onStart(container);
}

/** Without labels: nobody knows whose it is, or whether anything happened. */
type Listener = (name: string, labels: ContainerSpec['labels'] | null) => void;

interface PortContext {
  clock: SimulatedClock;
  random: Random;
  listeners: Set<Listener>;
  announce: SimulatedEngine['announce'];
  alive: () => boolean;
  effect: () => void;
}

const done = (containerId: string | null): ActionOutcome => ({ kind: 'done', containerId, refusedLimits: [] });
const unknown: ActionOutcome = { kind: 'unknown', message: 'No answer within 20 s.' };
const unavailable: ActionOutcome = {
  kind: 'failed',
  reason: 'EngineUnavailable',
  message: 'The engine is away.',
};

function createPort(engine: SimulatedEngine, context: PortContext): Engine {
  const { clock, listeners, alive, effect } = context;
  let listener: Listener = () => {};
  let dependency: DependencyState = { name: 'engine', state: 'down', message: '', sinceMs: clock.nowMs() };
  const read = async <T>(value: () => T): Promise<Reading<T>> => {
    const startedAtMs = clock.nowMs();
    const { away, listDelayMs } = engine.faults;
    // What is told late was seen early.
    const seen = value();
    if (!away) await clock.sleep(Math.min(READ_DEADLINE_MS, 3 + listDelayMs));
    if (!alive()) return await never<Reading<T>>();
    const failed = away || 3 + listDelayMs >= READ_DEADLINE_MS;
    dependency = { ...dependency, state: failed ? 'down' : 'up' };
    return failed
      ? { ok: false, error: 'The engine does not answer.', startedAtMs }
      : { ok: true, value: seen, startedAtMs };
  };
  const whileAlive = async (work: Promise<ActionOutcome>): Promise<ActionOutcome> => {
    const outcome = await work;
    effect();
    return alive() ? outcome : await never<ActionOutcome>();
  };
  const tag = async (imageId: string, reference: string): Promise<ActionOutcome> => {
    if (engine.faults.away) return unavailable;
    const inUse = [...engine.containers.values()].map((container) => container.imageId);
    if (![...engine.images.values(), ...inUse].includes(imageId))
      return { kind: 'lookAgain', message: `The image ${imageId} is gone.` };
    effect();
    engine.images.set(reference, imageId);
    return done(null);
  };
  const pull = createPull(engine.registry, {
    sleep: clock.sleep,
    isAway: () => engine.faults.away,
    isHanging: () => engine.faults.listDelayMs >= READ_DEADLINE_MS,
    keep: (reference, id) => void engine.images.set(reference, id),
  });
  return {
    list: (stationId) => read(() => observe(engine, stationId)),
    images: (references) =>
      read(() => Object.fromEntries(references.map((name) => [name, engine.images.get(name) ?? null]))),
    run: (spec) => whileAlive(run(engine, context, spec)),
    remove: (containerId, stopTimeoutS) => whileAlive(remove(engine, context, containerId, stopTimeoutS)),
    tag: (imageId, reference) => whileAlive(tag(imageId, reference)),
    pull: (reference, onProgress, signal) => whileAlive(pull(reference, onProgress, signal)),
    followLog: engine.logs.follow,
    watch(stationId, onEvent) {
      listeners.delete(listener);
      const mine: Listener = (name, labels) => {
        if (alive() && (labels === null || isOurs(labels, stationId))) onEvent(name);
      };
      listener = mine;
      listeners.add(listener);
      // Each connection begins with "look": nobody knows what was missed before it.
      whenHeard(engine, clock, 20, () => listeners.has(mine) && mine('', null));
    },
    dependency: () => dependency,
    stop: async () => void listeners.delete(listener),
  };
}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

async function run(
  engine: SimulatedEngine,
  { clock, random, alive, effect }: PortContext,
  spec: ContainerSpec,
): Promise<ActionOutcome> {
  if (engine.faults.away) return unavailable;
  const unanswered = random.chance(engine.faults.runUnanswered);
  if (unanswered && random.chance(0.5)) {
    await clock.sleep(DEADLINE_MS);
    return unknown;
  }
  effect();
  if (!alive()) return await never();
  await clock.sleep(CREATE_MS);
  const holder = [...engine.containers.values()].find(({ spec: other }) => other.name === spec.name);
  if (holder !== undefined) {
    return isOurs(holder.spec.labels, spec.labels[LABEL.station])
      ? { kind: 'lookAgain', message: 'The name is in use.' }
      : { kind: 'blocked', reason: 'NameTaken', message: `Somebody else holds the name ${spec.name}.` };
  }
  if (imageOf(engine, spec.image) === null)
    return { kind: 'blocked', reason: 'ImageMissing', message: `There is no image ${spec.image}.` };
  if (random.chance(engine.faults.runFails))
    return { kind: 'failed', reason: 'StartFailed', message: 'It could not be started.' };
  const container = engine.make(spec);
  // Creating and starting are two calls: the second may never be made.
  effect();
  if (!alive()) return await never();
  await clock.sleep(START_MS);
  const startIsLost = unanswered && random.chance(0.5);
  if (engine.containers.has(container.id) && !startIsLost) engine.start(container);
  if (!unanswered) return done(container.id);
  await clock.sleep(DEADLINE_MS);
  return unknown;
}

async function remove(
  engine: SimulatedEngine,
  { clock, random, announce, alive, effect }: PortContext,
  containerId: string,
  stopTimeoutS: number,
): Promise<ActionOutcome> {
  if (engine.faults.away) return unavailable;
  const container = engine.containers.get(containerId);
  if (container === undefined) return done(null);
  if (random.chance(engine.faults.removeFails))
    return { kind: 'failed', reason: 'StopFailed', message: 'It could not be stopped.' };
  effect();
  if (!alive()) return await never();
  engine.onRemove(container);
  const wasRunning = isRunning(container);
  if (wasRunning) {
    engine.onStop(container);
    container.state = 'moving';
  }
  const unanswered = random.chance(engine.faults.removeUnanswered);
  // One that hangs does not hear the signal either.
  const isDeaf = container.frozenAtMs !== null && container.frozenAtMs <= clock.nowMs();
  const stopMs = Math.min(isDeaf ? Number.POSITIVE_INFINITY : container.stopDelayMs, stopTimeoutS * 1000);
  await clock.sleep(wasRunning ? stopMs : 10);
  // Stopping and removing are two calls: the second is not made by somebody who is gone.
  if (!alive() && isRunning(container)) engine.kill(container, 0);
  else if (alive()) {
    engine.containers.delete(containerId);
    announce(container.spec);
  }
  if (!unanswered) return done(null);
  await clock.sleep(DEADLINE_MS);
  return unknown;
}

function observe(engine: SimulatedEngine, stationId: string): ObservedContainer[] {
  const found: ObservedContainer[] = [];
  for (const { id, spec, imageId, state, exitCode, oomKilled } of engine.containers.values()) {
    if (!isOurs(spec.labels, stationId)) continue;
    found.push({ id, name: spec.name, imageId, state, exitCode, oomKilled, labels: { ...spec.labels } });
  }
  return found;
}
