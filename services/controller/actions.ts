/**
 * Carries out what a plan decided: side by side, one action at a time per subject, starts at most four at once, stops
 * as many as there are, so that one that takes ten seconds delays nobody else. Makes no choices of its own.
 */
import type { Action, ActionOutcome, Clock, Engine, FinishedAction, Reading, SubjectKey, Workspaces } from './world.ts';

export interface Executor {
  /** Takes a plan's actions. Starts of an earlier plan that had not begun are forgotten: this plan knows better. */
  submit(actions: readonly Action[]): void;
  /** What is under way, by subject. */
  inFlight(): ReadonlyMap<SubjectKey, Action['kind']>;
  /** What has finished since the last call. */
  takeResults(): FinishedAction[];
  /** Some wait for others to have started. */
  hasWaitingStarts(): boolean;
  /** Begins nothing more; resolves when all that was under way has ended. */
  drain(): Promise<void>;
}

export interface ExecutorPorts {
  engine: Engine;
  workspaces: Workspaces;
  clock: Clock;
  onFinished: (finished: FinishedAction) => void;
}

/** Beyond this, starts only slow each other down. */
const STARTS_AT_ONCE = 4;
/** What is still to be asked of a container that runs waits this long at most for others to have started. */
const QUESTIONS_WAIT_MS = 1000;

type Start = Extract<Action, { kind: 'run' }>;

/** A start that has not had its turn; its folders may be made already. */
interface Waiting {
  action: Start;
  ready: Promise<Reading<null>> | null;
}

export function createExecutor({ engine, workspaces, clock, onFinished }: ExecutorPorts): Executor {
  const underWay = new Map<SubjectKey, { action: Action; done: Promise<void> }>();
  /** Subjects whose container is being made. */
  const starting = new Set<SubjectKey>();
  const prepare = createPreparation(workspaces);
  let waiting: Waiting[] = [];
  let results: FinishedAction[] = [];
  let onQuiet: (() => void)[] = [];
  let draining = false;

  const begin = (action: Action, work: () => Promise<ActionOutcome>): void => {
    const done = outcomeOf(work).then((outcome) => {
      underWay.delete(action.subject);
      starting.delete(action.subject);
      const finished = { action, outcome, endedAtMs: clock.nowMs() };
      results.push(finished);
      fill();
      onFinished(finished);
    });
    underWay.set(action.subject, { action, done });
  };

  const start = async ({ action, ready }: Waiting): Promise<ActionOutcome> => {
    const folders = await (ready ?? prepare(action));
    // While the engine is at this one, the disk can be at the next.
    const next = waiting.find((one) => one.ready === null);
    if (next !== undefined) next.ready = prepare(next.action);
    if (!folders.ok) return { kind: 'failed', reason: 'FolderUnwritable', message: folders.error };
    return await engine.run(action.spec, () => {
      starting.delete(action.subject);
      fill();
      return quiet();
    });
  };

  const fill = (): void => {
    while (!draining && starting.size < STARTS_AT_ONCE) {
      const next = waiting.shift();
      if (next === undefined) break;
      const { subject } = next.action;
      if (underWay.has(subject)) continue;
      starting.add(subject);
      begin(next.action, () => start(next));
    }
    if (starting.size > 0) return;
    for (const resolve of onQuiet) resolve();
    onQuiet = [];
  };

  /** Resolves when nobody is being started any more, and soon in any case. */
  const quiet = (): Promise<void> =>
    new Promise((resolve) => {
      if (starting.size === 0) return resolve();
      const cancel = clock.timer(QUESTIONS_WAIT_MS, resolve);
      onQuiet.push(() => {
        cancel();
        resolve();
      });
    });

  return {
    submit(actions) {
      if (draining) return;
      const before = new Map(waiting.map((one) => [one.action.subject, one]));
      waiting = [];
      for (const action of actions) {
        if (action.kind === 'run') waiting.push({ action, ready: madeFor(action, before.get(action.subject)) });
        else if (!underWay.has(action.subject)) begin(action, () => carryOut(action, engine));
      }
      fill();
    },
    inFlight: () => new Map([...underWay].map(([subject, { action }]) => [subject, action.kind])),
    hasWaitingStarts: () => waiting.length > 0,
    takeResults() {
      const taken = results;
      results = [];
      return taken;
    },
    async drain() {
      draining = true;
      waiting = [];
      await Promise.all([...underWay.values()].map(({ done }) => done));
    },
  };
}

/**
 * Makes the function that prepares a start's folders. For one subject one time after the other: what was begun for a start
 * that a later plan forgot must not empty the run folder of a container that runs.
 */
function createPreparation(workspaces: Workspaces): (start: Start) => Promise<Reading<null>> {
  const last = new Map<SubjectKey, Promise<unknown>>();
  return ({ subject, folders }) => {
    const work = (): Promise<Reading<null>> => workspaces.prepare(folders);
    const before = last.get(subject);
    const ready = before === undefined ? work() : before.then(work, work);
    const over = (): void => {
      if (last.get(subject) === ready) last.delete(subject);
    };
    last.set(subject, ready);
    ready.then(over, over);
    return ready;
  };
}

/** What was prepared for the same folders in the plan before counts: nothing of this subject ran since. */
function madeFor({ folders }: Start, before: Waiting | undefined): Waiting['ready'] {
  return JSON.stringify(before?.action.folders) === JSON.stringify(folders) ? (before?.ready ?? null) : null;
}

/** The engine's own deadlines bound it. */
async function carryOut(action: Exclude<Action, Start>, engine: Engine): Promise<ActionOutcome> {
  if (action.kind === 'remove') return await engine.remove(action.containerId, action.stopTimeoutS);
  return await engine.tag(action.imageId, action.reference);
}

/** Never throws. */
async function outcomeOf(work: () => Promise<ActionOutcome>): Promise<ActionOutcome> {
  try {
    return await work();
  } catch (cause) {
    return { kind: 'failed', reason: 'Unexpected', message: cause instanceof Error ? cause.message : String(cause) };
  }
}
