/**
 * The catalogue of services that a station can run beside its recorders: one YAML file each in `profiles/services`. What
 * a service is made of (image, mounts, limits, network) stands here, on disk, and never in the database: who can write a
 * row must not be able to mount the host.
 */
import { z } from 'zod';
import { decimal, type ParsedFields, parseWith, readYaml, section, text, wholeNumber } from './parse.ts';

/** Names that containers of the station itself bear. */
const RESERVED_NAMES = ['recorder', 'controller', 'web', 'database', 'redis'];
const NAME_ALLOWED = `2 to 30 characters of a-z, 0-9 and -, beginning with a letter, and none of ${RESERVED_NAMES.join(', ')}`;
const IMAGE_ALLOWED =
  'a fully qualified image with its tag, for example docker.io/library/redis:7 or localhost/silvasonic-processor:latest';
const VARIABLE_ALLOWED = 'the name of an environment variable: A-Z, 0-9 and _, beginning with a letter';
const VALUE_ALLOWED = 'true, false, a number or text of at most 200 characters';

const variable = z.string(VARIABLE_ALLOWED).regex(/^[A-Z][A-Z0-9_]{0,60}$/, VARIABLE_ALLOWED);
const value = z.union([z.boolean(), z.number(), z.string().max(200)], VALUE_ALLOWED);
const mebibytes = (min: number, max: number) => wholeNumber({ min, max, unit: 'MiB' });

/** One setting that a person may change: its type, its bounds, and what it is without being changed. */
const settingSchema = section({
  title: text(60),
  description: text(300),
  type: z.enum(['integer', 'number', 'boolean', 'choice', 'text'], 'integer, number, boolean, choice or text'),
  default: value,
  min: z.number('a number').optional(),
  max: z.number('a number').optional(),
  choices: z.array(text(60), 'a list of texts').min(2).max(20).optional(),
});
export type SettingSpec = z.infer<typeof settingSchema>;

export const catalogueEntrySchema = section({
  name: z
    .string(NAME_ALLOWED)
    .regex(/^[a-z][a-z0-9-]{1,29}$/, NAME_ALLOWED)
    .refine((name) => !RESERVED_NAMES.includes(name), NAME_ALLOWED),
  title: text(60),
  description: text(500),
  image: z
    .string(IMAGE_ALLOWED)
    .regex(/^(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?)\/[a-z0-9._/-]+:[A-Za-z0-9._-]{1,128}$/, IMAGE_ALLOWED),
  /** Whether it is switched on as long as nobody decided. */
  enabled: z.boolean('true or false').default(false),
  limits: section({
    memoryMebibytes: mebibytes(16, 65_536),
    cpus: decimal(0.05, 64, 'CPUs'),
    pids: wholeNumber({ min: 1, max: 10_000, unit: 'processes' }),
    /** Positive: ended before anything that records when memory runs out. */
    oomScoreAdj: wholeNumber({ min: 0, max: 1000, unit: 'points' }).default(500),
    logMebibytes: mebibytes(1, 1000).default(10),
  }),
  /** `station`: the network of the station's services, in which neither database nor Redis is. */
  network: z.enum(['none', 'station'], 'none or station').default('none'),
  /** The recordings of all microphones, at /app/recordings. */
  recordings: z.enum(['none', 'read-only', 'read-write'], 'none, read-only or read-write').default('none'),
  env: z.record(variable, z.string('text').max(1000)).default({}),
  /** The variable that bears all settings as one JSON object. */
  settingsVariable: variable.nullable().default(null),
  settings: z.record(z.string().regex(/^[a-z][A-Za-z0-9]{0,40}$/), settingSchema).default({}),
});
export type CatalogueEntry = z.infer<typeof catalogueEntrySchema>;

/** Parses one file. Never throws; what is wrong is said in one sentence that begins with `fileName`. */
export function parseCatalogueYaml(input: string | Uint8Array, fileName: string): ParsedFields<CatalogueEntry> {
  const tree = readYaml(input);
  if (!tree.ok) return { ok: false, message: `${fileName}: ${tree.message}`, fields: [] };
  const parsed = parseWith(catalogueEntrySchema, tree.value, 'the service');
  if (!parsed.ok) return { ...parsed, message: `${fileName}: ${parsed.message}` };
  const defaults = parseServiceSettings(parsed.value, {});
  return defaults.ok ? parsed : { ...defaults, message: `${fileName}: a default is not allowed: ${defaults.message}` };
}

/** A service's settings as they are in effect: a person's where given, else the catalogue's. Never throws. */
export function parseServiceSettings(entry: CatalogueEntry, given: unknown): ParsedFields<Record<string, unknown>> {
  const fields = Object.entries(entry.settings).map(([name, spec]) => [
    name,
    settingValue(spec).prefault(spec.default),
  ]);
  return parseWith(z.strictObject(Object.fromEntries(fields)), given, 'The settings');
}

function settingValue(spec: SettingSpec): z.ZodType {
  const { min = -1e12, max = 1e12, choices = [] } = spec;
  switch (spec.type) {
    case 'integer':
      return wholeNumber({ min, max, unit: spec.title });
    case 'number':
      return decimal(min, max, spec.title);
    case 'boolean':
      return z.boolean('true or false');
    case 'choice':
      return z.enum(choices, choices.join(' or '));
    case 'text':
      return z.string('text').max(200, 'text of at most 200 characters');
  }
}
