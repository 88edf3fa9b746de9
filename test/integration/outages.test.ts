/**
 * What the station does without Redis, database or engine: what records goes on, what can be repaired is, nothing is
 * removed, and all is caught up with afterwards. The real controller with the real ones of each.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { LABEL } from '../../services/shared/contract.ts';
import { CONFIG_KEY } from '../../services/shared/schema.ts';
import { createEngineProxy, type EngineProxy } from './engine-proxy.ts';
import {
  asPage,
  change,
  deviceRow,
  inEffect,
  lives,
  overlaps,
  readHealth,
  recorderRuns,
  untilDown,
  untilWell,
} from './station-observation.ts';
import { createTestStation, type RunningController, type TestStation } from './test-station.ts';
import { umik1 } from './usb-devices.ts';

const FIRST = '0000-0001-virtual-1';
const SECOND = '0000-0001-virtual-2';
/** Switched off by a person. */
const OFF = '0000-0001-virtual-3';

let station: TestStation;
let controller: RunningController;
let proxy: EngineProxy;

beforeAll(async () => {
  station = await createTestStation({ firstCard: 40, environment: { SILVASONIC_VIRTUAL_MICROPHONES: '3' } });
  proxy = createEngineProxy(join(station.workspace, 'engine.sock'), station.engine.socketPath);
  Object.assign(station.environment, { CONTAINER_SOCKET: proxy.socketPath, SILVASONIC_RECONCILE_INTERVAL_S: '2' });
  await proxy.open();
  await startRecording();
});
// A test that failed in the middle leaves the next one a world to begin with.
afterEach(async () => {
  await Promise.all([proxy.open(), mendDatabase(), mendRedis()]);
  await untilWell(station, controller);
});
afterAll(async () => {
  await station?.remove();
  await proxy?.close();
});

test('without Redis a tick finds what was changed', async () => {
  await station.redis?.halt();
  await untilDown(station, controller, 'redis');
  await asPage(station, (sql) => sql`update devices set enabled = false where id = ${FIRST}`);
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'disabled' });
  await asPage(station, (sql) => sql`update devices set enabled = true where id = ${FIRST}`);
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
  await station.redis?.resume();
});

test('the database is restarted: nobody is touched, and the next change is applied', async () => {
  const before = await lives(station);
  await station.database.restart();
  await applyAChange();
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
});

test('a database that is frozen when the controller starts does not keep it from its work', async () => {
  const before = await lives(station);
  await controller.kill('SIGKILL');
  await killRecorder(FIRST);
  station.database.freeze();
  controller = await station.start();
  await untilReplaced(FIRST, before);
  expect(await untilDown(station, controller, 'database')).toMatchObject({ httpStatus: 200, status: 'degraded' });
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
  station.database.thaw();
  await applyAChange();
});

test('a frozen database hinders no repair; thawed, it is followed again', async () => {
  const before = await lives(station);
  station.database.freeze();
  await untilDown(station, controller, 'database');
  await killRecorder(FIRST);
  await untilReplaced(FIRST, before);
  expect(await readHealth(controller)).toMatchObject({ httpStatus: 200, status: 'degraded' });
  station.database.thaw();
  await applyAChange();
  await untilWell(station, controller);
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
  expect(overlaps(await recorderRuns(station, FIRST))).toEqual([]);
});

test('a database that is away when the controller starts: by the last good state, and for a new microphone too', async () => {
  const before = await lives(station);
  await controller.kill('SIGKILL');
  await killRecorder(FIRST);
  await station.database.shutDown();
  const umik = station.plug(umik1());
  controller = await station.start();
  await untilReplaced(FIRST, before);
  const id = '2752-0007-000-0000';
  await station.until('the new microphone has a recorder', async () => (await lives(station))[id]);
  expect(await untilDown(station, controller, 'database')).toMatchObject({ httpStatus: 200 });

  await station.database.startAgain();
  expect(await station.untilPhase('recording', id)).toMatchObject({ profile_slug: 'minidsp-umik-1' });
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
  await applyAChange();
  station.usb.unplug(umik);
  await station.untilPhase('offline', id);
});

test.each(['the volume', 'the tables', 'the rows', 'the volume, while no controller runs,'])(
  '%s of the database wiped: nobody is touched, and all is restored',
  async (what) => {
    const before = await lives(station);
    await change(station, FIRST, { name: `Before ${what} <b>🦉</b>` });
    await asPage(
      station,
      (sql) => sql`
    insert into microphone_profiles (slug, name, config) select 'own', 'My own', config from microphone_profiles where slug = 'generic'
    on conflict (slug) do nothing`,
    );
    await station.nudge();
    const rows = await station.until('the last good state has it', async () => {
      const saved = lastGood();
      return saved.includes(`Before ${what}`) && saved.includes('My own') ? await wishesInRows() : null;
    });
    const stationId = await station.stationId();
    const runsOfOff = await recorderRuns(station, OFF);

    const isStopped = what.includes('no controller');
    if (isStopped) await controller.kill('SIGTERM');
    await wipe(what);
    if (isStopped) controller = await station.start();
    const restored = await station.until('the station tells of it', async () =>
      (await station.events()).find(({ reason }) => reason === 'DatabaseRestored'),
    );
    expect(restored).toMatchObject({
      subject: 'station',
      type: 'warning',
      message: expect.stringMatching(/was empty/),
    });
    for (const id of [FIRST, SECOND]) await station.untilPhase('recording', id);
    expect(await wishesInRows()).toEqual(rows);
    expect(await station.sql`select name from microphone_profiles where slug = 'own'`).toEqual([{ name: 'My own' }]);
    expect(await stationIdInDatabase()).toBe(stationId);
    expect(await lives(station)).toEqual(before);
    expect(await recorderRuns(station, OFF)).toEqual(runsOfOff);
    await applyAChange();
  },
);

test('wiped while profile and settings are nonsense: what runs goes on, and is told why nothing else is done', async () => {
  const config = (value: unknown) => station.sql`
    insert into microphone_profiles (slug, name, config)
    select 'broken', 'Broken', config || ${station.sql.json(JSON.parse(JSON.stringify(value)))}
    from microphone_profiles where slug = 'virtual'
    on conflict (slug) do update set config = excluded.config`;
  await config({});
  await change(station, FIRST, { profile_slug: 'broken' });
  await inEffect(station, FIRST);
  await config({ audio: 'loud' });
  await change(station, SECOND, { settings: { volume: 11 } });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording', reason: 'ProfileInvalid' });
  expect(await inEffect(station, SECOND)).toMatchObject({ phase: 'recording', reason: 'SettingsInvalid' });
  const before = await lives(station);
  await station.until('the last good state knows', () => lastGood().includes('volume') && lastGood().includes('loud'));

  await wipe('the volume');
  await station.until('the station tells of it', async () =>
    (await station.events()).find(({ reason }) => reason === 'DatabaseRestored'),
  );
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording', reason: 'ProfileInvalid' });
  expect(await inEffect(station, SECOND)).toMatchObject({ phase: 'recording', reason: 'SettingsInvalid' });
  expect(await lives(station)).toEqual(before);

  await config({});
  await change(station, FIRST, { profile_slug: 'virtual' });
  await change(station, SECOND, { settings: {} });
  for (const id of [FIRST, SECOND])
    expect(await inEffect(station, id)).toMatchObject({ phase: 'recording', reason: 'Recording' });
});

test('a database of another station: ours goes on by its own wishes, and it becomes ours', async () => {
  const before = await lives(station);
  const rows = await wishesInRows();
  const stationId = await station.stationId();
  await station.sql.begin(async (sql) => {
    await sql`update system_config set value = ${sql.json(randomUUID())} where key = ${CONFIG_KEY.stationId}`;
    await sql`update devices set name = 'Foreign', enabled = false, restart_token = 'foreign'`;
    await sql`delete from events`;
  });
  const told = await station.until('the station tells of it', async () =>
    (await station.events()).find(({ reason }) => reason === 'DatabaseRestored'),
  );
  expect(told.message).toMatch(/belongs to another station/);
  expect(await stationIdInDatabase()).toBe(stationId);
  expect(await wishesInRows()).toEqual(rows);
  expect(await lives(station)).toEqual(before);
  await applyAChange();
});

test('a database made by a later release is left alone, and the station goes on by what it knows', async () => {
  const before = await lives(station);
  await station.sql`insert into silvasonic_migrations (hash, created_at) values ('later', 9999999999999)`;
  const health = await untilDown(station, controller, 'database');
  expect(health).toMatchObject({ httpStatus: 200, status: 'degraded' });
  expect(health.dependencies).toContainEqual(
    expect.objectContaining({ message: expect.stringMatching(/later release/) }),
  );
  const frozen = await station.devices();
  await asPage(station, (sql) => sql`update devices set enabled = false where id = ${SECOND}`);
  await controller.kill('SIGTERM');
  await killRecorder(FIRST);
  controller = await station.start();
  await untilReplaced(FIRST, before);
  expect(await untilDown(station, controller, 'database')).toMatchObject({ httpStatus: 200 });
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
  const { observed_generation, phase, reason, message } = await deviceRow(station, SECOND);
  expect(frozen).toContainEqual(expect.objectContaining({ id: SECOND, observed_generation, phase, reason, message }));

  await station.sql`delete from silvasonic_migrations where hash = 'later'`;
  expect(await inEffect(station, SECOND)).toMatchObject({ phase: 'disabled' });
  await change(station, SECOND, { enabled: true });
  expect(await inEffect(station, SECOND)).toMatchObject({ phase: 'recording' });
});

test.each(['gone', 'silent'])(
  'an engine that is %s: nothing is removed, and all is repaired afterwards',
  async (how) => {
    const before = await lives(station);
    if (how === 'gone') await proxy.close();
    else proxy.hold();
    expect(await untilDown(station, controller, 'engine')).toMatchObject({ httpStatus: 200, status: 'degraded' });
    const generation = await change(station, SECOND, { enabled: false });
    await killRecorder(FIRST);
    const row = await station.until('the row says why nothing happens', async () => {
      const second = await deviceRow(station, SECOND);
      return second.reason === 'EngineUnavailable' ? second : null;
    });
    expect(row.observed_generation).toBeLessThan(generation);
    expect(await lives(station)).toEqual({ [SECOND]: before[SECOND] });

    if (how === 'gone') await proxy.open();
    else proxy.release();
    expect(await inEffect(station, SECOND)).toMatchObject({ phase: 'disabled' });
    await untilReplaced(FIRST, before);
    await change(station, SECOND, { enabled: true });
    for (const id of [FIRST, SECOND]) await station.untilPhase('recording', id);
    expect(overlaps(await recorderRuns(station, FIRST))).toEqual([]);
    await untilWell(station, controller);
  },
);

test('a controller that starts before its engine adopts what runs once the engine is there', async () => {
  const before = await lives(station);
  await controller.kill('SIGKILL');
  await proxy.close();
  controller = await station.start();
  expect(await untilDown(station, controller, 'engine')).toMatchObject({ httpStatus: 200, status: 'degraded' });
  await station.until('the rows say so', async () => (await deviceRow(station, FIRST)).reason === 'EngineUnavailable');
  await proxy.open();
  await untilWell(station, controller);
  await applyAChange();
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
});

test('database, engine and Redis away when the controller starts: each is made use of as it comes', async () => {
  const before = await lives(station);
  await controller.kill('SIGKILL');
  await killRecorder(FIRST);
  await Promise.all([proxy.close(), station.database.shutDown(), station.redis?.halt()]);
  controller = await station.start();
  const { message } = await station.until('all are missed', async () => {
    const health = await readHealth(controller);
    return health.dependencies.filter(({ state }) => state === 'down').length === 3 ? health : null;
  });
  expect(message).toBe('Working without database, redis, engine.');
  await proxy.open();
  await untilReplaced(FIRST, before);
  expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
  await station.database.startAgain();
  await asPage(station, (sql) => sql`update devices set enabled = false where id = ${FIRST}`);
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'disabled' });
  await station.redis?.resume();
});

// ---------------------------------------------------------------------------------------------------------- helpers

async function startRecording(): Promise<void> {
  controller = await station.start();
  for (const id of [FIRST, SECOND, OFF]) await station.untilPhase('recording', id);
  await change(station, OFF, { enabled: false });
  await inEffect(station, OFF);
  await untilWell(station, controller);
}

function lastGood(): string {
  return readFileSync(join(station.workspace, 'controller', 'last-good.json'), 'utf8');
}

async function mendDatabase(): Promise<void> {
  station.database.thaw();
  try {
    await station.sql`select`;
  } catch {
    await station.database.startAgain();
  }
}

async function mendRedis(): Promise<void> {
  try {
    await station.redis?.command('PING');
  } catch {
    await station.redis?.resume();
  }
}

async function wipe(what: string): Promise<void> {
  if (what.startsWith('the volume')) return await station.database.wipe(station.environment.POSTGRES_DB ?? '');
  if (what === 'the rows')
    await station.sql`truncate devices, microphone_profiles, system_config, system_services, events`;
  else {
    await station.sql`drop schema public cascade`;
    await station.sql`create schema public`;
  }
}

/** A person's change of the first device, applied. */
async function applyAChange(): Promise<void> {
  await station.until(
    'the database takes a change',
    async () => await change(station, FIRST, { restart_token: randomUUID() }),
  );
  await station.until('the change is in effect', async () => (await inEffect(station, FIRST)).phase === 'recording');
}

async function killRecorder(id: string): Promise<void> {
  const container = (await station.containers()).find(({ Config }) => Config.Labels[LABEL.deviceId] === id);
  if (container === undefined) throw new Error(`There is no recorder of ${id}.`);
  await station.engine.podman('kill', container.Id);
}

async function untilReplaced(id: string, before: Record<string, string>): Promise<void> {
  await station.until(`${id} has another recorder`, async () => {
    const { [id]: now } = await lives(station);
    return now !== undefined && now !== before[id];
  });
}

/** What a person decided. */
async function wishesInRows(): Promise<readonly object[]> {
  return await station.sql<object[]>`
    select id, name, enabled, enrollment_status, decided_by, profile_slug, settings, restart_token, workspace, generation
    from devices order by id`;
}

async function stationIdInDatabase(): Promise<unknown> {
  const [row] = await station.sql<
    { value: unknown }[]
  >`select value from system_config where key = ${CONFIG_KEY.stationId}`;
  return row?.value;
}
