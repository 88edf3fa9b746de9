/** What every database behind the port `Store` does: the same cases for the fakes and for a real PostgreSQL. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Changes, DesiredState, DeviceRow, Reading, Store } from '../../services/controller/world.ts';
import { workspaceName } from '../../services/shared/contract.ts';
import { parseProfileConfig } from '../../services/shared/profile.ts';
import { changes, facts, insertion, STATION_ID } from '../integration/store-fixture.ts';
import type { PersonsColumns } from '../unit/in-memory-database.ts';

/**
 * One database that belongs to nobody yet, with the profiles `generic` and `mine` and the service `processor`, and hands
 * to do with it what a person, its host and its disk may do.
 */
export interface StoreHarness {
  /** Started. */
  store: Store;
  /** How often the store has said that it can be read. */
  available(): number;
  settle<T>(work: Promise<T>): Promise<T>;
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
  /** A person's edits, past the store. */
  editDevice(id: string, columns: PersonsColumns): Promise<void>;
  /** The profile's segments take so long from now on. */
  editProfile(slug: string, segmentSeconds: number): Promise<void>;
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  hang(): void;
  letGo(): void;
  setReadOnly(readOnly: boolean): Promise<void>;
  close(): Promise<void>;
}

interface Context {
  harness(): StoreHarness;
  /** What the database says; the test fails when it says nothing. */
  read(): Promise<DesiredState>;
  /** Must succeed. */
  write(given: Partial<Changes>): Promise<void>;
  device(id: string): Promise<DeviceRow | undefined>;
}

export function describeStore(implementation: string, open: () => Promise<StoreHarness>): void {
  describe(`the store port: ${implementation}`, () => {
    let harness: StoreHarness;
    const read = async (): Promise<DesiredState> => valueFrom(await harness.settle(harness.store.read()));
    const context: Context = {
      harness: () => harness,
      read,
      write: async (given) => void valueFrom(await harness.settle(harness.store.write(changes(given)))),
      device: async (id) => (await read()).devices.find((row) => row.id === id),
    };
    beforeEach(async () => {
      harness = await open();
      await harness.until('it can be read', () => harness.available() > 0);
    });
    afterEach(() => harness?.close());
    describe('rows', () => describeRows(context));
    describe('what a person changes is counted', () => describeGenerations(context));
    describe('adopting', () => describeAdoption(context));
    describe('a database that cannot be used', () => describeOutages(context));
  });
}

function valueFrom<T>(reading: Reading<T>): T {
  if (!reading.ok) throw new Error(reading.error);
  return reading.value;
}

const told = (id: string, message: string, phase: 'recording' | 'waiting' = 'recording') => ({
  subject: { kind: 'device' as const, id },
  ...{ observedGeneration: 1, phase, reason: 'Told', message },
});
const ENROLLED = { enrollmentStatus: 'enrolled', profileSlug: 'mine', decidedBy: 'auto' } as const;

function describeRows({ harness, read, write, device }: Context): void {
  test('at first it belongs to nobody and knows no device', async () => {
    const { stationId, devices, profiles, services, problems } = await read();
    expect({ stationId, devices, problems }).toEqual({ stationId: null, devices: [], problems: [] });
    expect(profiles.map(({ slug, config }) => [slug, config.ok])).toEqual([
      ['generic', true],
      ['mine', true],
    ]);
    expect(services).toMatchObject([{ name: 'processor', enabled: true, generation: 1, observedGeneration: 0 }]);
  });

  test('a new device comes back as it was written; rows come in the order of their ids', async () => {
    await write({ devices: [insertion('b'), insertion('a', { enrollment: ENROLLED })] });
    const [a, b, ...others] = (await read()).devices;
    expect([b?.id, others]).toEqual(['b', []]);
    expect(a).toEqual({
      ...facts(),
      ...ENROLLED,
      id: 'a',
      name: 'a',
      workspace: workspaceName('a', 'UMIK-1'),
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

  test('written twice: the facts are taken over, and what a person said stays', async () => {
    await write({ devices: [insertion('a')] });
    await harness().editDevice('a', { name: 'Garden', enabled: false, enrollmentStatus: 'ignored' });
    await write({ devices: [insertion('a', { facts: facts({ product: 'Other' }), enrollment: ENROLLED })] });
    expect(await device('a')).toMatchObject({
      ...{ name: 'Garden', enabled: false, enrollmentStatus: 'ignored', decidedBy: 'person', product: 'Other' },
      profileSlug: null,
    });
  });

  test('an update touches what it names, and of a device that nobody knows it changes nothing', async () => {
    await write({ devices: [insertion('a')] });
    const before = await device('a');
    const update = { serial: null, serialShared: true } as const;
    await write({ devices: ['a', 'nobody'].map((id) => ({ kind: 'update' as const, id, facts: update })) });
    expect((await read()).devices).toEqual([{ ...before, ...update }]);
  });

  test('our rules enrol only while nobody decided', async () => {
    await write({ devices: [insertion('a'), insertion('b')] });
    await harness().editDevice('b', { enrollmentStatus: 'ignored' });
    await write({ devices: ['a', 'b', 'nobody'].map((id) => ({ kind: 'enroll' as const, id, enrollment: ENROLLED })) });
    expect((await read()).devices).toMatchObject([
      ENROLLED,
      { enrollmentStatus: 'ignored', profileSlug: null, decidedBy: 'person' },
    ]);
  });

  test('only one that is offline is forgotten', async () => {
    await write({ devices: [insertion('on'), insertion('off', { facts: facts({ status: 'offline' }) })] });
    await write({ devices: ['on', 'off', 'nobody'].map((id) => ({ kind: 'forget' as const, id })) });
    expect((await read()).devices.map(({ id }) => id)).toEqual(['on']);
  });

  test('the columns that tell: of devices and services together, of what nobody knows nothing', async () => {
    await write({ devices: [insertion('a')] });
    const service = { kind: 'service', name: 'processor' } as const;
    const columns = { observedGeneration: 1, phase: 'running', reason: 'Fine', message: 'Runs.' } as const;
    await write({ statuses: [told('a', 'Records.'), { subject: service, ...columns }, told('nobody', '')] });
    const { subject: _, ...expected } = told('a', 'Records.');
    const state = await read();
    expect(state.devices).toMatchObject([{ ...expected, generation: 1 }]);
    expect(state.services).toMatchObject([{ ...columns, generation: 1 }]);
  });

  test('all or nothing: one change that is refused takes back the others, and the sentence names the rule', async () => {
    const wrong = insertion('b', { workspace: workspaceName('another id', 'UMIK-1') });
    const outcome = await harness().settle(harness().store.write(changes({ devices: [insertion('a'), wrong] })));
    expect(outcome).toMatchObject({ ok: false, error: expect.stringContaining('devices_workspace_digest') });
    expect((await read()).devices).toEqual([]);
  });

  test('a reading is of one moment: of what was written together, both or neither is seen', async () => {
    await write({ devices: [insertion('a', { facts: facts({ product: '0' }) })], statuses: [told('a', '0')] });
    const seen: Promise<Reading<DesiredState>>[] = [];
    for (let round = 1; round <= 20; round += 1) {
      const update = { kind: 'update' as const, id: 'a', facts: { product: String(round) } };
      const writing = harness().store.write(changes({ devices: [update], statuses: [told('a', String(round))] }));
      seen.push(harness().store.read(), harness().store.read());
      await harness().settle(writing);
    }
    for (const reading of seen) {
      const [row] = valueFrom(await harness().settle(reading)).devices;
      expect(row?.product).toBe(row?.message);
    }
  });

  test('what was read or written is a copy, or cannot be changed: nobody changes the database by changing it', async () => {
    const given = changes({ devices: [insertion('a')] });
    valueFrom(await harness().settle(harness().store.write(given)));
    const [first] = given.devices;
    if (first?.kind === 'insert') first.facts.capabilities.offers.length = 0;
    const state = await read();
    const before = structuredClone(state);
    const [row] = state.devices;
    // False where it cannot be.
    for (const [part, column, value] of [
      [row, 'message', 'Changed.'],
      [row?.capabilities.offers, 'length', 0],
      [state.config, 'autoEnrollment', !state.config.autoEnrollment],
      [state.config.alerts, 'enabled', 'no'],
      [state.profiles, 'length', 0],
      [state.devices, 'length', 0],
    ] as const)
      Reflect.set(part ?? {}, column, value);
    expect((await device('a'))?.capabilities).toEqual(facts().capabilities);
    expect(await read()).toEqual(before);
  });

  test('once marked, the workspace stays marked', async () => {
    await write({ config: { workspaceMarked: true } });
    await write({ devices: [insertion('a')] });
    expect((await read()).config.workspaceMarked).toBe(true);
  });
}

function describeGenerations({ harness, write, device }: Context): void {
  const generation = async (): Promise<number | undefined> => (await device('a'))?.generation;

  test('each change of what is wished counts one, a name and an edit that changes nothing count none', async () => {
    await write({ devices: [insertion('a')] });
    const counted: PersonsColumns[] = [
      { enabled: false },
      { enrollmentStatus: 'enrolled', profileSlug: 'mine' },
      { settings: { ok: true, value: { rate: 48_000 } } },
      { restartToken: 'once more' },
    ];
    for (const [index, columns] of counted.entries()) {
      await harness().editDevice('a', columns);
      expect(await generation()).toBe(index + 2);
      await harness().editDevice('a', { ...columns, name: `name ${index}` });
      expect(await generation()).toBe(index + 2);
    }
  });

  test('an edit of a profile counts where it is used, and nowhere else', async () => {
    const mine = insertion('a', { enrollment: ENROLLED });
    const other = insertion('b', { enrollment: { ...ENROLLED, profileSlug: 'generic' } });
    await write({ devices: [mine, other] });
    await harness().editProfile('mine', 30);
    await harness().editProfile('mine', 30);
    expect([await generation(), (await device('b'))?.generation]).toEqual([2, 1]);
  });

  test('what we write of hardware and fate counts nothing, enrolling by our rules counts one', async () => {
    await write({ devices: [insertion('a')] });
    await write({
      devices: [{ kind: 'update', id: 'a', facts: { product: 'Other', status: 'offline' } }, insertion('a')],
      statuses: [told('a', 'Records.')],
    });
    expect(await generation()).toBe(1);
    await write({ devices: [{ kind: 'enroll', id: 'a', enrollment: ENROLLED }] });
    expect(await generation()).toBe(2);
  });
}

function describeAdoption({ harness, read, write, device }: Context): void {
  const adopt = async (state: DesiredState): Promise<void> =>
    void valueFrom(await harness().settle(harness().store.adopt(state)));
  /** Another station's state, to be made what it was. */
  const known = async (): Promise<DesiredState> => structuredClone({ ...(await read()), stationId: STATION_ID });

  test('the station id and what the station remembers are put back; what is there besides stays', async () => {
    const before = await read();
    await write({ devices: [insertion('remembered', { enrollment: ENROLLED }), insertion('both')] });
    const state = await known();
    for (const row of state.devices) Object.assign(row, { name: 'As it was', generation: 7, observedGeneration: 6 });
    for (const row of state.services) Object.assign(row, { enabled: false, generation: 4 });
    await write({ devices: state.devices.map(({ id }) => ({ kind: 'update', id, facts: { status: 'offline' } })) });
    await write({ devices: [{ kind: 'forget', id: 'remembered' }, insertion('found since')] });
    await adopt(state);
    const after = await read();
    expect(after).toMatchObject({ stationId: STATION_ID, services: [{ enabled: false, generation: 4 }] });
    expect(after.devices.map(({ id, name, generation }) => [id, name, generation])).toEqual([
      ['both', 'As it was', 7],
      ['found since', 'found since', 1],
      ['remembered', 'As it was', 7],
    ]);
    expect(after.devices.find(({ id }) => id === 'both')).toEqual(state.devices.find(({ id }) => id === 'both'));
    expect(after.profiles.map(({ slug }) => slug)).toEqual(before.profiles.map(({ slug }) => slug));
  });

  test("a person's own profiles and edits are put back; one that could not be read takes nobody's place", async () => {
    const state = await known();
    const own = parseProfileConfig({ match: {}, audio: { rate: 96_000, channels: 1, format: 'S24_3LE' } });
    if (!own.ok) throw new Error(own.message);
    const [generic, mine] = state.profiles;
    if (generic === undefined || mine === undefined) throw new Error('There are two profiles.');
    generic.config = { ok: false, message: 'It could not be read.' };
    mine.config = own;
    state.profiles.push({ ...mine, slug: 'own', isSystem: false });
    await adopt(state);
    const after = await read();
    expect(after.profiles.map(({ slug }) => slug)).toEqual(['generic', 'mine', 'own']);
    expect(after.profiles.map(({ config }) => config.ok && config.value.audio.rate)).toEqual([
      'native',
      96_000,
      96_000,
    ]);
  });

  test('a device whose profile nobody has any more has none', async () => {
    await write({ devices: [insertion('a', { enrollment: ENROLLED })] });
    const state = await known();
    for (const row of state.devices) row.profileSlug = 'lost';
    await adopt(state);
    expect((await device('a'))?.profileSlug).toBeNull();
  });

  test('of the settings of the station, what is remembered is put back where nobody said anything since', async () => {
    const state = await known();
    const position = { latitude: 47.5, longitude: 11.25 };
    Object.assign(state.config, { name: 'Wood', position, autoEnrollment: false, workspaceMarked: true });
    await adopt(state);
    expect((await read()).config).toMatchObject({
      name: 'Wood',
      position,
      autoEnrollment: false,
      workspaceMarked: true,
    });
    Object.assign(state.config, { name: 'Meadow', position: null, workspaceMarked: false });
    await adopt(state);
    expect((await read()).config).toMatchObject({
      name: 'Wood',
      position,
      autoEnrollment: false,
      workspaceMarked: true,
    });
  });
}

function describeOutages({ harness, read, write, device }: Context): void {
  const SENTENCE = expect.stringMatching(/\S{3}/);
  const reading = () => harness().settle(harness().store.read());
  const writing = (given: Partial<Changes>) => harness().settle(harness().store.write(changes(given)));

  test('away: readings and writes fail with a sentence, and it says when it is back, with all as it was', async () => {
    await write({ devices: [insertion('a')] });
    const before = await read();
    await harness().goAway();
    expect(await reading()).toMatchObject({ ok: false, error: SENTENCE });
    expect(await writing({ devices: [insertion('b')] })).toMatchObject({ ok: false, error: SENTENCE });
    expect(await harness().settle(harness().store.adopt({ ...before, stationId: STATION_ID }))).toMatchObject({
      ok: false,
    });
    expect(harness().store.dependency()).toMatchObject({ name: 'database', state: 'down', message: SENTENCE });
    const told = harness().available();
    await harness().comeBack();
    await harness().until('it says that it is back', () => harness().available() > told);
    expect(await read()).toEqual(before);
    expect(harness().store.dependency().state).toBe('up');
  });

  test('a change of nothing succeeds even then: it touches no connection', async () => {
    await harness().goAway();
    expect(await writing({})).toMatchObject({ ok: true, value: null });
    await harness().comeBack();
  });

  test('hung: readings and writes come to an end, and go on when it answers again', async () => {
    await write({ devices: [insertion('a')] });
    harness().hang();
    const [one, other] = await harness().settle(Promise.all([harness().store.read(), harness().store.read()]));
    expect([one.ok, other.ok]).toEqual([false, false]);
    expect(await writing({ devices: [insertion('b')] })).toMatchObject({ ok: false, error: SENTENCE });
    harness().letGo();
    await harness().until('it can be read again', async () => (await reading()).ok);
    await write({ statuses: [told('a', 'Back.')] });
    expect((await device('a'))?.message).toBe('Back.');
  });

  test('read-only: it is read, a write fails with a sentence and changes nothing, until it is mended', async () => {
    await write({ devices: [insertion('a')] });
    await harness().setReadOnly(true);
    await harness().until('it can be read', async () => (await reading()).ok);
    expect(await writing({ statuses: [told('a', 'Refused.')] })).toMatchObject({
      ok: false,
      error: expect.stringContaining('read-only'),
    });
    expect(harness().store.dependency().state).toBe('down');
    expect((await device('a'))?.message).toBe('');
    await harness().setReadOnly(false);
    await harness().until('it can be written', async () => (await writing({ statuses: [told('a', 'Taken.')] })).ok);
    expect((await device('a'))?.message).toBe('Taken.');
    expect(harness().store.dependency().state).toBe('up');
  });
}
