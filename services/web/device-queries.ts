/** What a person changes about a device: only a person's columns, and nothing that the controller decides. */
import { and, eq, sql } from 'drizzle-orm';
import { devices, events } from '../shared/schema.ts';
import type { PageDatabase } from './database.ts';
import { newToken } from './owner.ts';

/** A person's columns. */
export type DeviceWish = Partial<
  Pick<
    typeof devices.$inferInsert,
    'name' | 'enabled' | 'enrollmentStatus' | 'profileSlug' | 'settings' | 'restartToken'
  >
>;

/** False: there is no such device any more. Throws as `PageDatabase.query` does. */
export async function writeDevice(database: PageDatabase, id: string, wish: DeviceWish): Promise<boolean> {
  const changed = await database.query((connection) =>
    connection.update(devices).set(wish).where(eq(devices.id, id)).returning({ id: devices.id }),
  );
  return changed.length === 1;
}

/** Only while it is not plugged in: the database refuses otherwise. Its recordings stay. */
export async function forgetDevice(database: PageDatabase, id: string): Promise<boolean> {
  const gone = await database.query((connection) =>
    connection.delete(devices).where(eq(devices.id, id)).returning({ id: devices.id }),
  );
  return gone.length === 1;
}

/** Any value that was not there before restarts once. */
export function newRestartToken(): string {
  return newToken().slice(0, 16);
}

/** How often its plug came and went too fast to record, as far as events reach back. */
export async function countFlaps(database: PageDatabase, id: string): Promise<number> {
  const rows = await database.query((connection) =>
    connection
      .select({ count: sql<number>`coalesce(sum(${events.count}), 0)::int` })
      .from(events)
      .where(and(eq(events.subject, `recorder:${id}`), eq(events.reason, 'FlappingPlug'))),
  );
  return rows[0]?.count ?? 0;
}
