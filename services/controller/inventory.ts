/**
 * Which device is that? Ties what a scan saw to the rows that remember, once per incarnation, and says which rows
 * change. Pure: no clock, no database; the same scan, rows and memory always give the same answer.
 */
import { workspaceName } from '../shared/contract.ts';
import { type Capabilities, VIRTUAL_VENDOR_ID } from '../shared/profile.ts';
import {
  type Assignment,
  assign,
  type IdentityInput,
  type Looks,
  type Sighting,
  type Stay,
  serialKey,
  sight,
} from './device-identity.ts';
import { decideEnrollment, type EnrollmentRules, suggestProfile } from './enrollment.ts';
import type { DeviceChange, DeviceFacts, DeviceRow, Microphone, StationEvent } from './world.ts';

export interface InventoryMemory {
  /** By incarnation. */
  stays: ReadonlyMap<string, Stay>;
  /** Times at which a device arrived with a sound card, the last five minutes, by device id. */
  arrivals: ReadonlyMap<string, readonly number[]>;
  /** null: nobody knows yet who is there. */
  looks: Looks | null;
}

export const emptyInventoryMemory: InventoryMemory = {
  stays: new Map(),
  arrivals: new Map(),
  looks: null,
};

export interface InventoryInput extends IdentityInput, EnrollmentRules {
  memory: InventoryMemory;
  /** Unix milliseconds. */
  wallMs: number;
}

export interface Inventory {
  /** The rows as this cycle goes by them: the input's, with `changes` applied. */
  rows: DeviceRow[];
  changes: DeviceChange[];
  /** Device id → what stands for it now (seen, or missing for less than the grace). */
  present: ReadonlyMap<string, Microphone>;
  /** Those of them that the last look missed. */
  missing: ReadonlySet<string>;
  /** Neither there nor known to be gone: no scan has succeeded for as long as the grace. Nothing of theirs is touched. */
  unknown: ReadonlySet<string>;
  /** Devices whose plug flaps: nothing is started before `untilMs`. */
  flapping: ReadonlyMap<string, { count: number; untilMs: number }>;
  events: StationEvent[];
  memory: InventoryMemory;
  /** When this answer changes by itself, monotonic ms; null: never. */
  deadlineMs: number | null;
}

export const FORGET_AFTER_MS = 30 * 24 * 3600 * 1000;
/** USB is looked at several times a second. */
const NEXT_SCAN_MS = 250;
const FLAP_WINDOW_MS = 5 * 60_000;
const FLAP_COUNT = 5;
const FLAP_FIRST_HOLD_MS = 10_000;

/** Ties scan and rows together. Never throws: what cannot be settled yet is left for the next cycle. */
export function inventory(input: InventoryInput): Inventory {
  const sighting = sight(input);
  const assigned = assign(input, sighting);
  const present = new Map([...assigned.stays.values()].map((stay) => [stay.deviceId, stay.microphone]));
  const settled = settleRows(input, sighting, assigned, present);
  const arrivals = countArrivals(input, sighting, assigned.stays);
  const flapping = findFlapping(arrivals);
  const unknown = findUnknown(input, sighting, present);
  const graces = [...assigned.stays.values()].map(({ missingSinceMs }) => missingSinceMs);
  if (unknown.size > 0) graces.push(sighting.looks?.firstMs ?? null);
  const deadlines = [
    ...graces.flatMap((sinceMs) => endOfGrace(sinceMs, input)),
    ...[...flapping.values()].map((flap) => flap.untilMs),
  ].filter((atMs) => atMs > input.nowMs);
  return {
    rows: settled.rows,
    changes: settled.changes,
    present,
    missing: new Set(
      [...assigned.stays.values()].flatMap((stay) => (stay.missingSinceMs === null ? [] : [stay.deviceId])),
    ),
    unknown,
    flapping: new Map([...flapping].filter(([, flap]) => flap.untilMs > input.nowMs)),
    events: [...sighting.events, ...assigned.events],
    memory: { stays: assigned.stays, arrivals, looks: sighting.looks },
    deadlineMs: deadlines.length > 0 ? Math.min(...deadlines) : null,
  };
}

/**
 * A row without a microphone. To a controller that has only just begun to look, one that was there before is not gone yet:
 * the grace holds for its first looks as for all others.
 */
function isKnownGone(row: DeviceRow, { scan, graceMs }: InventoryInput, sighting: Sighting): boolean {
  if (row.vendorId === VIRTUAL_VENDOR_ID) return true;
  if (!scan.ok) return false;
  return row.status === 'offline' || hasLookedLong(sighting, graceMs);
}

/** Looks went on for as long as the grace: who was in none of them is not there. */
function hasLookedLong({ looks }: Sighting, graceMs: number): boolean {
  return looks !== null && looks.lastMs - looks.firstMs >= graceMs;
}

/** When a grace is over, or when to look whether USB was looked at since then. */
function endOfGrace(sinceMs: number | null, { scan, nowMs, graceMs }: InventoryInput): number[] {
  if (sinceMs === null) return [];
  const atMs = sinceMs + graceMs;
  // While scans fail nothing ends by itself: the first that succeeds wakes us.
  return atMs > nowMs || !scan.ok ? [atMs] : [nowMs + NEXT_SCAN_MS];
}

function findUnknown(
  input: InventoryInput,
  sighting: Sighting,
  present: ReadonlyMap<string, Microphone>,
): ReadonlySet<string> {
  // Once looked at, a device that a failed scan cannot find again is still remembered: it is there or it is gone.
  if (hasLookedLong(sighting, input.graceMs)) return new Set();
  const rows = input.rows.filter((row) => !present.has(row.id) && !isKnownGone(row, input, sighting));
  return new Set(rows.map(({ id }) => id));
}

// --------------------------------------------------------------------------------------------- what the rows say

function settleRows(
  input: InventoryInput,
  sighting: Sighting,
  assigned: Assignment,
  present: ReadonlyMap<string, Microphone>,
): { rows: DeviceRow[]; changes: DeviceChange[] } {
  const rows: DeviceRow[] = [];
  const changes: DeviceChange[] = [];
  for (const row of input.rows) {
    const microphone = present.get(row.id);
    const facts = changedFacts(row, microphone, input, sighting, assigned);
    if (microphone === undefined && isForgettable(row, facts, input)) {
      changes.push({ kind: 'forget', id: row.id });
      continue;
    }
    const isAsBefore = Object.keys(facts).length === 0;
    if (!isAsBefore) changes.push({ kind: 'update', id: row.id, facts });
    const enrollment = decideEnrollment(row, microphone, input);
    if (enrollment !== null) changes.push({ kind: 'enroll', id: row.id, enrollment });
    // The same object while nothing changed: what was made of it need not be made again.
    rows.push(isAsBefore && enrollment === null ? row : { ...row, ...facts, ...enrollment });
  }
  for (const [id, microphone] of assigned.created) {
    const row = newRow(id, microphone, assigned, input);
    const { change, rows: inserted } = insertion(row, microphone, input);
    changes.push(change);
    rows.push(inserted);
  }
  return { rows, changes };
}

function insertion(
  row: DeviceRow,
  microphone: Microphone,
  input: InventoryInput,
): { change: DeviceChange; rows: DeviceRow } {
  const enrollment = decideEnrollment(row, microphone, input) ?? {
    enrollmentStatus: 'pending' as const,
    profileSlug: null,
    decidedBy: null,
  };
  const facts: DeviceFacts = {
    vendorId: row.vendorId,
    productId: row.productId,
    serial: row.serial,
    serialShared: row.serialShared,
    portPath: row.portPath,
    product: row.product,
    manufacturer: row.manufacturer,
    capabilities: row.capabilities,
    status: row.status,
    lastSeenAt: row.lastSeenAt,
    suggestedProfile: row.suggestedProfile,
  };
  return {
    change: { kind: 'insert', id: row.id, workspace: row.workspace, name: row.name, facts, enrollment },
    rows: { ...row, ...enrollment },
  };
}

function newRow(id: string, microphone: Microphone, assigned: Assignment, input: InventoryInput): DeviceRow {
  return {
    id,
    name: microphone.product,
    vendorId: microphone.vendorId,
    productId: microphone.productId,
    serial: microphone.serial,
    serialShared: assigned.sharedKeys.has(serialKey(microphone)),
    portPath: microphone.portPath,
    product: microphone.product,
    manufacturer: microphone.manufacturer,
    capabilities: microphone.sound?.capabilities ?? { offers: [] },
    status: 'online',
    enabled: true,
    enrollmentStatus: 'pending',
    decidedBy: null,
    profileSlug: null,
    suggestedProfile: suggestProfile(microphone, input),
    settings: { ok: true, value: {} },
    restartToken: '',
    workspace: workspaceName(id, microphone.product),
    firstSeenAt: input.wallMs,
    lastSeenAt: input.wallMs,
    generation: 1,
    observedGeneration: 0,
    phase: 'waiting',
    reason: 'New',
    message: 'Just plugged in.',
  };
}

/** Columns of what the hardware says that differ from the row. Capabilities that cannot be read now stay as they were. */
function changedFacts(
  row: DeviceRow,
  microphone: Microphone | undefined,
  input: InventoryInput,
  sighting: Sighting,
  assigned: Assignment,
): Partial<DeviceFacts> {
  const facts: Partial<DeviceFacts> = {};
  if (!row.serialShared && row.serial !== null && assigned.sharedKeys.has(serialKey(row))) facts.serialShared = true;
  if (microphone === undefined) {
    const gone = row.status === 'online' && isKnownGone(row, input, sighting);
    return gone ? { ...facts, status: 'offline', lastSeenAt: input.wallMs } : facts;
  }
  const capabilities = microphone.sound?.capabilities ?? { offers: [] };
  if (row.status !== 'online') facts.status = 'online';
  if (row.portPath !== microphone.portPath) facts.portPath = microphone.portPath;
  if (row.product !== microphone.product) facts.product = microphone.product;
  if (row.manufacturer !== microphone.manufacturer) facts.manufacturer = microphone.manufacturer;
  if (capabilities.offers.length > 0 && textOf(capabilities) !== textOf(row.capabilities))
    facts.capabilities = capabilities;
  const suggestion = suggestProfile(microphone, input);
  if (row.suggestedProfile !== suggestion) facts.suggestedProfile = suggestion;
  return facts;
}

const texts = new WeakMap<Capabilities, string>();

/** As JSON; made once of what is the very same. */
function textOf(capabilities: Capabilities): string {
  const known = texts.get(capabilities);
  if (known !== undefined) return known;
  const text = JSON.stringify(capabilities);
  texts.set(capabilities, text);
  return text;
}

/** Only what nobody ever wanted is forgotten; a time in the future (the clock was wrong) forgets nothing. */
function isForgettable(row: DeviceRow, facts: Partial<DeviceFacts>, input: InventoryInput): boolean {
  return (
    input.scan.ok &&
    row.enrollmentStatus === 'pending' &&
    row.decidedBy === null &&
    (facts.status ?? row.status) === 'offline' &&
    input.wallMs - (facts.lastSeenAt ?? row.lastSeenAt) > FORGET_AFTER_MS
  );
}

// --------------------------------------------------------------------------------------------------- flapping

/** An arrival is a fresh incarnation with a sound card: a card that comes a moment after its device is one arrival. */
function countArrivals(
  input: InventoryInput,
  sighting: Sighting,
  stays: ReadonlyMap<string, Stay>,
): Map<string, readonly number[]> {
  const arrivals = new Map<string, readonly number[]>();
  for (const [deviceId, times] of input.memory.arrivals) {
    const recent = times.filter((atMs) => input.nowMs - atMs < FLAP_WINDOW_MS);
    if (recent.length > 0) arrivals.set(deviceId, recent);
  }
  for (const microphone of sighting.fresh) {
    const stay = stays.get(microphone.incarnation);
    if (stay === undefined || microphone.sound === null) continue;
    arrivals.set(stay.deviceId, [...(arrivals.get(stay.deviceId) ?? []), input.nowMs].slice(-20));
  }
  return arrivals;
}

function findFlapping(
  arrivals: ReadonlyMap<string, readonly number[]>,
): Map<string, { count: number; untilMs: number }> {
  const flapping = new Map<string, { count: number; untilMs: number }>();
  for (const [deviceId, times] of arrivals) {
    if (times.length < FLAP_COUNT) continue;
    const holdMs = Math.min(FLAP_WINDOW_MS, FLAP_FIRST_HOLD_MS * 2 ** (times.length - FLAP_COUNT));
    flapping.set(deviceId, { count: times.length, untilMs: (times.at(-1) ?? 0) + holdMs });
  }
  return flapping;
}
