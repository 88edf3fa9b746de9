import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_DEVICES } from '../../services/controller/device-identity.ts';
import {
  emptyInventoryMemory,
  FORGET_AFTER_MS,
  type InventoryInput,
  inventory,
} from '../../services/controller/inventory.ts';
import type { DeviceRow, Microphone, ProfileRow, Reading } from '../../services/controller/world.ts';
import { isWorkspaceName, workspaceDigest } from '../../services/shared/contract.ts';
import { deviceRow, failed, GENERIC_PROFILE, microphone, profileRow, reading, UMIK_PROFILE } from './sample-world.ts';

const P1 = 'pci0000:00/0000:00:14.0/0/1';
const P2 = 'pci0000:00/0000:00:14.0/0/2';

const umik = (portPath: string, stay = 1, given: Partial<Microphone> = {}): Microphone =>
  microphone({ portPath, incarnation: `${portPath}#${stay}#${stay}#116:${stay}`, ...given });

/** Scans one after the other, rows and memory carried along as a cycle would. */
function shelf(given: Partial<InventoryInput> = {}) {
  let rows: DeviceRow[] = [...(given.rows ?? [])];
  let memory = emptyInventoryMemory;
  return {
    rows: () => rows,
    setRows: (next: DeviceRow[]) => {
      rows = next;
    },
    forgetMemory: () => {
      memory = emptyInventoryMemory;
    },
    scan(nowMs: number, scan: Reading<Microphone[]> | Microphone[], more: Partial<InventoryInput> = {}) {
      const result = inventory({
        profiles: [UMIK_PROFILE, GENERIC_PROFILE],
        autoEnrollment: true,
        wallMs: 1_700_000_000_000 + nowMs,
        graceMs: 3000,
        virtual: [],
        ...given,
        ...more,
        scan: Array.isArray(scan) ? reading(scan, nowMs) : scan,
        rows,
        memory,
        nowMs,
      });
      rows = result.rows;
      memory = result.memory;
      return result;
    },
  };
}

const idOn = (result: { present: ReadonlyMap<string, Microphone> }, portPath: string): string | undefined =>
  [...result.present].find(([, there]) => there.portPath === portPath)?.[0];

describe('identity', () => {
  test('a new microphone gets a row by its serial, and its profile', () => {
    const result = shelf().scan(0, [umik(P1)]);
    expect(result.changes).toMatchObject([
      {
        kind: 'insert',
        id: '2752-0007-000-0000',
        enrollment: { enrollmentStatus: 'enrolled', profileSlug: 'umik-1', decidedBy: 'auto' },
      },
    ]);
  });

  test('a steady scan changes nothing', () => {
    const world = shelf();
    expect(world.scan(0, [umik(P1)]).deadlineMs).toBeNull();
    expect(world.scan(1000, [umik(P1)])).toMatchObject({ changes: [], deadlineMs: null });
  });

  test('moved to another port: the same device, once the grace shows that it is not its twin', () => {
    const world = shelf();
    world.scan(0, [umik(P1)]);
    const moving = world.scan(1000, [umik(P2, 2)]);
    expect(idOn(moving, P2)).toBeUndefined();
    expect(moving.deadlineMs).toBe(4000);
    expect(idOn(world.scan(3999, [umik(P2, 2)]), P2)).toBeUndefined();
    expect(idOn(world.scan(4000, [umik(P2, 2)]), P2)).toBe('2752-0007-000-0000');
  });

  test('a twin plugged in while the first misses one scan takes nothing from it', () => {
    const world = shelf();
    world.scan(0, [umik(P1)]);
    world.scan(250, [umik(P2, 2)]);
    const both = world.scan(500, [umik(P1), umik(P2, 2)]);
    expect(idOn(both, P1)).toBe('2752-0007-000-0000');
    expect(idOn(both, P2)).toMatch(/^2752-0007-port2-[0-9a-f]{8}$/);
    expect(both.rows.every((row) => row.serialShared)).toBe(true);
  });

  test('twins that come together are named by their ports from the start, and for ever', () => {
    const world = shelf();
    const first = world.scan(0, [umik(P1), umik(P2, 2)]);
    const [a, b] = [idOn(first, P1), idOn(first, P2)];
    expect(a).toMatch(/port1/);
    world.scan(10_000, []);
    world.scan(20_000, []);
    const second = world.scan(30_000, [umik(P2, 5)]);
    expect(idOn(second, P2)).toBe(b);
    expect(idOn(world.scan(40_000, [umik(P2, 5), umik(P1, 6)]), P1)).toBe(a);
    expect(world.rows()).toHaveLength(2);
  });

  test('two without a serial are told apart by their ports', () => {
    const stick = (port: string, stay: number) =>
      umik(port, stay, { vendorId: '0d8c', productId: '013c', serial: null });
    const world = shelf();
    const ids = [...world.scan(0, [stick(P1, 1), stick(P2, 2)]).present.keys()];
    world.scan(10_000, []);
    world.scan(20_000, []);
    expect(new Set(world.scan(30_000, [stick(P2, 8), stick(P1, 9)]).present.keys())).toEqual(new Set(ids));
  });

  test('serials that end in the same four characters are different devices', () => {
    const world = shelf();
    world.scan(0, [umik(P1, 1, { serial: 'AAAA-1234' }), umik(P2, 2, { serial: 'BBBB-1234' })]);
    expect(
      world
        .rows()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['2752-0007-AAAA-1234', '2752-0007-BBBB-1234']);
    expect(new Set(world.rows().map(({ workspace }) => workspace)).size).toBe(2);
  });

  test('a replug on the same port is at once the same device in another incarnation', () => {
    const world = shelf();
    world.scan(0, [umik(P1, 1)]);
    const result = world.scan(250, [umik(P1, 2)]);
    expect(result.present.get('2752-0007-000-0000')?.incarnation).toBe(umik(P1, 2).incarnation);
  });

  test('a restarted controller ties the same rows again', () => {
    const world = shelf();
    const before = world.scan(0, [umik(P1), umik(P2, 2)]);
    world.forgetMemory();
    const after = world.scan(0, [umik(P2, 2), umik(P1)]);
    expect([...after.present].sort()).toEqual([...before.present].sort());
    expect(after.changes).toEqual([]);
  });
});

describe('presence', () => {
  test('one missed scan changes nothing; after the grace it is offline', () => {
    const world = shelf();
    world.scan(0, [umik(P1)]);
    expect(world.scan(250, []).changes).toEqual([]);
    expect(world.scan(500, [umik(P1)]).changes).toEqual([]);
    world.scan(750, []);
    expect(world.scan(3749, []).changes).toEqual([]);
    expect(world.scan(3750, []).changes).toMatchObject([{ kind: 'update', facts: { status: 'offline' } }]);
  });

  test('the grace begins with the first look that misses it, however long ago the last look was', () => {
    const world = shelf();
    world.scan(0, [umik(P1)]);
    const missed = world.scan(60_000, []);
    expect(missed).toMatchObject({ changes: [], deadlineMs: 63_000, missing: new Set(['2752-0007-000-0000']) });
    expect(world.scan(62_000, [umik(P1)])).toMatchObject({ deadlineMs: null, missing: new Set() });
    expect(world.scan(64_000, []).changes).toEqual([]);
  });

  test('a failed scan changes nothing, however long', () => {
    const world = shelf();
    world.scan(0, [umik(P1)]);
    const result = world.scan(1_000_000, failed<Microphone[]>());
    expect(result.changes).toEqual([]);
    expect([...result.present.keys()]).toEqual(['2752-0007-000-0000']);
  });

  test('virtual ones are there whatever USB says, and come and go without it', () => {
    const world = shelf();
    world.scan(0, [umik(P1)]);
    const virtual = [umik('virtual/1', 0, { vendorId: '0000', productId: '0001', serial: 'virtual-1', virtual: true })];
    const both = world.scan(1000, failed<Microphone[]>(), { virtual });
    expect([...both.present.keys()].sort()).toEqual(['0000-0001-virtual-1', '2752-0007-000-0000']);
    const without = world.scan(10_000, failed<Microphone[]>(), { virtual: [] });
    expect(without.changes).toMatchObject([
      { kind: 'update', id: '0000-0001-virtual-1', facts: { status: 'offline' } },
    ]);
  });

  test('before the first scan nobody is known to be away', () => {
    const result = shelf({ rows: [deviceRow('2752-0007-000-0000')] }).scan(0, failed<Microphone[]>());
    expect([...result.unknown]).toEqual(['2752-0007-000-0000']);
    expect(result.changes).toEqual([]);
  });

  test('a controller that has only just begun to look gives the grace to whoever was there before', () => {
    const rows = [deviceRow('was-there', { serial: 'x' }), deviceRow('was-away', { serial: 'y', status: 'offline' })];
    const world = shelf({ rows });
    const first = world.scan(0, []);
    expect([...first.unknown]).toEqual(['was-there']);
    expect(first.changes).toEqual([]);
    expect(first.deadlineMs).toBe(3000);
    const last = world.scan(3000, []);
    expect([...last.unknown]).toEqual([]);
    expect(last.changes).toMatchObject([{ kind: 'update', id: 'was-there', facts: { status: 'offline' } }]);
  });

  test('five arrivals in five minutes are a flapping plug, held back longer each time; staying ends it', () => {
    const world = shelf();
    let result = world.scan(0, [umik(P1, 0)]);
    for (let stay = 1; stay < 5; stay += 1) result = world.scan(stay * 1000, [umik(P1, stay)]);
    expect(result.flapping.get('2752-0007-000-0000')).toEqual({ count: 5, untilMs: 14_000 });
    expect(result.deadlineMs).toBe(14_000);
    expect(world.scan(5000, [umik(P1, 5)]).flapping.get('2752-0007-000-0000')?.untilMs).toBe(25_000);
    expect(world.scan(25_000, [umik(P1, 5)])).toMatchObject({ flapping: new Map(), deadlineMs: null });
  });

  test('what came five minutes ago counts no more, and is not remembered', () => {
    for (const [fifthMs, isFlapping] of [
      [299_999, true],
      [300_000, false],
    ] as const) {
      const world = shelf();
      for (let stay = 0; stay < 4; stay += 1) world.scan(stay * 1000, [umik(P1, stay)]);
      const fifth = world.scan(fifthMs, [umik(P1, 5)]);
      expect(fifth.flapping.has('2752-0007-000-0000')).toBe(isFlapping);
      expect(world.scan(fifthMs + 300_000, [umik(P1, 5)]).memory.arrivals.size).toBe(0);
    }
  });

  test('a plug that flaps for hours is remembered in little', () => {
    const world = shelf();
    expect(world.scan(0, [umik(P1, 0)]).memory.arrivals.get('2752-0007-000-0000')).toEqual([0]);
    for (let stay = 1; stay < 200; stay += 1) world.scan(stay * 500, [umik(P1, stay)]);
    const last = world.scan(100_000, [umik(P1, 200)]);
    expect(last.memory.arrivals.get('2752-0007-000-0000')?.length).toBeLessThan(30);
    expect(last.flapping.get('2752-0007-000-0000')?.untilMs).toBe(400_000);
  });

  test('a sound card that appears after its device is one arrival', () => {
    const world = shelf();
    for (let round = 0; round < 4; round += 1) {
      world.scan(round * 2000, [umik(P1, 100 + round, { sound: null })]);
      expect(world.scan(round * 2000 + 500, [umik(P1, round)]).flapping.size).toBe(0);
    }
  });
});

describe('enrolment', () => {
  const decide = (there: Microphone, profiles: ProfileRow[], more: Partial<InventoryInput> = {}) =>
    shelf({ profiles, ...more }).scan(0, [there]).rows[0];

  test.each([
    ['an exact match', umik(P1), [UMIK_PROFILE, GENERIC_PROFILE], 'enrolled', 'umik-1'],
    ['no match, but plain', umik(P1, 1, { productId: 'ffff' }), [UMIK_PROFILE, GENERIC_PROFILE], 'enrolled', 'generic'],
    [
      'no match and beside video',
      umik(P1, 1, { productId: 'ffff', kind: 'composite' }),
      [GENERIC_PROFILE],
      'pending',
      null,
    ],
    ['an exact match beside playback', umik(P1, 1, { kind: 'composite' }), [UMIK_PROFILE], 'enrolled', 'umik-1'],
    [
      'a match by name, plain',
      umik(P1, 1, { productId: 'ffff' }),
      [profileRow('named', { name: 'umik' })],
      'enrolled',
      'named',
    ],
    [
      'a match by name, beside video',
      umik(P1, 1, { productId: 'ffff', kind: 'composite' }),
      [profileRow('named', { name: 'umik' })],
      'pending',
      null,
    ],
    ['two equal matches', umik(P1), [UMIK_PROFILE, profileRow('other', { vid: '2752', pid: '0007' })], 'pending', null],
    ['no card yet', umik(P1, 1, { sound: null }), [UMIK_PROFILE], 'pending', null],
  ] as const)('%s', (_name, there, profiles, enrollmentStatus, profileSlug) => {
    expect(decide(there, [...profiles])).toMatchObject({ enrollmentStatus, profileSlug });
  });

  test('switched off: pending, with the suggestion', () => {
    expect(decide(umik(P1), [UMIK_PROFILE], { autoEnrollment: false })).toMatchObject({
      enrollmentStatus: 'pending',
      suggestedProfile: 'umik-1',
    });
  });

  test('a profile added later enrols what is pending', () => {
    const world = shelf();
    world.scan(0, [umik(P1)], { profiles: [] });
    const result = world.scan(1000, [umik(P1)], { profiles: [UMIK_PROFILE] });
    expect(result.changes).toContainEqual({
      kind: 'enroll',
      id: '2752-0007-000-0000',
      enrollment: { enrollmentStatus: 'enrolled', profileSlug: 'umik-1', decidedBy: 'auto' },
    });
  });

  test.each(['ignored', 'pending'] as const)('what a person decided (%s) is never undone', (enrollmentStatus) => {
    const row = deviceRow('2752-0007-000-0000', {
      portPath: P1,
      enrollmentStatus,
      decidedBy: 'person',
      profileSlug: null,
    });
    expect(shelf({ rows: [row] }).scan(0, [umik(P1)]).rows[0]).toMatchObject({ enrollmentStatus, profileSlug: null });
  });
});

describe('bounds', () => {
  test('what nobody wanted is forgotten after a month; what anybody decided never', () => {
    const stale = { status: 'offline' as const, lastSeenAt: 0 };
    const rows = [
      deviceRow('never-wanted', { ...stale, enrollmentStatus: 'pending', decidedBy: null }),
      deviceRow('ignored', { ...stale, enrollmentStatus: 'ignored', decidedBy: 'person' }),
      deviceRow('enrolled', stale),
    ];
    expect(shelf({ rows }).scan(0, [], { wallMs: FORGET_AFTER_MS + 1 }).changes).toEqual([
      { kind: 'forget', id: 'never-wanted' },
    ]);
    expect(shelf({ rows }).scan(0, [], { wallMs: FORGET_AFTER_MS }).changes).toEqual([]);
  });

  test('at most 500 devices; the next one is named', () => {
    const rows = Array.from({ length: MAX_DEVICES }, (_, index) =>
      deviceRow(`row-${index}`, { serial: `s${index}`, portPath: `p${index}`, status: 'offline' }),
    );
    const result = shelf({ rows }).scan(0, [umik(P1, 1, { serial: 'new' })]);
    expect(result.rows).toHaveLength(MAX_DEVICES);
    expect(result.events.map(({ reason }) => reason)).toEqual(['TooManyDevices']);
  });
});

// ------------------------------------------------------------------------------------------------- properties

const serials = fc.oneof(
  fc.constantFrom(null, '1', '000-0000', 'x1234', 'y1234', '../../etc', 'a\nb', 'port1-00000000'),
  fc.string({ maxLength: 200 }),
);
const plugged = fc.record({
  port: fc.integer({ min: 1, max: 6 }),
  model: fc.constantFrom('0007', '0008'),
  serial: serials,
  stay: fc.integer({ min: 1, max: 3 }),
});
/** Each step: what is plugged in where. Unique by port, as hardware is. */
const history = fc.array(fc.uniqueArray(plugged, { selector: ({ port }) => port, maxLength: 5 }), {
  minLength: 1,
  maxLength: 12,
});

const toMicrophone = ({
  port,
  model,
  serial,
  stay,
}: {
  port: number;
  model: string;
  serial: string | null;
  stay: number;
}): Microphone =>
  umik(`pci/14/0/${port}`, stay, {
    productId: model,
    serial: serial === '' ? null : serial,
    incarnation: `pci/14/0/${port}#${stay}#${model}#${serial}`,
  });

describe('for any order of plugs', () => {
  test('ids and folders are unique and safe, and one device stands for one microphone', () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 100, max: 5000 }), (steps, stepMs) => {
        const world = shelf();
        for (const [index, step] of steps.entries()) {
          const result = world.scan(index * stepMs, step.map(toMicrophone));
          expect(new Set(result.rows.map(({ id }) => id)).size).toBe(result.rows.length);
          expect(new Set(result.rows.map(({ workspace }) => workspace)).size).toBe(result.rows.length);
          for (const row of result.rows) {
            expect(row.id).toMatch(/^[A-Za-z0-9._-]{1,120}$/);
            expect(row.id).not.toContain('..');
            expect(isWorkspaceName(row.workspace)).toBe(true);
            expect(row.workspace.endsWith(workspaceDigest(row.id))).toBe(true);
          }
          const ports = [...result.present.values()].map(({ portPath }) => portPath);
          expect(new Set(ports).size).toBe(ports.length);
          expect(result.deadlineMs ?? Number.POSITIVE_INFINITY).toBeGreaterThan(index * stepMs);
          for (const id of result.present.keys()) expect(result.rows.some((row) => row.id === id)).toBe(true);
        }
      }),
    );
  });

  test('whoever stays plugged in keeps its identity, whatever the others do', () => {
    fc.assert(
      fc.property(history, plugged, fc.integer({ min: 100, max: 5000 }), (steps, staying, stepMs) => {
        const world = shelf();
        const steady = toMicrophone({ ...staying, port: 9 });
        const ids = steps.map((step, index) =>
          idOn(world.scan(index * stepMs, [...step.map(toMicrophone), steady]), steady.portPath),
        );
        expect(new Set(ids).size).toBe(1);
      }),
    );
  });

  test('the order within a scan decides nothing', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const [forward, backward] = [shelf(), shelf()];
        for (const [index, step] of steps.entries()) {
          const there = step.map(toMicrophone);
          forward.scan(index * 1000, there);
          backward.scan(index * 1000, [...there].reverse());
        }
        expect(backward.rows()).toEqual(forward.rows());
      }),
    );
  });

  test('the same scan again changes nothing, and a scan that fails changes nothing', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const world = shelf();
        for (const [index, step] of steps.entries()) world.scan(index * 10_000, step.map(toMicrophone));
        const last = (steps.at(-1) ?? []).map(toMicrophone);
        world.scan(1_000_000, last);
        world.scan(1_003_000, last);
        expect(world.scan(1_006_000, last).changes).toEqual([]);
        const before = world.rows();
        expect(world.scan(2_000_000, failed<Microphone[]>()).changes).toEqual([]);
        expect(world.rows()).toEqual(before);
      }),
    );
  });
});
