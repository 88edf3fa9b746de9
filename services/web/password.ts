/** The owner's password: kept salted and slow (scrypt, RFC 7914), compared in constant time. */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';

/** Characters. */
export const PASSWORD_LENGTH = { min: 10, max: 200 } as const;

/** 32 MiB and about a tenth of a second: OWASP's advice for scrypt where memory is scarce. */
const COST = { N: 2 ** 15, r: 8, p: 1 } as const;
const KEY_BYTES = 32;
const SALT_BYTES = 16;
const MAX_MEMORY_BYTES = 64 * 1024 * 1024;

/** A sentence about a password that is not taken; null: it is fine. */
export function passwordProblem(password: string): string | null {
  const { length } = [...password];
  if (length >= PASSWORD_LENGTH.min && length <= PASSWORD_LENGTH.max) return null;
  return `The password has ${length} characters; allowed are ${PASSWORD_LENGTH.min} to ${PASSWORD_LENGTH.max}. A few words are easy to remember and hard to guess.`;
}

/** `scrypt$N$r$p$salt$key`, the last two in base64. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(password, salt, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64'), key.toString('base64')].join('$');
}

/** False also for a hash that is not in our form. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  const [kind, N, r, p, salt, key] = hash.split('$');
  if (kind !== 'scrypt' || salt === undefined || key === undefined) return false;
  const expected = Buffer.from(key, 'base64');
  if (expected.length !== KEY_BYTES || Number(N) > COST.N) return false;
  const given = await derive(password, Buffer.from(salt, 'base64'), { N: Number(N), r: Number(r), p: Number(p) });
  return timingSafeEqual(given, expected);
}

function derive(password: string, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  const options: ScryptOptions = { ...cost, maxmem: MAX_MEMORY_BYTES };
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFKC'), salt, KEY_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
