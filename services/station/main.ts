/**
 * The one-command station: engine, images, an embedded database and the controller in one process, shown live on the
 * terminal. Everything lies in the data folder; Ctrl-C stops recorders, database and engine, in this order, and leaves
 * nothing running.
 */
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { controllerSettings, createPorts, loadSeeds } from '../controller/assembly.ts';
import { createInProcessBus, type InProcessBus } from '../controller/bus.ts';
import type { ControllerConfig } from '../controller/config.ts';
import { type Controller, createController } from '../controller/controller.ts';
import { startHealth } from '../controller/health.ts';
import { waitForLock } from '../controller/lock.ts';
import { createLog, type Log } from '../controller/log.ts';
import { startWatchdog } from '../controller/watchdog.ts';
import { createClock } from '../shared/clock.ts';
import type { PostgresConfig } from '../shared/connections.ts';
import { BAD_CONFIG_EXIT_CODE, findPackageFolder } from '../shared/surroundings.ts';
import { findRunningEngine, startEngine } from './engine.ts';
import { checkContainersRun, ensureImages, type PodmanCommand } from './images.ts';
import { keepEmbeddedPostgres } from './kept-postgres.ts';
import { type StationPage, startPage } from './page.ts';
import { endPrograms, runProgram } from './run-program.ts';
import { showStation } from './show-station.ts';
import { readStationConfig, type StationFolders } from './station-config.ts';
import { openStationLog, type StationLog } from './station-log.ts';

/** What has been started, in order; it is stopped in reverse. */
type Stop = { what: string; stop: () => Promise<unknown> };

const WATCHDOG_TICKS = 10;
const SAME_SIGNAL_MS = 2000;
const CODE_ATTEMPTS = 60;
const CODE_RETRY_MS = 500;

async function main(): Promise<void> {
  const station = readStationConfig(process.env, { uid: process.getuid?.() ?? 0, home: homedir() });
  if (!station.ok) {
    for (const problem of station.problems) console.error(problem);
    process.exit(BAD_CONFIG_EXIT_CODE);
  }
  const { folders } = station.value;
  for (const folder of [folders.data, folders.run]) mkdirSync(folder, { recursive: true });
  const logFile = openStationLog(join(folders.data, 'station.log'));
  const log = createLog({ level: 'info', destination: logFile });
  const stops: Stop[] = [];
  const ending = endOnSignals(stops);
  try {
    const socketPath = await startImages(folders, log, stops);
    if (ending.begun()) return;
    const database = await startDatabase(folders, log, stops);
    const config = { ...station.value.controller, socketPath, postgres: database };
    const bus = createInProcessBus();
    const controller = await startController(config, bus, log, stops);
    await startStationPage({ config, bus, folders, logFile, stops });
    stops.push(showStation({ controller, config, folders, log }));
  } catch (cause) {
    if (ending.begun()) return;
    console.error(describe(cause));
    await stopAll(stops);
    process.exit(1);
  }
}

/** The engine that runs already, or one of our own; then the images that recorders are made of. */
async function startImages(folders: StationFolders, log: Log, stops: Stop[]): Promise<string> {
  const running = await findRunningEngine();
  let podman: PodmanCommand = (args, timeoutMs = 120_000) => runProgram('podman', args, { timeoutMs });
  let socketPath = running;
  if (socketPath === null) {
    const engine = await startEngine({
      folder: join(folders.data, 'engine'),
      socketPath: join(folders.run, 'podman.sock'),
      log,
    });
    stops.push({ what: 'engine', stop: engine.stop });
    podman = engine.podman;
    socketPath = engine.socketPath;
  }
  await ensureImages({
    podman,
    repositoryFolder: findPackageFolder(import.meta.url),
    cacheFolder: folders.cache,
    progress: (text) => console.log(text),
  });
  await checkContainersRun(podman);
  return socketPath;
}

async function startDatabase(folders: StationFolders, log: Log, stops: Stop[]): Promise<PostgresConfig> {
  const kept = await keepEmbeddedPostgres({ dataFolder: join(folders.data, 'database'), log });
  stops.push({ what: 'database', stop: kept.stop });
  const { host, port, user, password, database } = kept;
  return { host, port, user, password, passwordFile: null, database };
}

interface PageParts {
  config: ControllerConfig;
  bus: InProcessBus;
  folders: StationFolders;
  logFile: StationLog;
  stops: Stop[];
}

async function startStationPage({ config, bus, folders, logFile, stops }: PageParts): Promise<void> {
  const page = await startPage({
    postgres: config.postgres,
    dataFolder: folders.data,
    runPath: folders.run,
    bus,
    writeLog: logFile.write,
  });
  stops.push({ what: 'page', stop: page.stop });
  console.log(`The page: ${page.addresses.join('  or  ')}`);
  const code = await askForCode(page);
  if (code !== null) console.log(`Setup code for the first visit: ${code}`);
}

/** The controller migrates the database at this moment. */
async function askForCode(page: StationPage): Promise<string | null> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await page.setupCode();
    } catch (cause) {
      if (attempt === CODE_ATTEMPTS) throw cause;
      await new Promise((resolve) => setTimeout(resolve, CODE_RETRY_MS));
    }
  }
}

async function startController(
  config: ControllerConfig,
  bus: InProcessBus,
  log: Log,
  stops: Stop[],
): Promise<Controller> {
  const lock = await waitForLock(join(config.controllerWorkspace, 'controller.lock'), { log, clock: createClock() });
  stops.push({ what: 'lock', stop: lock.release });
  const seeds = loadSeeds(config, log);
  const watchdog = startWatchdog({ limitMs: WATCHDOG_TICKS * config.reconcileIntervalMs, log });
  const controller = createController(
    { ...createPorts(config, seeds, log), bus },
    controllerSettings(config, seeds, watchdog.beat),
  );
  const health = await startHealth({
    port: config.healthPort,
    host: config.healthHost,
    log,
    snapshot: controller.health,
  });
  stops.push({ what: 'health', stop: health.close });
  controller.start();
  stops.push({ what: 'recorders', stop: controller.stop }, { what: 'watchdog', stop: watchdog.stop });
  return controller;
}

/**
 * The first signal stops everything in order; a later one does not wait for what hangs. A signal to the whole process
 * group arrives twice, once from the bootstrap that passes it on: repeats within two seconds are the same one.
 */
function endOnSignals(stops: Stop[]): { begun: () => boolean } {
  let begunAtMs: number | null = null;
  const end = (): void => {
    const nowMs = performance.now();
    if (begunAtMs !== null && nowMs - begunAtMs < SAME_SIGNAL_MS) return;
    if (begunAtMs !== null) process.exit(1);
    begunAtMs = nowMs;
    console.log('\nStopping: recorders finish their files …');
    void stopAll(stops).then(() => process.exit(0));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);
  return { begun: () => begunAtMs !== null };
}

async function stopAll(stops: Stop[]): Promise<void> {
  // A build that is under way would leave its container and mount behind.
  await endPrograms();
  for (const { what, stop } of stops.splice(0).reverse()) {
    await stop().catch((cause: unknown) => console.error(`${what} could not be stopped: ${describe(cause)}`));
  }
}

/** A sentence with everything that caused it. */
function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause === undefined ? cause.message : `${cause.message}\n${describe(cause.cause)}`;
}

await main();
