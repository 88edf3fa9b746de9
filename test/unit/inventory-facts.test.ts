/** What the hardware says goes into the rows, column by column, and when a look without news changes something by itself. */
import { describe, expect, test } from 'vitest';
import { emptyInventoryMemory, type InventoryInput, inventory } from '../../services/controller/inventory.ts';
import type { DeviceRow, Microphone } from '../../services/controller/world.ts';
import { deviceRow, failed, GENERIC_PROFILE, microphone, profileRow, reading, UMIK_PROFILE } from './sample-world.ts';

const ID = '2752-0007-000-0000';
const look = (rows: DeviceRow[], seen: Microphone[], given: Partial<InventoryInput> = {}) =>
  inventory({
    scan: reading(seen, given.nowMs ?? 1000),
    virtual: [],
    rows,
    profiles: [UMIK_PROFILE, GENERIC_PROFILE],
    autoEnrollment: true,
    memory: emptyInventoryMemory,
    nowMs: 1000,
    wallMs: 1_700_000_000_000,
    graceMs: 3000,
    ...given,
  });
const changesOf = (seen: Microphone, row = deviceRow(ID)) => look([row], [seen]).changes;

describe('a row follows its microphone', () => {
  test('that is as it was: nothing changes, and it is the same row', () => {
    const row = deviceRow(ID);
    const result = look([row], [microphone()]);
    expect(result.changes).toEqual([]);
    expect(result.rows[0]).toBe(row);
  });

  test.each([
    [{ product: 'UMIK-2' }, { product: 'UMIK-2' }],
    [{ manufacturer: 'other' }, { manufacturer: 'other' }],
    [{ portPath: 'pci/7' }, { portPath: 'pci/7' }],
  ])('that says otherwise', (seen: Partial<Microphone>, facts: object) => {
    expect(changesOf(microphone(seen))).toEqual([{ kind: 'update', id: ID, facts }]);
  });

  test('that offers something else; but what cannot be read now stays as it was', () => {
    const { sound } = microphone();
    if (sound === null) throw new Error('the sample has no sound');
    const offers = [{ format: 'S16_LE', channels: 1, rates: { kind: 'list' as const, values: [44_100] } }];
    const other = microphone({ sound: { ...sound, capabilities: { offers } } });
    expect(changesOf(other)).toEqual([{ kind: 'update', id: ID, facts: { capabilities: { offers } } }]);
    expect(changesOf(microphone({ sound: { ...sound, capabilities: { offers: [] } } }))).toEqual([]);
    expect(changesOf(microphone({ sound: null }))).toEqual([]);
  });

  test('for which another profile is suggested', () => {
    expect(changesOf(microphone(), deviceRow(ID, { suggestedProfile: null }))).toEqual([
      { kind: 'update', id: ID, facts: { suggestedProfile: 'umik-1' } },
    ]);
    const twoMatch = [UMIK_PROFILE, profileRow('umik-other', { vid: '2752', pid: '0007' })];
    expect(look([deviceRow(ID)], [microphone()], { profiles: twoMatch }).changes).toEqual([]);
    const fresh = look([], [microphone()], { profiles: twoMatch });
    expect(fresh.rows[0]).toMatchObject({ enrollmentStatus: 'pending', suggestedProfile: 'umik-1', profileSlug: null });
  });

  test('that no profile knows: the generic one, where there is one that can be used, and it can ever record', () => {
    const unknown = microphone({ vendorId: 'ffff' });
    const suggested = (seen: Microphone, profiles: InventoryInput['profiles']) =>
      look([], [seen], { profiles }).rows[0];
    expect(suggested(unknown, [GENERIC_PROFILE])).toMatchObject({
      suggestedProfile: 'generic',
      profileSlug: 'generic',
    });
    expect(suggested(unknown, [UMIK_PROFILE])).toMatchObject({ suggestedProfile: null, profileSlug: null });
    const broken = { ...GENERIC_PROFILE, config: { ok: false as const, message: 'broken' } };
    expect(suggested(unknown, [broken])).toMatchObject({ suggestedProfile: null, profileSlug: null });
    const obstacle = { reason: 'NoCapture', message: 'It captures nothing.', lasting: true };
    expect(suggested({ ...unknown, sound: null, obstacle }, [GENERIC_PROFILE])).toMatchObject({
      suggestedProfile: null,
    });
    expect(suggested({ ...unknown, kind: 'composite' }, [GENERIC_PROFILE])).toMatchObject({
      enrollmentStatus: 'pending',
    });
  });
});

describe('a row that was not there before, or comes back', () => {
  test('is made complete: nobody decided, and what it offers is not known without its card', () => {
    const [change] = look([], [microphone({ sound: null })]).changes;
    expect(change).toMatchObject({
      kind: 'insert',
      facts: { status: 'online', capabilities: { offers: [] }, serialShared: false },
      enrollment: { enrollmentStatus: 'pending', profileSlug: null, decidedBy: null },
    });
  });

  test('is online again', () => {
    expect(changesOf(microphone(), deviceRow(ID, { status: 'offline' }))).toEqual([
      { kind: 'update', id: ID, facts: { status: 'online' } },
    ]);
  });

  test('is taken in within the very cycle in which the rules say so', () => {
    const row = deviceRow(ID, { enrollmentStatus: 'pending', decidedBy: null, profileSlug: null });
    expect(look([row], [microphone()]).rows[0]).toMatchObject({ enrollmentStatus: 'enrolled', profileSlug: 'umik-1' });
  });

  test.each([
    ['whose profile is ambiguous waits', { enrollmentStatus: 'pending', decidedBy: null } as const],
    ['that is ignored stays so, whoever decided', { enrollmentStatus: 'ignored', decidedBy: null } as const],
    ['that is enrolled stays so', { enrollmentStatus: 'enrolled', decidedBy: null } as const],
  ])('%s', (_name, columns) => {
    const twoMatch = [UMIK_PROFILE, profileRow('umik-other', { vid: '2752', pid: '0007' })];
    const profiles = columns.enrollmentStatus === 'pending' ? twoMatch : [UMIK_PROFILE];
    expect(look([deviceRow(ID, columns)], [microphone()], { profiles }).changes).toEqual([]);
  });
});

describe('one that is gone', () => {
  test('from a row that says online: after the grace offline, with the time; until then nobody knows', () => {
    const row = deviceRow(ID);
    const first = look([row], []);
    expect([first.changes, [...first.unknown], first.deadlineMs]).toEqual([[], [ID], 4000]);
    const later = (nowMs: number) => look([row], [], { memory: first.memory, nowMs });
    expect([later(3999).changes, [...later(3999).unknown]]).toEqual([[], [ID]]);
    expect(later(4000).changes).toEqual([
      { kind: 'update', id: ID, facts: { status: 'offline', lastSeenAt: 1_700_000_000_000 } },
    ]);
    expect([[...later(4000).unknown], later(4000).deadlineMs]).toEqual([[], null]);
  });

  test('from a row that says offline: known at once; while USB cannot be read, not', () => {
    const row = deviceRow(ID, { status: 'offline' });
    expect([...look([row], []).unknown]).toEqual([]);
    expect([...look([row], [], { scan: failed('EIO') }).unknown]).toEqual([ID]);
  });

  test('nothing is forgotten while USB cannot be read', () => {
    const row = deviceRow(ID, { status: 'offline', lastSeenAt: 0, enrollmentStatus: 'pending', decidedBy: null });
    expect(look([row], [], { scan: failed('EIO') }).changes).toEqual([]);
    expect(look([row], []).changes).toEqual([{ kind: 'forget', id: ID }]);
    const monthAgo = { ...row, lastSeenAt: 1_700_000_000_000 - 30 * 24 * 3600 * 1000 };
    expect(look([monthAgo], []).changes).toEqual([]);
    expect(look([{ ...monthAgo, lastSeenAt: monthAgo.lastSeenAt - 1 }], []).changes).toEqual([
      { kind: 'forget', id: ID },
    ]);
  });

  test('nothing is forgotten that anybody decided, nor what may be there', () => {
    const stale = { status: 'offline' as const, lastSeenAt: 0, enrollmentStatus: 'pending' as const, decidedBy: null };
    for (const kept of [
      { enrollmentStatus: 'enrolled' as const },
      { enrollmentStatus: 'ignored' as const },
      { decidedBy: 'person' as const },
      { status: 'online' as const },
    ])
      expect(look([deviceRow(ID, { ...stale, ...kept })], []).changes).toEqual([]);
  });

  test('a look that fails says nothing of one that no look has found, however long ago the first was', () => {
    const row = deviceRow(ID);
    const first = look([row], []);
    const blind = (nowMs: number) => look([row], [], { scan: failed('EIO', nowMs), memory: first.memory, nowMs });
    for (const nowMs of [3999, 4000, 1_000_000])
      expect([blind(nowMs).changes, [...blind(nowMs).unknown]]).toEqual([[], [ID]]);
  });

  test('of one that long looks did not find, looks that fail make nobody doubt again', () => {
    const row = deviceRow(ID);
    const first = look([row], []);
    const long = look([row], [], { memory: first.memory, nowMs: 4000 });
    const gone = { ...row, status: 'offline' as const };
    const blind = look([gone], [], { scan: failed('EIO', 5000), memory: long.memory, nowMs: 5000 });
    expect([[...blind.unknown], blind.changes, blind.deadlineMs]).toEqual([[], [], null]);
  });

  test('of one that was there, looks that fail say nothing, however long they do', () => {
    const seen = look([deviceRow(ID)], [microphone()]);
    const blind = (memory: InventoryInput['memory'], nowMs: number) =>
      look([deviceRow(ID)], [], { scan: failed('EIO', nowMs), memory, nowMs });
    const later = blind(blind(seen.memory, 2000).memory, 60_000);
    expect([later.changes, [...later.present.keys()], [...later.missing]]).toEqual([[], [ID], []]);
  });

  test('to a controller that was held up, what it looked at before says no more than then', () => {
    const row = deviceRow(ID);
    const seen = look([row], [microphone()]);
    const seenLong = look([row], [microphone()], { memory: seen.memory, nowMs: 9000 });
    const missed = look([row], [], { memory: seenLong.memory, nowMs: 10_000 });
    const begun = look([row], [], { nowMs: 10_000 });
    for (const [memory, doubt] of [
      [missed.memory, { missing: [ID], unknown: [] }],
      [begun.memory, { missing: [], unknown: [ID] }],
    ] as const) {
      const heldUp = look([row], [], { memory, scan: reading([], 10_000), nowMs: 60_000 });
      expect(heldUp.changes).toEqual([]);
      expect({ missing: [...heldUp.missing], unknown: [...heldUp.unknown] }).toEqual(doubt);
      // At the very end of its grace as well.
      const justOver = look([row], [], { memory, scan: reading([], 10_000), nowMs: 13_000 });
      expect([justOver.changes, justOver.deadlineMs]).toEqual([[], 13_250]);
      // It does not wait for a tick: a look is due at any moment.
      expect(heldUp.deadlineMs).toBe(60_250);
      const since = look([row], [], { memory: heldUp.memory, scan: reading([], 59_990), nowMs: 60_250 });
      expect(since.changes).toMatchObject([{ kind: 'update', facts: { status: 'offline' } }]);
      expect([...since.missing, ...since.unknown, since.deadlineMs]).toEqual([null]);
    }
  });

  test('before any look has succeeded nobody knows, and waiting alone tells nothing', () => {
    for (const nowMs of [0, 1_000_000]) {
      const blind = look([deviceRow(ID)], [], { scan: failed('EIO', nowMs), nowMs });
      expect([[...blind.unknown], blind.deadlineMs]).toEqual([[ID], null]);
    }
  });

  test('of two that were missed, the earlier one is looked after first', () => {
    const other = microphone({ portPath: 'pci/9', incarnation: 'other', serial: 'other' });
    const both = look([], [microphone(), other]);
    const one = look(both.rows, [other], { memory: both.memory, nowMs: 2000 });
    const none = look(one.rows, [], { memory: one.memory, nowMs: 2500 });
    expect([none.missing.size, none.deadlineMs]).toEqual([2, 5000]);
  });
});
