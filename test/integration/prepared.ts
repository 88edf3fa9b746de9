/**
 * What nearly every test file needs and none changes, made once for the whole run: the bundles of controller and page, and
 * the folder of a database server with a database that has all migrations. Test files work on copies.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { createLog } from '../../services/controller/log.ts';
import { prepareDatabase } from '../../services/controller/store-schema.ts';
import { createClock } from '../../services/shared/clock.ts';
import { startEmbeddedPostgres } from '../../services/station/embedded-postgres.ts';
import { runProgram } from '../../services/station/run-program.ts';

export interface Prepared {
  /** `controller.js`, `web.js` and what belongs to them, as `npm run build` makes them. */
  bundleFolder: string;
  /** As `startEmbeddedPostgres` has it in its `dataFolder` and beside it. */
  databaseFolder: string;
}

export const MIGRATIONS_FOLDER = resolve(import.meta.dirname, '../../migrations');
/** The database with all migrations, which others are copied from. */
export const TEMPLATE = 'migrated_template';
/** Data of tests is not meant to outlive a power cut. */
export const SERVER_SETTINGS = { fsync: 'off', max_connections: '60' };
const BUILD_DEADLINE_MS = 60_000;

/** Answers what was made, and how to remove it. */
export async function prepare(): Promise<{ prepared: Prepared; remove: () => void }> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-prepared-'));
  // The server runs as another user when the tests run as root.
  chmodSync(folder, 0o755);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const prepared = { bundleFolder: join(folder, 'dist'), databaseFolder: join(folder, 'database') };
  mkdirSync(prepared.databaseFolder);
  try {
    await Promise.all([makeBundles(prepared.bundleFolder), makeDatabase(join(prepared.databaseFolder, 'data'))]);
  } catch (error) {
    remove();
    throw error;
  }
  return { prepared, remove };
}

async function makeBundles(folder: string): Promise<void> {
  const build = ['services/station/build.js', `--outdir=${folder}`, 'controller', 'web'];
  const built = await runProgram(process.execPath, build, { timeoutMs: BUILD_DEADLINE_MS });
  if (built.code !== 0) throw new Error(`Controller and page could not be bundled: ${built.stderr}`);
}

async function makeDatabase(dataFolder: string): Promise<void> {
  const log = createLog({ level: 'silent' });
  const server = await startEmbeddedPostgres({ dataFolder, log, settings: SERVER_SETTINGS });
  try {
    const { host, port, user, password } = server;
    const sql = postgres({ host, port, user, password, database: 'postgres', max: 1, onnotice: () => {} });
    await sql`create database ${sql(TEMPLATE)}`;
    await sql.end({ timeout: 1 });
    const connection = { host, port, user, password, database: TEMPLATE };
    const nothing = { seedProfiles: [], seedServices: [], pageLogin: null };
    await prepareDatabase(
      { connection, migrationsFolder: MIGRATIONS_FOLDER, ...nothing, clock: createClock() },
      () => {},
    );
  } finally {
    await server.stop();
  }
}
