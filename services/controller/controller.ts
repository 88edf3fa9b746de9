/**
 * The controller put together from its ports: what wakes the loop, what a cycle does, how it ends. Knows no adapter:
 * `main` and the one-command station hand them in, and the simulation hands in its own.
 */
import { randomUUID } from 'node:crypto';
import { createExecutor } from './actions.ts';
import type { Alerts } from './alerts.ts';
import { startContainerLogs } from './container-logs.ts';
import { STOP_TIMEOUT_S } from './container-spec.ts';
import type { HealthSnapshot } from './health.ts';
import { type Counters, startHeartbeat } from './heartbeat.ts';
import type { HostLoad } from './host-load.ts';
import { createImagePulls } from './image-pulls.ts';
import type { Log } from './log.ts';
import { createLoop } from './loop.ts';
import { createObserver } from './observe.ts';
import { subjectOf } from './plan-outcome.ts';
import { createReconciler, type ReconcileSettings, type Snapshot } from './reconcile.ts';
import type { Bus, Clock, Engine, FinishedAction, MicrophoneSource, Store, Workspaces } from './world.ts';

export interface ControllerPorts {
  clock: Clock;
  microphones: MicrophoneSource;
  store: Store;
  engine: Engine;
  bus: Bus;
  workspaces: Workspaces;
  alerts: Alerts;
  log: Log;
}

export interface ControllerSettings extends ReconcileSettings {
  version: string;
  recorderImage: string;
  /** What is told of the machine besides. */
  hostLoad: () => Promise<HostLoad>;
  tickMs: number;
  /** `leave`: recorders go on and are adopted by the next controller. */
  onShutdown: 'leave' | 'stop';
  /** Called after every finished cycle. */
  onCycle: () => void;
  /** Of a station that has none yet; by default a random UUID. */
  newStationId?: () => string;
}

export interface Controller {
  start(): void;
  /** Ends the loop, lets what is under way finish, then closes every port. */
  stop(): Promise<void>;
  snapshot(): Snapshot;
  health(): HealthSnapshot;
}

export function createController(ports: ControllerPorts, settings: ControllerSettings): Controller {
  const { clock, engine, store, bus, microphones, workspaces, alerts, log } = ports;
  const startedAtMs = clock.nowMs();
  const counters: Counters = {
    cycles: 0,
    cycleErrors: 0,
    actions: 0,
    failedActions: 0,
    lastCycleMs: 0,
    slowestCycleMs: 0,
  };
  let lastCycleEndMs: number | null = null;
  let stopHeartbeat = (): void => {};
  let stopLogs = (): void => {};

  const wakeFor = (what: Parameters<typeof observer.markDirty>[0]): void => {
    observer.markDirty(what);
    loop.wake();
  };
  const onFinished = ({ action, outcome }: FinishedAction): void => {
    counters.actions += 1;
    if (outcome.kind !== 'done' && outcome.kind !== 'lookAgain') counters.failedActions += 1;
    observer.markDirty(action.kind === 'tag' ? 'images' : 'containers');
    // While others wait to be started, a look at all of them would only take the engine's time from that.
    if (action.kind === 'run' && outcome.kind === 'done' && executor.hasWaitingStarts()) return;
    loop.wake();
  };
  const executor = createExecutor({ engine, workspaces, clock, onFinished });
  const observer = createObserver(
    { clock, microphones, store, engine, workspaces },
    {
      recorderImage: settings.recorderImage,
      serviceImages: settings.catalogue.map(({ image }) => image),
      newStationId: settings.newStationId ?? randomUUID,
      // An event about something we are at ourselves says nothing new: its end wakes us anyway.
      onStationId: (stationId) => engine.watch(stationId, (name) => !isUnderWay(name) && wakeFor('containers')),
      onLateReading: () => loop.wake(),
    },
  );
  const isUnderWay = (containerName: string): boolean => {
    const subjects = executor.inFlight();
    const container = observer.lastContainers().find(({ name }) => name === containerName);
    return container !== undefined && subjects.has(subjectOf(container));
  };
  const pulls = createImagePulls({
    clock,
    engine,
    log,
    onChange: (done) => (done ? wakeFor('images') : loop.wake()),
  });
  const reconciler = createReconciler(
    { clock, microphones, store, workspaces, executor, observer, pulls, log },
    settings,
  );
  const lookAfterAlerts = (): void => {
    const { stationId, stationName, alerts: settings, devices } = reconciler.snapshot();
    if (stationId !== null)
      void alerts.look({ station: { id: stationId, name: stationName }, settings, devices }, observer.report);
  };

  const cycle = async (isTick: boolean): Promise<number | null> => {
    const beganMs = clock.nowMs();
    try {
      const deadlineMs = await reconciler.cycle(isTick);
      lastCycleEndMs = clock.nowMs();
      counters.cycles += 1;
      counters.lastCycleMs = lastCycleEndMs - beganMs;
      counters.slowestCycleMs = Math.max(counters.slowestCycleMs, counters.lastCycleMs);
      settings.onCycle();
      lookAfterAlerts();
      return deadlineMs;
    } catch (cause) {
      // A bug. What runs goes on; without a finished cycle /healthy turns red, and in the end the watchdog steps in.
      counters.cycleErrors += 1;
      log.error({ err: cause }, 'A cycle failed; the next one tries again.');
      return null;
    }
  };
  const loop = createLoop({ clock, tickMs: settings.tickMs, cycle });

  return {
    start() {
      microphones.start(() => loop.wake());
      store.start(() => wakeFor('database'));
      bus.start(() => wakeFor('database'));
      loop.start();
      stopHeartbeat = startHeartbeat({
        clock,
        bus,
        workspaces,
        version: settings.version,
        hostLoad: settings.hostLoad,
        snapshot: reconciler.snapshot,
        counters: () => ({ ...counters }),
        dependencies: () => dependencies(),
      });
      stopLogs = startContainerLogs({ clock, engine, bus, containers: observer.lastContainers });
    },
    async stop() {
      stopHeartbeat();
      stopLogs();
      pulls.stop();
      alerts.stop();
      await loop.stop();
      await executor.drain();
      if (settings.onShutdown === 'stop') await stopRecorders(engine, reconciler.snapshot().stationId, log);
      microphones.stop();
      await Promise.all([store.stop(), bus.stop(), engine.stop()]);
    },
    snapshot: reconciler.snapshot,
    health: () => ({
      service: 'controller',
      version: settings.version,
      uptimeSeconds: (clock.nowMs() - startedAtMs) / 1000,
      lastCycleAgeMs: lastCycleEndMs === null ? null : clock.nowMs() - lastCycleEndMs,
      tickMs: settings.tickMs,
      dependencies: dependencies(),
      nowMs: clock.nowMs(),
    }),
  };

  function dependencies() {
    return [store.dependency(), bus.dependency(), engine.dependency(), microphones.dependency()];
  }
}

/** All of this station's containers, side by side: ten that take ten seconds each take ten seconds. */
async function stopRecorders(engine: Engine, stationId: string | null, log: Log): Promise<void> {
  if (stationId === null) return;
  const containers = await engine.list(stationId);
  if (!containers.ok) {
    log.warn({ error: containers.error }, 'The recorders could not be stopped: the engine does not answer.');
    return;
  }
  const outcomes = await Promise.all(containers.value.map((container) => engine.remove(container.id, STOP_TIMEOUT_S)));
  for (const outcome of outcomes)
    if (outcome.kind !== 'done') log.warn({ outcome }, 'A recorder could not be stopped.');
}
