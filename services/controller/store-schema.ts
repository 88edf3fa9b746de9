/**
 * Brings the database to the schema of this release: forward only, one process at a time, and never touching one that
 * a later release has migrated. Then the profiles and services that come with the release.
 */
import { sql } from 'drizzle-orm';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { openSession, type Session, type StoreConnection, withDeadline } from '../shared/postgres-session.ts';
import type { SeedProfile } from '../shared/profile.ts';
import { PAGE_ROLE } from '../shared/schema.ts';
import { refusalOf, SchemaNewerError } from './store-failure.ts';
import { type SeedService, seedProfiles, seedServices } from './store-seeds.ts';
import type { Clock, Parsed } from './world.ts';

export interface PreparationOptions {
  connection: StoreConnection;
  /** Folder with `meta/_journal.json`. */
  migrationsFolder: string;
  seedProfiles: readonly SeedProfile[];
  seedServices: readonly SeedService[];
  /** A login for the page, made and kept as given; null: somebody else grants `PAGE_ROLE`. */
  pageLogin: PageLogin | null;
  clock: Clock;
}

export interface Prepared {
  /** Time of the newest migration that this release knows, Unix milliseconds. */
  newestAt: number;
  /** Why the page's login was not made; null: it was, or none is wanted. */
  pageProblem: string | null;
}

export interface PageLogin {
  user: string;
  password: () => Promise<Parsed<string | null>>;
}

/** Beside our tables, so that they can only be lost together. */
const MIGRATIONS = { migrationsTable: 'silvasonic_migrations', migrationsSchema: 'public' } as const;
/** Any number that no other software locks. */
const MIGRATION_LOCK = 7_274_582_019;
const ANSWER_DEADLINE_MS = 2000;
/** The first migration of a slow SD card, or a later one over a full table. */
const MIGRATION_DEADLINE_MS = 120_000;

/** Throws `SchemaNewerError` where `appliedAt` is beyond what this release knows. */
export function refuseNewerSchema(appliedAt: number | null, newestAt: number): void {
  if (appliedAt !== null && appliedAt > newestAt) throw new SchemaNewerError(appliedAt, newestAt);
}

/**
 * Makes the database ready to be read: migrated, seeded. A read-only database that is already migrated is ready too, and so
 * is one without the page's login, whose password cannot be read: recorders need neither. `onSession` is told of the
 * connection, so that a stop can end it. Throws when the database cannot be made ready.
 */
export async function prepareDatabase(
  options: PreparationOptions,
  onSession: (session: Session) => void,
): Promise<Prepared> {
  const { clock } = options;
  const session = await withDeadline(
    clock,
    ANSWER_DEADLINE_MS,
    openSession(options.connection, {
      applicationName: 'silvasonic-controller',
      connections: 1,
      role: null,
      statementTimeoutMs: MIGRATION_DEADLINE_MS,
    }),
  );
  onSession(session);
  try {
    const newestAt = newestMigration(options.migrationsFolder);
    const appliedAt = await withDeadline(clock, ANSWER_DEADLINE_MS, appliedMigration(session));
    refuseNewerSchema(appliedAt, newestAt);
    if (appliedAt === null || appliedAt < newestAt) {
      await withDeadline(clock, MIGRATION_DEADLINE_MS, migrateUnderLock(session, options.migrationsFolder));
    }
    const pageProblem = await withDeadline(clock, MIGRATION_DEADLINE_MS, unlessReadOnly(seed(session, options)));
    return { newestAt, pageProblem };
  } finally {
    session.destroy();
  }
}

/** Time of the newest migration in the folder, Unix milliseconds. Throws when the folder cannot be read. */
function newestMigration(migrationsFolder: string): number {
  return Math.max(0, ...readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis));
}

/** Time of the newest migration that the database has seen; null: none. */
async function appliedMigration({ database }: Session): Promise<number | null> {
  try {
    const [row] = await database.execute<{ at: string | null }>(
      sql`select max(created_at)::text as at from silvasonic_migrations`,
    );
    return row === undefined || row.at === null ? null : Number(row.at);
  } catch (error) {
    if (refusalOf(error)?.code === '42P01') return null;
    throw error;
  }
}

async function migrateUnderLock({ database }: Session, migrationsFolder: string): Promise<void> {
  const [lock] = await database.execute<{ taken: boolean }>(
    sql`select pg_try_advisory_lock(${sql.raw(String(MIGRATION_LOCK))}) as taken`,
  );
  if (lock?.taken !== true) throw new Error('Another process is migrating the database at this moment.');
  // The lock belongs to the connection, which ends with this preparation, however that ends.
  await migrate(database, { migrationsFolder, ...MIGRATIONS });
}

/** Answers with why the page's login was not made. */
async function seed(session: Session, options: PreparationOptions): Promise<string | null> {
  await seedProfiles(session, options.seedProfiles);
  await seedServices(session, options.seedServices);
  return options.pageLogin === null ? null : await keepPageLogin(session, options.pageLogin);
}

/** What a read-only database lacks of our seeds is no reason not to read it. */
async function unlessReadOnly(work: Promise<string | null>): Promise<string | null> {
  try {
    return await work;
  } catch (error) {
    if (refusalOf(error)?.code !== '25006') throw error;
    return null;
  }
}

async function keepPageLogin({ database }: Session, login: PageLogin): Promise<string | null> {
  const password = await login.password();
  if (!password.ok) return password.message;
  // Names and passwords cannot be parameters of these statements, so the server itself quotes them.
  const [statement] = await database.execute<{ create: string; alter: string; grant: string; exists: boolean }>(sql`
    select
      format('create role %I login password %L', ${login.user}::text, ${password.value}::text) as create,
      format('alter role %I login password %L', ${login.user}::text, ${password.value}::text) as alter,
      format('grant %I to %I', ${PAGE_ROLE}::text, ${login.user}::text) as grant,
      exists (select from pg_roles where rolname = ${login.user}) as exists`);
  if (statement === undefined) return null;
  await database.execute(sql.raw(statement.exists ? statement.alter : statement.create));
  await database.execute(sql.raw(statement.grant));
  return null;
}
