/**
 * Connections to PostgreSQL that can be let go at any moment. The driver waits for a server that has stopped answering
 * (a frozen process, a hung disk), so every socket is made here, where it can be destroyed.
 */
import { connect, type Socket } from 'node:net';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import type { Clock } from './clock.ts';
import type { Parsed } from './parse.ts';

/** How to reach the database. A `host` that begins with a slash is the folder of a Unix socket. */
export interface StoreConnection {
  host: string;
  port: number;
  user: string;
  /** null: none. A function is asked anew for each session, so that a changed password file is noticed. */
  password: string | null | (() => Promise<Parsed<string | null>>);
  database: string;
}

export interface SessionOptions {
  connections: number;
  /** How the server lists this connection. */
  applicationName: string;
  /** The role that all statements run as; null: the user's own. */
  role: string | null;
  /** The server gives a statement up after this. Milliseconds. */
  statementTimeoutMs: number;
}

export interface Session {
  /** For statements that go out once. */
  database: PostgresJsDatabase;
  /** The driver itself: for the one statement that is prepared. */
  client: postgres.Sql;
  /** Says goodbye to the server, for at most a second, then lets go. */
  close(): Promise<void>;
  /** Lets go at once: every statement under way fails, also on a server that no longer answers. */
  destroy(): void;
}

/** A statement that waits for another's lock is given up. Milliseconds. */
const LOCK_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_S = 5;
const GOODBYE_TIMEOUT_S = 1;

/** Prepares a session; the first statement connects. Throws when the password cannot be read. */
export async function openSession(connection: StoreConnection, options: SessionOptions): Promise<Session> {
  const password = await readPassword(connection.password);
  const sockets = new Set<Socket>();
  let destroyed = false;

  const makeSocket = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      if (destroyed) {
        reject(new ConnectionError('The connection to the database was given up.'));
        return;
      }
      const { host, port } = connection;
      const socket = host.startsWith('/') ? connect({ path: `${host}/.s.PGSQL.${port}` }) : connect({ host, port });
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.once('close', () => {
        sockets.delete(socket);
        reject(new ConnectionError(`The connection to ${host}:${port} was closed before it was made.`));
      });
      socket.once('error', reject);
      socket.once('connect', () => resolve(socket));
    });

  const settings: postgres.Options<Record<string, never>> & { socket: () => Promise<Socket> } = {
    host: connection.host,
    port: connection.port,
    user: connection.user,
    pass: password ?? '',
    database: connection.database,
    max: options.connections,
    socket: makeSocket,
    connect_timeout: CONNECT_TIMEOUT_S,
    // Nothing by itself: no lookup of types, no reconnecting at some age.
    fetch_types: false,
    max_lifetime: null,
    onnotice: () => {},
    connection: {
      application_name: options.applicationName,
      statement_timeout: options.statementTimeoutMs,
      lock_timeout: LOCK_TIMEOUT_MS,
      idle_in_transaction_session_timeout: 10_000,
      ...(options.role !== null && { role: options.role }),
    },
  };
  const client = postgres(settings);
  const destroy = (): void => {
    destroyed = true;
    for (const socket of sockets) socket.destroy();
    // Statements that never got a socket are refused too.
    void client.end({ timeout: 0 });
  };
  return {
    client,
    database: drizzle(client),
    async close() {
      await client.end({ timeout: GOODBYE_TIMEOUT_S });
      destroy();
    },
    destroy,
  };
}

async function readPassword(password: StoreConnection['password']): Promise<string | null> {
  if (typeof password !== 'function') return password;
  const read = await password();
  if (!read.ok) throw new ConnectionError(read.message);
  return read.value;
}

/** There is no connection, for a reason of ours. */
export class ConnectionError extends Error {}

/** What a deadline that passed throws: nobody knows what became of the work. */
export class DeadlineError extends Error {}

/**
 * The work's result, or after `deadlineMs` a `DeadlineError` that says what has not answered. The work itself goes on:
 * whoever calls lets go of its connection.
 */
export function withDeadline<T>(clock: Clock, deadlineMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.timer(deadlineMs, () =>
      reject(new DeadlineError(`The database did not answer within ${deadlineMs / 1000} s.`)),
    );
    work.then(resolve, reject).finally(cancel);
  });
}
