/** How database and Redis are reached: the variables that controller and page have in common, and the password. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { absolutePath, type Environment, hostName, redisUrl, wholeNumber } from './environment.ts';
import type { Parsed } from './parse.ts';

export interface PostgresConfig {
  /** Name, address, or the folder of a Unix socket. */
  host: string;
  port: number;
  user: string;
  /** At most one of the two is given; `readPostgresPassword` hands out what they hold. */
  password: string | null;
  passwordFile: string | null;
  database: string;
}

/** The page's own login at the database, where the controller makes it. */
export const PAGE_USER = 'silvasonic_page';

export const portVariable = { allowed: 'a port, 1 to 65535', schema: wholeNumber(1, 65535) };
export const pathVariable = { allowed: 'an absolute path without "..", "//" or a colon', schema: absolutePath() };
export const logLevelVariable = {
  allowed: 'debug, info, warn or error',
  schema: z
    .string()
    .toLowerCase()
    .pipe(z.enum(['debug', 'info', 'warn', 'error'])),
  fallback: 'info',
};
const databaseName = {
  allowed: '1 to 63 letters, digits, _ or -',
  schema: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/),
};
const PASSWORD = z.string().regex(/^[^\p{Cc}]{1,1000}$/u);

export const connectionVariables = {
  POSTGRES_HOST: { allowed: "a host's name, an IP address or a folder", schema: hostName, fallback: 'database' },
  POSTGRES_PORT: { ...portVariable, fallback: '5432' },
  POSTGRES_USER: { ...databaseName, fallback: 'silvasonic' },
  POSTGRES_PASSWORD: { allowed: 'one line of up to 1000 characters', schema: PASSWORD, fallback: null, secret: true },
  POSTGRES_PASSWORD_FILE: { ...pathVariable, fallback: null },
  POSTGRES_DB: { ...databaseName, fallback: 'silvasonic' },
  SILVASONIC_REDIS_URL: {
    allowed: 'redis://host:port or rediss://host:port, or empty for no Redis',
    schema: redisUrl,
    fallback: 'redis://redis:6379',
    // An address may hold a password.
    secret: true,
    empty: 'none',
  },
  SILVASONIC_REDIS_PASSWORD_FILE: { ...pathVariable, fallback: null },
} as const;

/** What of these variables does not go together; one line each. */
export function connectionConflicts(environment: Environment): string[] {
  const problems: string[] = [];
  if (environment.POSTGRES_PASSWORD && environment.POSTGRES_PASSWORD_FILE)
    problems.push('POSTGRES_PASSWORD_FILE: was given beside POSTGRES_PASSWORD; allowed: one of the two.');
  const redis = environment.SILVASONIC_REDIS_URL ?? '';
  if (environment.SILVASONIC_REDIS_PASSWORD_FILE && URL.canParse(redis) && new URL(redis).password !== '')
    problems.push(
      'SILVASONIC_REDIS_PASSWORD_FILE: was given beside a password in SILVASONIC_REDIS_URL; allowed: one of the two.',
    );
  return problems;
}

/** The password, from wherever it was given; null: none was. A line break at the file's end is not part of it. */
export async function readPostgresPassword(postgres: PostgresConfig): Promise<Parsed<string | null>> {
  if (postgres.passwordFile === null) return { ok: true, value: postgres.password };
  return await readPasswordFile('POSTGRES_PASSWORD_FILE', postgres.passwordFile);
}

/** A password from a file; `variable` is who named that file. A line break at its end is not part of the password. */
export async function readPasswordFile(variable: string, file: string): Promise<Parsed<string>> {
  try {
    const text = await readFile(file, { encoding: 'utf8', signal: AbortSignal.timeout(5000) });
    const password = text.replace(/\r?\n$/, '');
    if (PASSWORD.safeParse(password).success) return { ok: true, value: password };
    return { ok: false, message: `${variable}: ${file} does not hold exactly one line.` };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ok: false, message: `${variable}: ${file} cannot be read (${why}).` };
  }
}

export interface RedisConfig {
  /** null: there is no Redis, and none is missed. */
  url: string | null;
  /** null: the password is in the address, or there is none. */
  passwordFile: string | null;
}

/** The address with the password that the file holds; null: there is no Redis. */
export async function readRedisUrl({ url, passwordFile }: RedisConfig): Promise<Parsed<string | null>> {
  if (url === null || passwordFile === null) return { ok: true, value: url };
  const password = await readPasswordFile('SILVASONIC_REDIS_PASSWORD_FILE', passwordFile);
  if (!password.ok) return password;
  const address = new URL(url);
  address.password = encodeURIComponent(password.value);
  return { ok: true, value: address.href };
}
