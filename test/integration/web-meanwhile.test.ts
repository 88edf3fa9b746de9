/** What happens beside the page while somebody uses it must cost it nothing: the real page over HTTP, on a real database. */
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  addDevice,
  addProfile,
  becomeOwner,
  type SampleDevice,
  startTestWeb,
  type TestWeb,
  type Visitor,
} from './web-fixture.ts';

let web: TestWeb;
let owner: Visitor;
let device: SampleDevice;

beforeAll(async () => {
  web = await startTestWeb();
  await addProfile(web.sql, 'generic', { isSystem: true });
  device = await addDevice(web.sql);
  await addDevice(web.sql, { serial: 'OTHER', name: 'By the brook' });
  owner = await becomeOwner(web);
  await web.sql`insert into system_services (name, enabled) values ('processor', true)`;
});
afterAll(() => web.stop());

describe('a browser that hangs up while the database is asked who it is', () => {
  test('holds no stream: after many of them the next one still follows the station', async () => {
    for (const path of ['/live?page=dashboard', '/logs/live']) {
      await owner.read('/');
      // What the database said of the session counts for ten seconds.
      web.pass(60_000);
      web.postgres.freeze();
      try {
        await Promise.all(Array.from({ length: 45 }, () => askAndHangUp(path)));
        // The page gives the database up, and only then knows that nobody waits any more.
        await expect.poll(async () => (await owner.get('/services')).status, { timeout: 20_000 }).toBe(200);
      } finally {
        web.postgres.thaw();
      }
      await expect.poll(() => statusOf(path), { timeout: 20_000 }).toBe(200);
    }
  });
});

async function askAndHangUp(path: string): Promise<void> {
  const socket = await ask(path);
  await pause(300);
  socket.destroy();
}

/** A connection with a question, whose answer nobody reads. */
async function ask(path: string): Promise<Socket> {
  const { hostname, port } = new URL(web.address);
  const cookie = [...owner.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\nCookie: ${cookie}\r\nAccept-Encoding: gzip\r\n\r\n`);
  return socket;
}

async function statusOf(path: string): Promise<number> {
  const response = await owner.get(path);
  await response.body?.cancel();
  return response.status;
}

test('a page that is stopped waits for no phone that takes nothing any more', async () => {
  const name = `${device.workspace}_20260501_000000_abcd_000001.wav`;
  const folder = `${web.workspace}/recorder/${device.workspace}/data/raw/2026-05-01`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/${name}`, Buffer.alloc(50_000_000));
  const paths = ['/live?page=dashboard', '/logs/live', `/microphones/${device.workspace}/raw/${name}`];
  const phones = await Promise.all(paths.map(ask));
  for (const phone of phones) await once(phone, 'readable');
  await web.restart();
  expect(await owner.read('/')).toContain('By the brook');
  for (const phone of phones) phone.destroy();
});

describe('a recorder that writes nonsense about itself', () => {
  const said = {
    ...{ schema: 1, run: 'abc', state: 'recording', reason: 'Recording', message: 'Recording.', frames: 48_000 },
    ...{ rate: 48_000, channels: 1, format: 'S16_LE', levels: [], silent: false, overruns: 0, lostFrames: 0 },
    ...{ lastSegment: null, at: 1 },
  };

  test.each([
    ['a file of no time', { lastSegment: { name: 'x', startedAt: 1e300, frames: 1 } }],
    ['a file that never ends', { rate: 0.0001, lastSegment: { name: 'x', startedAt: 0, frames: 1e15 } }],
    ['a gap of no time', { gaps: [{ at: 1e300, frames: 1, cause: 'overrun' }] }],
    ['more channels than there are', { channels: 1e10 }],
    ['enough channels to fill a phone', { channels: 100_000 }],
  ])('does not hide the others: %s', async (_what, nonsense) => {
    const folder = `${web.workspace}/run/${device.workspace}`;
    mkdirSync(folder, { recursive: true });
    try {
      writeFileSync(`${folder}/status.json`, JSON.stringify({ ...said, ...nonsense }));
      const dashboard = await owner.read('/');
      expect(dashboard).toContain('By the brook');
      expect(dashboard.length).toBeLessThan(50_000);
      expect(await owner.read(`/microphones/${device.workspace}`)).toContain('says nothing just now');
      writeFileSync(`${folder}/status.json`, JSON.stringify(said));
      expect(await owner.read(`/microphones/${device.workspace}`)).toContain('48 kHz × 1');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
