/**
 * A real PostgreSQL for stations without a database server: a process of its own, on 127.0.0.1 only, with its data in
 * one folder. It is started here directly, since the npm package that brings it also takes over the signals of the
 * process that imports it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Log } from '../controller/log.ts';
import { findPostgresPrograms, findServerUser, type PostgresPrograms, type ServerUser } from './postgres-programs.ts';

export interface EmbeddedPostgresOptions {
  /** Absolute. Made when it is not there. Nobody else may use it: a server found running on it is stopped. */
  dataFolder: string;
  /** Gets what the server says. */
  log: Log;
  /** Without: any free one. */
  port?: number;
  /** Added to the server's settings, e.g. `{ fsync: 'off' }`. */
  settings?: Record<string, string>;
}

export interface EmbeddedPostgres {
  host: string;
  port: number;
  /** The superuser; its password was made with the folder, and is kept in it. */
  user: string;
  password: string;
  database: string;
  /** Of the server's first process. */
  pid: number;
  /** Resolves when the server has ended, asked to or not, with the end of what it said. */
  ended: Promise<string>;
  /** Ends it in order, at the latest after 15 s by force. */
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';
const USER = 'silvasonic';
const DATABASE = 'silvasonic';
/** In the data folder, so that they can only be lost together. */
const PASSWORD_FILE = 'silvasonic-password';
const INITDB_TIMEOUT_MS = 120_000;
/** After a power cut it first replays what it had written. */
const START_DEADLINE_MS = 120_000;
const FAST_STOP_MS = 10_000;
const IMMEDIATE_STOP_MS = 5000;
const LOOK_AGAIN_MS = 15;
const OUTPUT_TAIL_CHARS = 4000;

/** Small enough for a Raspberry Pi with 512 MB; a station has three clients. */
const SETTINGS = {
  listen_addresses: HOST,
  unix_socket_directories: '',
  max_connections: '20',
  shared_buffers: '16MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  log_destination: 'stderr',
  logging_collector: 'off',
};

const run = promisify(execFile);

/** Starts the server and waits until it takes connections. Throws with what it said when it does not. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataFolder } = options;
  const user = await findServerUser();
  const programs = await findPostgresPrograms(join(dirname(dataFolder), 'postgres-programs'), user);
  await stopLeftover(dataFolder);
  await initialise(dataFolder, programs, user);
  const password = (await readFile(join(dataFolder, PASSWORD_FILE), 'utf8')).trim();
  const port = options.port ?? (await freePort());
  const settings = { ...SETTINGS, port: String(port), ...options.settings };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const child = spawn(programs.postgres, ['-D', dataFolder, ...args], {
    ...user,
    env: {},
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    // Ctrl-C goes to everything in a terminal's foreground; recorders and page still need the database then.
    detached: true,
  });
  const ended = follow(child, (line) => tell(options.log, line));
  const pid = child.pid;
  if (pid === undefined) throw new Error(`The database server cannot be started: ${await ended}`);
  await waitUntilReady(dataFolder, pid, ended);
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const stop = async (): Promise<void> => {
    // The number of one that ended weeks ago may be that of anything by now.
    if (!hasEnded()) await stopServer(pid, hasEnded);
    await ended;
  };
  return { host: HOST, port, user: USER, password, database: DATABASE, pid, ended, stop };
}

/**
 * How to reach the server that runs on this folder at this moment, for whoever did not start it. null: none runs, or
 * none was ever made there. Throws where the folder may not be read.
 */
export async function findEmbeddedPostgres(
  dataFolder: string,
): Promise<Pick<EmbeddedPostgres, 'host' | 'port' | 'user' | 'password' | 'database'> | null> {
  try {
    // Its fourth line is the port (PostgreSQL's miscadmin.h).
    const port = Number((await readFile(join(dataFolder, 'postmaster.pid'), 'utf8')).split('\n')[3]);
    const password = (await readFile(join(dataFolder, PASSWORD_FILE), 'utf8')).trim();
    return { host: HOST, port, user: USER, password, database: DATABASE };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** A TCP port on 127.0.0.1 that nobody listens on at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port);
        else reject(new Error(`No free port was found on ${HOST}.`));
      });
    });
  });
}

function follow(child: ChildProcess, onLine: (line: string) => void): Promise<string> {
  let tail = '';
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-OUTPUT_TAIL_CHARS);
    const lines = (rest + text).split('\n');
    rest = (lines.pop() ?? '').slice(-OUTPUT_TAIL_CHARS);
    for (const line of lines) onLine(line);
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    // Not `close`: a worker that outlives the server for a moment still holds the pipe.
    child.once('exit', () => setImmediate(() => resolve(tail)));
  });
}

/** Refused statements are told by whoever made them; what the server says of itself matters. */
function tell(log: Log, line: string): void {
  if (line === '') return;
  if (/\b(?:FATAL|PANIC)\b/.test(line)) log.warn({ line }, 'The database server reports trouble.');
  else log.debug({ line }, 'The database server says something.');
}

async function initialise(
  dataFolder: string,
  programs: PostgresPrograms,
  serverUser: ServerUser | null,
): Promise<void> {
  const version = await readOptional(join(dataFolder, 'PG_VERSION'));
  if (version !== null) {
    if (Number(version) === programs.majorVersion) return;
    throw new Error(
      `${dataFolder} was written by PostgreSQL ${version.trim()}, this release brings ${programs.majorVersion}: restore a backup into a new folder, or install the release that wrote it.`,
    );
  }
  await refuseForeignFiles(dataFolder);
  // A folder that is only half made, because the power went, must not look like a database.
  const unfinished = `${dataFolder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  // Apart: folders above it must stay open to the server's user.
  await mkdir(dirname(unfinished), { recursive: true });
  await mkdir(unfinished, { mode: 0o700 });
  const secrets = await mkdtemp(join(tmpdir(), 'silvasonic-'));
  const passwordFile = join(secrets, 'password');
  try {
    await writeFile(passwordFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
    if (serverUser !== null) {
      for (const path of [unfinished, secrets, passwordFile]) await chown(path, serverUser.uid, serverUser.gid);
    }
    const args = [`--pgdata=${unfinished}`, `--username=${USER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    // The built-in locale is the same on every machine, whatever languages that has.
    const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
    const options = { ...serverUser, timeout: INITDB_TIMEOUT_MS, env: {}, cwd: '/' };
    await run(programs.initdb, [...args, ...locale], options);
    const alone = run(programs.postgres, ['--single', '-D', unfinished, 'postgres'], options);
    alone.child.stdin?.end(`create database ${DATABASE}\n`);
    await alone;
    await copyFile(passwordFile, join(unfinished, PASSWORD_FILE));
    if (serverUser !== null) await chown(join(unfinished, PASSWORD_FILE), serverUser.uid, serverUser.gid);
    await rm(dataFolder, { recursive: true, force: true });
    await rename(unfinished, dataFolder);
  } catch (error) {
    throw new Error(
      `The database folder ${dataFolder} cannot be made: does ${serverUser === null ? 'this user' : `the user with id ${serverUser.uid}`} reach ${dirname(dataFolder)}, and is there space?`,
      { cause: error },
    );
  } finally {
    await rm(secrets, { recursive: true, force: true });
  }
}

async function refuseForeignFiles(dataFolder: string): Promise<void> {
  try {
    const names = await readdir(dataFolder);
    if (names.length === 0) return;
    throw new Error(
      `${dataFolder} is to hold the database, but has other files in it (${names.slice(0, 3).join(', ')}).`,
    );
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** The eighth line of `postmaster.pid` says how far the server is (PostgreSQL 10 and later). */
async function waitUntilReady(dataFolder: string, pid: number, ended: Promise<string>): Promise<void> {
  let said: string | null = null;
  void ended.then((tail) => {
    said = tail;
  });
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  while (said === null) {
    const lines = ((await readOptional(join(dataFolder, 'postmaster.pid'))) ?? '').split('\n');
    if (Number(lines[0]) === pid && lines[7]?.trim() === 'ready') return;
    if (performance.now() > deadlineMs) {
      await stopServer(pid, () => said !== null);
      throw new Error(`The database server was not ready after ${START_DEADLINE_MS / 1000} s.\n${await ended}`);
    }
    await sleep(LOOK_AGAIN_MS);
  }
  throw new Error(`The database server ended while it was starting.\n${said}`);
}

/**
 * A station that was killed leaves its server behind. The process is stopped only when it is a server on this folder:
 * after a reboot the number may belong to anything.
 */
async function stopLeftover(dataFolder: string): Promise<void> {
  const pidFile = join(dataFolder, 'postmaster.pid');
  const pid = Number(((await readOptional(pidFile)) ?? '').split('\n')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 1) return;
  const running = async (): Promise<boolean> => {
    const command = await readOptional(`/proc/${pid}/cmdline`);
    return command?.split('\0').includes(dataFolder) ?? false;
  };
  if (await running()) await stopServer(pid, async () => !(await running()));
  else await rm(pidFile, { force: true });
}

async function stopServer(pid: number, isGone: () => boolean | Promise<boolean>): Promise<void> {
  for (const [signal, waitMs] of [
    ['SIGINT', FAST_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
    ['SIGKILL', IMMEDIATE_STOP_MS],
  ] as const) {
    send(pid, signal);
    // A frozen one would not see the signal.
    send(pid, 'SIGCONT');
    const deadlineMs = performance.now() + waitMs;
    while (performance.now() < deadlineMs) {
      if (await isGone()) return;
      await sleep(LOOK_AGAIN_MS);
    }
  }
  throw new Error(`The database server (process ${pid}) does not end, not even by force: its disk may hang.`);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function readOptional(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');
}
