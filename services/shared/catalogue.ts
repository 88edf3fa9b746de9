/**
 * The catalogue of services that a station can run beside its recorders: one YAML file each in `profiles/services`. What
 * a service is made of (image, mounts, limits, network) stands here, on disk, and never in the database: who can write a
 * row must not be able to mount the host.
 */
import { z } from 'zod';
import { decimal, type ParsedFields, parseWith, readYaml, section, text, wholeNumber } from './parse.ts';

/** Ports of the station's own page and of the controller's /healthy. */
const RESERVED_PORTS = [8090, 9100];

/** Names that containers of the station itself bear. */
const RESERVED_NAMES = ['recorder', 'controller', 'web', 'database', 'redis'];
const NAME_ALLOWED = `2 to 30 characters of a-z, 0-9 and -, beginning with a letter, and none of ${RESERVED_NAMES.join(', ')}`;
const IMAGE_ALLOWED =
  'a fully qualified image with its tag, for example docker.io/library/redis:7 or localhost/silvasonic-processor:latest';
const VARIABLE_ALLOWED = 'the name of an environment variable: A-Z, 0-9 and _, beginning with a letter';
const VALUE_ALLOWED = 'true, false, a number or text of at most 200 characters';
const PATH_ALLOWED =
  'an absolute path of a-z, A-Z, 0-9, ".", "_" and "-", outside of /app/recordings, /run, /proc, /sys, /dev and /etc';
const FOLDER_ALLOWED = 'a name of at most 30 characters of a-z, 0-9 and -, beginning with a letter';
const SECRET_ALLOWED = 'a file name of at most 60 characters of a-z, 0-9, ".", "_" and "-", beginning with a letter';
const ADDRESS_ALLOWED = 'an IPv4 address, for example 0.0.0.0 (everybody) or 127.0.0.1 (this machine alone)';
const PORT_ALLOWED = `a port from 1024 to 65535, but neither ${RESERVED_PORTS.join(' nor ')}, which the station itself needs`;

const variable = z.string(VARIABLE_ALLOWED).regex(/^[A-Z][A-Z0-9_]{0,60}$/, VARIABLE_ALLOWED);
/** Inside the container. What the station puts there itself, and what the kernel shows there, is out of bounds. */
const path = z
  .string(PATH_ALLOWED)
  .regex(/^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._-]+){1,8}$/, PATH_ALLOWED)
  .refine((given) => !/^\/(app\/recordings|run|proc|sys|dev|etc)(\/|$)/.test(given), PATH_ALLOWED);
const commandLine = z.array(z.string('text').max(8000), 'a list of texts').min(1).max(50).nullable().default(null);
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
  /** An environment variable of its own: text as it is, numbers in digits, `true` or `false`. */
  variable: variable.optional(),
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
  /** Instead of the image's own. */
  entrypoint: commandLine,
  command: commandLine,
  /** Folders of its own that are kept, in `<workspace>/services/<name>/`: name → where it finds it. */
  folders: z
    .record(
      z.string().regex(/^[a-z][a-z0-9-]{0,29}$/, FOLDER_ALLOWED),
      path,
      `a list of folders, each ${FOLDER_ALLOWED}`,
    )
    .default({}),
  /** Where it may write besides, in memory: path → MiB. What it writes there is gone when it ends. */
  memoryFolders: z.record(path, mebibytes(1, 4096)).default({}),
  /** Files in `<workspace>/secrets/<name>/` that it finds in /run/secrets, read-only. Without them it does not start. */
  secrets: z
    .array(
      section({
        name: z.string(SECRET_ALLOWED).regex(/^[a-z][a-z0-9._-]{0,59}$/, SECRET_ALLOWED),
        /** What a person has to put there, and how he comes by it. */
        description: text(300),
      }),
    )
    .max(10)
    .default([]),
  /** Needs the network `station`. */
  ports: z
    .array(
      section({
        /** Of the host. */
        port: z
          .int(PORT_ALLOWED)
          .min(1024, PORT_ALLOWED)
          .max(65_535, PORT_ALLOWED)
          .refine((port) => !RESERVED_PORTS.includes(port), PORT_ALLOWED),
        /** Of the container. */
        container: wholeNumber({ min: 1, max: 65_535, unit: 'a port' }),
        address: z.ipv4(ADDRESS_ALLOWED).default('0.0.0.0'),
      }),
    )
    .max(10)
    .default([]),
  /** What it is told of the station. */
  station: section({
    /** `told`: `microphones.json` in its run folder. `restart`: and it is started anew when microphones come or go. */
    microphones: z.enum(['none', 'told', 'restart'], 'none, told or restart').default('none'),
    /** A token for live sound and what there is to hear, in its run folder. Needs the network `station`. */
    liveSound: z.boolean('true or false').default(false),
    /** Variables that bear the station's position in degrees; unset while nobody said where it is. */
    latitudeVariable: variable.nullable().default(null),
    longitudeVariable: variable.nullable().default(null),
  }).default({ microphones: 'none', liveSound: false, latitudeVariable: null, longitudeVariable: null }),
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
  const contradiction = findContradiction(parsed.value);
  if (contradiction !== null) return { ok: false, message: `${fileName}: ${contradiction}`, fields: [] };
  const defaults = parseServiceSettings(parsed.value, {});
  return defaults.ok ? parsed : { ...defaults, message: `${fileName}: a default is not allowed: ${defaults.message}` };
}

/** What no field alone can say; null: nothing. */
function findContradiction(entry: CatalogueEntry): string | null {
  const outside = [...(entry.ports.length > 0 ? ['ports'] : []), ...(entry.station.liveSound ? ['liveSound'] : [])];
  if (entry.network === 'none' && outside.length > 0)
    return `${outside.join(' and ')} cannot be had without a network: write "network: station".`;
  const lists = {
    'The variable': variablesOf(entry),
    'The path': [...Object.values(entry.folders), ...Object.keys(entry.memoryFolders)],
    'The secret': entry.secrets.map(({ name }) => name),
    'The port': entry.ports.map(({ port }) => String(port)),
  };
  for (const [what, names] of Object.entries(lists)) {
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) return `${what} ${twice} is given twice: remove one of them.`;
  }
  return null;
}

function variablesOf({ env, settings, settingsVariable, station }: CatalogueEntry): string[] {
  const ofSettings = Object.values(settings).map(({ variable }) => variable);
  const all = [settingsVariable, station.latitudeVariable, station.longitudeVariable, ...ofSettings];
  return [...Object.keys(env), ...all.filter((name) => typeof name === 'string')];
}

/**
 * The port that two services of the catalogue both want on the host, as a sentence about the second; null: none. Which
 * address they listen on makes no difference: 0.0.0.0 takes them all.
 */
export function portClash(entry: CatalogueEntry, earlier: readonly CatalogueEntry[]): string | null {
  for (const { port } of entry.ports) {
    const other = earlier.find(({ ports }) => ports.some((taken) => taken.port === port));
    if (other !== undefined) return `port ${port} is already that of ${other.name}; choose another one.`;
  }
  return null;
}

/** A service's settings as they are in effect: a person's where given, else the catalogue's. Never throws. */
export function parseServiceSettings(entry: CatalogueEntry, given: unknown): ParsedFields<Record<string, unknown>> {
  let schema = settingsSchemas.get(entry);
  if (schema === undefined) {
    const fields = Object.entries(entry.settings).map(([name, spec]) => [
      name,
      settingValue(spec).prefault(spec.default),
    ]);
    schema = z.strictObject(Object.fromEntries(fields));
    settingsSchemas.set(entry, schema);
  }
  return parseWith(schema, given, 'The settings');
}

/** Made once: zod compiles each of them, which takes longer than all the rest of a wish. */
const settingsSchemas = new WeakMap<CatalogueEntry, z.ZodType<Record<string, unknown>>>();

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
