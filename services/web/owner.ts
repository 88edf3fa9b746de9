/** The one owner and the browsers that are signed in; the database keeps only digests. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { eq, lt, ne, sql } from 'drizzle-orm';
import type { Clock } from '../shared/clock.ts';
import { owner, sessions, TEXT_LIMIT } from '../shared/schema.ts';
import { DatabaseAway, type PageDatabase } from './database.ts';
import { hashPassword, verifyPassword } from './password.ts';

export interface Owner {
  /** Whether a password has been set. Throws as `PageDatabase.query` does. */
  exists(): Promise<boolean>;
  /** False: there is one already. */
  create(password: string): Promise<boolean>;
  check(password: string): Promise<boolean>;
  /** Signs every browser out but the one that holds `keepToken`. */
  changePassword(password: string, keepToken: string): Promise<void>;
  /** The value of the cookie. */
  signIn(userAgent: string): Promise<string>;
  signOut(token: string): Promise<void>;
  /** Every browser but the one that holds this token. */
  signOutOthers(keepToken: string): Promise<void>;
  /** True of a token that is signed in. While the database is away: of those that it confirmed before. */
  isSignedIn(token: string): Promise<boolean>;
}

/** Days without use after which a browser has to sign in again. */
export const SESSION_DAYS = 30;
const DAY_MS = 86_400_000;
const TOKEN_BYTES = 32;
const NONCE_BYTES = 9;
/** A use is written at most so often: each write wears the SD card. */
const USE_WRITTEN_MS = 3_600_000;
/** A browser that was signed out elsewhere keeps its access no longer than this. */
const TRUSTED_MS = 10_000;
/** While the database is away, what it confirmed is trusted for so long. */
const TRUSTED_WITHOUT_DATABASE_MS = 12 * 3_600_000;
const MOST_REMEMBERED = 200;
const MOST_SESSIONS = 100;

/**
 * What a form carries to prove that we made it for this browser: nobody can forge it without the cookie. Another one each
 * time, so that the lengths of packed pages say nothing of it.
 */
export function formToken(cookie: string): string {
  return signed(cookie, randomBytes(NONCE_BYTES).toString('base64url'));
}

export function isFormToken(cookie: string, given: string): boolean {
  const [expected, offered] = [Buffer.from(signed(cookie, given.split('.')[0] ?? '')), Buffer.from(given)];
  return expected.length === offered.length && timingSafeEqual(expected, offered);
}

function signed(cookie: string, nonce: string): string {
  return `${nonce}.${createHmac('sha256', cookie).update(`silvasonic form ${nonce}`).digest('base64url')}`;
}

export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

export function createOwner(database: PageDatabase, clock: Clock): Owner {
  /** Digest of a token → when the database last confirmed it. */
  const confirmed = new Map<string, number>();

  const remember = (digest: string): void => {
    confirmed.delete(digest);
    confirmed.set(digest, clock.nowMs());
    const [first] = confirmed.keys();
    if (confirmed.size > MOST_REMEMBERED && first !== undefined) confirmed.delete(first);
  };

  const ask = async (digest: string): Promise<boolean> => {
    const isKnown = await database.query((connection) => useSession(connection, digest));
    if (isKnown) remember(digest);
    else confirmed.delete(digest);
    return isKnown;
  };

  return {
    exists: async () => (await readHash(database)) !== null,
    async create(password) {
      const passwordHash = await hashPassword(password);
      const made = await database.query((connection) =>
        connection.insert(owner).values({ id: 1, passwordHash }).onConflictDoNothing().returning({ id: owner.id }),
      );
      return made.length === 1;
    },
    async check(password) {
      const hash = await readHash(database);
      return hash !== null && (await verifyPassword(password, hash));
    },
    async changePassword(password, keepToken) {
      const passwordHash = await hashPassword(password);
      await database.query((connection) =>
        connection.transaction(async (write) => {
          await write.update(owner).set({ passwordHash, changedAt: sql`now()` });
          await write.delete(sessions).where(ne(sessions.tokenHash, digestOf(keepToken)));
        }),
      );
      confirmed.clear();
    },
    async signIn(userAgent) {
      const token = newToken();
      const expiresAt = new Date(clock.wallMs() + SESSION_DAYS * DAY_MS);
      await database.query(async (connection) => {
        await connection.delete(sessions).where(lt(sessions.expiresAt, sql`now()`));
        await connection.insert(sessions).values({
          tokenHash: digestOf(token),
          expiresAt,
          userAgent: userAgent.replaceAll('\0', '').slice(0, TEXT_LIMIT.hardware),
        });
        await connection.execute(sql`delete from sessions where token_hash in
          (select token_hash from sessions order by last_used_at desc offset ${MOST_SESSIONS})`);
      });
      remember(digestOf(token));
      return token;
    },
    async signOut(token) {
      const digest = digestOf(token);
      confirmed.delete(digest);
      await database.query((connection) => connection.delete(sessions).where(eq(sessions.tokenHash, digest)));
    },
    async signOutOthers(keepToken) {
      await database.query((connection) =>
        connection.delete(sessions).where(ne(sessions.tokenHash, digestOf(keepToken))),
      );
      confirmed.clear();
    },
    async isSignedIn(token) {
      const digest = digestOf(token);
      const ageMs = clock.nowMs() - (confirmed.get(digest) ?? Number.NEGATIVE_INFINITY);
      if (ageMs < TRUSTED_MS) return true;
      try {
        return await ask(digest);
      } catch (error) {
        // The page is most needed when something is broken.
        if (error instanceof DatabaseAway && ageMs < TRUSTED_WITHOUT_DATABASE_MS) return true;
        throw error;
      }
    },
  };
}

async function readHash(database: PageDatabase): Promise<string | null> {
  const rows = await database.query((connection) => connection.select({ hash: owner.passwordHash }).from(owner));
  return rows[0]?.hash ?? null;
}

type Connection = Parameters<Parameters<PageDatabase['query']>[0]>[0];

async function useSession(connection: Connection, digest: string): Promise<boolean> {
  const rows = await connection
    .select({ lastUsedAt: sessions.lastUsedAt, isValid: sql<boolean>`${sessions.expiresAt} > now()` })
    .from(sessions)
    .where(eq(sessions.tokenHash, digest));
  const [session] = rows;
  if (session === undefined || !session.isValid) return false;
  if (Date.now() - session.lastUsedAt.getTime() > USE_WRITTEN_MS) {
    await connection
      .update(sessions)
      .set({ lastUsedAt: sql`now()`, expiresAt: sql`now() + make_interval(days => ${SESSION_DAYS})` })
      .where(eq(sessions.tokenHash, digest));
  }
  return true;
}

/** What the database keeps of a token. */
export function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
