/**
 * Microphone profiles: what a microphone is recognised by and how it is recorded. Here are their types and their one
 * parser (YAML seeds, the database's jsonb, the page's form); `negotiate` settles profile, hardware and a person's wishes.
 */
import { hash } from 'node:crypto';
import { z } from 'zod';
import { SAMPLE_FORMATS, type SampleFormat } from './contract.ts';
import {
  type Bounds,
  decimal,
  type ParsedFields,
  parseWith,
  readYaml,
  section,
  text,
  wholeNumber,
  wholeNumberAllowed,
} from './parse.ts';

/** The profile for any microphone that no other profile knows; it matches nothing by itself. */
export const GENERIC_PROFILE_SLUG = 'generic';
/** The profile of virtual microphones, which bear the ids below. */
export const VIRTUAL_PROFILE_SLUG = 'virtual';
export const VIRTUAL_VENDOR_ID = '0000';
export const VIRTUAL_PRODUCT_ID = '0001';

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

const offered = z.number().min(0);

/** What a device can capture, as ALSA's `stream0` tells it. No offers: nothing is known, so the profile is taken at its word. */
export const capabilitiesSchema = z.object({
  /** One for each altsetting. */
  offers: z.array(
    z.object({
      /** ALSA's own name, perhaps one that we cannot write. */
      format: z.string(),
      channels: offered,
      /** Frames per second. */
      rates: z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('list'), values: z.array(offered) }),
        z.object({ kind: z.literal('range'), min: offered, max: offered }),
      ]),
    }),
  ),
});
export type Capabilities = z.infer<typeof capabilitiesSchema>;
export type CaptureOffer = Capabilities['offers'][number];

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

const SLUG_ALLOWED = '1 to 60 characters of a-z, 0-9 and -';
export const profileSlugSchema = z.string(SLUG_ALLOWED).regex(/^[a-z0-9-]{1,60}$/, SLUG_ALLOWED);
const profileFileSchema = profileConfigSchema.extend({
  slug: profileSlugSchema,
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
 * Parses a profile file: YAML 1.2 in UTF-8, at most `DOCUMENT_MAX_BYTES`, no key twice, no aliases. Never throws;
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

/**
 * SHA-256 (hexadecimal) of what decides how a microphone is captured, equal in whatever order its keys stand. What becomes
 * of a finished file is left out: it interrupts nothing.
 */
export function captureHash(config: ProfileConfig): string {
  const known = captureHashes.get(config);
  if (known !== undefined) return known;
  const { audio, segmentSeconds, watch } = config;
  const digest = hash('sha256', canonicalJson({ audio, segmentSeconds, watch }), 'hex');
  captureHashes.set(config, digest);
  return digest;
}

/** Asked for with every wish of every microphone; a config is never changed in place. */
const captureHashes = new WeakMap<ProfileConfig, string>();

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

/** JSON with sorted keys and without what is undefined: equal data, equal text, in whatever order its keys stand. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const parts: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const part: unknown = Reflect.get(value, key);
    if (part !== undefined) parts.push(`${JSON.stringify(key)}:${canonicalJson(part)}`);
  }
  return `{${parts.join(',')}}`;
}
