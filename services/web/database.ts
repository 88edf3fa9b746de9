/**
 * The page's way to the database: one session in the page's role, let go when it does not answer and made anew when it is
 * next needed; and an ear for changes, so that what is shown follows at once.
 */
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import type { Clock } from '../shared/clock.ts';
import { errorText, type Log } from '../shared/log.ts';
import {
  ConnectionError,
  DeadlineError,
  openSession,
  type Session,
  type StoreConnection,
  withDeadline,
} from '../shared/postgres-session.ts';
import { PAGE_ROLE } from '../shared/schema.ts';
import { texts } from './texts.ts';

/** A sentence of the database that is meant for a person: a rule of the schema was broken. */
export class Refusal extends Error {}

/** The database is away; the sentence says so. */
export class DatabaseAway extends Error {}

export interface PageDatabase {
  /** Throws `Refusal` when a rule of the database forbids it, `DatabaseAway` when it does not answer. */
  query<T>(work: (database: PostgresJsDatabase) => Promise<T>): Promise<T>;
  /** Calls back after each change of devices, services, profiles, settings or events; returns its cancellation. */
  onChange(callback: () => void): () => void;
  stop(): Promise<void>;
}

const QUERY_DEADLINE_MS = 5000;
const STATEMENT_TIMEOUT_MS = 10_000;
const CONNECTIONS = 4;
const CHANNEL = 'silvasonic_changed';
const LISTEN_AGAIN_MS = 5000;

/** SQLSTATEs whose message is a sentence of our own triggers, or of a CHECK: 23xxx, and those that triggers choose. */
const RULES = new Set(['23514', '23503', '23001', '55006', '42501', '23505']);

/** Connects at the first query. */
export function createPageDatabase(connection: StoreConnection, clock: Clock, log: Log): PageDatabase {
  let session: Promise<Session> | null = null;
  let stopped = false;
  let listening = false;
  const callbacks = new Set<() => void>();
  let cancelListenAgain = (): void => {};

  const open = (): Promise<Session> => {
    session ??= openSession(connection, {
      applicationName: 'silvasonic-web',
      connections: CONNECTIONS,
      role: PAGE_ROLE,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    });
    return session;
  };

  /** Unless somebody has made another one since. */
  const letGo = async (gone: Promise<Session>): Promise<void> => {
    if (session === gone) {
      session = null;
      listening = false;
    }
    await gone.then((one) => one.destroy()).catch(() => {});
  };

  const tell = (): void => {
    for (const callback of callbacks) callback();
  };

  /** The driver listens again by itself after a lost connection; only a session that was let go needs us. */
  const listen = async (): Promise<void> => {
    if (listening || stopped || callbacks.size === 0) return;
    listening = true;
    const used = open();
    try {
      const opened = await used;
      await withDeadline(clock, QUERY_DEADLINE_MS, opened.client.listen(CHANNEL, tell, tell));
    } catch (error) {
      log('warn', `The page does not hear of changes for now: ${errorText(error)}`);
      await letGo(used);
      cancelListenAgain = clock.timer(LISTEN_AGAIN_MS, () => void listen());
    }
  };

  return {
    async query(work) {
      if (stopped) throw new DatabaseAway('The page is being stopped.');
      const used = open();
      try {
        const { database } = await used;
        const answer = await withDeadline(clock, QUERY_DEADLINE_MS, work(database));
        void listen();
        return answer;
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal !== null) throw new Refusal(refusal, { cause: error });
        if (error instanceof DeadlineError || isConnectionFailure(error)) {
          await letGo(used);
          throw new DatabaseAway(`The database does not answer (${withoutStatement(error)}).`);
        }
        throw error instanceof Error && 'query' in error ? new Error(withoutStatement(error)) : error;
      }
    },
    onChange(callback) {
      callbacks.add(callback);
      void listen();
      return () => callbacks.delete(callback);
    },
    async stop() {
      stopped = true;
      cancelListenAgain();
      const last = session;
      session = null;
      await last?.then((one) => one.close()).catch(() => {});
    },
  };
}

/** What is wrong at the root. A statement's parameters may be digests of passwords, and belong into no log and on no page. */
function withoutStatement(error: unknown): string {
  let root = error;
  while (root instanceof Error && root.cause !== undefined) root = root.cause;
  return errorText(root);
}

/**
 * What is said of a broken rule, for a person; null: it is something else. Our triggers have sentences of their own; of a
 * named constraint PostgreSQL speaks to programmers.
 */
function refusalOf(error: unknown): string | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code: unknown = Reflect.get(cause, 'code');
    if (typeof code !== 'string' || !RULES.has(code)) continue;
    return Reflect.get(cause, 'constraint_name') === undefined ? cause.message : texts.errors.constraint;
  }
  return null;
}

/** Everything that is no answer of the server: refused, closed, unknown host; and a server that starts or stops. */
function isConnectionFailure(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ConnectionError) return true;
    const code: unknown = Reflect.get(cause, 'code');
    if (typeof code !== 'string') continue;
    if (/^(E[A-Z]+|CONNECTION_|CONNECT_TIMEOUT)/.test(code)) return true;
    if (/^(57P0|08|28|3D|53|25006)/.test(code)) return true;
  }
  return false;
}
