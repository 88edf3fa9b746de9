/**
 * The database as the controller knows it: one statement reads all of it, one transaction writes what changed. Once a
 * reading failed, readings fail at once while a prober tries in the background; a hung server hangs nobody.
 */

import { atMost } from '../shared/clock.ts';
import { openSession, type Session, type StoreConnection, withDeadline } from '../shared/postgres-session.ts';
import type { SeedProfile } from '../shared/profile.ts';
import { CONTROLLER_ROLE } from '../shared/schema.ts';
import { createStateLog, type Log } from './log.ts';
import { adoptState } from './store-adopt.ts';
import { describeFailure, refusalOf } from './store-failure.ts';
import { createProber } from './store-prober.ts';
import { type Answer, createDesiredParser, parseAnswer } from './store-rows.ts';
import { type PageLogin, prepareDatabase, refuseNewerSchema } from './store-schema.ts';
import type { SeedService } from './store-seeds.ts';
import { applyChanges, isEmpty, type Statements } from './store-write.ts';
import type { Clock, DependencyState, Reading, Store } from './world.ts';

export type { StoreConnection } from '../shared/postgres-session.ts';
export type { PageLogin } from './store-schema.ts';
export type { SeedService } from './store-seeds.ts';

export interface StoreOptions {
  connection: StoreConnection;
  /** Folder with `meta/_journal.json`: a bundle cannot find it by itself. */
  migrationsFolder: string;
  seedProfiles: readonly SeedProfile[];
  seedServices?: readonly SeedService[];
  /** A login that the page uses, made and kept as given. */
  pageLogin?: PageLogin | null;
  clock: Clock;
  log: Log;
}

const READ_DEADLINE_MS = 2000;
const WRITE_DEADLINE_MS = 5000;
const ADOPT_DEADLINE_MS = 15_000;
/** The server gives up too, some time after we did. */
const STATEMENT_TIMEOUT_MS = 15_000;
/** One reads while the other writes. */
const CONNECTIONS = 2;

/** All of it in one statement, so that no two parts are of different moments. */
const READ_STATEMENT = `
  select
    (select max(created_at)::text from silvasonic_migrations) as schema_at,
    (select coalesce(json_object_agg(key, value order by key), '{}')::text from system_config) as config,
    (select coalesce(json_agg(row_to_json(one)::text order by one.slug), '[]')
      from (select slug, name, description, manufacturer, model, is_system, config from microphone_profiles) as one) as profiles,
    (select coalesce(json_agg(row_to_json(one)::text order by one.id), '[]') from devices as one) as devices,
    (select coalesce(json_agg(row_to_json(one)::text order by one.name), '[]') from system_services as one) as services`;

/** The store on a real PostgreSQL (13 or later). Connects only after `start`. */
export function createStore(options: StoreOptions): Store {
  const { clock, connection } = options;
  const stateLog = createStateLog(options.log);
  const parseDesired = createDesiredParser();
  const preparation = { seedServices: [], pageLogin: null, ...options };
  const opening = new Set<Session>();
  let session: Session | null = null;
  let newestAt = 0;
  let stopped = false;
  let failure = 'The database has not been reached yet.';
  let dependency: DependencyState = { name: 'database', state: 'down', message: failure, sinceMs: clock.nowMs() };
  let onAvailable = (): void => {};
  let firstAttemptOver = (): void => {};
  const firstAttempt = new Promise<void>((resolve) => {
    firstAttemptOver = resolve;
  });

  const tell = (state: DependencyState['state'], message: string): void => {
    const sinceMs = dependency.state === state ? dependency.sinceMs : clock.nowMs();
    dependency = { ...dependency, state, message, sinceMs };
    if (!stopped) stateLog.tell('database', `${state}: ${message}`, state === 'up' ? 'info' : 'warn', message);
  };

  const readAnswer = async ({ client }: Session): Promise<Answer> => {
    const [row] = await client.unsafe(READ_STATEMENT, [], { prepare: true });
    return parseAnswer(row);
  };

  /** Ready to be read, or thrown away: what throws here is told by `attempt`. */
  const connect = async (): Promise<Session> => {
    const track = (one: Session): void => {
      if (stopped) one.destroy();
      else opening.add(one);
    };
    const prepared = await prepareDatabase(preparation, track);
    newestAt = prepared.newestAt;
    if (prepared.pageProblem !== null) pageProber.start();
    const settings = {
      applicationName: 'silvasonic-controller',
      connections: CONNECTIONS,
      role: CONTROLLER_ROLE,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    };
    const opened = await withDeadline(clock, READ_DEADLINE_MS, openSession(connection, settings));
    track(opened);
    try {
      await withDeadline(clock, READ_DEADLINE_MS, readAnswer(opened));
      return opened;
    } catch (error) {
      opened.destroy();
      throw error;
    }
  };

  const attempt = async (): Promise<boolean> => {
    try {
      const opened = await connect();
      if (stopped) {
        opened.destroy();
        return false;
      }
      session = opened;
      tell('up', 'The database is connected.');
      return true;
    } catch (error) {
      failure = describeFailure(error, connection);
      tell('down', failure);
      return false;
    } finally {
      opening.clear();
      firstAttemptOver();
    }
  };
  const prober = createProber(clock, attempt, () => onAvailable());

  /** The page's login alone is missing: it is made beside the work, once its password can be read. */
  const makePageLogin = async (): Promise<boolean> => {
    const own: Session[] = [];
    try {
      const { pageProblem } = await prepareDatabase(preparation, (one) => {
        own.push(one);
        if (stopped) one.destroy();
        else opening.add(one);
      });
      const [state, level] = pageProblem === null ? (['up', 'info'] as const) : (['down', 'warn'] as const);
      const message = pageProblem ?? 'The page can sign in to the database.';
      if (!stopped) stateLog.tell('login of the page', state, level, message);
      return pageProblem === null;
    } catch {
      // The database itself is away, which is told elsewhere.
      return false;
    } finally {
      for (const one of own) opening.delete(one);
    }
  };
  const pageProber = createProber(clock, makePageLogin, () => {});

  const letGo = (gone: Session, error: unknown): void => {
    if (session !== gone) return;
    session = null;
    failure = describeFailure(error, connection);
    gone.destroy();
    if (stopped) return;
    tell('down', failure);
    prober.start();
  };

  const change = async (
    deadlineMs: number,
    work: (statements: Statements) => Promise<void>,
  ): Promise<Reading<null>> => {
    const startedAtMs = clock.nowMs();
    const current = session;
    if (current === null) return { ok: false, error: failure, startedAtMs };
    try {
      await withDeadline(clock, deadlineMs, current.database.transaction(work));
      if (session === current) tell('up', 'The database is connected.');
      return { ok: true, value: null, startedAtMs };
    } catch (error) {
      const message = describeFailure(error, connection);
      // A statement that was refused says nothing against reading; a connection that broke does.
      if (refusalOf(error) === null) letGo(current, error);
      else if (session === current) tell('down', `The database can be read, but a change was refused. ${message}`);
      return { ok: false, error: message, startedAtMs };
    }
  };

  return {
    start(callback) {
      onAvailable = callback;
      prober.start();
    },
    async read() {
      const startedAtMs = clock.nowMs();
      // At the start nobody knows yet, and going by an old last good state would be the worse answer.
      if (session === null) await atMost(clock, READ_DEADLINE_MS, firstAttempt);
      const current = session;
      if (current === null) return { ok: false, error: failure, startedAtMs };
      try {
        const answer = await withDeadline(clock, READ_DEADLINE_MS, readAnswer(current));
        refuseNewerSchema(answer.schema_at, newestAt);
        return { ok: true, value: parseDesired(answer), startedAtMs };
      } catch (error) {
        letGo(current, error);
        return { ok: false, error: describeFailure(error, connection), startedAtMs };
      }
    },
    async write(changes) {
      if (isEmpty(changes)) return { ok: true, value: null, startedAtMs: clock.nowMs() };
      return await change(WRITE_DEADLINE_MS, (transaction) => applyChanges(transaction, changes));
    },
    adopt: (state) => change(ADOPT_DEADLINE_MS, (transaction) => adoptState(transaction, state)),
    dependency: () => dependency,
    async stop() {
      stopped = true;
      prober.stop();
      pageProber.stop();
      failure = 'The store has been stopped.';
      firstAttemptOver();
      for (const one of opening) one.destroy();
      const last = session;
      session = null;
      await last?.close();
    },
  };
}
