/** What a person is told in each situation: phase, reason, and whether the change is in effect. */
import { describe, expect, test } from 'vitest';
import { plan } from '../../services/controller/plan.ts';
import type { Outcome, PlanInput } from '../../services/controller/plan-outcome.ts';
import { wishes } from '../../services/controller/spec.ts';
import type { ObservedContainer, Wish } from '../../services/controller/world.ts';
import { containerOf, failed, planInput, reading, specInput, status } from './sample-world.ts';

const SUBJECT = 'recorder:2752-0007-000-0000';
function wished(): Wish {
  const [wish] = wishes(specInput());
  if (wish?.subject !== SUBJECT) throw new Error('the sample wishes something else');
  return wish;
}

/** One cycle after another over the same memory, a second apart. */
function tell(...steps: Partial<PlanInput>[]): Outcome {
  let memory = planInput().memory;
  let outcome: Outcome | undefined;
  for (const [index, step] of steps.entries()) {
    const nowMs = 2000 + index * 1000;
    const result = plan(planInput({ wishes: [wished()], containers: reading([], nowMs), ...step, nowMs, memory }));
    memory = result.memory;
    [outcome] = result.outcomes;
  }
  if (outcome === undefined) throw new Error('nothing is told');
  return outcome;
}

const container = (given: Partial<ObservedContainer> = {}) => containerOf(wished(), given);
const seen = (given: Partial<ObservedContainer>, nowMs = 2000) => ({ containers: reading([container(given)], nowMs) });

describe('one that has ended', () => {
  test.each([
    [0, false, 'Ended', 'backoff'],
    [1, false, 'Crashed', 'backoff'],
    [10, false, 'MicrophoneGone', 'backoff'],
    [11, false, 'MicrophoneBusy', 'backoff'],
    [12, false, 'NoPermission', 'blocked'],
    [13, false, 'FormatRefused', 'blocked'],
    [14, false, 'FolderUnwritable', 'blocked'],
    [64, false, 'ConfigRefused', 'blocked'],
    [137, false, 'Killed', 'backoff'],
    [137, true, 'OutOfMemory', 'backoff'],
    [null, false, 'Ended', 'backoff'],
  ] as const)('is explained', (exitCode: number | null, oomKilled: boolean, reason: string, phase: string) => {
    const ended = seen({ state: 'ended', exitCode, oomKilled });
    expect(tell(ended)).toMatchObject({ kind: 'remove', reason });
    // A second later: what waiting may mend is tried again, what it does not mend is left to a person.
    const later = tell(ended, {});
    expect(later).toMatchObject(phase === 'blocked' ? { kind: 'blocked', phase, reason } : { kind: 'run' });
  });
});

describe('one that runs', () => {
  const runs = (given: Parameters<typeof status>[1], frames = 48_000) => ({
    ...seen({}),
    statuses: new Map([[SUBJECT, reading(status(frames, given))]]),
  });

  test('and has no room, or tries again, says so in its own words', () => {
    expect(tell(runs({ state: 'no_space', reason: 'DiskFull', message: 'Full.' }))).toMatchObject({
      phase: 'blocked',
      reason: 'DiskFull',
      message: 'Full.',
    });
    expect(tell(runs({ state: 'no_space', reason: '', message: 'Full.' }))).toMatchObject({ reason: 'NoSpace' });
    expect(tell(runs({ state: 'retrying', reason: 'Busy', message: 'Busy.' }))).toMatchObject({
      phase: 'waiting',
      reason: 'Busy',
    });
    expect(tell(runs({ state: 'retrying', reason: '', message: 'Busy.' }))).toMatchObject({ reason: 'Retrying' });
  });

  test('without a status is starting; while the engine is away it is known by what it writes', () => {
    expect(tell(seen({}))).toMatchObject({ phase: 'starting', reason: 'Starting' });
    const away = { containers: failed<ObservedContainer[]>('away', 2000) };
    expect(tell(away)).toMatchObject({ phase: 'waiting', reason: 'EngineUnavailable' });
    expect(tell({ ...runs({}), ...away })).toMatchObject({ phase: 'recording', reason: 'EngineUnavailable' });
    expect(tell({ ...runs({ state: 'starting' }), ...away })).toMatchObject({ phase: 'waiting' });
  });

  test('in flight: what is being done is said', () => {
    expect(tell({ inFlight: new Map([[SUBJECT, 'run']]) })).toMatchObject({ phase: 'starting', reason: 'InFlight' });
    expect(tell({ inFlight: new Map([[SUBJECT, 'remove']]) })).toMatchObject({ phase: 'stopping', reason: 'InFlight' });
  });

  test('an engine that is at it is waited for', () => {
    expect(tell(seen({ state: 'moving' }))).toMatchObject({ kind: 'wait', reason: 'EngineBusy' });
  });

  test('made and never started, or one too many: cleared away, and said why', () => {
    expect(tell(seen({ state: 'created' }))).toMatchObject({
      kind: 'remove',
      reason: 'NeverStarted',
      phase: 'starting',
    });
    const two = reading([container({ id: 'a' }), container({ id: 'b' })], 2000);
    expect(tell({ containers: two })).toMatchObject({ kind: 'remove', reason: 'Duplicate' });
  });
});

test('an image that is missing, or on its way', () => {
  const imageless = wishes(
    specInput({ recorderImage: { reference: 'localhost/silvasonic-recorder:latest', id: null } }),
  );
  const reference = 'localhost/silvasonic-recorder:latest';
  const pull = (kind: 'pulling' | 'waiting') => ({
    wishes: imageless,
    pulls: new Map([[reference, { kind, message: 'On its way.' }]]),
  });
  expect(tell({ wishes: imageless })).toMatchObject({ kind: 'blocked', phase: 'blocked', reason: 'ImageMissing' });
  expect(tell(pull('pulling'))).toMatchObject({ kind: 'wait', phase: 'waiting', reason: 'Pulling' });
  expect(tell(pull('waiting'))).toMatchObject({ kind: 'wait', phase: 'waiting', reason: 'RegistryUnreachable' });
});
