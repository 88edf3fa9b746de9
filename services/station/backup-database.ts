/**
 * A backup out of a database and into one. Both go as the controller's role: what a person decided stays decided by a
 * person, and generations are counted, so that a controller that runs takes the changes up by itself.
 */
import { profileDigest } from '../controller/store-seeds.ts';
import type { Clock } from '../shared/clock.ts';
import { openSession, type Session, type StoreConnection, withDeadline } from '../shared/postgres-session.ts';
import { CONFIG_KEY, CONTROLLER_ROLE } from '../shared/schema.ts';
import { BACKUP_SCHEMA, type Backup, type BackupDevice } from './backup-document.ts';
import { type Change, type Content, withoutAddresses } from './backup-plan.ts';

const STATEMENT_TIMEOUT_MS = 30_000;
const DEADLINE_MS = 40_000;

/** Opens the database, works, and lets it go. `role` null: the user's own rights. Throws what the server or the connection throws. */
export async function withDatabase<T>(
  connection: StoreConnection,
  clock: Clock,
  work: (session: Session) => Promise<T>,
  role: string | null = CONTROLLER_ROLE,
): Promise<T> {
  const session = await openSession(connection, {
    applicationName: 'silvasonic-backup',
    connections: 1,
    role,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  try {
    return await withDeadline(clock, DEADLINE_MS, work(session));
  } finally {
    session.destroy();
  }
}

/** All of it in one statement, so that no two parts are of different moments. */
const READ = `
  select
    (select coalesce(json_object_agg(key, value), '{}') from system_config) as config,
    (select coalesce(json_agg(json_build_object(
        'slug', slug, 'name', name, 'description', description, 'manufacturer', manufacturer, 'model', model,
        'isSystem', is_system, 'config', config,
        'untouched', is_system and seed_hash is not distinct from ${profileDigest('profile')}) order by slug), '[]')
      from microphone_profiles as profile) as profiles,
    (select coalesce(json_agg(json_build_object(
        'id', id, 'workspace', workspace, 'name', name, 'enabled', enabled, 'enrollmentStatus', enrollment_status,
        'decidedBy', decided_by, 'profileSlug', profile_slug, 'settings', settings, 'vendorId', vendor_id,
        'productId', product_id, 'serial', serial, 'serialShared', serial_shared, 'portPath', port_path,
        'product', product, 'manufacturer', manufacturer, 'capabilities', capabilities,
        'firstSeen', first_seen, 'lastSeen', last_seen) order by id), '[]') from devices) as devices,
    (select coalesce(json_agg(json_build_object('name', name, 'enabled', enabled, 'settings', settings) order by name), '[]')
      from system_services) as services`;

/** Everything that a backup could hold, untouched profiles too. */
export async function readContent({ client }: Session): Promise<Content & { untouched: string[] }> {
  const [row] = await client.unsafe(READ);
  const { config, profiles, devices, services } = row as unknown as {
    config: Record<string, unknown>;
    profiles: (Content['profiles'][number] & { untouched: boolean })[];
    devices: BackupDevice[];
    services: Content['services'];
  };
  const stationId = config[CONFIG_KEY.stationId];
  return {
    stationId: typeof stationId === 'string' ? stationId : null,
    config,
    profiles: profiles.map(({ untouched: _, ...profile }) => profile),
    untouched: profiles.filter(({ untouched }) => untouched).map(({ slug }) => slug),
    devices,
    services,
  };
}

/** What is kept of it: nothing that the release brings anyway, no secret, nothing that is the controller's own. */
export function toBackup(content: Content & { untouched: string[] }, made: Date, release: string): Backup {
  const {
    [CONFIG_KEY.stationId]: _id,
    [CONFIG_KEY.workspaceMarked]: _marked,
    [CONFIG_KEY.alerts]: alerts,
    ...config
  } = content.config;
  return {
    kind: 'silvasonic-backup',
    schema: BACKUP_SCHEMA,
    made: made.toISOString(),
    release,
    stationId: content.stationId,
    config: { ...config, ...(alerts !== undefined && { [CONFIG_KEY.alerts]: withoutAddresses(alerts) }) },
    profiles: content.profiles.filter(({ slug }) => !content.untouched.includes(slug)),
    devices: content.devices,
    services: content.services,
  };
}

/** Nobody owns the page any more, and nobody is signed in. */
export async function forgetOwner({ client }: Session): Promise<void> {
  await client.begin(async (sql) => {
    await sql`delete from sessions`;
    await sql`delete from owner`;
  });
}

/** All or nothing. */
export async function applyRestore({ client }: Session, changes: readonly Change[]): Promise<void> {
  await client.begin(async (sql) => {
    for (const change of changes) await applyChange(sql, change);
  });
}

type Statements = Parameters<Parameters<Session['client']['begin']>[1]>[0];

async function applyChange(sql: Statements, change: Change): Promise<void> {
  switch (change.kind) {
    case 'config':
      await sql`
        insert into system_config (key, value) values (${change.key}, ${json(change.value)}::text::jsonb)
        on conflict (key) do update set value = excluded.value`;
      return;
    case 'profile': {
      // The seed's digest stays, and no longer fits: it goes on to count as edited.
      const { slug, name, description, manufacturer, model, isSystem, config } = change.profile;
      await sql`
        insert into microphone_profiles (slug, name, description, manufacturer, model, is_system, config)
        values (${slug}, ${name}, ${description}, ${manufacturer}, ${model}, ${isSystem}, ${json(config)}::text::jsonb)
        on conflict (slug) do update set name = excluded.name, description = excluded.description,
          manufacturer = excluded.manufacturer, model = excluded.model, config = excluded.config`;
      return;
    }
    case 'device':
      await (change.isNew ? insertDevice(sql, change.device) : updateDevice(sql, change.device));
      return;
    case 'service': {
      const { name, enabled, settings } = change.service;
      await sql`
        insert into system_services (name, enabled, settings) values (${name}, ${enabled}, ${json(settings)}::text::jsonb)
        on conflict (name) do update set enabled = excluded.enabled, settings = excluded.settings`;
      return;
    }
    default:
      change satisfies never;
  }
}

async function insertDevice(sql: Statements, device: BackupDevice): Promise<void> {
  const { id, workspace, vendorId, productId, serial, serialShared, portPath, product, manufacturer } = device;
  await sql`
    insert into devices (id, workspace, vendor_id, product_id, serial, serial_shared, port_path, product, manufacturer,
      capabilities, status, phase, first_seen, last_seen, name, enabled, enrollment_status, decided_by, profile_slug, settings)
    values (${id}, ${workspace}, ${vendorId}, ${productId}, ${serial}, ${serialShared}, ${portPath}, ${product},
      ${manufacturer}, ${json(device.capabilities)}::text::jsonb, 'offline', 'offline', ${device.firstSeen}::text::timestamptz,
      ${device.lastSeen}::text::timestamptz, ${device.name}, ${device.enabled}, ${device.enrollmentStatus},
      ${device.decidedBy}, ${device.profileSlug}, ${json(device.settings)}::text::jsonb)`;
}

async function updateDevice(sql: Statements, device: BackupDevice): Promise<void> {
  await sql`
    update devices set name = ${device.name}, enabled = ${device.enabled},
      enrollment_status = ${device.enrollmentStatus}, decided_by = ${device.decidedBy},
      profile_slug = ${device.profileSlug}, settings = ${json(device.settings)}::text::jsonb
    where id = ${device.id}`;
}

const json = (value: unknown): string => JSON.stringify(value);
