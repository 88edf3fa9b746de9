/** While only a last good state tells what is wished: somebody may have wished otherwise since, so what works goes on. */
import { describe, expect, test } from 'vitest';
import { plan } from '../../services/controller/plan.ts';
import type { PlanInput } from '../../services/controller/plan-outcome.ts';
import { recorderSubject, wishes } from '../../services/controller/spec.ts';
import type { DeviceRow, Wish } from '../../services/controller/world.ts';
import { createMachine } from './plan-machine.ts';
import { containerOf, deviceRow, planInput, reading, specInput, strayContainer } from './sample-world.ts';

const ID = '2752-0007-000-0000';

function wished(row: Partial<DeviceRow> = {}, given: Parameters<typeof specInput>[0] = {}): Wish {
  const [first] = wishes(specInput({ rows: [{ ...deviceRow(ID), ...row }], ...given }));
  if (first === undefined) throw new Error('no wish');
  return first;
}
const running = containerOf(wished());
const look = (wish: Wish, given: Partial<PlanInput> = {}) =>
  plan(planInput({ wishes: [wish], containers: reading([running], 2000), ...given }));

describe('what works is not stopped, and says why', () => {
  test.each([
    ['switched off', wished({ enabled: false })],
    ['ignored', wished({ enrollmentStatus: 'ignored' })],
    ['without a profile', wished({ profileSlug: null })],
    ['to be restarted', wished({ restartToken: 'again' })],
    ['with other settings', wished({ settings: { ok: true, value: { segmentSeconds: 30 } } })],
  ])('when it was then %s', (_what, wish) => {
    expect(look(wish, { remembered: true }).actions).toEqual([]);
    expect(look(wish, { remembered: false }).actions).toMatchObject([{ kind: 'remove', containerId: running.id }]);
  });

  test('when nothing was known of it', () => {
    const stray = strayContainer('later');
    const input = { wishes: [], containers: reading([stray], 2000) };
    expect(plan(planInput({ ...input, remembered: true })).actions).toEqual([]);
    expect(plan(planInput(input)).actions).toMatchObject([{ kind: 'remove', containerId: 'later' }]);
  });

  test('and a person reads that the database is waited for', () => {
    const [outcome] = look(wished({ enabled: false }), { remembered: true }).outcomes;
    expect(outcome).toMatchObject({ kind: 'keep', reason: 'DatabaseUnread' });
    expect(outcome?.message).toContain('database');
  });
});

describe('all the rest is done as ever', () => {
  test('what was wanted and does not run is started', () => {
    expect(look(wished(), { remembered: true, containers: reading([], 2000) }).actions).toMatchObject([
      { kind: 'run', subject: recorderSubject(ID) },
    ]);
  });

  test('what was switched off and does not run is not', () => {
    const { actions, outcomes } = look(wished({ enabled: false }), { remembered: true, containers: reading([], 2000) });
    expect(actions).toEqual([]);
    expect(outcomes).toMatchObject([{ kind: 'off', phase: 'disabled' }]);
  });

  test('one whose microphone is gone, one that has ended and one too many are cleared away', () => {
    const removed = (...args: Parameters<typeof look>) =>
      look(...args).actions.map((action) => action.kind === 'remove' && action.containerId);
    const other = { ...running, id: 'other' };
    const ended = { ...running, state: 'ended' as const, exitCode: 1 };
    expect(removed(wished({}, { present: new Map() }), { remembered: true })).toEqual([running.id]);
    expect(removed(wished(), { remembered: true, containers: reading([ended], 2000) })).toEqual([running.id]);
    for (const wish of [wished(), wished({ enabled: false })])
      expect(removed(wish, { remembered: true, containers: reading([running, other], 2000) })).toEqual(['other']);
    const stray = strayContainer('over', { state: 'ended' });
    const input = planInput({ wishes: [], containers: reading([stray], 2000), remembered: true });
    expect(plan(input).actions).toMatchObject([{ kind: 'remove', containerId: 'over' }]);
  });

  test('one that captures nothing any more is started anew', () => {
    const machine = createMachine([wished({ restartToken: 'again' })], { remembered: true });
    machine.containers = [running];
    machine.statusOf = () => reading(null);
    machine.advance(90_000);
    expect(machine.did).toContain('30 remove Stalled');
  });
});
