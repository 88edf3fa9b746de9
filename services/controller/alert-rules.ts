/**
 * What a person must be told wherever he is, and when: a wanted microphone that does not record, one that hears nothing, a
 * disk that fills up; each once, and once more when it is over. Pure.
 */
import type { Alert, AlertSettings } from '../shared/alerts.ts';
import { VIRTUAL_VENDOR_ID } from '../shared/profile.ts';
import type { DeviceRow } from './world.ts';

/** What one look at the station found. */
export interface AlertInput {
  station: { id: string; name: string };
  settings: AlertSettings;
  devices: readonly DeviceRow[];
  /** Days until recordings fill the disk; null: it does not, or nobody knows; undefined: it could not be read now. */
  fullInDays: number | null | undefined;
  /** Monotonic ms, and Unix ms. */
  nowMs: number;
  wallMs: number;
}

/** By condition (`notRecording recorder:<id>`). */
export type AlertMemory = ReadonlyMap<string, Condition>;

export interface Condition {
  /** Monotonic ms: since when it is as it is now, begun or over. */
  sinceMs: number;
  holds: boolean;
  /** A person was told that it began, and not yet that it is over. */
  told: boolean;
}

type Kind = Exclude<Alert['kind'], 'test'>;

interface Finding {
  kind: Kind;
  subject: string;
  holds: boolean;
  /** So long before it is told. */
  afterMs: number;
  begun: { title: string; message: string };
  over: { title: string; message: string };
}

const MINUTE_MS = 60_000;
/** What comes and goes is over only when it stayed away for so long. */
const OVER_AFTER_MS = MINUTE_MS;
/** Of a disk: its days go up and down with every file. */
const DISK_OVER_DAYS = 1;

export function conditionKey(kind: Kind, subject: string): string {
  return `${kind} ${subject}`;
}

/** What is to be told now, and what is remembered. A condition of which nothing is found any more is forgotten. */
export function findAlerts(input: AlertInput, memory: AlertMemory): { alerts: Alert[]; memory: AlertMemory } {
  const alerts: Alert[] = [];
  const next = new Map<string, Condition>();
  for (const finding of findings(input, memory)) {
    const key = conditionKey(finding.kind, finding.subject);
    const before = memory.get(key) ?? { sinceMs: input.nowMs, holds: finding.holds, told: false };
    const condition =
      before.holds === finding.holds ? before : { ...before, holds: finding.holds, sinceMs: input.nowMs };
    const forMs = input.nowMs - condition.sinceMs;
    const due = finding.holds ? !condition.told && forMs >= finding.afterMs : condition.told && forMs >= OVER_AFTER_MS;
    next.set(key, due ? { ...condition, told: finding.holds } : condition);
    if (due) alerts.push(alertOf(finding, input));
  }
  // What could not be looked at now is as it was.
  if (input.fullInDays === undefined)
    for (const [key, condition] of memory) if (key.startsWith('diskFull ')) next.set(key, condition);
  return { alerts, memory: next };
}

export function testAlert({ station, wallMs }: Pick<AlertInput, 'station' | 'wallMs'>): Alert {
  const name = stationName(station);
  return {
    schema: 1,
    station,
    subject: 'station',
    kind: 'test',
    state: 'back',
    title: `${name}: a test`,
    message: `${name} can reach you. This is what an alert looks like.`,
    at: wallMs,
  };
}

function alertOf(finding: Finding, { station, wallMs }: AlertInput): Alert {
  const { kind, subject, holds } = finding;
  const words = holds ? finding.begun : finding.over;
  const title = `${stationName(station)}: ${words.title}`;
  return { schema: 1, station, subject, kind, state: holds ? 'warning' : 'back', ...words, title, at: wallMs };
}

const stationName = ({ name }: AlertInput['station']): string => (name === '' ? 'Silvasonic' : name);

function findings(input: AlertInput, memory: AlertMemory): Finding[] {
  const wanted = input.devices.filter(
    (row) =>
      row.enabled &&
      row.enrollmentStatus === 'enrolled' &&
      row.profileSlug !== null &&
      row.vendorId !== VIRTUAL_VENDOR_ID,
  );
  const ofDevices = wanted.flatMap((row) => [notRecording(row, input.settings), silent(row, input.settings)]);
  return input.fullInDays === undefined
    ? ofDevices
    : [...ofDevices, diskFull(input.fullInDays, input.settings, memory)];
}

function notRecording(row: DeviceRow, { notRecordingMinutes }: AlertSettings): Finding {
  const name = nameOf(row);
  return {
    kind: 'notRecording',
    subject: `recorder:${row.id}`,
    holds: row.phase !== 'recording',
    afterMs: notRecordingMinutes * MINUTE_MS,
    begun: {
      title: `${name} does not record`,
      message: `${name} has not recorded for ${count(notRecordingMinutes, 'minute')}. ${row.message}`,
    },
    over: { title: `${name} records again`, message: `${name} records again.` },
  };
}

function silent(row: DeviceRow, { silentMinutes }: AlertSettings): Finding {
  const name = nameOf(row);
  return {
    kind: 'silent',
    subject: `recorder:${row.id}`,
    holds: row.phase === 'recording' && row.reason === 'Silent',
    afterMs: silentMinutes * MINUTE_MS,
    begun: {
      title: `${name} hears nothing`,
      message: `${name} has heard nothing for ${count(silentMinutes, 'minute')}: check the microphone and its cable.`,
    },
    over: { title: `${name} hears again`, message: `${name} is not silent any more.` },
  };
}

function diskFull(fullInDays: number | null, { diskFullDays }: AlertSettings, memory: AlertMemory): Finding {
  const subject = 'station';
  const told = memory.get(conditionKey('diskFull', subject))?.told === true;
  const limitDays = told ? diskFullDays + DISK_OVER_DAYS : diskFullDays;
  const days = fullInDays === null ? 0 : Math.max(0, Math.floor(fullInDays));
  const words = days === 0 ? 'within a day' : `in ${count(days, 'day')}`;
  return {
    kind: 'diskFull',
    subject,
    holds: fullInDays !== null && fullInDays < limitDays,
    afterMs: 0,
    begun: {
      title: `the disk will be full ${words}`,
      message: `At the present rate the disk will be full ${words}: make room, or bring another one.`,
    },
    over: { title: 'there is room on the disk again', message: 'There is room on the disk again.' },
  };
}

const nameOf = (row: DeviceRow): string => row.name || row.product || row.id;
const count = (number: number, unit: string): string => `${number} ${unit}${number === 1 ? '' : 's'}`;
