/**
 * `GET /healthy`: whether the controller does its work, for whoever supervises it. Every other path and method is 404.
 * 503 means that a restart would help; a dependency that is away is told in the body, since a restart would not bring
 * it back.
 */
import fastify, { type FastifyReply } from 'fastify';
import type { Log } from './log.ts';
import type { DependencyState } from './world.ts';

export interface HealthSnapshot {
  service: string;
  version: string;
  uptimeSeconds: number;
  /** null: no cycle has finished yet. */
  lastCycleAgeMs: number | null;
  /** The loop's longest pause. */
  tickMs: number;
  dependencies: DependencyState[];
  /** Now, on the same monotonic clock as the `sinceMs` of the dependencies. */
  nowMs: number;
}

export interface HealthBody {
  service: string;
  version: string;
  status: 'ok' | 'degraded' | 'stuck';
  message: string;
  uptimeSeconds: number;
  lastCycleAgeSeconds: number | null;
  dependencies: { name: string; state: DependencyState['state']; message: string; forSeconds: number }[];
}

export interface HealthOptions {
  /** 0: any free port. */
  port: number;
  host: string;
  log: Log;
  snapshot(): HealthSnapshot;
}

export interface HealthServer {
  port: number;
  close(): Promise<void>;
}

/** Cycles may be this many ticks late before the controller calls itself stuck. */
const LATE_TICKS = 3;
const TIMEOUT_MS = 5000;

/** Listens. Throws an error with a sentence for a person where port or address cannot be had. */
export async function startHealth({ port, host, log, snapshot }: HealthOptions): Promise<HealthServer> {
  const server = fastify({
    logger: false,
    exposeHeadRoutes: false,
    bodyLimit: 1024,
    connectionTimeout: TIMEOUT_MS,
    requestTimeout: TIMEOUT_MS,
    keepAliveTimeout: TIMEOUT_MS,
    forceCloseConnections: true,
    http: { maxHeaderSize: 8192 },
    frameworkErrors: (_error, _request, reply) => notFound(reply),
  });
  server.server.maxConnections = 32;
  // Before routing and before any body is read: what comes next would answer some of these with 400, 413 or 415.
  server.addHook('onRequest', async (request, reply) => {
    const [path] = (request.raw.url ?? '').split('?');
    if (request.raw.method !== 'GET' || path !== '/healthy') return notFound(reply);
  });
  server.setErrorHandler((error, _request, reply) => {
    log.error({ err: error }, 'The state of the controller could not be told at /healthy.');
    return reply.code(500).send({ status: 'stuck', message: 'The state could not be told; the log says why.' });
  });
  server.get('/healthy', (_request, reply) => {
    const body = healthBody(snapshot());
    return reply
      .code(body.status === 'stuck' ? 503 : 200)
      .header('cache-control', 'no-store')
      .send(body);
  });
  try {
    await server.listen({ port, host });
  } catch (error) {
    await server.close();
    throw new Error(listenProblem(error, host, port), { cause: error });
  }
  const address = server.server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: () => server.close(),
  };
}

/** What `/healthy` says about `snapshot`. */
export function healthBody(snapshot: HealthSnapshot): HealthBody {
  const { service, version, uptimeSeconds, lastCycleAgeMs, tickMs, nowMs } = snapshot;
  const limitMs = LATE_TICKS * tickMs;
  const silentMs = lastCycleAgeMs ?? uptimeSeconds * 1000;
  const down = snapshot.dependencies.filter(({ state }) => state === 'down');
  const status = silentMs > limitMs ? 'stuck' : down.length > 0 ? 'degraded' : 'ok';
  const message = {
    stuck: `No cycle has finished for ${wholeSeconds(silentMs)} s; at most ${wholeSeconds(limitMs)} s are normal.`,
    degraded: `Working without ${down.map(({ name }) => name).join(', ')}.`,
    ok: lastCycleAgeMs === null ? 'Starting.' : 'Working.',
  }[status];
  return {
    service,
    version,
    status,
    message,
    uptimeSeconds: Math.floor(uptimeSeconds),
    lastCycleAgeSeconds: lastCycleAgeMs === null ? null : Math.round(lastCycleAgeMs) / 1000,
    dependencies: snapshot.dependencies.map(({ name, state, message, sinceMs }) => ({
      name,
      state,
      message,
      forSeconds: wholeSeconds(nowMs - sinceMs),
    })),
  };
}

function wholeSeconds(ms: number): number {
  return Math.max(0, Math.floor(ms / 1000));
}

/** The connection is closed, so that a body that nobody reads cannot keep it. */
function notFound(reply: FastifyReply): FastifyReply {
  return reply.code(404).header('connection', 'close').send();
}

function listenProblem(error: unknown, host: string, port: number): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken by another program: stop it, or set SILVASONIC_CONTROLLER_PORT to a free port.`;
  }
  if (code === 'EACCES') {
    return `Port ${port} may not be opened by this user: set SILVASONIC_CONTROLLER_PORT to a port of 1024 or more.`;
  }
  if (code === 'EADDRNOTAVAIL') {
    return `${host} is not an address of this machine: set SILVASONIC_CONTROLLER_BIND to one that is.`;
  }
  return `Port ${port} on ${host} cannot be opened (${error instanceof Error ? error.message : String(error)}).`;
}
