/** How actions are carried out: what goes on side by side, what waits for what, and what never overlaps. */
import { describe, expect, test } from 'vitest';
import { createExecutor } from '../../services/controller/actions.ts';
import type { Action, ActionOutcome, SubjectKey } from '../../services/controller/world.ts';
import { createManualClock, createWorld } from './in-memory-world.ts';

const done = (containerId: string): ActionOutcome => ({ kind: 'done', containerId, refusedLimits: [] });

/** An engine whose starts take until they are let go, and a disk whose work takes until it is let go. */
function workshop() {
  const clock = createManualClock();
  const { ports } = createWorld(clock);
  const disk = createGate();
  const engine = createGate();
  /** Of the engine, by subject. */
  const containers = new Map<string, 'being made' | 'running' | 'its limits are known'>();
  const finished: string[] = [];
  const executor = createExecutor({
    clock,
    engine: {
      ...ports.engine,
      async run({ name }, onStarted = async () => {}) {
        containers.set(name, 'being made');
        await engine.pass(name);
        containers.set(name, 'running');
        await onStarted();
        containers.set(name, 'its limits are known');
        return done(name);
      },
    },
    workspaces: {
      ...ports.workspaces,
      async prepare(folders) {
        await disk.pass('workspace' in folders ? folders.workspace : folders.name);
        return { ok: true, value: null, startedAtMs: clock.nowMs() };
      },
    },
    onFinished: ({ action }) => finished.push(action.subject),
  });
  const inState = (state: string): string[] => [...containers].flatMap(([name, its]) => (its === state ? [name] : []));
  return { clock, disk, engine, executor, finished, inState };
}

/** Holds whoever comes until it is let through. */
function createGate() {
  const held = new Map<string, () => void>();
  return {
    waiting: (): string[] => [...held.keys()],
    pass: (name: string) =>
      new Promise<void>((resolve) => {
        if (held.has(name)) throw new Error(`${name} is at it already`);
        held.set(name, resolve);
      }),
    async open(...names: string[]) {
      for (const name of names) {
        held.get(name)?.();
        held.delete(name);
      }
      await settled();
    },
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function start(name: string): Extract<Action, { kind: 'run' }> {
  const spec = { name } as Extract<Action, { kind: 'run' }>['spec'];
  const subject: SubjectKey = `recorder:${name}`;
  const folders = { kind: 'recorder' as const, workspace: name };
  return { kind: 'run', subject, spec, folders, imageId: 'sha256:1', reason: 'Missing', message: '' };
}

describe('six starts', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];

  test('four at once; folders of the others are made meanwhile, and their turn comes as soon as one runs', async () => {
    const { disk, engine, executor, inState } = workshop();
    executor.submit(names.map(start));
    expect(disk.waiting()).toEqual(['a', 'b', 'c', 'd']);
    await disk.open('a', 'b', 'c', 'd');
    expect(inState('being made')).toEqual(['a', 'b', 'c', 'd']);
    expect(disk.waiting()).toEqual(['e', 'f']);
    await disk.open('e');
    expect(inState('being made')).toHaveLength(4);
    await engine.open('b');
    expect(inState('being made')).toEqual(['a', 'c', 'd', 'e']);
    await engine.open('a');
    // Its disk is slow.
    expect(inState('being made')).toEqual(['c', 'd', 'e']);
    await disk.open('f');
    expect(inState('being made')).toEqual(['c', 'd', 'e', 'f']);
  });

  test('what is still asked of those that run waits until nobody is being started', async () => {
    const { disk, engine, executor, inState, finished } = workshop();
    executor.submit(names.map(start));
    await disk.open('a', 'b', 'c', 'd');
    await disk.open('e', 'f');
    await engine.open('a', 'b', 'c', 'd');
    expect(inState('running')).toEqual(['a', 'b', 'c', 'd']);
    await engine.open('e', 'f');
    expect(inState('its limits are known')).toHaveLength(6);
    expect(finished).toHaveLength(6);
  });

  test('but not for long: one that takes ten seconds holds up nobody', async () => {
    const { clock, disk, engine, executor, inState } = workshop();
    executor.submit([start('a'), start('slow')]);
    await disk.open('a', 'slow');
    await engine.open('a');
    expect(inState('its limits are known')).toEqual([]);
    await clock.advance(1000);
    expect(inState('its limits are known')).toEqual(['a']);
    expect(inState('being made')).toEqual(['slow']);
  });
});

test('a start that a later plan forgot and the next one wants again is prepared once it is prepared no more', async () => {
  const { disk, engine, executor, inState } = workshop();
  executor.submit(['a', 'b', 'c', 'd', 'e'].map(start));
  await disk.open('a', 'b', 'c', 'd');
  expect(disk.waiting()).toEqual(['e']);
  executor.submit([]);
  await engine.open('a', 'b', 'c', 'd');
  executor.submit([start('e')]);
  await settled();
  expect(inState('being made')).toEqual([]);
  // What was begun for the forgotten one, and what is made for this one.
  await disk.open('e');
  expect(inState('being made')).toEqual([]);
  await disk.open('e');
  expect(inState('being made')).toEqual(['e']);
});

describe('one that waits from plan to plan', () => {
  async function waitingStart() {
    const all = workshop();
    all.executor.submit(['a', 'b', 'c', 'd', 'e'].map(start));
    await all.disk.open('a', 'b', 'c', 'd');
    await all.disk.open('e');
    return all;
  }

  test('keeps what was made for it', async () => {
    const { engine, executor, inState } = await waitingStart();
    executor.submit([start('e')]);
    await engine.open('a');
    expect(inState('being made')).toContain('e');
  });

  test('has other folders made where it is to have others', async () => {
    const { disk, engine, executor, inState } = await waitingStart();
    executor.submit([{ ...start('e'), folders: { kind: 'recorder', workspace: 'elsewhere' } }]);
    await engine.open('a');
    expect(disk.waiting()).toEqual(['elsewhere']);
    await disk.open('elsewhere');
    expect(inState('being made')).toContain('e');
  });
});
