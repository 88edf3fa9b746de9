/**
 * The controller as a process of its own: reads the environment, waits for the station's lock and goes to work. Whatever
 * is missing (database, Redis, engine, USB) is said and waited for; nothing missing ends it.
 */
import { join } from 'node:path';
import { createClock } from '../shared/clock.ts';
import { BAD_CONFIG_EXIT_CODE, isInsideContainer } from '../shared/surroundings.ts';
import { controllerSettings, createPorts, loadSeeds } from './assembly.ts';
import { describeConfig, readConfig } from './config.ts';
import { type Controller, createController } from './controller.ts';
import { type HealthServer, startHealth } from './health.ts';
import { waitForLock } from './lock.ts';
import { createLog, type Log } from './log.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

/** Without a finished cycle for this many ticks the process is ended, so that a fresh one takes over. */
const WATCHDOG_TICKS = 10;
/** What is under way may take this long after SIGTERM: a stop of ten seconds, and a little. */
const SHUTDOWN_DEADLINE_MS = 25_000;

async function main(): Promise<void> {
  const read = readConfig(process.env, { insideContainer: isInsideContainer() });
  if (!read.ok) {
    for (const problem of read.problems) console.error(problem);
    process.exit(BAD_CONFIG_EXIT_CODE);
  }
  const config = read.value;
  const log = createLog({ level: config.logLevel });
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
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void shutDown(signal, { controller, health, watchdog, release: lock.release, log }));
  }
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
