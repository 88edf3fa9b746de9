/**
 * What `plan` remembers from cycle to cycle: failures and their back-off, which container is watched, which image
 * proved itself. Pure: each function returns the next memory.
 */
import { LABEL, RECORDER_EXIT } from '../shared/contract.ts';
import { isGood, type Watch } from './progress.ts';
import type {
  Explanation,
  FinishedAction,
  ObservedContainer,
  Phase,
  ServicePhase,
  StationEvent,
  SubjectKey,
  Wish,
} from './world.ts';

export interface Policy {
  /** Frames that do not advance for this long are a stall. */
  stallTimeoutMs: number;
  /** Advancing for this long is good running. */
  goodAfterMs: number;
  autoUpdate: boolean;
}

export interface PlanMemory {
  subjects: ReadonlyMap<SubjectKey, SubjectMemory>;
  images: ImageMemory;
  /** What takes the new release now. */
  updating: Updating | null;
}

export interface Updating {
  subject: SubjectKey;
  /** Id of the container that had the old release. */
  replacedId: string;
}

export interface ImageMemory {
  /** Image id → how often a recorder ended wrongly or never advanced with it. */
  wrong: Readonly<Record<string, number>>;
  /** An image that is passed over in favour of the last good one, until the tag means another. */
  skippedId: string | null;
  /** The image that we had tagged as last good. */
  taggedId: string | null;
}

export interface SubjectMemory {
  /** What a person or the hardware decided when failures were last counted; a change clears them. */
  inputs: string;
  /** In a row. −1: it ran well, so that its next failure is followed by a start at once. */
  failures: number;
  /** The last one; null: none since the last change or good running. */
  failure: Failure | null;
  removeFailure: RemoveFailure | null;
  /** Monotonic ms; a container reading begun before is older than our own doing. */
  lastActionEndedAtMs: number;
  /** Made by this controller: its first position is an advance. */
  startedContainerId: string | null;
  /** The ended container whose end has been counted. */
  countedContainerId: string | null;
  watch: Watch | null;
  /** Limits that the host refused for the running container. */
  refusedLimits: Explanation[];
  provenImageId: string | null;
  /** What was last told, so that only changes become events; null: what its row says, if there is one. */
  told: { phase: Phase | ServicePhase; reason: string } | null;
}

export interface Failure extends Explanation {
  /** Waiting does not mend it. */
  blocked: boolean;
  /** No start before this. Monotonic ms. */
  retryAtMs: number;
}

export interface RemoveFailure extends Explanation {
  /** In a row. */
  times: number;
  /** No action before this. Monotonic ms. */
  retryAtMs: number;
}

export const emptyPlanMemory: PlanMemory = {
  subjects: new Map(),
  images: { wrong: {}, skippedId: null, taggedId: null },
  updating: null,
};

export const BACKOFF_CAP_MS = 5 * 60_000;
const BLOCKED_RETRY_MS = 5 * 60_000;
const REMOVE_BACKOFF_CAP_MS = 30_000;
const WRONG_ENDS_TO_ROLL_BACK = 2;

export const emptySubjectMemory: SubjectMemory = {
  inputs: '',
  failures: 0,
  failure: null,
  removeFailure: null,
  lastActionEndedAtMs: Number.NEGATIVE_INFINITY,
  startedContainerId: null,
  countedContainerId: null,
  watch: null,
  refusedLimits: [],
  provenImageId: null,
  told: null,
};

/** Delay before the start that follows the `failures`-th failure in a row. 0 after good running, then 1, 2, 4 … s. */
export function backoffMs(failures: number): number {
  return failures === 0 ? 0 : Math.min(BACKOFF_CAP_MS, 1000 * 2 ** (failures - 1));
}

/** A person's change, or another incarnation, image or release, clears what was counted before it. */
export function clearIfChanged(memory: SubjectMemory, wish: Wish): SubjectMemory {
  const decided = `${wish.generation}|`;
  // A wish that is on hold for a moment (flapping, waiting for sound) has not been changed by anybody.
  if (wish.kind !== 'run' && memory.inputs.startsWith(decided)) return memory;
  const inputs = wish.kind === 'run' ? `${decided}${wish.intent}|${wish.template}|${wish.imageId}` : decided;
  return inputs === memory.inputs ? memory : { ...memory, inputs, failures: 0, failure: null };
}

/** Takes in what finished since the last plan. */
export function absorbResults(
  memory: PlanMemory,
  results: readonly FinishedAction[],
  nowMs: number,
): { memory: PlanMemory; events: StationEvent[] } {
  const subjects = new Map(memory.subjects);
  const events: StationEvent[] = [];
  let images = memory.images;
  for (const result of results) {
    if (result.action.kind === 'tag') {
      if (result.outcome.kind !== 'done') images = { ...images, taggedId: null };
      continue;
    }
    const before = subjects.get(result.action.subject) ?? emptySubjectMemory;
    subjects.set(
      result.action.subject,
      absorbResult({ ...before, lastActionEndedAtMs: result.endedAtMs }, result, nowMs, events),
    );
  }
  return { memory: { ...memory, subjects, images }, events };
}

function absorbResult(
  memory: SubjectMemory,
  result: FinishedAction,
  nowMs: number,
  events: StationEvent[],
): SubjectMemory {
  const { action, outcome } = result;
  const subject = action.subject;
  if (action.kind === 'remove') {
    if (outcome.kind === 'done' || outcome.kind === 'lookAgain') return { ...memory, removeFailure: null };
    const why = { reason: 'RemoveFailed', message: `It could not be stopped and removed: ${outcome.message}` };
    const before = memory.removeFailure?.times ?? 0;
    if (before === 0) events.push({ subject, type: 'warning', ...why });
    const retryAtMs = nowMs + Math.min(REMOVE_BACKOFF_CAP_MS, 1000 * 2 ** before);
    return { ...memory, removeFailure: { ...why, times: before + 1, retryAtMs } };
  }
  switch (outcome.kind) {
    case 'done':
      for (const refused of outcome.refusedLimits) events.push({ subject, type: 'warning', ...refused });
      return { ...memory, startedContainerId: outcome.containerId, refusedLimits: outcome.refusedLimits, watch: null };
    case 'lookAgain':
      return memory;
    case 'failed':
      return fail(memory, subject, outcome, false, nowMs, events);
    case 'blocked':
      return fail(memory, subject, outcome, true, nowMs, events);
    case 'unknown':
      return fail(memory, subject, { reason: 'NoAnswer', message: outcome.message }, false, nowMs, events);
  }
}

/** Counts a failure. The first after good running is followed by a start at once. */
function fail(
  memory: SubjectMemory,
  subject: SubjectKey,
  { reason, message }: Explanation,
  blocked: boolean,
  nowMs: number,
  events: StationEvent[],
): SubjectMemory & { failure: Failure } {
  const failures = memory.failures + 1;
  events.push({ subject, type: 'warning', reason, message });
  const retryAtMs = nowMs + (blocked ? BLOCKED_RETRY_MS : backoffMs(failures));
  return { ...memory, failures, failure: { reason, message, blocked, retryAtMs } };
}

interface ImageContext {
  images: ImageMemory;
  events: StationEvent[];
}
interface ImageInput {
  image: { currentId: string | null; lastGoodId: string | null };
  nowMs: number;
}

/** Counts the end of a container, once. One that was not wished any more has ended as it should. */
export function countEnd(
  memory: SubjectMemory,
  wish: Wish,
  ended: ObservedContainer,
  context: ImageContext,
  input: ImageInput,
): SubjectMemory {
  if (memory.countedContainerId === ended.id) return memory;
  const counted = { ...memory, countedContainerId: ended.id };
  if (wish.kind === 'off') return counted;
  // Of another plug, profile or setting: what is wished now has not failed yet, and need not wait.
  if (wish.kind === 'run' && ended.labels[LABEL.intent] !== wish.intent) return counted;
  const why = explainEnd(ended);
  if (why.imagesFault && wish.target.kind === 'device') countWrong(ended.imageId, wish, context, input);
  return fail(counted, wish.subject, why, why.blocked, input.nowMs, context.events);
}

/** Counts a stall. One that never advanced at all may be the image's fault. */
export function countStall(
  memory: SubjectMemory,
  wish: Wish,
  { container, watch }: { container: ObservedContainer; watch: Watch },
  context: ImageContext,
  input: ImageInput,
): SubjectMemory & { failure: Failure } {
  if (watch.advancingSinceMs === null && !watch.adopted) countWrong(container.imageId, wish, context, input);
  const why = { reason: 'Stalled', message: 'It ran but captured nothing any more: it is started anew.' };
  return fail({ ...memory, watch }, wish.subject, why, false, input.nowMs, context.events);
}

function countWrong(imageId: string, wish: Wish, context: ImageContext, input: ImageInput): void {
  const { lastGoodId } = input.image;
  if (imageId === lastGoodId) return;
  const times = (context.images.wrong[imageId] ?? 0) + 1;
  context.images = { ...context.images, wrong: { [imageId]: times } };
  if (times < WRONG_ENDS_TO_ROLL_BACK || lastGoodId === null || context.images.skippedId === imageId) return;
  context.images = { ...context.images, skippedId: imageId };
  context.events.push({
    subject: wish.subject,
    type: 'warning',
    reason: 'ImageRolledBack',
    message: `The new recorder image (${imageId.replace('sha256:', '').slice(0, 12)}) failed twice: back to the last good one until the image changes.`,
  });
}

/** Good running clears failures, earns an immediate restart, and proves the image. */
export function noteRunning(memory: SubjectMemory, watch: Watch, goodAfterMs: number, imageId: string): SubjectMemory {
  const good = isGood(watch, goodAfterMs);
  // One that ran before we came has run for longer than we know.
  const adoptedAndWell = watch.adopted && watch.advancingSinceMs !== null;
  if (!good && !adoptedAndWell) return { ...memory, watch };
  return { ...memory, watch, failures: -1, failure: null, provenImageId: good ? imageId : memory.provenImageId };
}

/** Which image to make a recorder of: the tag's, unless that one is known to be bad and another is known to be good. */
export function chooseImage(
  image: { reference: string; currentId: string | null; lastGoodReference: string; lastGoodId: string | null },
  images: ImageMemory,
): { reference: string; id: string | null } {
  const unusable = image.currentId === null || image.currentId === images.skippedId;
  if (unusable && image.lastGoodId !== null) return { reference: image.lastGoodReference, id: image.lastGoodId };
  return { reference: image.reference, id: image.currentId };
}

/** What an exit code means (`RECORDER_EXIT`), as a sentence with what to do. */
function explainEnd({ oomKilled, exitCode }: ObservedContainer): End {
  if (oomKilled) return end('OutOfMemory', 'It was ended for lack of memory: raise SILVASONIC_RECORDER_MEMORY_LIMIT.');
  switch (exitCode) {
    case RECORDER_EXIT.askedToStop:
      return end('Ended', 'It ended though nobody asked: something outside stopped it.');
    case RECORDER_EXIT.microphoneGone:
      return end('MicrophoneGone', 'The microphone vanished while recording: check plug, cable and hub.');
    case RECORDER_EXIT.microphoneBusy:
      return end(
        'MicrophoneBusy',
        'Another program holds the microphone: stop it (PulseAudio and PipeWire are the usual ones).',
      );
    case RECORDER_EXIT.noPermission:
      return end(
        'NoPermission',
        'The sound device may not be opened: give this user the group audio, or run the station as root.',
        { blocked: true },
      );
    case RECORDER_EXIT.formatRefused:
      return end(
        'FormatRefused',
        'The microphone refuses this rate, format or channel count: choose another profile or clear its overrides.',
        { blocked: true },
      );
    case RECORDER_EXIT.folderUnwritable:
      return end('FolderUnwritable', 'Its folder cannot be written: check the disk and who owns the folder.', {
        blocked: true,
      });
    case RECORDER_EXIT.badConfig:
      return end(
        'ConfigRefused',
        'The recorder does not understand its configuration: controller and recorder image may be of different releases.',
        { blocked: true, imagesFault: true },
      );
    case 137:
      // On cgroups v1 some engines do not say that it was the kernel, for lack of memory.
      return end('Killed', 'It was killed: by somebody, or by the kernel for lack of memory.');
    case null:
      return end('Ended', 'It ended; the engine does not say how.');
    default:
      return end('Crashed', `It ended with code ${exitCode}: see its log.`, { imagesFault: true });
  }
}

interface End extends Explanation {
  /** Waiting does not mend it. */
  blocked: boolean;
  /** Another image might do better. */
  imagesFault: boolean;
}

function end(reason: string, message: string, { blocked = false, imagesFault = false }: Partial<End> = {}): End {
  return { reason, message, blocked, imagesFault };
}
