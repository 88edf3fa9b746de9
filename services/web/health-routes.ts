/** `/healthy`: whether the page works, for whoever watches over containers. It says nothing of the station. */
import type { FastifyInstance } from 'fastify';

/** 200 also while the database is away: a restart of the page would not bring it back. */
export function serveHealth(app: FastifyInstance, version: string): void {
  const startedAtMs = performance.now();
  app.get('/healthy', { config: { isPublic: true, isData: true } }, () => ({
    service: 'web',
    version,
    status: 'ok',
    uptimeSeconds: Math.floor((performance.now() - startedAtMs) / 1000),
  }));
}
