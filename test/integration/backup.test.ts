/** `npm run backup` and `npm run restore` on a real PostgreSQL: saved, wiped, restored, undone, with a store that runs. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLog } from '../../services/controller/log.ts';
import { startEmbeddedPostgres } from '../../services/station/embedded-postgres.ts';
import { type ProgramResult, runProgram } from '../../services/station/run-program.ts';
import { type DatabaseAccess, type PostgresFixture, startPostgres } from './postgres.ts';
import {
  changes,
  insertion,
  openConsole,
  openStore,
  STATION_ID,
  seedProfile,
  untilRead,
  valueFrom,
} from './store-fixture.ts';

const DEADLINE_MS = 60_000;
let folder: string;
let server: PostgresFixture;

/** The command as it lies in the controller's image: one file, with migrations and profiles beside it. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-backup-'));
  for (const name of ['node_modules', 'migrations', 'profiles']) symlinkSync(resolve(name), join(folder, name));
  mkdirSync(join(folder, 'dist'));
  await build({
    entryPoints: ['services/station/backup.ts'],
    outfile: join(folder, 'dist/backup.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  });
  server = await startPostgres();
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function run(access: DatabaseAccess, ...args: string[]): Promise<ProgramResult> {
  return runProgram(process.execPath, [join(folder, 'dist/backup.mjs'), ...args], {
    timeoutMs: DEADLINE_MS,
    env: {
      PATH: process.env.PATH,
      SILVASONIC_WORKSPACE_PATH: join(folder, 'workspace'),
      POSTGRES_HOST: access.host,
      POSTGRES_PORT: String(access.port),
      POSTGRES_USER: access.user,
      POSTGRES_PASSWORD: access.password,
      POSTGRES_DB: access.database,
    },
  });
}

async function done(access: DatabaseAccess, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(access, ...args);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return stdout;
}

/** A station with a name, an edited and an own profile, a device that a person decided about, a service that is on. */
async function furnish(access: DatabaseAccess): Promise<void> {
  const seeds = [seedProfile('generic'), seedProfile('bat')];
  const { store } = openStore(access, {
    seedProfiles: seeds,
    seedServices: [{ name: 'processor', enabled: true, settings: {} }],
  });
  const state = await untilRead(store);
  valueFrom(await store.adopt({ ...state, stationId: STATION_ID }));
  valueFrom(await store.write(changes({ devices: [insertion('2752-0007-1'), insertion('2752-0007-2')] })));
  const sql = openConsole(access);
  await sql`insert into system_config values ('station_name', '"Wood"'), ('alerts', '{"ntfyUrl": "https://u:geheim@ntfy.example/w"}')`;
  await sql`insert into owner (password_hash) values ('scrypt$geheim')`;
  await sql`update microphone_profiles set name = 'Bats of mine' where slug = 'bat'`;
  await sql`insert into microphone_profiles (slug, name, config) select 'mine', 'Mine', config from microphone_profiles where slug = 'bat'`;
  await sql`update devices set name = 'Oak', enrollment_status = 'enrolled', profile_slug = 'mine', settings = '{"gainDb": 6}' where id = '2752-0007-1'`;
  await sql`update devices set enrollment_status = 'ignored' where id = '2752-0007-2'`;
  await sql`update system_services set enabled = false, settings = '{"keepDays": 3}' where name = 'processor'`;
}

/** What a person decided, as the rows say it. */
async function decisions(access: DatabaseAccess) {
  const sql = openConsole(access);
  const [row] = await sql`select
    (select json_agg(json_build_array(id, workspace, name, enabled, enrollment_status, decided_by, profile_slug, settings) order by id) from devices) as devices,
    (select json_agg(json_build_array(slug, name, config) order by slug) from microphone_profiles where slug in ('bat', 'mine')) as profiles,
    (select json_agg(json_build_array(name, enabled, settings) order by name) from system_services where name = 'processor') as services,
    (select json_object_agg(key, value) from system_config where key in ('station_id', 'station_name')) as config`;
  return row;
}

test('saved, wiped, restored into the empty database: every decision is there again', async () => {
  const access = await server.createDatabase();
  await furnish(access);
  const before = await decisions(access);
  const file = join(folder, 'kept', 'station.json');
  expect(await done(access, 'save', file)).toContain('2 devices, 2 profiles of your own or edited, 1 services');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const text = readFileSync(file, 'utf8');
  expect(text).not.toContain('geheim');
  expect(JSON.parse(text)).toMatchObject({ kind: 'silvasonic-backup', schema: 1, stationId: STATION_ID });

  await server.wipe(access.database);
  const said = await done(access, 'restore', file);
  expect(said).toContain('changes  device "Oak": new, offline');
  expect(await decisions(access)).toEqual(before);
  const sql = openConsole(access);
  expect(await sql`select status, phase from devices`).toEqual([
    { status: 'offline', phase: 'offline' },
    { status: 'offline', phase: 'offline' },
  ]);
  expect(await done(access, 'restore', file)).toBe('Nothing differs.\n');
});

test('a store that runs takes it up; generations are counted; the undo brings back what was', async () => {
  const access = await server.createDatabase();
  await furnish(access);
  const file = join(folder, 'running.json');
  await done(access, 'save', file);
  const sql = openConsole(access);
  await sql`update devices set name = 'Elm', enabled = false, enrollment_status = 'ignored' where id = '2752-0007-1'`;
  await sql`update system_services set enabled = true where name = 'processor'`;
  const changed = await decisions(access);
  const [was] = await sql`select generation, status from devices where id = '2752-0007-1'`;

  const dry = await done(access, 'restore', file, '--dry-run');
  expect(dry).toContain(
    'would change  device "Oak": name "Elm" → "Oak"; enabled false → true; enrollmentStatus "ignored"',
  );
  expect(await decisions(access)).toEqual(changed);

  const undo = join(folder, 'undo.json');
  await done(access, 'restore', file, '--undo', undo);
  const { store } = openStore(access);
  const oak = (await untilRead(store)).devices.find(({ id }) => id === '2752-0007-1');
  expect(oak).toMatchObject({ name: 'Oak', enabled: true, enrollmentStatus: 'enrolled', decidedBy: 'person' });
  expect(oak?.generation).toBe(was?.generation + 1);
  expect(oak?.status).toBe(was?.status);
  await done(access, 'restore', undo);
  expect(await decisions(access)).toEqual(changed);
});

test('what the rules of the database refuse changes nothing at all', async () => {
  const access = await server.createDatabase();
  await furnish(access);
  const file = join(folder, 'refused.json');
  await done(access, 'save', file);
  const before = await decisions(access);
  const backup = JSON.parse(readFileSync(file, 'utf8'));
  backup.config.station_name = 'Other';
  // Not the digest of its id: recordings would go into a folder of another device.
  backup.devices.push({ ...backup.devices[0], id: 'planted', workspace: 'umik-1-00000000' });
  writeFileSync(file, JSON.stringify(backup));
  const { code, stderr } = await run(access, 'restore', file);
  expect(code).toBe(1);
  expect(stderr).toContain('devices_workspace_digest');
  expect(await decisions(access)).toEqual(before);
});

test('a lost password is forgotten: no owner, nobody signed in, everything else as it was', async () => {
  const access = await server.createDatabase();
  await furnish(access);
  const sql = openConsole(access);
  await sql`insert into sessions (token_hash, expires_at) values (${'a'.repeat(64)}, now() + interval '1 day')`;
  const before = await decisions(access);
  expect(await done(access, 'forget-password')).toContain('new setup code');
  expect(
    await sql`select (select count(*)::int from owner) as owners, (select count(*)::int from sessions) as sessions`,
  ).toEqual([{ owners: 0, sessions: 0 }]);
  expect(await decisions(access)).toEqual(before);
});

test('without a database that is named: that of "npm start", while it runs', async () => {
  const workspace = join(folder, 'own');
  const env = { PATH: process.env.PATH, SILVASONIC_WORKSPACE_PATH: workspace };
  const command = (...args: string[]) =>
    runProgram(process.execPath, [join(folder, 'dist/backup.mjs'), ...args], { timeoutMs: DEADLINE_MS, env });
  const file = join(folder, 'moved.json');
  const other = await server.createDatabase();
  await furnish(other);
  await done(other, 'save', file);
  // The server runs as another user when the tests run as root.
  chmodSync(folder, 0o755);
  const own = await startEmbeddedPostgres({
    dataFolder: join(workspace, 'database'),
    log: createLog({ level: 'silent' }),
  });
  try {
    expect(await command('restore', file)).toMatchObject({ code: 0 });
    expect(await command('save', '-')).toMatchObject({ code: 0, stdout: expect.stringContaining('"Oak"') });
  } finally {
    await own.stop();
  }
  expect(await command('save', '-')).toMatchObject({ code: 1, stderr: expect.stringContaining('"npm start"') });
});

test('each refusal is one sentence with what to do', async () => {
  const access = await server.createDatabase({ migrated: true });
  const missing = await run(access, 'restore', join(folder, 'nowhere.json'));
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('nowhere.json cannot be read') });
  const wrong = await run({ ...access, port: 1 }, 'save', '-');
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('is not running') });
  const usage = await run(access, 'save');
  expect(usage).toMatchObject({ code: 64, stderr: expect.stringContaining('npm run backup -- FILE') });
  const full = await run(access, 'save', join(folder, 'dist/backup.mjs/backup.json'));
  expect(full).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be written') });
  expect(existsSync(join(folder, 'workspace'))).toBe(false);
});
