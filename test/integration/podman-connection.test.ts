/** The engine port at a socket that is late, goes away, hangs, lies, or cuts its answers anywhere. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createNetServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createLog } from '../../services/controller/log.ts';
import { createPodman } from '../../services/controller/podman.ts';
import type { Clock, Engine } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { LABEL, OWNER } from '../../services/shared/contract.ts';
import { testSpec } from './container-spec.ts';

const PATIENCE = { timeout: 20_000, interval: 10 };
const stationId: string = randomUUID();
const labels = { [LABEL.owner]: OWNER, [LABEL.station]: stationId };

let folder: string;
let socketPath: string;
let podman: Engine;
let lines: string[];
let stops: (() => void)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-socket-'));
  socketPath = join(folder, 'podman.sock');
  lines = [];
  stops = [];
  podman = connect(createClock());
});
afterEach(() => {
  for (const stop of stops) stop();
  rmSync(folder, { recursive: true, force: true });
});

function connect(clock: Clock): Engine {
  const log = createLog({ level: 'info', destination: { write: (line) => void lines.push(line) } });
  const engine = createPodman({ socketPath, clock, log });
  stops.push(() => void engine.stop());
  return engine;
}

/** Deadlines and delays pass ten times as fast. */
function hurriedClock(): Clock {
  const clock = createClock();
  return { ...clock, timer: (delayMs, callback) => clock.timer(delayMs / 10, callback) };
}

interface Listening {
  /** Connections that are open. */
  open: Set<Socket>;
  close: () => void;
}

async function listen(server: Server): Promise<Listening> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
  });
  const close = (): void => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  stops.push(close);
  server.listen(socketPath);
  await once(server, 'listening');
  return { open, close };
}

const serve = (answer: RequestListener): Promise<Listening> => listen(createHttpServer(answer));

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const listedContainer = (changes: object = {}) => ({
  Id: 'c1',
  Names: ['/one'],
  ImageID: 'abc',
  State: 'running',
  Labels: labels,
  ...changes,
});

describe('a failed reading is told as one', () => {
  test('no socket', async () => {
    expect(await podman.list(stationId)).toMatchObject({
      ok: false,
      error: expect.stringMatching(/no such socket.*podman\.socket/),
    });
    expect(podman.dependency()).toMatchObject({ name: 'engine', state: 'down' });
    expect(await podman.images(['localhost/a:b'])).toMatchObject({ ok: false });
    expect(await podman.run(testSpec(stationId))).toMatchObject({ kind: 'failed', reason: 'EngineUnavailable' });
    expect(await podman.remove('c1', 1)).toMatchObject({ kind: 'failed', reason: 'EngineUnavailable' });
    expect(lines).toHaveLength(1);
  });

  test('accepted and never answered: every call ends at its deadline and frees its socket', async () => {
    const server = await listen(createNetServer((socket) => socket.resume()));
    podman = connect(hurriedClock());
    expect(await podman.list(stationId)).toMatchObject({ ok: false, error: expect.stringMatching(/within 5 s/) });
    expect(await podman.images(['localhost/a:b'])).toMatchObject({ ok: false });
    expect(await podman.run(testSpec(stationId))).toMatchObject({ kind: 'unknown' });
    expect(await podman.remove('c1', 10)).toMatchObject({
      kind: 'unknown',
      message: expect.stringMatching(/within 5 s/),
    });
    expect(await podman.tag('sha256:1', 'localhost/a:b')).toMatchObject({ kind: 'unknown' });
    await vi.waitFor(() => expect(server.open.size).toBe(0), PATIENCE);
  });

  test('one call that hangs holds up no other', async () => {
    const server = await serve((request, response) => {
      if (!request.url?.includes('/c1/')) json(response, 200, []);
    });
    const outcomes = Array.from({ length: 20 }, () => podman.remove('c1', 60));
    await vi.waitFor(() => expect(server.open.size).toBe(20), PATIENCE);
    expect(await podman.list(stationId)).toMatchObject({ ok: true, value: [] });
    expect(server.open.size).toBeGreaterThanOrEqual(20);
    await podman.stop();
    for (const outcome of await Promise.all(outcomes)) expect(outcome.kind).toBe('unknown');
  });

  test('stopping breaks off what hangs', async () => {
    const server = await listen(createNetServer((socket) => socket.resume()));
    const removing = podman.remove('c1', 3600);
    await vi.waitFor(() => expect(server.open.size).toBe(1), PATIENCE);
    await podman.stop();
    expect(await removing).toMatchObject({ kind: 'unknown' });
    await vi.waitFor(() => expect(server.open.size).toBe(0), PATIENCE);
  });

  test.each<[string, RequestListener]>([
    [
      'an answer that breaks off',
      (_request, response) => void response.writeHead(200).write('[{"Id":', () => response.destroy()),
    ],
    ['an answer without an end', (_request, response) => void response.writeHead(200).write('[{"Id":')],
    ['a web page', (_request, response) => void response.writeHead(200).end('<html>Welcome</html>')],
    ['something else', (_request, response) => json(response, 200, { Containers: [] })],
    ['a refusal', (_request, response) => json(response, 500, { cause: 'x', message: 'database is locked' })],
    [
      'one of two questions refused',
      (request, response) =>
        request.url?.includes('/c1/json')
          ? json(response, 500, {})
          : json(response, 200, [listedContainer({ State: 'exited' })]),
    ],
  ])('%s', async (_what, answer) => {
    await serve(answer);
    podman = connect(hurriedClock());
    expect(await podman.list(stationId)).toMatchObject({ ok: false, error: expect.stringMatching(/\S{3}/) });
    expect(podman.dependency().state).toBe('down');
  });

  test('the environment does not lead to another engine', async () => {
    process.env.DOCKER_HOST = 'tcp://127.0.0.1:1';
    try {
      const other = connect(createClock());
      await serve((_request, response) => json(response, 200, []));
      expect(await other.list(stationId)).toMatchObject({ ok: true });
    } finally {
      delete process.env.DOCKER_HOST;
    }
  });
});

describe('a list', () => {
  test('leaves out what is not ours, whatever the engine makes of a filter, and what is gone by now', async () => {
    await serve((request, response) => {
      if (request.url?.includes('/gone/json')) return json(response, 404, { message: 'no such container' });
      const inspected = { Id: 'c2', State: { ExitCode: 137, OOMKilled: true }, Config: {}, HostConfig: {} };
      if (request.url?.includes('/c2/json')) return json(response, 200, inspected);
      json(response, 200, [
        listedContainer(),
        listedContainer({ Id: 'c2', Names: ['/two'], State: 'exited', ImageID: 'sha256:def' }),
        listedContainer({ Id: 'gone', State: 'exited' }),
        listedContainer({ Id: 'c3', State: 'removing' }),
        listedContainer({ Id: 'c4', Labels: { [LABEL.owner]: OWNER, [LABEL.station]: 'another' } }),
        listedContainer({ Id: 'c5', Labels: { [LABEL.station]: stationId } }),
        listedContainer({ Id: 'c6', Labels: null }),
      ]);
    });
    const base = { name: 'one', labels, imageId: 'sha256:abc', exitCode: null, oomKilled: false };
    expect(await podman.list(stationId)).toMatchObject({
      ok: true,
      value: [
        { ...base, id: 'c1', state: 'live' },
        { ...base, id: 'c2', name: 'two', state: 'ended', imageId: 'sha256:def', exitCode: 137, oomKilled: true },
        { ...base, id: 'c3', state: 'moving' },
      ],
    });
    expect(podman.dependency().state).toBe('up');
  });
});

const event = (Action: string, name: string, station = stationId) =>
  `${JSON.stringify({ Type: 'container', Action, Actor: { ID: 'c1', Attributes: { name, [LABEL.station]: station } } })}\n`;

describe('events', () => {
  test('cut anywhere, even within a character; only those that matter', async () => {
    let stream: ServerResponse | undefined;
    await serve((_request, response) => {
      stream = response.writeHead(200);
      response.flushHeaders();
    });
    const heard: string[] = [];
    podman.watch(stationId, (name) => heard.push(name));
    await vi.waitFor(() => expect(heard).toEqual(['']), PATIENCE);
    const bytes = Buffer.from(
      [
        event('start', 'started'),
        event('die', 'eule-grün'),
        event('died', 'käuzchen'),
        '\n',
        event('remove', 'theirs', 'another'),
        event('exec_died', 'exec'),
        event('oom', 'greedy'),
        event('remove', 'removed'),
        event('destroy', 'destroyed'),
      ].join(''),
    );
    for (let at = 0; at < bytes.length; at += 1) {
      stream?.write(bytes.subarray(at, at + 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(
      () => expect(heard).toEqual(['', 'eule-grün', 'käuzchen', 'greedy', 'removed', 'destroyed']),
      PATIENCE,
    );
    stream?.write('what is this\n');
    await vi.waitFor(() => expect(heard.at(-1)).toBe(''), PATIENCE);
  });

  test('a socket that appears late is found, and so is one that comes back; one line for each change', async () => {
    let wakes = 0;
    podman.watch(stationId, () => {
      wakes += 1;
    });
    await vi.waitFor(() => expect(podman.dependency().message).toMatch(/no such socket/), PATIENCE);
    const answer: RequestListener = (_request, response) => response.writeHead(200).flushHeaders();
    const first = await serve(answer);
    await vi.waitFor(() => expect([wakes, podman.dependency().state]).toEqual([1, 'up']), PATIENCE);
    first.close();
    await vi.waitFor(() => expect(podman.dependency().state).toBe('down'), PATIENCE);
    await vi.waitFor(() => rmSync(socketPath, { force: true }), PATIENCE);
    await serve(answer);
    await vi.waitFor(() => expect([wakes, podman.dependency().state]).toEqual([2, 'up']), PATIENCE);
    expect(lines.map((line) => JSON.parse(line).state)).toEqual(['down', 'up', 'down', 'up']);
  });

  test('while the stream is open nothing is asked', async () => {
    let requests = 0;
    await serve((_request, response) => {
      requests += 1;
      response.writeHead(200).flushHeaders();
    });
    podman = connect(hurriedClock());
    podman.watch(stationId, () => {});
    await vi.waitFor(() => expect(podman.dependency().state).toBe('up'), PATIENCE);
    // Twenty seconds by the hurried clock: longer than any deadline or delay of a reconnection.
    await new Promise<void>((resolve) => hurriedClock().timer(20_000, resolve));
    expect(requests).toBe(1);
  });

  test('an engine that hangs or refuses is asked again, ever more rarely', async () => {
    let requests = 0;
    await serve((_request, response) => {
      requests += 1;
      if (requests === 1) return;
      if (requests < 4) return json(response, 500, { message: 'not yet' });
      response.writeHead(200).flushHeaders();
    });
    let wakes = 0;
    podman = connect(hurriedClock());
    podman.watch(stationId, () => {
      wakes += 1;
    });
    await vi.waitFor(() => expect(podman.dependency().message).toMatch(/within 5 s/), PATIENCE);
    await vi.waitFor(() => expect([requests, wakes]).toEqual([4, 1]), PATIENCE);
  });
});

interface Made {
  name: string;
  limits: Record<string, unknown>;
  running: boolean;
}

/** An engine that refuses starts by a rule of ours; answers what containers there are in the end. */
async function serveEngine(
  refuse: (hostConfig: Record<string, unknown>) => string | null,
  info: Record<string, unknown> = {},
): Promise<Made[]> {
  const made: Made[] = [];
  await serve(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://engine');
    const index = Number(/containers\/(\d+)/.exec(url.pathname)?.[1]);
    const container = made[index];
    if (url.pathname === '/info') {
      const all = { MemoryLimit: true, CpuCfsQuota: true, PidsLimit: true, SecurityOptions: [], ...info };
      return json(response, 200, all);
    }
    if (url.pathname.endsWith('/create')) {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const { HostConfig } = JSON.parse(Buffer.concat(chunks).toString());
      made.push({ name: url.searchParams.get('name') ?? '', limits: HostConfig, running: false });
      return json(response, 201, { Id: String(made.length - 1), Warnings: [] });
    }
    if (container === undefined) return json(response, 404, { message: 'no such container' });
    if (request.method === 'DELETE') {
      delete made[index];
      return json(response, 200, []);
    }
    if (url.pathname.endsWith('/start')) {
      const refusal = refuse(container.limits);
      if (refusal !== null) return json(response, 500, { message: refusal });
      container.running = true;
      return void response.writeHead(204).end();
    }
    const inspected = { Id: String(index), State: {}, Config: {}, HostConfig: { ...container.limits } };
    return json(response, 200, inspected);
  });
  return made;
}

const left = (made: Made[]): Made[] => made.filter((container) => container !== undefined);

describe('limits that this host cannot show us refused', () => {
  test('a cgroup controller that is missing', async () => {
    const made = await serveEngine(({ Memory }) =>
      Memory === undefined
        ? null
        : 'crun: the requested cgroup controller `memory` is not available: OCI runtime error',
    );
    const outcome = await podman.run(testSpec(stationId));
    expect(outcome).toMatchObject({
      kind: 'done',
      refusedLimits: [{ reason: 'MemoryLimitRefused', message: expect.stringMatching(/64 MiB.*cgroup_enable=memory/) }],
    });
    expect(left(made)).toMatchObject([{ running: true, limits: { PidsLimit: 32, NanoCpus: 500_000_000 } }]);
  });

  test('an engine with a score of its own: the lowest that it allows', async () => {
    const made = await serveEngine(({ OomScoreAdj }) =>
      Number(OomScoreAdj) < 200 ? 'crun: write to `/proc/self/oom_score_adj`: Permission denied' : null,
    );
    const first = await podman.run(testSpec(stationId, { limits: { oomScoreAdj: -999 } }));
    expect(first).toMatchObject({ kind: 'done', refusedLimits: [{ reason: 'OomScoreRefused' }] });
    expect(left(made)).toMatchObject([{ running: true, limits: { OomScoreAdj: 200 } }]);
    const before = made.length;
    await podman.run(testSpec(stationId, { limits: { oomScoreAdj: -999 } }));
    expect(made.length).toBe(before + 1);
  });

  test('what was learned never raises a score that the engine may give', async () => {
    const made = await serveEngine(({ OomScoreAdj }) => (Number(OomScoreAdj) < 0 ? 'oom_score_adj: denied' : null));
    await podman.run(testSpec(stationId, { limits: { oomScoreAdj: -999 } }));
    const outcome = await podman.run(testSpec(stationId, { limits: { oomScoreAdj: 500 } }));
    expect(outcome).toMatchObject({ kind: 'done', refusedLimits: [] });
    expect(left(made).map(({ limits }) => limits.OomScoreAdj)).toEqual([0, 500]);
  });

  test('ignored without a word: the memory cgroup that is switched off', async () => {
    await serveEngine(() => null, { MemoryLimit: false });
    expect(await podman.run(testSpec(stationId))).toMatchObject({
      refusedLimits: [{ reason: 'MemoryLimitIgnored', message: expect.stringMatching(/cmdline\.txt/) }],
    });
  });

  test('ignored without a word: rootless on cgroups v1', async () => {
    await serveEngine(() => null, { SecurityOptions: ['name=rootless'], CgroupVersion: '1' });
    const outcome = await podman.run(testSpec(stationId));
    const reasons = outcome.kind === 'done' ? outcome.refusedLimits.map(({ reason }) => reason) : [];
    expect(reasons).toEqual(['MemoryLimitIgnored', 'CpuLimitIgnored', 'PidsLimitIgnored']);
  });

  test('a refusal that no concession cures ends, told in the words of the engine, and leaves nothing', async () => {
    const made = await serveEngine(() => 'cgroup: something is always wrong');
    expect(await podman.run(testSpec(stationId))).toMatchObject({
      kind: 'failed',
      reason: 'StartFailed',
      message: expect.stringMatching(/always wrong/),
    });
    expect(left(made)).toEqual([]);
  });
});
