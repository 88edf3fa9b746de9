/** Images fetched from a real registry of the tests' own: with progress, again after it was away, given up when unwanted. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { createImagePulls } from '../../services/controller/image-pulls.ts';
import { createPodman } from '../../services/controller/podman.ts';
import type { Engine } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { silentLog, type TestEngine, testEngine } from './engine.ts';
import { createRegistry, type Registry } from './registry.ts';
import { makeStandIn } from './stand-in-image.ts';

const PATIENCE = { timeout: 60_000, interval: 50 };
const BALLAST_BYTES = 8 * 1024 * 1024;

let registry: Registry;
let engine: TestEngine;
let podman: Engine;
let folder: string;
let reference: string;

beforeAll(async () => {
  registry = await createRegistry();
  Object.assign(process.env, registry.configuration);
  engine = await testEngine();
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-saved-'));
  const local = 'localhost/ballast:1';
  await makeStandIn(engine, local, { programs: ['sh'], scripts: {}, ballastBytes: BALLAST_BYTES });
  await engine.podman('save', '--format', 'oci-dir', '--output', join(folder, 'image'), local);
  await engine.podman('rmi', local);
  registry.add('wood/ballast', '1', join(folder, 'image'));
  reference = `${registry.host}/wood/ballast:1`;
  podman = createPodman({ socketPath: engine.socketPath, clock: createClock(), log: silentLog });
});

afterAll(async () => {
  await podman.stop();
  await engine.stop();
  await registry.remove();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  registry.slow = null;
  await engine.podman('rmi', '--ignore', '--force', reference);
});

const idOf = async (): Promise<string | null> => {
  const images = await podman.images([reference]);
  if (!images.ok) throw new Error(images.error);
  return images.value[reference] ?? null;
};

test('an image comes, and how far it is stands in words that only grow', async () => {
  registry.slow = { bytes: 128 * 1024, pauseMs: 40 };
  const steps: [number, number][] = [];
  const outcome = await podman.pull(
    reference,
    (done, total) => steps.push([done, total]),
    new AbortController().signal,
  );
  expect(outcome.kind).toBe('done');
  expect(await idOf()).toMatch(/^sha256:/);
  const between = steps.filter(([done, total]) => done > 0 && done < total);
  expect(between.length).toBeGreaterThan(0);
  expect(steps.at(-1)?.[1]).toBeGreaterThan(BALLAST_BYTES);
  expect(steps.map(([done]) => done)).toEqual(steps.map(([done]) => done).sort((a, b) => a - b));
});

test('what is not there, and a registry that is away, are told in a sentence', async () => {
  const nothing = await podman.pull(`${registry.host}/wood/nothing:1`, () => {}, new AbortController().signal);
  expect(nothing).toMatchObject({ kind: 'failed', reason: 'PullFailed' });
  expect(nothing.kind === 'failed' ? nothing.message : '').toMatch(
    /wood\/nothing:1 cannot be fetched: .*(unknown|not found)/i,
  );
  await registry.stop();
  try {
    const away = await podman.pull(reference, () => {}, new AbortController().signal);
    expect(away.kind === 'failed' ? away.message : '').toMatch(/cannot be fetched: .*refused/);
  } finally {
    await registry.start();
  }
});

test('one that is not wanted any more is given up, and wanted again it comes', async () => {
  registry.slow = { bytes: 16 * 1024, pauseMs: 50 };
  const giveUp = new AbortController();
  const pulling = podman.pull(reference, () => {}, giveUp.signal);
  await vi.waitFor(() => expect(registry.requests.some((path) => path.includes('/blobs/'))).toBe(true), PATIENCE);
  giveUp.abort();
  expect((await pulling).kind).toBe('failed');
  expect(await idOf()).toBeNull();
  registry.slow = null;
  expect((await podman.pull(reference, () => {}, new AbortController().signal)).kind).toBe('done');
});

test('in the background: told in words, tried again by itself while the registry is away, done once', async () => {
  await registry.stop();
  let done = 0;
  const pulls = createImagePulls({
    clock: createClock(),
    engine: podman,
    log: silentLog,
    onChange: (isDone) => {
      done += isDone ? 1 : 0;
    },
  });
  try {
    pulls.want([reference, 'localhost/built-here:1']);
    await vi.waitFor(() => expect(pulls.states().get(reference)?.kind).toBe('waiting'), PATIENCE);
    expect(pulls.states().get(reference)?.message).toMatch(/cannot be fetched: .* It is tried again by itself\.$/);
    expect([...pulls.states().keys()]).toEqual([reference]);
    registry.slow = { bytes: 64 * 1024, pauseMs: 60 };
    await registry.start();
    await vi.waitFor(
      () => expect(pulls.states().get(reference)?.message).toMatch(/pulling \d+ % of \d+ MB\.$/),
      PATIENCE,
    );
    registry.slow = null;
    await vi.waitFor(() => expect(done).toBe(1), PATIENCE);
    expect(await idOf()).toMatch(/^sha256:/);
    // Whoever wanted it looks for it now, and then wants it no more.
    expect(pulls.states().get(reference)?.message).toMatch(/has been fetched; it is looked for\.$/);
    pulls.want(['localhost/built-here:1']);
    expect(pulls.states().size).toBe(0);
  } finally {
    pulls.stop();
  }
});
