/**
 * A machine around `plan`: an engine that does at once what is planned, unless a test says how it ends, and that is looked
 * at whenever the plan asks for it and never otherwise. What was done, told and warned of is kept, with its second.
 */
import { plan } from '../../services/controller/plan.ts';
import { emptyPlanMemory } from '../../services/controller/plan-memory.ts';
import type { Plan, PlanInput } from '../../services/controller/plan-outcome.ts';
import type { Action, ActionOutcome, ObservedContainer, Reading, Wish } from '../../services/controller/world.ts';
import type { RecorderStatus } from '../../services/shared/contract.ts';
import { containerOf, planInput, reading, status } from './sample-world.ts';

/** Between an action and the look at what it came to. */
const ACTION_MS = 1;

/** More than any life here takes. */
const MOST_LOOKS = 2000;

export function createMachine(wishes: readonly Wish[], given: Partial<PlanInput> = {}) {
  let memory = emptyPlanMemory;
  let results: PlanInput['results'] = [];
  let made = 0;
  const lastTold = new Map<string, string>();
  const machine = {
    nowMs: 0,
    wishes,
    given,
    containers: [] as ObservedContainer[],
    /** How an action ends; `done`: it is carried out. */
    end: (_action: Action): ActionOutcome => ({ kind: 'done', containerId: null, refusedLimits: [] }),
    /** What a container is like as soon as it was started. */
    started: {} as Partial<ObservedContainer>,
    statusOf: (_wish: Wish, nowMs: number): Reading<RecorderStatus | null> => reading(status(nowMs + 1)),
    /** `<second> <kind> <reason>`; the subject in between where there are several. */
    did: [] as string[],
    events: [] as string[],
    told: [] as string[],
    look,
    advance,
  };

  const line = (subject: string, words: string): string => {
    const who = machine.wishes.length > 1 ? ` ${subject.replace('recorder:', '')}` : '';
    return `${Math.round(machine.nowMs / 1000)}${who} ${words}`;
  };

  function carryOut(action: Action): void {
    let outcome = machine.end(action);
    if (outcome.kind === 'done' && action.kind === 'remove')
      machine.containers = machine.containers.filter(({ id }) => id !== action.containerId);
    if (outcome.kind === 'done' && action.kind === 'run') {
      made += 1;
      const wish = machine.wishes.find(({ subject }) => subject === action.subject);
      if (wish === undefined) throw new Error(`${action.subject} is started and not wished`);
      outcome = { ...outcome, containerId: `c${made}` };
      const container = containerOf(wish, { id: `c${made}`, imageId: action.imageId, ...machine.started });
      machine.containers = [...machine.containers, container];
    }
    results = [...results, { action, outcome, endedAtMs: machine.nowMs }];
  }

  /** One cycle, now. */
  function look(more: Partial<PlanInput> = {}): Plan {
    const { nowMs } = machine;
    const statuses = new Map(machine.wishes.map((wish) => [wish.subject, machine.statusOf(wish, nowMs)]));
    const containers = reading(machine.containers, nowMs);
    const input = { wishes: machine.wishes, containers, statuses, ...machine.given, ...more, memory, results, nowMs };
    const result = plan(planInput(input));
    memory = result.memory;
    results = [];
    for (const { subject, type, reason } of result.events) machine.events.push(line(subject, `${type} ${reason}`));
    for (const { subject, phase, reason } of result.outcomes) {
      if (lastTold.get(subject) !== `${phase} ${reason}`) machine.told.push(line(subject, `${phase} ${reason}`));
      lastTold.set(subject, `${phase} ${reason}`);
    }
    for (const action of result.actions) {
      machine.did.push(line(action.subject, `${action.kind} ${action.reason}`));
      carryOut(action);
    }
    return result;
  }

  /** As the loop does: after what was done, and when the plan asks for it. */
  function advance(untilMs: number): typeof machine {
    for (let looks = 0; ; looks += 1) {
      if (looks > MOST_LOOKS) throw new Error(`it does not come to rest: ${machine.did.slice(-4).join(', ')}`);
      const { actions, deadlineMs } = look();
      const nextMs = actions.length > 0 ? machine.nowMs + ACTION_MS : (deadlineMs ?? Number.POSITIVE_INFINITY);
      if (nextMs <= machine.nowMs) throw new Error(`asked to look again at ${nextMs}, and it is ${machine.nowMs}`);
      if (nextMs > untilMs) break;
      machine.nowMs = nextMs;
    }
    machine.nowMs = untilMs;
    return machine;
  }
  return machine;
}

/** Seconds at which something of that kind was done. */
export const secondsOf = (did: readonly string[], kind: string): number[] =>
  did.filter((line) => line.includes(` ${kind} `)).map((line) => Number(line.split(' ')[0]));
