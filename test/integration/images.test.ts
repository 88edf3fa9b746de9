import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NODE_BASE_IMAGE } from '../../services/station/base-image.ts';
import { checkContainersRun, ensureImages, type PodmanCommand, RECORDER_IMAGE } from '../../services/station/images.ts';
import { endPrograms, runProgram } from '../../services/station/run-program.ts';
import { stationEngine } from './station-engine.ts';

const engine = stationEngine();
const env = { ...process.env, ...engine.environment };
const podman: PodmanCommand = (args, timeoutMs) => runProgram('podman', args, { env, timeoutMs });
const RECIPE = { name: 'localhost/silvasonic-image-under-test:latest', containerfile: 'Containerfile', context: '.' };

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-images-'));
  mkdirSync(join(folder, 'app'));
  write('Containerfile', `FROM ${NODE_BASE_IMAGE}`, 'COPY app /app');
  write('app/sentence', 'first');
});
afterEach(async () => {
  await engine.podman('rmi', '--force', '--ignore', RECIPE.name);
  rmSync(folder, { recursive: true, force: true });
});

const write = (name: string, ...lines: string[]) => writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
const imageId = () => engine.podman('image', 'inspect', '--format', '{{.Id}}', RECIPE.name);
const readSentence = () => engine.podman('run', '--rm', '--network', 'none', RECIPE.name, 'cat', '/app/sentence');

/** Builds, and answers what was said meanwhile. */
async function ensure(): Promise<string[]> {
  const said: string[] = [];
  const progress = (text: string) => said.push(text);
  await ensureImages({
    podman,
    repositoryFolder: folder,
    cacheFolder: join(folder, 'cache'),
    recipes: [RECIPE],
    progress,
  });
  return said;
}

describe('images', () => {
  it('are built when missing, left alone when nothing changed, built anew when an input did', async () => {
    expect(await ensure()).not.toEqual([]);
    const first = await imageId();
    expect(await readSentence()).toBe('first');

    write('unrelated', 'new');
    expect(await ensure()).toEqual([]);
    expect(await imageId()).toBe(first);

    write('app/sentence', 'second');
    await ensure();
    expect(await readSentence()).toBe('second');
    await expect(engine.podman('image', 'inspect', first)).rejects.toThrow();
  });

  it('keep the earlier build while a container or a tag of ours still needs it', async () => {
    await ensure();
    const first = await imageId();
    await engine.podman('tag', RECIPE.name, `${RECIPE.name.replace(':latest', ':last-good')}`);
    write('app/sentence', 'second');
    await ensure();
    expect(await imageId()).not.toBe(first);
    expect(await engine.podman('image', 'inspect', '--format', '{{.Id}}', first)).toBe(first);
    await engine.podman('rmi', RECIPE.name.replace(':latest', ':last-good'));
  });

  it('say what failed when a build fails', async () => {
    write('Containerfile', `FROM ${NODE_BASE_IMAGE}`, 'RUN echo no such luck >&2 && exit 3');
    await expect(ensure()).rejects.toMatchObject({
      message: expect.stringContaining(`${RECIPE.name} could not be built`),
      cause: { message: expect.stringContaining('no such luck') },
    });
  });

  it('leave neither container nor process behind when a build is interrupted', async () => {
    const command = 'sleep 86399';
    const sleepers = async () => (await runProgram('pgrep', ['-f', `^${command}`], { timeoutMs: 10_000 })).stdout;
    write('Containerfile', `FROM ${NODE_BASE_IMAGE}`, `RUN ${command}; exit 1`);
    const built = ensure().catch((error: unknown) => error);
    await vi.waitFor(async () => expect(await sleepers()).not.toBe(''), 60_000);
    await endPrograms();
    expect(await built).toBeInstanceOf(Error);
    expect(await sleepers()).toBe('');
    const left = await engine.podman('ps', '--all', '--external', '--format', '{{.Image}} {{.Command}}');
    expect(left).not.toContain(`${NODE_BASE_IMAGE} buildah`);
  });

  it('say so when a base can be had nowhere', async () => {
    write('Containerfile', 'FROM registry.invalid/nothing:1');
    await expect(ensure()).rejects.toThrow(/registry\.invalid\/nothing:1 cannot be fetched.*podman load/);
  });
});

describe('the base image', () => {
  it('has Node 24, npm and the user "node", whoever made it', async () => {
    const inside = (...command: string[]) =>
      engine.podman('run', '--rm', '--network', 'none', NODE_BASE_IMAGE, ...command);
    expect(await inside('node', '--version')).toMatch(/^v24\./);
    expect(await inside('npm', '--version')).toMatch(/^\d+\./);
    expect(await inside('id', '-u', 'node')).toBe('1000');
  });
});

describe('the recorder image', () => {
  it('is up to date with the sources', async () => {
    const said: string[] = [];
    await ensureImages({
      podman,
      repositoryFolder: resolve(import.meta.dirname, '../..'),
      cacheFolder: join(folder, 'cache'),
      recipes: [RECORDER_IMAGE],
      progress: (text) => said.push(text),
    });
    expect(said).toEqual([]);
  });

  it('starts as a container, and a missing one is told in a sentence', async () => {
    await expect(checkContainersRun(podman)).resolves.toBeUndefined();
    await expect(checkContainersRun(podman, 'localhost/silvasonic-absent:latest')).rejects.toThrow(
      /^Podman answered "/,
    );
  });
});
