/** Alerts: what is told when, pure; and on the way to a real receiver that is there, away, or refuses. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { postAlert } from '../../services/controller/alert-post.ts';
import { type AlertInput, type AlertMemory, findAlerts } from '../../services/controller/alert-rules.ts';
import { type AlertLook, type Alerts, createAlerts } from '../../services/controller/alerts.ts';
import type { Clock, StationEvent } from '../../services/controller/world.ts';
import { type AlertSettings, alertSchema, alertSettingsSchema } from '../../services/shared/alerts.ts';
import { quietLog } from './in-memory-world.ts';
import { deviceRow } from './sample-world.ts';

const MINUTE_MS = 60_000;
const station = { id: 'x', name: 'Wald' };
const settings = (given: Partial<AlertSettings> = {}): AlertSettings => alertSettingsSchema.parse(given);
const recording = deviceRow('a', { name: 'Teich', phase: 'recording', reason: 'Recording' });
const away = { ...recording, phase: 'offline' as const, reason: 'NotPlugged', message: 'Not plugged in.' };
const silent = { ...recording, reason: 'Silent' };

describe('what is told', () => {
  let memory: AlertMemory;
  let told: string[];
  beforeEach(() => {
    memory = new Map();
    told = [];
  });
  const look = (minute: number, changes: Partial<AlertInput>): void => {
    const nowMs = minute * MINUTE_MS;
    const input = {
      station,
      settings: settings(),
      devices: [],
      fullInDays: null,
      nowMs,
      wallMs: 1e12 + nowMs,
      ...changes,
    };
    const found = findAlerts(input, memory);
    memory = found.memory;
    for (const alert of found.alerts) told.push(`${minute}: ${alert.title}`);
  };

  test('a wanted microphone that does not record for ten minutes, once; and that it records again', () => {
    for (let minute = 0; minute < 5; minute += 1) look(minute, { devices: [recording] });
    for (let minute = 5; minute < 40; minute += 1) look(minute, { devices: [away] });
    for (let minute = 40; minute < 60; minute += 1) look(minute, { devices: [recording] });
    expect(told).toEqual(['15: Wald: Teich does not record', '41: Wald: Teich records again']);
  });

  test('one that comes and goes is told once: it is over only when it stayed so for a minute', () => {
    for (let second = 0; second < 3600; second += 10)
      look(second / 60, { devices: [second > 1200 && second % 120 === 0 ? recording : away] });
    expect(told).toEqual(['10: Wald: Teich does not record']);
  });

  test('nobody is told of what is switched off, ignored, pending or virtual', () => {
    const devices = [
      { ...away, id: 'b', enabled: false },
      { ...away, id: 'c', enrollmentStatus: 'ignored' as const },
      { ...away, id: 'd', enrollmentStatus: 'pending' as const },
      { ...away, id: 'e', vendorId: '0000' },
      { ...away, id: 'f', profileSlug: null },
    ];
    for (let minute = 0; minute < 600; minute += 1) look(minute, { devices });
    expect(told).toEqual([]);
  });

  test('silence after an hour; and a microphone that falls out meanwhile is another matter', () => {
    for (let minute = 0; minute < 70; minute += 1) look(minute, { devices: [silent] });
    for (let minute = 70; minute < 90; minute += 1) look(minute, { devices: [recording] });
    expect(told).toEqual(['60: Wald: Teich hears nothing', '71: Wald: Teich hears again']);
  });

  test('a disk that fills up in less than a week; not again while it wavers, nor while nobody can tell', () => {
    const days = [9, 7.5, 6.9, 7.1, 6.5, undefined, 7.2, 7.9, undefined, 30, 30, null, 6];
    for (const [minute, fullInDays] of days.entries()) look(minute, { fullInDays });
    expect(told).toEqual([
      '2: Wald: the disk will be full in 6 days',
      '10: Wald: there is room on the disk again',
      '12: Wald: the disk will be full in 6 days',
    ]);
  });
});

describe('on its way', () => {
  let folder: string;
  let server: Server;
  let received: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[];
  let answer: number;
  /** By path: with what status a request is sent elsewhere, and where to. */
  let moved: Record<string, [status: number, location: string]>;
  let nowMs: number;
  /** What the wall clock is ahead of the other one. */
  let wallAheadMs: number;
  let alerts: Alerts;
  let events: StationEvent[];
  let url: string;

  const clock: Clock = { nowMs: () => nowMs, wallMs: () => wallAheadMs + nowMs, timer: () => () => {} };
  const make = (): void => {
    alerts = createAlerts({
      clock,
      log: quietLog,
      controllerWorkspace: join(folder, 'controller'),
      runPath: join(folder, 'run'),
      post: postAlert,
    });
  };
  const start = async (port = 0): Promise<void> => {
    server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        received.push({ method, url, headers, body });
        const [status, location] = moved[url] ?? [answer, null];
        response.writeHead(status, location === null ? {} : { location }).end('thanks');
      });
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  };
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'silvasonic-alerts-'));
    for (const name of ['controller', 'run']) mkdirSync(join(folder, name));
    received = [];
    events = [];
    answer = 200;
    moved = {};
    nowMs = 1e6;
    wallAheadMs = 1e12;
    await start();
    make();
  });
  afterEach(async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Looks every minute for so long, each look to its end. */
  const pass = async (minutes: number, look: Partial<AlertLook>): Promise<void> => {
    for (let minute = 0; minute < minutes; minute += 1) {
      nowMs += MINUTE_MS;
      await alerts.look(
        { station, settings: settings({ webhookUrl: `${url}/hook` }), devices: [away], ...look },
        (event) => events.push(event),
      );
    }
  };
  const state = (): string => readFileSync(join(folder, 'controller', 'alerts.json'), 'utf8');

  test('a webhook gets it as JSON, ntfy as text with title, priority and tags; a password stands in no address', async () => {
    const ntfyUrl = `${url.replace('http://', 'http://me:secr%20et@')}/my-wood`;
    await pass(12, {
      settings: settings({ webhookUrl: `${url}/hook`, ntfyUrl }),
      station: { id: 'x', name: 'Großer Wald' },
    });
    const hook = received.find((request) => request.url === '/hook');
    expect(alertSchema.parse(JSON.parse(hook?.body ?? ''))).toMatchObject({
      kind: 'notRecording',
      state: 'warning',
      subject: 'recorder:a',
      message: 'Teich has not recorded for 10 minutes. Not plugged in.',
    });
    const ntfy = received.find((request) => request.url === '/my-wood');
    expect(ntfy?.headers).toMatchObject({ priority: '4', tags: 'warning' });
    const title = /^=\?UTF-8\?B\?(.*)\?=$/.exec(String(ntfy?.headers.title))?.[1] ?? '';
    expect(Buffer.from(title, 'base64').toString()).toBe('Großer Wald: Teich does not record');
    expect(ntfy?.headers.authorization).toBe(`Basic ${Buffer.from('me:secr et').toString('base64')}`);
    expect(received).toHaveLength(2);
  });

  test('a password with a percent sign goes out as it was typed', async () => {
    await pass(12, {
      settings: settings({ ntfyUrl: `${url.replace('http://', 'http://me:50%off%20%C3%A4%@')}/my-wood` }),
    });
    const [ntfy] = received.filter((request) => request.url === '/my-wood');
    expect(ntfy?.headers.authorization).toBe(`Basic ${Buffer.from('me:50%off ä%').toString('base64')}`);
  });

  test('a restart of the controller neither repeats nor forgets', async () => {
    await pass(20, {});
    expect(received).toHaveLength(1);
    make();
    await pass(20, {});
    expect(received).toHaveLength(1);
    make();
    await pass(3, { devices: [recording] });
    expect(received.map(({ body }) => JSON.parse(body).state)).toEqual(['warning', 'back']);
  });

  test('a receiver that is away gets it later, after a restart too, and asked less and less often meanwhile', async () => {
    const port = Number(new URL(url).port);
    await stop();
    await pass(60, {});
    expect(events.map(({ reason }) => reason)).toEqual(['AlertDelayed']);
    expect(state()).toContain('"waiting":[{');
    make();
    await start(port);
    await pass(61, {});
    expect(received).toHaveLength(1);
    expect(state()).toContain('"waiting":[]');
  });

  test('one that refuses is not asked again, and that is told; one that is busy is', async () => {
    answer = 403;
    await pass(40, {});
    expect(received).toHaveLength(1);
    expect(events).toMatchObject([
      { type: 'warning', reason: 'AlertFailed', message: expect.stringContaining('answered 403') },
    ]);
    answer = 429;
    await pass(5, { devices: [recording] });
    answer = 200;
    await pass(10, { devices: [recording] });
    expect(JSON.parse(received.at(-1)?.body ?? '').state).toBe('back');
    expect(received.length).toBeGreaterThan(2);
  });

  test('what waits is not out of date because the clock was set meanwhile: without a network it is wrong at first', async () => {
    const port = Number(new URL(url).port);
    await stop();
    await pass(60, {});
    wallAheadMs += 30 * 24 * 60 * MINUTE_MS;
    await start(port);
    await pass(61, {});
    expect(received).toHaveLength(1);
  });

  test('where nothing can be kept, as on a full disk, a person is told all the same, and once', async () => {
    mkdirSync(join(folder, 'controller', 'alerts.json'));
    await pass(30, {});
    expect(received.map(({ body }) => JSON.parse(body).state)).toEqual(['warning']);
    rmSync(join(folder, 'controller', 'alerts.json'), { recursive: true });
    await pass(3, { devices: [recording] });
    expect(received.map(({ body }) => JSON.parse(body).state)).toEqual(['warning', 'back']);
    expect(state()).toContain('"waiting":[]');
  });

  test.each([301, 307, 308])(
    'a receiver that has moved (%i) gets it where it is now, its password too',
    async (status) => {
      moved = { '/old': [status, '/older'], '/older': [status, `${url}/my-wood`] };
      await pass(12, { settings: settings({ ntfyUrl: `${url.replace('http://', 'http://me:secret@')}/old` }) });
      expect(received.map(({ method, url }) => `${method} ${url}`)).toEqual([
        'POST /old',
        'POST /older',
        'POST /my-wood',
      ]);
      expect(received.at(-1)).toMatchObject({
        body: expect.stringContaining('Teich has not recorded for 10 minutes.'),
        headers: { authorization: `Basic ${Buffer.from('me:secret').toString('base64')}` },
      });
      expect(events).toEqual([]);
    },
  );

  test('another host is not told the password of the first', async () => {
    moved = { '/old': [308, `${url.replace('127.0.0.1', 'localhost')}/my-wood`] };
    await stop();
    await start(Number(new URL(url).port));
    await pass(12, { settings: settings({ ntfyUrl: `${url.replace('http://', 'http://me:secret@')}/old` }) });
    expect(received.map(({ headers }) => headers.authorization !== undefined)).toEqual([true, false]);
  });

  test('a page to sign in on is no receiver: nobody is told that it took the alert', async () => {
    moved = { '/my-wood': [302, '/sign-in?topic=secret'] };
    await pass(3, { settings: settings({ ntfyUrl: `${url}/my-wood`, testToken: 'one' }), devices: [] });
    expect(received.map(({ url }) => url)).toEqual(['/my-wood']);
    expect(events).toMatchObject([
      {
        type: 'warning',
        reason: 'AlertFailed',
        message: expect.stringMatching(/answered 302.* points to another address/),
      },
    ]);
    expect(JSON.stringify(events)).not.toContain('secret');
  });

  test('addresses that lead in a circle are given up', async () => {
    moved = { '/a': [301, '/b'], '/b': [301, '/a'] };
    await pass(3, { settings: settings({ webhookUrl: `${url}/a`, testToken: 'one' }), devices: [] });
    expect(received.length).toBeLessThan(10);
    expect(events).toMatchObject([{ type: 'warning', reason: 'AlertFailed' }]);
  });

  test('a new token sends one alert to try it, says how that went, and no second one after a restart', async () => {
    const tried = settings({ ntfyUrl: `${url}/my-wood`, testToken: 'one' });
    await pass(3, { settings: tried, devices: [] });
    make();
    await pass(3, { settings: tried, devices: [] });
    expect(received.map(({ headers }) => headers.title)).toEqual(['Wald: a test']);
    expect(events).toMatchObject([{ type: 'normal', reason: 'AlertSent' }]);
    await stop();
    await pass(3, { settings: { ...tried, testToken: 'two' }, devices: [] });
    expect(events.slice(1)).toMatchObject([{ type: 'warning', reason: 'AlertFailed' }]);
    await start();
    await pass(3, { settings: settings({ testToken: 'three' }), devices: [] });
    expect(events.slice(2)).toMatchObject([
      { reason: 'AlertFailed', message: expect.stringContaining('nobody to alert') },
    ]);
  });

  test('the disk is what the processor says; a planted file there costs nothing but itself', async () => {
    mkdirSync(join(folder, 'run', 'services', 'processor'), { recursive: true });
    const file = join(folder, 'run', 'services', 'processor', 'status.json');
    writeFileSync(file, 'not JSON');
    await pass(3, { devices: [] });
    const disk = { freeBytes: 1, totalBytes: 2, reserveBytes: 0, growthBytesPerDay: 1, fullInDays: 3.2 };
    const status = {
      schema: 1,
      run: 'a',
      state: 'idle',
      reason: 'FullSoon',
      message: '',
      steps: 1,
      done: 0,
      backlog: 0,
      at: 0,
    };
    writeFileSync(
      file,
      JSON.stringify({ ...status, broken: [], brokenCount: 0, removed: { copies: 0, recordings: 0 }, disk }),
    );
    await pass(3, { devices: [] });
    expect(received.map(({ body }) => JSON.parse(body).title)).toEqual(['Wald: the disk will be full in 3 days']);
  });

  test('who gives an address only now hears of what has gone on for long, and of nothing that is over', async () => {
    const nobody = settings();
    await pass(30, { settings: nobody });
    const two = [away, { ...away, id: 'b', name: 'Bach' }];
    await pass(30, { settings: nobody, devices: two });
    await pass(3, { settings: nobody, devices: [recording, two[1] ?? away] });
    await pass(3, { devices: [recording, two[1] ?? away] });
    expect(received.map(({ body }) => JSON.parse(body).title)).toEqual(['Wald: Bach does not record']);
  });

  test('one address taken away: what waited for it is forgotten, the other one gets its own', async () => {
    await stop();
    const dead = `${url}/my-wood`;
    await start();
    await pass(12, { settings: settings({ webhookUrl: `${url}/hook`, ntfyUrl: dead }) });
    expect(received).toHaveLength(1);
    await pass(2, {});
    await vi.waitFor(() => expect(state()).toContain('"waiting":[]'));
  });
});
