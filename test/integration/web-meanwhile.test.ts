/** What happens beside the page while somebody uses it must cost it nothing: the real page over HTTP, on a real database. */
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createInProcessBus } from '../../services/controller/bus.ts';
import { createAbsentBus } from '../../services/web/bus.ts';
import type { BusState } from '../../services/web/ports.ts';
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
const bus = createInProcessBus();
let busState: BusState['state'] = 'up';

beforeAll(async () => {
  web = await startTestWeb({
    bus: {
      ...createAbsentBus(),
      onHeartbeat: (callback) => bus.onHeartbeat(callback),
      state: () => ({ state: busState, message: `It is ${busState}.` }),
    },
  });
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

describe('what may no longer be true is said on every page that moves', () => {
  const paths = () => ['/', `/microphones/${device.workspace}`, '/services', '/events'];
  const saying = async (words: string): Promise<string[]> => {
    const pages = await Promise.all(paths().map(async (path) => [path, await owner.read(path)] as const));
    return pages.filter(([, text]) => text.includes(words)).map(([path]) => path);
  };
  const beat = () => {
    const said = { phase: 'running', reason: 'Running', message: '1 of 1 recording.', details: {} };
    const one = { service: 'controller', instance: 'controller', version: '1', at: Date.now(), uptimeSeconds: 1 };
    return bus.publish({ schema: 1, ...one, ...said });
  };

  test('of a controller that fell silent, and not of one that could not be heard', async () => {
    const words = 'The controller has said nothing for half a minute';
    await web.restart();
    expect(await saying(words)).toEqual([]);
    // A page that has just begun to listen does not know better.
    expect(await owner.read('/about')).toContain('has not been heard yet');
    web.pass(31_000);
    expect(await saying(words)).toEqual(paths());
    expect(await owner.read('/about')).toContain('It has said nothing for half a minute');
    await beat();
    expect(await saying(words)).toEqual([]);
    busState = 'down';
    web.pass(60_000);
    expect(await saying(words)).toEqual([]);
    busState = 'up';
    expect(await saying(words)).toEqual([]);
    await beat();
    web.pass(20_000);
    await beat();
    web.pass(20_000);
    expect(await saying(words)).toEqual([]);
    web.pass(20_000);
    expect(await saying(words)).toEqual(paths());
  });

  test('of a database that is away, while one looks', async () => {
    const names = ['dashboard', `microphone&workspace=${device.workspace}`, 'services', 'events'];
    const streams = await Promise.all(names.map((name) => follow(`/live?page=${name}`)));
    try {
      await expect.poll(() => streams.every(({ text }) => text().includes('event: part')), POLL).toBe(true);
      await web.postgres.shutDown();
      await expect
        .poll(() => streams.map(({ text }) => text().includes('The database is away')), POLL)
        .toEqual([true, true, true, true]);
    } finally {
      for (const { end } of streams) end();
      await web.postgres.startAgain();
      await expect.poll(async () => (await owner.get('/settings')).status, POLL).toBe(200);
    }
  });
});

const POLL = { timeout: 30_000 };

/** What a stream of events has brought so far. */
async function follow(path: string): Promise<{ text(): string; end(): void }> {
  const response = await owner.get(path);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let all = '';
  const read = async (): Promise<void> => {
    for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) all += part.value;
  };
  void read().catch(() => {});
  return { text: () => all, end: () => void reader?.cancel().catch(() => {}) };
}

describe('two tabs with the same form', () => {
  /** Opens the form, changes in another tab what `elsewhere` says, then changes in the first what `here` says. */
  const inTwoTabs = async (page: string, action: string, elsewhere: Fields, here: Fields): Promise<Response> => {
    const opened = fieldsIn(await owner.read(page), action);
    const second = fieldsIn(await owner.read(page), action);
    expect((await send(action, { ...second, ...elsewhere })).status).toBe(303);
    return await send(action, { ...opened, ...here });
  };
  const send = (action: string, fields: Fields): Promise<Response> =>
    owner.post(action, new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== '')).toString());
  const configOf = async (key: string): Promise<unknown> =>
    (await web.sql`select value from system_config where key = ${key}`)[0]?.value;

  test('of a microphone: what the first did not touch stays as the second said', async () => {
    const page = `/microphones/${device.workspace}`;
    await web.sql`update devices set phase = 'waiting' where id = ${device.id}`;
    const response = await inTwoTabs(page, `${page}/settings`, { rate: '96000', archive: 'flac' }, { name: 'Pond' });
    expect(response.status).toBe(303);
    const [row] = await web.sql`select name, settings from devices where id = ${device.id}`;
    expect(row).toEqual({ name: 'Pond', settings: { rate: 96_000, archive: 'flac' } });
    // Both on purpose: the later word counts. And what is emptied is empty.
    await inTwoTabs(page, `${page}/settings`, { rate: '192000' }, { rate: '48000', archive: '' });
    const [after] = await web.sql`select name, settings from devices where id = ${device.id}`;
    expect(after).toEqual({ name: 'Pond', settings: { rate: 48_000 } });
  });

  test('of a microphone that records: the question afterwards keeps it too, and a refusal shows it', async () => {
    const page = `/microphones/${device.workspace}`;
    const action = `${page}/settings`;
    await web.sql`update devices set name = 'Pond', settings = '{}', phase = 'waiting' where id = ${device.id}`;
    const opened = fieldsIn(await owner.read(page), action);
    await web.sql`update devices set settings = '{"gainDb": 12}', phase = 'recording' where id = ${device.id}`;
    const refused = await (await send(action, { ...opened, rate: 'many' })).text();
    expect(fieldsIn(refused, action)).toMatchObject({ rate: 'many', gainDb: '12' });
    const question = await (await send(action, { ...opened, rate: '96000' })).text();
    expect((await send(action, fieldsIn(question, action))).status).toBe(303);
    const [row] = await web.sql`select settings from devices where id = ${device.id}`;
    expect(row).toEqual({ settings: { rate: 96_000, gainDb: 12 } });
  });

  test('of the processor: recordings that are to be kept are not overwritten for an old tab', async () => {
    await web.sql`update system_services set settings = '{"retention": "overwrite"}' where name = 'processor'`;
    const action = '/services/processor/settings';
    await inTwoTabs('/services', action, { retention: 'keep' }, { reservePercent: '7' });
    const [row] = await web.sql`select settings from system_services where name = 'processor'`;
    expect(row).toEqual({ settings: { reservePercent: 7 } });
  });

  test('of a profile, with text of several lines', async () => {
    await addProfile(web.sql, 'own', { description: 'One.\nTwo.' });
    const action = '/profiles/own/edit';
    await inTwoTabs(action, action, { description: 'One.\r\nThree.', segmentSeconds: '60' }, { model: 'M2' });
    const [row] = await web.sql`select description, model, config from microphone_profiles where slug = 'own'`;
    expect(row).toMatchObject({ description: 'One.\nThree.', model: 'M2', config: { segmentSeconds: 60 } });
  });

  test('of the station: place, switches, limits of alerts', async () => {
    await inTwoTabs('/settings', '/settings/place', { latitude: '52.5', longitude: '13.4' }, { name: 'Wood' });
    expect([await configOf('station_name'), await configOf('position')]).toEqual([
      'Wood',
      { latitude: 52.5, longitude: 13.4 },
    ]);
    await inTwoTabs('/settings', '/settings/switches', { autoEnrollment: '' }, { liveListening: 'yes' });
    expect([await configOf('auto_enrollment'), await configOf('live_listening')]).toEqual([false, true]);
    await inTwoTabs('/settings', '/settings/alerts', { silentMinutes: '5' }, { diskFullDays: '3' });
    expect(await configOf('alerts')).toMatchObject({ silentMinutes: 5, diskFullDays: 3 });
  });
});

type Fields = Readonly<Record<string, string>>;

/** What a browser sends of a form that nobody touched. */
function fieldsIn(page: string, action: string): Fields {
  const form = page.split(`action="${action}"`)[1]?.split('</form>')[0] ?? '';
  const inputs = [...form.matchAll(/<input [^>]*>/g)].map(([tag]) => tag);
  const sent = inputs.filter((tag) => !tag.includes('type="checkbox"') || / checked/.test(tag));
  const selects = [...form.matchAll(/<select [^>]*name="([^"]+)"[^>]*>(.*?)<\/select>/gs)];
  const areas = [...form.matchAll(/<textarea [^>]*name="([^"]+)"[^>]*>(.*?)<\/textarea>/gs)];
  return Object.fromEntries([
    ...sent.map((tag) => [attribute(tag, 'name'), attribute(tag, 'value')]),
    ...selects.map(([, name, options = '']) => {
      const chosen = /<option [^>]*selected[^>]*>/.exec(options) ?? /<option[^>]*>/.exec(options);
      return [name, attribute(chosen?.[0] ?? '', 'value')];
    }),
    ...areas.map(([, name, text = '']) => [name, plain(text).replaceAll('\n', '\r\n')]),
  ]);
}

function attribute(tag: string, name: string): string {
  return plain(new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1] ?? '');
}

function plain(text: string): string {
  return text.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
}
