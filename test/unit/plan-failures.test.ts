/** What fails, how often it is tried again, and what is told of it; and which image is made the scapegoat. */
import { describe, expect, test } from 'vitest';
import { recorderSubject, wishes } from '../../services/controller/spec.ts';
import type { ActionOutcome, Wish } from '../../services/controller/world.ts';
import { catalogueEntrySchema } from '../../services/shared/catalogue.ts';
import { RECORDER_EXIT } from '../../services/shared/contract.ts';
import { createMachine, secondsOf } from './plan-machine.ts';
import { desiredState, deviceRow, microphone, reading, specInput, status } from './sample-world.ts';

const ID = '2752-0007-000-0000';
const SUBJECT = recorderSubject(ID);
const LATEST = 'localhost/silvasonic-recorder:latest';

function wished(given: Parameters<typeof specInput>[0] = {}): Wish {
  const [first] = wishes(specInput(given));
  if (first === undefined) throw new Error('no wish');
  return first;
}
const ends = { state: 'ended' as const, exitCode: 3 };
const image = { currentId: 'sha256:aaaa', lastGoodId: 'sha256:good', lastGoodReference: 'x:last-good' };

describe('a start that fails', () => {
  const failing = (outcome: ActionOutcome) => {
    const machine = createMachine([wished()]);
    machine.end = () => outcome;
    return machine;
  };

  test.each([
    [{ kind: 'failed', reason: 'StartFailed', message: 'no' }, 'backoff StartFailed'],
    [{ kind: 'unknown', message: 'no answer' }, 'backoff NoAnswer'],
  ] as const)('is tried again later and later, at most every five minutes (%o)', (outcome, told) => {
    const machine = failing(outcome).advance(1_300_000);
    const gaps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
    expect(secondsOf(machine.did, 'run')).toEqual([0, ...gaps.map((_, index) => sum(gaps.slice(0, index + 1)))]);
    expect(machine.told[1]).toBe(`0 ${told}`);
    expect(machine.events).toHaveLength(12);
    expect(machine.events[0]).toBe(`0 warning ${told.split(' ')[1]}`);
  });

  test('for a reason that waiting does not mend is left to a person, and tried now and then', () => {
    const machine = failing({ kind: 'blocked', reason: 'NameTaken', message: 'taken' }).advance(700_000);
    expect(secondsOf(machine.did, 'run')).toEqual([0, 300, 600]);
    expect(machine.told.slice(0, 3)).toEqual(['0 starting Starting', '0 blocked NameTaken', '300 starting Starting']);
    // Told once each time that it was tried.
    expect(machine.events).toEqual(['0 warning NameTaken', '300 warning NameTaken', '600 warning NameTaken']);
  });

  test('says at each trial why', () => {
    const machine = failing({ kind: 'failed', reason: 'StartFailed', message: 'No room.' }).advance(1500);
    expect(machine.did).toEqual(['0 run Wanted', '1 run StartFailed']);
    machine.nowMs = 10_000;
    expect(machine.look().actions[0]).toMatchObject({ message: 'Trying again. No room.' });
  });

  test('that found something of ours in its place is no failure: it is looked at again', () => {
    const machine = failing({ kind: 'lookAgain', message: 'there already' });
    machine.look();
    machine.nowMs += 1;
    expect(machine.look().actions).toHaveLength(1);
    expect(machine.events).toEqual([]);
  });
});

describe('what was counted', () => {
  const row = deviceRow(ID);
  const flapping = { flapping: new Map([[ID, { count: 5, untilMs: 1_000_000 }]]) };
  /** Refused twice, so that the next start is not due for minutes. */
  function refused(first = wished()) {
    const machine = createMachine([first]);
    machine.end = () => ({ kind: 'blocked', reason: 'NameTaken', message: 'taken' });
    machine.advance(310_000);
    machine.did.length = 0;
    return machine;
  }

  test.each([
    ["a person's change", { rows: [deviceRow(ID, { generation: 2 })] }],
    ['another plug', { present: new Map([[ID, microphone({ incarnation: 'other' })]]) }],
    ['another image', { recorderImage: { reference: LATEST, id: 'sha256:bbbb' } }],
  ])('is forgotten with %s: it is tried at once, and what fails then is the first failure', (_name, given) => {
    const machine = refused();
    machine.wishes = [wished(given)];
    machine.end = () => ({ kind: 'failed', reason: 'StartFailed', message: 'no' });
    machine.advance(311_500);
    expect(secondsOf(machine.did, 'run')).toEqual([310, 311]);
  });

  test.each([
    ['being on hold for a moment', { ...flapping }],
    ['being switched off and on again by our own view', { present: new Map(), unknown: new Set<string>() }],
  ])('is not forgotten by %s', (_name, given) => {
    const machine = refused();
    machine.wishes = [wished(given)];
    machine.look();
    machine.wishes = [wished()];
    machine.advance(320_000);
    expect(machine.did).toEqual([]);
  });

  test('is forgotten after good running, and the next failure costs no time; without it, it does', () => {
    for (const [runsForMs, gapS] of [
      [61_000, 0],
      [59_000, 1],
    ] as const) {
      const machine = createMachine([wished({ rows: [row] })]);
      machine.advance(runsForMs);
      machine.containers = machine.containers.map((container) => ({ ...container, ...ends }));
      machine.did.length = 0;
      machine.started = ends;
      machine.advance(runsForMs + 1800);
      const [first = 0, second = 0] = secondsOf(machine.did, 'run').map((atS) => atS - runsForMs / 1000);
      expect(first).toBe(gapS);
      // Credit is given once.
      if (gapS === 0) expect(second).toBe(1);
    }
  });

  test('one that ran before we came has run for long: when it ends, it is started at once', () => {
    const machine = createMachine([wished()]);
    machine.containers = [{ ...containerLike(), id: 'adopted' }];
    machine.advance(31_000);
    machine.containers = machine.containers.map((container) => ({ ...container, ...ends }));
    machine.advance(31_100);
    expect(machine.did).toEqual(['31 remove Crashed', '31 run Crashed']);
  });

  test('one that ran before we came and never advances has earned nothing', () => {
    const machine = createMachine([wished()]);
    machine.containers = [{ ...containerLike(), id: 'adopted' }];
    machine.statusOf = () => reading(status(100));
    machine.advance(20_000);
    machine.containers = machine.containers.map((container) => ({ ...container, ...ends }));
    machine.advance(20_500);
    expect(machine.did).toEqual(['20 remove Crashed']);
    expect(machine.told.at(-1)).toBe('20 backoff Crashed');
  });
});

describe('an end', () => {
  test('is counted once, though what ended cannot be removed', () => {
    const machine = createMachine([wished()]);
    machine.containers = [{ ...containerLike(), ...ends }];
    machine.end = () => ({ kind: 'failed', reason: 'Engine', message: 'no' });
    machine.advance(20_000);
    expect(machine.events.filter((line) => line.includes('Crashed'))).toEqual(['0 warning Crashed']);
  });

  test('of what is switched off is as it should be, and nothing is told of it', () => {
    const machine = createMachine([wished({ rows: [deviceRow(ID, { enabled: false })] })]);
    machine.containers = [{ ...containerLike(), ...ends }];
    machine.advance(1000);
    expect(machine.did).toEqual(['0 remove Ended']);
    expect(machine.events).toEqual(['0 normal SwitchedOff']);
    expect(machine.told).toEqual(['0 stopping Ended', '0 disabled SwitchedOff']);
  });
});

describe('a removal that fails', () => {
  const attempts = [0, 1, 3, 7, 15, 31, 61, 91];

  test.each([
    ['of what is switched off', [wished({ rows: [deviceRow(ID, { enabled: false })] })]],
    ['of what nobody asks for', []],
  ])('%s is tried again later and later, at most every half minute, and told once', (_name, list) => {
    const machine = createMachine(list);
    machine.containers = [containerLike()];
    machine.end = () => ({ kind: 'failed', reason: 'Engine', message: 'no' });
    machine.advance(100_000);
    expect(secondsOf(machine.did, 'remove')).toEqual(attempts);
    expect(machine.events).toEqual(['0 warning RemoveFailed']);
    // Asked about meanwhile, it does nothing.
    machine.look();
    expect(secondsOf(machine.did, 'remove')).toEqual(attempts);
  });

  test('and then succeeds, or finds it gone, leaves nothing behind: the next failure is told and begins anew', () => {
    for (const kind of ['done', 'lookAgain'] as const) {
      const machine = createMachine([wished({ rows: [deviceRow(ID, { enabled: false })] })]);
      machine.containers = [containerLike()];
      machine.end = () => ({ kind: 'unknown', message: 'no answer' });
      machine.advance(5000);
      machine.end = () =>
        kind === 'done' ? { kind, containerId: null, refusedLimits: [] } : { kind, message: 'gone' };
      machine.advance(7003);
      if (kind === 'lookAgain') machine.containers = [];
      machine.nowMs = 10_000;
      machine.events.length = 0;
      machine.did.length = 0;
      machine.look();
      machine.containers = [containerLike()];
      machine.end = () => ({ kind: 'failed', reason: 'Engine', message: 'no' });
      machine.nowMs = 20_000;
      machine.advance(22_000);
      expect(secondsOf(machine.did, 'remove')).toEqual([20, 21]);
      expect(machine.events.filter((line) => line.includes('RemoveFailed'))).toEqual(['20 warning RemoveFailed']);
    }
  });

  test('of what nobody asks for is looked at again when it is due, and no sooner', () => {
    const machine = createMachine([]);
    machine.containers = [containerLike()];
    machine.end = () => ({ kind: 'failed', reason: 'Engine', message: 'no' });
    machine.look();
    machine.nowMs = 1;
    expect(machine.look().deadlineMs).toBe(1001);
    machine.nowMs = 1001;
    expect(machine.look({ inFlight: new Map([[SUBJECT, 'remove']]) })).toMatchObject({ actions: [], deadlineMs: null });
  });

  test('waits in the words of the failure', () => {
    const machine = createMachine([wished({ rows: [deviceRow(ID, { enabled: false })] })]);
    machine.containers = [containerLike()];
    machine.end = () => ({ kind: 'failed', reason: 'Engine', message: 'The engine says no.' });
    machine.advance(500);
    const [outcome] = machine.look().outcomes;
    expect(outcome).toMatchObject({ kind: 'wait', phase: 'stopping', reason: 'RemoveFailed', observedGeneration: 0 });
    expect(outcome?.message).toContain('The engine says no.');
  });
});

describe('a stall', () => {
  test('is told, and started anew: at once after good running, else later and later', () => {
    const machine = createMachine([wished()]);
    machine.statusOf = (_wish, nowMs) => reading(status(Math.min(nowMs, 70_000) + 1));
    machine.advance(200_000);
    const stalls = secondsOf(machine.did, 'remove');
    expect(machine.did.filter((line) => line.includes('remove')).every((line) => line.endsWith('Stalled'))).toBe(true);
    expect(stalls.length).toBeGreaterThan(2);
    expect(machine.events.filter((line) => line.includes('Stalled'))).toHaveLength(stalls.length);
    expect(machine.told.filter((line) => line.includes('blocked'))).toEqual([]);
    const starts = secondsOf(machine.did, 'run').slice(1);
    expect(starts.map((atS, index) => atS - (stalls[index] ?? 0))).toEqual([0, 1, 2].slice(0, starts.length));
  });
});

describe('an image is passed over in favour of the last good one', () => {
  const bad = (exitCode: number | null, given: object = {}) => {
    const machine = createMachine([wished()], { image });
    machine.started = { state: 'ended', exitCode, ...given };
    return machine.advance(4000);
  };
  const rolledBack = (events: readonly string[]) => events.filter((line) => line.includes('ImageRolledBack')).length;

  test.each([
    [1, true],
    [3, true],
    [RECORDER_EXIT.badConfig, true],
    [RECORDER_EXIT.askedToStop, false],
    [RECORDER_EXIT.microphoneGone, false],
    [RECORDER_EXIT.microphoneBusy, false],
    [RECORDER_EXIT.noPermission, false],
    [RECORDER_EXIT.formatRefused, false],
    [RECORDER_EXIT.folderUnwritable, false],
    [137, false],
    [null, false],
  ])('where it ends by itself with %s twice: %s', (exitCode, isItsFault) => {
    const machine = bad(exitCode);
    machine.nowMs = 400_000;
    machine.advance(401_000);
    expect(rolledBack(machine.events)).toBe(isItsFault ? 1 : 0);
  });

  test('not where memory ran out, nor where there is no other, nor where it is the good one itself', () => {
    expect(rolledBack(bad(1, { oomKilled: true }).events)).toBe(0);
    for (const other of [
      { ...image, lastGoodId: null },
      { ...image, lastGoodId: 'sha256:aaaa' },
    ]) {
      const machine = createMachine([wished()], { image: other });
      machine.started = ends;
      machine.advance(30_000);
      expect(rolledBack(machine.events)).toBe(0);
      expect(machine.look().memory.images.skippedId).toBeNull();
    }
  });

  test('after the second time, told once, with the image in few words', () => {
    const long = `sha256:${'ab'.repeat(32)}`;
    const machine = createMachine([wished({ recorderImage: { reference: LATEST, id: long } })], { image });
    machine.started = ends;
    machine.advance(500);
    expect(rolledBack(machine.events)).toBe(0);
    machine.nowMs = 2000;
    machine.look();
    machine.nowMs += 1;
    const told = machine.look().events.find(({ reason }) => reason === 'ImageRolledBack');
    expect(told).toMatchObject({ subject: SUBJECT, type: 'warning' });
    expect(told?.message).toContain('(abababababab)');
    machine.advance(60_000);
    expect(rolledBack(machine.events)).toBe(1);
  });

  test('where twice nothing is ever recorded with it; not where something was, nor by one that ran before we came', () => {
    const never = createMachine([wished()], { image });
    never.statusOf = () => reading(null);
    expect(rolledBack(never.advance(70_000).events)).toBe(1);
    const once = createMachine([wished()], { image });
    once.statusOf = (_wish, nowMs) => reading(status(1 + Math.floor(nowMs / 25_000), { run: String(nowMs < 1) }));
    expect(rolledBack(once.advance(25_000).events)).toBe(0);
    const early = createMachine([wished()], { image });
    early.statusOf = (_wish, nowMs) => (nowMs % 40_000 < 5000 ? reading(status(nowMs + 1)) : reading(status(1)));
    early.advance(200_000);
    expect(early.events.some((line) => line.includes('Stalled'))).toBe(true);
    expect(rolledBack(early.events)).toBe(0);
    const adopted = createMachine([wished()], { image });
    adopted.statusOf = () => reading(null);
    for (const [index, id] of ['a', 'b', 'c'].entries()) {
      adopted.containers = [{ ...containerLike(), id, imageId: 'sha256:aaaa' }];
      adopted.advance(30_000 * (index + 1));
    }
    expect(adopted.events.filter((line) => line.includes('Stalled')).length).toBeGreaterThan(1);
    expect(adopted.look().memory.images.wrong).toEqual({});
  });

  test('never by what a service does', () => {
    const entry = catalogueEntrySchema.parse({
      name: 'helper',
      title: 'Helper',
      description: 'Helps.',
      image: 'localhost/helper:latest',
      limits: { memoryMebibytes: 128, cpus: 0.5, pids: 32 },
    });
    const columns = { observedGeneration: 0, phase: 'disabled' as const, reason: '', message: '' };
    const service = { name: 'helper', enabled: true, settings: {}, restartToken: '', generation: 1, ...columns };
    const [wish] = wishes(
      specInput({
        rows: [],
        desired: desiredState({ services: [service] }),
        catalogue: [entry],
        images: { [entry.image]: 'sha256:helper' },
      }),
    );
    if (wish === undefined) throw new Error('no wish');
    const machine = createMachine([wish], { image });
    machine.started = ends;
    machine.advance(60_000);
    expect(secondsOf(machine.did, 'run').length).toBeGreaterThan(3);
    expect(machine.events.every((line) => line.endsWith('warning Crashed'))).toBe(true);
    expect(machine.look().memory.images).toMatchObject({ wrong: {}, skippedId: null });
  });
});

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}

function containerLike() {
  const wish = wished();
  if (wish.kind !== 'run') throw new Error('no container is wished');
  return {
    id: 'before',
    name: wish.spec.name,
    imageId: 'sha256:aaaa',
    state: 'live' as const,
    exitCode: null,
    oomKilled: false,
    labels: wish.spec.labels,
  };
}
