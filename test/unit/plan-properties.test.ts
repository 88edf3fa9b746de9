/** What holds for every plan, whatever the world looks like. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plan } from '../../services/controller/plan.ts';
import { emptyPlanMemory } from '../../services/controller/plan-memory.ts';
import { type PlanInput, subjectOf } from '../../services/controller/plan-outcome.ts';
import { wishes } from '../../services/controller/spec.ts';
import type { Action, ObservedContainer, Reading, Wish } from '../../services/controller/world.ts';
import { LABEL, type RecorderStatus } from '../../services/shared/contract.ts';
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

const IDS = ['a', 'b', 'c', 'd'];

/** A device's situation; together they reach every kind of wish. */
const deviceSituation = fc.record({
  enabled: fc.boolean(),
  enrollmentStatus: fc.constantFrom('pending' as const, 'enrolled' as const, 'enrolled' as const, 'ignored' as const),
  profileSlug: fc.constantFrom(null, 'umik-1', 'umik-1', 'gone'),
  present: fc.boolean(),
  flapping: fc.boolean(),
});
type DeviceSituation = typeof deviceSituation extends fc.Arbitrary<infer T> ? T : never;

function wishesOf(situations: readonly DeviceSituation[], imageId: string | null): Wish[] {
  const rows = situations.map(({ present: _present, flapping: _flapping, ...columns }, index) =>
    deviceRow(IDS[index] ?? '', columns),
  );
  const withIds = situations.map((situation, index) => ({ id: IDS[index] ?? '', ...situation }));
  return wishes(
    specInput({
      rows,
      present: new Map(withIds.filter(({ present }) => present).map(({ id }) => [id, microphone({ portPath: id })])),
      flapping: new Map(
        withIds.filter(({ flapping }) => flapping).map(({ id }) => [id, { count: 5, untilMs: 99_000 }]),
      ),
      recorderImage: { reference: 'localhost/silvasonic-recorder:latest', id: imageId },
    }),
  );
}

const containerSituation = fc.record({
  of: fc.constantFrom(...IDS, 'nobody'),
  state: fc.constantFrom('live' as const, 'live' as const, 'ended' as const, 'created' as const, 'moving' as const),
  sameIntent: fc.boolean(),
  sameTemplate: fc.boolean(),
  exitCode: fc.constantFrom(0, 1, 10, 11, 13, 64, 137),
});

const worlds = fc.record({
  situations: fc.array(deviceSituation, { minLength: 1, maxLength: IDS.length }),
  containers: fc.array(containerSituation, { maxLength: 6 }),
  listFails: fc.boolean(),
  inFlight: fc.subarray(IDS),
  statuses: fc.array(fc.constantFrom('advancing', 'missing', 'unreadable', 'silent'), { minLength: 4, maxLength: 4 }),
  imageId: fc.constantFrom(null, 'sha256:aaaa'),
  autoUpdate: fc.boolean(),
});
type World = typeof worlds extends fc.Arbitrary<infer T> ? T : never;

const STATUS: Record<string, Reading<RecorderStatus | null>> = {
  advancing: reading(status(100)),
  silent: reading(status(100, { silent: true })),
  missing: reading(null),
  unreadable: failed('EIO'),
};

function inputOf(world: World): PlanInput {
  const wished = wishesOf(world.situations, world.imageId);
  const containers = world.containers.map((situation, index): ObservedContainer => {
    const wish = wished.find(({ subject }) => subject === `recorder:${situation.of}`);
    const base = wish?.kind === 'run' ? containerOf(wish) : strayContainer(situation.of);
    const labels = {
      ...base.labels,
      ...(situation.sameIntent ? {} : { [LABEL.intent]: 'other' }),
      ...(situation.sameTemplate ? {} : { [LABEL.template]: 'other' }),
    };
    const ended = situation.state === 'ended';
    return {
      ...base,
      id: `container-${index}`,
      labels,
      state: situation.state,
      exitCode: ended ? situation.exitCode : null,
    };
  });
  return planInput({
    wishes: wished,
    containers: world.listFails ? failed() : reading(containers, 2000),
    inFlight: new Map(world.inFlight.map((id) => [`recorder:${id}`, 'run' as const])),
    statuses: new Map(
      IDS.map((id, index) => [
        `recorder:${id}`,
        STATUS[world.statuses[index] ?? ''] ?? failed<RecorderStatus | null>(),
      ]),
    ),
    image: { currentId: world.imageId, lastGoodId: null, lastGoodReference: 'localhost/silvasonic-recorder:last-good' },
    policy: { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: world.autoUpdate },
  });
}

const containersOf = (input: PlanInput): ObservedContainer[] => (input.containers.ok ? input.containers.value : []);

describe('for every world', () => {
  test('every wish and every container of ours is in exactly one outcome', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf(world);
        const { outcomes } = plan(input);
        const subjects = outcomes.map(({ subject }) => subject);
        expect(new Set(subjects).size).toBe(subjects.length);
        const expected = new Set([
          ...(input.wishes ?? []).map(({ subject }) => subject),
          ...containersOf(input).map(subjectOf),
        ]);
        expect(new Set(subjects)).toEqual(expected);
        for (const { reason, message } of outcomes) {
          expect(reason).toMatch(/^[A-Z][A-Za-z]+$/);
          expect(message).not.toBe('');
        }
      }),
    );
  });

  test('at most one action per subject, none for one in flight, each with a reason', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf(world);
        const subjects = plan(input).actions.map(({ subject }) => subject);
        expect(new Set(subjects).size).toBe(subjects.length);
        for (const subject of subjects) expect(input.inFlight.has(subject)).toBe(false);
      }),
    );
  });

  test('a healthy container that matches is never stopped', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf({ ...world, autoUpdate: false });
        const { actions } = plan(input);
        for (const wish of input.wishes ?? []) {
          if (wish.kind === 'off') continue;
          const matching = containersOf(input).filter(
            (container) =>
              subjectOf(container) === wish.subject &&
              container.state === 'live' &&
              (wish.kind === 'hold' || container.labels[LABEL.intent] === wish.intent),
          );
          const removed = new Set(actions.flatMap((action) => (action.kind === 'remove' ? [action.containerId] : [])));
          if (matching.length > 0) expect(matching.some(({ id }) => !removed.has(id))).toBe(true);
        }
      }),
    );
  });

  test('nothing is started that is not wished, nor beside another for the same microphone', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf(world);
        for (const action of plan(input).actions) {
          if (action.kind !== 'run') continue;
          expect((input.wishes ?? []).find(({ subject }) => subject === action.subject)?.kind).toBe('run');
          expect(containersOf(input).filter((container) => subjectOf(container) === action.subject)).toEqual([]);
          expect(input.containers.ok).toBe(true);
        }
      }),
    );
  });

  test('what must not run is stopped', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf({ ...world, inFlight: [], listFails: false });
        const acted = new Set(plan(input).actions.map(({ subject }) => subject));
        for (const container of containersOf(input)) {
          const wish = (input.wishes ?? []).find(({ subject }) => subject === subjectOf(container));
          const moving = containersOf(input).some(
            (other) => other.state === 'moving' && subjectOf(other) === subjectOf(container),
          );
          if ((wish === undefined || wish.kind === 'off') && !moving) expect(acted).toContain(subjectOf(container));
        }
      }),
    );
  });

  test('a list that cannot be read removes and starts nothing', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        expect(plan(inputOf({ ...world, listFails: true })).actions).toEqual([]);
      }),
    );
  });

  test('the order in which the engine lists containers decides nothing', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf(world);
        const reversed = { ...input, containers: reading([...containersOf(input)].reverse(), 2000) };
        if (input.containers.ok) expect(plan(reversed)).toEqual(plan(input));
      }),
    );
  });

  test('when to look again is later than now, or left to the tick', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { deadlineMs } = plan(inputOf(world));
        if (deadlineMs !== null) {
          expect(deadlineMs).toBeGreaterThan(2000);
          expect(deadlineMs).toBeLessThan(Number.POSITIVE_INFINITY);
        }
      }),
    );
  });

  test('equal input, equal plan', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        expect(plan(inputOf(world))).toEqual(plan(inputOf(world)));
      }),
    );
  });

  test('done as planned, the world comes to rest: within a few cycles nothing is left to do, and what is wished runs', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const input = inputOf({
          ...world,
          inFlight: [],
          listFails: false,
          autoUpdate: false,
          imageId: 'sha256:aaaa',
          statuses: IDS.map(() => 'advancing'),
        });
        const still = containersOf(input).filter(({ state }) => state !== 'moving');
        let containers = still;
        let memory = emptyPlanMemory;
        let results: PlanInput['results'] = [];
        let last: readonly Action[] = [];
        for (let cycle = 0; cycle < 20; cycle += 1) {
          // Longer apart than any back-off, so that what waits comes to its turn.
          const nowMs = 2000 + cycle * 400_000;
          const told = new Map([...input.statuses.keys()].map((subject) => [subject, reading(status(nowMs))]));
          const next = plan({
            ...input,
            containers: reading(containers, nowMs),
            statuses: told,
            memory,
            results,
            nowMs,
          });
          memory = next.memory;
          last = next.actions.filter(({ kind }) => kind !== 'tag');
          results = next.actions.map((action) => ({
            action,
            outcome: { kind: 'done', containerId: `${action.subject}-${cycle}`, refusedLimits: [] },
            endedAtMs: nowMs + 1,
          }));
          for (const action of last) containers = applied(containers, action, input.wishes ?? [], cycle);
        }
        expect(last).toEqual([]);
        const live = containers.map(subjectOf).sort();
        const wished = (input.wishes ?? []).filter(({ kind }) => kind === 'run').map(({ subject }) => subject);
        for (const subject of wished) expect(live.filter((one) => one === subject)).toHaveLength(1);
        for (const { subject, kind } of input.wishes ?? []) if (kind === 'off') expect(live).not.toContain(subject);
      }),
    );
  });
});

function applied(
  containers: readonly ObservedContainer[],
  action: Action,
  wished: readonly Wish[],
  cycle: number,
): ObservedContainer[] {
  if (action.kind === 'remove') return containers.filter(({ id }) => id !== action.containerId);
  const wish = wished.find(({ subject }) => subject === action.subject);
  return wish === undefined
    ? [...containers]
    : [...containers, containerOf(wish, { id: `${action.subject}-${cycle}` })];
}
