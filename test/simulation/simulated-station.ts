/** Database, USB, folders and the controller that is killed and started again, all in one simulated machine. */
import type { Controller } from '../../services/controller/controller.ts';
import type { VirtualMicrophones } from '../../services/controller/virtual-microphones.ts';
import type { DesiredState } from '../../services/controller/world.ts';
import type { RecorderStatus } from '../../services/shared/contract.ts';
import type { Random } from './random.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import { startSimulatedController, type Wakes } from './simulated-controller.ts';
import { createSimulatedDatabase, HELPER, type SimulatedDatabase } from './simulated-database.ts';
import { createSimulatedEngine, type SimulatedEngine } from './simulated-engine.ts';
import type { Stick } from './simulated-usb.ts';

export const RECORDER_IMAGE = 'localhost/silvasonic-recorder:latest';
export const FIRST_IMAGE_ID = 'sha256:first';
export const HELPER_IMAGE_ID = 'sha256:helper';

export interface DiskFaults {
  markerUnreadable: boolean;
  /** The disk is not mounted. */
  markerHidden: boolean;
  lastGoodUnwritable: boolean;
  foldersUnwritable: boolean;
  statusUnreadable: boolean;
}

export const QUIET_DISK: DiskFaults = {
  markerUnreadable: false,
  markerHidden: false,
  lastGoodUnwritable: false,
  foldersUnwritable: false,
  statusUnreadable: false,
};

export interface SimulatedStation {
  clock: SimulatedClock;
  random: Random;
  engine: SimulatedEngine;
  sticks: Stick[];
  usbFails: boolean;
  redisAway: boolean;
  /** As the operator set it. */
  virtualMicrophones: VirtualMicrophones;
  database: SimulatedDatabase;
  disk: {
    marker: string | null;
    lastGood: DesiredState | null;
    /** What recorders were last seen to tell, by workspace. */
    statuses: Map<string, RecorderStatus>;
    faults: DiskFaults;
  };
  plugChanged(): void;
  nudge(): void;
  /** Nudges are lost, and nobody hears a heartbeat. */
  setRedisAway(away: boolean): void;
  available(): void;
  /** Ends what runs, as SIGKILL does, and starts a new one. */
  startController(): void;
  killController(): void;
  /** As SIGTERM: the new one starts when the old one has ended. */
  restartController(): void;
  /** As SIGSTOP, for so long. */
  freezeController(forMs: number): void;
  /** Killed at its n-th deed from now, before or after it took effect. */
  killAtEffect(number: number): void;
  controller(): Controller | null;
  /** Nobody is there who could act: no controller, a frozen one, or one that is ending. */
  isUnattended(): boolean;
  /** Called after each cycle. */
  onCycle: (controller: Controller) => void;
  onKill: () => void;
}

const asleep: Wakes = { plug() {}, nudge() {}, redis() {}, available() {} };

export function createSimulatedStation(clock: SimulatedClock, random: Random): SimulatedStation {
  const engine = createSimulatedEngine(clock, random);
  engine.images.set(RECORDER_IMAGE, FIRST_IMAGE_ID);
  engine.registry.images.set(HELPER.image, { id: HELPER_IMAGE_ID, bytes: 60_000_000 });
  if (random.chance(0.5)) engine.images.set(HELPER.image, HELPER_IMAGE_ID);
  let generation = 0;
  let controller: Controller | null = null;
  let wakes = asleep;
  let awakeAtMs = 0;
  let frozenAtMs = 0;
  let stopping = false;
  let effectsToLive = Number.POSITIVE_INFINITY;
  const station: SimulatedStation = {
    clock,
    random,
    engine,
    sticks: [],
    usbFails: false,
    redisAway: false,
    virtualMicrophones: random.chance(0.2) ? { kind: 'auto' } : { kind: 'fixed', count: random.chance(0.1) ? 1 : 0 },
    database: createSimulatedDatabase(),
    disk: { marker: null, lastGood: null, statuses: new Map(), faults: { ...QUIET_DISK } },
    plugChanged: () => wakes.plug(),
    nudge: () => wakes.nudge(),
    setRedisAway(away) {
      station.redisAway = away;
      wakes.redis(away);
    },
    available: () => wakes.available(),
    controller: () => controller,
    isUnattended: () => controller === null || stopping || clock.nowMs() < awakeAtMs,
    onCycle: () => {},
    onKill: () => {},
    killController() {
      generation += 1;
      if (controller !== null) station.onKill();
      controller = null;
      wakes = asleep;
      awakeAtMs = 0;
      stopping = false;
      effectsToLive = Number.POSITIVE_INFINITY;
    },
    startController() {
      station.killController();
      const mine = generation;
      const alive = (): boolean => mine === generation;
      const effect = (): void => {
        // The dead have no effects left to count.
        if (!alive()) return;
        effectsToLive -= 1;
        if (effectsToLive <= 0) station.killController();
      };
      const started = startSimulatedController(station, {
        alive,
        effect,
        awakeAtMs: () => awakeAtMs,
        frozenAtMs: () => frozenAtMs,
      });
      controller = started.controller;
      wakes = started.wakes;
      controller.start();
    },
    restartController() {
      if (controller === null || stopping) return;
      const mine = generation;
      stopping = true;
      void controller.stop().then(() => mine === generation && station.startController());
    },
    freezeController(forMs) {
      if (clock.nowMs() >= awakeAtMs) frozenAtMs = clock.nowMs();
      awakeAtMs = clock.nowMs() + forMs;
    },
    killAtEffect(number) {
      effectsToLive = number;
    },
  };
  return station;
}
