/**
 * What somebody who helps needs to know of a station, as one JSON document that may be sent by mail. It holds versions,
 * states, settings and events. It holds no secret: no password, no session, no token, no address of an alert beyond its
 * host; and nothing that names a thing or a place: no serial numbers, and of the position only whether it is set.
 */
import { credential } from '../shared/alerts.ts';
import type { CatalogueEntry } from '../shared/catalogue.ts';
import { canonicalJson } from '../shared/profile.ts';
import type { DatabaseFacts } from './about-queries.ts';
import { maskedAddress, storedAlerts } from './settings-form.ts';
import type { DevicePicture, StationPicture } from './station-picture.ts';
import type { EventRow, ProfileRow } from './station-queries.ts';

export interface PageFacts {
  version: string;
  node: string;
  uptimeSeconds: number;
  memoryBytes: number;
}

export interface BundleSources {
  picture: StationPicture;
  /** The latest first. */
  events: readonly EventRow[];
  /** null: it does not answer. */
  database: DatabaseFacts | null;
  page: PageFacts;
  catalogue: readonly CatalogueEntry[];
  at: Date;
}

/** A shorter one stands in words that have nothing to do with it. Characters. */
const SHORTEST_SECRET = 4;

export function supportBundle(sources: BundleSources): unknown {
  const { picture, events, database, page, at } = sources;
  const bundle = {
    schema: 1,
    madeAt: at.toISOString(),
    page,
    database: database ?? picture.databaseProblem ?? 'It does not answer.',
    redis: picture.bus,
    host: picture.host,
    disk: picture.disk,
    station: stationOf(picture),
    heartbeats: Object.fromEntries(picture.heartbeats),
    processor: picture.processor,
    devices: picture.devices.map(deviceOf),
    services: picture.services.map(({ restartToken: _token, ...row }) => ({
      ...row,
      image: sources.catalogue.find(({ name }) => name === row.name)?.image ?? null,
    })),
    profiles: picture.profiles.map(profileOf),
    events: events.map(({ at: first, ...event }) => ({ first, ...event })),
  };
  return withoutSecrets(JSON.parse(JSON.stringify(bundle)), replacements(picture));
}

function stationOf({ settings }: StationPicture) {
  const { alerts, problem } = storedAlerts(settings.alerts);
  const masked = (address: string | null) => (address === null ? null : maskedAddress(address));
  return {
    id: settings.stationId,
    name: settings.name,
    position: settings.position === null ? 'not set' : 'set',
    autoEnrollment: settings.autoEnrollment,
    autoUpdate: settings.autoUpdate,
    liveListening: settings.liveListening,
    alerts: {
      ntfy: masked(alerts.ntfyUrl),
      webhook: masked(alerts.webhookUrl),
      notRecordingMinutes: alerts.notRecordingMinutes,
      silentMinutes: alerts.silentMinutes,
      diskFullDays: alerts.diskFullDays,
      isUnreadable: problem !== null,
    },
    // Somebody else's, who may keep anything in them.
    otherKeys: [...settings.other.keys()].sort(),
  };
}

function deviceOf({ row, status, inEffect, updateWaiting }: DevicePicture) {
  const { id: _id, serial, restartToken: _token, ...rest } = row;
  return { ...rest, serial: serial === null ? 'none' : 'given', inEffect, updateWaiting, recorder: status };
}

function profileOf({ seedHash: _hash, config, ...row }: ProfileRow) {
  return { ...row, config: config === null ? null : JSON.parse(canonicalJson(config)) };
}

/** What stands in sentences and identities all the same, with what is written in its place; the longest first. */
function replacements({ devices, settings }: StationPicture): [string, string][] {
  const { alerts } = storedAlerts(settings.alerts);
  const addresses = [alerts.ntfyUrl, alerts.webhookUrl].flatMap((address) =>
    address === null ? [] : partsOf(address),
  );
  const hidden = [
    ...devices.map(({ row }): [string, string] => [row.id, row.workspace]),
    ...devices.map(({ row }): [string, string] => [row.serial ?? '', '(serial number)']),
    ...addresses.map((part): [string, string] => [part, '(address)']),
  ];
  return hidden.filter(([secret]) => secret.length >= SHORTEST_SECRET).sort(([a], [b]) => b.length - a.length);
}

function partsOf(address: string): string[] {
  if (!URL.canParse(address)) return [address];
  const { username, password, pathname, search } = new URL(address);
  return [address, credential(password), password, credential(username), pathname, search];
}

function withoutSecrets(value: unknown, hidden: readonly [string, string][]): unknown {
  if (typeof value === 'string') return withoutSecretsIn(value, hidden);
  if (Array.isArray(value)) return value.map((part) => withoutSecrets(part, hidden));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [withoutSecretsIn(key, hidden), withoutSecrets(part, hidden)]),
  );
}

function withoutSecretsIn(text: string, hidden: readonly [string, string][]): string {
  const replaced = hidden.reduce((rest, [secret, instead]) => rest.replaceAll(secret, instead), text);
  // User and password in any address.
  return replaced.replaceAll(/(\w+:\/\/)[^/\s@"]+@/g, '$1***@');
}
