/**
 * The embedded PostgreSQL, kept running until it is stopped: one that ended (for lack of memory, on a full disk) is started
 * again, since nobody else would. Recording goes on without it; the page does not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from './embedded-postgres.ts';

/** On the same port, whichever server runs at the moment. */
export type KeptPostgres = Omit<EmbeddedPostgres, 'pid' | 'ended'>;

const RESTART_DELAYS_MS = [250, 1000, 5000, 30_000] as const;
/** A server that ran for this long was well: its next restart is soon again. */
const WELL_AFTER_MS = 60_000;

/** Throws as `startEmbeddedPostgres` does; only what ends later is started again. */
export async function keepEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<KeptPostgres> {
  const first = await startEmbeddedPostgres(options);
  const stopping = new AbortController();
  let server: EmbeddedPostgres | null = first;

  const startAgain = async (): Promise<EmbeddedPostgres | null> => {
    try {
      return await startEmbeddedPostgres({ ...options, port: first.port });
    } catch (err) {
      options.log.warn({ err }, 'The database server cannot be started again; that is tried again.');
      return null;
    }
  };
  const keep = async (): Promise<void> => {
    for (let failures = 0; ; ) {
      const beganMs = performance.now();
      const words = await server?.ended;
      if (stopping.signal.aborted) return;
      server = null;
      failures = performance.now() - beganMs > WELL_AFTER_MS ? 0 : failures + 1;
      if (words !== undefined) options.log.warn({ words }, 'The database server ended by itself; it is started again.');
      const delayMs = RESTART_DELAYS_MS[Math.min(failures, RESTART_DELAYS_MS.length - 1)];
      await sleep(delayMs, undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return;
      server = await startAgain();
      if (stopping.signal.aborted) await server?.stop();
    }
  };
  const kept = keep();

  const { host, port, user, password, database } = first;
  return {
    ...{ host, port, user, password, database },
    async stop() {
      stopping.abort();
      await server?.stop();
      await kept;
    },
  };
}
