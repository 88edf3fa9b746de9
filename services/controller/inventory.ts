/**
 * Which device is that? Ties what a scan saw to the rows that remember, once per incarnation, and says which rows
 * change. Pure: no clock, no database; the same scan, rows and memory always give the same answer.
 */
import { createHash } from 'node:crypto';
import { workspaceName } from '../shared/contract.ts';
import { GENERIC_PROFILE_SLUG, matchProfile } from '../shared/profile.ts';
import type {
  DeviceChange,
  DeviceFacts,
  DeviceRow,
  EnrollmentDecision,
  Microphone,
  ProfileRow,
  Reading,
  StationEvent,
} from './world.ts';

/** One incarnation that was given its row. It keeps that row as long as it lasts, whoever else comes or goes. */
interface Stay {
  deviceId: string;
  microphone: Microphone;
  lastSeenMs: number;
}

export interface InventoryMemory {
  /** By incarnation. */
  stays: ReadonlyMap<string, Stay>;
  /** Times at which a device arrived with a sound card, the last five minutes, by device id. */
  arrivals: ReadonlyMap<string, readonly number[]>;
  /** False until one scan succeeded: then nobody knows yet who is there. */
  scanned: boolean;
}

export const emptyInventoryMemory: InventoryMemory = { stays: new Map(), arrivals: new Map(), scanned: false };

export interface InventoryInput {
  scan: Reading<Microphone[]>;
  rows: readonly DeviceRow[];
  profiles: readonly ProfileRow[];
  autoEnrollment: boolean;
  memory: InventoryMemory;
  nowMs: number;
  wallMs: number;
  /** How long an unchanged incarnation may be missing before it counts as gone. */
  graceMs: number;
}

export interface Inventory {
  /** The rows as this cycle goes by them: the input's, with `changes` applied. */
  rows: DeviceRow[];
  changes: DeviceChange[];
  /** Device id → what stands for it now (seen, or missing for less than the grace). */
  present: ReadonlyMap<string, Microphone>;
  /** False: no scan ever succeeded, so absence means nothing. */
  known: boolean;
  /** Devices whose plug flaps: nothing is started before `untilMs`. */
  flapping: ReadonlyMap<string, { count: number; untilMs: number }>;
  events: StationEvent[];
  memory: InventoryMemory;
  /** When this answer changes by itself, monotonic ms; null: never. */
  deadlineMs: number | null;
}

export const MAX_DEVICES = 500;
export const FORGET_AFTER_MS = 30 * 24 * 3600 * 1000;
const FLAP_WINDOW_MS = 5 * 60_000;
const FLAP_COUNT = 5;
const FLAP_FIRST_HOLD_MS = 10_000;

/** Ties scan and rows together. Never throws: what cannot be settled yet is left for the next cycle. */
export function inventory(input: InventoryInput): Inventory {
  const sighting = sight(input);
  const assigned = assign(input, sighting);
  const settled = settleRows(input, assigned);
  const arrivals = countArrivals(input, sighting, assigned.stays);
  const flapping = findFlapping(arrivals);
  const deadlines = [
    ...[...assigned.stays.values()].filter((stay) => stay.lastSeenMs < input.nowMs).map((stay) => stay.lastSeenMs + input.graceMs),
    ...[...flapping.values()].map((flap) => flap.untilMs),
  ].filter((atMs) => atMs > input.nowMs);
  const present = new Map([...assigned.stays.values()].map((stay) => [stay.deviceId, stay.microphone]));
  return {
    rows: settled.rows,
    changes: settled.changes,
    present,
    known: sighting.scanned,
    flapping: new Map([...flapping].filter(([, flap]) => flap.untilMs > input.nowMs)),
    events: [...sighting.events, ...assigned.events],
    memory: { stays: assigned.stays, arrivals, scanned: sighting.scanned },
    deadlineMs: deadlines.length > 0 ? Math.min(...deadlines) : null,
  };
}

// ------------------------------------------------------------------------------------------------ who is there

interface Sighting {
  /** Stays that go on: seen, or missing for less than the grace. */
  stays: Map<string, Stay>;
  /** Seen, but not yet given a row. In order of port path, so that the order of a scan decides nothing. */
  fresh: Microphone[];
  scanned: boolean;
  events: StationEvent[];
}

/** A failed scan changes nothing: everyone who was there still is. */
function sight(input: InventoryInput): Sighting {
  const { scan, memory, nowMs } = input;
  if (!scan.ok) return { stays: new Map(memory.stays), fresh: [], scanned: memory.scanned, events: [] };
  const byPort = new Map<string, Microphone>();
  const events: StationEvent[] = [];
  for (const microphone of scan.value) {
    if (!byPort.has(microphone.portPath)) byPort.set(microphone.portPath, microphone);
    else events.push(twoOnOnePort(microphone));
  }
  const stays = new Map<string, Stay>();
  for (const [incarnation, stay] of memory.stays) {
    const there = byPort.get(stay.microphone.portPath);
    if (there?.incarnation === incarnation) stays.set(incarnation, { ...stay, lastSeenMs: nowMs });
    else if (there === undefined && nowMs - stay.lastSeenMs < input.graceMs) stays.set(incarnation, stay);
  }
  const fresh = [...byPort.values()]
    .filter((microphone) => !stays.has(microphone.incarnation))
    .sort((a, b) => compare(a.portPath, b.portPath));
  return { stays, fresh, scanned: true, events };
}

function twoOnOnePort(microphone: Microphone): StationEvent {
  return {
    subject: 'station',
    type: 'warning',
    reason: 'TwoDevicesOnOnePort',
    message: `Two devices were reported on port ${microphone.portPath}; only the first is used. Plug them in again.`,
  };
}

// -------------------------------------------------------------------------------------------------- which row

interface Assignment {
  stays: Map<string, Stay>;
  /** Rows that are new, by id. */
  created: Map<string, Microphone>;
  /** Keys (vendor, product, serial) seen on two devices at once. */
  sharedKeys: Set<string>;
  events: StationEvent[];
}

type Bearer = { vendorId: string; productId: string; serial: string | null };

const serialKey = (bearer: Bearer): string => JSON.stringify([bearer.vendorId, bearer.productId, bearer.serial]);

/**
 * Gives each fresh microphone its row, the surest ties first: same port and serial; then a serial that nobody else
 * bears; then a new row. While a device that bears the same serial has only just gone missing it may be this one
 * moved to another port, or its twin: that is left open until the grace is over.
 */
function assign(input: InventoryInput, sighting: Sighting): Assignment {
  const stays = new Map(sighting.stays);
  const claimed = new Set([...stays.values()].map((stay) => stay.deviceId));
  const rowsByKey = groupBy(input.rows, serialKey);
  const sharedKeys = findSharedKeys(input, sighting);
  const created = new Map<string, Microphone>();
  const events: StationEvent[] = [];
  const give = (microphone: Microphone, deviceId: string): void => {
    stays.set(microphone.incarnation, { deviceId, microphone, lastSeenMs: input.nowMs });
    claimed.add(deviceId);
  };

  const elsewhere = sighting.fresh.filter((microphone) => {
    const row = rowsByKey.get(serialKey(microphone))?.find((candidate) => candidate.portPath === microphone.portPath && !claimed.has(candidate.id));
    if (row !== undefined) give(microphone, row.id);
    return row === undefined;
  });
  const taken = new Set([...input.rows.map((row) => row.id), ...[...stays.values()].map((stay) => stay.deviceId)]);
  for (const microphone of elsewhere) {
    const key = serialKey(microphone);
    const rows = rowsByKey.get(key) ?? [];
    const only = rows[0];
    const unshared = microphone.serial !== null && !sharedKeys.has(key);
    if (unshared && [...stays.values()].some((stay) => stay.lastSeenMs < input.nowMs && serialKey(stay.microphone) === key)) continue;
    if (unshared && only !== undefined && rows.length === 1 && !claimed.has(only.id)) give(microphone, only.id);
    else if (taken.size >= MAX_DEVICES) events.push(tooManyDevices(microphone));
    else {
      const id = newDeviceId(microphone, unshared && rows.length === 0, taken);
      taken.add(id);
      created.set(id, microphone);
      give(microphone, id);
    }
  }
  const known = new Set(input.rows.map((row) => row.id));
  for (const stay of stays.values()) {
    if (!created.has(stay.deviceId) && !known.has(stay.deviceId)) created.set(stay.deviceId, stay.microphone);
  }
  return { stays, created, sharedKeys, events };
}

/** Keys that a row says are shared, or that two devices bear in this very scan. */
function findSharedKeys(input: InventoryInput, sighting: Sighting): Set<string> {
  const shared = new Set(input.rows.filter((row) => row.serialShared).map(serialKey));
  const seen = new Set<string>();
  const there = [...sighting.stays.values()].filter((stay) => stay.lastSeenMs === input.nowMs).map((stay) => stay.microphone);
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
function newDeviceId(microphone: Microphone, bySerial: boolean, taken: ReadonlySet<string>): string {
  const model = `${microphone.vendorId}-${microphone.productId}`;
  if (bySerial && microphone.serial !== null) {
    const id = `${model}-${safeName(microphone.serial)}`;
    if (!taken.has(id)) return id;
  }
  const ports = microphone.portPath.split('/').at(-1) ?? '';
  const digest = shortDigest(`${microphone.portPath}\n${microphone.serial ?? ''}`);
  const id = `${model}-port${ports.replace(/[^0-9.]/g, '').slice(0, 20)}-${digest}`;
  for (let attempt = 2; ; attempt += 1) {
    const candidate = attempt === 2 ? id : `${id}-${attempt - 1}`;
    if (!taken.has(candidate)) return candidate;
  }
}

function safeName(text: string): string {
  if (/^[A-Za-z0-9._-]{1,64}$/.test(text) && !text.includes('..')) return text;
  const words = text.replace(/[^A-Za-z0-9]+/g, '-').slice(0, 32);
  return `${words}-${shortDigest(text)}`;
}

const shortDigest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);

// --------------------------------------------------------------------------------------------- what the rows say

function settleRows(input: InventoryInput, assigned: Assignment): { rows: DeviceRow[]; changes: DeviceChange[] } {
  const rows: DeviceRow[] = [];
  const changes: DeviceChange[] = [];
  const presentById = new Map([...assigned.stays.values()].map((stay) => [stay.deviceId, stay.microphone]));
  for (const row of input.rows) {
    const facts = changedFacts(row, presentById.get(row.id), input, assigned);
    if (presentById.get(row.id) === undefined && isForgettable({ ...row, ...facts }, input)) {
      changes.push({ kind: 'forget', id: row.id });
      continue;
    }
    if (Object.keys(facts).length > 0) changes.push({ kind: 'update', id: row.id, facts });
    const enrollment = decide(row, presentById.get(row.id), input);
    if (enrollment !== null) changes.push({ kind: 'enroll', id: row.id, enrollment });
    rows.push({ ...row, ...facts, ...enrollment });
  }
  for (const [id, microphone] of assigned.created) {
    const row = newRow(id, microphone, assigned, input);
    const { change, rows: inserted } = insertion(row, microphone, input);
    changes.push(change);
    rows.push(inserted);
  }
  return { rows, changes };
}

function insertion(row: DeviceRow, microphone: Microphone, input: InventoryInput): { change: DeviceChange; rows: DeviceRow } {
  const enrollment = decide(row, microphone, input) ?? { enrollmentStatus: 'pending' as const, profileSlug: null, decidedBy: null };
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
    suggestedProfile: suggest(microphone, input),
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
function changedFacts(row: DeviceRow, microphone: Microphone | undefined, input: InventoryInput, assigned: Assignment): Partial<DeviceFacts> {
  const facts: Partial<DeviceFacts> = {};
  if (!row.serialShared && row.serial !== null && assigned.sharedKeys.has(serialKey(row))) facts.serialShared = true;
  if (microphone === undefined) {
    const gone = row.status === 'online' && input.scan.ok;
    return gone ? { ...facts, status: 'offline', lastSeenAt: input.wallMs } : facts;
  }
  const capabilities = microphone.sound?.capabilities ?? { offers: [] };
  if (row.status !== 'online') facts.status = 'online';
  if (row.portPath !== microphone.portPath) facts.portPath = microphone.portPath;
  if (row.product !== microphone.product) facts.product = microphone.product;
  if (row.manufacturer !== microphone.manufacturer) facts.manufacturer = microphone.manufacturer;
  if (capabilities.offers.length > 0 && JSON.stringify(capabilities) !== JSON.stringify(row.capabilities)) facts.capabilities = capabilities;
  const suggestion = suggest(microphone, input);
  if (row.suggestedProfile !== suggestion) facts.suggestedProfile = suggestion;
  return facts;
}

/** Only what nobody ever wanted is forgotten; a time in the future (the clock was wrong) forgets nothing. */
function isForgettable(row: DeviceRow, input: InventoryInput): boolean {
  return (
    input.scan.ok &&
    row.enrollmentStatus === 'pending' &&
    row.decidedBy === null &&
    row.status === 'offline' &&
    input.wallMs - row.lastSeenAt > FORGET_AFTER_MS
  );
}

// ------------------------------------------------------------------------------------------------- enrolment

/** A profile whose config cannot be read matches nothing. */
function matched(microphone: Microphone, input: InventoryInput): ReturnType<typeof matchProfile> {
  const usable = input.profiles.flatMap(({ slug, config }) => (config.ok ? [{ slug, config: config.value }] : []));
  return matchProfile(microphone, usable);
}

function suggest(microphone: Microphone, input: InventoryInput): string | null {
  const match = matched(microphone, input);
  switch (match.kind) {
    case 'exact':
    case 'named':
      return match.slug;
    case 'ambiguous':
      return match.slugs[0] ?? null;
    case 'none':
      return hasGeneric(input) && !microphone.obstacle?.lasting ? GENERIC_PROFILE_SLUG : null;
  }
}

function hasGeneric(input: InventoryInput): boolean {
  return input.profiles.some((profile) => profile.slug === GENERIC_PROFILE_SLUG && profile.config.ok);
}

/**
 * What our rules make of a device about which nobody decided yet; null: leave it as it is. Better recorded than not,
 * but what may be a webcam or a headset waits for a person.
 */
function decide(row: DeviceRow, microphone: Microphone | undefined, input: InventoryInput): EnrollmentDecision | null {
  if (!input.autoEnrollment || microphone === undefined || microphone.sound === null) return null;
  if (row.enrollmentStatus !== 'pending' || row.decidedBy !== null) return null;
  const match = matched(microphone, input);
  const enroll = (profileSlug: string): EnrollmentDecision => ({ enrollmentStatus: 'enrolled', profileSlug, decidedBy: 'auto' });
  switch (match.kind) {
    case 'exact':
      return enroll(match.slug);
    case 'named':
      return microphone.kind === 'plain' ? enroll(match.slug) : null;
    case 'none':
      return microphone.kind === 'plain' && hasGeneric(input) ? enroll(GENERIC_PROFILE_SLUG) : null;
    case 'ambiguous':
      return null;
  }
}

// --------------------------------------------------------------------------------------------------- flapping

/** An arrival is a fresh incarnation with a sound card: a card that comes a moment after its device is one arrival. */
function countArrivals(input: InventoryInput, sighting: Sighting, stays: ReadonlyMap<string, Stay>): Map<string, readonly number[]> {
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

function findFlapping(arrivals: ReadonlyMap<string, readonly number[]>): Map<string, { count: number; untilMs: number }> {
  const flapping = new Map<string, { count: number; untilMs: number }>();
  for (const [deviceId, times] of arrivals) {
    if (times.length < FLAP_COUNT) continue;
    const holdMs = Math.min(FLAP_WINDOW_MS, FLAP_FIRST_HOLD_MS * 2 ** (times.length - FLAP_COUNT));
    flapping.set(deviceId, { count: times.length, untilMs: (times.at(-1) ?? 0) + holdMs });
  }
  return flapping;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}
