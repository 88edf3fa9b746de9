/**
 * The environment of a recorder, parsed once. The only file of this service that reads `process.env`.
 */
import { isAbsolute } from 'node:path';
import type { RecorderConfig } from '../shared/contract.ts';
import { parseUsbDevice, RECORDER_ENV, RECORDER_PATH, type UsbDevice, VIRTUAL_DEVICE } from '../shared/recording.ts';
import { readRecorderConfig } from './config-json.ts';

/** Variables that move the two folders, for a recorder outside any container. */
export const FOLDER_ENV = {
  workspace: 'SILVASONIC_RECORDER_WORKSPACE',
  run: 'SILVASONIC_RECORDER_RUN',
} as const;

export interface RecorderSettings {
  /** `hw:1,0`, or `virtual`. */
  device: string;
  /** What its card must be of; null: nobody said, as controllers of earlier releases, or it is no card. */
  usbDevice: UsbDevice | null;
  profileSlug: string;
  instanceId: string;
  config: RecorderConfig;
  /** Absolute paths. */
  workspacePath: string;
  runPath: string;
  /** For programs that are started: ours, with messages in English, which we read. */
  childEnvironment: NodeJS.ProcessEnv;
}

export type RecorderSettingsOutcome = { ok: true; value: RecorderSettings } | { ok: false; message: string };

type Environment = Readonly<Record<string, string | undefined>>;

const DEVICE_PATTERN = /^hw:\d{1,3},\d{1,3}$/;
/** As the database takes them. */
const SLUG_PATTERN = /^[a-z0-9-]{1,60}$/;
const LONGEST_QUOTE = 80;
/** A sentence that names more would not be read. */
const MOST_PROBLEMS = 20;

/** Reads all variables; all that are wrong are told at once, in one sentence. */
export function readRecorderSettings(environment: Environment = process.env): RecorderSettingsOutcome {
  const problems: string[] = [];
  const read = (name: string, fallback: string | undefined, allowed: string, accepts: (text: string) => boolean) => {
    const text = environment[name] ?? fallback;
    if (text !== undefined && accepts(text)) return text;
    problems.push(problem(name, text, allowed));
    return '';
  };
  const device = read(RECORDER_ENV.device, undefined, `hw:<card>,<device> or ${VIRTUAL_DEVICE}`, (text) => {
    return text === VIRTUAL_DEVICE || DEVICE_PATTERN.test(text);
  });
  const usbText = read(RECORDER_ENV.usbDevice, '', 'as 001/005 2752:0007, or nothing', (text) => {
    return text === '' || parseUsbDevice(text) !== null;
  });
  const profileSlug = read(RECORDER_ENV.profileSlug, undefined, '1 to 60 characters of a-z, 0-9 and -', (text) =>
    SLUG_PATTERN.test(text),
  );
  const instanceId = read(RECORDER_ENV.instanceId, undefined, '1 to 200 characters', (text) => {
    return text.length > 0 && text.length <= 200;
  });
  const workspacePath = read(FOLDER_ENV.workspace, RECORDER_PATH.workspace, 'an absolute path', isAbsolute);
  const runPath = read(FOLDER_ENV.run, RECORDER_PATH.run, 'an absolute path', isAbsolute);
  const config = readConfig(environment[RECORDER_ENV.configJson], problems);
  if (config === null || problems.length > 0) {
    return { ok: false, message: `The recorder cannot start with this configuration: ${problems.join('; ')}.` };
  }
  const childEnvironment = { ...environment, LC_ALL: 'C' };
  const usbDevice = parseUsbDevice(usbText);
  const folders = { workspacePath, runPath };
  return { ok: true, value: { device, usbDevice, profileSlug, instanceId, config, ...folders, childEnvironment } };
}

/** null: what is wrong was added to `problems`. */
function readConfig(text: string | undefined, problems: string[]): RecorderConfig | null {
  const name = RECORDER_ENV.configJson;
  let json: unknown;
  try {
    json = JSON.parse(text ?? '');
  } catch {
    problems.push(problem(name, text, 'one JSON object'));
    return null;
  }
  const outcome = readRecorderConfig(json);
  if (outcome.ok) return outcome.value;
  for (const { field, given, allowed } of outcome.problems.slice(0, MOST_PROBLEMS)) {
    problems.push(problem(field === '' ? name : `${name} field ${shorten(field)}`, quote(given), allowed));
  }
  return null;
}

function problem(name: string, given: string | undefined, allowed: string): string {
  // Control characters escaped: what somebody typed must not forge lines of a log.
  const shown = given === undefined ? 'nothing' : JSON.stringify(shorten(given));
  return `${name} was given ${shown}, allowed: ${allowed}`;
}

function shorten(text: string): string {
  return text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text;
}

function quote(value: unknown): string | undefined {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
