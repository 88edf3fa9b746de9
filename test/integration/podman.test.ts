/** The engine port on a real Podman: what is created, what is told of refusals, what is never touched. */

import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { createPodman } from '../../services/controller/podman.ts';
import type { ActionOutcome, ContainerSpec, Engine, ObservedContainer } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { LABEL, OWNER } from '../../services/shared/contract.ts';
import { OBEDIENT, type SpecChanges, STUBBORN, testSpec } from './container-spec.ts';
import { silentLog, TEST_IMAGE, type TestEngine, testEngine } from './engine.ts';

let host: TestEngine;
let podman: Engine;
const stationId = randomUUID();
const spec = (changes: SpecChanges = {}): ContainerSpec => testSpec(stationId, changes);

beforeAll(async () => {
  host = await testEngine();
  podman = createPodman({ socketPath: host.socketPath, clock: createClock(), log: silentLog });
});
afterEach(async () => {
  await host.podman('rm', '--all', '--force', '--time', '0');
});
afterAll(async () => {
  await podman?.stop();
  await host?.stop();
});

async function containers(station = stationId): Promise<ObservedContainer[]> {
  const reading = await podman.list(station);
  if (!reading.ok) throw new Error(reading.error);
  return reading.value;
}

/** Id of what was started, or an error that shows what came instead. */
function started(outcome: ActionOutcome): string {
  if (outcome.kind !== 'done' || outcome.containerId === null) throw new Error(JSON.stringify(outcome));
  return outcome.containerId;
}

const names = async (): Promise<string[]> =>
  (await host.podman('ps', '--all', '--format', '{{.Names}}'))
    .split('\n')
    .filter((name) => name !== '')
    .sort();

/** What the one program of a container said before it ended. */
async function words(name: string): Promise<string> {
  await host.podman('wait', name);
  return await host.podman('logs', name);
}

async function inspect(name: string, format: string): Promise<unknown> {
  return JSON.parse(await host.podman('inspect', '--format', `{{json ${format}}}`, name));
}

describe('a container is made as its spec says', () => {
  test('limits, labels, environment, confinement', async () => {
    const wanted = spec({
      env: { TEST_SCRIPT: OBEDIENT, GREETING: 'grüß dich = "Eule"' },
      limits: { memoryBytes: 48 * 1024 * 1024, cpus: 0.25, pids: 17, oomScoreAdj: 321, logBytes: 2_000_000 },
      stopTimeoutS: 7,
    });
    const id = started(await podman.run(wanted));
    expect(await inspect(id, '.HostConfig')).toMatchObject({
      NetworkMode: 'none',
      Memory: 48 * 1024 * 1024,
      NanoCpus: 250_000_000,
      PidsLimit: 17,
      OomScoreAdj: 321,
      ReadonlyRootfs: true,
      CapAdd: [],
      SecurityOpt: expect.arrayContaining(['no-new-privileges']),
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'k8s-file', Size: '2MB' },
    });
    expect(await inspect(id, '.EffectiveCaps')).toBeNull();
    expect(await inspect(id, '.Config.StopTimeout')).toBe(7);
    expect(await inspect(id, '.Config.Env')).toContain('GREETING=grüß dich = "Eule"');
    expect((await containers())[0]).toMatchObject({ id, name: wanted.name, state: 'live', labels: wanted.labels });
  });

  test('the limits hold in the kernel', async () => {
    const script =
      'exec 2>&1; cat /proc/self/oom_score_adj /proc/self/cgroup; cat /proc/self/status; touch /here; touch /tmp/there && ls /tmp';
    const { name } = wanted(
      await podman.run(spec({ name: 'limited', script, limits: { oomScoreAdj: 77 } })),
      'limited',
    );
    const said = await words(name);
    expect(said).toMatch(/^77$/m);
    expect(said).toMatch(/^CapEff:\s*0+$/m);
    expect(said).toMatch(/^NoNewPrivs:\s*1$/m);
    expect(said).toMatch(/Read-only file system/);
    expect(said).toMatch(/^there$/m);
    const id = started(await podman.run(spec({ name: 'sized', limits: { memoryBytes: 40 * 1024 * 1024, pids: 9 } })));
    expect(cgroupFile(id, 'memory', ['memory.limit_in_bytes', 'memory.max'])).toBe(String(40 * 1024 * 1024));
    expect(cgroupFile(id, 'pids', ['pids.max', 'pids.max'])).toBe('9');
  });

  test('folders and a device node of the host', async () => {
    const folder = join(host.folder, 'bound');
    mkdirSync(folder, { recursive: true });
    const node = '/dev/silvasonic-test-null';
    spawnSync('mknod', [node, 'c', '1', '3']);
    try {
      const outcome = await podman.run(
        spec({
          name: 'bound',
          script: `exec 2>&1; ls -l ${node}; echo x > ${node} && echo written; touch /writable/new; touch /readable/new`,
          devices: [{ path: node, major: 1, minor: 3 }],
          binds: [
            { source: folder, target: '/writable', readOnly: false },
            { source: folder, target: '/readable', readOnly: true },
          ],
        }),
      );
      const said = await words(wanted(outcome, 'bound').name);
      expect(said).toMatch(/^crw.* 1, *3 .*silvasonic-test-null$/m);
      expect(said).toMatch(/^written$/m);
      expect(said).toMatch(/\/readable\/new.*Read-only/);
      expect(existsSync(join(folder, 'new'))).toBe(true);
    } finally {
      rmSync(node, { force: true });
    }
  });
});

describe('what the host refuses costs no container', () => {
  test('a negative OOM score: it runs without, and says what would help', async () => {
    const outcome = await podman.run(spec({ limits: { oomScoreAdj: -999 } }));
    const id = started(outcome);
    const score = Number(readFileSync(`/proc/${await inspect(id, '.State.Pid')}/oom_score_adj`, 'utf8'));
    const refused = outcome.kind === 'done' ? outcome.refusedLimits : [];
    if (mayLowerScores()) {
      expect([score, refused]).toEqual([-999, []]);
    } else {
      expect(score).toBe(0);
      expect(refused).toEqual([
        { reason: 'OomScoreRefused', message: expect.stringMatching(/0 instead of -999.*CAP_SYS_RESOURCE/) },
      ]);
    }
    expect(await names()).toHaveLength(1);
  });

  test('the next container is told of it again', async () => {
    const first = await podman.run(spec({ limits: { oomScoreAdj: -999 } }));
    const second = await podman.run(spec({ limits: { oomScoreAdj: -999 } }));
    expect(started(second)).not.toBe(started(first));
    if (first.kind === 'done' && second.kind === 'done') expect(second.refusedLimits).toEqual(first.refusedLimits);
  });

  test('a memory limit below what is needed to start: it runs without, and the next one keeps its own', async () => {
    const outcome = await podman.run(spec({ limits: { memoryBytes: 1024 * 1024 } }));
    started(outcome);
    expect(outcome).toMatchObject({ refusedLimits: [{ reason: 'MemoryLimitRefused' }] });
    const next = await podman.run(spec());
    expect(await inspect(started(next), '.HostConfig.Memory')).toBe(64 * 1024 * 1024);
    expect(next).toMatchObject({ refusedLimits: [] });
  });
});

describe('what is not ours', () => {
  test('is never listed', async () => {
    const other = randomUUID();
    await host.podman(
      'run',
      '--detach',
      '--network',
      'none',
      '--env',
      `TEST_SCRIPT=${OBEDIENT}`,
      '--name',
      'foreign',
      TEST_IMAGE,
    );
    const theirs = testSpec(other);
    started(await podman.run(theirs));
    const ours = spec();
    started(await podman.run(ours));
    expect((await containers()).map(({ name }) => name)).toEqual([ours.name]);
    expect((await containers(other)).map(({ name }) => name)).toEqual([theirs.name]);
    expect(await names()).toHaveLength(3);
  });

  test('holds our name: blocked, and left alone', async () => {
    await host.podman(
      'run',
      '--detach',
      '--network',
      'none',
      '--env',
      `TEST_SCRIPT=${OBEDIENT}`,
      '--name',
      'wanted',
      TEST_IMAGE,
    );
    const outcome = await podman.run(spec({ name: 'wanted' }));
    expect(outcome).toMatchObject({ kind: 'blocked', reason: 'NameTaken', message: expect.stringMatching(/wanted/) });
    const theirs = testSpec(randomUUID(), { name: 'elsewhere' });
    started(await podman.run(theirs));
    expect(await podman.run(spec({ name: 'elsewhere' }))).toMatchObject({ kind: 'blocked', reason: 'NameTaken' });
    expect(await names()).toEqual(['elsewhere', 'wanted']);
    expect(await inspect('wanted', '.State.Running')).toBe(true);
  });

  test('our own name twice means look again', async () => {
    const id = started(await podman.run(spec({ name: 'twice' })));
    expect(await podman.run(spec({ name: 'twice' }))).toMatchObject({ kind: 'lookAgain' });
    expect((await containers()).map((container) => container.id)).toEqual([id]);
  });
});

describe('what cannot be started leaves nothing behind and says what to do', () => {
  test.each<[string, SpecChanges, Partial<Record<string, unknown>>]>([
    [
      'no image',
      { image: 'localhost/silvasonic-missing:latest' },
      { kind: 'blocked', reason: 'ImageMissing', message: expect.stringMatching(/podman pull/) },
    ],
    [
      'no device',
      { devices: [{ path: '/dev/snd/pcmC99D0c', major: 116, minor: 99 }] },
      { kind: 'failed', reason: 'DeviceMissing', message: expect.stringMatching(/pcmC99D0c/) },
    ],
    [
      'no folder to be',
      { binds: [{ source: '/proc/silvasonic', target: '/app', readOnly: false }] },
      { kind: 'failed', reason: 'FolderUnreachable', message: expect.stringMatching(/\/proc\/silvasonic/) },
    ],
  ])('%s', async (_what, changes, expected) => {
    expect(await podman.run(spec(changes))).toMatchObject(expected);
    expect(await names()).toEqual([]);
  });
});

describe('a network that is not there', () => {
  test('is made for the first that needs it, marked as ours; the others join it', async () => {
    const outcomes = await Promise.all(
      ['first', 'second'].map((name) => podman.run(spec({ name, network: 'silvasonic-meadow' }))),
    );
    for (const outcome of outcomes) started(outcome);
    const [network] = JSON.parse(await host.podman('network', 'inspect', 'silvasonic-meadow'));
    expect(network).toMatchObject({ driver: 'bridge', internal: false, labels: { [LABEL.owner]: OWNER } });
    for (const name of ['first', 'second'])
      expect(Object.keys(Object(await inspect(name, '.NetworkSettings.Networks')))).toEqual(['silvasonic-meadow']);
  });

  test('and cannot be made: that is said', async () => {
    const outcome = await podman.run(spec({ network: 'wood/edge' }));
    expect(outcome).toMatchObject({ kind: 'failed', message: expect.stringMatching(/wood\/edge/) });
    expect(await names()).toEqual([]);
  });
});

describe('how one ended', () => {
  test('exit codes, by itself and by SIGKILL', async () => {
    started(await podman.run(spec({ name: 'eleven', script: 'exit 11' })));
    started(await podman.run(spec({ name: 'killed' })));
    await host.podman('kill', 'killed');
    await host.podman('wait', 'eleven', 'killed');
    const found = (await containers()).map(({ name, state, exitCode }) => ({ name, state, exitCode }));
    expect(found).toContainEqual({ name: 'eleven', state: 'ended', exitCode: 11 });
    expect(found).toContainEqual({ name: 'killed', state: 'ended', exitCode: 137 });
  });

  test('killed for its memory', async () => {
    const script = 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done';
    started(await podman.run(spec({ name: 'greedy', script, limits: { memoryBytes: 16 * 1024 * 1024 } })));
    await host.podman('wait', 'greedy');
    // Podman does not always notice on cgroups v1: told is what it says.
    const oomKilled = await inspect('greedy', '.State.OOMKilled');
    expect((await containers())[0]).toMatchObject({ state: 'ended', exitCode: 137, oomKilled });
  });
});

describe('removing', () => {
  const others: Engine[] = [];
  afterEach(async () => {
    for (const other of others.splice(0)) await other.stop();
  });
  /** It has to find out for itself how a container is to be ended. */
  function anotherController(): Engine {
    const other = createPodman({ socketPath: host.socketPath, clock: createClock(), log: silentLog });
    others.push(other);
    return other;
  }

  let made = 0;
  /** Runs, and leaves a file when it hears this signal. */
  async function listening(signal: string, image = TEST_IMAGE): Promise<{ id: string; folder: string }> {
    made += 1;
    const folder = join(host.folder, `last-words-${made}`);
    mkdirSync(folder, { recursive: true });
    const script = `trap "touch /there/heard; exit 0" ${signal}; touch /there/ready; while :; do sleep 0.05; done`;
    const binds = [{ source: folder, target: '/there', readOnly: false }];
    const id = started(await podman.run({ ...spec({ script, binds }), image }));
    await vi.waitFor(() => expect(existsSync(join(folder, 'ready'))).toBe(true), 10_000);
    return { id, folder };
  }

  test('one that obeys, one that has ended, one never started, one that is paused, one that is gone', async () => {
    const obedient = started(await podman.run(spec()));
    const ended = started(await podman.run(spec({ script: 'exit 3' })));
    await host.podman('wait', ended);
    const created = await host.podman('create', '--network', 'none', '--oom-score-adj', '0', TEST_IMAGE);
    const paused = started(await podman.run(spec()));
    await host.podman('pause', paused);
    for (const id of [obedient, ended, ended, created, paused, 'f'.repeat(64)])
      expect(await podman.remove(id, 5)).toEqual({ kind: 'done', containerId: null, refusedLimits: [] });
    expect(await names()).toEqual([]);
  });

  test.each([
    ['by whom it was started', () => podman],
    ['by a controller that never saw it', () => anotherController()],
  ])('a paused one hears its signal before it ends: %s', async (_name, remover) => {
    const { id, folder } = await listening('TERM');
    await host.podman('pause', id);
    expect(await remover().remove(id, 8)).toMatchObject({ kind: 'done' });
    expect(existsSync(join(folder, 'heard'))).toBe(true);
    expect(await names()).toEqual([]);
  });

  test('one whose image names another signal is sent that one', async () => {
    const image = 'localhost/ends-by-usr1:latest';
    const container = await host.podman('create', '--network', 'none', '--oom-score-adj', '0', TEST_IMAGE);
    await host.podman('commit', '--quiet', '--change', 'STOPSIGNAL SIGUSR1', container, image);
    await host.podman('rm', container);
    for (const remover of [podman, anotherController()]) {
      const { id, folder } = await listening('USR1', image);
      expect(await remover.remove(id, 8)).toMatchObject({ kind: 'done' });
      expect(existsSync(join(folder, 'heard'))).toBe(true);
    }
  });

  test('ten that ignore SIGTERM are stopped side by side and delay nobody', async () => {
    const order: string[] = [];
    const stubborn = await Promise.all(
      Array.from({ length: 10 }, () => podman.run(spec({ script: STUBBORN })).then(started)),
    );
    const obedient = started(await podman.run(spec()));
    const removals = stubborn.map((id) => podman.remove(id, 4).then((outcome) => order.push(outcome.kind)));
    // Begun after the removals; each would wait for them if anything were shared.
    for (const name of ['late-1', 'late-2']) {
      started(await podman.run(spec({ name })));
      order.push(name);
    }
    expect((await containers()).filter(({ state }) => state !== 'ended')).toHaveLength(13);
    order.push('listed');
    // More stops than Podman's own workers.
    expect(await podman.remove(obedient, 4)).toMatchObject({ kind: 'done' });
    order.push('obedient');
    await Promise.all(removals);
    expect(order).toEqual(['late-1', 'late-2', 'listed', 'obedient', ...stubborn.map(() => 'done')]);
    expect(await names()).toEqual(['late-1', 'late-2']);
  });
});

test('images by tag, and a second tag', async () => {
  const images = await podman.images([TEST_IMAGE, 'localhost/silvasonic-test:last-good']);
  const id = images.ok ? (images.value[TEST_IMAGE] ?? '') : '';
  expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(images).toMatchObject({ value: { 'localhost/silvasonic-test:last-good': null } });
  expect(await podman.tag(id, 'localhost/silvasonic-test:last-good')).toMatchObject({ kind: 'done' });
  expect(await podman.images(['localhost/silvasonic-test:last-good'])).toMatchObject({
    value: { 'localhost/silvasonic-test:last-good': id },
  });
  expect(await podman.tag(`sha256:${'0'.repeat(64)}`, 'localhost/silvasonic-test:none')).toMatchObject({
    kind: 'lookAgain',
  });
  started(await podman.run(spec({ name: 'of-image' })));
  expect((await containers())[0]?.imageId).toBe(id);
});

test('events of our containers, by name, and none of others', async () => {
  const heard: string[] = [];
  const listener = createPodman({ socketPath: host.socketPath, clock: createClock(), log: silentLog });
  try {
    listener.watch(stationId, (name) => heard.push(name));
    await vi.waitFor(() => expect(heard).toEqual(['']), 10_000);
    started(await podman.run(testSpec(randomUUID(), { name: 'theirs', script: 'exit 0' })));
    started(await podman.run(spec({ name: 'ours', script: 'exit 0' })));
    await vi.waitFor(() => expect(heard).toContain('ours'), 10_000);
    const before = heard.length;
    await host.podman('rm', '--force', 'theirs', 'ours');
    await vi.waitFor(() => expect(heard.length).toBeGreaterThan(before), 10_000);
    expect(new Set(heard)).toEqual(new Set(['', 'ours']));
    expect(listener.dependency()).toMatchObject({ name: 'engine', state: 'up' });
  } finally {
    await listener.stop();
  }
});

function wanted(outcome: ActionOutcome, name: string): { name: string } {
  started(outcome);
  return { name };
}

/** One file of a container's cgroup, in whichever way this host mounts them: [v1, v2]. */
function cgroupFile(id: string, controller: string, [v1 = '', v2 = '']: string[]): string {
  const found = spawnSync(
    'find',
    [
      '/sys/fs/cgroup',
      '-path',
      `*${id}*`,
      '(',
      '-path',
      `*/${controller}/*${id}*/${v1}`,
      '-o',
      '-path',
      `*${id}*/${v2}`,
      ')',
    ],
    { encoding: 'utf8' },
  );
  const paths = found.stdout.split('\n').filter((path) => path !== '');
  return readFileSync(paths[0] ?? `no cgroup of ${id}`, 'utf8').trim();
}

/** Whether a process of ours may have a lower OOM score than it has: CAP_SYS_RESOURCE. */
function mayLowerScores(): boolean {
  return spawnSync('sh', ['-c', 'echo -999 > /proc/self/oom_score_adj'], { stdio: 'ignore' }).status === 0;
}
