/** An engine of our own: started, ended, killed; what it leaves alone, and what outlives it. */

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createPodman } from '../../services/controller/podman.ts';
import type { Engine } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { findRunningEngine, startEngine } from '../../services/station/engine.ts';
import { testSpec } from './container-spec.ts';
import { processesOf, silentLog, type TestEngine, testEngine } from './engine.ts';

const PATIENCE = { timeout: 30_000, interval: 20 };
const stationId: string = randomUUID();

let host: TestEngine;
let podman: Engine;
let wakes = 0;

beforeAll(async () => {
  host = await testEngine();
  podman = createPodman({ socketPath: host.socketPath, clock: createClock(), log: silentLog });
  podman.watch(stationId, () => {
    wakes += 1;
  });
});
afterAll(async () => {
  await podman?.stop();
  await host?.stop();
});

const up = (): Promise<void> => vi.waitFor(() => expect(podman.dependency().state).toBe('up'), PATIENCE);

async function liveNames(): Promise<string[]> {
  const reading = await podman.list(stationId);
  if (!reading.ok) throw new Error(reading.error);
  return reading.value.filter(({ state }) => state === 'live').map(({ name }) => name);
}

test('ended and started again: containers run on, events come again, and one wake says to look', async () => {
  const spec = testSpec(stationId);
  expect(await podman.run(spec)).toMatchObject({ kind: 'done' });
  await up();
  await host.stopApi();
  expect(existsSync(host.socketPath)).toBe(false);
  expect(processesOf(`unix://${host.socketPath}`)).toEqual([]);
  expect(await podman.list(stationId)).toMatchObject({ ok: false });
  await vi.waitFor(() => expect(podman.dependency().state).toBe('down'), PATIENCE);
  const before = wakes;
  await host.startApi();
  await up();
  await vi.waitFor(() => expect(wakes).toBeGreaterThan(before), PATIENCE);
  expect(await liveNames()).toEqual([spec.name]);
  const afterReconnect = wakes;
  await host.podman('kill', spec.name);
  await vi.waitFor(() => expect(wakes).toBeGreaterThan(afterReconnect), PATIENCE);
  await host.podman('rm', '--force', spec.name);
});

test('killed: it is started again by itself', async () => {
  const spec = testSpec(stationId);
  expect(await podman.run(spec)).toMatchObject({ kind: 'done' });
  const killed = processesOf(`unix://${host.socketPath}`);
  expect(killed).toHaveLength(1);
  for (const pid of killed) process.kill(pid, 'SIGKILL');
  await vi.waitFor(async () => expect(await liveNames()).toEqual([spec.name]), PATIENCE);
  expect(processesOf(`unix://${host.socketPath}`)).not.toEqual(killed);
  await host.podman('rm', '--force', '--time', '0', spec.name);
});

test('a second one on the same socket is refused', async () => {
  await expect(
    startEngine({ folder: join(host.folder, 'second'), socketPath: host.socketPath, log: silentLog }),
  ).rejects.toThrow(/already answers/);
});

test('what cannot be started says what Podman said, and leaves no process', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-no-engine-'));
  try {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const socketPath = join(folder, 'run', 'podman.sock');
    await expect(
      startEngine({ folder, socketPath, root: join(file, 'root'), runRoot: join(folder, 'runroot'), log: silentLog }),
    ).rejects.toThrow(/Podman said ".*not a directory/);
    expect(processesOf(socketPath)).toEqual([]);
    await expect(startEngine({ folder, socketPath, root: folder, log: silentLog })).rejects.toThrow(/root and runRoot/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('an engine that answers already is found', async () => {
  const before = process.env.XDG_RUNTIME_DIR;
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-runtime-'));
  mkdirSync(join(folder, 'podman'));
  const socketPath = join(folder, 'podman', 'podman.sock');
  const { root, runRoot } = { root: join(folder, 'root'), runRoot: join(folder, 'runroot') };
  process.env.XDG_RUNTIME_DIR = folder;
  // The system's own comes first where it runs.
  const system = await findRunningEngine();
  const engine = await startEngine({ folder, socketPath, root, runRoot, log: silentLog });
  try {
    expect(await findRunningEngine()).toBe(system ?? socketPath);
  } finally {
    await engine.stop();
    expect(await findRunningEngine()).toBe(system);
    if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
    else process.env.XDG_RUNTIME_DIR = before;
    await engine.podman(['system', 'reset', '--force']);
    rmSync(folder, { recursive: true, force: true });
  }
});

test('an API whose limits are above what this host gives: containers get modest ones', async () => {
  const conf = join(host.folder, 'foreign.conf');
  const ours = host.environment.CONTAINERS_CONF ?? host.environment.CONTAINERS_CONF_OVERRIDE;
  const text = ours === undefined ? '' : readFileSync(ours, 'utf8');
  const raised = 'default_ulimits = ["nofile=1048576:1048576", "nproc=1048576:1048576"]';
  writeFileSync(conf, text.replace(/^default_ulimits.*$/m, raised));
  const socketPath = join(host.folder, 'run', 'foreign.sock');
  const api = spawn('podman', ['system', 'service', '--time=0', `unix://${socketPath}`], {
    env: { ...process.env, ...host.environment, CONTAINERS_CONF: conf, CONTAINERS_CONF_OVERRIDE: conf },
    stdio: 'ignore',
  });
  const foreign = createPodman({ socketPath, clock: createClock(), log: silentLog });
  try {
    await vi.waitFor(async () => expect(await foreign.list(stationId)).toMatchObject({ ok: true }), PATIENCE);
    const first = testSpec(stationId);
    const second = testSpec(stationId);
    for (const spec of [first, second]) {
      expect(await foreign.run(spec)).toMatchObject({ kind: 'done', refusedLimits: [] });
    }
    expect((await liveNames()).sort()).toEqual([first.name, second.name].sort());
  } finally {
    await foreign.stop();
    api.kill('SIGTERM');
    await host.podman('rm', '--all', '--force', '--time', '0');
  }
});
