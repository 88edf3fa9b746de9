/**
 * The folders on disk: recorders' workspaces and run folders, the marker that proves the right disk is mounted, and the
 * controller's last good state.
 *
 * `fs` calls wait in Node's few threads: a disk that hangs keeps one for good, and when all are kept, nothing of the
 * process gets to a file again. So every operation has a deadline, one that was given up is not begun a second time
 * before it returned, and two given-up ones at most are borne.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import {
  isWorkspaceName,
  PROCESSING_FILE,
  type Processing,
  type RecorderStatus,
  recorderStatusSchema,
  SERVICE_RUN_FOLDER,
  STATUS_FILE,
  STATUS_FILE_MAX_BYTES,
  serviceReportSchema,
  WORKSPACE_MARKER_FILE,
} from '../shared/contract.ts';
import { writeDurably } from '../shared/durable-file.ts';
import { allEnded, emptyFolder, makeFolders, readHostileFile } from '../shared/hostile-file.ts';
import { formatLastGood, LAST_GOOD_MAX_BYTES, parseLastGood, wishFingerprint } from './last-good.ts';
import type { Log } from './log.ts';
import { createServiceFolders } from './service-folders.ts';
import type { Clock, DesiredState, Explanation, Reading, Workspaces } from './world.ts';

export interface WorkspacesOptions {
  /** All as this process sees them. */
  recorderWorkspace: string;
  controllerWorkspace: string;
  runPath: string;
  /** Of services of the catalogue: their own folders, and their secrets. */
  servicesFolder: string;
  secretsFolder: string;
  log: Log;
  clock: Clock;
}

const LAST_GOOD_FILE = 'last-good.json';
const DEADLINE_MS = 5000;
const MOST_GIVEN_UP = 2;
/** Recordings are there to be read by their owner; what recorder and controller exchange needs no more either. */
const FOLDER_MODE = 0o755;
/** Services of the catalogue read it as other users. */
const PROCESSING_MODE = 0o644;
const MARKER_MAX_BYTES = 256;

export function createWorkspaces(options: WorkspacesOptions): Workspaces {
  const { recorderWorkspace, runPath, clock } = options;
  const attempt = createAttempts(clock);
  const services = createServiceFolders(options);
  return {
    prepare: (folders) =>
      folders.kind === 'recorder'
        ? attempt(`prepare ${folders.workspace}`, () => prepareRecorder(recorderWorkspace, runPath, folders.workspace))
        : attempt(`prepare ${folders.name}`, () => services.prepare(folders)),
    tellServices: (told) => attempt('tell the services of the station', () => services.tellAll(told)),
    readSecrets: (service, names) =>
      attempt(`look for the secrets of ${service}`, () => services.readSecrets(service, names)),
    writeProcessing: (workspace, processing) =>
      attempt(`say how ${workspace} is processed`, () => writeProcessing(recorderWorkspace, workspace, processing)),
    readStatus: (workspace) => attempt(`read the status of ${workspace}`, () => readStatus(runPath, workspace)),
    readReport: (service) => attempt(`read the report of ${service}`, () => readReport(runPath, service)),
    readMarker: () => attempt('read the marker', () => readMarker(recorderWorkspace)),
    writeMarker: (stationId) => attempt('write the marker', () => writeMarker(recorderWorkspace, stationId)),
    ...createLastGood(options, attempt),
  };
}

type Attempt = <T>(what: string, work: () => Promise<T>) => Promise<Reading<T>>;

/** Turns work into a reading: with a deadline, and with an error in words instead of a throw. */
function createAttempts(clock: Clock): Attempt {
  const givenUp = new Set<string>();
  return async (what, work) => {
    const startedAtMs = clock.nowMs();
    const failed = (why: string) => ({ ok: false as const, error: `Could not ${what}: ${why}`, startedAtMs });
    if (givenUp.has(what)) return failed('an earlier attempt still waits for the disk.');
    if (givenUp.size >= MOST_GIVEN_UP) return failed(`the disk does not answer (${[...givenUp].join(', ')}).`);
    let cancelDeadline = () => {};
    const late = new Promise<Reading<never>>((settle) => {
      cancelDeadline = clock.timer(DEADLINE_MS, () => {
        givenUp.add(what);
        settle(failed(`no answer from the disk within ${DEADLINE_MS / 1000} s.`));
      });
    });
    const done = work()
      .then((value) => ({ ok: true as const, value, startedAtMs }))
      .catch((error: unknown) => failed(error instanceof Error ? error.message : String(error)))
      .finally(() => {
        cancelDeadline();
        givenUp.delete(what);
      });
    return await Promise.race([done, late]);
  };
}

async function prepareRecorder(recorderWorkspace: string, runPath: string, workspace: string): Promise<null> {
  refuseForeignName(workspace);
  const run = async (): Promise<void> => {
    await makeFolders(runPath, { [workspace]: {} }, FOLDER_MODE);
    // The position of an earlier container must not be taken for that of the next, nor its socket stand in the way.
    await emptyFolder(runPath, workspace);
  };
  const own = { data: { raw: {}, processed: {} }, '.buffer': {} };
  await allEnded([makeFolders(recorderWorkspace, { [workspace]: own }, FOLDER_MODE), run()]);
  return null;
}

async function writeProcessing(recorderWorkspace: string, workspace: string, processing: Processing): Promise<null> {
  refuseForeignName(workspace);
  await makeFolders(recorderWorkspace, { [workspace]: {} }, FOLDER_MODE);
  await writeDurably(
    join(recorderWorkspace, workspace, PROCESSING_FILE),
    `${JSON.stringify(processing)}\n`,
    PROCESSING_MODE,
  );
  return null;
}

async function readStatus(runPath: string, workspace: string): Promise<RecorderStatus | null> {
  refuseForeignName(workspace);
  const content = await readHostileFile({ root: runPath, folder: workspace, name: STATUS_FILE }, STATUS_FILE_MAX_BYTES);
  return content.kind === 'text' ? parseStatus(content.text) : null;
}

async function readReport(runPath: string, service: string): Promise<Explanation | null> {
  const root = join(runPath, SERVICE_RUN_FOLDER);
  const content = await readHostileFile({ root, folder: service, name: STATUS_FILE }, STATUS_FILE_MAX_BYTES);
  if (content.kind !== 'text') return null;
  try {
    return serviceReportSchema.safeParse(JSON.parse(content.text)).data ?? null;
  } catch {
    return null;
  }
}

/** null: not a status as recorders write it. To the controller that is a recorder that does not advance. */
function parseStatus(text: string): RecorderStatus | null {
  try {
    return recorderStatusSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

function refuseForeignName(workspace: string): void {
  if (isWorkspaceName(workspace)) return;
  throw new Error(`${JSON.stringify(workspace)} is not the name of a workspace; allowed: words, a dash, 8 hex digits.`);
}

async function readMarker(recorderWorkspace: string): Promise<string | null> {
  const content = await readHostileFile({ root: recorderWorkspace, name: WORKSPACE_MARKER_FILE }, MARKER_MAX_BYTES);
  if (content.kind === 'missing') return null;
  const why = content.kind === 'unusable' ? content.why : 'it does not hold a station id';
  const stationId = content.kind === 'text' ? content.text.trim() : '';
  if (/^[\x21-\x7e]{1,64}$/.test(stationId)) return stationId;
  const file = join(recorderWorkspace, WORKSPACE_MARKER_FILE);
  throw new Error(`${file} is no marker of ours (${why}): if the right disk is mounted there, remove that file.`);
}

async function writeMarker(recorderWorkspace: string, stationId: string): Promise<null> {
  await writeDurably(join(recorderWorkspace, WORKSPACE_MARKER_FILE), `${stationId}\n`, 0o644);
  return null;
}

function createLastGood(
  { controllerWorkspace, log }: WorkspacesOptions,
  attempt: Attempt,
): Pick<Workspaces, 'readLastGood' | 'writeLastGood'> {
  const file = join(controllerWorkspace, LAST_GOOD_FILE);
  /** Of what the file holds, as far as we know. */
  let fingerprint: string | null = null;
  /** Once the file was found broken, it is missing; to this process it stays broken until a new one is written. */
  let broken: string | null = null;

  async function read(): Promise<DesiredState | null> {
    const content = await readHostileFile({ root: controllerWorkspace, name: LAST_GOOD_FILE }, LAST_GOOD_MAX_BYTES);
    if (content.kind === 'missing') {
      if (broken !== null) throw new Error(broken);
      return null;
    }
    const state = content.kind === 'text' ? parseLastGood(content.text) : { ok: false as const, message: content.why };
    if (!state.ok) {
      broken = await setAside(file, state.message);
      log.error({ file }, broken);
      throw new Error(broken);
    }
    fingerprint = wishFingerprint(state.value);
    return state.value;
  }

  async function write(state: DesiredState): Promise<null> {
    const wanted = wishFingerprint(state);
    if (wanted === fingerprint) return null;
    // Only the controller's user has any use for it.
    await writeDurably(file, formatLastGood(state), 0o600);
    fingerprint = wanted;
    broken = null;
    return null;
  }

  return {
    readLastGood: () => attempt('read the last good state', read),
    writeLastGood: (state) => attempt('keep the last good state', () => write(state)),
  };
}

/** Keeps a broken file for whoever wants to see it. Returns the sentence about it. */
async function setAside(file: string, why: string): Promise<string> {
  await rename(file, `${file}.broken`);
  return `${file} could not be used (${why}): it is kept as ${LAST_GOOD_FILE}.broken, and the next good reading of the database replaces it.`;
}
