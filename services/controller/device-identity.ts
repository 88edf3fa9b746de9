/**
 * Which row is which microphone: settled once per incarnation and remembered. The surest ties come first, and what
 * cannot be told yet is left open rather than guessed. Pure.
 */
import { createHash } from 'node:crypto';
import type { DeviceRow, Microphone, Reading, StationEvent } from './world.ts';

/** One incarnation that was given its row. It keeps that row as long as it lasts, whoever else comes or goes. */
export interface Stay {
  deviceId: string;
  microphone: Microphone;
  /**
   * The first look that missed it, monotonic ms; null: the last look found it. Not when it was last found: looks are
   * taken when something changes, so that of a device that has been there for hours would be long past its grace.
   */
  missingSinceMs: number | null;
}

/** What identities are settled from. */
export interface IdentityInput {
  scan: Reading<Microphone[]>;
  /** Plugged in whatever USB says. */
  virtual: readonly Microphone[];
  rows: readonly DeviceRow[];
  memory: { stays: ReadonlyMap<string, Stay>; looks: Looks | null };
  nowMs: number;
  /** How long an unchanged incarnation may be missing before it counts as gone. */
  graceMs: number;
}

/** When the first and the last scan began that succeeded, monotonic ms. */
export interface Looks {
  firstMs: number;
  lastMs: number;
}

export const MAX_DEVICES = 500;

export interface Sighting {
  /** Stays that go on: seen, or missing for less than the grace. */
  stays: Map<string, Stay>;
  /** Seen, but not yet given a row. In order of port path, so that the order of a scan decides nothing. */
  fresh: Microphone[];
  /** null: none has succeeded yet. */
  looks: Looks | null;
  events: StationEvent[];
}

/** A failed scan changes nothing: everyone who was there still is. */
export function sight(input: IdentityInput): Sighting {
  const { scan, memory, virtual } = input;
  const byPort = new Map<string, Microphone>();
  const events: StationEvent[] = [];
  for (const microphone of [...(scan.ok ? scan.value : []), ...virtual]) {
    if (!byPort.has(microphone.portPath)) byPort.set(microphone.portPath, microphone);
    else events.push(twoOnOnePort(microphone));
  }
  const stays = new Map<string, Stay>();
  for (const [incarnation, stay] of memory.stays) {
    const there = byPort.get(stay.microphone.portPath);
    const unseen = !scan.ok && !stay.microphone.virtual;
    // By when it was looked, not by now: a process that was held up still has the look of before in its hands.
    const missingSinceMs = stay.missingSinceMs ?? scan.startedAtMs;
    if (there?.incarnation === incarnation)
      stays.set(incarnation, stay.missingSinceMs === null ? stay : { ...stay, missingSinceMs: null });
    else if (unseen) stays.set(incarnation, stay);
    // A virtual one is not missed by mistake.
    else if (there === undefined && !stay.microphone.virtual && scan.startedAtMs - missingSinceMs < input.graceMs)
      stays.set(incarnation, { ...stay, missingSinceMs });
  }
  const fresh = [...byPort.values()]
    .filter((microphone) => !stays.has(microphone.incarnation))
    .sort((a, b) => (a.portPath < b.portPath ? -1 : 1));
  const firstMs = memory.looks?.firstMs ?? scan.startedAtMs;
  const looks = scan.ok ? { firstMs, lastMs: scan.startedAtMs } : memory.looks;
  return { stays, fresh, looks, events };
}

function twoOnOnePort(microphone: Microphone): StationEvent {
  return {
    subject: 'station',
    type: 'warning',
    reason: 'TwoDevicesOnOnePort',
    message: `Two devices were reported on port ${microphone.portPath}; only the first is used. Plug them in again.`,
  };
}

export interface Assignment {
  stays: Map<string, Stay>;
  /** Rows that are new, by id. */
  created: Map<string, Microphone>;
  /** Keys (vendor, product, serial) seen on two devices at once. */
  sharedKeys: Set<string>;
  events: StationEvent[];
}

type Bearer = { vendorId: string; productId: string; serial: string | null };

/** Ids are hexadecimal digits, so a colon parts them; without a serial there is no second colon. */
export const serialKey = ({ vendorId, productId, serial }: Bearer): string =>
  serial === null ? `${vendorId}:${productId}` : `${vendorId}:${productId}:${serial}`;

/**
 * Gives each fresh microphone its row, the surest ties first: same port and serial; then a serial that nobody else
 * bears; then a new row. While a device that bears the same serial has only just gone missing it may be this one
 * moved to another port, or its twin: that is left open until the grace is over.
 */
export function assign(input: IdentityInput, sighting: Sighting): Assignment {
  const stays = new Map(sighting.stays);
  const claimed = new Set([...stays.values()].map((stay) => stay.deviceId));
  const rowsByKey = sighting.fresh.length === 0 ? new Map<string, DeviceRow[]>() : groupBy(input.rows, serialKey);
  const sharedKeys = findSharedKeys(input, sighting);
  const created = new Map<string, Microphone>();
  const events: StationEvent[] = [];
  const give = (microphone: Microphone, deviceId: string): void => {
    stays.set(microphone.incarnation, { deviceId, microphone, missingSinceMs: null });
    claimed.add(deviceId);
  };

  const elsewhere = sighting.fresh.filter((microphone) => {
    const row = rowsByKey
      .get(serialKey(microphone))
      ?.find((candidate) => candidate.portPath === microphone.portPath && !claimed.has(candidate.id));
    if (row !== undefined) give(microphone, row.id);
    return row === undefined;
  });
  const known = new Set(input.rows.map(({ id }) => id));
  const taken = new Set([...known, ...claimed]);
  for (const microphone of elsewhere) {
    const key = serialKey(microphone);
    const rows = rowsByKey.get(key) ?? [];
    const only = rows[0];
    const unshared = microphone.serial !== null && !sharedKeys.has(key);
    // Whoever else bears it is missing just now: of two that are there the serial would be shared.
    if (unshared && [...stays.values()].some((stay) => serialKey(stay.microphone) === key)) continue;
    if (unshared && only !== undefined && rows.length === 1 && !claimed.has(only.id)) give(microphone, only.id);
    else if (taken.size >= MAX_DEVICES) events.push(tooManyDevices(microphone));
    else {
      const id = newDeviceId(microphone, unshared && rows.length === 0 ? microphone.serial : null, taken);
      taken.add(id);
      created.set(id, microphone);
      give(microphone, id);
    }
  }
  for (const stay of stays.values()) {
    if (!created.has(stay.deviceId) && !known.has(stay.deviceId)) created.set(stay.deviceId, stay.microphone);
  }
  return { stays, created, sharedKeys, events };
}

/** Keys that a row says are shared, or that two devices bear in this very scan. */
function findSharedKeys(input: IdentityInput, sighting: Sighting): Set<string> {
  const shared = new Set(input.rows.filter((row) => row.serialShared).map(serialKey));
  const seen = new Set<string>();
  const there = [...sighting.stays.values()]
    .filter((stay) => stay.missingSinceMs === null)
    .map((stay) => stay.microphone);
  for (const microphone of [...there, ...sighting.fresh]) {
    if (microphone.serial === null) continue;
    const key = serialKey(microphone);
    if (seen.has(key)) shared.add(key);
    seen.add(key);
  }
  return shared;
}

function tooManyDevices(microphone: Microphone): StationEvent {
  return {
    subject: 'station',
    type: 'warning',
    reason: 'TooManyDevices',
    message: `${microphone.product} is not remembered: ${MAX_DEVICES} devices are, which is the most. Forget some that are no longer used.`,
  };
}

/**
 * `vid-pid-serial` where that is safe and free, else named by the port. Letters, digits, dot, dash and underscore only:
 * the id stands in labels, URLs and file metadata.
 */
function newDeviceId(microphone: Microphone, serial: string | null, taken: ReadonlySet<string>): string {
  const model = `${microphone.vendorId}-${microphone.productId}`;
  if (serial !== null) {
    const id = `${model}-${safeName(serial)}`;
    if (!taken.has(id)) return id;
  }
  const ports = microphone.portPath.split('/').at(-1) ?? '';
  const digest = shortDigest(`${microphone.portPath}\n${microphone.serial ?? ''}`);
  let id = `${model}-port${ports.replace(/[^0-9.]/g, '').slice(0, 20)}-${digest}`;
  // A serial can be written so that it reads like this.
  while (taken.has(id)) id = `${id}-2`;
  return id;
}

function safeName(text: string): string {
  if (/^[A-Za-z0-9._-]{1,64}$/.test(text) && !text.includes('..')) return text;
  const words = text.replace(/[^A-Za-z0-9]+/g, '-').slice(0, 32);
  return `${words}-${shortDigest(text)}`;
}

const shortDigest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}
