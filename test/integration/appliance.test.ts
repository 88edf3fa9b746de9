/**
 * The unchanged compose.yml, brought up on a real engine: recording after `up -d` and nothing else, the page, what ends
 * each part, a reboot, updates, and the command that stops everything. One scenario: each test goes on where the last one ended.
 */
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Appliance, createAppliance, until } from './appliance.ts';
import { readCounter } from './recorder-counter.ts';
import { recordedFiles } from './recorder-process.ts';
import { lives } from './station-devices.ts';
import { type InspectedContainer, makeNodes } from './test-station.ts';
import { plainMicrophone } from './usb-devices.ts';
import { createUsbTree } from './usb-tree.ts';

const FIXED = ['controller', 'database', 'redis', 'web'] as const;
const FIRST_CARD = 130;
const PASSWORD = 'correct horse battery';
const SCENARIO_MS = 600_000;

function plugIn(appliance: Appliance): void {
  mkdirSync(appliance.machineFolder, { recursive: true });
  const usb = createUsbTree({ root: appliance.machineFolder, firstCard: FIRST_CARD });
  makeNodes(usb.plug(plainMicrophone()).nodes);
}

/** One recorder that says "recording", with more frames than before. */
async function untilRecording(appliance: Appliance): Promise<InspectedContainer> {
  return await until(async () => {
    const [recorder, ...others] = await appliance.recorders();
    if (recorder === undefined || others.length > 0) throw new Error(`${others.length} more recorders, or none`);
    const [row] = (await appliance.query('select phase, message from devices')).split('\n');
    if (!row?.startsWith('recording|')) throw new Error(`The microphone's row says ${row}`);
    return recorder;
  }, 60_000);
}

async function untilPageAnswers(address: string): Promise<void> {
  await until(async () => {
    const response = await fetch(`${address}/healthy`, { signal: AbortSignal.timeout(2000) });
    if (!response.ok) throw new Error(`The page answers ${response.status}`);
  });
}

/** By the network's own address: ports that a machine forwarded before its reboot are forgotten only by a real one. */
async function pageAddress(appliance: Appliance): Promise<string> {
  const { Id } = await appliance.service('web');
  const addresses = JSON.parse(await appliance.podman('inspect', '--format', '{{json .NetworkSettings.Networks}}', Id));
  const [, outside] =
    Object.entries<{ IPAddress: string }>(addresses).find(([name]) => name.endsWith('_outside')) ?? [];
  return `http://${outside?.IPAddress}:8090`;
}

describe('docker-compose', () => {
  let appliance: Appliance;
  let local: string;
  let recorder: InspectedContainer;

  beforeAll(async () => {
    appliance = await createAppliance('docker-compose');
    local = `http://127.0.0.1:${appliance.webPort}`;
    plugIn(appliance);
  }, SCENARIO_MS);
  afterAll(() => appliance?.remove());

  test(
    'a plugged microphone records after "up -d" and nothing else',
    async () => {
      await appliance.compose('up', '-d');
      recorder = await untilRecording(appliance);
      expect(Number((await appliance.status()).frames)).toBeGreaterThan(0);
      await untilPageAnswers(local);
      const health = await fetch(`http://127.0.0.1:${appliance.controllerPort}/healthy`);
      expect(await health.json()).toMatchObject({
        status: 'ok',
        dependencies: ['database', 'redis', 'engine', 'usb'].map((name) => ({ name, state: 'up' })),
      });
    },
    SCENARIO_MS,
  );

  test('each fixed service has its limits, and only page and health are published', async () => {
    const ports = async (id: string) => (await appliance.podman('port', id)).split('\n').filter((line) => line !== '');
    for (const name of FIXED) {
      const { Id, HostConfig, State } = await appliance.service(name);
      expect(HostConfig).toMatchObject({ PidsLimit: 200, OomScoreAdj: 0, RestartPolicy: { Name: 'always' } });
      expect(HostConfig.Memory).toBeGreaterThan(100 * 1024 * 1024);
      expect(HostConfig.LogConfig).toMatchObject({ Type: 'k8s-file', Size: '10MB' });
      expect(readFileSync(`/proc/${State.Pid}/oom_score_adj`, 'utf8').trim()).toBe('0');
      const published = {
        web: [`0.0.0.0:${appliance.webPort}`],
        controller: [`127.0.0.1:${appliance.controllerPort}`],
      };
      const expected = name === 'web' || name === 'controller' ? published[name] : [];
      expect((await ports(Id)).map((line) => line.replace(/^.* -> /, ''))).toEqual(expected);
    }
  });

  test('database and Redis want passwords, which only those can read who need them', async () => {
    const redis = await appliance.service('redis');
    expect(await appliance.podman('exec', redis.Id, 'redis-cli', 'ping')).toContain('NOAUTH');
    const database = await appliance.service('database');
    const guess = ['psql', '--host=127.0.0.1', '--username=silvasonic', '-c', 'select 1'];
    await expect(appliance.podman('exec', '--env', 'PGPASSWORD=silvasonic', database.Id, ...guess)).rejects.toThrow(
      /password authentication failed/,
    );
    const found = async (name: string) => {
      const { Id } = await appliance.service(name);
      const list = 'for file in /secrets/*/*; do stat -c "%n %a %u" $file; done';
      return (await appliance.podman('exec', Id, 'sh', '-c', list)).split('\n');
    };
    const page = '/secrets/page/password 600 0';
    const owner = '/secrets/owner/password 600 0';
    const [redisPassword, redisFile] = ['/secrets/redis/password 600 0', '/secrets/redis/redis.conf 600 0'];
    expect(await found('database')).toEqual([owner]);
    expect(await found('redis')).toEqual([redisPassword, redisFile]);
    expect(await found('web')).toEqual([page, redisPassword, redisFile]);
    expect(await found('controller')).toEqual([owner, page, redisPassword, redisFile]);
    // What the page may not, its login may not either.
    await expect(appliance.query("update devices set phase = 'offline'")).rejects.toThrow(/permission denied/);
  });

  test('switched off and on in the page', async () => {
    const visitor = await setUpPage(appliance, local);
    const path = `/microphones/${appliance.recordings().split('/').at(-1)}/enabled`;
    await visitor.post(path, { enabled: 'no', confirmed: 'yes' });
    await until(async () => {
      const left = await appliance.recorders();
      if (left.length > 0) throw new Error('it still records');
    });
    // As the page's login may: short files, so that what is captured is soon in one.
    await appliance.query(`update devices set settings = '{"segmentSeconds": 2}'`);
    await visitor.post(path, { enabled: 'yes' });
    recorder = await untilRecording(appliance);
  });

  test(
    'updates of controller and page, restart, down and up: the recorder goes on, and no frame is missing',
    async () => {
      writeFileSync(join(appliance.recordings(), 'feeder.json'), JSON.stringify({ mode: 'counter' }));
      const { run, frames: before } = await appliance.status();
      const counting = await until(async () => {
        const { frames, rate } = await appliance.status();
        if (frames < before + 2 * rate) throw new Error('not yet');
        return frames;
      });
      const images = await Promise.all(
        ['controller', 'web'].map(async (name) => (await appliance.service(name)).Image),
      );
      for (const name of ['controller', 'web'])
        appendFileSync(join(appliance.folder, `services/${name}/main.ts`), 'globalThis.silvasonicRelease = 2;\n');
      await appliance.compose('up', '-d', '--build');
      const updated = await Promise.all(
        ['controller', 'web'].map(async (name) => (await appliance.service(name)).Image),
      );
      expect(updated.filter((image) => images.includes(image))).toEqual([]);
      expect(lives([await untilRecording(appliance)])).toEqual(lives([recorder]));
      await appliance.compose('restart');
      expect(lives([await untilRecording(appliance)])).toEqual(lives([recorder]));
      await appliance.compose('down');
      expect(lives(await appliance.recorders())).toEqual(lives([recorder]));
      await appliance.compose('up', '-d');
      await untilPageAnswers(local);
      expect(lives([await untilRecording(appliance)])).toEqual(lives([recorder]));
      await expectNothingMissing(appliance, run, counting);
    },
    SCENARIO_MS,
  );

  test(
    'each fixed service killed: it is back, and the recorder does not notice; a killed recorder is back too',
    async () => {
      const [same] = lives([await untilRecording(appliance)]);
      for (const name of FIXED) {
        const { Id, State } = await appliance.service(name);
        process.kill(State.Pid, 'SIGKILL');
        await until(async () => {
          const [again] = JSON.parse(await appliance.podman('inspect', '--type', 'container', Id));
          if (again.State.Status !== 'running' || again.State.Pid === State.Pid) throw new Error(`${name} is not back`);
        });
      }
      await untilPageAnswers(local);
      expect(lives([await untilRecording(appliance)])).toEqual([same]);
      process.kill(recorder.State.Pid, 'SIGKILL');
      await until(async () => {
        recorder = await untilRecording(appliance);
        expect(lives([recorder])).not.toEqual([same]);
      });
    },
    SCENARIO_MS,
  );

  test(
    'after a reboot all is back, although the folder in memory that they share was gone',
    async () => {
      await appliance.reboot();
      const before = recorder;
      recorder = await untilRecording(appliance);
      expect(lives([recorder])).not.toEqual(lives([before]));
      await untilPageAnswers(await pageAddress(appliance));
    },
    SCENARIO_MS,
  );

  test(
    'one command stops everything, in order: nothing runs, no file is left open',
    async () => {
      await appliance.compose('run', '--rm', '--no-deps', '-T', 'controller', 'stop');
      expect((await appliance.containers()).filter(({ State }) => State.Status === 'running')).toEqual([]);
      expect(await recordedFiles(appliance.recordings())).not.toEqual([]);
      expect(readdirSync(join(appliance.recordings(), '.buffer'))).toEqual([]);
      // And it begins again as if nothing had been.
      await appliance.compose('up', '-d');
      await untilRecording(appliance);
    },
    SCENARIO_MS,
  );
});

describe('podman-compose', () => {
  let appliance: Appliance;

  beforeAll(async () => {
    appliance = await createAppliance('podman-compose');
    plugIn(appliance);
  }, SCENARIO_MS);
  afterAll(() => appliance?.remove());

  test(
    'the same file: recording after "up -d", on after down and up, everything stopped by one command',
    async () => {
      await appliance.compose('up', '-d');
      const recorder = await untilRecording(appliance);
      await untilPageAnswers(`http://127.0.0.1:${appliance.webPort}`);
      await appliance.compose('down');
      await appliance.compose('up', '-d');
      expect(lives([await untilRecording(appliance)])).toEqual(lives([recorder]));
      await appliance.compose('run', '--rm', '--no-deps', '-T', 'controller', 'stop');
      expect((await appliance.containers()).filter(({ State }) => State.Status === 'running')).toEqual([]);
    },
    SCENARIO_MS,
  );
});

interface Visitor {
  post(path: string, fields: Record<string, string>): Promise<void>;
}

/** A browser's part of the first visit: sets the password by the code that lies in the page's folder, and is signed in. */
async function setUpPage(appliance: Appliance, address: string): Promise<Visitor> {
  const cookies = new Map<string, string>();
  const request = async (path: string, init: RequestInit = {}): Promise<string> => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(`${address}${path}`, { ...init, redirect: 'manual', headers: { cookie } });
    if (response.status >= 400) throw new Error(`${path} answers ${response.status}: ${await response.text()}`);
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      cookies.set(name, value);
    }
    return await response.text();
  };
  const post = async (form: string, path: string, fields: Record<string, string>): Promise<void> => {
    const token = /name="token" value="([^"]+)"/.exec(await request(form))?.[1] ?? '';
    await request(path, { method: 'POST', body: new URLSearchParams({ ...fields, token }) });
  };
  // The page makes it once it has reached the database.
  const code = await until(() => readFileSync(join(appliance.workspace, 'web', 'setup-code'), 'utf8').trim());
  await post('/setup', '/setup', { code, password: PASSWORD, repeat: PASSWORD });
  return { post: (path, fields) => post('/', path, fields) };
}

/** All frames that the run has captured up to now are in files, from `counting` on each one more than the one before. */
async function expectNothingMissing(appliance: Appliance, run: string, counting: number): Promise<void> {
  const { run: still, frames } = await appliance.status();
  expect(still).toBe(run);
  expect(frames).toBeGreaterThan(counting);
  const files = await until(async () => {
    const all = (await recordedFiles(appliance.recordings())).filter(({ segment }) => segment.run === run);
    const inFiles = readCounter(all).frames;
    if (inFiles < frames) throw new Error(`${inFiles} of ${frames} frames are in files`);
    return all;
  });
  expect(files.map(({ segment }) => segment.sequence)).toEqual(files.map((_file, index) => index + 1));
  expect(readCounter(files).jumps.filter(({ atFrame }) => atFrame > counting)).toEqual([]);
}
