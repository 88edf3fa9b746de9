import { describe, expect, test } from 'vitest';
import { plan } from '../../services/controller/plan.ts';
import { chooseImage, emptyPlanMemory } from '../../services/controller/plan-memory.ts';
import type { Plan, PlanInput } from '../../services/controller/plan-outcome.ts';
import { recorderSubject, wishes } from '../../services/controller/spec.ts';
import type { Action, ActionOutcome, ObservedContainer, Wish } from '../../services/controller/world.ts';
import { LABEL, RECORDER_EXIT, type RecorderStatus } from '../../services/shared/contract.ts';
import {
  containerOf,
  deviceRow,
  failed,
  microphone,
  planInput,
  reading,
  specInput,
  status,
  strayContainer,
} from './sample-world.ts';

const ID = '2752-0007-000-0000';
const SUBJECT = recorderSubject(ID);

function wish(given: Parameters<typeof specInput>[0] = {}): Wish {
  const [first] = wishes(specInput(given));
  if (first === undefined) throw new Error('no wish');
  return first;
}

/** A station over time: what each cycle sees is set by the test, memory and results are carried along. */
function station(first: Partial<PlanInput> = {}) {
  let memory = emptyPlanMemory;
  let finished: { action: Action; outcome: ActionOutcome; endedAtMs: number }[] = [];
  return {
    cycle(nowMs: number, given: Partial<PlanInput>): Plan {
      const result = plan(
        planInput({ ...first, containers: reading([], nowMs), ...given, memory, nowMs, results: finished }),
      );
      memory = result.memory;
      finished = [];
      return result;
    },
    finish(action: Action | undefined, outcome: ActionOutcome, endedAtMs: number): void {
      if (action === undefined) throw new Error('there was no action to finish');
      finished.push({ action, outcome, endedAtMs });
    },
  };
}

const lines = (result: Plan): string[] =>
  result.actions.map((action) => `${action.kind} ${action.subject}: ${action.message}`);
const statuses = (value: RecorderStatus | null) => new Map([[SUBJECT, reading(value)]]);
const done: ActionOutcome = { kind: 'done', containerId: 'x', refusedLimits: [] };

describe('what a plan does', () => {
  test('a missing recorder is started', () => {
    expect(lines(plan(planInput({ wishes: [wish()] })))).toEqual([`run ${SUBJECT}: It should run and does not.`]);
  });

  test.each([
    ['live', true],
    ['moving', true],
    ['ended', false],
    ['created', false],
  ] as const)('a microphone that a %s recorder of another name holds is waited for: %s', (state, isHeld) => {
    const wished = wish({ rows: [{ ...deviceRow(ID), generation: 2, observedGeneration: 1 }] });
    const other = containerOf(wished, { id: 'other', state });
    const named: ObservedContainer = { ...other, labels: { ...other.labels, [LABEL.deviceId]: 'older' } };
    const look = (container: ObservedContainer) =>
      plan(planInput({ wishes: [wished], containers: reading([container], 2000), nowMs: 3000 }));
    const { actions, outcomes, deadlineMs } = look(named);
    expect(actions.filter(({ kind }) => kind === 'run')).toHaveLength(isHeld ? 0 : 1);
    expect(outcomes[0]).toMatchObject(isHeld ? { kind: 'wait', reason: 'MicrophoneHeld' } : { kind: 'run' });
    if (isHeld) expect(deadlineMs).toBe(3500);
    if (isHeld) expect(outcomes[0]?.observedGeneration).toBe(1);
    const elsewhere = { ...named, labels: { ...named.labels, [LABEL.incarnation]: '1-9#9#card9#116:9' } };
    expect(look(elsewhere).actions.map(({ kind }) => kind)).toContain('run');
    const { [LABEL.incarnation]: _, ...ofAnOlderRelease } = named.labels;
    expect(look({ ...named, labels: ofAnOlderRelease }).actions.map(({ kind }) => kind)).toContain('run');
  });

  test('a healthy one of an earlier controller is adopted: nothing is done', () => {
    const wished = wish();
    const result = plan(
      planInput({ wishes: [wished], containers: reading([containerOf(wished)]), statuses: statuses(status(100)) }),
    );
    expect(lines(result)).toEqual([]);
    expect(result.outcomes[0]).toMatchObject({ kind: 'keep', phase: 'recording' });
  });

  test('its generation is in effect only once it was seen to advance', () => {
    const wished = wish();
    const world = { wishes: [wished], containers: reading([containerOf(wished)]) };
    const { cycle } = station();
    expect(cycle(2000, { ...world, statuses: statuses(status(100)) }).outcomes[0]?.observedGeneration).toBe(0);
    expect(cycle(3000, { ...world, statuses: statuses(status(100)) }).outcomes[0]?.observedGeneration).toBe(0);
    expect(cycle(4000, { ...world, statuses: statuses(status(200)) }).outcomes[0]?.observedGeneration).toBe(1);
  });

  test('another intent: stopped first, started when it is gone', () => {
    const old = containerOf(wish());
    const changed = wish({ rows: [deviceRow(ID, { restartToken: 'again' })] });
    const { cycle, finish } = station({ wishes: [changed] });
    const first = cycle(2000, { containers: reading([old], 2000) });
    expect(lines(first)).toEqual([`remove ${SUBJECT}: Plug, profile or settings changed: it is replaced.`]);
    expect(cycle(2100, { containers: reading([old], 2000), inFlight: new Map([[SUBJECT, 'remove']]) }).actions).toEqual(
      [],
    );
    finish(first.actions[0], done, 2200);
    expect(cycle(2300, { containers: reading([old], 2150) }).outcomes[0]?.reason).toBe('StaleView');
    expect(cycle(2400, { containers: reading([], 2350) }).actions.map(({ kind }) => kind)).toEqual(['run']);
  });

  test('what ended on a plug that was pulled since is cleared away and no failure of the new one', () => {
    const ended = containerOf(wish(), { state: 'ended', exitCode: 10 });
    const replugged = wish({ present: new Map([[ID, microphone({ incarnation: 'another stay' })]]) });
    const { cycle, finish } = station({ wishes: [replugged] });
    const first = cycle(2000, { containers: reading([ended], 2000) });
    expect(first.events).toEqual([]);
    finish(first.actions[0], done, 2100);
    expect(cycle(2200, { containers: reading([], 2150) }).actions).toMatchObject([{ kind: 'run', reason: 'Wanted' }]);
  });

  test('another template: kept, an update waits', () => {
    const old = containerOf(wish());
    const released = wish({ recorderImage: { reference: 'localhost/silvasonic-recorder:latest', id: 'sha256:bbbb' } });
    const result = plan(planInput({ wishes: [released], containers: reading([old]), statuses: statuses(status(100)) }));
    expect(result.actions).toEqual([]);
    expect(result.outcomes[0]).toMatchObject({ phase: 'recording', reason: 'UpdateWaiting' });
  });

  test('what is not wanted, and what nobody asks for, is removed', () => {
    const running = containerOf(wish());
    const off = wish({ rows: [deviceRow(ID, { enabled: false })] });
    expect(lines(plan(planInput({ wishes: [off], containers: reading([running]) })))).toEqual([
      `remove ${SUBJECT}: Switched off.`,
    ]);
    const orphan = plan(planInput({ wishes: [], containers: reading([strayContainer('gone')]) }));
    expect(lines(orphan)).toEqual(['remove recorder:gone: Nothing in the database asks for it.']);
  });

  test('of two for one microphone the one that is as wished stays', () => {
    const wished = wish();
    const twin = {
      ...containerOf(wished),
      id: 'a-first',
      labels: { ...containerOf(wished).labels, 'io.silvasonic.intent': 'other' },
    };
    const result = plan(planInput({ wishes: [wished], containers: reading([twin, containerOf(wished)]) }));
    expect(result.actions).toMatchObject([{ kind: 'remove', containerId: 'a-first', reason: 'Duplicate' }]);
  });

  test.each([
    ['containers cannot be listed', { containers: failed<ObservedContainer[]>() }],
    ['nothing is known of the wishes', { wishes: null, containers: reading([strayContainer('any')]) }],
  ])('%s: nothing is touched', (_name, given) => {
    expect(plan(planInput({ wishes: [wish()], ...given })).actions).toEqual([]);
  });

  test('an invalid profile leaves the running recorder as it is and says so', () => {
    const running = containerOf(wish());
    const [broken] = wishes(
      specInput({
        desired: {
          ...specInput().desired,
          profiles: [
            {
              slug: 'umik-1',
              name: '',
              description: '',
              manufacturer: '',
              model: '',
              isSystem: false,
              config: { ok: false, message: 'rate: -1 was given' },
            },
          ],
        },
      }),
    );
    if (broken === undefined) throw new Error('no wish');
    const result = plan(planInput({ wishes: [broken], containers: reading([running]), statuses: statuses(status(5)) }));
    expect(result.actions).toEqual([]);
    expect(result.outcomes[0]).toMatchObject({
      kind: 'keep',
      phase: 'recording',
      reason: 'ProfileInvalid',
      observedGeneration: 1,
    });
    expect(result.outcomes[0]?.message).toContain('rate: -1 was given');
  });

  test('a missing image blocks with the cure; the last good one is used where there is one', () => {
    const result = plan(
      planInput({ wishes: [wish({ recorderImage: { reference: 'localhost/x:latest', id: null } })] }),
    );
    expect(result.outcomes[0]).toMatchObject({ kind: 'blocked', phase: 'blocked', reason: 'ImageMissing' });
  });
});

describe('what is left alone, and for how long', () => {
  const flapping = wish({ flapping: new Map([[ID, { count: 5, untilMs: 9000 }]]) });

  test('a hold starts nothing, keeps what runs, clears what ended, and looks again when it is over', () => {
    const nothing = plan(planInput({ wishes: [flapping] }));
    expect(nothing.actions).toEqual([]);
    expect(nothing.outcomes[0]).toMatchObject({
      kind: 'wait',
      phase: 'backoff',
      reason: 'FlappingPlug',
      observedGeneration: 0,
    });
    expect(nothing.deadlineMs).toBe(9000);
    const running = containerOf(wish());
    const kept = plan(planInput({ wishes: [flapping], containers: reading([running]), statuses: statuses(status(5)) }));
    expect(kept.actions).toEqual([]);
    expect(kept.outcomes[0]).toMatchObject({ kind: 'keep', phase: 'recording', reason: 'FlappingPlug' });
    const ended = plan(
      planInput({ wishes: [flapping], containers: reading([{ ...running, state: 'ended', exitCode: 10 }]) }),
    );
    expect(ended.actions).toMatchObject([{ kind: 'remove', reason: 'MicrophoneGone' }]);
  });

  test('on a microphone that the last look missed nothing is started, and what runs goes on', () => {
    const missed = wish({ missing: new Set([ID]) });
    const nothing = plan(planInput({ wishes: [missed] }));
    expect(nothing.actions).toEqual([]);
    expect(nothing.outcomes[0]).toMatchObject({ kind: 'wait', phase: 'waiting', reason: 'MicrophoneMissed' });
    const world = { wishes: [missed], containers: reading([containerOf(wish())]), statuses: statuses(status(5)) };
    const kept = plan(planInput(world));
    expect(kept.actions).toEqual([]);
    expect(kept.outcomes[0]).toMatchObject({ kind: 'keep', reason: 'Recording' });
  });

  test('what is held back but stalls meanwhile is told', () => {
    const world = { wishes: [flapping], containers: reading([containerOf(wish())]) };
    const { cycle } = station(world);
    cycle(2000, { ...world, statuses: statuses(status(5)) });
    const stalled = cycle(32_000, { ...world, statuses: statuses(status(5)) });
    expect(stalled.actions).toEqual([]);
    expect(stalled.outcomes[0]).toMatchObject({ phase: 'stalled', reason: 'Stalled' });
  });

  test('what the engine is at is looked at again soon, orphans too', () => {
    const moving = containerOf(wish(), { state: 'moving' });
    expect(plan(planInput({ wishes: [wish()], containers: reading([moving]) }))).toMatchObject({
      actions: [],
      deadlineMs: 2500,
    });
    expect(plan(planInput({ wishes: [], containers: reading([moving]) }))).toMatchObject({
      actions: [],
      deadlineMs: 2500,
    });
  });

  test('a container that never started is cleared without a failure being counted', () => {
    const { cycle, finish } = station({ wishes: [wish()] });
    const torn = cycle(2000, { containers: reading([containerOf(wish(), { state: 'created' })], 2000) });
    expect(torn.actions).toMatchObject([{ kind: 'remove', reason: 'NeverStarted' }]);
    finish(torn.actions[0], done, 2010);
    expect(cycle(2100, {}).actions.map(({ kind }) => kind)).toEqual(['run']);
  });

  test('an orphan is removed once: not again while the list is older than its removal', () => {
    const orphan = strayContainer('gone');
    const { cycle, finish } = station({ wishes: [] });
    const first = cycle(2000, { containers: reading([orphan], 2000) });
    finish(first.actions[0], done, 2100);
    expect(cycle(2200, { containers: reading([orphan], 2099) }).actions).toEqual([]);
    // What the engine had done when it answered, a list that begins then shows.
    expect(cycle(2300, { containers: reading([orphan], 2100) }).actions).toHaveLength(1);
  });

  test('with the engine away a recorder that advances is still told to record, and what is off stays in effect', () => {
    const recording = wish({ rows: [deviceRow(ID, { phase: 'recording', observedGeneration: 1 })] });
    const away = plan(
      planInput({ wishes: [recording], containers: failed<ObservedContainer[]>(), statuses: statuses(status(5)) }),
    );
    expect(away.outcomes[0]).toMatchObject({ phase: 'recording', reason: 'EngineUnavailable' });
    const { cycle } = station({ wishes: [recording] });
    for (const nowMs of [0, 31_000]) {
      const blind = { containers: failed<ObservedContainer[]>('away', nowMs), statuses: statuses(status(5)) };
      expect(cycle(nowMs, blind).outcomes[0]?.phase).toBe(nowMs === 0 ? 'recording' : 'waiting');
    }
    const off = wish({ rows: [deviceRow(ID, { enabled: false, phase: 'disabled', observedGeneration: 1 })] });
    expect(plan(planInput({ wishes: [off], containers: failed<ObservedContainer[]>() })).outcomes[0]).toMatchObject({
      phase: 'disabled',
      reason: 'SwitchedOff',
    });
  });

  test('a start that got no answer, or was refused, waits; one that found the name taken by ours looks again', () => {
    for (const [outcome, phase] of [
      [{ kind: 'unknown', message: 'no answer' }, 'backoff'],
      [{ kind: 'failed', reason: 'StartFailed', message: 'no' }, 'backoff'],
      [{ kind: 'blocked', reason: 'NameTaken', message: 'taken' }, 'blocked'],
      [{ kind: 'lookAgain', message: 'it is there already' }, 'starting'],
    ] as const) {
      const { cycle, finish } = station({ wishes: [wish()] });
      finish(cycle(0, {}).actions[0], outcome, 10);
      expect(cycle(100, {}).outcomes[0]?.phase).toBe(phase);
    }
  });
});

describe('failures', () => {
  test('one that ends at once for ever is started at most eight times in a minute', () => {
    const wished = wish();
    const { cycle, finish } = station({ wishes: [wished] });
    let starts = 0;
    let container: ObservedContainer[] = [];
    for (let nowMs = 0; nowMs < 60_000; nowMs += 100) {
      const result = cycle(nowMs, { containers: reading(container, nowMs) });
      for (const action of result.actions) {
        if (action.kind === 'run') {
          starts += 1;
          container = [containerOf(wished, { id: `c${starts}`, state: 'ended', exitCode: 1 })];
        } else container = [];
        finish(action, { ...done, containerId: container[0]?.id ?? null }, nowMs + 10);
      }
    }
    expect(starts).toBeGreaterThan(3);
    expect(starts).toBeLessThanOrEqual(8);
  });

  test('after good running the first restart is immediate, the second waits', () => {
    const wished = wish();
    const { cycle, finish } = station({ wishes: [wished] });
    const [start] = cycle(0, {}).actions;
    finish(start, { ...done, containerId: 'c1' }, 10);
    const live = containerOf(wished, { id: 'c1' });
    for (let nowMs = 1000; nowMs <= 70_000; nowMs += 1000)
      cycle(nowMs, { containers: reading([live], nowMs), statuses: statuses(status(nowMs)) });
    const ended = cycle(71_000, { containers: reading([{ ...live, state: 'ended', exitCode: 1 }], 71_000) });
    expect(ended.actions.map(({ kind }) => kind)).toEqual(['remove']);
    finish(ended.actions[0], done, 71_010);
    const again = cycle(71_100, {});
    expect(again.actions.map(({ kind }) => kind)).toEqual(['run']);
    finish(again.actions[0], { ...done, containerId: 'c2' }, 71_110);
    const second = cycle(71_200, { containers: reading([{ ...live, id: 'c2', state: 'ended', exitCode: 1 }], 71_200) });
    finish(second.actions[0], done, 71_210);
    const waiting = cycle(71_300, {});
    expect(waiting.actions).toEqual([]);
    expect(waiting.outcomes[0]).toMatchObject({ kind: 'wait', phase: 'backoff', reason: 'Crashed' });
  });

  test.each([
    [RECORDER_EXIT.microphoneGone, 'backoff', 'MicrophoneGone'],
    [RECORDER_EXIT.microphoneBusy, 'backoff', 'MicrophoneBusy'],
    [RECORDER_EXIT.noPermission, 'blocked', 'NoPermission'],
    [RECORDER_EXIT.formatRefused, 'blocked', 'FormatRefused'],
    [RECORDER_EXIT.folderUnwritable, 'blocked', 'FolderUnwritable'],
    [RECORDER_EXIT.badConfig, 'blocked', 'ConfigRefused'],
    [3, 'backoff', 'Crashed'],
  ])('exit code %i becomes %s %s', (exitCode, phase, reason) => {
    const wished = wish();
    const { cycle, finish } = station({ wishes: [wished] });
    const torn = cycle(2000, { containers: reading([containerOf(wished, { state: 'ended', exitCode })], 2000) });
    finish(torn.actions[0], done, 2010);
    const result = cycle(2100, {});
    expect(result.outcomes[0]).toMatchObject({ phase, reason });
    expect(result.outcomes[0]?.observedGeneration).toBe(phase === 'blocked' ? 1 : 0);
  });

  test("a person's change ends the waiting", () => {
    const wished = wish();
    const { cycle, finish } = station();
    const torn = cycle(2000, {
      wishes: [wished],
      containers: reading([containerOf(wished, { state: 'ended', exitCode: 13 })], 2000),
    });
    finish(torn.actions[0], done, 2010);
    expect(cycle(2100, { wishes: [wished] }).actions).toEqual([]);
    const edited = wish({ rows: [deviceRow(ID, { generation: 2 })] });
    expect(cycle(2200, { wishes: [edited] }).actions.map(({ kind }) => kind)).toEqual(['run']);
  });

  test('frames that do not advance: replaced; silent: told, never restarted', () => {
    const wished = wish();
    const world = { wishes: [wished], containers: reading([containerOf(wished)]) };
    const stuck = station(world);
    stuck.cycle(2000, { ...world, statuses: statuses(status(100)) });
    expect(stuck.cycle(31_999, { ...world, statuses: statuses(status(100)) }).actions).toEqual([]);
    expect(stuck.cycle(32_000, { ...world, statuses: statuses(status(100)) }).actions).toMatchObject([
      { kind: 'remove', reason: 'Stalled' },
    ]);
    const silent = station(world);
    for (let nowMs = 2000; nowMs < 200_000; nowMs += 10_000) {
      const result = silent.cycle(nowMs, { ...world, statuses: statuses(status(nowMs, { silent: true })) });
      expect(result.actions.filter(({ kind }) => kind !== 'tag')).toEqual([]);
      expect(result.outcomes[0]).toMatchObject({ phase: 'recording', reason: 'Silent' });
    }
  });

  test('waiting for room or for the device, alive and with a reason, is no stall; dead with the same words is', () => {
    const wished = wish();
    const world = { wishes: [wished], containers: reading([containerOf(wished)]) };
    const full = { state: 'no_space' as const, reason: 'NoSpace', message: 'The disk is full.' };
    const alive = station(world);
    for (let nowMs = 2000; nowMs < 200_000; nowMs += 10_000) {
      expect(alive.cycle(nowMs, { ...world, statuses: statuses(status(100, { ...full, at: nowMs })) }).actions).toEqual(
        [],
      );
    }
    const dead = station(world);
    dead.cycle(2000, { ...world, statuses: statuses(status(100, { ...full, at: 1 })) });
    expect(dead.cycle(40_000, { ...world, statuses: statuses(status(100, { ...full, at: 1 })) }).actions).toMatchObject(
      [{ reason: 'Stalled' }],
    );
  });

  test('a status that cannot be read is unknown and costs nothing, a missing one is "not advancing"', () => {
    const wished = wish();
    const world = { wishes: [wished], containers: reading([containerOf(wished)]) };
    const unknown = station(world);
    for (let nowMs = 2000; nowMs < 200_000; nowMs += 10_000) {
      expect(
        unknown.cycle(nowMs, { ...world, statuses: new Map([[SUBJECT, failed<RecorderStatus | null>('EIO')]]) })
          .actions,
      ).toEqual([]);
    }
    const missing = station(world);
    missing.cycle(2000, { ...world, statuses: statuses(null) });
    expect(missing.cycle(32_000, { ...world, statuses: statuses(null) }).actions).toMatchObject([
      { reason: 'Stalled' },
    ]);
  });

  test('a removal that fails is tried again, later and later', () => {
    const off = wish({ rows: [deviceRow(ID, { enabled: false })] });
    const running = containerOf(wish());
    const { cycle, finish } = station({ wishes: [off] });
    let attempts = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += 100) {
      for (const action of cycle(nowMs, { containers: reading([running], nowMs) }).actions) {
        attempts += 1;
        finish(action, { kind: 'failed', reason: 'Engine', message: 'no' }, nowMs + 10);
      }
    }
    expect(attempts).toBeGreaterThan(3);
    expect(attempts).toBeLessThan(10);
  });
});

describe('updates', () => {
  const current = { reference: 'localhost/silvasonic-recorder:latest', id: 'sha256:bbbb' };
  const rows = ['a', 'b', 'c'].map((id) => deviceRow(id));
  const present = new Map(rows.map((row) => [row.id, microphone({ portPath: row.id })]));

  test('with auto_update one recorder at a time takes the new release, the next after good running', () => {
    const old = wishes(specInput({ rows, present })).map((wished) => containerOf(wished));
    const wished = wishes(specInput({ rows, present, recorderImage: current }));
    const policy = { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: true };
    const { cycle, finish } = station({ wishes: wished, policy });
    let running = old;
    const order: string[] = [];
    for (let nowMs = 0; nowMs < 300_000; nowMs += 1000) {
      const told = new Map(wished.map(({ subject }) => [subject, reading<RecorderStatus | null>(status(nowMs))]));
      for (const action of cycle(nowMs, { containers: reading(running, nowMs), statuses: told }).actions) {
        if (action.kind === 'remove') {
          running = running.filter(({ id }) => id !== action.containerId);
          order.push(`${nowMs / 1000} ${action.subject}`);
          expect(running).toHaveLength(2);
        }
        const made = wished.find(({ subject }) => subject === action.subject);
        if (action.kind === 'run' && made !== undefined)
          running = [...running, containerOf(made, { id: `new-${action.subject}`, imageId: current.id })];
        finish(action, { ...done, containerId: `new-${action.subject}` }, nowMs + 10);
      }
    }
    expect(order.map((line) => line.split(' ')[1])).toEqual(['recorder:a', 'recorder:b', 'recorder:c']);
    const times = order.map((line) => Number(line.split(' ')[0]));
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(60);
  });

  test('another release that comes before the last updated one has proven itself holds up nobody', () => {
    const later = { ...current, id: 'sha256:cccc' };
    const policy = { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: true };
    const { cycle, finish } = station({ policy });
    let running = wishes(specInput({ rows, present })).map((wished) => containerOf(wished));
    let made = 0;
    for (let nowMs = 0; nowMs < 400_000; nowMs += 1000) {
      const image = nowMs < 30_000 ? current : later;
      const wished = wishes(specInput({ rows, present, recorderImage: image }));
      const told = new Map(wished.map(({ subject }) => [subject, reading<RecorderStatus | null>(status(nowMs))]));
      const given = { wishes: wished, containers: reading(running, nowMs), statuses: told };
      for (const action of cycle(nowMs, given).actions) {
        if (action.kind === 'remove') running = running.filter(({ id }) => id !== action.containerId);
        expect(running.length).toBeGreaterThanOrEqual(2);
        const one = wished.find(({ subject }) => subject === action.subject);
        made += 1;
        if (action.kind === 'run' && one !== undefined)
          running = [...running, containerOf(one, { id: `new-${made}`, imageId: image.id })];
        finish(action, { ...done, containerId: `new-${made}` }, nowMs + 10);
      }
    }
    expect(running.map(({ imageId }) => imageId)).toEqual([later.id, later.id, later.id]);
  });

  test('an update whose removal failed is tried again, and no other recorder meanwhile', () => {
    const old = wishes(specInput({ rows, present })).map((wished) => containerOf(wished));
    const wished = wishes(specInput({ rows, present, recorderImage: current }));
    const policy = { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: true };
    const { cycle, finish } = station({ wishes: wished, policy });
    const removed: string[] = [];
    for (let nowMs = 0; nowMs < 100_000; nowMs += 1000) {
      const told = new Map(wished.map(({ subject }) => [subject, reading<RecorderStatus | null>(status(nowMs))]));
      for (const action of cycle(nowMs, { containers: reading(old, nowMs), statuses: told }).actions) {
        if (action.kind === 'remove') removed.push(action.subject);
        finish(action, { kind: 'failed', reason: 'Engine', message: 'no' }, nowMs + 10);
      }
    }
    expect(removed.length).toBeGreaterThan(2);
    expect(new Set(removed)).toEqual(new Set(['recorder:a']));
  });

  test('an image that proved itself is tagged; one that twice ends wrongly is passed over', () => {
    const wished = wish({ recorderImage: current });
    const image = {
      currentId: current.id,
      lastGoodId: 'sha256:aaaa',
      lastGoodReference: 'localhost/silvasonic-recorder:last-good',
    };
    const { cycle, finish } = station({ wishes: [wished], image });
    let result = cycle(0, {});
    for (const id of ['c1', 'c2']) {
      for (let nowMs = 1000; nowMs < 9000 && result.actions[0]?.kind !== 'run'; nowMs += 1000)
        result = cycle(nowMs, {});
      finish(result.actions[0], { ...done, containerId: id }, 1);
      result = cycle(100_000, {
        containers: reading([containerOf(wished, { id, imageId: current.id, state: 'ended', exitCode: 1 })], 100_000),
      });
      finish(result.actions[0], done, 100_001);
      if (id === 'c1') result = cycle(200_000, {});
    }
    expect(result.memory.images.skippedId).toBe(current.id);
    expect(result.events.map(({ reason }) => reason)).toContain('ImageRolledBack');

    const good = station({ wishes: [wished], image });
    const live = containerOf(wished, { imageId: current.id });
    const tags = [0, 30_000, 60_000, 90_000, 120_000].flatMap(
      (nowMs) =>
        good.cycle(nowMs, { containers: reading([live], nowMs), statuses: statuses(status(nowMs + 1)) }).actions,
    );
    expect(tags).toMatchObject([{ kind: 'tag', imageId: current.id, reference: image.lastGoodReference }]);
  });
});

test('a microphone that is busy: who holds it is named', () => {
  const { cycle, finish } = station();
  const busy = [containerOf(wish(), { state: 'ended', exitCode: RECORDER_EXIT.microphoneBusy })];
  finish(cycle(0, { wishes: [wish()], containers: reading(busy, 0) }).actions[0], done, 10);
  const held = wish({ holders: new Map([[ID, 'pulseaudio (process 812)']]) });
  expect(cycle(100, { wishes: [held] }).outcomes[0]).toMatchObject({
    phase: 'backoff',
    reason: 'MicrophoneBusy',
    message: 'pulseaudio (process 812) holds the microphone: stop that program.',
  });
});

describe('which image', () => {
  const image = { reference: 'x:latest', currentId: 'new', lastGoodReference: 'x:last-good', lastGoodId: 'old' };
  const none = emptyPlanMemory.images;
  test.each([
    ['the tag means one', image, none, 'x:latest', 'new'],
    ['the tag means a bad one', image, { ...none, skippedId: 'new' }, 'x:last-good', 'old'],
    [
      'the tag means another again',
      { ...image, currentId: 'newer' },
      { ...none, skippedId: 'new' },
      'x:latest',
      'newer',
    ],
    [
      'the tag means none after a bad one',
      { ...image, currentId: null },
      { ...none, skippedId: 'new' },
      'x:last-good',
      'old',
    ],
    ['the tag means none', { ...image, currentId: null }, none, 'x:last-good', 'old'],
    ['nothing better is known', { ...image, lastGoodId: null }, { ...none, skippedId: 'new' }, 'x:latest', 'new'],
  ])('%s', (_name, given, images, reference, id) => {
    expect(chooseImage(given, images)).toEqual({ reference, id });
  });
});

describe('refused limits', () => {
  test('are told with the device and as a warning', () => {
    const wished = wish();
    const { cycle, finish } = station({ wishes: [wished] });
    const [start] = cycle(0, {}).actions;
    const refused = { reason: 'OomScoreRefused', message: 'This host refuses the OOM score -999.' };
    finish(start, { kind: 'done', containerId: 'c1', refusedLimits: [refused] }, 10);
    const result = cycle(1000, {
      containers: reading([containerOf(wished, { id: 'c1' })], 1000),
      statuses: statuses(status(5)),
    });
    expect(result.events).toContainEqual({ subject: SUBJECT, type: 'warning', ...refused });
    expect(result.outcomes[0]?.message).toContain(refused.message);
    expect(result.outcomes[0]?.phase).toBe('recording');
  });
});
