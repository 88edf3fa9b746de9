/** The controller put together, over ports in memory: what a station does when the world misbehaves. */
import { describe, expect, test } from 'vitest';
import { createController } from '../../services/controller/controller.ts';
import type { VirtualMicrophones } from '../../services/controller/virtual-microphones.ts';
import type { DesiredState } from '../../services/controller/world.ts';
import { catalogueEntrySchema } from '../../services/shared/catalogue.ts';
import { heartbeatSchema, workspaceName } from '../../services/shared/contract.ts';
import { createManualClock, createWorld, emptyDatabase, quietLog } from './in-memory-world.ts';
import { IDLE_HOST, microphone, status } from './sample-world.ts';

const ID = '2752-0007-000-0000';
const PROCESSOR = catalogueEntrySchema.parse({
  name: 'processor',
  title: 'Processor',
  description: 'Makes copies.',
  image: 'localhost/silvasonic-processor:latest',
  limits: { memoryMebibytes: 256, cpus: 0.5, pids: 32 },
  network: 'station',
  recordings: 'read-write',
  station: { liveSound: true },
  settingsVariable: 'PROCESSOR_SETTINGS',
  settings: { reserve: { title: 'Reserve', description: 'Free space.', type: 'integer', default: 5, min: 1, max: 90 } },
});
const WORKSPACE = workspaceName(ID, 'UMIK-1');

function station(changes: { virtualMicrophones?: VirtualMicrophones } = {}) {
  const clock = createManualClock();
  const { state, ports } = createWorld(clock);
  const make = () =>
    createController(
      { clock, log: quietLog, ...ports },
      {
        operator: {
          recorderImage: 'localhost/silvasonic-recorder:latest',
          hostRecorderWorkspace: '/srv/recorder',
          hostRunPath: '/run/silvasonic',
          recorderMemoryBytes: 512 * 1024 * 1024,
          recorderCpus: 1,
          network: 'silvasonic-net',
          hostServicesFolder: '/srv/services',
          hostSecretsFolder: '/srv/secrets',
          pageUrl: 'http://host.containers.internal:8090',
          takenPorts: [8090, 9100],
        },
        catalogue: [PROCESSOR],
        seedHashes: new Map(),
        virtualMicrophones: { kind: 'fixed', count: 0 },
        graceMs: 3000,
        stallTimeoutMs: 30_000,
        goodAfterMs: 60_000,
        version: '0.0.0',
        recorderImage: 'localhost/silvasonic-recorder:latest',
        hostLoad: async () => IDLE_HOST,
        tickMs: 30_000,
        onShutdown: 'leave',
        onCycle: () => {},
        ...changes,
      },
    );
  return { clock, state, ports, make };
}

/** One microphone plugged in, recording and advancing. */
async function recordingStation(changes: { virtualMicrophones?: VirtualMicrophones } = {}) {
  const all = station(changes);
  all.state.plugged = [microphone()];
  const controller = all.make();
  controller.start();
  await all.clock.advance(3000);
  expect(all.state.database.devices[0]).toMatchObject({ phase: 'recording', observedGeneration: 1 });
  return { ...all, controller };
}

describe('a station', () => {
  test('brand new: gets an id, a marked folder, and records what is plugged in', async () => {
    const { state } = await recordingStation();
    expect(state.database.stationId).toMatch(/^[0-9a-f-]{36}$/);
    expect(state.marker).toBe(state.database.stationId);
    expect(state.database.config.workspaceMarked).toBe(true);
    expect(state.containers).toHaveLength(1);
  });

  test('brand new, and a database that adopts it late, after the next attempt: disk and database say the same id', async () => {
    const { clock, state, ports, make } = station();
    state.plugged = [microphone()];
    const { adopt } = ports.store;
    let late: DesiredState | undefined;
    ports.store.adopt = async (given) => {
      if (late !== undefined) return await adopt(given);
      late = given;
      return { ok: false, error: 'No answer within 15 s.', startedAtMs: clock.nowMs() };
    };
    make().start();
    await clock.advance(60_000);
    if (late !== undefined) await adopt(late);
    await clock.advance(60_000);
    expect(state.database.stationId).toBe(state.marker);
    expect(state.database.devices).toMatchObject([{ phase: 'recording' }]);
  });

  test('whose marker cannot be read gets no other id: it waits', async () => {
    const { clock, state, ports, make } = station();
    state.plugged = [microphone()];
    state.marker = '12345678-0000-4000-8000-000000000000';
    const { readMarker } = ports.workspaces;
    ports.workspaces.readMarker = async () => ({ ok: false, error: 'EIO', startedAtMs: clock.nowMs() });
    make().start();
    await clock.advance(60_000);
    expect([state.database.stationId, state.containers]).toEqual([null, []]);
    ports.workspaces.readMarker = readMarker;
    await clock.advance(60_000);
    expect(state.database.stationId).toBe(state.marker);
    expect(state.containers).toHaveLength(1);
  });

  test('steady: writes nothing, asks little', async () => {
    const { clock, state } = await recordingStation();
    await clock.advance(60_000);
    const [writes, reads] = [state.writes.length, state.reads];
    await clock.advance(60_000);
    expect(state.writes.slice(writes)).toEqual([]);
    expect(state.reads - reads).toBe(2);
  });

  test('a flood of nudges, events and USB changes costs at most ten cycles a second', async () => {
    const { clock, state, ports } = await recordingStation();
    await clock.advance(10_000);
    const before = state.reads;
    for (let step = 0; step < 1000; step += 1) {
      ports.bus.nudge();
      ports.engine.event('other');
      ports.microphones.changed();
      await clock.advance(10);
    }
    expect(state.reads - before).toBeGreaterThan(50);
    expect(state.reads - before).toBeLessThanOrEqual(101);
  });

  test('a nudge is heard at once, a lost one at the next tick', async () => {
    const { clock, state, ports } = await recordingStation();
    const [row] = state.database.devices;
    if (row === undefined) throw new Error('no row');
    Object.assign(row, { enabled: false, generation: 2 });
    ports.bus.nudge();
    await clock.advance(500);
    expect(state.containers).toEqual([]);
    expect(row).toMatchObject({ phase: 'disabled', observedGeneration: 2 });
    Object.assign(row, { enabled: true, generation: 3 });
    await clock.advance(30_000);
    expect(state.containers).toHaveLength(1);
  });
});

describe('a virtual microphone', () => {
  test('that records goes on when the controller is restarted', async () => {
    const { clock, state, make } = station({ virtualMicrophones: { kind: 'auto' } });
    const first = make();
    first.start();
    await clock.advance(10_000);
    const before = state.containers.map(({ id }) => id);
    expect(before).toHaveLength(1);
    await first.stop();
    make().start();
    for (let looks = 0; looks < 20; looks += 1) {
      await clock.advance(500);
      expect(state.containers.map(({ id }) => id)).toEqual(before);
    }
  });

  test('goes as soon as a real one records, not at the next tick', async () => {
    const { clock, state, ports, make } = station({ virtualMicrophones: { kind: 'auto' } });
    make().start();
    await clock.advance(8000);
    expect(state.database.devices).toMatchObject([{ id: '0000-0001-virtual-1', phase: 'recording' }]);
    state.plugged = [microphone()];
    ports.microphones.changed();
    await clock.advance(3000);
    expect(state.database.devices).toMatchObject([
      { id: '0000-0001-virtual-1', phase: 'offline' },
      { id: ID, phase: 'recording' },
    ]);
    expect(state.containers).toHaveLength(1);
  });

  test('comes though a row still says that a real one recorded, which is gone now', async () => {
    const { clock, state, controller, make } = await recordingStation({ virtualMicrophones: { kind: 'auto' } });
    await controller.stop();
    Object.assign(state, { plugged: [], containers: [] });
    make().start();
    await clock.advance(8000);
    expect(state.database.devices).toMatchObject([
      { id: ID, phase: 'offline' },
      { id: '0000-0001-virtual-1', phase: 'recording' },
    ]);
  });
});

describe('what is missing', () => {
  test('the database, from now on: recorders go on, a killed one is repaired, a new microphone is recorded, its row follows', async () => {
    const { clock, state, ports } = await recordingStation();
    state.databaseAway = true;
    state.containers = [];
    ports.engine.event('died');
    state.plugged = [microphone(), microphone({ portPath: 'other/1', incarnation: 'other', serial: 'second' })];
    ports.microphones.changed();
    await clock.advance(31_000);
    expect(state.containers).toHaveLength(2);
    state.databaseAway = false;
    ports.store.available();
    await clock.advance(1000);
    expect(state.database.devices.map(({ id }) => id).sort()).toEqual([ID, '2752-0007-second']);
    expect(state.removed).toEqual([]);
  });

  test('the database, at the start of a controller: it goes by the last good state and adopts what runs', async () => {
    const { clock, state, make, controller } = await recordingStation();
    await controller.stop();
    state.databaseAway = true;
    const started = [...state.started];
    make().start();
    await clock.advance(120_000);
    expect(state.started).toEqual(started);
    expect(state.removed).toEqual([]);
    expect(state.containers).toHaveLength(1);
  });

  test.each([
    ['empty', null],
    ["another station's", 'ffffffff-0000-4000-8000-000000000000'],
  ])(
    'the database is %s under running recorders: nothing is removed, the wishes are restored and it is said',
    async (_name, stationId) => {
      const { clock, state, ports } = await recordingStation();
      const before = state.database;
      const row = before.devices[0];
      if (row !== undefined) Object.assign(row, { name: 'By the pond', generation: 2 });
      ports.bus.nudge();
      await clock.advance(1000);
      state.statuses.set(WORKSPACE, status(500_000));
      await clock.advance(1000);
      state.database = { ...emptyDatabase(), stationId };
      ports.store.available();
      await clock.advance(1000);
      expect(state.removed).toEqual([]);
      expect(state.database.stationId).toBe(before.stationId);
      expect(state.database.devices[0]).toMatchObject({ id: ID, name: 'By the pond' });
      const told = state.writes.flatMap(({ events }) => events.map(({ reason }) => reason));
      expect(told).toContain('DatabaseRestored');
    },
  );

  test('the engine, then late, then back: nothing is removed meanwhile, then work goes on', async () => {
    const { clock, state, ports } = await recordingStation();
    state.engineAway = true;
    await clock.advance(60_000);
    state.engineAway = false;
    state.listDelayMs = 4000;
    state.plugged = [microphone(), microphone({ portPath: 'other/1', incarnation: 'other', serial: 'second' })];
    ports.microphones.changed();
    await clock.advance(60_000);
    expect(state.removed).toEqual([]);
    expect(state.containers).toHaveLength(2);
  });

  test('USB cannot be read: what records goes on', async () => {
    const { clock, state } = await recordingStation();
    state.usbFails = true;
    await clock.advance(100_000);
    expect(state.removed).toEqual([]);
  });

  test('the disk: nothing new is started on the card underneath, and the sentence says what to do', async () => {
    const { clock, state, ports, controller } = await recordingStation();
    state.marker = null;
    state.containers = [];
    ports.engine.event('died');
    await clock.advance(2000);
    expect(state.containers).toEqual([]);
    expect(controller.snapshot().outcomes[0]).toMatchObject({ phase: 'blocked', reason: 'WorkspaceMissing' });
    state.marker = state.database.stationId;
    await clock.advance(60_000);
    expect(state.containers).toHaveLength(1);
  });

  test('the clock jumps by years: nothing is stopped', async () => {
    const { clock, state } = await recordingStation();
    for (const byMs of [3.2e10, -6.4e10, 3.2e10]) {
      clock.jumpWall(byMs);
      await clock.advance(20_000);
    }
    expect(state.removed).toEqual([]);
  });
});

test('a database that cannot be written is still obeyed', async () => {
  const { clock, state, ports } = await recordingStation();
  state.databaseReadOnly = true;
  const [row] = state.database.devices;
  if (row !== undefined) Object.assign(row, { enabled: false, generation: 2 });
  ports.bus.nudge();
  await clock.advance(1000);
  expect(state.containers).toEqual([]);
});

test('a recorder that writes nothing any more is replaced; one that is silent is not', async () => {
  const { clock, state } = await recordingStation();
  state.statuses.set(WORKSPACE, status(5, { silent: true }));
  await clock.advance(31_000);
  expect(state.removed).toEqual([]);
  state.statuses.set(WORKSPACE, null);
  await clock.advance(31_000);
  expect(state.removed).toEqual(['c1']);
  expect(state.database.devices[0]?.phase).not.toBe('recording');
});

test('SIGTERM leaves recorders running; told so, it stops them', async () => {
  const { state, controller } = await recordingStation();
  await controller.stop();
  expect(state.containers).toHaveLength(1);
});

describe('a service of the catalogue', () => {
  const row = { name: 'processor', enabled: true, settings: {}, restartToken: '', generation: 1 };
  const untold = { observedGeneration: 0, phase: 'disabled' as const, reason: '', message: '' };
  const names = (all: { name: string }[]) => all.map(({ name }) => name.replace(/^silvasonic-[0-9a-f]{8}-/, ''));

  async function withService(given: Partial<typeof row> & { settings?: unknown } = {}) {
    const all = await recordingStation();
    all.state.images['localhost/silvasonic-processor:latest'] = 'sha256:processor';
    all.state.database.services = [{ ...row, ...untold, ...given }];
    await all.clock.advance(70_000);
    return all;
  }

  test('switched on: runs with its settings, limits and folders; off: is gone', async () => {
    const { clock, state, ports } = await withService();
    expect(names(state.containers)).toContain('processor');
    expect(state.database.services[0]).toMatchObject({ phase: 'running', observedGeneration: 1 });
    Object.assign(state.database.services[0] ?? {}, { enabled: false, generation: 2 });
    ports.bus.nudge();
    await clock.advance(1000);
    expect(names(state.containers)).not.toContain('processor');
    expect(state.database.services[0]).toMatchObject({ phase: 'disabled', observedGeneration: 2 });
  });

  test('whoever listens hears of it while it runs, beside controller and recorders, and no longer', async () => {
    const { clock, state, ports } = await withService();
    const heard = () => state.heartbeats.splice(0).map(({ instance, phase, reason }) => [instance, phase, reason]);
    heard();
    await clock.advance(10_000);
    expect(heard()).toEqual([
      ['controller', 'running', 'Running'],
      [`recorder-${WORKSPACE}`, 'recording', 'Recording'],
      ['processor', 'running', 'Running'],
    ]);
    await clock.advance(10_000);
    const [first] = state.heartbeats.filter(({ instance }) => instance === 'processor');
    expect(first?.uptimeSeconds).toBeGreaterThanOrEqual(10);
    expect(heartbeatSchema.parse(first)).toEqual(first);
    Object.assign(state.database.services[0] ?? {}, { enabled: false, generation: 2 });
    ports.bus.nudge();
    await clock.advance(1000);
    heard();
    await clock.advance(10_000);
    expect(heard().map(([instance]) => instance)).toEqual(['controller', `recorder-${WORKSPACE}`]);
  });

  test('what it has to tell a person stands in its row, as a warning, and is gone when it is over', async () => {
    const { clock, state } = await withService();
    const report = { reason: 'FullSoon', message: 'Full in 9 days at 40.0 GB a day.' };
    state.reports.set('processor', report);
    await clock.advance(31_000);
    expect(state.database.services[0]).toMatchObject({ phase: 'running', ...report });
    const told = state.writes.flatMap(({ events }) => events);
    expect(told).toContainEqual({ subject: 'service:processor', type: 'warning', ...report });
    state.reports.set('processor', { reason: 'Fine', message: 'Every recording has its copies.' });
    await clock.advance(31_000);
    expect(state.database.services[0]).toMatchObject({ phase: 'running', reason: 'Running' });
  });

  test.each([
    ['a setting out of its range', { settings: { reserve: 900 } }, 'SettingsInvalid', 'reserve: 900 was given'],
    ['a setting that it does not have', { settings: { root: true } }, 'SettingsInvalid', '"root"'],
    ['a name that no file bears', { name: 'weather' }, 'NotInCatalogue', 'profiles/services/weather.yml'],
  ])('%s: blocked with the cure, and the recorders go on', async (_name, given, reason, words) => {
    const { state } = await withService(given);
    expect(state.database.services[0]).toMatchObject({ phase: 'blocked', reason });
    expect(state.database.services[0]?.message).toContain(words);
    expect(state.removed).toEqual([]);
  });

  test('on hold while it runs, it keeps the token with which it hears; switched off it does not', async () => {
    const { clock, state, ports } = await withService();
    const heardBy = () => state.toldServices.map(({ name, liveSound }) => [name, liveSound]);
    expect(heardBy()).toEqual([['processor', true]]);
    Object.assign(state.database.services[0] ?? {}, { settings: { reserve: 900 }, generation: 2 });
    ports.bus.nudge();
    await clock.advance(1000);
    expect(state.database.services[0]?.phase).toBe('blocked');
    expect(names(state.containers)).toContain('processor');
    expect(heardBy()).toEqual([['processor', true]]);
    Object.assign(state.database.services[0] ?? {}, { enabled: false, generation: 3 });
    ports.bus.nudge();
    await clock.advance(1000);
    expect(heardBy()).toEqual([]);
  });

  test('its image is missing: blocked, tried again when it is there', async () => {
    const { clock, state } = await withService();
    state.containers = state.containers.filter(({ name }) => !name.endsWith('processor'));
    delete state.images['localhost/silvasonic-processor:latest'];
    await clock.advance(61_000);
    expect(state.database.services[0]).toMatchObject({ phase: 'blocked', reason: 'ImageMissing' });
    state.images['localhost/silvasonic-processor:latest'] = 'sha256:processor';
    await clock.advance(61_000);
    expect(state.database.services[0]).toMatchObject({ phase: 'running' });
  });

  test("it learns what to do with a microphone's segments, without a restart", async () => {
    const { clock, state, ports } = await recordingStation();
    expect(state.processing.get(WORKSPACE)).toEqual({ gainDb: 0, highPassHz: 0, archive: 'wav' });
    const [device] = state.database.devices;
    Object.assign(device ?? {}, { settings: { ok: true, value: { gainDb: 6, archive: 'flac' } }, generation: 2 });
    ports.bus.nudge();
    await clock.advance(1000);
    expect(state.processing.get(WORKSPACE)).toEqual({ gainDb: 6, highPassHz: 0, archive: 'flac' });
    expect(state.removed).toEqual([]);
  });
});
