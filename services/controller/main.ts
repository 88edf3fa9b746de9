/**
 * The controller as a process of its own: reads the environment, waits for the station's lock and goes to work. Whatever
 * is missing (database, Redis, engine, USB) is said and waited for; nothing missing ends it. As a command of its image:
 * `secrets` makes the appliance's passwords, `stop` stops everything.
 */
import { join } from 'node:path';
import { createClock } from '../shared/clock.ts';
import { BAD_CONFIG_EXIT_CODE, isInsideContainer } from '../shared/surroundings.ts';
import { controllerSettings, createPorts, loadSeeds } from './assembly.ts';
import { type ControllerConfig, describeConfig, readConfig } from './config.ts';
import { type Controller, createController } from './controller.ts';
import { type HealthServer, startHealth } from './health.ts';
import { learnFolders } from './in-container.ts';
import { waitForLock } from './lock.ts';
import { createLog, type Log } from './log.ts';
import { makeSecrets } from './make-secrets.ts';
import { stopStation } from './stop-station.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

/** Without a finished cycle for this many ticks the process is ended, so that a fresh one takes over. */
const WATCHDOG_TICKS = 10;
/** What is under way may take this long after SIGTERM: a stop of ten seconds, and a little. */
const SHUTDOWN_DEADLINE_MS = 25_000;
/** The command line is wrong (`EX_USAGE` of sysexits.h). */
const USAGE_EXIT_CODE = 64;
/** Where compose.yml mounts a volume for each. */
const SECRETS_FOLDER = '/secrets';

async function main(): Promise<void> {
  const [command, ...rest] = process.argv.slice(2);
  if (command === undefined) return await run();
  if (command === 'secrets' && rest.length === 0) return await secrets();
  if (command === 'stop' && rest.length === 0) return await stop();
  console.error(
    `"${[command, ...rest].join(' ')}" was given; allowed: secrets, stop, or nothing to run the controller.`,
  );
  process.exit(USAGE_EXIT_CODE);
}

async function run(): Promise<void> {
  let running: Running | null = null;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // As the first process of a container, nothing would end us by default while we wait.
    process.once(signal, () => (running === null ? process.exit(0) : void shutDown(signal, running)));
  }
  const { config, log } = await settle();
  log.info(describeConfig(config), 'The controller starts.');
  const lock = await waitForLock(join(config.controllerWorkspace, 'controller.lock'), { log, clock: createClock() });
  lock.onLost(() => {
    log.error({}, 'The lock of this station was lost: the controller ends, so that there are never two.');
    process.exit(1);
  });
  const seeds = loadSeeds(config, log);
  const watchdog = startWatchdog({ limitMs: WATCHDOG_TICKS * config.reconcileIntervalMs, log });
  const controller = createController(
    createPorts(config, seeds, log),
    controllerSettings(config, seeds, watchdog.beat),
  );
  const health = await startHealth({
    port: config.healthPort,
    host: config.healthHost,
    log,
    snapshot: controller.health,
  });
  controller.start();
  running = { controller, health, watchdog, release: lock.release, log };
}

/** The configuration with all that has to be learned or waited for. Ends the process where something is wrong. */
async function settle(): Promise<{ config: ControllerConfig; log: Log }> {
  const insideContainer = isInsideContainer(process.env);
  const read = readConfig(process.env, { insideContainer });
  if (!read.ok) return refuse(read.problems);
  const log = createLog({ level: read.value.logLevel });
  const learned = insideContainer
    ? await learnFolders(read.value, { clock: createClock(), log })
    : { ok: true as const, value: read.value };
  if (!learned.ok) return refuse([learned.message]);
  return { config: learned.value, log };
}

function refuse(problems: readonly string[]): never {
  for (const problem of problems) console.error(problem);
  process.exit(BAD_CONFIG_EXIT_CODE);
}

async function secrets(): Promise<void> {
  const made = await makeSecrets(SECRETS_FOLDER);
  console.log(made.length === 0 ? 'All passwords are there.' : `Made: ${made.join(', ')}.`);
}

async function stop(): Promise<void> {
  const read = readConfig(process.env, { insideContainer: true });
  if (!read.ok) return refuse(read.problems);
  const log = createLog({ level: read.value.logLevel });
  const problems = await stopStation(read.value, { clock: createClock(), log, tell: (text) => console.log(text) });
  for (const problem of problems) console.error(problem);
  process.exit(problems.length === 0 ? 0 : 1);
}

interface Running {
  controller: Controller;
  health: HealthServer;
  watchdog: Watchdog;
  release: () => Promise<void>;
  log: Log;
}

/** What is under way finishes; recorders keep running unless the operator wished otherwise. */
async function shutDown(signal: string, { controller, health, watchdog, release, log }: Running): Promise<void> {
  log.info({ signal }, 'The controller stops.');
  setTimeout(() => process.exit(0), SHUTDOWN_DEADLINE_MS).unref();
  await watchdog.stop();
  await controller.stop();
  await health.close();
  await release();
  process.exit(0);
}

main().catch((cause: unknown) => {
  console.error(cause instanceof Error ? cause.message : cause);
  process.exit(1);
});
