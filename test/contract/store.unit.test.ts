/** The databases of the tests keep the contract of the port. */

import { DEFAULT_CONFIG } from '../../services/controller/store-rows.ts';
import type { DesiredState } from '../../services/controller/world.ts';
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
