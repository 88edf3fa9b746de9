/** The browsers that are signed in, as their owner may see them. */
import { desc, gt, sql } from 'drizzle-orm';
import { sessions } from '../shared/schema.ts';
import type { PageDatabase } from './database.ts';

export interface SignedInBrowser {
  /** SHA-256 of its cookie, hexadecimal. */
  digest: string;
  createdAt: Date;
  /** To the hour. */
  lastUsedAt: Date;
  userAgent: string;
}

/** The last used first. Throws as `PageDatabase.query` does. */
export async function readBrowsers(database: PageDatabase): Promise<SignedInBrowser[]> {
  return await database.query((connection) =>
    connection
      .select({
        digest: sessions.tokenHash,
        createdAt: sessions.createdAt,
        lastUsedAt: sessions.lastUsedAt,
        userAgent: sessions.userAgent,
      })
      .from(sessions)
      .where(gt(sessions.expiresAt, sql`now()`))
      .orderBy(desc(sessions.lastUsedAt)),
  );
}
