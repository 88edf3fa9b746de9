/** What the store reads and writes, on a real PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { workspaceName } from '../../services/shared/contract.ts';
import { MAX_DEVICES, MAX_EVENTS } from '../../services/shared/schema.ts';
import { type DatabaseAccess, type PostgresFixture, startPostgres } from './postgres.ts';
import {
  changes,
  EMPTY,
  errorFrom,
  facts,
  insertion,
  openConsole,
  openStore,
  untilRead,
  valueFrom,
} from './store-fixture.ts';

let server: PostgresFixture;
let access: DatabaseAccess;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

const fresh = async (): Promise<void> => {
  access = await server.createDatabase({ migrated: true });
};

describe('a database that nobody used yet', () => {
  test('gets tables and seeds, and belongs to no station', async () => {
    const { store } = openStore(await server.createDatabase());
    const state = await untilRead(store);
    expect(state).toEqual({ ...EMPTY, stationId: null, profiles: state.profiles });
    expect(state.profiles).toMatchObject([{ slug: 'generic', isSystem: true, config: { ok: true } }]);
    expect(store.dependency()).toMatchObject({ name: 'database', state: 'up' });
  });

  test('the first reading waits for the first connection', async () => {
    await fresh();
    const { store } = openStore(access);
    expect(valueFrom(await store.read()).stationId).toBeNull();
  });

  test('two stores at once migrate it once', async () => {
    access = await server.createDatabase();
    const stores = [openStore(access), openStore(access)];
    await Promise.all(stores.map(({ store }) => untilRead(store)));
    const [row] = await openConsole(
      access,
    )`select count(*)::int, count(distinct created_at)::int as times from silvasonic_migrations`;
    expect(row?.count).toBe(row?.times);
  });

  test('the catalogue of services has its rows, and a switched one stays as it was', async () => {
    await fresh();
    const seedServices = [{ name: 'processor', enabled: true, settings: { days: 3 } }];
    const first = openStore(access, { seedServices });
    expect((await untilRead(first.store)).services).toMatchObject([
      { name: 'processor', enabled: true, generation: 1 },
    ]);
    await openConsole(access)`update system_services set enabled = false`;
    const second = openStore(access, {
      seedServices: [...seedServices, { name: 'birdnet', enabled: false, settings: {} }],
    });
    expect((await untilRead(second.store)).services).toMatchObject([
      { name: 'birdnet', enabled: false },
      { name: 'processor', enabled: false, generation: 2, settings: { days: 3 } },
    ]);
  });
});

describe('devices', () => {
  test('a new one comes back as it was written', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    const enrollment = { enrollmentStatus: 'enrolled', profileSlug: 'generic', decidedBy: 'auto' } as const;
    valueFrom(await store.write(changes({ devices: [insertion('2752-0007-1', { enrollment })] })));
    const [device] = valueFrom(await store.read()).devices;
    expect(device).toEqual({
      ...facts(),
      ...enrollment,
      id: '2752-0007-1',
      name: '2752-0007-1',
      workspace: workspaceName('2752-0007-1', 'UMIK-1'),
      enabled: true,
      settings: { ok: true, value: {} },
      restartToken: '',
      firstSeenAt: facts().lastSeenAt,
      generation: 1,
      observedGeneration: 0,
      phase: 'waiting',
      reason: '',
      message: '',
    });
  });

  test('a row that is there already takes over the facts, and keeps what a person said', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a', { facts: facts({ status: 'offline' }) })] })));
    await openConsole(access)`update devices set name = 'Garden', enabled = false, enrollment_status = 'ignored'`;
    valueFrom(await store.write(changes({ devices: [insertion('a', { facts: facts({ product: 'Other' }) })] })));
    const [device] = valueFrom(await store.read()).devices;
    expect(device).toMatchObject({ name: 'Garden', enabled: false, enrollmentStatus: 'ignored', decidedBy: 'person' });
    expect(device).toMatchObject({ product: 'Other', status: 'online' });
  });

  test('an update touches only what it names', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a')] })));
    const before = valueFrom(await store.read()).devices[0];
    valueFrom(
      await store.write(
        changes({ devices: [{ kind: 'update', id: 'a', facts: { serial: null, serialShared: true } }] }),
      ),
    );
    expect(valueFrom(await store.read()).devices[0]).toEqual({ ...before, serial: null, serialShared: true });
  });

  test.each([
    ['nobody decided yet', {}, { enrollmentStatus: 'enrolled', profileSlug: 'generic', decidedBy: 'auto' }],
    ['a person ignored it', { enrollment_status: 'ignored' }, { enrollmentStatus: 'ignored', decidedBy: 'person' }],
    ['a person left it pending', { decided_by: 'person' }, { enrollmentStatus: 'pending', decidedBy: 'person' }],
  ])('enrolling by our rules: %s', async (_case, person, outcome) => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a')] })));
    const sql = openConsole(access);
    if (Object.keys(person).length > 0) await sql`update devices set ${sql(person)}`;
    const enrollment = { enrollmentStatus: 'enrolled', profileSlug: 'generic', decidedBy: 'auto' } as const;
    valueFrom(await store.write(changes({ devices: [{ kind: 'enroll', id: 'a', enrollment }] })));
    expect(valueFrom(await store.read()).devices[0]).toMatchObject(outcome);
  });

  test('only one that is offline is forgotten', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(
      await store.write(
        changes({ devices: [insertion('on'), insertion('off', { facts: facts({ status: 'offline' }) })] }),
      ),
    );
    valueFrom(
      await store.write(
        changes({
          devices: [
            { kind: 'forget', id: 'on' },
            { kind: 'forget', id: 'off' },
          ],
        }),
      ),
    );
    expect(valueFrom(await store.read()).devices.map(({ id }) => id)).toEqual(['on']);
  });

  test('all or nothing: one refused change takes back the others', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    const wrong = insertion('b', { workspace: workspaceName('another id', 'UMIK-1') });
    expect(errorFrom(await store.write(changes({ devices: [insertion('a'), wrong] })))).toContain(
      'devices_workspace_digest',
    );
    expect(valueFrom(await store.read()).devices).toEqual([]);
  });

  test(`there are never more than ${MAX_DEVICES}, and those that are there can still be written`, async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    const many = Array.from({ length: MAX_DEVICES }, (_, index) => insertion(`device-${index}`));
    // In parts: each has a few seconds, also on a machine that does much else.
    for (let from = 0; from < many.length; from += 50)
      valueFrom(await store.write(changes({ devices: many.slice(from, from + 50) })));
    expect(errorFrom(await store.write(changes({ devices: [insertion('one more')] })))).toContain(
      'already knows 500 devices',
    );
    valueFrom(
      await store.write(changes({ devices: [insertion('device-7', { facts: facts({ status: 'offline' }) })] })),
    );
    const { devices } = valueFrom(await store.read());
    expect(devices).toHaveLength(MAX_DEVICES);
    expect(devices.find(({ id }) => id === 'device-7')?.status).toBe('offline');
  });

  test.each([
    ['2 kB of serial', 's'.repeat(2048), 's'.repeat(2048)],
    ['more than any column takes', 'x'.repeat(5000), 'x'.repeat(2048)],
    ['emoji, umlauts and quotes', `Müller's "🎤" \\ $1 %s`, `Müller's "🎤" \\ $1 %s`],
    ['line breaks and control characters', 'a\nb\r\n\tc\u0001\u001b[31m', 'a\nb\r\n\tc\u0001\u001b[31m'],
    ['NUL', 'a\0b\0', 'ab'],
    ['half a character', 'a\ud83cb', 'a\ufffdb'],
  ])('text from hardware: %s', async (_case, given, kept) => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    const capabilities = {
      offers: [{ format: given, channels: 1, rates: { kind: 'range', min: 1, max: 2 } as const }],
    };
    valueFrom(
      await store.write(changes({ devices: [insertion('a', { facts: facts({ serial: given, capabilities }) })] })),
    );
    const [device] = valueFrom(await store.read()).devices;
    expect(device?.serial).toBe(kept);
    if (given.length <= 2048) expect(device?.capabilities.offers[0]?.format).toBe(kept);
    const event = { subject: 'recorder:a', type: 'warning', reason: 'Text', message: given } as const;
    const status = {
      subject: { kind: 'device', id: 'a' },
      observedGeneration: 1,
      phase: 'blocked',
      reason: 'Text',
      message: given,
    } as const;
    valueFrom(await store.write(changes({ events: [event], statuses: [status] })));
    expect(valueFrom(await store.read()).devices[0]?.message).toBe(kept.slice(0, 2000));
  });
});

describe('status columns', () => {
  test('devices and services are told together, and the time of the phase moves only with the phase', async () => {
    await fresh();
    const { store } = openStore(access, { seedServices: [{ name: 'processor', enabled: true, settings: {} }] });
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a'), insertion('b')] })));
    const sql = openConsole(access);
    await sql`update devices set phase_since = '2020-01-01'`;
    const told = (message: string, phase: 'waiting' | 'recording') =>
      ({ subject: { kind: 'device', id: 'a' }, observedGeneration: 1, phase, reason: 'Fine', message }) as const;
    const service = {
      subject: { kind: 'service', name: 'processor' },
      observedGeneration: 1,
      phase: 'running',
      reason: 'Fine',
      message: 'Runs.',
    } as const;
    valueFrom(await store.write(changes({ statuses: [told('Still waits.', 'waiting'), service] })));
    const since = () => sql`select id, extract(year from phase_since)::int as year from devices order by id`;
    expect(await since()).toMatchObject([
      { id: 'a', year: 2020 },
      { id: 'b', year: 2020 },
    ]);
    valueFrom(await store.write(changes({ statuses: [told('Records.', 'recording')] })));
    expect((await since())[0]?.year).toBeGreaterThan(2020);
    const state = valueFrom(await store.read());
    expect(state.devices[0]).toMatchObject({
      phase: 'recording',
      message: 'Records.',
      observedGeneration: 1,
      generation: 1,
    });
    expect(state.services[0]).toMatchObject({ phase: 'running', message: 'Runs.', generation: 1 });
  });

  test('what the row says already is not written again', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a')] })));
    const sql = openConsole(access);
    const status = {
      subject: { kind: 'device', id: 'a' },
      observedGeneration: 1,
      phase: 'offline',
      reason: 'Gone',
      message: '',
    } as const;
    valueFrom(await store.write(changes({ statuses: [status] })));
    const [before] = await sql`select xmin, ctid from devices`;
    valueFrom(await store.write(changes({ statuses: [status] })));
    expect((await sql`select xmin, ctid from devices`)[0]).toEqual(before);
  });
});

describe('events', () => {
  const event = { subject: 'recorder:a', type: 'warning', reason: 'Silent', message: 'It is silent.' } as const;

  test('a repeat of the latest raises its count; anything between makes a new row', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ events: [event, { ...event, subject: 'station' }, event] })));
    valueFrom(await store.write(changes({ events: [event, { ...event, reason: 'Loud' }, event] })));
    const rows = await openConsole(
      access,
    )`select subject, reason, count, last_at >= at as ordered from events order by id`;
    expect(rows).toMatchObject([
      { subject: 'recorder:a', reason: 'Silent', count: 3, ordered: true },
      { subject: 'station', reason: 'Silent', count: 1 },
      { subject: 'recorder:a', reason: 'Loud', count: 1 },
      { subject: 'recorder:a', reason: 'Silent', count: 1 },
    ]);
  });

  test(`only the newest ${MAX_EVENTS} are kept`, async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    const sql = openConsole(access);
    await sql`insert into events (subject, type, reason, message) select 's', 'normal', 'R', n::text from generate_series(1, 6000) as n`;
    valueFrom(await store.write(changes({ events: [event] })));
    const [row] =
      await sql`select count(*)::int, max(reason) filter (where id = (select max(id) from events)) as latest from events`;
    expect(row).toEqual({ count: MAX_EVENTS, latest: 'Silent' });
  });
});

describe('what cannot be read affects only itself', () => {
  test('settings and profiles of a form that we do not know', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a'), insertion('b')] })));
    const sql = openConsole(access);
    await sql`update devices set settings = '{"rate": "fast"}', capabilities = '{}' where id = 'a'`;
    await sql`insert into microphone_profiles (slug, name, config) values ('mine', 'Mine', '{"audio": {"rate": 1}}')`;
    const { devices, profiles, problems } = valueFrom(await store.read());
    expect(devices.map(({ id, settings }) => [id, settings.ok])).toEqual([
      ['a', false],
      ['b', true],
    ]);
    expect(devices[0]?.settings).toMatchObject({ message: expect.stringMatching(/rate.*"fast".*allowed/) });
    expect(devices[0]?.capabilities).toEqual({ offers: [] });
    expect(profiles.map(({ slug, config }) => [slug, config.ok])).toEqual([
      ['generic', true],
      ['mine', false],
    ]);
    expect(problems).toMatchObject([expect.stringContaining('capabilities of "a"')]);
  });

  test('a row with a moment that no calendar has is left out, and named', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.write(changes({ devices: [insertion('a'), insertion('b')] })));
    await openConsole(access)`update devices set first_seen = 'infinity' where id = 'a'`;
    const { devices, problems } = valueFrom(await store.read());
    expect(devices.map(({ id }) => id)).toEqual(['b']);
    expect(problems).toMatchObject([expect.stringMatching(/devices: row "a".*first_seen/)]);
  });
});
