/**
 * The tables. Rules that hold whoever writes stand here as CHECKs; what takes more than one row (generations, who may
 * remove what, the two roles and their grants) are triggers and grants in the migrations.
 */
import { sql } from 'drizzle-orm';
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  smallint,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

/** The role of the controller's statements, and of the page's: it can write a person's columns and no others. */
export const CONTROLLER_ROLE = 'silvasonic_controller';
export const PAGE_ROLE = 'silvasonic_web';

/** More devices than this are refused: a faulty hub must not fill the disk with rows. */
export const MAX_DEVICES = 500;
/** The newest are kept. */
export const MAX_EVENTS = 5000;

/** The longest text that a column takes, characters. */
export const TEXT_LIMIT = {
  id: 200,
  name: 200,
  serial: 2048,
  hardware: 500,
  description: 2000,
  subject: 300,
  reason: 64,
  message: 2000,
  restartToken: 100,
} as const;
/** The longest JSON that a column takes, characters. */
const JSON_LIMIT = 64 * 1024;

export const DEVICE_PHASES = [
  'offline',
  'pending',
  'ignored',
  'disabled',
  'waiting',
  'starting',
  'recording',
  'stalled',
  'backoff',
  'blocked',
  'stopping',
] as const;
export const SERVICE_PHASES = [
  'disabled',
  'pulling',
  'starting',
  'running',
  'stalled',
  'backoff',
  'blocked',
  'stopping',
] as const;
export const ENROLLMENT_STATUSES = ['pending', 'enrolled', 'ignored'] as const;

const oneOf = (column: AnyPgColumn, values: readonly string[]) =>
  sql`${column} in (${sql.raw(values.map((value) => `'${value}'`).join(', '))})`;
const atMost = (column: AnyPgColumn, characters: number) =>
  sql`char_length(${column}) <= ${sql.raw(String(characters))}`;
const isObject = (column: AnyPgColumn) =>
  sql`jsonb_typeof(${column}) = 'object' and char_length(${column}::text) <= ${sql.raw(String(JSON_LIMIT))}`;
const isSlug = (column: AnyPgColumn) => sql`${column} ~ '^[a-z0-9-]{1,60}$'`;

const moment = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });
const restartToken = () => text('restart_token').notNull().default('');

/** How a device or service fares; the controller's. `generation` counts a person's changes (trigger). */
const statusColumns = () => ({
  generation: integer('generation').notNull().default(1),
  observedGeneration: integer('observed_generation').notNull().default(0),
  reason: text('reason').notNull().default(''),
  message: text('message').notNull().default(''),
  phaseSince: moment('phase_since').notNull().defaultNow(),
});

/** How a kind of microphone is recognised and recorded. `config` is parsed by `shared/profile`. */
export const microphoneProfiles = pgTable(
  'microphone_profiles',
  {
    slug: text('slug').primaryKey(),
    name: text('name').notNull(),
    description: text('description').notNull().default(''),
    manufacturer: text('manufacturer').notNull().default(''),
    model: text('model').notNull().default(''),
    config: jsonb('config').notNull(),
    /** Came with a release. */
    isSystem: boolean('is_system').notNull().default(false),
    /** What the seed's digest was: while the row still has it, nobody edited it and it follows its seed. */
    seedHash: text('seed_hash'),
  },
  (table) => [
    check('microphone_profiles_slug', isSlug(table.slug)),
    check('microphone_profiles_name', sql`char_length(${table.name}) between 1 and 200`),
    check('microphone_profiles_description', atMost(table.description, TEXT_LIMIT.description)),
    check('microphone_profiles_manufacturer', atMost(table.manufacturer, TEXT_LIMIT.hardware)),
    check('microphone_profiles_model', atMost(table.model, TEXT_LIMIT.hardware)),
    check('microphone_profiles_config', isObject(table.config)),
  ],
);

/** A microphone, remembered for ever. Hardware and status columns are the controller's, the others a person's. */
export const devices = pgTable(
  'devices',
  {
    id: text('id').primaryKey(),
    name: text('name').notNull().default(''),
    vendorId: text('vendor_id').notNull(),
    productId: text('product_id').notNull(),
    serial: text('serial'),
    serialShared: boolean('serial_shared').notNull().default(false),
    portPath: text('port_path').notNull(),
    product: text('product').notNull().default(''),
    manufacturer: text('manufacturer').notNull().default(''),
    capabilities: jsonb('capabilities').notNull().default({ offers: [] }),
    status: text('status', { enum: ['online', 'offline'] }).notNull(),
    enabled: boolean('enabled').notNull().default(true),
    enrollmentStatus: text('enrollment_status', { enum: ENROLLMENT_STATUSES }).notNull().default('pending'),
    /** null: nobody yet. */
    decidedBy: text('decided_by', { enum: ['auto', 'person'] }),
    profileSlug: text('profile_slug').references(() => microphoneProfiles.slug, { onDelete: 'restrict' }),
    suggestedProfile: text('suggested_profile'),
    settings: jsonb('settings').notNull().default({}),
    /** A new value restarts the recorder once. */
    restartToken: restartToken(),
    /** Folder name, set once. */
    workspace: text('workspace').notNull().unique(),
    firstSeen: moment('first_seen').notNull().defaultNow(),
    /** Written on going offline. */
    lastSeen: moment('last_seen').notNull().defaultNow(),
    phase: text('phase', { enum: DEVICE_PHASES }).notNull().default('waiting'),
    ...statusColumns(),
  },
  (table) => [
    check('devices_id', sql`char_length(${table.id}) between 1 and ${sql.raw(String(TEXT_LIMIT.id))}`),
    check('devices_name', atMost(table.name, TEXT_LIMIT.name)),
    check('devices_vendor_id', sql`${table.vendorId} ~ '^[0-9a-f]{4}$'`),
    check('devices_product_id', sql`${table.productId} ~ '^[0-9a-f]{4}$'`),
    check('devices_serial', atMost(table.serial, TEXT_LIMIT.serial)),
    check('devices_port_path', atMost(table.portPath, TEXT_LIMIT.hardware)),
    check('devices_product', atMost(table.product, TEXT_LIMIT.hardware)),
    check('devices_manufacturer', atMost(table.manufacturer, TEXT_LIMIT.hardware)),
    check('devices_capabilities', isObject(table.capabilities)),
    check('devices_status', oneOf(table.status, ['online', 'offline'])),
    check('devices_enrollment_status', oneOf(table.enrollmentStatus, ENROLLMENT_STATUSES)),
    check('devices_decided_by', oneOf(table.decidedBy, ['auto', 'person'])),
    check('devices_settings', isObject(table.settings)),
    check('devices_restart_token', atMost(table.restartToken, TEXT_LIMIT.restartToken)),
    check('devices_workspace', sql`${table.workspace} ~ '^[a-z0-9-]{1,40}-[0-9a-f]{8}$'`),
    check(
      'devices_workspace_digest',
      sql`right(${table.workspace}, 8) = left(encode(sha256(convert_to(${table.id}, 'UTF8')), 'hex'), 8)`,
    ),
    check('devices_phase', oneOf(table.phase, DEVICE_PHASES)),
    check('devices_reason', atMost(table.reason, TEXT_LIMIT.reason)),
    check('devices_message', atMost(table.message, TEXT_LIMIT.message)),
    index('devices_profile_slug').on(table.profileSlug),
  ],
);

/** What runs beside the recorders. Rows come from the catalogue on disk, and so do images and mounts. */
export const systemServices = pgTable(
  'system_services',
  {
    name: text('name').primaryKey(),
    enabled: boolean('enabled').notNull().default(false),
    settings: jsonb('settings').notNull().default({}),
    restartToken: restartToken(),
    phase: text('phase', { enum: SERVICE_PHASES }).notNull().default('disabled'),
    ...statusColumns(),
  },
  (table) => [
    check('system_services_name', isSlug(table.name)),
    check('system_services_settings', isObject(table.settings)),
    check('system_services_restart_token', atMost(table.restartToken, TEXT_LIMIT.restartToken)),
    check('system_services_phase', oneOf(table.phase, SERVICE_PHASES)),
    check('system_services_reason', atMost(table.reason, TEXT_LIMIT.reason)),
    check('system_services_message', atMost(table.message, TEXT_LIMIT.message)),
  ],
);

/** Keys of `system_config` that the controller knows; a key that is not there has its default. */
export const CONFIG_KEY = {
  /** UUID, made once. The controller's. */
  stationId: 'station_id',
  /** Text. */
  stationName: 'station_name',
  /** `{latitude, longitude}` in degrees (WGS 84), or null. */
  position: 'position',
  /** Boolean, true unless said otherwise. */
  autoEnrollment: 'auto_enrollment',
  /** Boolean, false unless said otherwise. */
  autoUpdate: 'auto_update',
  /** Boolean, false unless said otherwise: the page may play what the microphones hear now. */
  liveListening: 'live_listening',
  /** `AlertSettings`: whom to tell what. */
  alerts: 'alerts',
  /** Boolean: the marker file has been seen in the recordings' folder. The controller's. */
  workspaceMarked: 'workspace_marked',
} as const;

export const systemConfig = pgTable(
  'system_config',
  { key: text('key').primaryKey(), value: jsonb('value').notNull() },
  (table) => [
    check('system_config_key', sql`${table.key} ~ '^[a-z][a-z0-9_]{0,63}$'`),
    check('system_config_length', sql`char_length(${table.value}::text) <= ${sql.raw(String(JSON_LIMIT))}`),
    // Only CASE settles what is evaluated first, and a CHECK that comes to null would let everything pass.
    check(
      'system_config_value',
      sql`coalesce(case
        when ${table.key} = 'station_id' then
          jsonb_typeof(${table.value}) = 'string' and ${table.value} #>> '{}' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        when ${table.key} = 'station_name' then
          jsonb_typeof(${table.value}) = 'string' and char_length(${table.value} #>> '{}') <= 200
        when ${table.key} in ('auto_enrollment', 'auto_update', 'live_listening', 'workspace_marked') then
          jsonb_typeof(${table.value}) = 'boolean'
        when ${table.key} = 'alerts' then
          jsonb_typeof(${table.value}) = 'object'
        when ${table.key} = 'position' then case
          when jsonb_typeof(${table.value}) = 'null' then true
          when jsonb_typeof(${table.value} -> 'latitude') = 'number' and jsonb_typeof(${table.value} -> 'longitude') = 'number' then
            (${table.value} ->> 'latitude')::numeric between -90 and 90 and (${table.value} ->> 'longitude')::numeric between -180 and 180
          else false end
        else true end, false)`,
    ),
  ],
);

/** What happened. A repeat of a subject's latest event raises its count instead of adding a row. */
export const events = pgTable(
  'events',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    at: moment('at').notNull().defaultNow(),
    /** `recorder:<device id>`, `service:<name>` or `station`. */
    subject: text('subject').notNull(),
    type: text('type', { enum: ['normal', 'warning'] }).notNull(),
    /** CamelCase, for programs. */
    reason: text('reason').notNull(),
    message: text('message').notNull(),
    count: integer('count').notNull().default(1),
    lastAt: moment('last_at').notNull().defaultNow(),
  },
  (table) => [
    check('events_subject', atMost(table.subject, TEXT_LIMIT.subject)),
    check('events_type', oneOf(table.type, ['normal', 'warning'])),
    check('events_reason', atMost(table.reason, TEXT_LIMIT.reason)),
    check('events_message', atMost(table.message, TEXT_LIMIT.message)),
    check('events_count', sql`${table.count} >= 1`),
    index('events_subject_id').on(table.subject, table.id),
  ],
);

/** The one person who may change things on the page. The page's. */
export const owner = pgTable(
  'owner',
  {
    id: smallint('id').primaryKey().default(1),
    /** Salted and slow, with its parameters. */
    passwordHash: text('password_hash').notNull(),
    createdAt: moment('created_at').notNull().defaultNow(),
    changedAt: moment('changed_at').notNull().defaultNow(),
  },
  (table) => [
    check('owner_one', sql`${table.id} = 1`),
    check('owner_password_hash', sql`char_length(${table.passwordHash}) between 1 and 1000`),
  ],
);

/** Browsers that are signed in. Only a digest of what they hold, so that a copy of the table opens nothing. */
export const sessions = pgTable(
  'sessions',
  {
    /** SHA-256 of the cookie's value, hexadecimal. */
    tokenHash: text('token_hash').primaryKey(),
    createdAt: moment('created_at').notNull().defaultNow(),
    lastUsedAt: moment('last_used_at').notNull().defaultNow(),
    expiresAt: moment('expires_at').notNull(),
    userAgent: text('user_agent').notNull().default(''),
  },
  (table) => [
    check('sessions_token_hash', sql`${table.tokenHash} ~ '^[0-9a-f]{64}$'`),
    check('sessions_user_agent', atMost(table.userAgent, TEXT_LIMIT.hardware)),
    index('sessions_expires_at').on(table.expiresAt),
  ],
);
