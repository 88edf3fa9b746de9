/**
 * How documents from outside are parsed (YAML files, jsonb, forms): each limit is written once, as the rule and as the
 * sentence that a person reads when it is broken: the field, what was given, what is allowed.
 */
import { parseDocument } from 'yaml';
import { z } from 'zod';

/** A document beyond this is not one of ours. Bytes. */
export const DOCUMENT_MAX_BYTES = 64 * 1024;

/** One field that was refused: where it is (`audio.rate`; empty for the whole), and a sentence. */
export interface FieldProblem {
  path: string;
  message: string;
}

/** Something outside that came parsed, or a sentence for a person that says what was given and what is allowed. */
export type Parsed<T> = { ok: true; value: T } | { ok: false; message: string };

/** A parsed value, or a sentence for a person; `fields` has one entry for each field that was refused. */
export type ParsedFields<T> = { ok: true; value: T } | { ok: false; message: string; fields: FieldProblem[] };

export interface Bounds {
  min: number;
  max: number;
  unit: string;
}

export function wholeNumber({ min, max, unit }: Bounds, allowed = wholeNumberAllowed({ min, max, unit })) {
  return z.int(allowed).min(min, allowed).max(max, allowed);
}

export function wholeNumberAllowed({ min, max, unit }: Bounds): string {
  return `a whole number of ${unit} from ${min} to ${max}`;
}

export function decimal(min: number, max: number, unit: string) {
  const allowed = `a number of ${unit} from ${min} to ${max}`;
  return z.number(allowed).min(min, allowed).max(max, allowed);
}

export function text(max: number) {
  const allowed = `text of 1 to ${max} printable characters`;
  return z.string(allowed).trim().min(1, allowed).max(max, allowed).refine(isPrintable, allowed);
}

/** PostgreSQL takes no NUL, and terminals obey escape characters. */
function isPrintable(value: string): boolean {
  return !/[\p{Cc}\p{Cs}]/u.test(value.replace(/[\n\t]/g, ' '));
}

export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? `a group of ${Object.keys(shape).join(', ')}` : undefined),
  });
}

/** YAML 1.2 in UTF-8, at most `DOCUMENT_MAX_BYTES`, no key twice, no aliases. Never throws. */
export function readYaml(input: string | Uint8Array): { ok: true; value: unknown } | { ok: false; message: string } {
  const byteLength = typeof input === 'string' ? Buffer.byteLength(input) : input.length;
  if (byteLength > DOCUMENT_MAX_BYTES) {
    return { ok: false, message: `has ${byteLength} bytes, at most ${DOCUMENT_MAX_BYTES} are allowed.` };
  }
  let source: string;
  try {
    source = typeof input === 'string' ? input : new TextDecoder('utf-8', { fatal: true }).decode(input);
  } catch {
    return { ok: false, message: 'is not UTF-8 text; save it as UTF-8.' };
  }
  try {
    const document = parseDocument(source, { uniqueKeys: true, strict: true, logLevel: 'error' });
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) return { ok: false, message: `is not valid YAML: ${firstLine(problem.message)}` };
    // No aliases at all: no document of ours needs one, and a few lines of them can unfold to gigabytes.
    const value: unknown = document.toJS({ maxAliasCount: 0 });
    return value === null || value === undefined ? { ok: false, message: 'is empty.' } : { ok: true, value };
  } catch (error) {
    // Aliases, and nesting so deep that the parser gives up.
    return {
      ok: false,
      message: `cannot be read as YAML: ${firstLine(error instanceof Error ? error.message : String(error))}`,
    };
  }
}

/** Parses what came from outside; `whole` names it in sentences about all of it. Never throws. */
export function parseWith<T>(schema: z.ZodType<T>, input: unknown, whole: string): ParsedFields<T> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return { ok: true, value: parsed.data };
  const fields = parsed.error.issues.slice(0, 20).map((issue) => describeIssue(issue, input, whole));
  return { ok: false, message: fields.map((field) => field.message).join(' '), fields };
}

function describeIssue(issue: z.core.$ZodIssue, input: unknown, whole: string): FieldProblem {
  const path = issue.path.map(String).join('.');
  const where = path === '' ? whole : path;
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.map((key) => shown(key)).join(', ');
    return { path, message: `${where}: ${keys} is not a field of it; remove it or mend its spelling.` };
  }
  const given = valueAt(input, issue.path);
  const was = given === undefined ? 'nothing was given' : `${shown(given)} was given`;
  return { path, message: `${where}: ${was}; allowed is ${issue.message}.` };
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

/** A value as a person may recognise it: at most 60 characters. */
function shown(value: unknown): string {
  let written: string;
  try {
    written = JSON.stringify(value) ?? String(value);
  } catch {
    written = String(value);
  }
  return written.length > 60 ? `${written.slice(0, 57)}…` : written;
}

function firstLine(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/:$/, '.');
}
