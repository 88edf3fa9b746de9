/** Profiles as a person changes them. Who uses one, and whose it is, the database knows: it refuses what must not be removed. */
import { eq, sql } from 'drizzle-orm';
import type { SeedProfile } from '../shared/profile.ts';
import { microphoneProfiles } from '../shared/schema.ts';
import type { PageDatabase } from './database.ts';

/** As it is stored, readable or not; null: there is none. Throws as `PageDatabase.query` does. */
export async function readStoredConfig(database: PageDatabase, slug: string): Promise<{ config: unknown } | null> {
  const rows = await database.query((connection) =>
    connection
      .select({ config: microphoneProfiles.config })
      .from(microphoneProfiles)
      .where(eq(microphoneProfiles.slug, slug)),
  );
  return rows[0] ?? null;
}

/** False: there is one of this slug already. */
export async function createProfile(database: PageDatabase, profile: SeedProfile): Promise<boolean> {
  const { slug, name, description, manufacturer, model, config } = profile;
  // Names only the columns that the page may write: drizzle would name them all.
  const made = await database.query((connection) =>
    connection.execute(sql`
      insert into microphone_profiles (slug, name, description, manufacturer, model, config)
      values (${slug}, ${name}, ${description}, ${manufacturer}, ${model}, ${JSON.stringify(config)}::jsonb)
      on conflict do nothing returning slug`),
  );
  return made.length === 1;
}

/** False: there is none any more. */
export async function writeProfile(database: PageDatabase, profile: SeedProfile): Promise<boolean> {
  const { slug, ...columns } = profile;
  const changed = await database.query((connection) =>
    connection
      .update(microphoneProfiles)
      .set(columns)
      .where(eq(microphoneProfiles.slug, slug))
      .returning({ slug: microphoneProfiles.slug }),
  );
  return changed.length === 1;
}

/** False: there is none any more. Throws `Refusal` of one that is used or came with the station. */
export async function removeProfile(database: PageDatabase, slug: string): Promise<boolean> {
  const gone = await database.query((connection) =>
    connection
      .delete(microphoneProfiles)
      .where(eq(microphoneProfiles.slug, slug))
      .returning({ slug: microphoneProfiles.slug }),
  );
  return gone.length === 1;
}
