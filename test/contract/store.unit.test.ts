/** The databases of the tests keep the contract of the port. */

import { DEFAULT_CONFIG } from '../../services/controller/store-rows.ts';
import type { DesiredState } from '../../services/controller/world.ts';
import { createRandom } from '../simulation/random.ts';
import { createSimulatedClock } from '../simulation/simulated-clock.ts';
import { createSimulatedDatabase, createSimulatedStore } from '../simulation/simulated-database.ts';
import { editDevice, editProfile } from '../unit/in-memory-database.ts';
import { createManualClock, createWorld } from '../unit/in-memory-world.ts';
import { profileRow } from '../unit/sample-world.ts';
import { passing } from './passing-time.ts';
import { describeStore, type StoreHarness } from './store-contract.ts';

/** As a database is after its migrations and seeds. */
function contents(): DesiredState {
  return {
    stationId: null,
    config: structuredClone(DEFAULT_CONFIG),
    profiles: structuredClone([profileRow('generic'), profileRow('mine')]),
    devices: [],
    services: [
      {
        ...{ name: 'processor', enabled: true, settings: {}, restartToken: '', generation: 1 },
        ...{ observedGeneration: 0, phase: 'disabled', reason: '', message: '' },
      },
    ],
    problems: [],
  };
}

function editProfileOf(database: DesiredState, slug: string, segmentSeconds: number): void {
  const config = database.profiles.find((row) => row.slug === slug)?.config;
  if (config?.ok) editProfile(database, slug, { ok: true, value: { ...config.value, segmentSeconds } });
}

describeStore('in memory', async (): Promise<StoreHarness> => {
  const clock = createManualClock();
  const { state, ports } = createWorld(clock);
  state.database = contents();
  let available = 0;
  ports.store.start(() => {
    available += 1;
  });
  return {
    store: ports.store,
    available: () => available,
    ...passing((byMs) => clock.advance(byMs)),
    editDevice: async (id, columns) => editDevice(state.database, id, columns),
    editProfile: async (slug, segmentSeconds) => editProfileOf(state.database, slug, segmentSeconds),
    goAway: async () => void Object.assign(state, { databaseAway: true }),
    async comeBack() {
      state.databaseAway = false;
      ports.store.available();
    },
    hang: () => void Object.assign(state, { databaseHangs: true }),
    letGo: () => void Object.assign(state, { databaseHangs: false }),
    setReadOnly: async (databaseReadOnly) => void Object.assign(state, { databaseReadOnly }),
    close: () => ports.store.stop(),
  };
});

describeStore('simulated', async (): Promise<StoreHarness> => {
  const clock = createSimulatedClock();
  const database = createSimulatedDatabase();
  database.state = contents();
  let available = 0;
  let wake = (): void => {};
  const shared = createSimulatedStore(database, {
    ...{ clock, random: createRandom(7), alive: () => true, effect: () => {} },
    onStart: (onAvailable) => {
      wake = onAvailable;
    },
  });
  /** For speed it hands out what it holds, and a state is never changed in place; here somebody does. */
  const store = { ...shared, read: async () => structuredClone(await shared.read()) };
  store.start(() => {
    available += 1;
  });
  const edit = (change: (state: DesiredState) => void): void => {
    const state = structuredClone(database.state);
    change(state);
    database.state = state;
  };
  return {
    store,
    available: () => available,
    ...passing((byMs) => clock.advance(byMs)),
    editDevice: async (id, columns) => edit((state) => editDevice(state, id, columns)),
    editProfile: async (slug, segmentSeconds) => edit((state) => editProfileOf(state, slug, segmentSeconds)),
    goAway: async () => void Object.assign(database.faults, { away: true }),
    async comeBack() {
      database.faults.away = false;
      wake();
    },
    hang: () => void Object.assign(database.faults, { delayMs: 10_000 }),
    letGo: () => void Object.assign(database.faults, { delayMs: 2 }),
    setReadOnly: async (readOnly) => void Object.assign(database.faults, { readOnly }),
    close: () => store.stop(),
  };
});
