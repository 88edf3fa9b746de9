/** Profiles and services that come with a release, put into the database without ever undoing what a person did. */
import { type SQL, sql } from 'drizzle-orm';
import type { Session } from '../shared/postgres-session.ts';
import type { SeedProfile } from '../shared/profile.ts';
import { microphoneProfiles, systemServices } from '../shared/schema.ts';

/** A service of the catalogue, as it starts out. */
export interface SeedService {
  name: string;
  enabled: boolean;
  settings: Record<string, unknown>;
}

/**
 * What a person could have edited, as a digest, in SQL. The server computes it from its own jsonb, whose text has one
 * form for equal values, so that only a real edit counts as one. `row` is the name of a profile's row.
 */
export function profileDigest(row: string): string {
  return `encode(sha256(convert_to(jsonb_build_array(${row}.name, ${row}.description, ${row}.manufacturer, ${row}.model, ${row}.config)::text, 'UTF8')), 'hex')`;
}

const digest = (row: string): SQL => sql.raw(profileDigest(row));

/**
 * Inserts what is missing. A profile that still is as its seed was follows the new seed, and so does one that was edited
 * and then reset to what its seed is now; one that somebody edited, or made himself under the same slug, is left as it is.
 * Writes nothing where nothing changes.
 */
export async function seedProfiles({ database }: Session, seeds: readonly SeedProfile[]): Promise<void> {
  if (seeds.length === 0) return;
  await database.execute(sql`
    with seed as (
      select given.*, ${digest('given')} as digest
      from jsonb_to_recordset(${JSON.stringify(seeds)}::jsonb) as given(
        slug text, name text, description text, manufacturer text, model text, config jsonb)
    ), due as (
      select seed.* from seed left join ${microphoneProfiles} as kept using (slug)
      where kept.slug is null
        or (kept.is_system and kept.seed_hash <> seed.digest and ${digest('kept')} in (kept.seed_hash, seed.digest))
    )
    insert into ${microphoneProfiles} as kept
      (slug, name, description, manufacturer, model, config, is_system, seed_hash)
    select slug, name, description, manufacturer, model, config, true, digest from due
    on conflict (slug) do update set
      name = excluded.name, description = excluded.description, manufacturer = excluded.manufacturer,
      model = excluded.model, config = excluded.config, seed_hash = excluded.seed_hash
    where kept.is_system and ${digest('kept')} in (kept.seed_hash, excluded.seed_hash)`);
}

/** Inserts the services that have no row yet. */
export async function seedServices({ database }: Session, seeds: readonly SeedService[]): Promise<void> {
  if (seeds.length === 0) return;
  const rows = seeds.map(({ name, enabled, settings }) => ({ name, enabled, settings }));
  await database.insert(systemServices).values(rows).onConflictDoNothing();
}
