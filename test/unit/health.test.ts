import { request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { type HealthServer, type HealthSnapshot, healthBody, startHealth } from '../../services/controller/health.ts';
import { createLog } from '../../services/controller/log.ts';

const log = createLog({ level: 'silent' });
const servers: HealthServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

function snapshot(changes: Partial<HealthSnapshot> = {}): HealthSnapshot {
  return {
    service: 'controller',
    version: '1.2.3',
    uptimeSeconds: 100.7,
    lastCycleAgeMs: 1234,
    tickMs: 30_000,
    dependencies: [
      { name: 'database', state: 'up', message: 'Connected.', sinceMs: 1000 },
      { name: 'redis', state: 'absent', message: 'Not configured.', sinceMs: 1000 },
    ],
    nowMs: 61_500,
    ...changes,
  };
}

async function serve(tell: () => HealthSnapshot = snapshot): Promise<number> {
  const server = await startHealth({ port: 0, host: '127.0.0.1', log, snapshot: tell });
  servers.push(server);
  return server.port;
}

interface Answer {
  code: number | undefined;
  headers: NodeJS.Dict<string | string[]>;
  body: string;
}

function ask(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<Answer> {
  return new Promise((settle, fail) => {
    const asked = request({ port, host: '127.0.0.1', method, path, headers, timeout: 5000 }, (answer) => {
      text(answer).then((content) => settle({ code: answer.statusCode, headers: answer.headers, body: content }), fail);
    });
    asked.on('error', fail);
    asked.end(body);
  });
}

/** The first line that comes back for these bytes. */
function askRaw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
  return text(socket).then((answer) => answer.split('\r\n')[0] ?? '');
}

describe('GET /healthy', () => {
  it('tells service, version, uptime, last cycle and dependencies', async () => {
    const { code, headers, body } = await ask(await serve(), 'GET', '/healthy');
    expect(code).toBe(200);
    expect(headers['content-type']).toContain('application/json');
    expect(headers['cache-control']).toBe('no-store');
    expect(headers).not.toHaveProperty('server');
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(JSON.parse(body)).toEqual({
      service: 'controller',
      version: '1.2.3',
      status: 'ok',
      message: 'Working.',
      uptimeSeconds: 100,
      lastCycleAgeSeconds: 1.234,
      dependencies: [
        { name: 'database', state: 'up', message: 'Connected.', forSeconds: 60 },
        { name: 'redis', state: 'absent', message: 'Not configured.', forSeconds: 60 },
      ],
    });
  });

  it('answers to a query too, which probes use against caches', async () => {
    expect((await ask(await serve(), 'GET', '/healthy?now=1')).code).toBe(200);
  });

  it('stays 200 when a dependency is away, and says which', async () => {
    const down = { name: 'database', state: 'down' as const, message: 'No answer.', sinceMs: 50_000 };
    const { code, body } = await ask(await serve(() => snapshot({ dependencies: [down] })), 'GET', '/healthy');
    expect(code).toBe(200);
    expect(JSON.parse(body)).toMatchObject({
      status: 'degraded',
      message: 'Working without database.',
      dependencies: [{ name: 'database', state: 'down', message: 'No answer.', forSeconds: 11 }],
    });
  });

  it('is 503 while no cycle finishes, and 200 again afterwards', async () => {
    let lastCycleAgeMs = 95_000;
    const port = await serve(() => snapshot({ lastCycleAgeMs }));
    const { code, body } = await ask(port, 'GET', '/healthy');
    expect(code).toBe(503);
    expect(JSON.parse(body)).toMatchObject({
      status: 'stuck',
      message: 'No cycle has finished for 95 s; at most 90 s are normal.',
    });
    lastCycleAgeMs = 10;
    expect((await ask(port, 'GET', '/healthy')).code).toBe(200);
  });

  it('is 500 where the state cannot be told, without the reason, which is for the log', async () => {
    const port = await serve(() => {
      throw new Error('private');
    });
    const { code, body } = await ask(port, 'GET', '/healthy');
    expect(code).toBe(500);
    expect(body).not.toContain('private');
  });
});

describe('every other path or method is 404', () => {
  it.each(['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'QUERY'])(
    '%s /healthy',
    async (method) => {
      const { code, body } = await ask(await serve(), method, '/healthy');
      expect(code).toBe(404);
      expect(body).toBe('');
    },
  );

  it.each([
    '/',
    '/health',
    '/healthy/',
    '/Healthy',
    '//healthy',
    '/%68ealthy',
    '/healthy;a',
    '/healthy/x',
    '/metrics',
    '/%zz',
    '/%',
  ])('GET %s', async (path) => {
    expect((await ask(await serve(), 'GET', path)).code).toBe(404);
  });

  it('whatever comes with it', async () => {
    const port = await serve();
    const types = ['application/json', 'application/x-unknown', 'no type at all', ''];
    for (const type of types) {
      expect((await ask(port, 'POST', '/healthy', { 'content-type': type }, '{not json')).code).toBe(404);
    }
    expect((await ask(port, 'POST', '/', { 'content-type': 'application/json' }, 'x'.repeat(5000))).code).toBe(404);
    expect((await ask(port, 'DELETE', '/', { accept: 'text/html', 'accept-version': '2' })).code).toBe(404);
    expect(await askRaw(port, 'GET http://other/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toContain(
      ' 404 ',
    );
    expect(await askRaw(port, 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toContain(' 404 ');
  });

  it('and what is no HTTP gets an error, while the server goes on', async () => {
    const port = await serve();
    expect(await askRaw(port, 'hello\r\n\r\n')).toContain(' 400 ');
    expect(await askRaw(port, `GET /healthy HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`)).toContain(
      ' 431 ',
    );
    expect((await ask(port, 'GET', '/healthy')).code).toBe(200);
  });
});

describe('healthBody', () => {
  it.each([
    ['starting', { lastCycleAgeMs: null, uptimeSeconds: 2 }, 'ok', 'Starting.'],
    ['never finished one', { lastCycleAgeMs: null, uptimeSeconds: 91 }, 'stuck', /^No cycle has finished for 91 s/],
    ['at the limit', { lastCycleAgeMs: 90_000 }, 'ok', 'Working.'],
    ['beyond', { lastCycleAgeMs: 90_001 }, 'stuck', /^No cycle/],
  ] as const)('%s', (_name, changes, status, message) => {
    const body = healthBody(snapshot(changes));
    expect(body.status).toBe(status);
    expect(body.message).toMatch(message);
  });
});

describe('startHealth', () => {
  it('says which port is taken and which variable changes it', async () => {
    const port = await serve();
    await expect(startHealth({ port, host: '127.0.0.1', log, snapshot })).rejects.toThrow(
      `Port ${port} on 127.0.0.1 is taken by another program: stop it, or set SILVASONIC_CONTROLLER_PORT to a free port.`,
    );
  });

  it('says which address is none of this machine', async () => {
    await expect(startHealth({ port: 0, host: '192.0.2.1', log, snapshot })).rejects.toThrow(
      /SILVASONIC_CONTROLLER_BIND/,
    );
  });

  it('closes although somebody keeps a connection, and frees the port', async () => {
    const server = await startHealth({ port: 0, host: '127.0.0.1', log, snapshot });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n');
    await new Promise((seen) => socket.once('data', seen));
    await server.close();
    servers.push(await startHealth({ port: server.port, host: '127.0.0.1', log, snapshot }));
    socket.destroy();
  });
});
