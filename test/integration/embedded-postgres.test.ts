/** The embedded server: what a killed station or a power cut leaves behind does not keep the next start from working. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createLog } from '../../services/controller/log.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../services/station/embedded-postgres.ts';
import { keepEmbeddedPostgres } from '../../services/station/kept-postgres.ts';
import { findPostgresPrograms, findServerUser } from '../../services/station/postgres-programs.ts';

let folder: string;
let dataFolder: string;
let started: Pick<EmbeddedPostgres, 'stop'>[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-embedded-'));
  chmodSync(folder, 0o755);
  dataFolder = join(folder, 'data');
  started = [];
});
afterEach(async () => {
  await Promise.all(started.map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<EmbeddedPostgres> {
  const log = createLog({ level: 'silent' });
  const server = await startEmbeddedPostgres({ dataFolder, log, settings: { fsync: 'off' } });
  started.push(server);
  return server;
}

/** As the server itself says. */
const runningPid = (): number => Number(readFileSync(join(dataFolder, 'postmaster.pid'), 'utf8').split('\n')[0]);

async function query(server: Omit<EmbeddedPostgres, 'pid' | 'ended'>, statement: string): Promise<unknown[]> {
  const { host, port, user, password, database } = server;
  const sql = postgres({ host, port, user, password, database, max: 1 });
  try {
    return [...(await sql.unsafe(statement))];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** `/proc` still lists a process that has ended until its parent has heard of it. */
const runs = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';

test('stopped and started again, it has its rows, its password and the same answer', async () => {
  const first = await start();
  await query(first, `create table kept as select 'Nachtigall 🎤'::text as bird`);
  await first.stop();
  expect(runs(first.pid)).toBe(false);
  const second = await start();
  expect(second.password).toBe(first.password);
  expect(await query(second, 'select bird from kept')).toEqual([{ bird: 'Nachtigall 🎤' }]);
});

test('the password counts', async () => {
  const server = await start();
  await expect(query({ ...server, password: 'wrong' }, 'select 1')).rejects.toThrow('password');
});

test.each([
  ['running', 'SIGCONT'],
  ['frozen', 'SIGSTOP'],
] as const)('a server that a killed station left, %s, is replaced', async (_case, signal) => {
  const first = await start();
  await query(first, 'create table kept as select 1 as one');
  process.kill(first.pid, signal);
  const second = await start();
  expect(runs(first.pid)).toBe(false);
  expect(await query(second, 'select one from kept')).toEqual([{ one: 1 }]);
});

test('killed in mid-work, it starts again with what was acknowledged', async () => {
  const first = await start();
  await query(first, 'create table kept as select 1 as one');
  process.kill(first.pid, 'SIGKILL');
  await first.ended;
  const second = await start();
  expect(await query(second, 'select one from kept')).toEqual([{ one: 1 }]);
});

test('kept, a server that is killed comes back by itself on its port, with its rows, and ends when it is asked to', async () => {
  const log = createLog({ level: 'silent' });
  const kept = await keepEmbeddedPostgres({ dataFolder, log, settings: { fsync: 'off' } });
  started.push(kept);
  await query(kept, 'create table kept as select 1 as one');
  for (const _time of [1, 2]) {
    process.kill(runningPid(), 'SIGKILL');
    await vi.waitFor(async () => expect(await query(kept, 'select one from kept')).toEqual([{ one: 1 }]), {
      timeout: 60_000,
    });
  }
  const pid = runningPid();
  await kept.stop();
  expect(runs(pid)).toBe(false);
  expect(existsSync(join(dataFolder, 'postmaster.pid'))).toBe(false);
});

test('kept, one that cannot be started again does not keep the station from ending', async () => {
  const log = createLog({ level: 'silent' });
  const kept = await keepEmbeddedPostgres({ dataFolder, log, settings: { fsync: 'off' } });
  renameSync(join(dataFolder, 'global'), join(dataFolder, 'elsewhere'));
  const pid = runningPid();
  process.kill(pid, 'SIGKILL');
  await vi.waitFor(() => expect(runs(pid)).toBe(false), { timeout: 10_000 });
  await kept.stop();
  expect(existsSync(join(dataFolder, 'postmaster.pid')) && runs(runningPid())).toBe(false);
});

test('a process number that belongs to something else by now is left alone', async () => {
  const first = await start();
  const file = readFileSync(join(dataFolder, 'postmaster.pid'), 'utf8');
  await first.stop();
  writeFileSync(join(dataFolder, 'postmaster.pid'), file.replace(/^\d+/, String(process.pid)));
  await start();
});

test('a folder that was only half made is made anew', async () => {
  mkdirSync(`${dataFolder}.unfinished/base`, { recursive: true });
  writeFileSync(`${dataFolder}.unfinished/PG_VERSION`, '18\n');
  expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('somebody else’s files, and those of another version, are refused with a sentence and stay', async () => {
  mkdirSync(dataFolder);
  writeFileSync(join(dataFolder, 'holiday.jpg'), '');
  await expect(start()).rejects.toThrow(/has other files in it \(holiday\.jpg\)/);
  renameSync(join(dataFolder, 'holiday.jpg'), join(dataFolder, 'PG_VERSION'));
  writeFileSync(join(dataFolder, 'PG_VERSION'), '12\n');
  await expect(start()).rejects.toThrow(/written by PostgreSQL 12/);
  expect(existsSync(join(dataFolder, 'PG_VERSION'))).toBe(true);
});

test('a setting that it does not take ends the start with what it said', async () => {
  const log = createLog({ level: 'silent' });
  await expect(startEmbeddedPostgres({ dataFolder, log, settings: { shared_buffers: 'much' } })).rejects.toThrow(
    /ended while it was starting[\s\S]*shared_buffers/,
  );
});

test('programs are found again and again, with their links', async () => {
  const user = await findServerUser();
  const programs = await findPostgresPrograms(join(folder, 'programs'), user);
  expect(await findPostgresPrograms(join(folder, 'programs'), user)).toEqual(programs);
  expect(programs.majorVersion).toBeGreaterThanOrEqual(18);
});
