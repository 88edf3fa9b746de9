/**
 * What to do, and why: wishes against containers. Pure: equal input, equal plan. Every subject ends in exactly one
 * outcome, every action carries a sentence that a person could read, and nothing is left to choose for those who act.
 *
 *   run      missing, and now is the time: it is made and started
 *   replace  what runs is not what is wished, or does not advance: it is stopped; a later cycle makes it anew
 *   remove   not wanted, left over, or ended: it is torn down
 *   keep     as it should be, or nothing may be touched
 *   wait     back-off, hardware, an action in flight, a view older than our last action
 *   blocked  waiting will not help: a person must act; tried again when the input changes, or slowly
 *   off      nothing is wanted and nothing is there
 */
import { LABEL, type RecorderStatus } from '../shared/contract.ts';
import {
  absorbResults,
  clearIfChanged,
  countEnd,
  countStall,
  emptySubjectMemory,
  type ImageMemory,
  noteGoodRunning,
  type PlanMemory,
  type Policy,
  type SubjectMemory,
} from './plan-memory.ts';
import { advance, isGood, isStalled, startWatch } from './progress.ts';
import { recorderSubject, serviceSubject } from './spec.ts';
import type {
  Action,
  Explanation,
  FinishedAction,
  ObservedContainer,
  Phase,
  Reading,
  ServicePhase,
  StationEvent,
  SubjectKey,
  Wish,
} from './world.ts';

export interface PlanInput {
  /** null: nobody knows what is wished, so nothing is touched. */
  wishes: readonly Wish[] | null;
  /** Ours, by owner and station. */
  containers: Reading<ObservedContainer[]>;
  /** Status files of recorders, by subject; absent: there was no reason to look. */
  statuses: ReadonlyMap<SubjectKey, Reading<RecorderStatus | null>>;
  inFlight: ReadonlyMap<SubjectKey, Action['kind']>;
  /** Since the last plan. */
  results: readonly FinishedAction[];
  /** The image of recorders and the one that last proved itself. */
  image: { currentId: string | null; lastGoodId: string | null; lastGoodReference: string };
  memory: PlanMemory;
  nowMs: number;
  policy: Policy;
}

export interface Outcome extends Explanation {
  subject: SubjectKey;
  kind: 'run' | 'replace' | 'remove' | 'keep' | 'wait' | 'blocked' | 'off';
  /** null: a container without a wish, so there is no row to tell. */
  target: Wish['target'] | null;
  phase: Phase | ServicePhase;
  /** The generation whose outcome is reached, for `observed_generation`. */
  observedGeneration: number;
}

export interface Plan {
  actions: Action[];
  outcomes: Outcome[];
  events: StationEvent[];
  memory: PlanMemory;
  /** When to look again though nothing woke us, monotonic ms. */
  deadlineMs: number | null;
}

/** How often a recorder that has just been started is looked at until it advances. */
const STARTING_LOOK_MS = 250;
const MOVING_LOOK_MS = 500;
/** Between SIGTERM and SIGKILL: a recorder needs well under a second to finish its file. */
const STOP_TIMEOUT_S = 10;

/** Decides for every subject. Never throws. */
export function plan(input: PlanInput): Plan {
  const absorbed = absorbResults(input.memory, input.results, input.nowMs);
  if (input.wishes === null) return { actions: [], outcomes: [], events: absorbed.events, memory: absorbed.memory, deadlineMs: null };
  const context: Context = { input, images: absorbed.memory.images, events: [...absorbed.events], deadlines: [] };
  const containers = input.containers.ok ? groupBySubject(input.containers.value) : new Map<SubjectKey, ObservedContainer[]>();
  const actions: Action[] = [];
  const outcomes: Outcome[] = [];
  const subjects = new Map<SubjectKey, SubjectMemory>();

  for (const wish of input.wishes) {
    const remembered = absorbed.memory.subjects.get(wish.subject) ?? emptySubjectMemory(wish.told);
    const decided = decideWish(wish, containers.get(wish.subject) ?? [], clearIfChanged(remembered, wish), context);
    if (decided.action !== null) actions.push(decided.action);
    outcomes.push(decided.outcome);
    subjects.set(wish.subject, tell(wish, decided, context));
    containers.delete(wish.subject);
  }
  for (const [subject, orphans] of containers) {
    const memory = absorbed.memory.subjects.get(subject) ?? emptySubjectMemory(null);
    const decided = removeOrphan(subject, orphans, memory, context);
    if (decided.action !== null) actions.push(decided.action);
    outcomes.push(decided.outcome);
    subjects.set(subject, decided.memory);
  }
  const updated = rollOut(input, absorbed.memory.updating, actions, outcomes, subjects);
  const proven = tagProven(context, subjects);
  return {
    actions: [...actions, ...proven],
    outcomes,
    events: context.events,
    memory: { subjects, images: context.images, updating: updated },
    deadlineMs: context.deadlines.length > 0 ? Math.min(...context.deadlines) : null,
  };
}

interface Context {
  input: PlanInput;
  images: ImageMemory;
  events: StationEvent[];
  deadlines: number[];
}

interface Decided {
  outcome: Outcome;
  action: Action | null;
  memory: SubjectMemory;
}

/** The subject that a container's labels name; one whose labels name none is a subject of its own, so that it is removed. */
export function subjectOf(container: ObservedContainer): SubjectKey {
  const service = container.labels[LABEL.service];
  const deviceId = container.labels[LABEL.deviceId];
  if (service === 'recorder' && deviceId !== undefined) return recorderSubject(deviceId);
  if (service !== undefined && service !== 'recorder') return serviceSubject(service);
  return `unknown:${container.id}`;
}

function groupBySubject(containers: readonly ObservedContainer[]): Map<SubjectKey, ObservedContainer[]> {
  const groups = new Map<SubjectKey, ObservedContainer[]>();
  for (const container of [...containers].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const subject = subjectOf(container);
    groups.set(subject, [...(groups.get(subject) ?? []), container]);
  }
  return groups;
}

// ------------------------------------------------------------------------------------------------- one subject

function decideWish(wish: Wish, mine: readonly ObservedContainer[], memory: SubjectMemory, context: Context): Decided {
  const { input } = context;
  const blind = whyBlind(wish, memory, context);
  if (blind !== null) return { ...blind, memory };
  const counted = mine.filter((container) => container.state === 'ended').reduce((m, ended) => countEnd(m, wish, ended, context, input), memory);
  if (mine.some((container) => container.state === 'moving')) {
    context.deadlines.push(input.nowMs + MOVING_LOOK_MS);
    return waiting(wish, counted, { reason: 'EngineBusy', message: 'The container engine is at work on it.' }, wish.told.phase);
  }
  const live = mine.filter((container) => container.state === 'live');
  const chosen = wish.kind === 'off' ? undefined : chooseLive(live, wish);
  const unwanted = mine.find((container) => container !== chosen);
  if (unwanted !== undefined) return tearDown(wish, unwanted, chosen, counted, context);
  if (wish.kind === 'off') return settled(wish, 'off', wish.phase, wish, true, counted);
  if (wish.kind === 'hold') return holdOn(wish, chosen, counted, context);
  return chosen === undefined ? startOrWait(wish, counted, context) : keepOrReplace(wish, chosen, counted, context);
}

/** Of several live ones the one that is as wished; else the first. The others are one too many. */
function chooseLive(live: readonly ObservedContainer[], wish: Wish): ObservedContainer | undefined {
  const matching = wish.kind === 'run' ? live.find((container) => container.labels[LABEL.intent] === wish.intent) : undefined;
  return matching ?? live[0];
}

/** Reasons not to decide anything for this subject now. */
function whyBlind(wish: Wish, memory: SubjectMemory, context: Context): Omit<Decided, 'memory'> | null {
  const { containers, inFlight, nowMs } = context.input;
  const flying = inFlight.get(wish.subject);
  if (flying !== undefined) {
    const phase = flying === 'run' ? 'starting' : memory.failure?.reason === 'Stalled' ? 'stalled' : 'stopping';
    return waiting(wish, memory, { reason: 'InFlight', message: flying === 'run' ? 'Starting.' : 'Stopping.' }, phase);
  }
  if (!containers.ok) return engineAway(wish, memory, context);
  if (memory.lastActionEndedAtMs >= containers.startedAtMs) {
    return waiting(wish, memory, { reason: 'StaleView', message: 'Looking at what the last action came to.' }, memory.told.phase);
  }
  if (nowMs < memory.removeRetryAtMs) {
    context.deadlines.push(memory.removeRetryAtMs);
    return waiting(wish, memory, memory.removeFailure ?? { reason: 'RemoveFailed', message: 'It could not be removed.' }, 'stopping');
  }
  return null;
}

/** Without an engine nothing is touched; whether a recorder records is still known from what it writes. */
function engineAway(wish: Wish, memory: SubjectMemory, context: Context): Omit<Decided, 'memory'> {
  if (wish.kind === 'off' && wish.told.phase === wish.phase && wish.told.observedGeneration === wish.generation) {
    return settled(wish, 'keep', wish.phase, wish, true, memory);
  }
  const status = context.input.statuses.get(wish.subject);
  const recording = status?.ok === true && status.value?.state === 'recording' && wish.told.phase === 'recording';
  return settled(
    wish,
    'keep',
    recording ? 'recording' : 'waiting',
    { reason: 'EngineUnavailable', message: 'The container engine does not answer: what runs goes on, nothing is started or stopped.' },
    false,
    memory,
  );
}

function tearDown(
  wish: Wish,
  unwanted: ObservedContainer,
  chosen: ObservedContainer | undefined,
  memory: SubjectMemory,
  context: Context,
): Decided {
  const why = whyTornDown(wish, unwanted, chosen, memory);
  const action = removal(wish.subject, unwanted, why);
  // What takes its place is decided when it is gone, so that two never overlap.
  if (chosen !== undefined) {
    const kept = wish.kind === 'hold' ? holdOn(wish, chosen, memory, context) : settled(wish, 'remove', memory.told.phase, why, false, memory);
    return { ...kept, outcome: { ...kept.outcome, kind: 'remove' }, action };
  }
  const phase = wish.kind === 'off' || unwanted.state === 'live' ? 'stopping' : memory.failure === null ? 'starting' : 'backoff';
  return { outcome: outcomeOf(wish, 'remove', phase, why, false), action, memory };
}

function whyTornDown(wish: Wish, unwanted: ObservedContainer, chosen: ObservedContainer | undefined, memory: SubjectMemory): Explanation {
  if (unwanted.state === 'created') return { reason: 'NeverStarted', message: 'It was made but never started; it is cleared away.' };
  if (unwanted.state === 'ended') return memory.failure ?? { reason: 'Ended', message: 'It has ended; it is cleared away.' };
  if (chosen !== undefined) return { reason: 'Duplicate', message: 'There is one too many for the same microphone.' };
  return { reason: wish.reason, message: wish.message };
}

function holdOn(wish: Extract<Wish, { kind: 'hold' }>, chosen: ObservedContainer | undefined, memory: SubjectMemory, context: Context): Decided {
  if (wish.untilMs !== null) context.deadlines.push(wish.untilMs);
  const kind = wish.phase === 'blocked' ? 'blocked' : 'wait';
  if (chosen === undefined) return settled(wish, kind, wish.phase, wish, wish.phase === 'blocked', memory);
  const status = context.input.statuses.get(wish.subject);
  const recording = status?.ok === true && status.value?.state === 'recording';
  const message = recording ? `${wish.message} Until then the recorder that runs goes on as it is.` : wish.message;
  return settled(wish, 'keep', recording ? 'recording' : wish.phase, { ...wish, message }, wish.phase === 'blocked', memory);
}

function startOrWait(wish: Extract<Wish, { kind: 'run' }>, memory: SubjectMemory, context: Context): Decided {
  const { nowMs } = context.input;
  if (nowMs < memory.retryAtMs && memory.failure !== null) {
    context.deadlines.push(memory.retryAtMs);
    const phase = memory.blocked ? 'blocked' : 'backoff';
    return settled(wish, memory.blocked ? 'blocked' : 'wait', phase, memory.failure, memory.blocked, memory);
  }
  if (wish.imageId === null) {
    const why = {
      reason: 'ImageMissing',
      message: `The image ${wish.spec.image} is not on this machine: build it (npm start and compose do) or pull it.`,
    };
    return settled(wish, 'blocked', 'blocked', why, true, memory);
  }
  const why: Explanation =
    memory.failure === null ? { reason: 'Wanted', message: 'It should run and does not.' } : { ...memory.failure, message: `Trying again. ${memory.failure.message}` };
  const action: Action = { kind: 'run', subject: wish.subject, spec: wish.spec, workspace: wish.workspace, imageId: wish.imageId, ...why };
  return { outcome: outcomeOf(wish, 'run', 'starting', { reason: 'Starting', message: 'Starting.' }, false), action, memory };
}

function keepOrReplace(wish: Extract<Wish, { kind: 'run' }>, container: ObservedContainer, memory: SubjectMemory, context: Context): Decided {
  const { input } = context;
  if (container.labels[LABEL.intent] !== wish.intent) {
    const why = { reason: 'Changed', message: 'Plug, profile or settings changed: it is replaced.' };
    return { outcome: outcomeOf(wish, 'replace', 'stopping', why, false), action: removal(wish.subject, container, why), memory };
  }
  const started = memory.startedContainerId === container.id;
  const before = memory.watch?.containerId === container.id ? memory.watch : startWatch(container.id, !started, input.nowMs);
  const status = wish.workspace === null ? null : input.statuses.get(wish.subject);
  const watch = advance(before, status, input.nowMs);
  if (isStalled(watch, input.nowMs, input.policy.stallTimeoutMs)) {
    const stalled = countStall({ ...memory, watch }, wish, container, context, input);
    const why = stalled.failure ?? { reason: 'Stalled', message: 'It does not advance.' };
    return { outcome: outcomeOf(wish, 'replace', 'stalled', why, false), action: removal(wish.subject, container, why), memory: stalled };
  }
  context.deadlines.push(watch.advancingSinceMs === null ? input.nowMs + STARTING_LOOK_MS : watch.lastAdvanceMs + input.policy.stallTimeoutMs);
  const next = noteGoodRunning({ ...memory, watch }, isGood(watch, input.policy.goodAfterMs), container.imageId);
  return describeRunning(wish, container, next, status?.ok ? status.value : null);
}

// ---------------------------------------------------------------------------------------- what a person is told

function describeRunning(wish: Extract<Wish, { kind: 'run' }>, container: ObservedContainer, memory: SubjectMemory, status: RecorderStatus | null): Decided {
  const advanced = wish.workspace === null || (memory.watch?.advancingSinceMs ?? null) !== null;
  const adopted = memory.watch?.adopted === true;
  const extras = notes(wish, container, memory);
  const tellAs = (phase: Phase | ServicePhase, why: Explanation, reached: boolean): Decided => {
    const message = [why.message, ...extras.map((note) => note.message)].join(' ');
    return settled(wish, 'keep', phase, { reason: why.reason, message }, reached, memory);
  };
  if (status?.state === 'no_space') return tellAs('blocked', { reason: status.reason || 'NoSpace', message: status.message }, true);
  if (status?.state === 'retrying') return tellAs('waiting', { reason: status.reason || 'Retrying', message: status.message }, false);
  const recording = wish.workspace === null || advanced || (adopted && status?.state === 'recording');
  if (!recording) return tellAs('starting', { reason: 'Starting', message: 'Started; waiting for the first sound.' }, false);
  if (status?.silent) return tellAs('recording', { reason: 'Silent', message: 'Recording, but nothing is heard: check the microphone and its cable.' }, advanced);
  const reason = extras[0]?.reason ?? 'Recording';
  return tellAs(wish.target.kind === 'device' ? 'recording' : 'running', { reason, message: 'Recording.' }, advanced);
}

/** What a person should know of something that runs all the same. */
function notes(wish: Extract<Wish, { kind: 'run' }>, container: ObservedContainer, memory: SubjectMemory): Explanation[] {
  const warnings = wish.message === '' ? [] : [{ reason: wish.reason, message: wish.message }];
  const update = isUpdateWaiting(wish, container)
    ? [{ reason: 'UpdateWaiting', message: 'An update waits for the next restart; “apply now” does it at once.' }]
    : [];
  return [...warnings, ...memory.refusedLimits, ...update];
}

function isUpdateWaiting(wish: Wish, container: ObservedContainer): boolean {
  return wish.kind === 'run' && wish.template !== null && container.labels[LABEL.template] !== wish.template;
}

function outcomeOf(wish: Wish, kind: Outcome['kind'], phase: Phase | ServicePhase, why: Explanation, reached: boolean): Outcome {
  return {
    subject: wish.subject,
    kind,
    target: wish.target,
    phase,
    reason: why.reason,
    message: why.message,
    observedGeneration: reached ? wish.generation : wish.told.observedGeneration,
  };
}

function settled(wish: Wish, kind: Outcome['kind'], phase: Phase | ServicePhase, why: Explanation, reached: boolean, memory: SubjectMemory): Decided {
  return { outcome: outcomeOf(wish, kind, phase, why, reached), action: null, memory };
}

function waiting(wish: Wish, memory: SubjectMemory, why: Explanation, phase: Phase | ServicePhase): Decided {
  return settled(wish, 'wait', phase, why, false, memory);
}

function removal(subject: SubjectKey, container: ObservedContainer, why: Explanation): Action {
  return { kind: 'remove', subject, containerId: container.id, stopTimeoutS: STOP_TIMEOUT_S, reason: why.reason, message: why.message };
}

const TOLD_PHASES: Partial<Record<Phase | ServicePhase, StationEvent['type']>> = {
  offline: 'normal',
  pending: 'normal',
  disabled: 'normal',
  ignored: 'normal',
  recording: 'normal',
  running: 'normal',
  blocked: 'warning',
};
/** Reasons that make an otherwise normal phase worth a warning. */
const WARNING_REASONS = new Set(['Silent', 'FlappingPlug', 'OomScoreRefused', 'MemoryLimitRefused', 'ProfileInvalid', 'SettingsInvalid']);

/** An event for each change of phase or reason that matters; failures told theirs when they were counted. */
function tell(wish: Wish, decided: Decided, context: Context): SubjectMemory {
  const { outcome, memory } = decided;
  if (outcome.kind === 'wait' && (outcome.reason === 'InFlight' || outcome.reason === 'StaleView')) return memory;
  const changed = memory.told.phase !== outcome.phase || memory.told.reason !== outcome.reason;
  const type = WARNING_REASONS.has(outcome.reason) ? 'warning' : TOLD_PHASES[outcome.phase];
  const alreadyCounted = memory.failure !== null && memory.failure.reason === outcome.reason;
  if (changed && type !== undefined && !alreadyCounted) {
    context.events.push({ subject: wish.subject, type, reason: outcome.reason, message: outcome.message });
  }
  return { ...memory, told: { phase: outcome.phase, reason: outcome.reason } };
}

// ------------------------------------------------------------------------------------------------ orphans

function removeOrphan(subject: SubjectKey, containers: readonly ObservedContainer[], memory: SubjectMemory, context: Context): Decided {
  const { input } = context;
  const why = { reason: 'Orphan', message: 'Nothing in the database asks for it.' };
  const outcome: Outcome = { subject, kind: 'remove', target: null, phase: 'stopping', observedGeneration: 0, ...why };
  const first = containers.find((container) => container.state !== 'moving');
  const stale = !input.containers.ok || memory.lastActionEndedAtMs >= input.containers.startedAtMs;
  if (first === undefined || stale || input.inFlight.has(subject) || input.nowMs < memory.removeRetryAtMs) {
    if (input.nowMs < memory.removeRetryAtMs) context.deadlines.push(memory.removeRetryAtMs);
    if (first === undefined) context.deadlines.push(input.nowMs + MOVING_LOOK_MS);
    return { outcome: { ...outcome, kind: 'wait' }, action: null, memory };
  }
  return { outcome, action: removal(subject, first, why), memory };
}

// ------------------------------------------------------------------------------------------------ updates

/** With `auto_update`, one running recorder at a time takes the new release; the next after this one has proven itself. */
function rollOut(
  input: PlanInput,
  updating: SubjectKey | null,
  actions: Action[],
  outcomes: Outcome[],
  subjects: ReadonlyMap<SubjectKey, SubjectMemory>,
): SubjectKey | null {
  if (!input.policy.autoUpdate || !input.containers.ok) return updating;
  const wishesBySubject = new Map((input.wishes ?? []).map((wish) => [wish.subject, wish]));
  const liveBySubject = new Map(input.containers.value.filter(({ state }) => state === 'live').map((live) => [subjectOf(live), live]));
  if (updating !== null && !hasProvenItself(wishesBySubject.get(updating), liveBySubject.get(updating), subjects, input)) return updating;
  for (const [index, outcome] of outcomes.entries()) {
    const wish = wishesBySubject.get(outcome.subject);
    const container = liveBySubject.get(outcome.subject);
    if (outcome.kind !== 'keep' || wish?.kind !== 'run' || container === undefined || !isUpdateWaiting(wish, container)) continue;
    const why = { reason: 'Update', message: 'A new release is applied, one recorder at a time.' };
    actions.push(removal(outcome.subject, container, why));
    outcomes[index] = { ...outcome, kind: 'replace', phase: 'stopping', ...why };
    return outcome.subject;
  }
  return null;
}

/** The one that was updated last runs well on the new release, or is not wished any more. */
function hasProvenItself(
  wish: Wish | undefined,
  container: ObservedContainer | undefined,
  subjects: ReadonlyMap<SubjectKey, SubjectMemory>,
  input: PlanInput,
): boolean {
  if (wish?.kind !== 'run') return true;
  const watch = subjects.get(wish.subject)?.watch;
  const itself = container !== undefined && watch?.containerId === container.id && !isUpdateWaiting(wish, container);
  return itself && isGood(watch, input.policy.goodAfterMs);
}

/** An image under which a recorder ran well is tagged, so that a bad one can be rolled back to it. */
function tagProven(context: Context, subjects: ReadonlyMap<SubjectKey, SubjectMemory>): Action[] {
  const { image, inFlight, containers } = context.input;
  const subject = 'image:recorder';
  if (!containers.ok || inFlight.has(subject)) return [];
  const proven = [...subjects.values()].map((memory) => memory.provenImageId).find((id) => id !== null && id === image.currentId);
  if (proven === undefined || proven === null || proven === image.lastGoodId || proven === context.images.taggedId) return [];
  context.images = { ...context.images, taggedId: proven };
  const message = 'A recorder ran well with this image: it is the one to come back to.';
  return [{ kind: 'tag', subject, imageId: proven, reference: image.lastGoodReference, reason: 'Proven', message }];
}
