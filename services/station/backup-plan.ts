/**
 * What a restore would change, decided before anything is: each change with a line that says it. What the database has
 * and the backup has not, stays. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { parseDeviceSettings, parseProfileConfig } from '../shared/profile.ts';
import { CONFIG_KEY } from '../shared/schema.ts';
import type { Backup, BackupDevice, BackupProfile, BackupService } from './backup-document.ts';

/** What is in the database. Unlike a backup it holds every profile, and every key. */
export type Content = Omit<Backup, 'kind' | 'schema' | 'made' | 'release'>;

export type Change = { line: string } & (
  | { kind: 'config'; key: string; value: unknown }
  | { kind: 'profile'; profile: BackupProfile }
  /** `isNew`: with all that is known of the hardware; otherwise a person's columns only. */
  | { kind: 'device'; device: BackupDevice; isNew: boolean }
  | { kind: 'service'; service: BackupService }
);

export interface RestorePlan {
  changes: Change[];
  /** What of the backup is left out, and why. */
  notes: string[];
}

/** What a person decides about a device; everything else of one that is known is the hardware's to say. */
const DECISIONS = ['name', 'enabled', 'enrollmentStatus', 'decidedBy', 'profileSlug', 'settings'] as const;
const PROFILE_COLUMNS = ['name', 'description', 'manufacturer', 'model', 'config'] as const;
const SERVICE_COLUMNS = ['enabled', 'settings'] as const;

export function planRestore(now: Content, wanted: Content): RestorePlan {
  const notes: string[] = [];
  const profiles = planProfiles(now, wanted, notes);
  const slugs = new Set([...now.profiles, ...profiles.map(({ profile }) => profile)].map(({ slug }) => slug));
  return {
    changes: [
      ...planConfig(now, wanted, notes),
      ...profiles,
      ...planDevices(now, wanted, slugs, notes),
      ...planServices(now, wanted),
    ],
    notes,
  };
}

function planConfig(now: Content, wanted: Content, notes: string[]): Change[] {
  if (wanted.stationId !== null && now.stationId !== null && wanted.stationId !== now.stationId) {
    notes.push(`This station keeps its own id (${now.stationId}); the backup is of ${wanted.stationId}.`);
  }
  const given = Object.entries(wanted.config).filter(([key]) => !ownKeys.includes(key));
  if (now.stationId === null && wanted.stationId !== null) given.unshift([CONFIG_KEY.stationId, wanted.stationId]);
  return given
    .map(([key, value]) => ({ key, value: key === CONFIG_KEY.alerts ? withOwnAddresses(value, now) : value }))
    .filter(({ key, value }) => !isDeepStrictEqual(now.config[key], value))
    .map(({ key, value }) => {
      const told = (one: unknown): string => shown(key === CONFIG_KEY.alerts ? withoutAddresses(one) : one);
      const before = key in now.config ? `${told(now.config[key])} → ` : '';
      return { kind: 'config', key, value, line: `setting ${key}: ${before}${told(value)}` };
    });
}

/** The controller's own, which no backup may set. */
const ownKeys: readonly string[] = [CONFIG_KEY.stationId, CONFIG_KEY.workspaceMarked];

/** Of the alerts, what a backup does not hold: the addresses may hold passwords. */
const NOT_IN_BACKUP = ['ntfyUrl', 'webhookUrl', 'testToken'];

/** What is there of it stays. */
function withOwnAddresses(value: unknown, now: Content): unknown {
  const own = Object.entries(Object(now.config[CONFIG_KEY.alerts])).filter(([key]) => NOT_IN_BACKUP.includes(key));
  return { ...Object(value), ...Object.fromEntries(own) };
}

/** Alerts as a backup holds them. */
export function withoutAddresses(alerts: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(Object(alerts)).filter(([key]) => !NOT_IN_BACKUP.includes(key)));
}

function planProfiles(now: Content, wanted: Content, notes: string[]): Extract<Change, { kind: 'profile' }>[] {
  return wanted.profiles.flatMap((profile) => {
    const parsed = parseProfileConfig(profile.config);
    if (!parsed.ok) {
      notes.push(`Profile "${profile.name}" (${profile.slug}) is left out, it cannot be read: ${parsed.message}`);
      return [];
    }
    const before = now.profiles.find(({ slug }) => slug === profile.slug);
    const what = `profile "${profile.name}" (${profile.slug})`;
    if (before === undefined) return [{ kind: 'profile' as const, profile, line: `${what}: new` }];
    const differences = differing(before, profile, PROFILE_COLUMNS);
    if (differences.length === 0) return [];
    return [{ kind: 'profile' as const, profile, line: `${what}: other ${differences.join(', ')}` }];
  });
}

function planDevices(now: Content, wanted: Content, slugs: Set<string>, notes: string[]): Change[] {
  return wanted.devices.flatMap((given): Change[] => {
    const title = `"${given.name || given.id}"`;
    const device = { ...given };
    const parsed = parseDeviceSettings(given.settings);
    const before = now.devices.find(({ id }) => id === given.id);
    if (!parsed.ok) {
      notes.push(`The settings of ${title} are left out, they cannot be read: ${parsed.message}`);
      device.settings = before?.settings ?? {};
    }
    if (given.profileSlug !== null && !slugs.has(given.profileSlug)) {
      notes.push(`The profile ${given.profileSlug} of ${title} is nowhere: choose another one for it.`);
      device.profileSlug = before?.profileSlug ?? null;
    }
    if (before === undefined) return [{ kind: 'device', device, isNew: true, line: `device ${title}: new, offline` }];
    const lines = differing(before, device, DECISIONS).map(
      (key) => `${key} ${shown(before[key])} → ${shown(device[key])}`,
    );
    if (lines.length === 0) return [];
    return [{ kind: 'device', device, isNew: false, line: `device ${title}: ${lines.join('; ')}` }];
  });
}

function planServices(now: Content, wanted: Content): Change[] {
  return wanted.services.flatMap((service): Change[] => {
    const before = now.services.find(({ name }) => name === service.name);
    if (before === undefined) {
      return [{ kind: 'service', service, line: `service ${service.name}: new, ${service.enabled ? 'on' : 'off'}` }];
    }
    const lines = differing(before, service, SERVICE_COLUMNS).map(
      (key) => `${key} ${shown(before[key])} → ${shown(service[key])}`,
    );
    if (lines.length === 0) return [];
    return [{ kind: 'service', service, line: `service ${service.name}: ${lines.join('; ')}` }];
  });
}

function differing<T, K extends keyof T>(before: T, after: T, keys: readonly K[]): K[] {
  return keys.filter((key) => !isDeepStrictEqual(before[key], after[key]));
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
