/**
 * Makes the appliance's passwords, once: each in a folder of its own, so that every service is given only those that it
 * needs. What is there stays as it is. Each file is complete from the moment at which it can be seen.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../shared/durable-file.ts';

/** Whoever reads a password is root in its container, or is handed it by root. */
const MODE = 0o600;
/** 192 bits; the letters need no quoting anywhere. */
const newPassword = (): string => randomBytes(24).toString('base64url');

/**
 * `owner/password` (the controller's at the database), `page/password` (the page's), `redis/password`, and the same for
 * Redis itself as `redis/redis.conf`. Answers with the files that were made.
 * @throws what the file system says
 */
export async function makeSecrets(folder: string): Promise<string[]> {
  const made: string[] = [];
  const make = async (file: string, content: string): Promise<void> => {
    if (existsSync(join(folder, file))) return;
    await writeDurably(join(folder, file), content, MODE);
    made.push(file);
  };
  await make('owner/password', `${newPassword()}\n`);
  await make('page/password', `${newPassword()}\n`);
  await make('redis/password', `${newPassword()}\n`);
  const redis = await readFile(join(folder, 'redis/password'), 'utf8');
  await make('redis/redis.conf', `requirepass ${redis.trim()}\n`);
  return made;
}
