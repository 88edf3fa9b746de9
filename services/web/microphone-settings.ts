/** What a person fills in on a microphone's page: text of fields in, a wish for its row out, or what is wrong with which field. */
import { parseWith, section, text } from '../shared/parse.ts';
import { type DeviceSettings, parseDeviceSettings } from '../shared/profile.ts';
import { TEXT_LIMIT } from '../shared/schema.ts';
import type { DeviceWish } from './device-queries.ts';
import { numberOrText } from './form-text.ts';
import type { DeviceRow } from './station-queries.ts';

/** A person's overrides, in the order of the form. */
export const OVERRIDES = ['rate', 'channels', 'format', 'segmentSeconds', 'archive', 'gainDb', 'highPassHz'] as const;
export type Override = (typeof OVERRIDES)[number];
export type SettingsField = Override | 'name' | 'profile';

/** What stands in the fields, and what is wrong with them. */
export interface SettingsForm {
  values: Readonly<Record<SettingsField, string>>;
  problems: ReadonlyMap<SettingsField, string>;
}

/** A change of one of these ends the current file: the recorder is told at its start. The others are for what comes after. */
const CAPTURE = ['rate', 'channels', 'format', 'segmentSeconds'] as const;
const NUMBERS: ReadonlySet<string> = new Set(['rate', 'channels', 'segmentSeconds', 'gainDb', 'highPassHz']);
/** Profiles, in a sentence. */
const MOST_NAMED = 10;
const nameSchema = section({ name: text(TEXT_LIMIT.name) });

/** The form as the row has it. */
export function settingsForm(row: Pick<DeviceRow, 'name' | 'profileSlug' | 'settings'>): SettingsForm {
  const values = Object.fromEntries(OVERRIDES.map((field) => [field, String(row.settings[field] ?? '')]));
  const overrides = values as Record<Override, string>;
  return { values: { ...overrides, name: row.name, profile: row.profileSlug ?? '' }, problems: new Map() };
}

export type SettingsOutcome = { ok: true; wish: DeviceWish } | { ok: false; form: SettingsForm };

/** Reads a filled-in form. An empty override is none; an empty name is the product's. `profiles`: the slugs that there are. */
export function readSettingsForm(
  fields: Readonly<Record<string, string | undefined>>,
  profiles: readonly string[],
): SettingsOutcome {
  const problems = new Map<SettingsField, string>();
  const name = (fields.name ?? '').trim();
  const named = name === '' ? { ok: true as const } : parseWith(nameSchema, { name }, 'The name');
  if (!named.ok) problems.set('name', named.message);
  const profile = fields.profile ?? '';
  if (!profiles.includes(profile)) problems.set('profile', noSuchProfile(profile, profiles));
  const given = OVERRIDES.flatMap((field) => {
    const value = (fields[field] ?? '').trim();
    return value === '' ? [] : [[field, NUMBERS.has(field) ? numberOrText(value) : value] as const];
  });
  const settings = parseDeviceSettings(Object.fromEntries(given));
  if (!settings.ok) for (const { path, message } of settings.fields) if (isOverride(path)) problems.set(path, message);
  if (settings.ok && problems.size === 0)
    return { ok: true, wish: { name, profileSlug: profile, settings: settings.value } };
  const values = Object.fromEntries(OVERRIDES.map((field) => [field, fields[field] ?? '']));
  return { ok: false, form: { values: { ...(values as Record<Override, string>), name, profile }, problems } };
}

/** Whether the recorder that runs now would be replaced by this wish. */
export function interruptsRecording(row: Pick<DeviceRow, 'profileSlug' | 'settings'>, wish: DeviceWish): boolean {
  if (wish.profileSlug !== undefined && wish.profileSlug !== row.profileSlug) return true;
  const wanted: DeviceSettings = wish.settings ?? row.settings;
  return CAPTURE.some((field) => (wanted[field] ?? null) !== (row.settings[field] ?? null));
}

function noSuchProfile(given: string, profiles: readonly string[]): string {
  const allowed = [...profiles.slice(0, MOST_NAMED), ...(profiles.length > MOST_NAMED ? ['another of its list'] : [])];
  return `profile: there is none called ${JSON.stringify(given.slice(0, 60))}; allowed is ${allowed.join(', ')}.`;
}

function isOverride(path: string): path is Override {
  return OVERRIDES.some((field) => field === path);
}
