/**
 * One Podman for all integration tests that need the real images: own storage, own socket, own containers, so that a
 * station that runs on the same machine is never touched. Its storage is kept from run to run, because building the
 * images is what takes the time; containers are not.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { acquireLock, type HeldLock } from '../../services/controller/lock.ts';
import type { Log } from '../../services/controller/log.ts';
import { type OwnEngine, startEngine } from '../../services/station/engine.ts';
import {
  checkContainersRun,
  ensureImages,
  type ImageRecipe,
  PROCESSOR_IMAGE,
  RECORDER_IMAGE,
} from '../../services/station/images.ts';
import { type Prepared, prepare as prepareFolders } from './prepared.ts';

/** What a test gets by `inject('stationEngine')`; `station-engine.ts` turns it into the engine or a thrown sentence. */
export type ProvidedEngine =
  | {
      kind: 'ready';
      socketPath: string;
      /** Makes a `podman` command see this engine. */
      environment: Record<string, string>;
      recorderImage: string;
      /** The recorder with a microphone that does not exist; see recorder-image/README.md. */
      testRecorderImage: string;
    }
  | { kind: 'failed'; message: string };

/** What a test gets by `inject('prepared')`. */
export type ProvidedPrepared = ({ kind: 'ready' } & Prepared) | { kind: 'failed'; message: string };

declare module 'vitest' {
  export interface ProvidedContext {
    stationEngine: ProvidedEngine;
    prepared: ProvidedPrepared;
  }
}

const TEST_RECORDER_IMAGE: ImageRecipe = {
  name: 'localhost/silvasonic-recorder-test:latest',
  containerfile: 'test/integration/recorder-image/Containerfile',
  context: 'test/integration/recorder-image',
};

const REPOSITORY = resolve(import.meta.dirname, '../..');
/** More runs than this at once on one machine is a mistake. */
const MOST_RUNS = 8;
const CLEANUP_DEADLINE_MS = 120_000;

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silent };

/** What cannot be made fails the tests that ask for it, with the reason; all others run. */
export default async function setup(project: Pick<TestProject, 'provide'>): Promise<() => Promise<void>> {
  const removals = await Promise.all([provideEngine(project), provideFolders(project)]);
  return async () => {
    for (const remove of removals) await remove();
  };
}

async function provideFolders(project: Pick<TestProject, 'provide'>): Promise<() => void> {
  try {
    const { prepared, remove } = await prepareFolders();
    project.provide('prepared', { kind: 'ready', ...prepared });
    return remove;
  } catch (error) {
    project.provide('prepared', { kind: 'failed', message: describe(error) });
    return () => {};
  }
}

async function provideEngine(project: Pick<TestProject, 'provide'>): Promise<() => Promise<void>> {
  const cacheFolder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'silvasonic');
  const { folder, lock } = await takeStorage(cacheFolder);
  const socketFolder = mkdtempSync(join(tmpdir(), 'silvasonic-test-'));
  let engine: OwnEngine | null = null;
  try {
    engine = await startOn(folder, join(socketFolder, 'podman.sock'));
    await makeImages(engine, cacheFolder);
    const { socketPath, environment } = engine;
    const images = { recorderImage: RECORDER_IMAGE.name, testRecorderImage: TEST_RECORDER_IMAGE.name };
    project.provide('stationEngine', { kind: 'ready', socketPath, environment, ...images });
  } catch (error) {
    project.provide('stationEngine', { kind: 'failed', message: describe(error) });
  }
  return async () => {
    if (engine !== null) {
      await removeContainers(engine);
      await engine.stop();
    }
    rmSync(socketFolder, { recursive: true, force: true });
    await lock.release();
  };
}

/** The first storage that no other test run uses at this moment. Its lock is freed by the kernel however we end. */
async function takeStorage(cacheFolder: string): Promise<{ folder: string; lock: HeldLock }> {
  for (let number = 1; number <= MOST_RUNS; number += 1) {
    const folder = join(cacheFolder, `tests-${number}`);
    mkdirSync(folder, { recursive: true });
    const lock = await acquireLock(join(folder, 'in-use.lock'));
    if (lock.kind === 'held') return { folder, lock };
  }
  throw new Error(`${MOST_RUNS} test runs use ${cacheFolder} already: wait until one of them has ended.`);
}

/**
 * Podman notes in its database how its storage was configured, and with another configuration no container is cleaned
 * up any more: each end of one then takes 20 s. So a storage does not outlive a change of our configuration.
 */
export async function startOn(folder: string, socketPath: string): Promise<OwnEngine> {
  const options = { folder, root: join(folder, 'storage'), runRoot: join(folder, 'run'), socketPath, log: silent };
  const before = readConfiguration(folder);
  const engine = await startEngine(options);
  if (before === '' || before === readConfiguration(folder)) return engine;
  const reset = await engine.podman(['system', 'reset', '--force'], CLEANUP_DEADLINE_MS);
  await engine.stop();
  if (reset.code !== 0)
    throw new Error(`The storage in ${folder} cannot be emptied: remove that folder.\n${reset.stderr}`);
  return startEngine(options);
}

function readConfiguration(folder: string): string {
  const files = ['containers.conf', 'storage.conf']
    .map((name) => join(folder, name))
    .filter((file) => existsSync(file));
  return files.map((file) => readFileSync(file, 'utf8')).join('\n');
}

async function makeImages(engine: OwnEngine, cacheFolder: string): Promise<void> {
  // Of a run that was killed.
  await removeContainers(engine);
  await ensureImages({
    podman: engine.podman,
    repositoryFolder: REPOSITORY,
    cacheFolder,
    recipes: [RECORDER_IMAGE, TEST_RECORDER_IMAGE, PROCESSOR_IMAGE],
    keepBuildCache: true,
    progress: (text) => console.log(`  images: ${text}`),
  });
  await checkContainersRun(engine.podman);
}

export async function removeContainers(engine: OwnEngine): Promise<void> {
  // The external ones are what a build left that was killed, and they keep their file system mounted.
  const list = await engine.podman(['ps', '--all', '--external', '--quiet'], CLEANUP_DEADLINE_MS);
  const found = list.stdout.split('\n').filter((id) => id !== '');
  for (const args of [
    ...found.map((id) => ['rm', '--force', '--time', '0', '--ignore', id]),
    ['network', 'prune', '--force'],
    ['volume', 'prune', '--force'],
  ]) {
    const result = await engine.podman(args, CLEANUP_DEADLINE_MS);
    if (result.code !== 0) throw new Error(`podman ${args.join(' ')}: ${result.stderr || result.stdout}`);
  }
}

/** A sentence with everything that caused it. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}\n${describe(error.cause)}`;
}
