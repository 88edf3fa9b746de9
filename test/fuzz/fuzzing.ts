/**
 * What the fuzz tests share: real samples, and arbitraries that damage them the way that cables, disks, other programs
 * and people do. `FUZZ_RUNS=n` says how many inputs each property gets; without it, few enough for every check.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'vitest';

export const RUNS: number = Number(process.env.FUZZ_RUNS ?? 60);
/** More inputs may take more time. Milliseconds. */
const TIMEOUT_MS = 20_000 + 100 * RUNS;

/**
 * One property under its sentence. A failure names seed and path, by which fast-check replays it. Where one input takes
 * long, `everyNth` gives it fewer of them.
 */
export function fuzz<T>(
  sentence: string,
  inputs: fc.Arbitrary<T>,
  property: (input: T) => void | Promise<void>,
  everyNth = 1,
): void {
  const settings = { numRuns: Math.ceil(RUNS / everyNth), endOnFailure: RUNS > 1000 };
  test(
    sentence,
    () =>
      fc.assert(
        fc.asyncProperty(inputs, async (input) => await property(input)),
        settings,
      ),
    TIMEOUT_MS,
  );
}

const CORPUS = join(import.meta.dirname, 'corpus');

/** All files of the corpus whose name begins so; at least one. */
export function corpus(prefix: string): string[] {
  const names = readdirSync(CORPUS).filter((name) => name.startsWith(prefix));
  if (names.length === 0) throw new Error(`The corpus has nothing that begins with ${prefix}.`);
  return names.sort().map((name) => readFileSync(join(CORPUS, name), 'utf8'));
}

/** A file of hexadecimal digits, comments behind `#`. */
export function hexBytes(text: string): Uint8Array {
  const digits = text.replace(/#.*$/gm, '').replace(/\s/g, '');
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** Pieces of text that parsers stumble over. */
const PIECES = [
  ...[
    '',
    ' ',
    '\t',
    '\n',
    '\r\n',
    '\n\n\n',
    ':',
    ': ',
    ',',
    '#',
    '-',
    '- ',
    '/',
    '..',
    '../',
    '\\',
    '"',
    "'",
    '{',
    '}',
  ],
  ...[
    '[',
    ']',
    '&a',
    '*a',
    '!!str',
    '|',
    '>',
    '---\n',
    '%',
    '\0',
    '\u001b[31m',
    '\ufeff',
    '\u2028',
    '\ud83c',
    'é',
    '🎤',
  ],
  ...['0', '-1', '00', '1e999', '9999999999999999999', '0x10', '.5', '-0', 'NaN', 'Infinity', 'null', 'true', '1.2.3'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'undefined', '[object Object]'],
  ...['[[[[[[[[', '{"a":', 'a'.repeat(300), ' '.repeat(300), '\n'.repeat(300), '9'.repeat(400), 'a.'.repeat(200)],
];

interface Edit {
  kind: 'insert' | 'remove' | 'replace' | 'repeat' | 'swap' | 'cut';
  /** Parts of the whole, 0 to 1. */
  at: number;
  to: number;
  piece: string;
  times: number;
}

const part = fc.double({ min: 0, max: 1, noNaN: true });
const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom('insert', 'remove', 'replace', 'repeat', 'swap', 'cut'),
  at: part,
  to: part,
  piece: fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 8 })),
  times: fc.integer({ min: 2, max: 40 }),
});

/** One of the samples, damaged in a few places; sometimes nothing but noise. */
export function damagedText(samples: readonly string[], longest = 64 * 1024): fc.Arbitrary<string> {
  const damaged = fc
    .record({ sample: fc.constantFrom(...samples), edits: fc.array(edit, { maxLength: 6 }) })
    .map(({ sample, edits }) => edits.reduce(applyEdit, sample).slice(0, longest));
  const noise = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((pieces) => pieces.join(''));
  return fc.oneof({ weight: 6, arbitrary: damaged }, { weight: 1, arbitrary: noise }, fc.string({ unit: 'binary' }));
}

function applyEdit(text: string, { kind, at, to, piece, times }: Edit): string {
  const [from, end] = [Math.min(at, to), Math.max(at, to)].map((one) => Math.floor(one * text.length)) as [
    number,
    number,
  ];
  // Small holes are more like life than large ones.
  const near = Math.min(end, from + 1 + (times % 12));
  const middle = text.slice(from, near);
  switch (kind) {
    case 'insert':
      return text.slice(0, from) + piece + text.slice(from);
    case 'remove':
      return text.slice(0, from) + text.slice(near);
    case 'replace':
      return text.slice(0, from) + piece + text.slice(near);
    case 'repeat':
      return text.slice(0, from) + text.slice(from, end).repeat(times).slice(0, 20_000) + text.slice(end);
    case 'swap':
      return text.slice(0, from) + text.slice(near, near + middle.length) + middle + text.slice(near + middle.length);
    case 'cut':
      return text.slice(0, end);
    default:
      throw new Error(`Unknown edit: ${kind satisfies never}`);
  }
}

interface ByteEdit {
  kind: 'set' | 'flip' | 'insert' | 'remove' | 'repeat' | 'cut';
  at: number;
  value: number;
  length: number;
}

const byteEdit: fc.Arbitrary<ByteEdit> = fc.record({
  kind: fc.constantFrom('set', 'set', 'flip', 'insert', 'remove', 'repeat', 'cut'),
  at: part,
  value: fc.oneof(fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xfe, 0xff), fc.integer({ min: 0, max: 255 })),
  length: fc.integer({ min: 1, max: 64 }),
});

/** One of the samples with wrong, missing and additional bytes; sometimes nothing but noise. */
export function damagedBytes(samples: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  const damaged = fc
    .record({ sample: fc.constantFrom(...samples), edits: fc.array(byteEdit, { maxLength: 8 }) })
    .map(({ sample, edits }) => edits.reduce(applyByteEdit, Buffer.from(sample)));
  const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  return fc.oneof({ weight: 8, arbitrary: damaged }, { weight: 1, arbitrary: noise });
}

function applyByteEdit(bytes: Buffer, { kind, at, value, length }: ByteEdit): Buffer {
  const from = Math.min(bytes.length, Math.floor(at * bytes.length));
  const changed = Buffer.from(bytes);
  switch (kind) {
    case 'set':
      if (from < changed.length) changed[from] = value;
      return changed;
    case 'flip':
      if (from < changed.length) changed[from] = (changed[from] ?? 0) ^ (1 << (value & 7));
      return changed;
    case 'insert':
      return Buffer.concat([bytes.subarray(0, from), Buffer.alloc(length, value), bytes.subarray(from)]);
    case 'remove':
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
    case 'repeat':
      return Buffer.concat([bytes, bytes.subarray(from, from + length), bytes.subarray(from)]);
    case 'cut':
      return changed.subarray(0, from);
    default:
      throw new Error(`Unknown edit: ${kind satisfies never}`);
  }
}

const deep = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);

/** Values that no field expects; as JSON can hold them, so that `__proto__` is a key like any other. */
const STRANGE: readonly unknown[] = [
  ...[null, true, false, 0, -1, -0, 0.5, 1e308, -1e308, 2 ** 53, Number.POSITIVE_INFINITY],
  ...['', ' ', '0', 'x'.repeat(5000), '\0', '\ud83c', '\u001b[31m', '../..'],
];
/** Made anew each time: what is put into a document may itself be damaged. */
const STRANGE_GROUPS: readonly (() => unknown)[] = [
  ...[
    '[]',
    '{}',
    '[[]]',
    '[null]',
    '{"__proto__":{"polluted":true}}',
    '{"constructor":{"prototype":{"polluted":true}}}',
  ].map((text) => () => JSON.parse(text)),
  () => deep(50),
  () => deep(3000),
  () => Array.from({ length: 2000 }, () => 'x'),
  () => Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`key ${index}`, index])),
];
const strange: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(...STRANGE),
  fc.constantFrom(...STRANGE_GROUPS).map((make) => make()),
);
const KEYS = ['__proto__', 'constructor', 'toString', 'extra', '', 'x'.repeat(3000), '\u001b[31m'];

/** Whether it has an end that recursion reaches. */
export function isShallow(value: unknown, levels = 60): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((one) => isShallow(one, levels - 1));
}

interface JsonEdit {
  /** Which of the places in the document, 0 to 1. */
  at: number;
  kind: 'replace' | 'remove' | 'add';
  value: unknown;
  key: string;
}

const jsonEdit: fc.Arbitrary<JsonEdit> = fc.record({
  at: part,
  kind: fc.constantFrom('replace', 'replace', 'remove', 'add'),
  value: fc.oneof(strange, fc.jsonValue({ maxDepth: 2 })),
  key: fc.oneof(fc.constantFrom(...KEYS), fc.string({ maxLength: 5 })),
});

/** One of the documents with a few fields that are wrong, missing or too many. */
export function damagedJson(samples: readonly unknown[]): fc.Arbitrary<unknown> {
  const damaged = fc
    .record({ sample: fc.constantFrom(...samples), edits: fc.array(jsonEdit, { maxLength: 4 }) })
    .map(({ sample, edits }) => edits.reduce(applyJsonEdit, structuredClone(sample)));
  return fc.oneof({ weight: 8, arbitrary: damaged }, strange, fc.jsonValue());
}

function applyJsonEdit(document: unknown, { at, kind, value, key }: JsonEdit): unknown {
  const places = placesIn(document, 0);
  const place = places[Math.min(places.length - 1, Math.floor(at * places.length))];
  if (place === undefined) return kind === 'replace' ? value : document;
  const { holder, name } = place;
  switch (kind) {
    case 'replace':
      setOwn(holder, name, value);
      return document;
    case 'remove':
      Reflect.deleteProperty(holder, name);
      return document;
    case 'add':
      setOwn(holder, key, value);
      return document;
    default:
      throw new Error(`Unknown edit: ${kind satisfies never}`);
  }
}

/** As `JSON.parse` does it: never through a setter. */
function setOwn(holder: object, name: string, value: unknown): void {
  if (Array.isArray(holder)) holder.push(value);
  else Object.defineProperty(holder, name, { value, enumerable: true, writable: true, configurable: true });
}

function placesIn(value: unknown, depth: number): { holder: object; name: string }[] {
  if (typeof value !== 'object' || value === null || depth > 6) return [];
  return Object.keys(value)
    .slice(0, 60)
    .flatMap((name) => [{ holder: value, name }, ...placesIn(Reflect.get(value, name), depth + 1)]);
}

/** True as long as nobody got at what all objects share. */
export function isUnpolluted(): boolean {
  return !('polluted' in {}) && Object.keys(Object.prototype).length === 0;
}

/** Longer than any sentence that a person is to read. Characters. */
export const LONGEST_SENTENCE = 8000;

/** Whether somebody can read it: not empty, not endless, and it forges no terminal. */
export function isSentence(text: string): boolean {
  return text.length > 0 && text.length <= LONGEST_SENTENCE && !text.includes('\0') && !text.includes('\u001b');
}
