/** Rules of the database itself: what counts as a person's change, what may be removed, and who may write what. */
import { readdirSync, readFileSync } from 'node:fs';
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api';
import type { Sql } from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import * as schema from '../../services/shared/schema.ts';
import { type DatabaseAccess, MIGRATIONS_FOLDER, type PostgresFixture, startPostgres } from './postgres.ts';
import {
  changes,
  facts,
  insertion,
  openConsole,
  openStore,
  seedProfile,
  untilRead,
  valueFrom,
} from './store-fixture.ts';

const PAGE = { user: 'page', password: "it's a secret" };

let server: PostgresFixture;
let access: DatabaseAccess;
let admin: Sql;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

/** One device that is there and one that is not, as the controller makes them. */
async function makeStation(): Promise<void> {
  access = await server.createDatabase({ migrated: true });
  const { store } = openStore(access, {
    seedProfiles: [seedProfile('generic'), seedProfile('other')],
    seedServices: [{ name: 'processor', enabled: true, settings: {} }],
    pageLogin: { user: PAGE.user, password: async () => ({ ok: true, value: PAGE.password }) },
  });
  await untilRead(store);
  const enrollment = { enrollmentStatus: 'enrolled', profileSlug: 'generic', decidedBy: 'auto' } as const;
  const offline = facts({ status: 'offline' });
  valueFrom(
    await store.write(
      changes({ devices: [insertion('garden', { enrollment }), insertion('roof', { enrollment, facts: offline })] }),
    ),
  );
}

/** For tests that change rows. */
function aStationEach(): void {
  beforeEach(makeStation);
  beforeEach(() => {
    admin = openConsole(access);
  });
}

/** For tests of what is refused: nothing changes. */
function oneStationForAll(): void {
  beforeAll(makeStation);
  beforeEach(() => {
    admin = openConsole(access);
  });
}

const generationOf = async (id = 'garden'): Promise<number> => {
  const [row] = await admin`select generation from devices where id = ${id}`;
  return row?.generation;
};

describe('the generation of a device counts a person’s changes', () => {
  aStationEach();

  test.each([
    ['enabled', `enabled = false`, 2],
    ['enrolment', `enrollment_status = 'ignored'`, 2],
    ['profile', `profile_slug = 'other'`, 2],
    ['no profile', `profile_slug = null`, 2],
    ['settings', `settings = '{"gainDb": 3}'`, 2],
    ['restart', `restart_token = 'again'`, 2],
    ['two at once', `enabled = false, restart_token = 'again'`, 2],
    ['the same again', `enabled = enabled, settings = settings`, 1],
    ['settings in another order and spacing', `settings = '{ }'`, 1],
    ['the name', `name = 'Garden'`, 1],
    ['who decided', `decided_by = 'person'`, 1],
    [
      'status columns',
      `phase = 'recording', reason = 'R', message = 'M', observed_generation = 1, phase_since = now()`,
      1,
    ],
    [
      'hardware',
      `status = 'offline', port_path = 'x', capabilities = '{"offers": [1]}', serial = 'y', last_seen = now()`,
      1,
    ],
  ])('%s', async (_case, set, generation) => {
    await admin.unsafe(`update devices set ${set} where id = 'garden'`);
    expect(await generationOf()).toBe(generation);
    expect(await generationOf('roof')).toBe(1);
  });

  test('a changed profile counts for all of its devices, an equal one or a new name for none', async () => {
    await admin`update devices set profile_slug = 'other' where id = 'roof'`;
    await admin`update microphone_profiles set name = 'New name', config = config where slug = 'generic'`;
    expect([await generationOf(), await generationOf('roof')]).toEqual([1, 2]);
    await admin`update microphone_profiles set config = jsonb_set(config, '{archive}', '"flac"') where slug = 'generic'`;
    expect([await generationOf(), await generationOf('roof')]).toEqual([2, 2]);
  });

  test.each([
    ['enabled', `enabled = false`, 2],
    ['settings', `settings = '{"days": 3}'`, 2],
    ['restart', `restart_token = 'again'`, 2],
    ['the same again', `enabled = true`, 1],
    ['status columns', `phase = 'running', reason = 'R', message = 'M', observed_generation = 1`, 1],
  ])('services likewise: %s', async (_case, set, generation) => {
    await admin.unsafe(`update system_services set ${set}`);
    expect(await admin`select generation from system_services`).toEqual([{ generation }]);
  });
});

describe('what a person decides is marked as such', () => {
  aStationEach();

  test.each([
    ['on the page', () => openConsole(access, PAGE)],
    ['at a console', () => admin],
  ])('%s', async (_case, connect) => {
    const sql = connect();
    await sql`update devices set enrollment_status = 'pending' where id = 'garden'`;
    await sql`update devices set profile_slug = 'other' where id = 'roof'`;
    expect(await admin`select decided_by from devices`).toEqual([{ decided_by: 'person' }, { decided_by: 'person' }]);
  });

  test('other changes decide nothing, and the controller’s are its own', async () => {
    await openConsole(access, PAGE)`update devices set enabled = false, name = 'Garden', settings = '{"gainDb": 1}'`;
    await openConsole(access, {
      role: schema.CONTROLLER_ROLE,
    })`update devices set profile_slug = 'other' where id = 'roof'`;
    expect(await admin`select decided_by from devices`).toEqual([{ decided_by: 'auto' }, { decided_by: 'auto' }]);
  });
});

describe('what is in use stays', () => {
  aStationEach();

  test('a profile with devices is not removed, and the sentence names them', async () => {
    await admin`update devices set name = 'Garden' where id = 'garden'`;
    await expect(openConsole(access, PAGE)`delete from microphone_profiles where slug = 'generic'`).rejects.toThrow(
      'Profile "Name of generic" is used by "Garden", "roof": give them another profile first.',
    );
  });

  test('of many devices ten are named, and the others counted', async () => {
    await admin`
      insert into devices (id, name, vendor_id, product_id, port_path, status, profile_slug, workspace)
      select id, id, '0000', '0000', '', 'offline', 'other', 'x-' || left(encode(sha256(id::bytea), 'hex'), 8)
      from (select 'many-' || lpad(n::text, 2, '0') as id from generate_series(1, 25) as n)`;
    await expect(admin`delete from microphone_profiles where slug = 'other'`).rejects.toThrow(
      /used by "many-01", .*"many-10", and 15 more: give/,
    );
  });

  test('a profile of the release is not removed, a person’s own is', async () => {
    const page = openConsole(access, PAGE);
    await expect(page`delete from microphone_profiles where slug = 'other'`).rejects.toThrow('comes with the station');
    await page`insert into microphone_profiles (slug, name, config) select 'mine', 'Mine', config from microphone_profiles where slug = 'other'`;
    await page`delete from microphone_profiles where slug = 'mine'`;
    expect(await admin`select slug from microphone_profiles order by slug`).toEqual([
      { slug: 'generic' },
      { slug: 'other' },
    ]);
  });

  test('a device is forgotten only while it is offline', async () => {
    const page = openConsole(access, PAGE);
    await expect(page`delete from devices where id = 'garden'`).rejects.toThrow('"garden" is plugged in: unplug it');
    await page`delete from devices where id = 'roof'`;
    expect(await admin`select id from devices`).toEqual([{ id: 'garden' }]);
  });

  test('the folder of a device never changes', async () => {
    await expect(admin`update devices set workspace = 'x' || workspace where id = 'garden'`).rejects.toThrow(
      'never change',
    );
  });
});

describe('the page', () => {
  aStationEach();

  test('reads everything', async () => {
    const page = openConsole(access, PAGE);
    for (const table of [
      'devices',
      'microphone_profiles',
      'system_services',
      'system_config',
      'events',
      'owner',
      'sessions',
    ])
      await page`select * from ${page(table)}`;
  });

  test('writes a person’s columns', async () => {
    const page = openConsole(access, PAGE);
    await page`update devices set name = 'N', enabled = false, enrollment_status = 'ignored', profile_slug = 'other', settings = '{}', restart_token = 'r', decided_by = 'person'`;
    await page`update system_services set enabled = false, settings = '{}', restart_token = 'r'`;
    await page`update microphone_profiles set name = 'N', description = 'D', manufacturer = 'M', model = 'M', config = config || '{"archive": "flac"}'`;
    await page`insert into system_config values ('auto_enrollment', 'false') on conflict (key) do update set value = excluded.value`;
    await page`insert into owner (password_hash) values ('x')`;
    await page`insert into sessions (token_hash, expires_at) values (${'a'.repeat(64)}, now())`;
    expect(await generationOf()).toBe(3);
  });

  test.each(['station_id', 'workspace_marked'])('cannot touch the controller’s key %s', async (key) => {
    const value = key === 'station_id' ? '"5d1e7c3a-93f0-4a53-9f0e-0a1b2c3d4e5f"' : 'true';
    const page = openConsole(access, PAGE);
    const refused = `"${key}" is written by the controller alone`;
    await expect(page`insert into system_config values (${key}, ${value}::text::jsonb)`).rejects.toThrow(refused);
    await admin`insert into system_config values (${key}, ${value}::text::jsonb)`;
    await expect(page`update system_config set value = value`).rejects.toThrow(refused);
    await expect(page`delete from system_config`).rejects.toThrow(refused);
    await expect(page`update system_config set key = 'mine'`).rejects.toThrow(refused);
  });

  test('a password that cannot be read keeps the page out, and not the controller; once it can, the page is let in', async () => {
    const fresh = await server.createDatabase({ migrated: false });
    const late = { user: 'late_page', password: 'at last' };
    let isThere = false;
    const password = async () =>
      isThere ? ({ ok: true, value: late.password } as const) : ({ ok: false, message: 'It is not there.' } as const);
    await untilRead(openStore(fresh, { pageLogin: { user: late.user, password } }).store);
    isThere = true;
    await vi.waitFor(async () => expect(await openConsole(fresh, late)`select 1 as one`).toEqual([{ one: 1 }]), 30_000);
  });

  test('its password follows what is given at the next start', async () => {
    const changed = { user: PAGE.user, password: 'another' };
    const pageLogin = { user: changed.user, password: async () => ({ ok: true, value: changed.password }) as const };
    await untilRead(openStore(access, { pageLogin }).store);
    expect(await openConsole(access, changed)`select 1 as one`).toEqual([{ one: 1 }]);
    await expect(openConsole(access, PAGE)`select 1`).rejects.toThrow('password');
  });
});

describe('the page cannot', () => {
  oneStationForAll();

  test.each([
    'vendor_id',
    'product_id',
    'serial',
    'serial_shared',
    'port_path',
    'product',
    'manufacturer',
    'capabilities',
    'status',
    'suggested_profile',
    'workspace',
    'first_seen',
    'last_seen',
    'generation',
    'observed_generation',
    'phase',
    'reason',
    'message',
    'phase_since',
    'id',
  ])('write what the hardware or the controller says: devices.%s', async (column) => {
    const page = openConsole(access, PAGE);
    await expect(page`update devices set ${page(column)} = ${page(column)}`).rejects.toThrow('permission denied');
  });

  test.each([
    `update system_services set phase = 'running'`,
    `update system_services set generation = 7`,
    `insert into system_services (name) values ('x')`,
    `delete from system_services`,
    `update microphone_profiles set is_system = false`,
    `update microphone_profiles set seed_hash = 'x'`,
    `insert into microphone_profiles (slug, name, config, is_system) values ('x', 'x', '{}', true)`,
    `insert into devices (id, vendor_id, product_id, port_path, status, workspace) values ('x', '0000', '0000', '', 'online', 'x')`,
    `insert into events (subject, type, reason, message) values ('s', 'normal', 'R', 'm')`,
    `delete from events`,
    `delete from silvasonic_migrations`,
    `truncate devices cascade`,
    `create table mine (id int)`,
    `set role silvasonic_controller`,
  ])('%s', async (statement) => {
    await expect(openConsole(access, PAGE).unsafe(statement)).rejects.toThrow(/permission denied/);
  });
});

describe('the controller', () => {
  oneStationForAll();

  test.each(['select * from owner', 'select * from sessions', 'create table mine (id int)', 'drop table events'])(
    'has no business with: %s',
    async (statement) => {
      const sql = openConsole(access, { role: schema.CONTROLLER_ROLE });
      await expect(sql.unsafe(statement)).rejects.toThrow(/permission denied|must be owner/);
    },
  );
});

describe('values that make no sense are refused, whoever writes them', () => {
  oneStationForAll();

  test.each([
    `update devices set enrollment_status = 'maybe'`,
    `update devices set phase = 'running'`,
    `update devices set settings = '[]'`,
    `update devices set decided_by = 'nobody'`,
    `update devices set vendor_id = 'XYZ1'`,
    `update devices set profile_slug = 'missing'`,
    `update devices set name = repeat('x', 201)`,
    `update system_services set phase = 'recording'`,
    `insert into microphone_profiles (slug, name, config) values ('../up', 'x', '{}')`,
    `insert into system_config values ('station_id', '"x"')`,
    `insert into system_config values ('station_id', '7')`,
    `insert into system_config values ('position', '{}')`,
    `insert into system_config values ('position', '{"latitude": 91, "longitude": 0}')`,
    `insert into system_config values ('position', '{"latitude": "1", "longitude": 0}')`,
    `insert into system_config values ('auto_enrollment', '"yes"')`,
    `insert into system_config values ('Bad key', '1')`,
    `insert into owner (id, password_hash) values (2, 'x')`,
    `insert into events (subject, type, reason, message) values ('s', 'fatal', 'R', 'm')`,
  ])('%s', async (statement) => {
    await expect(admin.unsafe(statement)).rejects.toThrow(/violates|check constraint|foreign key/);
  });
});

describe('values that make sense are taken', () => {
  aStationEach();

  test.each([
    `('position', 'null')`,
    `('position', '{"latitude": -90, "longitude": 180.0}')`,
    `('retention', '{"days": 30}')`,
  ])('%s', async (values) => {
    await admin.unsafe(`insert into system_config values ${values}`);
    expect(await admin`select from system_config`).toHaveLength(1);
  });
});

test('the migrations are what the schema says: nothing is left to generate', async () => {
  const snapshots = readdirSync(`${MIGRATIONS_FOLDER}/meta`).filter((name) => name.endsWith('_snapshot.json'));
  const newest = JSON.parse(readFileSync(`${MIGRATIONS_FOLDER}/meta/${snapshots.sort().at(-1)}`, 'utf8'));
  const described = generateDrizzleJson({ ...schema }, newest.id);
  expect(await generateMigration(newest, described)).toEqual([]);
});
