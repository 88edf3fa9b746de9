/**
 * What every engine behind the port `Engine` does: the same cases for the fakes and for a real Podman, so that a
 * simulated world is not kinder, cleverer or stricter than the real one.
 */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ActionOutcome, ContainerSpec, Engine, ObservedContainer } from '../../services/controller/world.ts';
import { LABEL, OWNER } from '../../services/shared/contract.ts';
import { OBEDIENT, type SpecChanges, STUBBORN, testSpec } from '../integration/container-spec.ts';
import { describeLogs, describePulls, type RegistryHands } from './engine-streams-contract.ts';

/** One engine, empty, and hands to do with it what its owner, its host and its kernel may do. */
export interface EngineHarness {
  engine: Engine;
  /** The same engine for somebody to whom every deadline comes ten times as early, where time is real. */
  impatient: Engine;
  /** An image that is there. */
  image: string;
  /** Waits for an answer, while time passes. */
  settle<T>(work: Promise<T>): Promise<T>;
  /** Waits until it holds; throws when it never does. */
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
  /** Made and started by somebody else, with these labels. */
  makeForeign(name: string, labels: Record<string, string>): Promise<void>;
  /** Made and never started, as by a controller that was killed in between. */
  makeUnstarted(name: string, labels: Record<string, string>): Promise<void>;
  kill(name: string): Promise<void>;
  /** Names of all containers there are, whoever's. */
  names(): Promise<string[]>;
  registry: RegistryHands;
  /** As the engine has them. */
  limitsOf(name: string): Promise<{ memoryBytes: number; cpus: number; pids: number; oomScoreAdj: number }>;
  /** No socket, and then one again. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  /** Everything is taken and nothing answered, until `letGo`. */
  hang(): void;
  letGo(): void;
  close(): Promise<void>;
}

const DONE = { kind: 'done', containerId: null, refusedLimits: [] };
const MISSING_IMAGE = 'localhost/silvasonic-missing:latest';
const nobody = 'f'.repeat(64);

export function describeEngine(implementation: string, open: () => Promise<EngineHarness>): void {
  describe(`the engine port: ${implementation}`, () => {
    let harness: EngineHarness;
    let stationId: string;
    beforeEach(async () => {
      stationId = randomUUID();
      harness = await open();
    });
    afterEach(() => harness?.close());

    const context: EngineContext = {
      harness: () => harness,
      stationId: () => stationId,
      spec: (changes = {}) =>
        testSpec(stationId, {
          ports: [],
          entrypoint: null,
          command: null,
          user: null,
          image: harness.image,
          ...changes,
        }),
      start: async (changes = {}) => startedId(await harness.settle(harness.engine.run(context.spec(changes)))),
      list: async (station = stationId) => {
        const reading = await harness.settle(harness.engine.list(station));
        if (!reading.ok) throw new Error(reading.error);
        return reading.value;
      },
    };
    describe('what runs', () => describeRunning(context));
    describe('what is told of refusals', () => describeRefusals(context));
    describe('removing', () => describeRemoving(context));
    describe('images', () => describeImages(context));
    describe('images that are fetched', () => describePulls(context));
    describe('what containers write', () => describeLogs(context));
    describe('events', () => describeEvents(context));
    describe('an engine that does not answer', () => describeOutages(context));
  });
}

export interface EngineContext {
  harness(): EngineHarness;
  stationId(): string;
  spec(changes?: SpecChanges): ContainerSpec;
  /** Its id. */
  start(changes?: SpecChanges): Promise<string>;
  list(station?: string): Promise<ObservedContainer[]>;
}

function startedId(outcome: ActionOutcome): string {
  if (outcome.kind !== 'done' || outcome.containerId === null) throw new Error(JSON.stringify(outcome));
  return outcome.containerId;
}

function describeRunning({ harness, stationId, spec, start, list }: EngineContext): void {
  test('is listed as it was asked for, with labels and image', async () => {
    const wanted = spec({ labels: { ...spec().labels, [LABEL.deviceId]: 'Eule "1"', [LABEL.intent]: 'abc' } });
    const id = startedId(await harness().settle(harness().engine.run(wanted)));
    const images = await harness().settle(harness().engine.images([harness().image]));
    const imageId = images.ok ? images.value[harness().image] : 'none';
    expect(await list()).toEqual([
      { id, name: wanted.name, imageId, state: 'live', exitCode: null, oomKilled: false, labels: wanted.labels },
    ]);
  });

  test('has the limits of its spec', async () => {
    const limits = { memoryBytes: 48 * 1024 * 1024, cpus: 0.25, pids: 17, oomScoreAdj: 321 };
    const wanted = spec({ limits });
    const outcome = await harness().settle(harness().engine.run(wanted));
    expect(outcome).toMatchObject({ kind: 'done', refusedLimits: [] });
    expect(await harness().limitsOf(wanted.name)).toEqual(limits);
  });

  test('one that ended tells how: by itself, or killed', async () => {
    await start({ name: 'eleven', script: 'exit 11' });
    await start({ name: 'killed' });
    await harness().kill('killed');
    await harness().until('both have ended', async () => (await list()).every(({ state }) => state === 'ended'));
    const found = (await list()).map(({ name, state, exitCode }) => ({ name, state, exitCode }));
    expect(found).toHaveLength(2);
    expect(found).toContainEqual({ name: 'eleven', state: 'ended', exitCode: 11 });
    expect(found).toContainEqual({ name: 'killed', state: 'ended', exitCode: 137 });
  });

  test('one that was made and never started is listed as that, and can be removed', async () => {
    await harness().makeUnstarted('unstarted', spec().labels);
    const [found, ...others] = await list();
    expect([found?.name, found?.state, found?.exitCode, others]).toEqual(['unstarted', 'created', null, []]);
    expect(await harness().settle(harness().engine.remove(found?.id ?? '', 5))).toEqual(DONE);
    expect(await harness().names()).toEqual([]);
  });

  test('only what bears our owner and this station is listed', async () => {
    const other = randomUUID();
    await start({ name: 'ours' });
    await harness().makeForeign('nobody-s', {});
    await harness().makeForeign('only-station', { [LABEL.station]: stationId() });
    await harness().makeForeign('only-owner', { [LABEL.owner]: OWNER });
    await harness().makeForeign('theirs', { [LABEL.owner]: OWNER, [LABEL.station]: other });
    expect((await list()).map(({ name }) => name)).toEqual(['ours']);
    expect((await list(other)).map(({ name }) => name)).toEqual(['theirs']);
  });

  test('a list is of one moment: what the reader does to it, or the engine does later, does not change it', async () => {
    const id = await start();
    const before = await list();
    for (const container of before) container.labels.changed = 'by the reader';
    expect((await list())[0]?.labels).not.toHaveProperty('changed');
    await harness().settle(harness().engine.remove(id, 5));
    expect(before).toHaveLength(1);
    await start({ name: 'second' });
    expect((await list()).map(({ name, labels }) => [name, labels.changed])).toEqual([['second', undefined]]);
  });
}

function describeRefusals({ harness, spec, start, list }: EngineContext): void {
  test('a name that we hold already means: look again', async () => {
    const id = await start({ name: 'twice' });
    expect(await harness().settle(harness().engine.run(spec({ name: 'twice' })))).toMatchObject({ kind: 'lookAgain' });
    expect((await list()).map((container) => container.id)).toEqual([id]);
  });

  test('of two that want one name at once, one gets it', async () => {
    const both = await harness().settle(
      Promise.all([spec({ name: 'one' }), spec({ name: 'one' })].map((wanted) => harness().engine.run(wanted))),
    );
    expect(both.map(({ kind }) => kind).sort()).toEqual(['done', 'lookAgain']);
    expect(await harness().names()).toEqual(['one']);
  });

  test('a name that somebody else holds is blocked, and he is left alone', async () => {
    await harness().makeForeign('taken', {});
    await harness().makeForeign('elsewhere', { [LABEL.owner]: OWNER, [LABEL.station]: randomUUID() });
    for (const name of ['taken', 'elsewhere'])
      expect(await harness().settle(harness().engine.run(spec({ name })))).toMatchObject({
        kind: 'blocked',
        reason: 'NameTaken',
        message: expect.stringContaining(name),
      });
    expect((await harness().names()).sort()).toEqual(['elsewhere', 'taken']);
    expect(await list()).toEqual([]);
  });

  test('an image that is not there is blocked, named, and leaves nothing', async () => {
    expect(await harness().settle(harness().engine.run(spec({ image: MISSING_IMAGE })))).toMatchObject({
      kind: 'blocked',
      reason: 'ImageMissing',
      message: expect.stringContaining(MISSING_IMAGE),
    });
    expect(await harness().names()).toEqual([]);
  });
}

function describeRemoving({ harness, start, list }: EngineContext): void {
  const remove = (id: string, stopTimeoutS = 5): Promise<ActionOutcome> =>
    harness().settle(harness().engine.remove(id, stopTimeoutS));

  test('one that obeys, one that ended, one that is gone, one that never was: all are done', async () => {
    const obedient = await start({ script: OBEDIENT });
    const ended = await start({ name: 'ended', script: 'exit 3' });
    await harness().until('it has ended', async () => (await list()).some(({ state }) => state === 'ended'));
    for (const id of [obedient, obedient, ended, ended, nobody]) expect(await remove(id)).toEqual(DONE);
    expect(await harness().names()).toEqual([]);
  });

  test('one that ignores its signal is gone when its time is over', async () => {
    const stubborn = await start({ script: STUBBORN });
    expect(await remove(stubborn, 1)).toEqual(DONE);
    expect(await harness().names()).toEqual([]);
  });

  test('while one is waited for, it is still there, its name is taken, and others come and go', async () => {
    const stubborn = await start({ name: 'stubborn', script: STUBBORN });
    const removal = harness().engine.remove(stubborn, 2);
    const other = await start({ name: 'other' });
    expect(await remove(other)).toEqual(DONE);
    expect(await harness().settle(removal)).toEqual(DONE);
    expect(await list()).toEqual([]);
    await start({ name: 'stubborn' });
  });

  test('asked for twice at once: nobody fails, and it is gone', async () => {
    const id = await start();
    const both = await harness().settle(Promise.all([id, id].map((one) => harness().engine.remove(one, 5))));
    for (const outcome of both) expect(['done', 'lookAgain']).toContain(outcome.kind);
    await harness().until('it is gone', async () => (await harness().names()).length === 0);
  });
}

function describeImages({ harness, start, list }: EngineContext): void {
  const look = async (...references: string[]): Promise<unknown> => {
    const reading = await harness().settle(harness().engine.images(references));
    return reading.ok ? reading.value : reading.error;
  };

  test('ids behind exactly the tags that were asked for; null for one that is not there', async () => {
    const id = expect.stringMatching(/^sha256:/);
    expect(await look(harness().image, MISSING_IMAGE)).toEqual({ [harness().image]: id, [MISSING_IMAGE]: null });
    expect(await look(MISSING_IMAGE)).toEqual({ [MISSING_IMAGE]: null });
    expect(await look()).toEqual({});
  });

  test('a second tag leads to the same image, and what is started by it is told to be of that image', async () => {
    const images = await harness().settle(harness().engine.images([harness().image]));
    const id = (images.ok ? images.value[harness().image] : null) ?? '';
    const second = 'localhost/silvasonic-contract:last-good';
    expect(await harness().settle(harness().engine.tag(id, second))).toEqual(DONE);
    expect(await look(second)).toEqual({ [second]: id });
    await start({ image: second });
    expect((await list()).map(({ imageId }) => imageId)).toEqual([id]);
  });

  test('an image that is gone cannot be tagged: look again', async () => {
    const gone = `sha256:${'0'.repeat(64)}`;
    const tag = 'localhost/silvasonic-contract:gone';
    expect(await harness().settle(harness().engine.tag(gone, tag))).toMatchObject({ kind: 'lookAgain' });
    expect(await look(tag)).toEqual({ [tag]: null });
  });
}

function describeEvents({ harness, stationId, start, list }: EngineContext): void {
  const watch = async (): Promise<string[]> => {
    const heard: string[] = [];
    harness().engine.watch(stationId(), (name) => heard.push(name));
    await harness().until('the watch says that it began', () => heard.includes(''));
    return heard;
  };

  test('say when one of ours ended or was removed, by name, and nothing of what is not ours', async () => {
    const heard = await watch();
    await harness().makeForeign('theirs', { [LABEL.owner]: OWNER, [LABEL.station]: randomUUID() });
    await harness().kill('theirs');
    await start({ name: 'ours' });
    await harness().kill('ours');
    await harness().until('the end of ours is told', () => heard.includes('ours'));
    const told = heard.length;
    for (const { id } of await list()) await harness().settle(harness().engine.remove(id, 5));
    await harness().until('its removal is told', () => heard.length > told);
    expect(new Set(heard)).toEqual(new Set(['', 'ours']));
  });

  test('what happened while the engine could not be heard is told when it is back', async () => {
    await start({ name: 'ours' });
    const heard = await watch();
    await harness().goAway();
    const told = heard.length;
    await harness().kill('ours');
    await harness().comeBack();
    await harness().until('there is a reason to look', () => heard.length > told);
    expect((await list()).map(({ name, state }) => [name, state])).toEqual([['ours', 'ended']]);
  });

  test('a second watch takes the place of the first, and none is heard after the end', async () => {
    const first = await watch();
    const heard = await watch();
    const before = first.length;
    await start({ name: 'ours' });
    await harness().kill('ours');
    await harness().until('it is told', () => heard.includes('ours'));
    expect(first.slice(before)).toEqual([]);
    await start({ name: 'later' });
    await harness().engine.stop();
    const told = heard.length;
    await harness().kill('later');
    expect(heard.slice(told)).toEqual([]);
  });
}

function describeOutages({ harness, stationId, spec, start, list }: EngineContext): void {
  test('away: every reading and every action fails, nothing happens, and afterwards all is as it was', async () => {
    const id = await start({ name: 'there' });
    const images = await harness().settle(harness().engine.images([harness().image]));
    const imageId = (images.ok ? images.value[harness().image] : null) ?? '';
    await harness().goAway();
    const { engine } = harness();
    for (const reading of [engine.list(stationId()), engine.images([harness().image])])
      expect(await harness().settle<{ ok: boolean; error?: string }>(reading)).toMatchObject({
        ok: false,
        error: expect.stringMatching(/\S{3}/),
      });
    expect(engine.dependency().state).toBe('down');
    for (const action of [
      engine.run(spec()),
      engine.remove(id, 5),
      engine.tag(imageId, 'localhost/silvasonic-contract:away'),
    ])
      expect(await harness().settle(action)).toMatchObject({ kind: 'failed', reason: 'EngineUnavailable' });
    await harness().comeBack();
    expect((await list()).map((container) => container.id)).toEqual([id]);
    expect(engine.dependency().state).toBe('up');
    expect(await harness().settle(engine.images(['localhost/silvasonic-contract:away']))).toMatchObject({
      value: { 'localhost/silvasonic-contract:away': null },
    });
  });

  test('hung: readings fail at their deadline, and of an action nobody knows what became until one looks', async () => {
    await start({ name: 'there' });
    const [there] = await list();
    const { engine, impatient } = harness();
    harness().hang();
    expect(await harness().settle(impatient.list(stationId()))).toMatchObject({ ok: false });
    expect(await harness().settle(impatient.images([harness().image]))).toMatchObject({ ok: false });
    const wanted = spec({ name: 'wanted' });
    expect(await harness().settle(impatient.run(wanted))).toMatchObject({ kind: 'unknown' });
    expect(await harness().settle(impatient.remove(there?.id ?? '', 5))).toMatchObject({ kind: 'unknown' });
    harness().letGo();
    expect(await harness().settle(engine.remove(there?.id ?? '', 5))).toEqual(DONE);
    // Not made, made, or made and started: all three happen.
    const left = await list();
    expect(left.map(({ name }) => name)).toEqual(left.length === 0 ? [] : ['wanted']);
    for (const { id, state } of left) {
      expect(['created', 'live']).toContain(state);
      expect(await harness().settle(engine.run(wanted))).toMatchObject({ kind: 'lookAgain' });
      expect(await harness().settle(engine.remove(id, 5))).toEqual(DONE);
    }
    startedId(await harness().settle(engine.run(wanted)));
    expect((await list()).map(({ name, state }) => [name, state])).toEqual([['wanted', 'live']]);
  });
}
