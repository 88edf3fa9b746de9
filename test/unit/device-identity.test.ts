/** Which row is which microphone, where it is not obvious: twins, moves, names that collide, a database that lags behind. */
import { describe, expect, test } from 'vitest';
import { MAX_DEVICES } from '../../services/controller/device-identity.ts';
import {
  emptyInventoryMemory,
  type Inventory,
  type InventoryInput,
  inventory,
} from '../../services/controller/inventory.ts';
import type { DeviceRow, Microphone } from '../../services/controller/world.ts';
import { deviceRow, GENERIC_PROFILE, microphone, reading, UMIK_PROFILE } from './sample-world.ts';

const BY_SERIAL = '2752-0007-000-0000';
const [P1, P2, P3] = ['pci0000:00/14.0/0/1', 'pci0000:00/14.0/0/2', 'pci0000:00/14.0/0/3'];

let stays = 0;
/** Another stay each time that it is asked for. */
function stick(portPath: string, given: Partial<Microphone> = {}): Microphone {
  stays += 1;
  return microphone({ portPath, incarnation: `${portPath}#${stays}`, ...given });
}

function look(rows: readonly DeviceRow[], seen: Microphone[], given: Partial<InventoryInput> = {}): Inventory {
  return inventory({
    scan: reading(seen, 0),
    virtual: [],
    rows,
    profiles: [UMIK_PROFILE, GENERIC_PROFILE],
    autoEnrollment: true,
    memory: emptyInventoryMemory,
    nowMs: 0,
    wallMs: 1_700_000_000_000,
    graceMs: 3000,
    ...given,
  });
}
const then = (before: Inventory, seen: Microphone[], nowMs: number, rows: readonly DeviceRow[] = before.rows) =>
  look(rows, seen, { memory: before.memory, nowMs });
const idOf = ({ present }: Inventory, there: Microphone): string | undefined =>
  [...present].find(([, one]) => one.incarnation === there.incarnation)?.[0];
/** The id that a first look gives it. */
const idAlone = (there: Microphone, rows: readonly DeviceRow[] = []): string => idOf(look(rows, [there]), there) ?? '';
/** Shared with one that is known, so that it is named by its port. */
const twinRow = deviceRow(BY_SERIAL, { serialShared: true, portPath: P1, status: 'offline' });

test('two that are reported on one port: the first is used, and a person is told', () => {
  const result = look([], [stick(P1, { product: 'first' }), stick(P1, { product: 'second', serial: 'other' })]);
  expect(result.rows.map(({ product }) => product)).toEqual(['first']);
  expect(result.events).toMatchObject([{ subject: 'station', type: 'warning', reason: 'TwoDevicesOnOnePort' }]);
  expect(result.events[0]?.message).toContain(P1);
});

describe('a serial ties a microphone to its row wherever it is plugged in', () => {
  test('and somebody else that is missing just now does not hold it up', () => {
    const other = stick(P2, { serial: 'other' });
    const before = look([deviceRow(BY_SERIAL, { portPath: P1, status: 'offline' })], [other]);
    const moved = stick(P3);
    const after = then(before, [moved], 1000);
    expect(after.missing.size).toBe(1);
    expect(idOf(after, moved)).toBe(BY_SERIAL);
  });

  test('but not where the serial is known to be shared: on another port it is another device', () => {
    const there = stick(P2);
    const result = look([twinRow], [there]);
    expect(idOf(result, there)).not.toBe(BY_SERIAL);
    expect(result.rows).toHaveLength(2);
  });

  test('nor where two rows bear it already, as after a restored backup', () => {
    const rows = ['one', 'two'].map((id, index) => deviceRow(id, { portPath: `pci/${index}`, status: 'offline' }));
    expect(idAlone(stick(P2), rows)).toMatch(/^2752-0007-port2-/);
  });

  test('nor without a serial: elsewhere it is another device, and nothing is shared', () => {
    const before = look([], [stick(P1, { serial: null })]);
    const after = then(before, [stick(P1, { serial: null }), stick(P2, { serial: null })], 10_000);
    expect(after.rows).toHaveLength(2);
    const gone = then(after, [stick(P3, { serial: null })], 20_000);
    expect(gone.rows).toHaveLength(3);
    expect(gone.rows.map(({ serialShared }) => serialShared)).toEqual([false, false, false]);
  });

  test('and one without a serial is not one whose serial reads so', () => {
    const before = look([], [stick(P1, { serial: null })]);
    expect(then(before, [stick(P1, { serial: 'null' })], 10_000).rows).toHaveLength(2);
  });

  test('while the database has not taken in a move, a twin on the old port takes nothing', () => {
    const moved = stick(P2);
    const old = [deviceRow(BY_SERIAL, { portPath: P1, status: 'offline' })];
    const before = look(old, [moved]);
    const twin = stick(P1);
    const after = then(before, [moved, twin], 1000, old);
    expect(idOf(after, moved)).toBe(BY_SERIAL);
    expect(idOf(after, twin)).toMatch(/^2752-0007-port1-/);
  });
});

describe('names', () => {
  test('are the same in every release: what was made while the database was away is found again', () => {
    expect(idAlone(stick(P2), [twinRow])).toBe('2752-0007-port2-130cc5fa');
    expect(idAlone(stick(P2, { serial: null }))).toBe('2752-0007-port2-a33dfeae');
    expect(idAlone(stick(P2, { serial: 'no good: name' }))).toBe('2752-0007-no-good-name-eba3a95a');
  });

  test('are short and safe, whatever the port and the serial are', () => {
    const serials = [null, '..', 'a b'.repeat(200), 'x'.repeat(65), '-', 'ä'];
    for (const serial of serials)
      for (const portPath of [P1, `pci/${'10.'.repeat(100)}`, '', 'a/../b', 'virtual/1'])
        expect(idAlone(stick(portPath, { serial }))).toMatch(/^(?!.*\.\.)[A-Za-z0-9._-]{1,100}$/);
  });

  test('differ though a serial reads like the name of a port, whoever comes first', () => {
    const bare = idAlone(stick(P2, { serial: null }));
    const lookalike = bare.replace('2752-0007-', '');
    for (const order of [
      [lookalike, null, `${lookalike}-2`],
      [null, lookalike],
      [`${lookalike}-2`, lookalike, null],
    ]) {
      let last = look([], []);
      const seen: Microphone[] = [];
      for (const [index, serial] of order.entries()) {
        seen.push(stick(serial === null ? P2 : `pci/9/${index}`, { serial }));
        // Nothing was written: only the memory knows who has which name.
        last = then(last, seen, index * 1000, []);
      }
      expect(new Set(last.rows.map(({ id }) => id)).size).toBe(order.length);
      expect(last.present.size).toBe(order.length);
    }
  });
});

test('with room for one more, it is the one on the first port, in whichever order they were found', () => {
  const rows = Array.from({ length: MAX_DEVICES - 1 }, (_, index) =>
    deviceRow(`row-${index}`, { serial: `s${index}`, portPath: `p${index}`, status: 'offline' }),
  );
  const two = [stick(P2, { serial: 'b' }), stick(P1, { serial: 'a' })];
  for (const seen of [two, [...two].reverse()]) {
    const result = look(rows, seen);
    expect(result.rows.at(-1)).toMatchObject({ portPath: P1 });
    expect(result.events).toMatchObject([{ type: 'warning', reason: 'TooManyDevices' }]);
  }
});
