/** A real PostgreSQL keeps the contract of the port. */
import type { Sql } from 'postgres';
import { afterAll, beforeAll } from 'vitest';
import { type PostgresFixture, startPostgres } from '../integration/postgres.ts';
import { openConsole, openStore, seedProfile, until } from '../integration/store-fixture.ts';
import type { PersonsColumns } from '../unit/in-memory-database.ts';
import { describeStore, type StoreHarness } from './store-contract.ts';

let server: PostgresFixture;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.stop());

describeStore('PostgreSQL', async (): Promise<StoreHarness> => {
  const access = await server.createDatabase({ migrated: true });
  const { store, available } = openStore(access, {
    seedProfiles: [seedProfile('generic'), seedProfile('mine')],
    seedServices: [{ name: 'processor', enabled: true, settings: {} }],
  });
  const person = () => openConsole(access);
  return {
    store,
    available,
    settle: (work) => work,
    until: async (what, holds) => void (await until(what, async () => ((await holds()) ? true : null))),
    async editDevice(id, given) {
      const sql = person();
      await sql`update devices set ${sql(columnsOf(sql, given))} where id = ${id}`;
    },
    async editProfile(slug, segmentSeconds) {
      const patch = JSON.stringify({ segmentSeconds });
      await person()`update microphone_profiles set config = config || ${patch}::text::jsonb where slug = ${slug}`;
    },
    goAway: server.shutDown,
    comeBack: server.startAgain,
    hang: server.freeze,
    letGo: server.thaw,
    async setReadOnly(readOnly) {
      const admin = openConsole({ ...access, database: 'postgres' });
      const name = admin(access.database);
      if (readOnly) await admin`alter database ${name} set default_transaction_read_only = on`;
      else await admin`alter database ${name} reset default_transaction_read_only`;
      await admin.end();
      await server.restart();
    },
    close: () => store.stop(),
  };
});

function columnsOf(sql: Sql, { name, enabled, enrollmentStatus, profileSlug, settings, restartToken }: PersonsColumns) {
  const columns = {
    name,
    enabled,
    enrollment_status: enrollmentStatus,
    profile_slug: profileSlug,
    settings: settings?.ok === true ? sql.json(settings.value) : undefined,
    restart_token: restartToken,
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}
