/** The page as a process of its own. A database or Redis that is away is said and waited for. */
import { createLog, errorText, type Log } from '../shared/log.ts';
import { BAD_CONFIG_EXIT_CODE, findPackageFolder, isInsideContainer } from '../shared/surroundings.ts';
import { createPagePorts, pageSettings } from './assembly.ts';
import { readWebConfig } from './config.ts';
import { startWeb, type WebServer } from './server.ts';

/** Until the database answers for the first time. */
const ASK_AGAIN_MS = 3000;
const GOODBYE_MS = 5000;

async function main(): Promise<void> {
  const read = readWebConfig(process.env, isInsideContainer(process.env));
  if (!read.ok) {
    for (const problem of read.problems) console.error(problem);
    process.exit(BAD_CONFIG_EXIT_CODE);
  }
  const log = createLog({ service: 'web' });
  // As the first process of a container, nothing would end us by default before we listen.
  const leave = (): void => process.exit(0);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, leave);
  const config = read.value;
  const ports = createPagePorts(config, log);
  const settings = pageSettings(config, findPackageFolder(import.meta.url), log);
  const web = await startWeb(ports, settings, config);
  log('info', `The page is at http://${config.host}:${web.port}.`);
  void tellSetupCode(web, log);
  const stop = (): void => {
    setTimeout(() => process.exit(1), GOODBYE_MS).unref();
    void web
      .close()
      .then(() => Promise.all([ports.database.stop(), ports.bus.stop()]))
      .then(() => process.exit(0));
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, leave).once(signal, stop);
}

/** Whoever can read this log may set the owner's password, once. */
async function tellSetupCode(web: WebServer, log: Log): Promise<void> {
  try {
    const code = await web.setupCode();
    if (code !== null) console.log(`The station has no owner yet. Setup code for the first visit: ${code}`);
  } catch (error) {
    log('warn', `The page waits for the database: ${errorText(error)}`);
    setTimeout(() => void tellSetupCode(web, log), ASK_AGAIN_MS);
  }
}

await main().catch((error: unknown) => {
  console.error(errorText(error));
  process.exit(1);
});
