/** What every engine does that takes long: images that are fetched, and what containers write. Part of its contract. */
import { expect, test } from 'vitest';
import type { ActionOutcome, EngineLogLine } from '../../services/controller/world.ts';
import type { EngineContext } from './engine-contract.ts';

/** Where images come from. */
export interface RegistryHands {
  /** One that it has and the engine has not. */
  reference: string;
  /** One that it has not. */
  missing: string;
  /** From now on fetching takes a few seconds, or none. */
  setSlow(slow: boolean): void;
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
}

/** What the scripts of this contract write, for engines in which nothing runs: when, counted from their start, and where. */
export interface Writing {
  script: string;
  says: readonly { afterMs: number; stream: EngineLogLine['stream']; text: string }[];
  /** The exit code, after all that; null: it goes on. */
  endsWith: number | null;
}

const REST = 'trap "exit 0" TERM; sleep 100000 & wait';
const BOTH: Writing = {
  script: `echo one; echo "Käuzchen 🦉"; echo three; echo trouble >&2; ${REST}`,
  says: [
    { afterMs: 0, stream: 'stdout', text: 'one' },
    { afterMs: 0, stream: 'stdout', text: 'Käuzchen 🦉' },
    { afterMs: 0, stream: 'stdout', text: 'three' },
    { afterMs: 0, stream: 'stderr', text: 'trouble' },
  ],
  endsWith: null,
};
const LATER: Writing = {
  script: `echo early; sleep 2; echo late; ${REST}`,
  says: [
    { afterMs: 0, stream: 'stdout', text: 'early' },
    { afterMs: 2000, stream: 'stdout', text: 'late' },
  ],
  endsWith: null,
};
const ENDING: Writing = {
  script: 'echo first; sleep 1; echo last; exit 3',
  says: [
    { afterMs: 0, stream: 'stdout', text: 'first' },
    { afterMs: 1000, stream: 'stdout', text: 'last' },
  ],
  endsWith: 3,
};
const TICKS = 200;
const TICKING: Writing = {
  script: `trap "exit 0" TERM; n=0; while [ $n -lt ${TICKS} ]; do echo "tick $n"; n=$((n+1)); sleep 0.2; done; ${REST}`,
  says: Array.from({ length: TICKS }, (_, n) => ({ afterMs: n * 200, stream: 'stdout', text: `tick ${n}` })),
  endsWith: null,
};
export const WRITINGS: readonly Writing[] = [BOTH, LATER, ENDING, TICKING];

export function describePulls({ harness, list, start }: EngineContext): void {
  const idOf = async (reference: string): Promise<string | null> => {
    const images = await harness().settle(harness().engine.images([reference]));
    if (!images.ok) throw new Error(images.error);
    return images.value[reference] ?? null;
  };
  const pull = (
    reference: string,
    { onProgress = () => {}, signal = new AbortController().signal }: PullOptions = {},
  ): Promise<ActionOutcome> => harness().settle(harness().engine.pull(reference, onProgress, signal));
  const refused = (reference: string) => ({
    ...{ kind: 'failed', reason: 'PullFailed', message: expect.stringContaining(`${reference} cannot be fetched: `) },
  });

  test('an image comes, with progress that never goes back; then it is there and can be started', async () => {
    const { reference, setSlow } = harness().registry;
    expect(await idOf(reference)).toBeNull();
    setSlow(true);
    const steps: [number, number][] = [];
    const onProgress = (done: number, total: number): void => void steps.push([done, total]);
    expect(await pull(reference, { onProgress })).toEqual(DONE);
    const id = await idOf(reference);
    expect(id).toMatch(/^sha256:/);
    for (const [done, total] of steps) expect(0 <= done && done <= total).toBe(true);
    const done = steps.map(([bytes]) => bytes);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(steps.some(([bytes, total]) => bytes > 0 && bytes < total)).toBe(true);
    await start({ image: reference, entrypoint: ['/bin/sh', '-c', 'sleep 1000'] });
    expect((await list()).map(({ imageId }) => imageId)).toEqual([id]);
  });

  test('one that is there already is done again, and stays the same', async () => {
    const { reference } = harness().registry;
    expect(await pull(reference)).toEqual(DONE);
    const id = await idOf(reference);
    expect(await pull(reference)).toEqual(DONE);
    expect(await idOf(reference)).toBe(id);
  });

  test('one that the registry has not, and a registry that is away: refused in a sentence, and nothing is there', async () => {
    const { reference, missing, goAway, comeBack } = harness().registry;
    expect(await pull(missing)).toMatchObject(refused(missing));
    expect(await idOf(missing)).toBeNull();
    await goAway();
    expect(await pull(reference)).toMatchObject(refused(reference));
    expect(await idOf(reference)).toBeNull();
    await comeBack();
    expect(await pull(reference)).toEqual(DONE);
  });

  test('given up before it began, and in its midst: nothing is there, and wanted again it comes', async () => {
    const { reference, setSlow } = harness().registry;
    expect(await pull(reference, { signal: AbortSignal.abort() })).toMatchObject(refused(reference));
    setSlow(true);
    const giveUp = new AbortController();
    const onProgress = (done: number): void => {
      if (done > 0) giveUp.abort();
    };
    expect(await pull(reference, { onProgress, signal: giveUp.signal })).toMatchObject(refused(reference));
    expect(await idOf(reference)).toBeNull();
    setSlow(false);
    expect(await pull(reference)).toEqual(DONE);
  });

  test('an engine that is away: refused; one that hangs: it can be given up', async () => {
    const { reference } = harness().registry;
    await harness().goAway();
    expect(await pull(reference)).toMatchObject(refused(reference));
    await harness().comeBack();
    harness().hang();
    const giveUp = new AbortController();
    const pulling = harness().engine.pull(reference, () => {}, giveUp.signal);
    giveUp.abort();
    expect(await harness().settle(pulling)).toMatchObject(refused(reference));
    harness().letGo();
    expect(await idOf(reference)).toBeNull();
  });
}

interface PullOptions {
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

const DONE = { kind: 'done', containerId: null, refusedLimits: [] };

/** What one follower hears. */
interface Hearing {
  lines: EngineLogLine[];
  ends: number;
  cancel: () => void;
}

export function describeLogs({ harness, start, list }: EngineContext): void {
  const follow = (containerId: string, sinceMs = 0): Hearing => {
    const heard: Hearing = { lines: [], ends: 0, cancel: () => {} };
    heard.cancel = harness().engine.followLog(
      containerId,
      sinceMs,
      (line) => heard.lines.push(line),
      () => {
        heard.ends += 1;
      },
    );
    return heard;
  };
  const texts = ({ lines }: Hearing, stream?: EngineLogLine['stream']): string[] =>
    lines.filter((line) => stream === undefined || line.stream === stream).map(({ text }) => text);
  const until = (what: string, holds: () => boolean): Promise<void> => harness().until(what, holds);

  test('lines come by their stream, in their order, each with a time that can be compared', async () => {
    const heard = follow(await start({ script: BOTH.script }));
    await until('all are heard', () => heard.lines.length === BOTH.says.length);
    expect(texts(heard, 'stdout')).toEqual(['one', 'Käuzchen 🦉', 'three']);
    expect(texts(heard, 'stderr')).toEqual(['trouble']);
    for (const { timestamp } of heard.lines) expect(timestamp).toMatch(/^\d{11}\.\d{9}$/);
    const times = heard.lines.filter(({ stream }) => stream === 'stdout').map(({ timestamp }) => timestamp);
    expect(times).toEqual([...times].sort());
    expect(heard.ends).toBe(0);
    heard.cancel();
  });

  test('what was written seconds before is not told', async () => {
    const id = await start({ script: LATER.script });
    const all = follow(id);
    await until('both are heard', () => all.lines.length === 2);
    const since = follow(id, Number(all.lines[1]?.timestamp) * 1000);
    await until('the later one is heard', () => since.lines.length > 0);
    expect(since.lines).toEqual(all.lines.slice(1));
    for (const hearing of [all, since]) hearing.cancel();
  });

  test('the end is told once, after the last line; of one that has ended, all that it wrote', async () => {
    const id = await start({ script: ENDING.script });
    const heard = follow(id);
    await until('the end is heard', () => heard.ends > 0);
    expect(texts(heard)).toEqual(['first', 'last']);
    await harness().until('it has ended', async () => (await list())[0]?.state === 'ended');
    const afterwards = follow(id);
    await until('the end is heard', () => afterwards.ends > 0);
    expect(afterwards.lines).toEqual(heard.lines);
    expect([heard.ends, afterwards.ends]).toEqual([1, 1]);
  });

  test('of one that never was, nothing but the end', async () => {
    const heard = follow('f'.repeat(64));
    await until('the end is heard', () => heard.ends > 0);
    expect(heard).toMatchObject({ lines: [], ends: 1 });
  });

  test('whoever has cancelled hears neither lines nor the end, and others go on', async () => {
    const id = await start({ script: TICKING.script });
    const [one, other, hasty] = [follow(id), follow(id), follow(id)];
    hasty.cancel();
    await until('both hear', () => one.lines.length > 0 && other.lines.length > 0);
    one.cancel();
    const [before, otherBefore] = [one.lines.length, other.lines.length];
    await until('the other one hears more', () => other.lines.length > otherBefore + 2);
    await harness().settle(harness().engine.remove(id, 5));
    await until('the other one hears the end', () => other.ends > 0);
    expect([one.lines.length, one.ends, hasty.lines.length, hasty.ends]).toEqual([before, 0, 0, 0]);
  });

  test('an engine that goes away is an end; back again it is followed from where one was', async () => {
    const id = await start({ script: TICKING.script });
    const before = follow(id);
    await until('it is heard', () => before.lines.length > 2);
    await harness().goAway();
    await until('the end is heard', () => before.ends > 0);
    const meanwhile = follow(id);
    await until('that ends too', () => meanwhile.ends > 0);
    await harness().comeBack();
    const last = before.lines.at(-1);
    const after = follow(id, Number(last?.timestamp) * 1000);
    const numberOf = (line: EngineLogLine | undefined): number => Number(line?.text.split(' ')[1]);
    await until('it is heard further', () => numberOf(after.lines.at(-1)) > numberOf(last) + 3);
    after.cancel();
    const numbers = after.lines.map(numberOf);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
    expect(numbers[0]).toBeLessThanOrEqual(numberOf(last) + 1);
    expect([meanwhile.lines, before.ends, meanwhile.ends]).toEqual([[], 1, 1]);
  });
}
