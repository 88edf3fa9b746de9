/**
 * A station of a test's own: database, Redis, USB tree, folders, and the real controller as a process of its own, on the
 * engine that all tests share. Its id keeps its containers apart from everybody else's; `remove` leaves nothing of it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import postgres, { type Sql } from 'postgres';
import { CHANNEL, LABEL } from '../../services/shared/contract.ts';
import { idsWithLabel, inspectContainer } from './engine-api.ts';
import { type PostgresFixture, startPostgres } from './postgres.ts';
import { type RedisFixture, startRedis } from './redis.ts';
import { prepared, type StationEngine, stationEngine } from './station-engine.ts';
import type { UsbDeviceSpec } from './usb-devices.ts';
import { createUsbTree, type PluggedDevice, type PlugOptions, type SoundNode, type UsbTree } from './usb-tree.ts';

export interface StationOptions {
  /** Card numbers of this test file's devices; files run side by side and share the real `/dev/snd`. */
  firstCard: number;
  /** Without Redis the controller is told that there is none. */
  redis?: boolean;
  /** False: a host without USB, until `usb.bringUsb`. */
  hasUsb?: boolean;
  /** With the services of the catalogue. */
  services?: boolean;
  environment?: Record<string, string>;
}

/** A row of `devices`, as the database has it. */
export interface DeviceColumns {
  id: string;
  name: string;
  status: string;
  enabled: boolean;
  enrollment_status: string;
  decided_by: string | null;
  profile_slug: string | null;
  suggested_profile: string | null;
  workspace: string;
  serial: string | null;
  serial_shared: boolean;
  port_path: string;
  product: string;
  generation: number;
  observed_generation: number;
  phase: string;
  reason: string;
  message: string;
}

/** What `podman inspect` says, as far as tests look at it. */
export interface InspectedContainer {
  Id: string;
  Name: string;
  State: { Status: string; StartedAt: string; Pid: number; ExitCode: number };
  Config: { Labels: Record<string, string>; Env: string[]; Image: string };
  HostConfig: Record<string, unknown>;
  Image: string;
  Mounts: { Source: string; Destination: string; RW: boolean }[];
  /** `SandboxKey`: the file of its network namespace; empty: it has none of its own. */
  NetworkSettings: { SandboxKey: string };
}

export interface RunningController {
  process: ChildProcess;
  /** Lines of its log, parsed. */
  log: Record<string, unknown>[];
  healthPort: number;
  /** Resolves with the exit code, or the signal's name. */
  ended: Promise<number | string>;
  kill(signal: NodeJS.Signals): Promise<number | string>;
}

export interface TestStation {
  usb: UsbTree;
  database: PostgresFixture;
  redis: RedisFixture | null;
  engine: StationEngine;
  sql: Sql;
  /** Folder of the package that the controller runs from: its profiles may be changed. */
  packageFolder: string;
  workspace: string;
  runPath: string;
  environment: Record<string, string>;
  start(environment?: Record<string, string>): Promise<RunningController>;
  /** Plugs in, with placeholders for its nodes in the real `/dev/snd`. */
  plug(spec: UsbDeviceSpec, options?: PlugOptions): PluggedDevice;
  addCard(device: PluggedDevice): void;
  /** Another order of boot; see `UsbTree`. The containers are as they were. */
  rebootInOtherOrder(): void;
  stationId(): Promise<string>;
  devices(): Promise<DeviceColumns[]>;
  containers(): Promise<InspectedContainer[]>;
  events(): Promise<{ subject: string; type: string; reason: string; message: string; count: number }[]>;
  nudge(): Promise<void>;
  /** A person's change, followed by a nudge. */
  update(id: string, columns: Record<string, unknown>): Promise<void>;
  /** Finished files of a device, newest last, with full paths. */
  segments(workspace: string): string[];
  /** Tells the microphone what to do: see recorder-image/README.md. */
  feed(workspace: string, mode: string): void;
  /** Waits until the condition answers something true; fails with what it last answered. */
  until<T>(what: string, condition: () => Promise<T> | T, deadlineMs?: number): Promise<NonNullable<T>>;
  untilPhase(phase: string, id?: string): Promise<DeviceColumns>;
  remove(): Promise<void>;
}

const DEADLINE_MS = 40_000;
const POLL_MS = 50;

/** Makes everything but the controller, which `start` starts. */
export async function createTestStation(options: StationOptions): Promise<TestStation> {
  const engine = stationEngine();
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-station-'));
  const packageFolder = makePackage(folder, options.services === true);
  const [database, redis] = await Promise.all([startPostgres(), options.redis === false ? null : startRedis()]);
  const access = await database.createDatabase();
  const sql = postgres({
    host: access.host,
    port: access.port,
    user: access.user,
    password: access.password,
    database: access.database,
    max: 2,
    onnotice: () => {},
  });
  const usb = createUsbTree({ firstCard: options.firstCard, hasUsb: options.hasUsb ?? true });
  const workspace = join(folder, 'workspace');
  const runPath = join(folder, 'run');
  for (const path of [workspace, runPath]) mkdirSync(path);
  const environment: Record<string, string> = {
    CONTAINER_SOCKET: engine.socketPath,
    SILVASONIC_WORKSPACE_PATH: workspace,
    SILVASONIC_RUN_PATH: runPath,
    SILVASONIC_RECORDER_IMAGE: engine.testRecorderImage,
    SILVASONIC_REDIS_URL: redis?.url ?? '',
    POSTGRES_HOST: access.host,
    POSTGRES_PORT: String(access.port),
    POSTGRES_USER: access.user,
    POSTGRES_PASSWORD: access.password,
    POSTGRES_DB: access.database,
    SILVASONIC_VIRTUAL_MICROPHONES: '0',
    ...options.environment,
  };
  const controllers: RunningController[] = [];
  let knownId: string | null = null;
  /** The marker file may be taken away later. */
  const ownId = (): string | null => {
    knownId ??= readMarker(workspace);
    return knownId;
  };
  const station: TestStation = {
    usb,
    database,
    redis,
    engine,
    sql,
    packageFolder,
    workspace,
    runPath,
    environment,
    async start(more = {}) {
      const controller = await startController(packageFolder, usb.environment(process.env), {
        ...environment,
        ...more,
      });
      controllers.push(controller);
      return controller;
    },
    plug(spec, plugOptions) {
      const device = usb.plug(spec, plugOptions);
      makeNodes(device.nodes);
      return device;
    },
    addCard: (device) => makeNodes(usb.addCard(device)),
    rebootInOtherOrder() {
      usb.rebootInOtherOrder();
      makeNodes(usb.nodes());
    },
    stationId: () => station.until('the station has an id', ownId),
    devices: async () => await sql<DeviceColumns[]>`select * from devices order by id`,
    events: async () =>
      await sql<
        { subject: string; type: string; reason: string; message: string; count: number }[]
      >`select * from events order by id`,
    containers: async () => inspectAll(engine, ownId()),
    async nudge() {
      await redis?.publish(CHANNEL.nudge, '');
    },
    async update(id, columns) {
      await sql`update devices set ${sql(columns)} where id = ${id}`;
      await station.nudge();
    },
    segments(name) {
      const raw = join(workspace, 'recorder', name, 'data', 'raw');
      if (!existsSync(raw)) return [];
      return readdirSync(raw)
        .flatMap((day) => readdirSync(join(raw, day)).map((file) => join(raw, day, file)))
        .sort();
    },
    feed: (name, mode) => writeFileSync(join(workspace, 'recorder', name, 'feeder.json'), JSON.stringify({ mode })),
    until: (what, condition, deadlineMs = DEADLINE_MS) => until(what, condition, deadlineMs, () => controllers.at(-1)),
    async untilPhase(phase, id) {
      const what = `${id ?? 'the device'} is ${phase}`;
      return await station.until(what, async () =>
        (await station.devices()).find((row) => row.phase === phase && (id === undefined || row.id === id)),
      );
    },
    async remove() {
      await Promise.all(controllers.map((controller) => controller.kill('SIGKILL')));
      await removeContainers(engine, ownId());
      await sql.end({ timeout: 1 });
      await Promise.all([database.stop(), redis?.stop()]);
      usb.remove();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return station;
}

/** The bundle as `npm run build` makes it, in a package folder of its own. */
function makePackage(folder: string, services: boolean): string {
  const packageFolder = join(folder, 'package');
  mkdirSync(packageFolder);
  // Services of the catalogue only where a test asks for them: they would stand among its recorders.
  for (const name of ['migrations', 'profiles']) cpSync(resolve(name), join(packageFolder, name), { recursive: true });
  if (!services)
    for (const name of readdirSync(join(packageFolder, 'profiles/services')))
      rmSync(join(packageFolder, 'profiles/services', name));
  symlinkSync(resolve('node_modules'), join(packageFolder, 'node_modules'));
  // Copied: where its profiles are, it knows from where it lies itself.
  cpSync(prepared().bundleFolder, join(packageFolder, 'dist'), { recursive: true });
  writeFileSync(join(packageFolder, 'package.json'), '{"type":"module"}');
  return packageFolder;
}

async function startController(
  packageFolder: string,
  base: NodeJS.ProcessEnv,
  environment: Record<string, string>,
): Promise<RunningController> {
  const healthPort = await freePort();
  // As `npm run controller` does it.
  const flags = ['--max-semi-space-size=1', '--heap-growing-percent=60'];
  const child = spawn(process.execPath, [...flags, join(packageFolder, 'dist', 'controller.js')], {
    env: { ...base, SILVASONIC_CONTROLLER_PORT: String(healthPort), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: Record<string, unknown>[] = [];
  let rest = '';
  const read = (chunk: string): void => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) log.push(parseLine(line));
  };
  child.stdout.setEncoding('utf8').on('data', read);
  child.stderr.setEncoding('utf8').on('data', read);
  const ended = once(child, 'close').then(() => child.exitCode ?? child.signalCode ?? 'unknown');
  return {
    process: child,
    log,
    healthPort,
    ended,
    async kill(signal) {
      child.kill(signal);
      return await ended;
    },
  };
}

function parseLine(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line);
  } catch {
    return { msg: line };
  }
}

/** Any port that is free now, on the loopback interface. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  return address.port;
}

/** Podman looks device nodes up in the real `/dev`; nothing is ever read from these. */
export function makeNodes(nodes: readonly SoundNode[]): void {
  mkdirSync('/dev/snd', { recursive: true });
  for (const node of nodes) {
    if (existsSync(node.path)) continue;
    spawnSync('mknod', ['-m', '660', node.path, 'c', String(node.major), String(node.minor)]);
    // Another test file may have been faster.
    if (!existsSync(node.path)) throw new Error(`mknod ${node.path} failed: device nodes can be made by root only.`);
  }
}

function readMarker(workspace: string): string | null {
  const file = join(workspace, 'recorder', '.silvasonic-station');
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
}

async function listIds(engine: StationEngine, stationId: string | null): Promise<string[]> {
  return stationId === null ? [] : await idsWithLabel(engine.socketPath, `${LABEL.station}=${stationId}`);
}

async function inspectAll(engine: StationEngine, stationId: string | null): Promise<InspectedContainer[]> {
  const ids = await listIds(engine, stationId);
  const answers = await Promise.all(ids.map((id) => inspectContainer(engine.socketPath, id)));
  // One that went away between the two questions is not there: what is said of the others still counts.
  const found = answers.filter((container) => container !== null);
  return found.sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

async function removeContainers(engine: StationEngine, stationId: string | null): Promise<void> {
  const ids = await listIds(engine, stationId);
  if (ids.length > 0) await engine.podman('rm', '--force', '--ignore', '--time', '0', ...ids);
}

async function until<T>(
  what: string,
  condition: () => Promise<T> | T,
  deadlineMs: number,
  controller: () => RunningController | undefined,
): Promise<NonNullable<T>> {
  const begin = performance.now();
  let last: unknown;
  while (performance.now() - begin < deadlineMs) {
    try {
      const answer = await condition();
      if (answer !== null && answer !== undefined && answer !== false) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const log = controller()
    ?.log.slice(-15)
    .map((line) => JSON.stringify(line))
    .join('\n');
  throw new Error(`Waited in vain until ${what}; last: ${String(last)}\n${log ?? 'no controller'}`, { cause: last });
}

/** The name that `podman` prints without its slash. */
export const plainName = (container: InspectedContainer): string => basename(container.Name);
