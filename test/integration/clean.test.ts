import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { acquireLock } from '../../services/controller/lock.ts';
import { runProgram } from '../../services/station/run-program.ts';
import { TEST_IMAGE, type TestEngine, testEngine } from './engine.ts';

const SCRIPT = resolve(import.meta.dirname, '../../services/station/bootstrap.cjs');
let engine: TestEngine;
let folder = '';
const at = (path: string) => join(folder, path);

beforeAll(async () => {
  engine = await testEngine();
});
afterAll(() => engine.stop());

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-clean-'));
  for (const file of ['data/postgres/PG_VERSION', 'data/install.log', 'data/recorder/m/a.wav', 'cache/silvasonic/x']) {
    mkdirSync(dirname(at(file)), { recursive: true });
    writeFileSync(at(file), '');
  }
  mkdirSync(at('elsewhere'));
  await container('ours', at('data/recorder/m'));
  await container('foreign', at('elsewhere'));
});
afterEach(async () => {
  await engine.podman('rm', '--all', '--force', '--time', '0');
  rmSync(folder, { recursive: true, force: true });
});

/** A recorder as the controller makes it, as far as clean looks at it. */
function container(name: string, mounted: string): Promise<string> {
  const label = 'io.silvasonic.owner=controller';
  const rest = ['--network', 'none', '--volume', `${mounted}:/app`, '--env', 'TEST_SCRIPT=sleep 600', TEST_IMAGE];
  return engine.podman('run', '--detach', '--name', name, '--label', label, ...rest);
}

function clean(...switches: string[]) {
  const own = { SILVASONIC_WORKSPACE_PATH: at('data'), XDG_CACHE_HOME: at('cache') };
  const env = { ...process.env, ...engine.environment, ...own };
  return runProgram(process.execPath, [SCRIPT, 'clean', ...switches], { env, timeoutMs: 60_000 });
}
const containers = async () => (await engine.podman('ps', '--all', '--format', '{{.Names}}')).split('\n').sort();

it('lists what it would remove and removes nothing where it cannot ask', async () => {
  const result = await clean();
  expect(result.code).toBe(1);
  expect(result.stderr).toContain('--yes');
  for (const part of ['ours', at('data/postgres'), at('cache/silvasonic'), TEST_IMAGE]) {
    expect(result.stdout).toContain(part);
  }
  expect(result.stdout).not.toContain('foreign');
  expect(await containers()).toEqual(['foreign', 'ours']);
  expect(existsSync(at('data/postgres/PG_VERSION'))).toBe(true);
});

it("removes this station's containers and folders; recordings and another station's container stay", async () => {
  const result = await clean('--yes');
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(result.stdout).toContain(`Recordings stay: ${at('data/recorder')}`);
  // Its image is in use by the other one.
  expect(result.stdout).toContain(`Kept ${TEST_IMAGE}`);
  expect(await containers()).toEqual(['foreign']);
  expect(existsSync(at('data/recorder/m/a.wav'))).toBe(true);
  expect(existsSync(at('data/postgres'))).toBe(false);
  expect(existsSync(at('cache/silvasonic'))).toBe(false);
});

it('removes recordings only when they are named', async () => {
  const result = await clean('--yes', '--recordings');
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(result.stdout).toContain('Recordings, for ever');
  expect(existsSync(at('data'))).toBe(false);
});

it('refuses while the station runs', async () => {
  const lock = await acquireLock(at('data/station.lock'));
  if (lock.kind !== 'held') throw new Error('The lock of a folder made by this test is taken.');
  const result = await clean('--yes');
  await lock.release();
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/^A station already works in/);
  expect(existsSync(at('data/postgres/PG_VERSION'))).toBe(true);
  expect(await containers()).toEqual(['foreign', 'ours']);
});
