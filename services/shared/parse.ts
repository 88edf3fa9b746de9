/**
 * How documents from outside are parsed (YAML files, jsonb, forms): each limit is written once, as the rule and as the
 * sentence that a person reads when it is broken: the field, what was given, what is allowed.
 */
import { type CST, LineCounter, Parser, parseDocument } from 'yaml';
import { z } from 'zod';

/** A document beyond this is not one of ours. Bytes. */
export const DOCUMENT_MAX_BYTES = 64 * 1024;
/** Groups within groups: no document of ours has more than six. */
const MAX_NESTING = 32;
/** Of a sentence that names what was given. */
const MOST_KEYS_NAMED = 10;
const LONGEST_PATH = 120;

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
    // It composes by recursion, and with the last of the stack V8 may end the whole process instead of throwing.
    if (isNestedTooDeep(source)) return { ok: false, message: `is nested more than ${MAX_NESTING} levels deep.` };
    // Of thousands of mistakes one is told: the library's own pretty words for each of them would take seconds.
    const lineCounter = new LineCounter();
    const options = { uniqueKeys: true, strict: true, logLevel: 'error', prettyErrors: false, lineCounter } as const;
    const document = parseDocument(source, options);
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) {
      const { line, col } = lineCounter.linePos(problem.pos[0]);
      return {
        ok: false,
        message: `is not valid YAML: ${firstLine(problem.message)} at line ${line}, column ${col}.`,
      };
    }
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

/** Looks at the tokens alone, without recursion. */
function isNestedTooDeep(source: string): boolean {
  const open: { token: CST.Token; depth: number }[] = [];
  for (const token of new Parser().parse(source)) open.push({ token, depth: 0 });
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (depth > MAX_NESTING) return true;
    const inner = token.type === 'document' ? [token.value] : [];
    if ('items' in token) for (const { key, value } of token.items) inner.push(key ?? undefined, value);
    for (const one of inner) if (one !== undefined) open.push({ token: one, depth: depth + 1 });
  }
  return false;
}

/** Parses what came from outside; `whole` names it in sentences about all of it. Never throws. */
export function parseWith<T>(schema: z.ZodType<T>, input: unknown, whole: string): ParsedFields<T> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return { ok: true, value: parsed.data };
  const fields = parsed.error.issues.slice(0, 20).map((issue) => describeIssue(issue, input, whole));
  return { ok: false, message: fields.map((field) => field.message).join(' '), fields };
}

function describeIssue(issue: z.core.$ZodIssue, input: unknown, whole: string): FieldProblem {
  const path = cut(issue.path.map(String).join('.'), LONGEST_PATH);
  const where = path === '' ? whole : path;
  if (issue.code === 'unrecognized_keys') {
    const named = issue.keys.slice(0, MOST_KEYS_NAMED).map((key) => shown(key));
    const more = issue.keys.length - named.length;
    const keys = [...named, ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
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
  return cut(written, 60);
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function firstLine(message: string): string {
  // It may quote the document, which may hold anything.
  const line = (message.split('\n')[0] ?? '').replace(/:$/, '.').replace(/\p{Cc}/gu, ' ');
  return cut(line, 200);
}
