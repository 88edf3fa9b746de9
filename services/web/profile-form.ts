/** A profile as a form: text of fields in, the profile out, or what is wrong with which field. Parsed as the controller parses it. */
import { z } from 'zod';
import { parseWith, section, text } from '../shared/parse.ts';
import { parseProfileConfig, profileSlugSchema, type SeedProfile } from '../shared/profile.ts';
import { numberOrText } from './form-text.ts';

/** Fields of `profileConfigSchema`, by their path, in the order of the form; and what is typed there. */
export const CONFIG_FIELDS = {
  'match.vid': 'text',
  'match.pid': 'text',
  'match.name': 'text',
  'match.priority': 'number',
  'audio.rate': 'number',
  'audio.channels': 'number',
  'audio.format': 'text',
  segmentSeconds: 'number',
  archive: 'text',
  'processed.gainDb': 'number',
  'processed.highPassHz': 'number',
  'watch.silentBelowDbfs': 'number',
  'watch.silentAfterSeconds': 'number',
  'watch.clipAtDbfs': 'number',
} as const satisfies Record<string, 'text' | 'number'>;
export type ConfigField = keyof typeof CONFIG_FIELDS;

export const TEXT_FIELDS = ['slug', 'name', 'description', 'manufacturer', 'model'] as const;
export type TextField = (typeof TEXT_FIELDS)[number];
export type ProfileField = TextField | ConfigField;

/** What stands in the fields, and what is wrong with them; what belongs to no field stands under the empty name. */
export interface ProfileForm {
  values: Readonly<Record<ProfileField, string>>;
  problems: ReadonlyMap<string, string>;
}

export type ProfileOutcome = { ok: true; profile: SeedProfile } | { ok: false; form: ProfileForm };

/** A profile's own texts, and its config as it is stored, readable or not. */
export type StoredProfile = Pick<SeedProfile, TextField> & { config: unknown };

const isConfigField = (path: string): path is ConfigField => Object.hasOwn(CONFIG_FIELDS, path);
const configFields = Object.keys(CONFIG_FIELDS).filter(isConfigField);

const optionalText = (max: number) =>
  z.union([z.literal(''), text(max)], `text of at most ${max} printable characters`);
const textsSchema = section({
  slug: profileSlugSchema,
  name: text(100),
  description: optionalText(1000),
  manufacturer: optionalText(100),
  model: optionalText(100),
});

/** The form as the row has it. Of a config that cannot be read: what there is, with what is wrong at each field. */
export function profileForm(stored: StoredProfile): ProfileForm {
  const values = Object.fromEntries([
    ...TEXT_FIELDS.map((field) => [field, stored[field]]),
    ...configFields.map((field) => [field, textAt(stored.config, field)]),
  ]) as Record<ProfileField, string>;
  const parsed = parseProfileConfig(stored.config);
  return { values, problems: new Map(parsed.ok ? [] : placed(parsed.fields)) };
}

/** Reads a filled-in form. An empty slug is made of the name. */
export function readProfileForm(fields: Readonly<Record<string, string | undefined>>): ProfileOutcome {
  const typed = (field: string): string => (fields[field] ?? '').replaceAll('\r\n', '\n').trim();
  const texts = Object.fromEntries(TEXT_FIELDS.map((field) => [field, typed(field)]));
  if (texts.slug === '') texts.slug = slugOf(texts.name ?? '');
  const words = parseWith(textsSchema, texts, 'The profile');
  const config = parseProfileConfig(configOf(typed));
  if (words.ok && config.ok) return { ok: true, profile: { ...words.value, config: config.value } };
  const problems = [...(words.ok ? [] : words.fields), ...(config.ok ? [] : config.fields)];
  const values = Object.fromEntries(
    [...TEXT_FIELDS, ...configFields].map((field) => [field, fields[field] ?? '']),
  ) as Record<ProfileField, string>;
  return { ok: false, form: { values, problems: new Map(placed(problems)) } };
}

/** Of a name, in the form that slugs have; empty where nothing is left of it. */
export function slugOf(name: string): string {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '');
  return plain
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)
    .replace(/^-+|-+$/g, '');
}

/** What is left empty is not given, so that its default holds. */
function configOf(typed: (field: string) => string): Record<string, unknown> {
  const config: Record<string, unknown> = { match: {}, audio: {}, processed: {}, watch: {} };
  for (const field of configFields) {
    const value = typed(field);
    if (value === '') continue;
    const parsed = CONFIG_FIELDS[field] === 'number' ? numberOrText(value) : value;
    const [group = '', name] = field.split('.');
    const target: unknown = name === undefined ? config : config[group];
    if (typeof target === 'object' && target !== null) Reflect.set(target, name ?? group, parsed);
  }
  return config;
}

function textAt(config: unknown, path: string): string {
  let value = config;
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return '';
    value = Reflect.get(value, key);
  }
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** Sentences about a whole group stand at its first field; of several about one field the first counts. */
function placed(problems: readonly { path: string; message: string }[]): [string, string][] {
  const found = problems.map(({ path, message }): [string, string] => {
    const isField = isConfigField(path) || TEXT_FIELDS.some((field) => field === path);
    const first = configFields.find((field) => field.startsWith(`${path}.`));
    return [isField ? path : (first ?? ''), message];
  });
  return found.reverse();
}
