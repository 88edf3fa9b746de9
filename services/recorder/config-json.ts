/**
 * The negotiated configuration, checked by hand: the same rules as `recorderConfigSchema` in `services/shared/contract.ts`
 * (a test compares the two), without the 7 MiB of memory per recorder that the schema's package takes.
 */
import type { RecorderConfig } from '../shared/contract.ts';
import { isWorkspaceName, SAMPLE_FORMATS } from '../shared/recording.ts';

/** One field that is wrong. */
export interface FieldProblem {
  /** Dotted path; empty: the document itself. */
  field: string;
  given: unknown;
  allowed: string;
}

export type ConfigOutcome = { ok: true; value: RecorderConfig } | { ok: false; problems: FieldProblem[] };

/** Checks a parsed JSON document of any shape; all that is wrong is told. */
export function readRecorderConfig(json: unknown): ConfigOutcome {
  const problems: FieldProblem[] = [];
  const config = createFields(json, '', problems);
  const value: RecorderConfig = {
    rate: config.integer('rate', 4000, 1_000_000),
    channels: config.integer('channels', 1, 32),
    format: config.choice('format', SAMPLE_FORMATS),
    segmentSeconds: config.integer('segmentSeconds', 1, 900),
    processed: readProcessed(config.object('processed')),
    archive: config.choice('archive', ['wav', 'flac']),
    watch: readWatch(config.object('watch')),
    microphone: readMicrophone(config.object('microphone')),
    station: readStation(config.object('station')),
    reserveBytes: config.integer('reserveBytes', 0, Number.MAX_SAFE_INTEGER),
  };
  config.end();
  return problems.length === 0 ? { ok: true, value } : { ok: false, problems };
}

function readProcessed(fields: Fields): RecorderConfig['processed'] {
  const value = { gainDb: fields.number('gainDb', -60, 60), highPassHz: fields.number('highPassHz', 0, 200_000) };
  fields.end();
  return value;
}

function readWatch(fields: Fields): RecorderConfig['watch'] {
  const value = {
    silentBelowDbfs: fields.number('silentBelowDbfs', -200, 0),
    silentAfterSeconds: fields.number('silentAfterSeconds', 1, 3600),
    clipAtDbfs: fields.number('clipAtDbfs', -60, 0),
  };
  fields.end();
  return value;
}

function readMicrophone(fields: Fields): RecorderConfig['microphone'] {
  const value = {
    deviceId: fields.text('deviceId', 1, 200),
    workspace: fields.workspace('workspace'),
    name: fields.text('name', 0, 200),
    manufacturer: fields.text('manufacturer', 0, 200),
    model: fields.text('model', 0, 200),
    serial: fields.text('serial', 0, 200),
  };
  fields.end();
  return value;
}

function readStation(fields: Fields): RecorderConfig['station'] {
  const id = fields.text('id', 0, 64);
  const name = fields.text('name', 0, 200);
  const place = fields.objectOrNull('position');
  const position =
    place === null
      ? null
      : { latitude: place.number('latitude', -90, 90), longitude: place.number('longitude', -180, 180) };
  place?.end();
  fields.end();
  return { id, name, position };
}

/** Takes fields out of one JSON object. A wrong one is noted, and something of its type given back in its place. */
interface Fields {
  integer(name: string, least: number, most: number): number;
  number(name: string, least: number, most: number): number;
  /** Lengths in UTF-16 units. */
  text(name: string, shortest: number, longest: number): string;
  workspace(name: string): string;
  choice<T extends string>(name: string, choices: readonly [T, ...T[]]): T;
  object(name: string): Fields;
  objectOrNull(name: string): Fields | null;
  /** Notes every field that was not asked for. */
  end(): void;
}

function createFields(json: unknown, path: string, problems: FieldProblem[]): Fields {
  const object = typeof json === 'object' && json !== null && !Array.isArray(json) ? json : null;
  if (object === null) problems.push({ field: path, given: json, allowed: 'an object' });
  const asked = new Set<string>();
  const pathOf = (name: string): string => (path === '' ? name : `${path}.${name}`);

  function take<T>(name: string, allowed: string, fallback: T, accept: (value: unknown) => value is T): T {
    asked.add(name);
    // Of something that is no object, no further field is missed.
    if (object === null) return fallback;
    const value: unknown = Object.hasOwn(object, name) ? Reflect.get(object, name) : undefined;
    if (accept(value)) return value;
    problems.push({ field: pathOf(name), given: value, allowed });
    return fallback;
  }

  const text = (name: string, allowed: string, accepts: (value: string) => boolean): string =>
    take(name, allowed, '', (value): value is string => typeof value === 'string' && accepts(value));

  function child(name: string, nullable: boolean): Fields | null {
    asked.add(name);
    const value: unknown = object !== null && Object.hasOwn(object, name) ? Reflect.get(object, name) : undefined;
    if (value === null && nullable) return null;
    // Its fields are not missed where it could not even be looked for.
    return createFields(object === null ? {} : value, pathOf(name), object === null ? [] : problems);
  }

  return {
    integer: (name, least, most) =>
      take(name, `a whole number from ${least} to ${most}`, least, (value): value is number => {
        return Number.isSafeInteger(value) && isWithin(value, least, most);
      }),
    number: (name, least, most) =>
      take(name, `a number from ${least} to ${most}`, least, (value): value is number => isWithin(value, least, most)),
    text: (name, shortest, longest) =>
      text(name, `text of ${shortest} to ${longest} characters`, ({ length }) => {
        return length >= shortest && length <= longest;
      }),
    workspace: (name) =>
      text(name, '1 to 40 of a-z, 0-9 and dash, then a dash and 8 hexadecimal digits', isWorkspaceName),
    choice: (name, choices) =>
      take(name, choices.join(', '), choices[0], (value): value is (typeof choices)[number] =>
        choices.some((choice) => choice === value),
      ),
    object: (name) => child(name, false) ?? createFields({}, pathOf(name), []),
    objectOrNull: (name) => child(name, true),
    end() {
      const allowed = `only the fields ${[...asked].join(', ')}`;
      for (const name of Object.keys(object ?? {})) {
        if (asked.has(name)) continue;
        problems.push({ field: pathOf(name), given: Reflect.get(object ?? {}, name), allowed });
      }
    },
  };
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && value >= least && value <= most;
}
