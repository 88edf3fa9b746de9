/**
 * The station that is measured: the real controller as a process of its own, on a real engine, PostgreSQL, Redis and an
 * emulated USB; and beside it the same engine asked directly, which is the floor.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Dockerode from 'dockerode';
import { Redis } from 'ioredis';
import { containerName } from '../../services/controller/container-spec.ts';
import { CHANNEL, RECORDER_PATH } from '../../services/shared/contract.ts';
import { type DerivedImages, derivedImages, startedBy } from '../integration/derived-images.ts';
import { createEngineProxy, type EngineProxy } from '../integration/engine-proxy.ts';
import { stationEngine } from '../integration/station-engine.ts';
import { createTestStation, type RunningController, type TestStation } from '../integration/test-station.ts';
import { plainMicrophone } from '../integration/usb-devices.ts';
import type { PluggedDevice } from '../integration/usb-tree.ts';
import { type EngineWatch, watchEngine } from './engine-watch.ts';
import { type Requests, tapRequests } from './requests.ts';
import { createWallClock, sleep } from './wall-clock.ts';

/**
 * What a recorder's container does. `idle`: it lives and does nothing, since a start is over when the process runs.
 * `record`: it is the recorder. `stubborn`: it records, and only SIGKILL ends it. `crash`: it ends with 1 at once.
 */
export type Deed = 'idle' | 'record' | 'stubborn' | 'crash';

export interface BenchMicrophone {
  id: string;
  workspace: string;
  /** Of its container. */
  name: string;
  plugged: PluggedDevice;
}

export interface BenchStation {
  station: TestStation;
  controller: RunningController;
  docker: Dockerode;
  events: EngineWatch;
  requests: Requests;
  redis: Redis;
  image: string;
  /** Folder for the floor's containers to write into. */
  floorFolder: string;
  /** Plugs in a microphone that was never seen. Its recorder starts at once, by `deed`. */
  plug(serial: string): PluggedDevice;
  /** What the controller made of it, once its container runs. */
  known(serial: string, plugged: PluggedDevice): Promise<BenchMicrophone>;
  /** What its recorders do from the next start on. */
  setDeed(microphone: BenchMicrophone, deed: Deed): void;
  /** A person's change, in the database; nobody has been told. */
  write(microphones: readonly BenchMicrophone[], enabled: boolean): Promise<void>;
  /** Sends the nudge and tells when: Unix milliseconds, and as of `performance.now()`. */
  nudge(): { wallMs: number; atMs: number };
  /** Off, and their containers gone. */
  switchOff(microphones: readonly BenchMicrophone[]): Promise<void>;
  switchOn(microphones: readonly BenchMicrophone[], phase?: string): Promise<void>;
  /** Waits until nothing is going on, and a random time more, so that the loop is met at any moment of its life. */
  settle(): Promise<void>;
  remove(): Promise<void>;
}

const FIRST_CARD = 300;
const DEED_FILE = 'deed';
const SCRIPT = `case "$(cat ${RECORDER_PATH.workspace}/${DEED_FILE} 2>/dev/null)" in
  record) exec node --max-semi-space-size=1 /app/recorder.js ;;
  stubborn) node --max-semi-space-size=1 /app/recorder.js & while :; do sleep 5; done ;;
  deaf) while :; do sleep 5; done ;;
  crash) exit 1 ;;
  *) trap 'exit 0' TERM; sleep 3600 & wait ;;
esac`;
/** Longer than the loop's least gap between two cycles, and than the quarter of a second in which it looks again. */
const SETTLED_MS = 350;
const RANDOM_MS = 250;

const idOf = (serial: string): string => `1234-5678-${serial}`;

/** @param tickSeconds the loop's longest pause */
export async function createBenchStation(tickSeconds: number): Promise<BenchStation> {
  const engine = stationEngine();
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-bench-'));
  const cleanups: (() => Promise<unknown> | unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const remove = async (): Promise<void> => {
    for (const cleanup of cleanups.reverse()) await cleanup();
    cleanups.length = 0;
  };
  try {
    const images = derivedImages(engine);
    cleanups.push(() => images.remove());
    const made = await make({ folder, images, cleanups, tickSeconds });
    return { ...made, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

interface Making {
  tickSeconds: number;
  folder: string;
  images: DerivedImages;
  cleanups: (() => Promise<unknown> | unknown)[];
}

async function make({ folder, images, cleanups, tickSeconds }: Making): Promise<Omit<BenchStation, 'remove'>> {
  const engine = stationEngine();
  await images.build(startedBy(SCRIPT));
  const requests = tapRequests();
  const proxy = createEngineProxy(join(folder, 'engine.sock'), engine.socketPath, requests.listen);
  await openProxy(proxy, cleanups);
  const station = await createTestStation({
    firstCard: FIRST_CARD,
    environment: {
      CONTAINER_SOCKET: proxy.socketPath,
      SILVASONIC_RECORDER_IMAGE: images.reference,
      // Otherwise what was unplugged would go on for three seconds beside the next measurement.
      SILVASONIC_OFFLINE_GRACE_S: '0',
      SILVASONIC_RECONCILE_INTERVAL_S: String(tickSeconds),
    },
  });
  cleanups.push(() => station.remove());
  await countStatements(station);
  const docker = new Dockerode({ socketPath: engine.socketPath });
  const events = await watchEngine(docker);
  cleanups.push(() => events.close());
  const redis = new Redis(station.redis?.url ?? '');
  cleanups.push(() => redis.disconnect());
  const controller = await station.start();
  const stationId = await station.stationId();
  const floorFolder = join(folder, 'floor');
  for (const name of ['workspace', 'run']) mkdirSync(join(floorFolder, name), { recursive: true });

  const nudge = (): { wallMs: number; atMs: number } => {
    const clock = createWallClock();
    const now = { wallMs: clock.nowMs(), atMs: performance.now() };
    void redis.publish(CHANNEL.nudge, '');
    return now;
  };
  const write = async (microphones: readonly BenchMicrophone[], enabled: boolean): Promise<void> => {
    const ids = microphones.map(({ id }) => id);
    await station.sql`update devices set enabled = ${enabled} where id in ${station.sql(ids)}`;
  };
  const untilPhase = async (microphones: readonly BenchMicrophone[], phase: string): Promise<void> => {
    await station.until(`${microphones.length} microphones are ${phase}`, async () => {
      const ids = microphones.map(({ id }) => id);
      const rows = await station.sql<{ count: number }[]>`
        select count(*)::int from devices
        where id in ${station.sql(ids)} and phase = ${phase} and observed_generation = generation`;
      return rows[0]?.count === ids.length;
    });
  };
  return {
    station,
    controller,
    docker,
    events,
    requests,
    redis,
    image: images.reference,
    floorFolder,
    plug: (serial) => station.plug(plainMicrophone({ serial })),
    async known(serial, plugged) {
      const id = idOf(serial);
      const row = await station.until(`${id} is known`, async () =>
        (await station.devices()).find((one) => one.id === id),
      );
      return { id, workspace: row.workspace, name: containerName(stationId, `recorder-${row.workspace}`), plugged };
    },
    setDeed: ({ workspace }, deed) => writeFileSync(join(station.workspace, 'recorder', workspace, DEED_FILE), deed),
    write,
    nudge,
    async switchOff(microphones) {
      await write(microphones, false);
      nudge();
      await untilPhase(microphones, 'disabled');
    },
    async switchOn(microphones, phase = 'recording') {
      await write(microphones, true);
      nudge();
      await untilPhase(microphones, phase);
    },
    settle: () => sleep(SETTLED_MS + Math.random() * RANDOM_MS),
  };
}

async function openProxy(proxy: EngineProxy, cleanups: Making['cleanups']): Promise<void> {
  await proxy.open();
  cleanups.push(() => proxy.close());
}

/** Before the controller connects: the server counts statements from its start on or not at all. */
async function countStatements({ sql, database }: TestStation): Promise<void> {
  await sql`alter system set shared_preload_libraries = 'pg_stat_statements'`;
  await database.restart();
  await sql`create extension if not exists pg_stat_statements`;
}
