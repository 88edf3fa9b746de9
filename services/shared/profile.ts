/**
 * Microphone profiles: what a microphone is recognised by and how it is recorded. Here are their types and their one
 * parser (YAML seeds, the database's jsonb, the page's form); `negotiate` settles profile, hardware and a person's wishes.
 */
import { createHash } from 'node:crypto';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { SAMPLE_FORMATS, type SampleFormat } from './contract.ts';

/** The profile for any microphone that no other profile knows; it matches nothing by itself. */
export const GENERIC_PROFILE_SLUG = 'generic';
/** The profile of virtual microphones, which bear the ids below. */
export const VIRTUAL_PROFILE_SLUG = 'virtual';
export const VIRTUAL_VENDOR_ID = '0000';
export const VIRTUAL_PRODUCT_ID = '0001';

/** A profile file beyond this is not one. Bytes. */
export const PROFILE_FILE_MAX_BYTES = 64 * 1024;

interface Bounds {
  min: number;
  max: number;
  unit: string;
}

// Each limit is written once: it is the rule, and the sentence that a person reads when the rule is broken.
function wholeNumber({ min, max, unit }: Bounds, allowed = wholeNumberAllowed({ min, max, unit })) {
  return z.int(allowed).min(min, allowed).max(max, allowed);
}

function wholeNumberAllowed({ min, max, unit }: Bounds): string {
  return `a whole number of ${unit} from ${min} to ${max}`;
}

function decimal(min: number, max: number, unit: string) {
  const allowed = `a number of ${unit} from ${min} to ${max}`;
  return z.number(allowed).min(min, allowed).max(max, allowed);
}

function text(max: number) {
  const allowed = `text of 1 to ${max} printable characters`;
  return z.string(allowed).trim().min(1, allowed).max(max, allowed).refine(isPrintable, allowed);
}

/** PostgreSQL takes no NUL, and terminals obey escape characters. */
function isPrintable(value: string): boolean {
  return !/[\p{Cc}\p{Cs}]/u.test(value.replace(/[\n\t]/g, ' '));
}

function section<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? `a group of ${Object.keys(shape).join(', ')}` : undefined),
  });
}

const HEX4_ALLOWED = 'four hexadecimal digits in lower case and in quotes, as `lsusb` prints them, for example "16d0"';
const hex4 = z.string(HEX4_ALLOWED).regex(/^[0-9a-f]{4}$/, HEX4_ALLOWED);
const FORMAT_ALLOWED = `one of ${SAMPLE_FORMATS.join(', ')}`;
const format = z.enum(SAMPLE_FORMATS, FORMAT_ALLOWED);
const RATE: Bounds = { min: 4000, max: 1_000_000, unit: 'frames per second' };
const CHANNELS: Bounds = { min: 1, max: 32, unit: 'channels' };
const rate = wholeNumber(RATE);
const channels = wholeNumber(CHANNELS);
const segmentSeconds = wholeNumber({ min: 1, max: 900, unit: 'seconds' });
const gainDb = decimal(-60, 60, 'dB');
const highPassHz = decimal(0, 200_000, 'Hz');
const archive = z.enum(['wav', 'flac'], 'wav or flac');

/** Of a union zod tells the sentence of the branch that came nearest, or its own: both must name all that is allowed. */
function orNative<Schema extends z.ZodType>(schemaSaying: (allowed: string) => Schema, allowed: string) {
  const sentence = `native, or ${allowed}`;
  return z.union([z.literal('native'), schemaSaying(sentence)], sentence);
}

const matchSchema = section({
  vid: hex4.nullable().default(null),
  pid: hex4.nullable().default(null),
  /** Part of the product's name, compared without regard to case; `*` stands for anything. */
  name: text(100).nullable().default(null),
  /** The higher wins among equal matches. */
  priority: wholeNumber({ min: -100, max: 100, unit: 'steps' }).default(0),
}).superRefine((match, context) => {
  // A vendor alone would claim everything that it makes.
  const lacksVendor = match.pid !== null && match.vid === null;
  const vendorAlone = match.vid !== null && match.pid === null && match.name === null;
  if (!lacksVendor && !vendorAlone) return;
  context.addIssue({
    code: 'custom',
    message: 'vid together with pid, or vid with a name, or a name, or none of them',
  });
});

export const profileConfigSchema = section({
  match: matchSchema,
  audio: section({
    /** `native`: what the hardware offers, the nearest rate at or above 48 kHz. */
    rate: orNative((allowed) => wholeNumber(RATE, allowed), wholeNumberAllowed(RATE)),
    channels: orNative((allowed) => wholeNumber(CHANNELS, allowed), wholeNumberAllowed(CHANNELS)),
    format: orNative((allowed) => z.enum(SAMPLE_FORMATS, allowed), FORMAT_ALLOWED),
  }),
  segmentSeconds: segmentSeconds.default(60),
  processed: section({ gainDb: gainDb.default(0), highPassHz: highPassHz.default(0) }).default({
    gainDb: 0,
    highPassHz: 0,
  }),
  archive: archive.default('wav'),
  watch: section({
    silentBelowDbfs: decimal(-200, 0, 'dBFS').default(-90),
    silentAfterSeconds: decimal(1, 3600, 'seconds').default(5),
    clipAtDbfs: decimal(-60, 0, 'dBFS').default(-0.1),
  }).default({ silentBelowDbfs: -90, silentAfterSeconds: 5, clipAtDbfs: -0.1 }),
});
export type ProfileConfig = z.infer<typeof profileConfigSchema>;

/** What a person may override on one device; null or absent = as the profile says. */
export const deviceSettingsSchema = section({
  rate: rate.nullish(),
  channels: channels.nullish(),
  format: format.nullish(),
  segmentSeconds: segmentSeconds.nullish(),
  gainDb: gainDb.nullish(),
  highPassHz: highPassHz.nullish(),
  archive: archive.nullish(),
});
export type DeviceSettings = z.infer<typeof deviceSettingsSchema>;

/** One way in which the hardware offers to capture (one altsetting of ALSA's `stream0`). Rates in frames per second. */
export interface CaptureOffer {
  /** ALSA's own name, perhaps one that we cannot write. */
  format: string;
  channels: number;
  rates: { kind: 'list'; values: number[] } | { kind: 'range'; min: number; max: number };
}

/** What a device can capture. Empty: nothing is known, so the profile is taken at its word. */
export interface Capabilities {
  offers: CaptureOffer[];
}

/** What is recorded in the end. */
export interface NegotiatedAudio {
  rate: number;
  channels: number;
  format: SampleFormat;
}

/** A whole profile, as a file in `profiles/microphones` holds it. */
export interface SeedProfile {
  slug: string;
  name: string;
  description: string;
  manufacturer: string;
  model: string;
  config: ProfileConfig;
}

/** One field that was refused: where it is (`audio.rate`; empty for the whole), and a sentence. */
export interface FieldProblem {
  path: string;
  message: string;
}

/** A parsed value, or a sentence for a person; `fields` has one entry for each field that was refused. */
export type ParsedFields<T> = { ok: true; value: T } | { ok: false; message: string; fields: FieldProblem[] };

const SLUG_ALLOWED = '1 to 60 characters of a-z, 0-9 and -';
const profileFileSchema = profileConfigSchema.extend({
  slug: z.string(SLUG_ALLOWED).regex(/^[a-z0-9-]{1,60}$/, SLUG_ALLOWED),
  name: text(100),
  description: text(1000),
  manufacturer: text(100),
  model: text(100),
});

/** Parses a profile's config from anywhere outside: jsonb, a form. Never throws. */
export function parseProfileConfig(input: unknown): ParsedFields<ProfileConfig> {
  return parseWith(profileConfigSchema, input, 'The profile');
}

/** Parses a person's overrides of one device. Never throws. */
export function parseDeviceSettings(input: unknown): ParsedFields<DeviceSettings> {
  return parseWith(deviceSettingsSchema, input, 'The settings');
}

/**
 * Parses a profile file: YAML 1.2 in UTF-8, at most `PROFILE_FILE_MAX_BYTES`, no key twice, no aliases. Never throws;
 * what is wrong is said in one sentence that begins with `fileName`.
 */
export function parseProfileYaml(input: string | Uint8Array, fileName: string): ParsedFields<SeedProfile> {
  const tree = readYaml(input);
  if (!tree.ok) return { ok: false, message: `${fileName}: ${tree.message}`, fields: [] };
  const parsed = parseWith(profileFileSchema, tree.value, 'the profile');
  if (!parsed.ok) return { ...parsed, message: `${fileName}: ${parsed.message}` };
  const { slug, name, description, manufacturer, model, ...config } = parsed.value;
  return { ok: true, value: { slug, name, description, manufacturer, model, config } };
}

/** SHA-256 (hexadecimal) of a config in canonical form: equal configs have equal hashes, in whatever order their keys stand. */
export function seedHash(config: ProfileConfig): string {
  return createHash('sha256').update(canonicalJson(config)).digest('hex');
}

/** How well a microphone is known. `named`: by its name alone, which others may bear. `ambiguous`: equally good matches. */
export type ProfileMatch =
  | { kind: 'exact'; slug: string }
  | { kind: 'named'; slug: string }
  | { kind: 'ambiguous'; slugs: string[] }
  | { kind: 'none' };

/**
 * Finds the profile of a microphone. Vendor and product id beat a name alone; with a name beside the ids beats without;
 * then the priority decides. What is still equal is ambiguous (slugs sorted).
 */
export function matchProfile(
  microphone: { vendorId: string; productId: string; product: string },
  profiles: readonly { slug: string; config: ProfileConfig }[],
): ProfileMatch {
  let best: { rank: number; priority: number; slugs: string[] } = { rank: 0, priority: 0, slugs: [] };
  for (const { slug, config } of profiles) {
    const rank = matchRank(microphone, config.match);
    const { priority } = config.match;
    if (rank === 0) continue;
    if (rank > best.rank || (rank === best.rank && priority > best.priority)) best = { rank, priority, slugs: [slug] };
    else if (rank === best.rank && priority === best.priority) best.slugs.push(slug);
  }
  const [slug, ...others] = best.slugs;
  if (slug === undefined) return { kind: 'none' };
  if (others.length > 0) return { kind: 'ambiguous', slugs: best.slugs.sort() };
  return { kind: best.rank >= RANK.ids ? 'exact' : 'named', slug };
}

const RANK = { none: 0, name: 1, vendorAndName: 2, ids: 3, idsAndName: 4 } as const;

function matchRank(
  microphone: { vendorId: string; productId: string; product: string },
  { vid, pid, name }: ProfileConfig['match'],
): number {
  if (vid !== null && vid !== microphone.vendorId) return RANK.none;
  if (pid !== null && pid !== microphone.productId) return RANK.none;
  if (name !== null && !nameMatches(microphone.product, name)) return RANK.none;
  if (vid !== null && pid !== null) return name === null ? RANK.ids : RANK.idsAndName;
  if (name === null) return RANK.none;
  return vid === null ? RANK.name : RANK.vendorAndName;
}

/** The pattern's pieces between `*`, one after the other in the name. Not a RegExp: that can be made to take for ever. */
function nameMatches(product: string, pattern: string): boolean {
  const name = product.toLowerCase();
  let from = 0;
  for (const piece of pattern.toLowerCase().split('*')) {
    const at = name.indexOf(piece, from);
    if (at < 0) return false;
    from = at + piece.length;
  }
  return true;
}

function readYaml(input: string | Uint8Array): { ok: true; value: unknown } | { ok: false; message: string } {
  const byteLength = typeof input === 'string' ? Buffer.byteLength(input) : input.length;
  if (byteLength > PROFILE_FILE_MAX_BYTES) {
    return { ok: false, message: `has ${byteLength} bytes, at most ${PROFILE_FILE_MAX_BYTES} are allowed.` };
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
    // No aliases at all: no profile needs one, and a few lines of them can unfold to gigabytes.
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

function parseWith<T>(schema: z.ZodType<T>, input: unknown, whole: string): ParsedFields<T> {
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

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(Reflect.get(value, key))}`).join(',')}}`;
}
