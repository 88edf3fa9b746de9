/** All that the page shows of the station, read at one moment; and the few writes of the station's own settings. */
import { asc, desc, eq, inArray, sql } from 'drizzle-orm';
import { type DeviceSettings, type ProfileConfig, parseDeviceSettings, parseProfileConfig } from '../shared/profile.ts';
import { CONFIG_KEY, devices, events, microphoneProfiles, systemConfig, systemServices } from '../shared/schema.ts';
import type { PageDatabase } from './database.ts';

export type DeviceRow = Omit<typeof devices.$inferSelect, 'settings'> & {
  /** As far as they can be read; what cannot stands in `settingsProblem`. */
  settings: DeviceSettings;
  settingsProblem: string | null;
};
export type ServiceRow = typeof systemServices.$inferSelect;
export type EventRow = typeof events.$inferSelect;
export type ProfileRow = Omit<typeof microphoneProfiles.$inferSelect, 'config'> & {
  /** null: it cannot be read; `problem` says why. */
  config: ProfileConfig | null;
  problem: string | null;
};

export interface StationSettings {
  stationId: string | null;
  name: string;
  position: { latitude: number; longitude: number } | null;
  autoEnrollment: boolean;
  autoUpdate: boolean;
  liveListening: boolean;
  /** As it stands there. */
  alerts: unknown;
  /** Every other key as it stands there. */
  other: ReadonlyMap<string, unknown>;
}

export interface StationRows {
  settings: StationSettings;
  devices: DeviceRow[];
  profiles: ProfileRow[];
  services: ServiceRow[];
  /** The newest first. */
  events: EventRow[];
}

const EVENTS_SHOWN = 20;

/** Reads it all in one snapshot of the database. Throws as `PageDatabase.query` does. */
export async function readStationRows(database: PageDatabase): Promise<StationRows> {
  return await database.query((connection) =>
    connection.transaction(
      async (read) => {
        const config = await read.select().from(systemConfig);
        const deviceRows = await read.select().from(devices).orderBy(asc(devices.firstSeen), asc(devices.id));
        const profileRows = await read.select().from(microphoneProfiles).orderBy(asc(microphoneProfiles.name));
        const serviceRows = await read.select().from(systemServices).orderBy(asc(systemServices.name));
        const eventRows = await read.select().from(events).orderBy(desc(events.lastAt)).limit(EVENTS_SHOWN);
        return {
          settings: settingsOf(new Map(config.map(({ key, value }) => [key, value]))),
          devices: deviceRows.map(parseDevice),
          profiles: profileRows.map(parseProfile),
          services: serviceRows,
          events: eventRows,
        };
      },
      { isolationLevel: 'repeatable read', accessMode: 'read only' },
    ),
  );
}

export interface EventFilter {
  /** A subject key; null: all. */
  subject: string | null;
  type: 'normal' | 'warning' | null;
  /** Only what stands after this one: the next page. `atMs` is its `lastAt`, Unix milliseconds. */
  before: { atMs: number; id: number } | null;
  limit: number;
}

/** Events, the latest first: one that repeats stands where it last happened. */
export async function readEvents(database: PageDatabase, filter: EventFilter): Promise<EventRow[]> {
  const { subject, type, before, limit } = filter;
  // As precise as the dates of JavaScript, from which the next page's place comes.
  const lastAt = sql`date_trunc('milliseconds', ${events.lastAt})`;
  const place = before === null ? null : new Date(before.atMs).toISOString();
  return await database.query((connection) =>
    connection
      .select()
      .from(events)
      .where(
        sql`(${subject}::text is null or ${events.subject} = ${subject})
          and (${type}::text is null or ${events.type} = ${type})
          and (${place}::timestamptz is null or (${lastAt}, ${events.id}) < (${place}::timestamptz, ${before?.id ?? 0}::bigint))`,
      )
      .orderBy(desc(lastAt), desc(events.id))
      .limit(limit),
  );
}

export type ConfigChanges = Partial<
  Record<Exclude<(typeof CONFIG_KEY)[keyof typeof CONFIG_KEY], 'station_id' | 'workspace_marked'>, unknown>
>;

/** Writes keys of a person's; a value of undefined leaves a key as it is. */
export async function writeStationSettings(database: PageDatabase, changes: Record<string, unknown>): Promise<void> {
  const rows = Object.entries(changes)
    .filter(([, value]) => value !== undefined)
    // A null of JSON, not one of SQL.
    .map(([key, value]) => ({ key, value: value === null ? sql`'null'::jsonb` : value }));
  if (rows.length === 0) return;
  await database.query((connection) =>
    connection
      .insert(systemConfig)
      .values(rows)
      .onConflictDoUpdate({ target: systemConfig.key, set: { value: sql`excluded.value` } }),
  );
}

/** Removes keys, so that their defaults hold again. */
export async function clearStationSettings(database: PageDatabase, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await database.query((connection) => connection.delete(systemConfig).where(inArray(systemConfig.key, [...keys])));
}

/** One device by the name of its folder, which is unique and safe in an address; null: there is none. */
export async function readDevice(database: PageDatabase, workspace: string): Promise<DeviceRow | null> {
  const rows = await database.query((connection) =>
    connection.select().from(devices).where(eq(devices.workspace, workspace)),
  );
  return rows[0] === undefined ? null : parseDevice(rows[0]);
}

function settingsOf(config: ReadonlyMap<string, unknown>): StationSettings {
  const known: readonly string[] = Object.values(CONFIG_KEY);
  const stationId = config.get(CONFIG_KEY.stationId);
  const name = config.get(CONFIG_KEY.stationName);
  return {
    stationId: typeof stationId === 'string' ? stationId : null,
    name: typeof name === 'string' ? name : '',
    position: positionOf(config.get(CONFIG_KEY.position)),
    autoEnrollment: config.get(CONFIG_KEY.autoEnrollment) !== false,
    autoUpdate: config.get(CONFIG_KEY.autoUpdate) === true,
    liveListening: config.get(CONFIG_KEY.liveListening) === true,
    alerts: config.get(CONFIG_KEY.alerts) ?? {},
    other: new Map([...config].filter(([key]) => !known.includes(key))),
  };
}

function positionOf(value: unknown): StationSettings['position'] {
  if (typeof value !== 'object' || value === null) return null;
  const latitude: unknown = Reflect.get(value, 'latitude');
  const longitude: unknown = Reflect.get(value, 'longitude');
  return typeof latitude === 'number' && typeof longitude === 'number' ? { latitude, longitude } : null;
}

function parseDevice(row: typeof devices.$inferSelect): DeviceRow {
  const parsed = parseDeviceSettings(row.settings);
  return parsed.ok
    ? { ...row, settings: parsed.value, settingsProblem: null }
    : { ...row, settings: {}, settingsProblem: parsed.message };
}

function parseProfile(row: typeof microphoneProfiles.$inferSelect): ProfileRow {
  const parsed = parseProfileConfig(row.config);
  return parsed.ok
    ? { ...row, config: parsed.value, problem: null }
    : { ...row, config: null, problem: parsed.message };
}
