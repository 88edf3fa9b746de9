/**
 * The images of the containers that a station starts: built from the checkout, and only when something that goes into
 * them changed. Where no registry answers, the base image is made from the distribution's packages.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findStandIn, makeStandIn, NODE_BASE_IMAGE, STAND_IN_CHANGES } from './base-image.ts';
import { baseImages, inputsHash } from './containerfile.ts';
import type { ProgramResult } from './run-program.ts';

/** Runs Podman's command line in the engine that is meant. Resolves with any exit code; throws when it cannot run. */
export type PodmanCommand = (args: readonly string[], timeoutMs: number) => Promise<ProgramResult>;

export interface ImageRecipe {
  /** Fully qualified, with tag. */
  name: string;
  /** Relative to the repository. */
  containerfile: string;
  /** Folder that the build copies from, relative to the repository. */
  context: string;
}

export const RECORDER_IMAGE: ImageRecipe = {
  name: 'localhost/silvasonic-recorder:latest',
  containerfile: 'services/recorder/Containerfile',
  context: '.',
};

export const PROCESSOR_IMAGE: ImageRecipe = {
  name: 'localhost/silvasonic-processor:latest',
  containerfile: 'services/processor/Containerfile',
  context: '.',
};

export interface ImageOptions {
  podman: PodmanCommand;
  /** The checkout: the Containerfiles and what they copy. */
  repositoryFolder: string;
  /** Keeps the stand-in between runs; may be shared by several engines. */
  cacheFolder: string;
  /** In this order; the recorder's alone when not given. */
  recipes?: readonly ImageRecipe[];
  /**
   * Keeps the layers of earlier builds: the next one is half a minute quicker, for some 600 MB. A developer's choice;
   * a station is updated rarely and lives on an SD card.
   */
  keepBuildCache?: boolean;
  /** Called with a sentence at the begin and end of each step that takes time. */
  progress(text: string): void;
}

/** What the image was built from: equal means that a build would give the same. */
const INPUTS_LABEL = 'io.silvasonic.inputs';
const QUICK_DEADLINE_MS = 30_000;
const REGISTRY_DEADLINE_MS = 15_000;
const PULL_DEADLINE_MS = 15 * 60_000;
const IMPORT_DEADLINE_MS = 10 * 60_000;
const BUILD_DEADLINE_MS = 20 * 60_000;
/** In the cache folder once all images were there: the first start's need for disk space is over. */
const READY_FILE = 'images-ready';

/**
 * Makes every image of the recipes exist and be up to date. Does nothing but look when they are.
 * @throws Error with a sentence for a person; `cause` holds what the failing program said
 */
export async function ensureImages(options: ImageOptions): Promise<void> {
  for (const recipe of options.recipes ?? [RECORDER_IMAGE, PROCESSOR_IMAGE]) await ensureImage(recipe, options);
  await mkdir(options.cacheFolder, { recursive: true });
  await writeFile(join(options.cacheFolder, READY_FILE), '');
}

async function ensureImage(recipe: ImageRecipe, options: ImageOptions): Promise<void> {
  const containerfile = await readFile(join(options.repositoryFolder, recipe.containerfile), 'utf8');
  const bases = baseImages(containerfile);
  const inputs = inputsHash(
    join(options.repositoryFolder, recipe.context),
    containerfile,
    await ownBases(bases, options),
  );
  if ((await labelOf(recipe.name, options.podman)) === inputs) return;
  for (const base of bases) await ensureBase(base, options);
  await timed(options, `Building ${recipe.name}`, () => build(recipe, inputs, options));
}

/** What our own images among the bases were built from: an image is only as new as what it stands on. */
async function ownBases(bases: readonly string[], { podman }: ImageOptions): Promise<string[]> {
  const own = bases.filter((base) => base.startsWith('localhost/'));
  return Promise.all(own.map(async (base) => `${await labelOf(base, podman)}`));
}

/** The image's inputs label; null when there is no such image, or none of ours. */
async function labelOf(image: string, podman: PodmanCommand): Promise<string | null> {
  const format = `{{index .Config.Labels "${INPUTS_LABEL}"}}`;
  if (!(await imageExists(image, podman))) return null;
  const result = await podman(['image', 'inspect', '--format', format, image], QUICK_DEADLINE_MS);
  if (result.code !== 0)
    throw failure(`The image ${image} cannot be read: run "podman image inspect ${image}".`, result);
  return result.stdout.trim();
}

async function imageExists(image: string, podman: PodmanCommand): Promise<boolean> {
  const result = await podman(['image', 'exists', image], QUICK_DEADLINE_MS);
  if (result.code === 0 || result.code === 1) return result.code === 0;
  throw failure('Podman does not answer: run "podman info" and mend what it says.', result);
}

async function build(recipe: ImageRecipe, inputs: string, options: ImageOptions): Promise<void> {
  const { podman, repositoryFolder } = options;
  const file = join(repositoryFolder, recipe.containerfile);
  const context = join(repositoryFolder, recipe.context);
  const label = `${INPUTS_LABEL}=${inputs}`;
  // The host's network: a build then needs no bridge and no firewall rules, and cannot collide with another engine's.
  const args = ['build', '--network=host', '--tag', recipe.name, '--label', label, '--file', file, context];
  const result = await podman(args, BUILD_DEADLINE_MS);
  if (result.code !== 0) throw failure(`${recipe.name} could not be built: mend what it says and try again.`, result);
  if (options.keepBuildCache !== true) await removeEarlierBuilds(options);
}

/** A container or another image is made of it, or it is gone by now. */
const STILL_NEEDED = /in use|used by|has dependent|not known|no such image/i;

/** Builds that no tag names any more and no container uses. Failing to remove them costs only space. */
async function removeEarlierBuilds({ podman, progress }: ImageOptions): Promise<void> {
  const filters = ['--filter', 'dangling=true', '--filter', `label=${INPUTS_LABEL}`];
  const list = await podman(['images', '--quiet', '--no-trunc', ...filters], QUICK_DEADLINE_MS);
  const results = [list];
  // One by one: a prune of all ends at the first that somebody else removes at the same moment.
  for (const id of new Set(list.stdout.split('\n').filter((line) => line !== '')))
    results.push(await podman(['rmi', id], QUICK_DEADLINE_MS));
  const failed = results.find(({ code, stderr }) => code !== 0 && !STILL_NEEDED.test(stderr));
  if (failed === undefined) return;
  const why = failed.stderr.trim().split('\n').at(-1);
  progress(`Earlier builds stay (${why}): "podman ps --all --external" shows what an interrupted build left.`);
}

/** Pulls a base image, or puts the stand-in in its place. */
async function ensureBase(base: string, options: ImageOptions): Promise<void> {
  const { podman } = options;
  if (base.startsWith('localhost/') || (await imageExists(base, podman))) return;
  const kept = base === NODE_BASE_IMAGE ? findStandIn({ cacheFolder: options.cacheFolder, arch: process.arch }) : null;
  if (kept !== null) {
    return timed(options, `Loading the base image kept in ${options.cacheFolder}`, () => load(kept, options));
  }
  const unreachable = await registryProblem(base, options);
  if (unreachable === null) {
    return timed(options, `Fetching the base image ${base}`, () => pull(base, options));
  }
  if (base !== NODE_BASE_IMAGE) {
    throw new Error(
      `${base} cannot be fetched, and there is no other way to it: let this machine reach its registry, or load it with "podman load".`,
      { cause: unreachable },
    );
  }
  const { cacheFolder, progress } = options;
  const file = await timed(options, 'Making the base image', () =>
    makeStandIn({ cacheFolder, progress, arch: process.arch }),
  );
  await load(file, options);
}

/** Asks for the manifest alone: that is quick, and uses Podman's own proxies and mirrors. null: it can be pulled. */
async function registryProblem(image: string, { podman }: ImageOptions): Promise<Error | null> {
  const result = await podman(['manifest', 'inspect', image], REGISTRY_DEADLINE_MS);
  return result.code === 0 ? null : new Error(result.stderr.trim());
}

async function pull(image: string, { podman }: ImageOptions): Promise<void> {
  const result = await podman(['pull', '--quiet', image], PULL_DEADLINE_MS);
  if (result.code !== 0) throw failure(`${image} could not be fetched: try again when the network is better.`, result);
}

async function load(file: string, { podman }: ImageOptions): Promise<void> {
  const changes = STAND_IN_CHANGES.flatMap((change) => ['--change', change]);
  const result = await podman(['import', '--quiet', ...changes, file, NODE_BASE_IMAGE], IMPORT_DEADLINE_MS);
  if (result.code !== 0) throw failure(`${file} could not be loaded: remove that file and try again.`, result);
}

async function timed<T>({ progress }: ImageOptions, title: string, work: () => Promise<T>): Promise<T> {
  const startedAtMs = performance.now();
  progress(`${title} …`);
  const value = await work();
  progress(`${title}: done in ${Math.round((performance.now() - startedAtMs) / 1000)} s`);
  return value;
}

function failure(sentence: string, { stderr, stdout }: { stderr: string; stdout: string }): Error {
  const said = `${stderr.trim() || stdout.trim()}`.split('\n').slice(-20).join('\n');
  return new Error(sentence, { cause: new Error(said) });
}

/**
 * Starts one container for a moment: whether this machine permits containers is only known by trying.
 * @throws Error with a sentence for a person, with what Podman answered
 */
export async function checkContainersRun(podman: PodmanCommand, image: string = RECORDER_IMAGE.name): Promise<void> {
  const args = ['run', '--rm', '--pull=never', '--network', 'none', '--entrypoint', '/bin/true', image];
  const result = await podman(args, QUICK_DEADLINE_MS);
  if (result.code === 0) return;
  throw failure(containerProblem(result.stderr), result);
}

/** What to do about a container that does not start, as one sentence. */
export function containerProblem(answer: string): string {
  const last = answer.trim().split('\n').at(-1) ?? '';
  if (/newuidmap|newgidmap|subuid|subgid/i.test(answer)) {
    return `Podman answered "${last}": this user has no range of ids for containers; run "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER", log in again, and try again.`;
  }
  if (/rlimit/i.test(answer)) {
    return `Podman answered "${last}": this machine forbids raising limits; lower default_ulimits in containers.conf to what "ulimit -Hn" and "ulimit -Hu" say.`;
  }
  if (/cgroup/i.test(answer)) {
    return `Podman answered "${last}": its runtime does not fit this machine's control groups; install runc, or boot with systemd.unified_cgroup_hierarchy=1.`;
  }
  if (/operation not permitted|permission denied|unshare|clone/i.test(answer)) {
    return `Podman answered "${last}": this machine does not permit containers; run as root, or if this is itself a container, start it privileged.`;
  }
  return `Podman answered "${last}" when a container was to be started: mend that and try again.`;
}
