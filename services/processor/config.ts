/**
 * The environment of a processor, parsed once. The only file of this service that reads `process.env`.
 */
import { isAbsolute } from 'node:path';
import { PROCESSOR_ENV, type ProcessorConfig, processorConfigSchema, SERVICE_PATH } from '../shared/contract.ts';

export interface ProcessorSettings {
  config: ProcessorConfig;
  /** Absolute paths. */
  recordingsPath: string;
  runPath: string;
  instanceId: string;
  /** For programs that are started. */
  childEnvironment: NodeJS.ProcessEnv;
}

export type ProcessorSettingsOutcome = { ok: true; value: ProcessorSettings } | { ok: false; message: string };

type Environment = Readonly<Record<string, string | undefined>>;

const INSTANCE = 'SILVASONIC_INSTANCE_ID';
const LONGEST_QUOTE = 80;

/** Reads all variables; all that are wrong are told at once, in one sentence. */
export function readProcessorSettings(environment: Environment = process.env): ProcessorSettingsOutcome {
  const problems: string[] = [];
  const readPath = (name: string, fallback: string): string => {
    const path = environment[name] ?? fallback;
    if (!isAbsolute(path)) problems.push(problem(name, path, 'an absolute path'));
    return path;
  };
  const recordingsPath = readPath(PROCESSOR_ENV.recordings, SERVICE_PATH.recordings);
  const runPath = readPath(PROCESSOR_ENV.run, SERVICE_PATH.run);
  const config = readConfig(environment[PROCESSOR_ENV.configJson] ?? '{}', problems);
  if (config === null || problems.length > 0) {
    return { ok: false, message: `The processor cannot start with this configuration: ${problems.join('; ')}.` };
  }
  const instanceId = environment[INSTANCE] ?? 'processor';
  return { ok: true, value: { config, recordingsPath, runPath, instanceId, childEnvironment: { ...environment } } };
}

/** null: what is wrong was added to `problems`. */
function readConfig(text: string, problems: string[]): ProcessorConfig | null {
  const name = PROCESSOR_ENV.configJson;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    problems.push(problem(name, text, 'one JSON object, or nothing'));
    return null;
  }
  const parsed = processorConfigSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  for (const { path, message } of parsed.error.issues) {
    const field = path.length === 0 ? name : `${name} field ${path.join('.')}`;
    problems.push(problem(field, JSON.stringify(valueAt(json, path)), message));
  }
  return null;
}

function problem(name: string, given: string | undefined, allowed: string): string {
  // Control characters escaped: what somebody typed must not forge lines of a log.
  const shown = given === undefined ? 'nothing' : JSON.stringify(given.slice(0, LONGEST_QUOTE));
  return `${name} was given ${shown}, allowed: ${allowed.charAt(0).toLowerCase()}${allowed.slice(1)}`;
}

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    json,
  );
}
