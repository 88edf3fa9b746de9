/** The store while its database is missing, hung, wiped, too new, read-only, or closed to it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MIGRATIONS_FOLDER, type PostgresFixture, startPostgres } from './postgres.ts';
import {
  changes,
  errorFrom,
  insertion,
  openConsole,
  openStore,
  STATION_ID,
  until,
  untilFailing,
  untilRead,
  valueFrom,
} from './store-fixture.ts';

let server: PostgresFixture;
const folders: string[] = [];
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const event = { subject: 'station', type: 'normal', reason: 'Told', message: 'Told.' } as const;

describe('away', () => {
  test('at the start: fails with a sentence, and reads as soon as the server is there', async () => {
    const access = await server.createDatabase({ migrated: true });
    await server.shutDown();
    const opened = openStore(access);
    expect(errorFrom(await opened.store.read())).toMatch(/is not running/);
    expect(errorFrom(await opened.store.write(changes({ events: [event] })))).toMatch(/is not running/);
    expect(opened.store.dependency()).toMatchObject({
      state: 'down',
      message: expect.stringMatching(/is not running/),
    });
    await server.startAgain();
    await untilRead(opened.store);
    expect(opened.available()).toBe(1);
    expect(opened.store.dependency().state).toBe('up');
  });

  test('restarted: the next readings succeed again, and each state is logged once', async () => {
    const access = await server.createDatabase({ migrated: true });
    const opened = openStore(access);
    await untilRead(opened.store);
    await server.shutDown();
    await untilFailing(opened.store);
    // Attempts go on all the while.
    for (let attempt = 0; attempt < 20; attempt += 1) await untilFailing(opened.store);
    await server.startAgain();
    await untilRead(opened.store);
    expect(opened.available()).toBe(2);
    expect(opened.log.filter(({ level }) => level === 'info')).toHaveLength(2);
    valueFrom(await opened.store.write(changes({ events: [event] })));
  });

  test('restarted while nobody looked: the next reading is good', async () => {
    const access = await server.createDatabase({ migrated: true });
    const { store } = openStore(access);
    await untilRead(store);
    await server.restart();
    await untilRead(store);
  });

  test('a wrong password, a missing database, a name that nobody has: each has its sentence', async () => {
    const access = await server.createDatabase({ migrated: true });
    const first = async (given: Partial<typeof access>) =>
      errorFrom(await openStore({ ...access, ...given }).store.read());
    expect(await first({ password: 'wrong' })).toMatch(/refuses user "silvasonic".*POSTGRES_PASSWORD/);
    expect(await first({ database: 'missing' })).toMatch(/no database "missing"/);
    expect(await first({ host: 'nobody.invalid' })).toMatch(/"nobody\.invalid" does not resolve/);
  });

  test('the password is asked for anew, so that a mended file is enough', async () => {
    const access = await server.createDatabase({ migrated: true });
    const { host, port, user, database } = access;
    let password: { ok: true; value: string } | { ok: false; message: string } = {
      ok: false,
      message: 'No such file.',
    };
    const { store } = openStore(access, {
      connection: { host, port, user, database, password: async () => password },
    });
    expect(errorFrom(await store.read())).toMatch(/No such file/);
    password = { ok: true, value: access.password };
    await untilRead(store);
  });
});

describe('hung', () => {
  afterEach(() => server.thaw());

  test('frozen and continued: readings and writes end, and go on afterwards on new connections', async () => {
    const access = await server.createDatabase({ migrated: true });
    const opened = openStore(access);
    await untilRead(opened.store);
    server.freeze();
    const [reading, writing] = await Promise.all([
      opened.store.read(),
      opened.store.write(changes({ events: [event] })),
    ]);
    expect(errorFrom(reading)).toMatch(/did not answer within 2 s/);
    expect(errorFrom(writing)).not.toBe('');
    // Known to be away: fails without being asked.
    expect(errorFrom(await opened.store.read())).toMatch(/did not answer/);
    server.thaw();
    await untilRead(opened.store);
    valueFrom(await opened.store.write(changes({ events: [event] })));
    const sql = openConsole(access);
    await until('only living connections are left', async () => {
      const rows =
        await sql`select from pg_stat_activity where datname = ${access.database} and application_name = 'silvasonic-controller'`;
      return rows.length <= 2 ? true : null;
    });
  });

  test('frozen before the start: the first reading ends, and stopping too', async () => {
    const access = await server.createDatabase({ migrated: true });
    server.freeze();
    const { store } = openStore(access);
    expect(errorFrom(await store.read())).not.toBe('');
    await store.stop();
    expect(errorFrom(await store.read())).toMatch(/stopped/);
  });

  test('frozen: hung connections are let go at once, so that nothing keeps the process from ending', async () => {
    const access = await server.createDatabase({ migrated: true });
    const openSockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const before = await until('the sockets of earlier tests are gone', () => (openSockets() === 0 ? 0 : null));
    const { store } = openStore(access);
    await untilRead(store);
    server.freeze();
    await untilFailing(store);
    await store.stop();
    await until('no socket is left open', () => (openSockets() === before ? true : null));
  });

  test('a table that somebody keeps locked: the reading ends, and is good when the lock is gone', async () => {
    const access = await server.createDatabase({ migrated: true });
    const { store } = openStore(access);
    await untilRead(store);
    const sql = openConsole(access);
    await sql.begin(async (transaction) => {
      await transaction`lock table devices in access exclusive mode`;
      expect(errorFrom(await store.read())).not.toBe('');
    });
    await untilRead(store);
  });
});

describe('wiped', () => {
  test('an empty database under the same name is made anew, and belongs to nobody', async () => {
    const access = await server.createDatabase({ migrated: true });
    const opened = openStore(access);
    const state = await untilRead(opened.store);
    valueFrom(await opened.store.adopt({ ...state, stationId: STATION_ID }));
    valueFrom(await opened.store.write(changes({ devices: [insertion('a')] })));
    await server.wipe(access.database);
    const after = await until('the wiped database is read', async () => {
      const reading = await opened.store.read();
      return reading.ok && reading.value.stationId === null ? reading.value : null;
    });
    expect(after).toMatchObject({ stationId: null, devices: [], profiles: [{ slug: 'generic' }] });
  });

  test('tables removed one by one: not made anew over what may still be there, and said', async () => {
    const access = await server.createDatabase({ migrated: true });
    const { store } = openStore(access);
    await untilRead(store);
    await openConsole(access)`drop table events, devices`;
    expect(await untilFailing(store)).toMatch(/lacks a table.*devices.*backup/);
  });
});

describe('of another release', () => {
  const newerFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'silvasonic-migrations-'));
    folders.push(folder);
    cpSync(MIGRATIONS_FOLDER, folder, { recursive: true });
    const journalFile = join(folder, 'meta/_journal.json');
    const journal = JSON.parse(readFileSync(journalFile, 'utf8'));
    const last = journal.entries.at(-1);
    journal.entries.push({ ...last, idx: last.idx + 1, when: last.when + 86_400_000, tag: '9999_later' });
    writeFileSync(journalFile, JSON.stringify(journal));
    writeFileSync(join(folder, '9999_later.sql'), 'alter table devices add column later text;');
    return folder;
  };

  test('a newer one is not read, not written and not migrated back, found at the start or later', async () => {
    const access = await server.createDatabase({ migrated: true });
    const before = openStore(access);
    await untilRead(before.store);
    await untilRead(openStore(access, { migrationsFolder: newerFolder() }).store);
    expect(await untilFailing(before.store)).toMatch(/^SchemaNewer: .*later release.*backup/);
    expect(errorFrom(await before.store.write(changes({ devices: [insertion('a')] })))).toMatch(/^SchemaNewer/);
    expect(errorFrom(await openStore(access).store.read())).toMatch(/^SchemaNewer/);
    expect(await openConsole(access)`select later from devices`).toEqual([]);
  });

  test('an older one is migrated, and keeps its rows', async () => {
    const access = await server.createDatabase({ migrated: true });
    const before = openStore(access);
    await untilRead(before.store);
    valueFrom(await before.store.write(changes({ devices: [insertion('a')] })));
    await before.store.stop();
    const after = openStore(access, { migrationsFolder: newerFolder() });
    expect((await untilRead(after.store)).devices).toMatchObject([{ id: 'a' }]);
    expect(await openConsole(access)`select later from devices`).toEqual([{ later: null }]);
  });

  test('a migration that fails leaves nothing half done', async () => {
    const access = await server.createDatabase();
    const folder = newerFolder();
    writeFileSync(
      join(folder, '9999_later.sql'),
      'create table half (id int);\n--> statement-breakpoint\nselect nonsense;',
    );
    const { store } = openStore(access, { migrationsFolder: folder });
    expect(await untilFailing(store)).toMatch(/nonsense/);
    expect(await openConsole(access)`select to_regclass('devices') as devices, to_regclass('half') as half`).toEqual([
      { devices: null, half: null },
    ]);
  });
});

describe('read-only', () => {
  test('is read, at the start too; writes fail with a sentence, and succeed when it is mended', async () => {
    const access = await server.createDatabase({ migrated: true });
    const admin = openConsole({ ...access, database: 'postgres' });
    await admin`alter database ${admin(access.database)} set default_transaction_read_only = on`;
    const { store } = openStore(access);
    valueFrom(await store.read());
    expect(errorFrom(await store.write(changes({ devices: [insertion('a')] })))).toMatch(/read-only/);
    expect(store.dependency()).toMatchObject({
      state: 'down',
      message: expect.stringMatching(/can be read.*read-only/),
    });
    expect(valueFrom(await store.read()).devices).toEqual([]);
    await admin`alter database ${admin(access.database)} reset default_transaction_read_only`;
    await server.restart();
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a')] })));
    expect(store.dependency().state).toBe('up');
  });
});

describe('quiet', () => {
  test('a store that nobody asks sends no statement, and an empty change none either', async () => {
    const access = await server.createDatabase({ migrated: true });
    const { store } = openStore(access);
    await untilRead(store);
    const sql = openConsole({ ...access, database: 'postgres' });
    const lastStatements = () =>
      sql`select pid, query_start, state from pg_stat_activity where datname = ${access.database} and application_name = 'silvasonic-controller' order by pid`;
    const before = await lastStatements();
    expect(before.length).toBeGreaterThan(0);
    valueFrom(await store.write(changes()));
    // Longer than any delay of the prober that would be due.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await lastStatements()).toEqual(before);
  });
});
