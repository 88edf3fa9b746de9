/** What a person changes about a service of the catalogue: only a person's columns. */
import { eq } from 'drizzle-orm';
import { systemServices } from '../shared/schema.ts';
import type { PageDatabase } from './database.ts';
import type { ServiceRow } from './station-queries.ts';

export type ServiceWish = Partial<Pick<typeof systemServices.$inferInsert, 'enabled' | 'settings' | 'restartToken'>>;

/** null: there is none. Throws as `PageDatabase.query` does. */
export async function readService(database: PageDatabase, name: string): Promise<ServiceRow | null> {
  const rows = await database.query((connection) =>
    connection.select().from(systemServices).where(eq(systemServices.name, name)),
  );
  return rows[0] ?? null;
}

/** False: there is no such service any more. Throws as `PageDatabase.query` does. */
export async function writeService(database: PageDatabase, name: string, wish: ServiceWish): Promise<boolean> {
  const changed = await database.query((connection) =>
    connection.update(systemServices).set(wish).where(eq(systemServices.name, name)).returning({
      name: systemServices.name,
    }),
  );
  return changed.length === 1;
}
