/** What services are told on disk: whole, only when it changes, private where it must be, and nothing through a link. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createServiceFolders } from '../../services/controller/service-folders.ts';
import type { ServiceFolders } from '../../services/controller/world.ts';
import {
  liveTokensSchema,
  mayHearLive,
  type ToldMicrophones,
  toldMicrophonesSchema,
} from '../../services/shared/contract.ts';

let folder: string;
let folders: ReturnType<typeof createServiceFolders>;
const at = (...path: string[]): string => join(folder, ...path);
const text = (...path: string[]): string => readFileSync(at(...path), 'utf8');
const make = (): void => {
  folders = createServiceFolders({
    runPath: at('run'),
    servicesFolder: at('services'),
    secretsFolder: at('secrets'),
    controllerWorkspace: at('controller'),
  });
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-services-'));
  mkdirSync(at('controller'));
  make();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const microphones: ToldMicrophones = {
  schema: 1,
  station: { name: 'Wald', position: null },
  microphones: [
    {
      workspace: 'teich-12345678',
      name: 'Teich\nlinks',
      rate: 48_000,
      channels: 1,
      recording: true,
      live: 'http://host:8090/live/teich-12345678.wav',
    },
  ],
};
const birdnet: ServiceFolders = { name: 'birdnet', kept: ['data'], microphones, liveSound: true };
const plain: ServiceFolders = { name: 'plain', kept: [], microphones: null, liveSound: false };
const tokenOf = (name: string): string => text('run', 'services', name, 'live-token').trim();
const letIn = (token: string): string | null =>
  mayHearLive(liveTokensSchema.parse(JSON.parse(text('run', 'live-tokens.json'))), token);

test('what it is told, its token and a playlist; the page learns who may come in and not with what', async () => {
  await folders.prepare(birdnet);
  await folders.tellAll([birdnet, plain]);
  const run = at('run', 'services', 'birdnet');
  expect(toldMicrophonesSchema.parse(JSON.parse(text('run', 'services', 'birdnet', 'microphones.json')))).toEqual(
    microphones,
  );
  const token = tokenOf('birdnet');
  expect(text('run', 'services', 'birdnet', 'live.m3u').split('\n')).toEqual([
    '#EXTM3U',
    '#EXTINF:-1,Teich links',
    `http://host:8090/live/teich-12345678.wav?token=${token}`,
    '',
  ]);
  const modes = readdirSync(run).map((name) => [name, statSync(join(run, name)).mode & 0o777]);
  expect(Object.fromEntries(modes)).toEqual({ 'live-token': 0o600, 'live.m3u': 0o600, 'microphones.json': 0o644 });
  expect(letIn(token)).toBe('birdnet');
  expect(letIn(`${token}x`)).toBeNull();
  expect(Object.keys(JSON.parse(text('run', 'live-tokens.json')))).toEqual(['birdnet']);
  expect(text('run', 'live-tokens.json')).not.toContain(token);
  expect(existsSync(at('run', 'services', 'plain'))).toBe(false);
  expect(statSync(at('services', 'birdnet', 'data')).isDirectory()).toBe(true);
});

test('tokens differ from each other, stay as they are across a reboot, and end with their service', async () => {
  const other = { ...birdnet, name: 'other' };
  await folders.tellAll([birdnet, other]);
  const token = tokenOf('birdnet');
  expect(tokenOf('other')).not.toBe(token);
  // The run path lies in memory.
  rmSync(at('run'), { recursive: true });
  make();
  await folders.tellAll([birdnet]);
  expect(tokenOf('birdnet')).toBe(token);
  expect([letIn(token), statSync(at('controller', 'live-secret')).mode & 0o777]).toEqual(['birdnet', 0o600]);
  await folders.tellAll([]);
  expect(letIn(token)).toBeNull();
});

test('unchanged it is not written again; changed it is replaced as a whole; prepared anew it is there again', async () => {
  await folders.tellAll([birdnet]);
  const file = at('run', 'services', 'birdnet', 'microphones.json');
  const before = statSync(file).ino;
  await folders.tellAll([birdnet]);
  expect(statSync(file).ino).toBe(before);
  await folders.tellAll([{ ...birdnet, microphones: { ...microphones, microphones: [] } }]);
  expect(JSON.parse(readFileSync(file, 'utf8')).microphones).toEqual([]);
  writeFileSync(at('run', 'services', 'birdnet', 'status.json'), 'of an earlier container');
  await Promise.all([folders.prepare(birdnet), folders.tellAll([birdnet])]);
  expect(readdirSync(at('run', 'services', 'birdnet')).sort()).toEqual(['live-token', 'live.m3u', 'microphones.json']);
});

test('links that a service plants in its run folder lead nobody out of it', async () => {
  await folders.prepare(birdnet);
  writeFileSync(at('precious'), 'precious');
  for (const name of ['microphones.json', 'live-token', 'live.m3u', 'microphones.json.new']) {
    rmSync(at('run', 'services', 'birdnet', name), { force: true });
    symlinkSync(at('precious'), at('run', 'services', 'birdnet', name));
  }
  make();
  await folders.tellAll([birdnet]);
  expect(text('precious')).toBe('precious');
  expect(JSON.parse(text('run', 'services', 'birdnet', 'microphones.json'))).toEqual(microphones);
});

test('a secret: missing, its owner’s alone, open to others, replaced, or no file at all', async () => {
  const look = async () => (await folders.readSecrets('rclone', ['rclone.conf']))['rclone.conf'];
  expect(await look()).toBeNull();
  mkdirSync(at('secrets', 'rclone'), { recursive: true });
  const file = at('secrets', 'rclone', 'rclone.conf');
  writeFileSync(file, 'one', { mode: 0o600 });
  const first = await look();
  expect(first).toMatch(/^\d+-3-\d+$/);
  expect(await look()).toBe(first);
  chmodSync(file, 0o640);
  expect(await look()).toBe('open');
  rmSync(file);
  writeFileSync(file, 'longer', { mode: 0o600 });
  expect(await look()).not.toBe(first);
  rmSync(file);
  symlinkSync('/etc/shadow', file);
  expect(await look()).toBeNull();
});
