/**
 * A controller in a container learns from the engine where its folders lie on the host. After a boot it also makes the
 * folder in memory that recorders report in, and starts who could not start without it.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../shared/clock.ts';
import type { Parsed } from '../shared/parse.ts';
import type { ControllerConfig } from './config.ts';
import type { Log } from './log.ts';
import { foldersByMounts, possibleContainerIds } from './own-mounts.ts';
import { type Api, createApi } from './podman-api.ts';
import { describeOwnContainer, type OwnContainer, startNeighbours } from './podman-own.ts';

const RETRY_MS = 1000;

/**
 * The configuration with the folders as the host has them. Waits for an engine that does not answer yet, and says so
 * once. Not ok: the mounts are not what a controller needs, in a sentence.
 */
export async function learnFolders(
  config: ControllerConfig,
  { clock, log }: { clock: Clock; log: Log },
): Promise<Parsed<ControllerConfig>> {
  const api = createApi({ socketPath: config.socketPath, clock });
  const own = await waitForOwnContainer(api, log);
  if (!own.ok) return own;
  const folders = foldersByMounts(config, own.value.mounts);
  if (!folders.ok) return folders;
  log.info(folders.value, "Where this container's folders lie on the host.");
  const booted = (await mkdir(folders.value.runPath, { recursive: true })) !== undefined;
  // A boot empties what lies in memory: whoever mounts that folder could not be started before it was made again.
  if (booted) for (const sentence of await startNeighbours(api, own.value)) log.info({}, sentence);
  api.close();
  return { ok: true, value: { ...config, ...folders.value } };
}

/** This container, as the engine describes it; not ok: the engine that answers does not know it. */
export async function waitForOwnContainer(api: Api, log: Log): Promise<Parsed<OwnContainer>> {
  const ids = possibleContainerIds({
    containerenv: await readOrNothing('/run/.containerenv'),
    mountinfo: await readOrNothing('/proc/self/mountinfo'),
    cgroup: await readOrNothing('/proc/self/cgroup'),
    hostname: hostname(),
  });
  for (let told = ''; ; ) {
    const own = await describeOwnContainer(api, ids);
    if (own.ok || own.retry !== true) return own;
    if (own.message !== told) log.warn({}, `Waiting for the engine: ${own.message}`);
    told = own.message;
    await delay(RETRY_MS);
  }
}

/** Each of these files is only one of several ways to find out. */
const readOrNothing = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
