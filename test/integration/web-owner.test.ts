/** The owner and his sessions on a real database. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClock } from '../../services/shared/clock.ts';
import { createPageDatabase, DatabaseAway, type PageDatabase } from '../../services/web/database.ts';
import { createOwner, type Owner } from '../../services/web/owner.ts';
import { type PostgresFixture, startPostgres } from './postgres.ts';
import { openConsole } from './store-fixture.ts';

let postgres: PostgresFixture;
let database: PageDatabase;
let owner: Owner;
let aheadMs = 0;
let access: Awaited<ReturnType<PostgresFixture['createDatabase']>>;
const clock = { ...createClock(), nowMs: () => performance.now() + aheadMs };

beforeAll(async () => {
  postgres = await startPostgres();
  access = await postgres.createDatabase({ migrated: true });
  database = createPageDatabase(access, clock, () => {});
  owner = createOwner(database, clock);
});
afterAll(async () => {
  await database.stop();
  await postgres.stop();
});

test('there is one owner, made once', async () => {
  expect(await owner.exists()).toBe(false);
  expect(await owner.check('anything at all')).toBe(false);
  const [first, second] = await Promise.all([owner.create('the first password'), owner.create('the second password')]);
  expect([first, second].filter(Boolean)).toEqual([true]);
  expect(await owner.exists()).toBe(true);
  expect(await owner.create('a third password')).toBe(false);
  expect(await owner.check(first ? 'the first password' : 'the second password')).toBe(true);
  expect(await owner.check('a third password')).toBe(false);
});

test('the database holds nothing that opens the page', async () => {
  const token = await owner.signIn('Browser\0with NUL');
  const sql = openConsole(access);
  const [session] = await sql`select * from sessions`;
  expect(session?.user_agent).toBe('Browserwith NUL');
  expect(JSON.stringify(session)).not.toContain(token);
  expect(await owner.isSignedIn(session?.token_hash ?? '')).toBe(false);
  expect(await owner.isSignedIn(token)).toBe(true);
  await owner.signOut(token);
  expect(await owner.isSignedIn(token)).toBe(false);
});

test('a session that is over, or was taken from the table, is none within ten seconds', async () => {
  const sql = openConsole(access);
  const [expired, removed] = [await owner.signIn('a'), await owner.signIn('b')];
  await sql`update sessions set expires_at = now() - interval '1 second' where user_agent = 'a'`;
  await sql`delete from sessions where user_agent = 'b'`;
  aheadMs += 10_001;
  expect(await owner.isSignedIn(expired)).toBe(false);
  expect(await owner.isSignedIn(removed)).toBe(false);
});

test('a use is written once an hour, and prolongs it', async () => {
  const sql = openConsole(access);
  const token = await owner.signIn('c');
  const read = async () => (await sql`select last_used_at, expires_at from sessions where user_agent = 'c'`)[0];
  const before = await read();
  aheadMs += 11_000;
  await owner.isSignedIn(token);
  expect(await read()).toEqual(before);
  await sql`update sessions set last_used_at = now() - interval '2 hours', expires_at = now() + interval '1 day' where user_agent = 'c'`;
  aheadMs += 11_000;
  expect(await owner.isSignedIn(token)).toBe(true);
  const after = await read();
  expect(after?.expires_at.getTime()).toBeGreaterThan(Date.now() + 29 * 86_400_000);
});

test('a hundred browsers at most, the longest unused goes', async () => {
  const sql = openConsole(access);
  await sql`delete from sessions`;
  const first = await owner.signIn('first');
  await sql`update sessions set last_used_at = now() - interval '1 day' where user_agent = 'first'`;
  await sql`insert into sessions (token_hash, expires_at) select encode(sha256(n::text::bytea), 'hex'), now() + interval '1 day' from generate_series(1, 99) as n`;
  await owner.signIn('one more');
  expect((await sql`select count(*)::int as count from sessions`)[0]?.count).toBe(100);
  aheadMs += 11_000;
  expect(await owner.isSignedIn(first)).toBe(false);
});

test('while the database is away, whom it confirmed stays in, and nobody else comes in', async () => {
  const token = await owner.signIn('d');
  expect(await owner.isSignedIn(token)).toBe(true);
  await postgres.shutDown();
  aheadMs += 60_000;
  expect(await owner.isSignedIn(token)).toBe(true);
  await expect(owner.isSignedIn('a stranger')).rejects.toThrow(DatabaseAway);
  await expect(owner.check('the first password')).rejects.toThrow(DatabaseAway);
  aheadMs += 12 * 3_600_000;
  await expect(owner.isSignedIn(token)).rejects.toThrow(DatabaseAway);
  await postgres.startAgain();
  await expect.poll(() => owner.isSignedIn(token).catch(() => null), { timeout: 20_000 }).toBe(true);
});
