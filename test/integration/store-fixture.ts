/** A store on a real database, with a console beside it to look at the rows and to change them as a person would. */

import postgres, { type Sql } from 'postgres';
import { afterEach, expect } from 'vitest';
import { createLog } from '../../services/controller/log.ts';
import { createStore, type StoreOptions } from '../../services/controller/store.ts';
import type {
  Changes,
  DesiredState,
  DeviceChange,
  DeviceFacts,
  Reading,
  Store,
} from '../../services/controller/world.ts';
import { DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';
import { createClock } from '../../services/shared/clock.ts';
import { workspaceName } from '../../services/shared/contract.ts';
import { profileConfigSchema, type SeedProfile } from '../../services/shared/profile.ts';
import { type DatabaseAccess, MIGRATIONS_FOLDER } from './postgres.ts';

export const STATION_ID = '5d1e7c3a-93f0-4a53-9f0e-0a1b2c3d4e5f';

/** What a database of this station says before anybody did anything. */
export const EMPTY: DesiredState = {
  stationId: STATION_ID,
  config: {
    name: '',
    position: null,
    autoEnrollment: true,
    autoUpdate: false,
    workspaceMarked: false,
    alerts: DEFAULT_ALERT_SETTINGS,
  },
  profiles: [],
  devices: [],
  services: [],
  problems: [],
};

const DEADLINE_MS = 30_000;
const LOOK_AGAIN_MS = 20;

export interface OpenStore {
  store: Store;
  /** How often the store has said that the database can be read. */
  available(): number;
  /** Lines of its log. */
  log: Record<string, unknown>[];
}

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

export function seedProfile(slug: string, given: Partial<SeedProfile> = {}): SeedProfile {
  const config = profileConfigSchema.parse({
    match: {},
    audio: { rate: 'native', channels: 'native', format: 'native' },
  });
  return { slug, name: `Name of ${slug}`, description: 'Text', manufacturer: 'Maker', model: 'One', config, ...given };
}

/** Started; closed after the test. */
export function openStore(access: DatabaseAccess, given: Partial<StoreOptions> = {}): OpenStore {
  const { database, host, port, user, password } = access;
  const log: Record<string, unknown>[] = [];
  const store = createStore({
    connection: { host, port, user, password, database },
    migrationsFolder: MIGRATIONS_FOLDER,
    seedProfiles: [seedProfile('generic')],
    clock: createClock(),
    log: createLog({ level: 'info', destination: { write: (line) => void log.push(JSON.parse(line)) } }),
    ...given,
  });
  let available = 0;
  store.start(() => {
    available += 1;
  });
  closing.push(() => store.stop());
  return { store, available: () => available, log };
}

/** A connection of its own; as the superuser, or as a login that the test names. Closed after the test. */
export function openConsole(
  access: DatabaseAccess,
  login: { user?: string; password?: string; role?: string } = {},
): Sql {
  const { role, ...credentials } = login;
  const { database, host, port, user, password } = { ...access, ...credentials };
  const connection = role === undefined ? {} : { role };
  const sql = postgres({ host, port, user, password, database, max: 1, onnotice: () => {}, connection });
  closing.push(() => sql.end({ timeout: 1 }));
  return sql;
}

/** The last answer that is not null; the test fails when there was none within half a minute. */
export async function until<T>(what: string, look: () => Promise<T | null> | T | null): Promise<T> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (performance.now() < deadlineMs) {
    const seen = await look();
    if (seen !== null) return seen;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
  throw new Error(`Waited ${DEADLINE_MS / 1000} s in vain until ${what}.`);
}

/** The value of a reading that must have succeeded. */
export function valueFrom<T>(reading: Reading<T>): T {
  expect(reading).toMatchObject({ ok: true });
  if (!reading.ok) throw new Error(reading.error);
  return reading.value;
}

/** The sentence of a reading that must have failed. */
export function errorFrom<T>(reading: Reading<T>): string {
  expect(reading).toMatchObject({ ok: false });
  if (reading.ok) throw new Error('The reading succeeded.');
  return reading.error;
}

/** The desired state, as soon as it can be read. */
export function untilRead(store: Store): Promise<DesiredState> {
  return until('the database can be read', async () => {
    const reading = await store.read();
    return reading.ok ? reading.value : null;
  });
}

/** The sentence, as soon as reading fails. */
export function untilFailing(store: Store): Promise<string> {
  return until('reading fails', async () => {
    const reading = await store.read();
    return reading.ok ? null : reading.error;
  });
}

export function facts(given: Partial<DeviceFacts> = {}): DeviceFacts {
  return {
    vendorId: '2752',
    productId: '0007',
    serial: '000-0000',
    serialShared: false,
    portPath: 'pci0000:00/0000:00:14.0/0/4',
    product: 'UMIK-1',
    manufacturer: 'miniDSP',
    capabilities: { offers: [{ format: 'S24_3LE', channels: 2, rates: { kind: 'list', values: [48_000] } }] },
    status: 'online',
    lastSeenAt: 1_750_000_000_123,
    suggestedProfile: null,
    ...given,
  };
}

export function insertion(id: string, given: Partial<Extract<DeviceChange, { kind: 'insert' }>> = {}): DeviceChange {
  return {
    kind: 'insert',
    id,
    workspace: workspaceName(id, 'UMIK-1'),
    name: id,
    facts: facts(),
    enrollment: { enrollmentStatus: 'pending', profileSlug: null, decidedBy: null },
    ...given,
  };
}

export function changes(given: Partial<Changes> = {}): Changes {
  return { devices: [], statuses: [], events: [], config: {}, ...given };
}
