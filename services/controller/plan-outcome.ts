/**
 * The words of `plan`: what it is given, what it answers, and the few ways in which a subject's outcome is put together.
 * Pure.
 */
import { LABEL, type RecorderStatus } from '../shared/contract.ts';
import { STOP_TIMEOUT_S } from './container-spec.ts';
import type { ImageMemory, PlanMemory, Policy, SubjectMemory } from './plan-memory.ts';
import { serviceSubject } from './service-wish.ts';
import { recorderSubject } from './spec.ts';
import type {
  Action,
  Explanation,
  FinishedAction,
  ObservedContainer,
  Phase,
  PullState,
  Reading,
  ServicePhase,
  StationEvent,
  SubjectKey,
  Wish,
} from './world.ts';

export interface PlanInput {
  /** null: nobody knows what is wished, so nothing is touched. */
  wishes: readonly Wish[] | null;
  /**
   * The wishes are those of the last good state, since the database has not been read yet: somebody may have wished
   * otherwise meanwhile, so nothing that works is stopped for them.
   */
  remembered: boolean;
  /** Ours, by owner and station. */
  containers: Reading<ObservedContainer[]>;
  /** Status files of recorders, by subject; absent: there was no reason to look. */
  statuses: ReadonlyMap<SubjectKey, Reading<RecorderStatus | null>>;
  /** What services have to tell a person; absent: nothing. */
  reports: ReadonlyMap<SubjectKey, Explanation>;
  /** Images that are missing and on their way, by reference. */
  pulls: ReadonlyMap<string, PullState>;
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

/** What one run of `plan` gathers on its way. */
export interface Context {
  input: PlanInput;
  images: ImageMemory;
  events: StationEvent[];
  deadlines: number[];
  /** Incarnations of microphones that a living container holds; null: nobody has asked yet. */
  held: ReadonlySet<string | undefined> | null;
  /** None where the engine could not be asked. */
  observed: readonly ObservedContainer[];
}

export interface Decided {
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

export function outcomeOf(
  wish: Wish,
  kind: Outcome['kind'],
  phase: Phase | ServicePhase,
  why: Explanation,
  reached: boolean,
): Outcome {
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

export function settled(
  wish: Wish,
  kind: Outcome['kind'],
  phase: Phase | ServicePhase,
  why: Explanation,
  reached: boolean,
  memory: SubjectMemory,
): Decided {
  return { outcome: outcomeOf(wish, kind, phase, why, reached), action: null, memory };
}

export function waiting(wish: Wish, memory: SubjectMemory, why: Explanation, phase: Phase | ServicePhase): Decided {
  return settled(wish, 'wait', phase, why, false, memory);
}

export function removal(subject: SubjectKey, container: ObservedContainer, why: Explanation): Action {
  return {
    kind: 'remove',
    subject,
    containerId: container.id,
    stopTimeoutS: STOP_TIMEOUT_S,
    reason: why.reason,
    message: why.message,
  };
}
