/** What the database says of itself. */
import { sql } from 'drizzle-orm';
import type { PageDatabase } from './database.ts';

export interface DatabaseFacts {
  /** `17.2`. */
  version: string;
  sizeBytes: number;
  /** How many migrations it has had. */
  migrations: number;
}

/** Throws as `PageDatabase.query` does. */
export async function readDatabaseFacts(database: PageDatabase): Promise<DatabaseFacts> {
  const rows = await database.query((connection) =>
    connection.execute<{ version: string; size: string; migrations: string }>(sql`
      select current_setting('server_version') as version, pg_database_size(current_database())::text as size,
        (select count(*) from silvasonic_migrations)::text as migrations`),
  );
  const [row] = rows;
  return {
    version: (row?.version ?? '').split(' ')[0] ?? '',
    sizeBytes: Number(row?.size ?? 0),
    migrations: Number(row?.migrations ?? 0),
  };
}
