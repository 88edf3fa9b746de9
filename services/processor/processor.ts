/**
 * The processor: looks what there is, keeps the reserve, makes what is missing, newest first. Nothing is remembered but what
 * the disk shows, so it goes on after a kill at any step.
 */
import { randomBytes } from 'node:crypto';
import { MOST_BROKEN_NAMED, type ProcessorConfig, type ProcessorStatus, segmentDay } from '../shared/contract.ts';
import { type Folder, withFolder, withRoot } from '../shared/folders.ts';
import { errorCode, errorText, type Log } from '../shared/log.ts';
import { listWorkspaces, type StoredSegment, segmentTitle } from '../shared/recordings.ts';
import { archiveRecording } from './archive.ts';
import { makeCopies, RecordingGone } from './copies.ts';
import { workOn } from './device.ts';
import { createFailures, type Failures } from './failures.ts';
import { makeRoom } from './removal.ts';
import { bytesToFree, comfortOf, type DiskSpace, forecast, reserveOf } from './retention.ts';
import type { Sox } from './sox.ts';
import { createSurvey, removeEmptyDays, type Survey } from './survey.ts';
import { tell } from './telling.ts';
import { clearWork } from './work-folder.ts';

export interface ProcessorOptions {
  recordingsPath: string;
  config: ProcessorConfig;
  sox: Sox;
  log: Log;
  /** Unix milliseconds. */
  now(): number;
  /** When this machine was started, by the clock as it stands: Unix milliseconds. */
  bootedAt(): number;
  /** Of the file system at a path. */
  diskSpace(path: string): Promise<DiskSpace>;
  /** Ends what is being done, at once. */
  stop: AbortSignal;
}

/** `worked`: there may be more to do. `waiting`: nothing, or not before a while. */
export type StepOutcome = 'worked' | 'waiting';

export interface Processor {
  /** One look and at most one recording. Never throws: trouble becomes the status. */
  step(): Promise<StepOutcome>;
  status(): ProcessorStatus;
}

interface State {
  isCleared: boolean;
  steps: number;
  done: number;
  removed: { copies: number; recordings: number };
  disk: ProcessorStatus['disk'];
  isPressed: boolean;
  isFull: boolean;
  /** What fails now: looking at the disk, making something. */
  trouble: Record<'look' | 'work', string | null>;
  queue: StoredSegment[];
  lookedAt: number;
  lookedThoroughlyAt: number;
}

/** New recordings are seen after so long at the latest. */
export const LOOK_INTERVAL_MS = 10_000;
const THOROUGH_INTERVAL_MS = 10 * 60_000;

export function createProcessor(options: ProcessorOptions): Processor {
  const failures = createFailures();
  const { isLeft, isDoubtful } = failures;
  const survey = createSurvey({ defaults: options.config.processing, isLeft, isDoubtful });
  const run = randomBytes(4).toString('hex');
  const never = Number.NEGATIVE_INFINITY;
  const state: State = {
    isCleared: false,
    steps: 0,
    done: 0,
    removed: { copies: 0, recordings: 0 },
    disk: null,
    // Until the first look has shown that there is room.
    isPressed: true,
    isFull: false,
    trouble: { look: null, work: null },
    queue: [],
    lookedAt: never,
    lookedThoroughlyAt: never,
  };
  const parts: Parts = { options, survey, failures, state };

  return {
    async step() {
      let outcome: StepOutcome = 'waiting';
      try {
        outcome = await withRoot(options.recordingsPath, (root) => stepIn(root, parts));
      } catch (error) {
        if (!options.stop.aborted) troubled(parts, 'look', errorText(error));
      }
      state.steps += 1;
      return outcome;
    },
    status: () => statusOf(run, parts),
  };
}

interface Parts {
  options: ProcessorOptions;
  survey: Survey;
  failures: Failures;
  state: State;
}

async function stepIn(root: Folder, parts: Parts): Promise<StepOutcome> {
  const { options, state } = parts;
  if (!state.isCleared) {
    for (const name of await listWorkspaces(root)) await withFolder(root, [name], clearWork);
    state.isCleared = true;
  }
  const sinceLook = options.now() - state.lookedAt;
  // Also when the clock was set back.
  if (sinceLook >= LOOK_INTERVAL_MS || sinceLook < 0) await look(root, parts);
  const next = await takeNext(root, parts);
  return next === null ? 'waiting' : await work(root, parts, next);
}

async function look(root: Folder, parts: Parts): Promise<void> {
  const { options, survey, state } = parts;
  const nowMs = options.now();
  const sinceThorough = nowMs - state.lookedThoroughlyAt;
  const isThorough = sinceThorough >= THOROUGH_INTERVAL_MS || sinceThorough < 0;
  await survey.look(root, isThorough);
  if (await keepReserve(root, parts)) await survey.look(root, true);
  if (isThorough) {
    await removeEmptyDays(root, survey.days(), nowMs);
    state.lookedThoroughlyAt = nowMs;
  }
  state.lookedAt = nowMs;
  state.queue = [];
  const [unreadable] = survey.unreadable().values();
  troubled(parts, 'look', unreadable ?? null);
}

/** True: something was removed. */
async function keepReserve(root: Folder, parts: Parts): Promise<boolean> {
  const { options, survey, state } = parts;
  const { config } = options;
  const bytesNeeded = bytesToFree(config, await measure(parts));
  if (bytesNeeded === 0) {
    state.isFull = false;
    return false;
  }
  const removed = await makeRoom(root, {
    days: survey.days(),
    bytesNeeded,
    retention: config.retention,
    clock: { nowMs: options.now(), bootedMs: options.bootedAt() },
    rulesOf: survey.rulesOf,
    stop: options.stop,
  });
  state.removed.copies += removed.copies;
  state.removed.recordings += removed.recordings;
  state.isFull = removed.copies + removed.recordings === 0;
  if (state.isFull) return false;
  await measure(parts);
  const what = `the copies of ${removed.copies} recordings and ${removed.recordings} recordings`;
  options.log('info', `Removed ${what} to keep the reserve free.`, { freedBytes: removed.freedBytes });
  return true;
}

async function measure({ options, survey, state }: Parts): Promise<DiskSpace> {
  const { config } = options;
  const disk = await options.diskSpace(options.recordingsPath);
  const reserveBytes = reserveOf(config, disk.totalBytes);
  state.disk = { ...disk, reserveBytes, ...forecast(config, disk, survey.days(), options.now()) };
  if (disk.freeBytes < reserveBytes) state.isPressed = true;
  if (disk.freeBytes >= comfortOf(reserveBytes)) state.isPressed = false;
  return disk;
}

/** The newest recording to which something may be done now; null: none. */
async function takeNext(root: Folder, parts: Parts): Promise<StoredSegment | null> {
  const { survey, state } = parts;
  if (state.queue.length === 0 && survey.days().some((day) => day.todo > 0)) {
    const waiting = await survey.nextToDo(root, state.isPressed ? 'archiving' : 'anything');
    // Taken from the end: the newest last.
    state.queue = waiting.filter((stored) => isPossible(stored, parts)).reverse();
  }
  return state.queue.pop() ?? null;
}

/** Copies need room; archiving gives room back, so a part of the reserve is lent to it. */
function isPossible(stored: StoredSegment, { survey, state }: Parts): boolean {
  if (!state.isPressed) return true;
  const due = workOn(stored, survey.rulesOf(stored.segment.workspace));
  const lent = (state.disk?.freeBytes ?? 0) - (state.disk?.reserveBytes ?? 0) / 2;
  // Its copies come first: archiving asks the overview.
  return due.archive && !due.copies && lent > 2 * (stored.wav?.diskBytes ?? 0);
}

async function work(root: Folder, parts: Parts, stored: StoredSegment): Promise<StepOutcome> {
  const { options, survey, failures, state } = parts;
  const { segment } = stored;
  const title = segmentTitle(segment);
  const { processing } = survey.rulesOf(segment.workspace);
  const due = workOn(stored, survey.rulesOf(segment.workspace));
  try {
    await withFolder(root, [segment.workspace], async (workspace) => {
      const task = { workspace, stored, processing, sox: options.sox };
      if (due.copies && !state.isPressed) await makeCopies(task);
      if (!due.archive) return;
      const outcome = await archiveRecording(task);
      if (outcome.kind === 'archived') return;
      failures.leave(title);
      options.log('warn', `${title} stays a WAV file: ${outcome.why}.`);
    });
    failures.forget(title);
    state.done += 1;
    troubled(parts, 'work', null);
    survey.settled(stored, segmentDay(segment));
    return 'worked';
  } catch (error) {
    if (options.stop.aborted) return 'waiting';
    return fail(parts, stored, error);
  }
}

function fail(parts: Parts, stored: StoredSegment, error: unknown): StepOutcome {
  const { options, survey, failures, state } = parts;
  const title = segmentTitle(stored.segment);
  const code = errorCode(error);
  if (error instanceof RecordingGone) {
    survey.settled(stored, segmentDay(stored.segment));
    return 'worked';
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    state.isPressed = true;
    state.queue = [];
    return 'waiting';
  }
  if (failures.note(title, error, state.done)) {
    survey.settled(stored, segmentDay(stored.segment));
    options.log('error', `Nothing can be made of ${title}; it stays as it is: ${errorText(error)}.`);
    return 'worked';
  }
  troubled(parts, 'work', `${title} could not be processed: ${errorText(error)}`);
  return 'waiting';
}

/** One line per change of what is wrong, not per attempt. */
function troubled({ options, state }: Parts, where: 'look' | 'work', trouble: string | null): void {
  if (trouble !== null && trouble !== state.trouble[where]) options.log('error', `${trouble}.`);
  state.trouble[where] = trouble;
}

function statusOf(run: string, { options, survey, failures, state }: Parts): ProcessorStatus {
  const backlog = survey.days().reduce((sum, day) => sum + day.todo, 0);
  const broken = [...[...survey.unreadable()].map(([name, why]) => [name, why] as const), ...failures.broken()];
  const { isPressed, isFull, disk, steps, done } = state;
  const trouble = state.trouble.look ?? state.trouble.work;
  const told =
    state.lookedAt === Number.NEGATIVE_INFINITY && trouble === null
      ? { state: 'starting' as const, reason: 'Starting', message: 'Looks at what has been recorded.' }
      : tell({ retention: options.config.retention, disk, isPressed, isFull, trouble, backlog });
  return {
    schema: 1,
    run,
    ...told,
    steps,
    done,
    backlog,
    broken: broken
      .slice(-MOST_BROKEN_NAMED)
      .map(([name, why]) => ({ name: name.slice(0, 300), message: why.slice(0, 300) })),
    brokenCount: broken.length,
    removed: { ...state.removed },
    disk,
    at: options.now(),
  };
}
