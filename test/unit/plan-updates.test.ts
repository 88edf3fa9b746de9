/**
 * How a release reaches what runs: one recorder at a time, and nobody held up for ever by another; and how an image
 * becomes the one to come back to.
 */
import { describe, expect, test } from 'vitest';
import type { PlanInput } from '../../services/controller/plan-outcome.ts';
import { wishes } from '../../services/controller/spec.ts';
import type { ObservedContainer, Wish } from '../../services/controller/world.ts';
import { LABEL } from '../../services/shared/contract.ts';
import { createMachine, secondsOf } from './plan-machine.ts';
import { containerOf, deviceRow, failed, microphone, reading, specInput, status } from './sample-world.ts';

const REFERENCE = 'localhost/silvasonic-recorder:latest';
const policy = { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: true };

function released(
  id: string,
  ids: readonly string[] = ['a', 'b'],
  change: Parameters<typeof deviceRow>[1] = {},
): Wish[] {
  // A change is one of the first's.
  const rows = ids.map((one, index) => deviceRow(one, index === 0 ? change : {}));
  const present = new Map(rows.map((row) => [row.id, microphone({ portPath: row.id })]));
  return wishes(specInput({ rows, present, recorderImage: { reference: REFERENCE, id } }));
}
/** All run the first release; the second is out. */
function updating(ids?: readonly string[]) {
  const machine = createMachine(released('sha256:two', ids), { policy });
  machine.containers = released('sha256:one', ids).map((wish) => containerOf(wish, { id: `old ${wish.subject}` }));
  return machine;
}
const imagesOf = (containers: readonly ObservedContainer[]) => containers.map(({ imageId }) => imageId).sort();

describe('one after the other', () => {
  test('the next when the one before has run well; then nothing is left to do', () => {
    const machine = updating().advance(400_000);
    expect(machine.did).toEqual(['0 a remove Update', '0 a run Wanted', '60 b remove Update', '60 b run Wanted']);
    expect(machine.told.filter((line) => line.includes('Update '))).toEqual([]);
    expect(machine.told.filter((line) => line.endsWith('stopping Update'))).toEqual([
      '0 a stopping Update',
      '60 b stopping Update',
    ]);
  });

  test('one that was updated and fails later holds up nobody at the next release', () => {
    const machine = updating().advance(400_000);
    machine.containers = machine.containers.map((container) =>
      container.labels[LABEL.deviceId] === 'b' ? { ...container, state: 'ended', exitCode: 13 } : container,
    );
    machine.advance(401_000);
    expect(machine.did.slice(4)).toEqual(['400 b remove FormatRefused']);
    machine.wishes = released('sha256:three');
    machine.end = (action) =>
      action.subject === 'recorder:b' && action.kind === 'run'
        ? { kind: 'blocked', reason: 'Refused', message: 'no' }
        : { kind: 'done', containerId: null, refusedLimits: [] };
    machine.advance(500_000);
    expect(imagesOf(machine.containers)).toEqual(['sha256:three']);
  });

  test.each([
    ['switched off', released('sha256:two', ['a', 'b'], { enabled: false })],
    ['forgotten', released('sha256:two', ['b'])],
  ])('one that is %s while it takes the update holds up nobody', (_name, later) => {
    const machine = updating();
    machine.end = (action) =>
      action.kind === 'run'
        ? { kind: 'failed', reason: 'StartFailed', message: 'no' }
        : { kind: 'done', containerId: null, refusedLimits: [] };
    machine.advance(2000);
    machine.wishes = later;
    machine.end = () => ({ kind: 'done', containerId: null, refusedLimits: [] });
    machine.advance(200_000);
    expect(imagesOf(machine.containers)).toEqual(['sha256:two']);
  });

  test('one that does not come up with the update keeps it from the others', () => {
    const machine = updating();
    machine.statusOf = (wish, nowMs) => reading(wish.subject === 'recorder:a' ? null : status(nowMs + 1));
    machine.advance(200_000);
    expect(machine.did.filter((line) => line.includes(' b '))).toEqual([]);
  });

  test('nor does one that is seen to run before its start has been answered count as one that runs well', () => {
    const machine = updating();
    // It has run well with the old release.
    machine.given = { policy: { ...policy, autoUpdate: false } };
    machine.advance(100_000);
    machine.given = { policy };
    machine.did.length = 0;
    machine.look();
    machine.nowMs += 1;
    machine.end = () => ({ kind: 'unknown', message: 'no answer yet' });
    machine.look();
    const [wish] = machine.wishes;
    if (wish === undefined) throw new Error('no wish');
    machine.containers = [...machine.containers, containerOf(wish, { id: 'new', imageId: 'sha256:two' })];
    machine.nowMs += 1;
    expect(machine.look({ inFlight: new Map([['recorder:a', 'run']]) }).actions).toEqual([]);
    expect(machine.did).toEqual(['100 a remove Update', '100 a run Wanted']);
  });

  test('nor one whose start has just been answered', () => {
    const machine = updating();
    machine.look();
    machine.nowMs += 1;
    machine.look();
    const stale = reading(machine.containers, -1);
    machine.nowMs += 1;
    expect(machine.look({ containers: stale }).actions).toEqual([]);
  });
});

describe('an update touches only what runs as it should', () => {
  test('not what is on hold, nor what is under way', () => {
    const machine = updating(['a']);
    const flapping = new Map([['a', { count: 5, untilMs: 1_000_000 }]]);
    const rows = [deviceRow('a')];
    machine.wishes = wishes(specInput({ rows, present: new Map([['a', microphone({ portPath: 'a' })]]), flapping }));
    machine.advance(10_000);
    machine.wishes = released('sha256:two', ['a']);
    machine.look({ inFlight: new Map([['recorder:a', 'run']]) });
    expect(machine.did).toEqual([]);
  });

  test('not where nobody wants that, and not what a person must be asked for', () => {
    const machine = updating();
    machine.given = { policy: { ...policy, autoUpdate: false } };
    expect(machine.advance(200_000).did).toEqual([]);
  });

  test('beside what nobody asks for, that is removed as ever', () => {
    const machine = updating(['a']);
    machine.containers = [...machine.containers, ...released('sha256:one', ['z']).map((wish) => containerOf(wish))];
    machine.advance(1000);
    expect(machine.did).toEqual(['0 remove Update', '0 remove Orphan', '0 run Wanted'].sort());
  });
});

describe('an image that proved itself is tagged', () => {
  const image = { currentId: 'sha256:aaaa', lastGoodId: 'sha256:good', lastGoodReference: 'x:last-good' };
  const tagging = (given: Partial<PlanInput['image']> = {}) =>
    createMachine(released('sha256:aaaa', ['a']), { image: { ...image, ...given } });

  test('once; again only where that failed; and not while it is under way or the engine is away', () => {
    const machine = tagging().advance(400_000);
    expect(secondsOf(machine.did, 'tag')).toEqual([60]);
    const refused = tagging();
    refused.end = (action) =>
      action.kind === 'tag'
        ? { kind: 'failed', reason: 'TagFailed', message: 'no' }
        : { kind: 'done', containerId: null, refusedLimits: [] };
    refused.advance(60_001);
    expect(secondsOf(refused.did, 'tag')).toEqual([60]);
    refused.nowMs += 1;
    expect(refused.look({ inFlight: new Map([['image:recorder', 'tag']]) }).actions).toEqual([]);
    refused.nowMs += 1;
    expect(refused.look({ containers: failed('away', refused.nowMs) }).actions).toEqual([]);
    refused.nowMs += 1;
    expect(refused.look().actions).toMatchObject([{ kind: 'tag', imageId: 'sha256:aaaa', reference: 'x:last-good' }]);
    // What failed with the tag has nothing to do with what else is known of images.
    refused.containers = refused.containers.map((container) => ({
      ...container,
      state: 'ended' as const,
      exitCode: 3,
    }));
    refused.nowMs += 1;
    refused.look();
    expect(refused.look().memory.images.wrong).toEqual({ 'sha256:aaaa': 1 });
  });

  test('not where it is the last good one already, or the tag means another by now, or none', () => {
    for (const given of [{ lastGoodId: 'sha256:aaaa' }, { currentId: 'sha256:newer' }, { currentId: null }])
      expect(secondsOf(tagging(given).advance(200_000).did, 'tag')).toEqual([]);
  });

  test('where one recorder of several ran well with it; and never one that is not there', () => {
    const machine = createMachine(released('sha256:aaaa'), { image });
    machine.statusOf = (wish, nowMs) => reading(wish.subject === 'recorder:a' ? null : status(nowMs + 1));
    machine.advance(100_000);
    expect(machine.did.filter((line) => line.includes(' tag '))).toEqual(['60 image:recorder tag Proven']);
    machine.given = { image: { ...image, currentId: null } };
    machine.did.length = 0;
    machine.advance(200_000);
    expect(machine.did.filter((line) => line.includes(' tag '))).toEqual([]);
  });
});
