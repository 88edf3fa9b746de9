/**
 * Carries out what a plan decided: side by side, one action at a time per subject, starts at most four at once, stops
 * as many as there are, so that one that takes ten seconds delays nobody else. Makes no choices of its own.
 */
import type { Action, ActionOutcome, Clock, Engine, FinishedAction, SubjectKey, Workspaces } from './world.ts';

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

export function createExecutor(ports: ExecutorPorts): Executor {
  const underWay = new Map<SubjectKey, { action: Action; done: Promise<void> }>();
  /** Subjects whose container is being made. One that runs is asked what became of its limits: that holds up nobody. */
  const starting = new Set<SubjectKey>();
  let waitingStarts: Action[] = [];
  let results: FinishedAction[] = [];
  let draining = false;

  const begin = (action: Action): void => {
    const onStarted = (): void => {
      starting.delete(action.subject);
      fill();
    };
    if (action.kind === 'run') starting.add(action.subject);
    const done = perform(action, ports, onStarted).then((outcome) => {
      underWay.delete(action.subject);
      starting.delete(action.subject);
      const finished = { action, outcome, endedAtMs: ports.clock.nowMs() };
      results.push(finished);
      fill();
      ports.onFinished(finished);
    });
    underWay.set(action.subject, { action, done });
  };

  const fill = (): void => {
    while (!draining && starting.size < STARTS_AT_ONCE) {
      const next = waitingStarts.shift();
      if (next === undefined) return;
      if (!underWay.has(next.subject)) begin(next);
    }
  };

  return {
    submit(actions) {
      if (draining) return;
      waitingStarts = actions.filter((action) => action.kind === 'run');
      for (const action of actions) if (action.kind !== 'run' && !underWay.has(action.subject)) begin(action);
      fill();
    },
    inFlight: () => new Map([...underWay].map(([subject, { action }]) => [subject, action.kind])),
    hasWaitingStarts: () => waitingStarts.length > 0,
    takeResults() {
      const taken = results;
      results = [];
      return taken;
    },
    async drain() {
      draining = true;
      waitingStarts = [];
      await Promise.all([...underWay.values()].map(({ done }) => done));
    },
  };
}

/** One action, to its end. The engine's own deadlines bound it; it never throws. */
async function perform(
  action: Action,
  { engine, workspaces }: ExecutorPorts,
  onStarted: () => void,
): Promise<ActionOutcome> {
  try {
    switch (action.kind) {
      case 'run': {
        const ready = await workspaces.prepare(action.folders);
        if (!ready.ok) return { kind: 'failed', reason: 'FolderUnwritable', message: ready.error };
        return await engine.run(action.spec, onStarted);
      }
      case 'remove':
        return await engine.remove(action.containerId, action.stopTimeoutS);
      case 'tag':
        return await engine.tag(action.imageId, action.reference);
    }
  } catch (cause) {
    return { kind: 'failed', reason: 'Unexpected', message: cause instanceof Error ? cause.message : String(cause) };
  }
}
