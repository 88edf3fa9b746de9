/** A PostgreSQL of a test file's own, which can be frozen, restarted and wiped. `stop` leaves nothing of it. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { createLog } from '../../services/controller/log.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../services/station/embedded-postgres.ts';
import { runProgram } from '../../services/station/run-program.ts';
import { SERVER_SETTINGS, TEMPLATE } from './prepared.ts';
import { prepared } from './station-engine.ts';

export { MIGRATIONS_FOLDER } from './prepared.ts';

/** How to reach one database, as its superuser. */
export interface DatabaseAccess {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export interface PostgresFixture {
  host: string;
  port: number;
  /** Of the server's first process; another one after a restart. */
  pid(): number;
  /** An empty database, or one with all migrations, copied from a template. */
  createDatabase(options?: { migrated?: boolean }): Promise<DatabaseAccess>;
  /** What is left of a database when its volume was wiped: an empty one of the same name. */
  wipe(database: string): Promise<void>;
  /** All of the server's processes stand still: connections are taken by the kernel, and nobody answers. */
  freeze(): void;
  thaw(): void;
  shutDown(): Promise<void>;
  /** On the same port, with the same data. */
  startAgain(): Promise<void>;
  restart(): Promise<void>;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
}

const COPY_DEADLINE_MS = 60_000;

export async function startPostgres(): Promise<PostgresFixture> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-postgres-'));
  // The server runs as another user when the tests run as root.
  chmodSync(folder, 0o755);
  await copyPrepared(folder);
  const log = createLog({ level: 'silent' });
  const settings = SERVER_SETTINGS;
  const start = (port?: number): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({ dataFolder: join(folder, 'data'), log, settings, ...(port !== undefined && { port }) });
  let server = await start();
  const { host, port, user, password } = server;
  const killAtExit = (): void => signalAll([server.pid], 'SIGKILL');
  process.once('exit', killAtExit);

  const asAdmin = async <T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> => {
    const sql = postgres({ host, port, user, password, database: 'postgres', max: 1, onnotice: () => {} });
    try {
      return await work(sql);
    } finally {
      await sql.end({ timeout: 1 });
    }
  };

  let databases = 0;
  const shutDown = (): Promise<void> => server.stop();
  const startAgain = async (): Promise<void> => {
    server = await start(port);
  };

  return {
    host,
    port,
    pid: () => server.pid,
    async createDatabase({ migrated = false } = {}) {
      databases += 1;
      const database = `test_${databases}`;
      const source = migrated ? TEMPLATE : 'template0';
      await asAdmin((sql) => sql`create database ${sql(database)} template ${sql(source)}`);
      return { host, port, user, password, database };
    },
    async wipe(database) {
      await asAdmin(async (sql) => {
        await sql`drop database ${sql(database)} with (force)`;
        await sql`create database ${sql(database)} template template0`;
      });
    },
    freeze: () => signalAll(processesOf(server.pid), 'SIGSTOP'),
    thaw: () => signalAll(processesOf(server.pid), 'SIGCONT'),
    shutDown,
    startAgain,
    async restart() {
      await shutDown();
      await startAgain();
    },
    async stop() {
      process.off('exit', killAtExit);
      signalAll(processesOf(server.pid), 'SIGCONT');
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The data are copied, with their owner; programs, where they had to be put beside them, are shared. */
async function copyPrepared(folder: string): Promise<void> {
  const { databaseFolder } = prepared();
  for (const name of readdirSync(databaseFolder)) {
    if (name !== 'data') symlinkSync(join(databaseFolder, name), join(folder, name));
  }
  const { code, stderr } = await runProgram('cp', ['-a', join(databaseFolder, 'data'), folder], {
    timeoutMs: COPY_DEADLINE_MS,
  });
  if (code !== 0) throw new Error(`The prepared database cannot be copied: ${stderr}`);
}

/** The server's first process, and those that it made for its connections. */
function processesOf(pid: number): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
    .map(Number);
  return [pid, ...children];
}

/** null: it ended just now. */
function parentOf(pid: string): number | null {
  try {
    const [, parent] = /\) \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return Number(parent);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return null;
    throw error;
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
}
