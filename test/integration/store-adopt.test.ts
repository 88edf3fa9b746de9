/** How an empty or foreign database becomes the station's, and how profiles of a release come into it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { workspaceName } from '../../services/shared/contract.ts';
import { type DatabaseAccess, type PostgresFixture, startPostgres } from './postgres.ts';
import {
  changes,
  EMPTY,
  insertion,
  openConsole,
  openStore,
  STATION_ID,
  seedProfile,
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

describe('a database becomes this station’s', () => {
  test('an empty one gets its id and nothing else', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(await store.adopt(EMPTY));
    expect(valueFrom(await store.read())).toMatchObject({ stationId: STATION_ID, config: EMPTY.config });
    const keys = await openConsole(access)`select key from system_config`;
    expect(keys).toMatchObject([{ key: 'station_id' }]);
  });

  test('everything that one database knew is put back into a wiped one', async () => {
    await fresh();
    const seedServices = [{ name: 'processor', enabled: false, settings: {} }];
    const old = openStore(access, { seedServices });
    await untilRead(old.store);
    valueFrom(
      await old.store.adopt({
        ...EMPTY,
        config: {
          ...EMPTY.config,
          name: 'Meadow',
          position: { latitude: -1.5, longitude: 180 },
          autoEnrollment: false,
        },
      }),
    );
    const sql = openConsole(access);
    await sql`insert into microphone_profiles (slug, name, config) select 'mine', 'Mine', config from microphone_profiles`;
    await sql`update microphone_profiles set config = jsonb_set(config, '{segmentSeconds}', '30') where slug = 'generic'`;
    valueFrom(
      await old.store.write(changes({ devices: [insertion('a'), insertion('b')], config: { workspaceMarked: true } })),
    );
    await sql`update devices set name = 'Garden', profile_slug = 'mine', settings = '{"gainDb": 3}', restart_token = 'x', enabled = false where id = 'a'`;
    await sql`update system_services set enabled = true, settings = '{"days": 9}'`;
    const known = valueFrom(await old.store.read());

    const wiped = await server.createDatabase();
    const { store } = openStore(wiped, { seedServices });
    await untilRead(store);
    valueFrom(await store.adopt(known));
    expect(valueFrom(await store.read())).toEqual(known);
    // An edit stays an edit: a new seed does not overwrite it.
    const next = openStore(wiped, { seedProfiles: [seedProfile('generic', { name: 'Newer' })] });
    expect((await untilRead(next.store)).profiles).toEqual(known.profiles);
  });

  test('a foreign one: our devices win, its other rows and its configuration stay', async () => {
    await fresh();
    const { store } = openStore(access);
    await untilRead(store);
    valueFrom(
      await store.adopt({
        ...EMPTY,
        stationId: '00000000-0000-4000-8000-000000000000',
        config: { ...EMPTY.config, name: 'Theirs' },
      }),
    );
    valueFrom(await store.write(changes({ devices: [insertion('shared'), insertion('theirs')] })));
    const read = valueFrom(await store.read());
    const [shared] = read.devices;
    if (shared === undefined) throw new Error('No device was read.');
    const workspace = workspaceName('shared', 'Another product');
    const ours = { ...shared, name: 'Ours', enrollmentStatus: 'enrolled', profileSlug: 'gone', workspace } as const;
    valueFrom(
      await store.adopt({ ...EMPTY, config: { ...EMPTY.config, name: 'Ours', autoUpdate: true }, devices: [ours] }),
    );
    const state = valueFrom(await store.read());
    expect(state).toMatchObject({ stationId: STATION_ID, config: { name: 'Theirs', autoUpdate: true } });
    expect(state.devices).toMatchObject([
      { id: 'shared', name: 'Ours', enrollmentStatus: 'enrolled', profileSlug: null, decidedBy: null, workspace },
      { id: 'theirs', name: 'theirs' },
    ]);
  });
});

describe('profiles that come with a release', () => {
  const hour = (slug: string) => seedProfile(slug, { config: { ...seedProfile(slug).config, segmentSeconds: 900 } });

  test('an untouched one follows its seed; an edited one and a person’s own are left alone', async () => {
    await fresh();
    const first = openStore(access, {
      seedProfiles: ['edited', 'renamed', 'untouched'].map((slug) => seedProfile(slug)),
    });
    await untilRead(first.store);
    const sql = openConsole(access);
    await sql`update microphone_profiles set config = jsonb_set(config, '{segmentSeconds}', '30') where slug = 'edited'`;
    await sql`update microphone_profiles set description = 'Mine' where slug = 'renamed'`;
    await sql`insert into microphone_profiles (slug, name, config) select 'own', 'Own', config from microphone_profiles where slug = 'untouched'`;
    const second = openStore(access, { seedProfiles: ['edited', 'own', 'renamed', 'untouched'].map(hour) });
    const { profiles } = await untilRead(second.store);
    const seconds = profiles.map(({ slug, config }) => [slug, config.ok ? config.value.segmentSeconds : null]);
    expect(seconds).toEqual([
      ['edited', 30],
      ['own', 60],
      ['renamed', 60],
      ['untouched', 900],
    ]);
  });

  test('one that was edited, and reset to what a later release ships, follows the one after that', async () => {
    await fresh();
    await untilRead(openStore(access, { seedProfiles: [seedProfile('reset')] }).store);
    const sql = openConsole(access);
    await sql`update microphone_profiles set config = jsonb_set(config, '{segmentSeconds}', '30')`;
    const later = { ...hour('reset').config, segmentSeconds: 600 };
    await untilRead(openStore(access, { seedProfiles: [seedProfile('reset', { config: later })] }).store);
    await sql`update microphone_profiles set config = ${sql.json(JSON.parse(JSON.stringify(later)))}`;
    await untilRead(openStore(access, { seedProfiles: [seedProfile('reset', { config: later })] }).store);
    const { profiles } = await untilRead(openStore(access, { seedProfiles: [hour('reset')] }).store);
    expect(profiles.map(({ config }) => config.ok && config.value.segmentSeconds)).toEqual([900]);
  });

  test('the same seeds again write nothing', async () => {
    await fresh();
    const seedProfiles = ['one', 'two'].map((slug) => seedProfile(slug));
    await untilRead(openStore(access, { seedProfiles }).store);
    const sql = openConsole(access);
    const before = await sql`select slug, xmin, xmax, ctid from microphone_profiles order by slug`;
    await untilRead(openStore(access, { seedProfiles }).store);
    expect(await sql`select slug, xmin, xmax, ctid from microphone_profiles order by slug`).toEqual(before);
  });
});
