/** The bus on a real Redis that goes away, comes back and freezes. */

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createInProcessBus, createRedisBus } from '../../services/controller/bus.ts';
import { createLog } from '../../services/controller/log.ts';
import type { Bus } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { CHANNEL, HEARTBEAT_TTL_S, type Heartbeat, statusKey } from '../../services/shared/contract.ts';
import { createPageBus } from '../../services/web/bus.ts';
import { type RedisFixture, startRedis } from './redis.ts';

const PATIENCE = { timeout: 30_000, interval: 20 };

const heartbeat: Heartbeat = {
  schema: 1,
  service: 'controller',
  instance: 'controller',
  version: '0.0.0',
  at: 1_700_000_000_000,
  uptimeSeconds: 5,
  phase: 'running',
  reason: 'Running',
  message: '3 of 4 recording: Eulen am „Großen Teich“',
  details: { cycles: 3 },
};

let redis: RedisFixture;
let bus: Bus;
let nudges: number;
let lines: string[];

function makeBus(url: string, passwordFile: string | null = null): Bus {
  lines = [];
  nudges = 0;
  const log = createLog({ level: 'info', destination: { write: (line) => void lines.push(line) } });
  bus = createRedisBus({ url, passwordFile, clock: createClock(), log, instance: 'test' });
  bus.start(() => {
    nudges += 1;
  });
  return bus;
}

const up = (): Promise<void> =>
  vi.waitFor(() => expect(bus.dependency()).toMatchObject({ name: 'redis', state: 'up' }), PATIENCE);
const down = (): Promise<void> => vi.waitFor(() => expect(bus.dependency().state).toBe('down'), PATIENCE);

/** Names of ours among the connections that Redis has. */
async function clientNames(): Promise<string[]> {
  const list = await redis.command('CLIENT', 'LIST');
  return [...list.matchAll(/name=(silvasonic\S+)/g)].map(([, name]) => String(name)).sort();
}

beforeEach(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await bus.stop();
  await redis.stop();
});

test('a password that is not there yet is waited for by nobody, and used once it is', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-bus-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'password');
  await redis.command('CONFIG', 'SET', 'requirepass', 'geheim');
  makeBus(redis.url, file);
  expect(await bus.publish(heartbeat)).toBe(false);
  expect([await bus.publishLogs([]), await bus.logListeners()]).toEqual([false, 0]);
  await vi.waitFor(() =>
    expect(bus.dependency()).toMatchObject({ state: 'down', message: expect.stringContaining(file) }),
  );
  writeFileSync(file, 'geheim\n');
  await up();
  expect(await bus.publish(heartbeat)).toBe(true);
  expect(lines).toHaveLength(2);
  expect(lines.join('')).not.toContain('geheim');
});

test('the page, too, waits for no password: what it listens to it hears once that is there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-bus-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const passwordFile = join(folder, 'password');
  await redis.command('CONFIG', 'SET', 'requirepass', 'geheim');
  const told: string[] = [];
  const page = createPageBus({ url: redis.url, passwordFile }, (_level, message) => void told.push(message));
  onTestFinished(() => page.stop());
  const heard: string[] = [];
  const unheard: string[] = [];
  page.onHeartbeat(({ instance }) => heard.push(instance));
  page.onHeartbeat(({ instance }) => unheard.push(instance))();
  await page.nudge();
  await vi.waitFor(() =>
    expect(page.state()).toMatchObject({ state: 'down', message: expect.stringContaining(passwordFile) }),
  );
  writeFileSync(passwordFile, 'geheim\n');
  await vi.waitFor(() => expect(page.state().state).toBe('up'), PATIENCE);
  makeBus(redis.url.replace('//', '//:geheim@'));
  await up();
  await page.nudge();
  await vi.waitFor(() => expect(nudges).toBeGreaterThan(1), PATIENCE);
  expect(await bus.publish(heartbeat)).toBe(true);
  await vi.waitFor(() => expect(heard).toEqual(['controller']), PATIENCE);
  expect(unheard).toEqual([]);
  expect(told.join('')).not.toContain('geheim');
});

describe('nudges', () => {
  test('one comes in, and so does one right after the subscription', async () => {
    makeBus(redis.url);
    await up();
    expect(nudges).toBe(1);
    expect(await redis.command('PUBLISH', CHANNEL.nudge, '')).toBe('1');
    await vi.waitFor(() => expect(nudges).toBe(2), PATIENCE);
    await redis.command('PUBLISH', CHANNEL.status, 'not a nudge');
    await redis.command('PUBLISH', CHANNEL.nudge, 'whatever');
    await vi.waitFor(() => expect(nudges).toBe(3), PATIENCE);
  });

  test('after Redis was started anew they come again, and one is taken as missed', async () => {
    makeBus(redis.url);
    await up();
    await redis.halt();
    await down();
    expect(bus.dependency().message).toMatch(/127\.0\.0\.1/);
    await redis.resume();
    await up();
    expect(nudges).toBe(2);
    expect(await redis.command('PUBLISH', CHANNEL.nudge, '')).toBe('1');
    await vi.waitFor(() => expect(nudges).toBe(3), PATIENCE);
  });

  test('a Redis that is not there yet is found once it is, with one line in the log for each change', async () => {
    await redis.halt();
    makeBus(redis.url);
    await vi.waitFor(() => expect(bus.dependency().message).toMatch(/ECONNREFUSED/), PATIENCE);
    // Several attempts fail meanwhile.
    await vi.waitFor(() => expect(lines.length).toBe(1), PATIENCE);
    await redis.resume();
    await up();
    expect(nudges).toBe(1);
    expect(lines.map((line) => JSON.parse(line).state)).toEqual(['down', 'up']);
  });
});

describe('heartbeats', () => {
  test('are kept for a while and told at once', async () => {
    makeBus(redis.url);
    await up();
    const heard = await redis.listen(CHANNEL.status);
    expect(await bus.publish(heartbeat)).toBe(true);
    expect(JSON.parse(await redis.command('GET', statusKey('controller')))).toEqual(heartbeat);
    const ttl = Number(await redis.command('TTL', statusKey('controller')));
    expect(ttl).toBeGreaterThan(0);
    expect(ttl).toBeLessThanOrEqual(HEARTBEAT_TTL_S);
    await vi.waitFor(() => expect(heard).toEqual([JSON.stringify(heartbeat)]), PATIENCE);
  });

  test('two connections are all there is, and none for publishing before the first heartbeat', async () => {
    makeBus(redis.url);
    await up();
    expect(await clientNames()).toEqual(['silvasonic-test-subscriber']);
    for (let count = 0; count < 5; count += 1) expect(await bus.publish(heartbeat)).toBe(true);
    expect(await clientNames()).toEqual(['silvasonic-test-publisher', 'silvasonic-test-subscriber']);
  });

  test('nobody there: false', async () => {
    makeBus(redis.url);
    await up();
    expect(await bus.publish(heartbeat)).toBe(true);
    await redis.halt();
    expect(await bus.publish(heartbeat)).toBe(false);
    await redis.resume();
    await up();
    await vi.waitFor(async () => expect(await bus.publish(heartbeat)).toBe(true), PATIENCE);
  });

  test('frozen: false, said so, and after the thaw nothing old is sent while nudges come again', async () => {
    makeBus(redis.url);
    await up();
    expect(await bus.publish(heartbeat)).toBe(true);
    await redis.command('DEL', statusKey('controller'));
    redis.freeze();
    expect(await bus.publish({ ...heartbeat, message: 'frozen' })).toBe(false);
    await down();
    const before = nudges;
    redis.thaw();
    await up();
    expect(nudges).toBe(before + 1);
    await vi.waitFor(async () => expect(await bus.publish(heartbeat)).toBe(true), PATIENCE);
    expect(await redis.command('PUBLISH', CHANNEL.nudge, '')).toBe('1');
    await vi.waitFor(() => expect(nudges).toBe(before + 2), PATIENCE);
  });

  test('frozen before the first heartbeat: false', async () => {
    makeBus(redis.url);
    await up();
    redis.freeze();
    expect(await bus.publish(heartbeat)).toBe(false);
    redis.thaw();
    await up();
    await vi.waitFor(async () => expect(await bus.publish(heartbeat)).toBe(true), PATIENCE);
  });
});

describe('logs', () => {
  const line = { schema: 1 as const, service: 'recorder', instance: 'r', at: 1, stream: 'stdout' as const, text: '♪' };

  test('who listens is counted, and hears them in order; nobody is counted when nobody does, or Redis is away', async () => {
    makeBus(redis.url);
    await up();
    expect(await bus.logListeners()).toBe(0);
    const heard = await redis.listen(CHANNEL.logs);
    expect(await bus.logListeners()).toBe(1);
    const lines = Array.from({ length: 300 }, (_, at) => ({ ...line, at }));
    expect(await bus.publishLogs(lines)).toBe(true);
    await vi.waitFor(() => expect(heard.map((text) => JSON.parse(text))).toEqual(lines), PATIENCE);
    await redis.halt();
    expect(await bus.logListeners()).toBe(0);
    expect(await bus.publishLogs(lines)).toBe(false);
  });

  test('a frozen Redis has no listeners and takes no lines, and is said to be down', async () => {
    makeBus(redis.url);
    await up();
    expect(await bus.publish(heartbeat)).toBe(true);
    redis.freeze();
    expect(await bus.logListeners()).toBe(0);
    await down();
    redis.thaw();
    await up();
  });
});

describe('a Redis that is none', () => {
  const connections = new Set<Socket>();
  let server: Server;
  afterEach(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  const serve = async (onConnection: (socket: Socket) => void): Promise<string> => {
    server = createServer((socket) => {
      connections.add(socket);
      socket.on('error', () => {});
      onConnection(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return `redis://user:geheim@127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  };

  test('accepts and says nothing: down, publishing fails, and stopping does not wait for it', async () => {
    makeBus(await serve(() => {}));
    expect(await bus.publish(heartbeat)).toBe(false);
    await vi.waitFor(() => expect(bus.dependency().message).toMatch(/does not answer/), PATIENCE);
    expect(nudges).toBe(0);
  });

  test('speaks something else: down, and no password in any sentence', async () => {
    makeBus(await serve((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    await vi.waitFor(() => expect(bus.dependency().message).toMatch(/not there/), PATIENCE);
    expect(await bus.publish(heartbeat)).toBe(false);
    expect(`${lines.join('')}${bus.dependency().message}`).not.toContain('geheim');
  });
});

test('within one process: logs reach who listens, and he is counted', async () => {
  const inProcess = createInProcessBus();
  bus = inProcess;
  const line = { schema: 1 as const, service: 'r', instance: 'r', at: 1, stream: 'stderr' as const, text: 'x' };
  const heard: unknown[] = [];
  expect(await inProcess.logListeners()).toBe(0);
  const forget = inProcess.onLog((one) => heard.push(one));
  expect(await inProcess.logListeners()).toBe(1);
  await inProcess.publishLogs([line]);
  forget();
  await inProcess.publishLogs([line]);
  expect([heard, await inProcess.logListeners()]).toEqual([[line], 0]);
});

test('within one process: nudges and heartbeats arrive, until it is stopped', async () => {
  const inProcess = createInProcessBus();
  bus = inProcess;
  let woken = 0;
  const heard: Heartbeat[] = [];
  inProcess.nudge();
  inProcess.start(() => {
    woken += 1;
  });
  const forget = inProcess.onHeartbeat((beat) => heard.push(beat));
  inProcess.nudge();
  expect(await inProcess.publish(heartbeat)).toBe(true);
  forget();
  await inProcess.publish(heartbeat);
  expect([woken, heard]).toEqual([1, [heartbeat]]);
  expect(inProcess.dependency().state).toBe('up');
  await inProcess.stop();
  inProcess.nudge();
  expect(woken).toBe(1);
});
