/**
 * Reading environment variables: a table of variables goes in, values or one line per wrong variable come out. Nothing
 * here knows which variables there are, and nothing here touches `process.env`.
 */
import { isIP } from 'node:net';
import { z } from 'zod';

/** One environment variable. */
export interface Variable<T> {
  /** Ends the sentence "allowed: …". */
  allowed: string;
  /** The text taken when the variable is absent; null: the value is null then. */
  fallback: string | null;
  /** What the text becomes. It gets the text without surrounding blanks, except that of a secret. */
  schema: z.ZodType<T, string>;
  /** Its text is never shown. */
  secret?: boolean;
  /** What an empty text means: as if absent (compose files pass unset variables as empty), or explicitly nothing. */
  empty?: 'absent' | 'none';
}

export type Variables = Record<string, Variable<unknown>>;

/** The values of a table of variables, under the same names. */
export type Values<V extends Variables> = {
  [Name in keyof V]: V[Name] extends Variable<infer T>
    ? V[Name] extends { fallback: null } | { empty: 'none' }
      ? T | null
      : T
    : never;
};

export type Environment = Readonly<Record<string, string | undefined>>;

export type Outcome<T> = { ok: true; value: T } | { ok: false; problems: string[] };

/** Reads every variable of the table; all that are wrong are told at once, one line each. */
export function readVariables<V extends Variables>(environment: Environment, variables: V): Outcome<Values<V>> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, variable] of Object.entries(variables)) {
    const text = textOf(environment[name], variable);
    if (text === null) {
      values[name] = null;
      continue;
    }
    const parsed = variable.schema.safeParse(text);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(problemLine(name, variable, text));
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: values as Values<V> };
}

function textOf(given: string | undefined, variable: Variable<unknown>): string | null {
  if (given === undefined) return variable.fallback;
  const text = variable.secret === true ? given : given.trim();
  if (text !== '') return text;
  return variable.empty === 'none' ? null : variable.fallback;
}

function problemLine(name: string, variable: Variable<unknown>, text: string): string {
  const given = variable.secret === true ? 'a value that is not shown here' : quote(text);
  const fallback = variable.fallback === null ? '' : ` (default ${variable.fallback})`;
  return `${name}: ${given} was given; allowed: ${variable.allowed}${fallback}.`;
}

/** Quoted, with control characters escaped, and cut: what somebody typed must not be able to forge lines of a log. */
function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

/** A whole number written in plain digits, between both bounds. */
export function wholeNumber(min: number, max: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max));
}

/** A number written in plain digits with an optional decimal point, between both bounds. */
export function decimalNumber(min: number, max: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^\d{1,12}(\.\d{1,6})?$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max));
}

/** Seconds, with decimals; the value is in whole milliseconds. */
export function seconds(min: number, max: number): z.ZodType<number, string> {
  return decimalNumber(min, max).transform((value) => Math.round(value * 1000));
}

const UNIT_BYTES: Record<string, number> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** Bytes: plain, or with k, m or g (powers of 1024), between both bounds, which are bytes. */
export function byteSize(minBytes: number, maxBytes: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^\d{1,15}[kmg]?$/i)
    .transform((text) => {
      const unit = text.replace(/^\d+/, '').toLowerCase();
      return Number.parseInt(text, 10) * (UNIT_BYTES[unit] ?? Number.NaN);
    })
    .pipe(z.number().min(minBytes).max(maxBytes));
}

/**
 * An absolute path below the root, in its shortest form; one slash at the end is dropped. No colon: engines write a
 * bind as `source:target`, so a colon would move the border.
 */
export function absolutePath(maxBytes = 1024): z.ZodType<string, string> {
  return z
    .string()
    .transform((text) => text.replace(/\/$/, ''))
    .pipe(z.string().refine((text) => isPlainPath(text) && Buffer.byteLength(text) <= maxBytes));
}

function isPlainPath(text: string): boolean {
  if (!text.startsWith('/') || /[\p{Cc}:\\]/u.test(text)) return false;
  const parts = text.slice(1).split('/');
  return parts.every((part) => part !== '' && part !== '.' && part !== '..');
}

/** A Unix socket's path. Linux takes 107 bytes and a zero (unix(7), `sun_path`). */
export const socketPath = absolutePath(107);

/** A name that DNS or a container network resolves, an IP address, or the folder of a Unix socket. */
export const hostName: z.ZodType<string, string> = z
  .string()
  .max(253)
  .refine(
    (text) => isIP(text) > 0 || /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?$/i.test(text) || socketPath.safeParse(text).success,
  );

/** An address to listen on. A number, not a name: what a name stands for can change. */
export const ipAddress: z.ZodType<string, string> = z.string().refine((text) => isIP(text) > 0);

/**
 * An image that nothing needs to guess about: registry, path, tag. Without a registry the engine would complete the name
 * with one of its own choice, so a typo would fetch a stranger's image.
 */
export const qualifiedImage: z.ZodType<string, string> = z
  .string()
  .max(400)
  .regex(
    /^(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z0-9.-]+:\d{1,5}|localhost:\d{1,5})(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/,
  );

/** `redis://` or `rediss://` with a host. */
export const redisUrl: z.ZodType<string, string> = z.string().refine((text) => {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === 'redis:' || url.protocol === 'rediss:') && url.hostname !== '';
});

/** The address without user, password and options, for logs and support. */
export function withoutCredentials(address: string): string {
  if (!URL.canParse(address)) return '(not an address)';
  const url = new URL(address);
  const user = url.username === '' && url.password === '' ? '' : '***@';
  return `${url.protocol}//${user}${url.host}${url.pathname}${url.search === '' ? '' : '?***'}`;
}
