/**
 * What chaos does to a station: everything around the recorders is killed, frozen and brought back, microphones come and
 * go, and somebody edits. Each is written down with its time, so that the judge knows what may have ended a recording.
 */
import { createEngineProxy, type EngineProxy } from '../integration/engine-proxy.ts';
import { containersOf } from '../integration/station-devices.ts';
import { asPage } from '../integration/station-observation.ts';
import type { RunningController, TestStation } from '../integration/test-station.ts';
import type { UsbDeviceSpec } from '../integration/usb-devices.ts';
import type { PluggedDevice } from '../integration/usb-tree.ts';
import type { Random } from '../simulation/random.ts';

/** One microphone, and what its owner last said about it. */
export interface ChaosMicrophone {
  id: string;
  workspace: string;
  spec: UsbDeviceSpec;
  port: string;
  plugged: PluggedDevice | null;
  /** Runs of its recorder from before its samples were counted. */
  uncountedRuns: ReadonlySet<string>;
  /** Columns as the database acknowledged them. An edit that was not acknowledged may count or not: both are here. */
  wishes: { name: string[]; enabled: boolean[]; segmentSeconds: number[] };
}

/** Something that may end this microphone's recorder. */
export interface Excuse {
  id: string;
  atMs: number;
  what: string;
}

export interface ChaosWorld {
  station: TestStation;
  proxy: EngineProxy;
  controller: RunningController | null;
  microphones: ChaosMicrophone[];
  excuses: Excuse[];
  /** An edit that the database has not answered yet. */
  unanswered: Promise<void> | null;
  random: Random;
  tell: (what: string) => void;
}

export interface Fault {
  name: string;
  weight: number;
  run: (world: ChaosWorld) => Promise<void>;
}

const EDIT_DEADLINE_MS = 4000;

export const FAULTS: readonly Fault[] = [
  { name: 'controller killed', weight: 3, run: killController },
  { name: 'controller frozen', weight: 2, run: freezeController },
  { name: 'recorder killed', weight: 4, run: killRecorder },
  { name: 'database killed', weight: 1, run: killDatabase },
  { name: 'database frozen', weight: 2, run: ({ station, random }) => standStill(station.database, random) },
  { name: 'Redis killed', weight: 2, run: killRedis },
  { name: 'Redis frozen', weight: 1, run: freezeRedis },
  { name: 'engine away', weight: 2, run: engineAway },
  { name: 'engine frozen', weight: 2, run: engineFrozen },
  { name: 'microphone unplugged', weight: 3, run: unplug },
  { name: 'microphone plugged in', weight: 6, run: plugIn },
  { name: 'microphone replugged', weight: 2, run: replug },
  { name: 'switched', weight: 4, run: switchOnOrOff },
  { name: 'settings edited', weight: 2, run: editSettings },
  { name: 'renamed', weight: 2, run: rename },
];

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One of the faults by its weight. */
export function pickFault(random: Random): Fault {
  const total = FAULTS.reduce((sum, { weight }) => sum + weight, 0);
  let left = random.next() * total;
  for (const fault of FAULTS) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  throw new Error('a weight is not a number');
}

/** Everything as it should be again, and each microphone plugged in. */
export async function endFaults(world: ChaosWorld): Promise<void> {
  const { station, proxy } = world;
  station.database.thaw();
  station.redis?.thaw();
  await proxy.open();
  world.controller?.process.kill('SIGCONT');
  world.controller ??= await station.start();
  for (const microphone of world.microphones) if (microphone.plugged === null) await plug(world, microphone);
  await world.unanswered;
}

export function createChaosProxy(station: TestStation, socketPath: string): EngineProxy {
  return createEngineProxy(socketPath, station.engine.socketPath);
}

async function killController(world: ChaosWorld): Promise<void> {
  await world.controller?.kill('SIGKILL');
  world.controller = null;
  await pause(world.random.between(0, 3000));
  world.controller = await world.station.start();
}

async function freezeController({ controller, random }: ChaosWorld): Promise<void> {
  controller?.process.kill('SIGSTOP');
  await pause(random.between(200, 6000));
  controller?.process.kill('SIGCONT');
}

async function killRecorder(world: ChaosWorld): Promise<void> {
  const microphone = world.random.pick(world.microphones);
  const running = (await containersOf(world.station, microphone.id)).find(({ State }) => State.Status === 'running');
  if (running === undefined || running.State.Pid === 0) return;
  excuse(world, microphone, 'its recorder was killed');
  process.kill(running.State.Pid, 'SIGKILL');
}

async function killDatabase({ station, random }: ChaosWorld): Promise<void> {
  process.kill(station.database.pid(), 'SIGKILL');
  await pause(random.between(500, 4000));
  await station.database.restart();
}

async function standStill(what: { freeze(): void; thaw(): void }, random: Random): Promise<void> {
  what.freeze();
  await pause(random.between(500, 7000));
  what.thaw();
}

async function killRedis({ station, random }: ChaosWorld): Promise<void> {
  await station.redis?.halt();
  await pause(random.between(200, 4000));
  await station.redis?.resume();
}

async function freezeRedis({ station, random }: ChaosWorld): Promise<void> {
  if (station.redis !== null) await standStill(station.redis, random);
}

async function engineAway({ proxy, random }: ChaosWorld): Promise<void> {
  await proxy.close();
  await pause(random.between(200, 5000));
  await proxy.open();
}

async function engineFrozen({ proxy, random }: ChaosWorld): Promise<void> {
  proxy.hold();
  await pause(random.between(200, 8000));
  proxy.release();
}

async function unplug(world: ChaosWorld): Promise<void> {
  const microphone = world.random.pick(world.microphones);
  if (microphone.plugged === null) return;
  excuse(world, microphone, 'it was unplugged');
  world.station.usb.unplug(microphone.plugged);
  microphone.plugged = null;
}

async function plugIn(world: ChaosWorld): Promise<void> {
  const absent = world.microphones.filter(({ plugged }) => plugged === null);
  if (absent.length > 0) await plug(world, world.random.pick(absent));
}

async function plug(world: ChaosWorld, microphone: ChaosMicrophone): Promise<void> {
  microphone.plugged = world.station.plug(microphone.spec, { port: microphone.port });
}

async function replug(world: ChaosWorld): Promise<void> {
  const microphone = world.random.pick(world.microphones);
  if (microphone.plugged === null) return;
  excuse(world, microphone, 'it was replugged');
  world.station.usb.unplug(microphone.plugged);
  await plug(world, microphone);
}

async function switchOnOrOff(world: ChaosWorld): Promise<void> {
  const microphone = world.random.pick(world.microphones);
  // More often on than off: only what records can be disturbed.
  const enabled = world.random.chance(0.65);
  await edit(world, microphone, 'enabled', enabled, { enabled });
}

async function editSettings(world: ChaosWorld): Promise<void> {
  const microphone = world.random.pick(world.microphones);
  const segmentSeconds = world.random.between(1, 4);
  await edit(world, microphone, 'segmentSeconds', segmentSeconds, { settings: { segmentSeconds } });
}

async function rename(world: ChaosWorld): Promise<void> {
  const microphone = world.random.pick(world.microphones);
  const name = `Name ${world.random.between(1, 1_000_000)}`;
  await edit(world, microphone, 'name', name, { name });
}

/** With the page's rights. Acknowledged: it must be there at the end. Not acknowledged: it may be there or not. */
async function edit<Key extends keyof ChaosMicrophone['wishes']>(
  world: ChaosWorld,
  microphone: ChaosMicrophone,
  key: Key,
  value: ChaosMicrophone['wishes'][Key][number],
  columns: Record<string, unknown>,
): Promise<void> {
  // One that has not been answered yet could overtake this one.
  if (world.unanswered !== null) return;
  const possible: unknown[] = microphone.wishes[key];
  if (key !== 'name') excuse(world, microphone, `${key} was edited`);
  // Until it is acknowledged, it may be there or not.
  if (!possible.includes(value)) possible.push(value);
  world.unanswered = asPage(
    world.station,
    (sql) => sql`update devices set ${sql(columns)} where id = ${microphone.id}`,
  ).then(
    () => {
      possible.splice(0, possible.length, value);
      world.unanswered = null;
    },
    () => {
      world.unanswered = null;
    },
  );
  await Promise.race([world.unanswered, pause(EDIT_DEADLINE_MS)]);
  await world.station.nudge().catch(() => {});
}

function excuse(world: ChaosWorld, { id }: ChaosMicrophone, what: string): void {
  world.excuses.push({ id, atMs: Date.now(), what });
}
