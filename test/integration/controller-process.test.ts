/** The controller as a process: how it ends, how the next one takes over, and that no recorder notices. */
import { readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { controllerVariables } from '../../services/controller/config.ts';
import { WATCHDOG_EXIT_CODE } from '../../services/controller/watchdog.ts';
import { BAD_CONFIG_EXIT_CODE } from '../../services/shared/surroundings.ts';
import { type DerivedImages, derivedImages } from './derived-images.ts';
import { framesOf, recordedFiles } from './recorder-process.ts';
import {
  containerOf,
  containersOf,
  health,
  lives,
  rowOf,
  untilAll,
  untilReplaced,
  untilTold,
  virtualId,
  virtualIds,
} from './station-devices.ts';
import { stationEngine } from './station-engine.ts';
import { createTestStation, type RunningController, type TestStation } from './test-station.ts';

const TWO = virtualIds(2);
const FIRST = virtualId(1);
const SECOND = virtualId(2);

let station: TestStation;
let images: DerivedImages;
/** The one that works at the moment. */
let controller: RunningController;

beforeAll(async () => {
  images = derivedImages(stationEngine());
  await images.build([]);
  station = await createTestStation({
    firstCard: 50,
    environment: {
      SILVASONIC_VIRTUAL_MICROPHONES: '2',
      SILVASONIC_RECONCILE_INTERVAL_S: '1',
      SILVASONIC_RECORDER_IMAGE: images.reference,
    },
  });
  controller = await station.start();
  await untilAll(station, 'recording', TWO);
});

afterAll(async () => {
  await station?.remove();
  await images?.remove();
});

/** Starts the next controller and waits until it has looked at everything. */
async function startNext(environment: Record<string, string> = {}): Promise<void> {
  controller = await station.start(environment);
  await untilWorking(controller);
}

async function untilWorking(one: RunningController): Promise<void> {
  await station.until('the controller works with all it needs', async () => {
    const { code, body } = await health(one);
    const away = body.dependencies?.filter(({ state }) => state === 'down').map(({ name }) => name) ?? ['nothing told'];
    return (code === 200 && away.length === 0) || Promise.reject(new Error(`${code}, without ${away.join(', ')}`));
  });
}

/** Off and on again: it is obeyed. */
async function expectObedience(id: string): Promise<void> {
  await station.update(id, { enabled: false });
  await untilTold(station, id, { phase: 'disabled' });
  expect(await containersOf(station, id)).toEqual([]);
  await station.update(id, { enabled: true });
  await untilTold(station, id, { phase: 'recording' });
}

describe('the next controller adopts what runs', () => {
  test.each<[NodeJS.Signals, number | string]>([
    ['SIGKILL', 'SIGKILL'],
    ['SIGTERM', 0],
  ])('after %s', async (signal, ending) => {
    const before = lives(await station.containers());
    expect(before).toHaveLength(2);
    expect(await controller.kill(signal)).toBe(ending);
    expect(lives(await station.containers())).toEqual(before);
    await startNext();
    const first = lives([await containerOf(station, FIRST)]);
    await expectObedience(SECOND);
    expect(lives([await containerOf(station, FIRST)])).toEqual(first);
    expect(before).toEqual(expect.arrayContaining(first));
  });

  test('after the watchdog has ended one whose loop stood still', async () => {
    const order = join(station.packageFolder, 'stand-still');
    const preload = join(station.packageFolder, 'stand-still.mjs');
    writeFileSync(
      preload,
      `import { existsSync } from 'node:fs';
       import { isMainThread } from 'node:worker_threads';
       const standStill = () => { while (existsSync(${JSON.stringify(order)})); };
       if (isMainThread) setInterval(standStill, 50).unref();`,
    );
    expect(await controller.kill('SIGINT')).toBe(0);
    await startNext({ NODE_OPTIONS: `--import ${pathToFileURL(preload)}` });
    await untilAll(station, 'recording', TWO);
    const before = lives(await station.containers());
    writeFileSync(order, '');
    expect(await controller.ended).toBe(WATCHDOG_EXIT_CODE);
    rmSync(order);
    expect(controller.log.map(({ msg }) => msg)).toContainEqual(
      expect.stringMatching(/no cycle has finished for 10 s/),
    );
    expect(lives(await station.containers())).toEqual(before);
    await startNext();
    expect(lives(await station.containers())).toEqual(before);
  });
});

test('a second controller of the same station waits, says for whom, and takes over when that one is killed', async () => {
  const before = lives(await station.containers());
  const second = await station.start();
  const waiting = await station.until('the second says that it waits', () =>
    second.log.find(({ msg }) => String(msg).includes('Another controller works for this station')),
  );
  expect(waiting.msg).toContain(`process ${controller.process.pid}`);
  await expect(health(second)).rejects.toThrow();
  await expectObedience(SECOND);
  const first = lives([await containerOf(station, FIRST)]);
  expect(before).toEqual(expect.arrayContaining(first));

  await controller.kill('SIGKILL');
  controller = second;
  await untilWorking(second);
  expect(lives([await containerOf(station, FIRST)])).toEqual(first);
  await expectObedience(SECOND);
});

test('a new release leaves what runs alone and says that it waits; one restart takes it, and no other', async () => {
  const old = await Promise.all(TWO.map((id) => containerOf(station, id)));
  const oldId = await images.idOf(images.reference);
  await controller.kill('SIGTERM');
  const newId = await images.build(['LABEL release=new']);
  expect(newId).not.toBe(oldId);
  await startNext();
  for (const id of TWO) {
    const row = await untilTold(station, id, { phase: 'recording', reason: 'UpdateWaiting' });
    expect(row.message).toContain('update');
  }
  expect(lives(await station.containers())).toEqual(lives(old));

  const [, oldSecond] = old;
  if (oldSecond === undefined) throw new Error('there were two');
  await station.update(SECOND, { restart_token: 'apply now' });
  const second = await untilReplaced(station, SECOND, oldSecond);
  expect(`sha256:${second.Image.replace('sha256:', '')}`).toBe(newId);
  await untilTold(station, SECOND, { reason: 'Recording' });
  expect((await rowOf(station, FIRST))?.reason).toBe('UpdateWaiting');
  expect(lives([await containerOf(station, FIRST)])).toEqual(lives(old.slice(0, 1)));
});

test('/healthy, and nothing else', async () => {
  const ask = (method: string, path: string): Promise<{ status: number | undefined; text: string }> =>
    new Promise((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port: controller.healthPort, method, path, timeout: 5000 });
      asked.on('timeout', () => asked.destroy(new Error('no answer within 5 s')));
      asked.on('error', reject).on('response', async (response) => {
        const chunks = await response.setEncoding('utf8').toArray();
        resolve({ status: response.statusCode, text: chunks.join('') });
      });
      asked.end();
    });
  const { status, text } = await ask('GET', '/healthy');
  expect(status).toBe(200);
  expect(JSON.parse(text)).toMatchObject({ service: 'controller', status: 'ok' });
  const others = ['/', '/health', '/healthy/', '/healthz', '/metrics', '/devices', '/..%2fhealthy'];
  for (const path of others) expect([path, await ask('GET', path)]).toEqual([path, { status: 404, text: '' }]);
  for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])
    expect([method, await ask(method, '/healthy')]).toEqual([method, { status: 404, text: '' }]);
  expect(listeningPorts(controller.process.pid ?? 0)).toEqual([controller.healthPort]);
});

/** TCP ports that a process listens on: its sockets by inode, and the kernel's list of those that listen. */
function listeningPorts(pid: number): number[] {
  const listening = '0A';
  const files = readdirSync(`/proc/${pid}/fd`).map((fd) => targetOf(`/proc/${pid}/fd/${fd}`));
  return ['tcp', 'tcp6'].flatMap((kind) =>
    readFileSync(`/proc/${pid}/net/${kind}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => columns[3] === listening && files.includes(`socket:[${columns[9]}]`))
      .map((columns) => Number.parseInt(columns[1]?.split(':')[1] ?? '', 16)),
  );
}

/** Where a link leads; nowhere when it has just been closed. */
function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

test('without the file that holds the password for Redis it works all the same, and says what it lacks', async () => {
  await controller.kill('SIGTERM');
  const missing = join(station.packageFolder, 'no-password');
  controller = await station.start({ SILVASONIC_REDIS_PASSWORD_FILE: missing });
  await expectObedience(SECOND);
  const { code, body } = await health(controller);
  expect([code, body.status]).toEqual([200, 'degraded']);
  expect(body.dependencies).toContainEqual(
    expect.objectContaining({ name: 'redis', state: 'down', message: expect.stringContaining(missing) }),
  );
});

test('SILVASONIC_ON_SHUTDOWN=stop: nothing runs afterwards, and the last files are whole', async () => {
  await controller.kill('SIGTERM');
  await startNext({ SILVASONIC_ON_SHUTDOWN: 'stop' });
  await untilAll(station, 'recording', TWO);
  const workspaces = (await station.devices()).map(({ workspace }) => join(station.workspace, 'recorder', workspace));
  const finished = await Promise.all(workspaces.map(recordedFiles));
  expect(await controller.kill('SIGTERM')).toBe(0);
  expect(await station.containers()).toEqual([]);
  for (const [index, workspace] of workspaces.entries()) {
    const files = await recordedFiles(workspace);
    expect(files.length).toBeGreaterThan(finished[index]?.length ?? 0);
    for (const file of files) {
      expect(framesOf(file)).toBeGreaterThan(0);
      expect(file.samples.length - file.declaredBytes).toBe(file.declaredBytes % 2);
    }
    expect(readdirSync(join(workspace, '.buffer'))).toEqual([]);
  }
});

test('every variable given wrongly: all are told, one line each, and it ends with 78', async () => {
  const wrong: Record<keyof typeof controllerVariables, string> = {
    SILVASONIC_CONTROLLER_PORT: '65536',
    SILVASONIC_WEB_PORT: 'eighty',
    SILVASONIC_REDIS_PASSWORD_FILE: 'redis.txt',
    SILVASONIC_PAGE_PASSWORD_FILE: './page',
    SILVASONIC_CONTROLLER_BIND: 'localhost',
    CONTAINER_SOCKET: 'podman.sock',
    SILVASONIC_PODMAN_SOCKET: 'unix:///run/podman.sock',
    SILVASONIC_NETWORK: 'host',
    POSTGRES_HOST: 'my database',
    POSTGRES_PORT: 'five',
    POSTGRES_USER: 'silva;sonic',
    POSTGRES_PASSWORD: 'not to be shown\nanywhere',
    POSTGRES_PASSWORD_FILE: 'password.txt',
    POSTGRES_DB: 'silva/sonic',
    SILVASONIC_REDIS_URL: 'http://not-to-be-shown@redis',
    SILVASONIC_RECORDER_IMAGE: 'silvasonic-recorder',
    SILVASONIC_WORKSPACE_PATH: 'recordings',
    SILVASONIC_RUN_PATH: '/run/../etc',
    SILVASONIC_RECONCILE_INTERVAL_S: '0',
    SILVASONIC_USB_POLL_MS: '2.5',
    SILVASONIC_OFFLINE_GRACE_S: '-3',
    SILVASONIC_STALL_TIMEOUT_S: '2',
    SILVASONIC_RECORDER_MEMORY_LIMIT: '512mb',
    SILVASONIC_RECORDER_CPU_LIMIT: '0',
    SILVASONIC_VIRTUAL_MICROPHONES: 'many',
    SILVASONIC_ON_SHUTDOWN: 'restart',
    LOG_LEVEL: 'loud',
  };
  const refused = await station.start(wrong);
  expect(await refused.ended).toBe(BAD_CONFIG_EXIT_CODE);
  const lines = refused.log.map(({ msg }) => String(msg));
  for (const [name, { allowed }] of Object.entries(controllerVariables)) {
    const given = Object.entries(wrong).find(([variable]) => variable === name)?.[1] ?? '';
    const shown = /not.to.be.shown/.test(given) ? 'a value that is not shown here' : JSON.stringify(given);
    expect(lines.filter((line) => line.startsWith(`${name}: ${shown} was given; allowed: ${allowed}`))).toHaveLength(1);
  }
  // The two that exclude each other are told besides.
  expect(lines).toHaveLength(Object.keys(wrong).length + 1);
  expect(lines.join('\n')).not.toMatch(/not.to.be.shown/);
});
