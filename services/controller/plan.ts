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
import { LABEL } from '../shared/contract.ts';
import {
  absorbResults,
  clearIfChanged,
  countEnd,
  countStall,
  emptySubjectMemory,
  noteRunning,
  type SubjectMemory,
} from './plan-memory.ts';
import {
  type Context,
  type Decided,
  type Outcome,
  outcomeOf,
  type Plan,
  type PlanInput,
  removal,
  settled,
  subjectOf,
  waiting,
} from './plan-outcome.ts';
import { describeRunning, tell } from './plan-telling.ts';
import { rollOut, tagProven } from './plan-updates.ts';
import { advance, isStalled, startWatch, type Watch } from './progress.ts';
import type { Action, Explanation, ObservedContainer, SubjectKey, Wish } from './world.ts';

/** How often a recorder that has just been started is looked at until it advances. */
const STARTING_LOOK_MS = 250;
const MOVING_LOOK_MS = 500;
const NOT_READ_YET: Explanation = {
  reason: 'DatabaseUnread',
  message: 'The database cannot be read yet: what runs goes on until it says what is wished.',
};

/** Decides for every subject. Never throws. */
export function plan(input: PlanInput): Plan {
  const absorbed = absorbResults(input.memory, input.results, input.nowMs);
  if (input.wishes === null)
    return { actions: [], outcomes: [], events: absorbed.events, memory: absorbed.memory, deadlineMs: null };
  const observed = input.containers.ok ? input.containers.value : [];
  const { images } = absorbed.memory;
  const context: Context = { input, images, observed, held: null, events: [...absorbed.events], deadlines: [] };
  const containers = groupBySubject(observed);
  const actions: Action[] = [];
  const outcomes: Outcome[] = [];
  const subjects = new Map<SubjectKey, SubjectMemory>();

  for (const wish of input.wishes) {
    const remembered = clearIfChanged(absorbed.memory.subjects.get(wish.subject) ?? emptySubjectMemory, wish);
    const decided = decideWish(wish, containers.get(wish.subject) ?? [], remembered, context);
    if (decided.action !== null) actions.push(decided.action);
    outcomes.push(decided.outcome);
    subjects.set(wish.subject, tell(wish, decided, context));
    containers.delete(wish.subject);
  }
  for (const [subject, orphans] of [...containers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const memory = absorbed.memory.subjects.get(subject) ?? emptySubjectMemory;
    const decided = removeOrphan(subject, orphans, memory, context);
    if (decided.action !== null) actions.push(decided.action);
    outcomes.push(decided.outcome);
    subjects.set(subject, decided.memory);
  }
  const updated = rollOut(input, input.wishes, absorbed.memory.updating, actions, outcomes, subjects);
  const proven = tagProven(context, subjects);
  return {
    actions: [...actions, ...proven],
    outcomes,
    events: context.events,
    memory: { subjects, images: context.images, updating: updated },
    deadlineMs: context.deadlines.length > 0 ? Math.min(...context.deadlines) : null,
  };
}

function groupBySubject(containers: readonly ObservedContainer[]): Map<SubjectKey, ObservedContainer[]> {
  const groups = new Map<SubjectKey, ObservedContainer[]>();
  for (const container of containers) {
    const subject = subjectOf(container);
    const group = groups.get(subject);
    if (group === undefined) groups.set(subject, [container]);
    else group.push(container);
  }
  // In whichever order the engine told of them.
  for (const group of groups.values()) group.sort((a, b) => (a.id < b.id ? -1 : 1));
  return groups;
}

// ------------------------------------------------------------------------------------------------- one subject

function decideWish(wish: Wish, mine: readonly ObservedContainer[], memory: SubjectMemory, context: Context): Decided {
  const { input } = context;
  const blind = whyBlind(wish, memory, context);
  if (blind !== null) return blind;
  const counted = mine
    .filter((container) => container.state === 'ended')
    .reduce((m, ended) => countEnd(m, wish, ended, context, input), memory);
  if (mine.some((container) => container.state === 'moving')) {
    context.deadlines.push(input.nowMs + MOVING_LOOK_MS);
    return waiting(
      wish,
      counted,
      { reason: 'EngineBusy', message: 'The container engine is at work on it.' },
      wish.told.phase,
    );
  }
  const live = mine.filter((container) => container.state === 'live');
  // That a microphone is not plugged in is no hearsay.
  const isSpared = wish.kind === 'off' && wish.phase !== 'offline' && input.remembered;
  const chosen = wish.kind === 'off' && !isSpared ? undefined : chooseLive(live, wish);
  const unwanted = mine.find((container) => container !== chosen);
  if (unwanted !== undefined) return tearDown(wish, unwanted, chosen, counted, context);
  if (isSpared && chosen !== undefined) return settled(wish, 'keep', wish.told.phase, NOT_READ_YET, false, counted);
  if (wish.kind === 'off') return settled(wish, 'off', wish.phase, wish, true, counted);
  if (wish.kind === 'hold') return holdOn(wish, chosen, counted, context);
  return chosen === undefined ? startOrWait(wish, counted, context) : keepOrReplace(wish, chosen, counted, context);
}

/** Of several live ones the one that is as wished; else the first. The others are one too many. */
function chooseLive(live: readonly ObservedContainer[], wish: Wish): ObservedContainer | undefined {
  const matching =
    wish.kind === 'run' ? live.find((container) => container.labels[LABEL.intent] === wish.intent) : undefined;
  return matching ?? live[0];
}

/** Reasons not to decide anything for this subject now. */
function whyBlind(wish: Wish, memory: SubjectMemory, context: Context): Decided | null {
  const { containers, inFlight, nowMs } = context.input;
  const flying = inFlight.get(wish.subject);
  if (flying !== undefined) {
    const phase = flying === 'run' ? 'starting' : memory.failure?.reason === 'Stalled' ? 'stalled' : 'stopping';
    return waiting(wish, memory, { reason: 'InFlight', message: flying === 'run' ? 'Starting.' : 'Stopping.' }, phase);
  }
  if (!containers.ok) return engineAway(wish, memory, context);
  // What was done when the engine answered stands in a list that begins then; with "the same moment" counted as older, nobody
  // would look again before the tick.
  if (memory.lastActionEndedAtMs > containers.startedAtMs) {
    return waiting(
      wish,
      memory,
      { reason: 'StaleView', message: 'Looking at what the last action came to.' },
      toldPhase(wish, memory),
    );
  }
  if (memory.removeFailure !== null && nowMs < memory.removeFailure.retryAtMs) {
    context.deadlines.push(memory.removeFailure.retryAtMs);
    return waiting(wish, memory, memory.removeFailure, 'stopping');
  }
  return null;
}

const toldPhase = (wish: Wish, memory: SubjectMemory): Outcome['phase'] => memory.told?.phase ?? wish.told.phase;

/** The advance of what runs though nothing may be done about it: a person must hear of a stall all the same. */
function watchAnyway(wish: Wish, containerId: string, memory: SubjectMemory, { input }: Context): Watch {
  const before = memory.watch?.containerId === containerId ? memory.watch : startWatch(containerId, true, input.nowMs);
  return advance(before, input.statuses.get(wish.subject), input.nowMs);
}

/** Without an engine nothing is touched; whether a recorder records is still known from what it writes. */
function engineAway(wish: Wish, memory: SubjectMemory, context: Context): Decided {
  const isOff = wish.kind === 'off' && wish.told.phase === wish.phase;
  const isReached = wish.told.observedGeneration === wish.generation;
  if (isOff && isReached) return settled(wish, 'keep', wish.phase, wish, isReached, memory);
  const watch = watchAnyway(wish, memory.watch?.containerId ?? '', memory, context);
  const status = context.input.statuses.get(wish.subject);
  const told = status?.ok === true && status.value?.state === 'recording';
  const recording = told && !isStalled(watch, context.input.nowMs, context.input.policy.stallTimeoutMs);
  const message = 'The container engine does not answer: what runs goes on, nothing is started or stopped.';
  const why = { reason: 'EngineUnavailable', message };
  return settled(wish, 'keep', recording ? 'recording' : 'waiting', why, false, { ...memory, watch });
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
    const kept =
      wish.kind === 'hold'
        ? holdOn(wish, chosen, memory, context)
        : settled(wish, 'remove', toldPhase(wish, memory), why, false, memory);
    return { ...kept, outcome: { ...kept.outcome, kind: 'remove' }, action };
  }
  const phase = wish.kind === 'off' ? 'stopping' : memory.failure === null ? 'starting' : 'backoff';
  return { outcome: outcomeOf(wish, 'remove', phase, why, false), action, memory };
}

function whyTornDown(
  wish: Wish,
  unwanted: ObservedContainer,
  chosen: ObservedContainer | undefined,
  memory: SubjectMemory,
): Explanation {
  if (unwanted.state === 'created')
    return { reason: 'NeverStarted', message: 'It was made but never started; it is cleared away.' };
  if (unwanted.state === 'ended')
    return memory.failure ?? { reason: 'Ended', message: 'It has ended; it is cleared away.' };
  if (chosen !== undefined) return { reason: 'Duplicate', message: 'There is one too many for the same microphone.' };
  return { reason: wish.reason, message: wish.message };
}

function holdOn(
  wish: Extract<Wish, { kind: 'hold' }>,
  chosen: ObservedContainer | undefined,
  memory: SubjectMemory,
  context: Context,
): Decided {
  if (wish.untilMs !== null) context.deadlines.push(wish.untilMs);
  const reached = wish.phase === 'blocked';
  if (chosen === undefined) return settled(wish, reached ? 'blocked' : 'wait', wish.phase, wish, reached, memory);
  const watched = { ...memory, watch: watchAnyway(wish, chosen.id, memory, context) };
  if (isStalled(watched.watch, context.input.nowMs, context.input.policy.stallTimeoutMs)) {
    const message = `It captures nothing any more, and cannot be started anew: ${wish.message}`;
    return settled(wish, 'keep', 'stalled', { reason: 'Stalled', message }, reached, watched);
  }
  const status = context.input.statuses.get(wish.subject);
  const recording = status?.ok === true && status.value?.state === 'recording';
  const message = recording ? `${wish.message} Until then the recorder that runs goes on as it is.` : wish.message;
  return settled(wish, 'keep', recording ? 'recording' : wish.phase, { ...wish, message }, reached, watched);
}

function startOrWait(wish: Extract<Wish, { kind: 'run' }>, memory: SubjectMemory, context: Context): Decided {
  const { nowMs } = context.input;
  if (wish.notNow !== null) return settled(wish, 'wait', 'waiting', wish.notNow, false, memory);
  const { failure } = memory;
  if (failure !== null && nowMs < failure.retryAtMs) {
    context.deadlines.push(failure.retryAtMs);
    const [kind, phase] = failure.blocked ? (['blocked', 'blocked'] as const) : (['wait', 'backoff'] as const);
    return settled(wish, kind, phase, namingHolder(failure, wish.holder), failure.blocked, memory);
  }
  if (wish.imageId === null) return imageMissing(wish, memory, context);
  if (isHeldByAnother(wish, context)) {
    context.deadlines.push(nowMs + MOVING_LOOK_MS);
    const message = 'A recorder of another name still holds this microphone: it begins when that one is gone.';
    return settled(wish, 'wait', 'waiting', { reason: 'MicrophoneHeld', message }, false, memory);
  }
  const why: Explanation =
    failure === null
      ? { reason: 'Wanted', message: 'It should run and does not.' }
      : { reason: failure.reason, message: `Trying again. ${failure.message}` };
  const action: Action = {
    kind: 'run',
    subject: wish.subject,
    spec: wish.spec,
    folders: wish.folders,
    imageId: wish.imageId,
    ...why,
  };
  return {
    outcome: outcomeOf(wish, 'run', 'starting', { reason: 'Starting', message: 'Starting.' }, false),
    action,
    memory,
  };
}

/**
 * By a container of another subject, since of its own there is none: as when a row went with an older database, and its
 * recorder is still being ended while the same microphone has a new row already.
 */
function isHeldByAnother({ spec }: Extract<Wish, { kind: 'run' }>, context: Context): boolean {
  context.held ??= heldMicrophones(context.observed);
  return context.held.has(spec.labels[LABEL.incarnation]);
}

/** A container without a microphone holds none, so that services never wait for each other. */
function heldMicrophones(containers: readonly ObservedContainer[]): ReadonlySet<string | undefined> {
  const held = new Set<string | undefined>();
  for (const { state, labels } of containers) {
    const incarnation = labels[LABEL.incarnation];
    if (incarnation !== undefined && (state === 'live' || state === 'moving')) held.add(incarnation);
  }
  return held;
}

/** Fetched where there is a registry to fetch it from; what runs of other subjects goes on meanwhile. */
function imageMissing(wish: Extract<Wish, { kind: 'run' }>, memory: SubjectMemory, context: Context): Decided {
  const pull = context.input.pulls.get(wish.spec.image);
  if (pull === undefined) {
    const message = `The image ${wish.spec.image} is not on this machine: build it (npm start does) or pull it.`;
    return settled(wish, 'blocked', 'blocked', { reason: 'ImageMissing', message }, true, memory);
  }
  const phase = wish.target.kind === 'service' ? 'pulling' : 'waiting';
  const reason = pull.kind === 'pulling' ? 'Pulling' : 'RegistryUnreachable';
  return settled(wish, 'wait', phase, { reason, message: pull.message }, false, memory);
}

function namingHolder(failure: Explanation, holder: string | null): Explanation {
  if (failure.reason !== 'MicrophoneBusy' || holder === null) return failure;
  return { reason: failure.reason, message: `${holder} holds the microphone: stop that program.` };
}

function keepOrReplace(
  wish: Extract<Wish, { kind: 'run' }>,
  container: ObservedContainer,
  memory: SubjectMemory,
  context: Context,
): Decided {
  const { input } = context;
  if (container.labels[LABEL.intent] !== wish.intent && !input.remembered) {
    const why = { reason: 'Changed', message: 'Plug, profile or settings changed: it is replaced.' };
    return {
      outcome: outcomeOf(wish, 'replace', 'stopping', why, false),
      action: removal(wish.subject, container, why),
      memory,
    };
  }
  const started = memory.startedContainerId === container.id;
  const before =
    memory.watch?.containerId === container.id ? memory.watch : startWatch(container.id, !started, input.nowMs);
  const status = wish.folders.kind === 'service' ? null : input.statuses.get(wish.subject);
  const watch = advance(before, status, input.nowMs);
  if (isStalled(watch, input.nowMs, input.policy.stallTimeoutMs)) {
    const stalled = countStall(memory, wish, { container, watch }, context, input);
    return {
      outcome: outcomeOf(wish, 'replace', 'stalled', stalled.failure, false),
      action: removal(wish.subject, container, stalled.failure),
      memory: stalled,
    };
  }
  context.deadlines.push(
    watch.advancingSinceMs === null
      ? input.nowMs + STARTING_LOOK_MS
      : watch.lastAdvanceMs + input.policy.stallTimeoutMs,
  );
  const next = noteRunning(memory, watch, input.policy.goodAfterMs, container.imageId);
  return describeRunning(wish, container, next, {
    watch,
    status: status?.ok ? status.value : null,
    report: input.reports.get(wish.subject) ?? null,
  });
}

// ------------------------------------------------------------------------------------------------ orphans

function removeOrphan(
  subject: SubjectKey,
  containers: readonly ObservedContainer[],
  memory: SubjectMemory,
  context: Context,
): Decided {
  const { input } = context;
  const why = { reason: 'Orphan', message: 'Nothing in the database asks for it.' };
  const outcome: Outcome = { subject, kind: 'remove', target: null, phase: 'stopping', observedGeneration: 0, ...why };
  const first = containers.find((container) => container.state !== 'moving');
  const stale = !input.containers.ok || memory.lastActionEndedAtMs > input.containers.startedAtMs;
  const retryAtMs = memory.removeFailure?.retryAtMs ?? Number.NEGATIVE_INFINITY;
  if (input.remembered && first?.state === 'live')
    return { outcome: { ...outcome, kind: 'keep', ...NOT_READ_YET }, action: null, memory };
  if (first === undefined || stale || input.inFlight.has(subject) || input.nowMs < retryAtMs) {
    if (input.nowMs < retryAtMs) context.deadlines.push(retryAtMs);
    if (first === undefined) context.deadlines.push(input.nowMs + MOVING_LOOK_MS);
    return { outcome: { ...outcome, kind: 'wait' }, action: null, memory };
  }
  return { outcome, action: removal(subject, first, why), memory };
}
