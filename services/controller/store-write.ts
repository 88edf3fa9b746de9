/** The controller's changes as statements of one transaction. Columns that are a person's are never among them. */
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import { CONFIG_KEY, devices, events, MAX_EVENTS, systemConfig, systemServices, TEXT_LIMIT } from '../shared/schema.ts';
import { fitJson, fitText } from './store-text.ts';
import type { Changes, DeviceChange, DeviceFacts, StationEvent, StatusChange } from './world.ts';

/** The part of drizzle that both a connection and a transaction have. */
export type Statements = Pick<PostgresJsDatabase, 'insert' | 'update' | 'delete' | 'execute'>;

export function isEmpty({ devices, statuses, events, config }: Changes): boolean {
  return devices.length + statuses.length + events.length === 0 && config.workspaceMarked === undefined;
}

/** Must run in a transaction: all of it counts, or nothing. */
export async function applyChanges(statements: Statements, changes: Changes): Promise<void> {
  for (const change of changes.devices) await applyDeviceChange(statements, change);
  await applyStatuses(statements, changes.statuses);
  if (changes.config.workspaceMarked === true) await markWorkspace(statements);
  await recordEvents(statements, changes.events);
}

/** From then on the marker file must be there before anything is recorded. */
export async function markWorkspace(statements: Statements): Promise<void> {
  await statements
    .insert(systemConfig)
    .values({ key: CONFIG_KEY.workspaceMarked, value: true })
    .onConflictDoUpdate({ target: systemConfig.key, set: { value: true } });
}

/** Hardware columns from facts, text made fit; what is not among the facts is not among the columns. */
export function factColumns(facts: Partial<DeviceFacts>): Partial<typeof devices.$inferInsert> {
  const text = (value: string | undefined, limit: number) => (value === undefined ? undefined : fitText(value, limit));
  const columns = {
    vendorId: facts.vendorId,
    productId: facts.productId,
    serial: facts.serial === null ? null : text(facts.serial, TEXT_LIMIT.serial),
    serialShared: facts.serialShared,
    portPath: text(facts.portPath, TEXT_LIMIT.hardware),
    product: text(facts.product, TEXT_LIMIT.hardware),
    manufacturer: text(facts.manufacturer, TEXT_LIMIT.hardware),
    capabilities: facts.capabilities === undefined ? undefined : fitJson(facts.capabilities),
    status: facts.status,
    lastSeen: facts.lastSeenAt === undefined ? undefined : new Date(facts.lastSeenAt),
    suggestedProfile: facts.suggestedProfile,
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

async function applyDeviceChange(statements: Statements, change: DeviceChange): Promise<void> {
  switch (change.kind) {
    case 'insert':
      return await insertDevice(statements, change);
    case 'update': {
      const columns = factColumns(change.facts);
      if (Object.keys(columns).length === 0) return;
      await statements.update(devices).set(columns).where(eq(devices.id, change.id));
      return;
    }
    case 'enroll':
      await statements
        .update(devices)
        .set(change.enrollment)
        .where(and(eq(devices.id, change.id), eq(devices.enrollmentStatus, 'pending'), isNull(devices.decidedBy)));
      return;
    case 'forget':
      await statements.delete(devices).where(and(eq(devices.id, change.id), eq(devices.status, 'offline')));
      return;
    default:
      throw new Error(`Unknown change: ${JSON.stringify(change satisfies never)}`);
  }
}

/** A row of that id that is there already keeps everything that a person may have said; only the facts are taken over. */
async function insertDevice(
  statements: Statements,
  { id, workspace, name, facts, enrollment }: Extract<DeviceChange, { kind: 'insert' }>,
): Promise<void> {
  const { vendorId, productId, portPath, status, lastSeenAt } = facts;
  const columns = factColumns(facts);
  await statements
    .insert(devices)
    .values({
      ...{ vendorId, productId, portPath, status },
      ...columns,
      id,
      workspace,
      name: fitText(name, TEXT_LIMIT.name),
      firstSeen: new Date(lastSeenAt),
      ...enrollment,
    })
    .onConflictDoUpdate({ target: devices.id, set: columns });
}

/** One statement for all devices, one for all services; a row that already says so is not written. */
async function applyStatuses(statements: Statements, statuses: readonly StatusChange[]): Promise<void> {
  const rowsOf = (kind: 'device' | 'service') => {
    const rows = statuses.flatMap(({ subject, observedGeneration, phase, reason, message }) => {
      if (subject.kind !== kind) return [];
      const key = subject.kind === 'device' ? subject.id : subject.name;
      const fitted = { reason: fitText(reason, TEXT_LIMIT.reason), message: fitText(message, TEXT_LIMIT.message) };
      return [[key, { key, observed_generation: observedGeneration, phase, ...fitted }] as const];
    });
    // Of two for one row the later counts; the statement would take either.
    return [...new Map(rows).values()];
  };
  for (const [table, key, rows] of [
    [devices, devices.id, rowsOf('device')],
    [systemServices, systemServices.name, rowsOf('service')],
  ] as const) {
    if (rows.length === 0) continue;
    await statements.execute(sql`
      update ${table} set
        observed_generation = told.observed_generation, phase = told.phase, reason = told.reason, message = told.message,
        phase_since = case when ${table.phase} = told.phase then ${table.phaseSince} else now() end
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as told(
        key text, observed_generation integer, phase text, reason text, message text)
      where ${key} = told.key
        and (${table.observedGeneration}, ${table.phase}, ${table.reason}, ${table.message})
          is distinct from (told.observed_generation, told.phase, told.reason, told.message)`);
  }
}

/** A repeat of a subject's latest event raises its count. The oldest beyond `MAX_EVENTS` are dropped. */
async function recordEvents(statements: Statements, told: readonly StationEvent[]): Promise<void> {
  for (const event of told) {
    const subject = fitText(event.subject, TEXT_LIMIT.subject);
    const reason = fitText(event.reason, TEXT_LIMIT.reason);
    const message = fitText(event.message, TEXT_LIMIT.message);
    await statements.execute(sql`
      with repeated as (
        update ${events} set count = count + 1, last_at = now()
        where id = (select max(id) from ${events} where subject = ${subject})
          and reason = ${reason} and message = ${message} and type = ${event.type}
        returning id
      )
      insert into ${events} (subject, type, reason, message)
      select ${subject}, ${event.type}, ${reason}, ${message} where not exists (select from repeated)`);
  }
  if (told.length === 0) return;
  await statements.execute(sql`
    delete from ${events} where id <= (select max(id) from ${events}) - ${sql.raw(String(MAX_EVENTS))}`);
}
