/** The station's own settings as forms: text of fields in, values for `system_config` out, or what is wrong with which field. */
import { z } from 'zod';
import { type AlertSettings, alertSettingsSchema, DEFAULT_ALERT_SETTINGS } from '../shared/alerts.ts';
import { type FieldProblem, parseWith, section } from '../shared/parse.ts';
import { CONFIG_KEY, TEXT_LIMIT } from '../shared/schema.ts';
import { type Fields, numberOrText } from './form-text.ts';
import type { StationSettings } from './station-queries.ts';

export type Problems = ReadonlyMap<string, string>;

/** Values by key of `system_config`. */
export type SettingsOutcome = { ok: true; changes: Record<string, unknown> } | { ok: false; problems: Problems };

const NAME_ALLOWED = `text of at most ${TEXT_LIMIT.name} printable characters`;
const LATITUDE_ALLOWED = 'degrees from -90 (South Pole) to 90 (North Pole), for example 52.5163';
const LONGITUDE_ALLOWED = 'degrees from -180 (west) to 180 (east), for example 13.3777';

const placeSchema = section({
  name: z
    .string(NAME_ALLOWED)
    .max(TEXT_LIMIT.name, NAME_ALLOWED)
    .refine((name) => !/[\p{Cc}\p{Cs}]/u.test(name), NAME_ALLOWED),
  latitude: z.number(LATITUDE_ALLOWED).min(-90, LATITUDE_ALLOWED).max(90, LATITUDE_ALLOWED).nullable(),
  longitude: z.number(LONGITUDE_ALLOWED).min(-180, LONGITUDE_ALLOWED).max(180, LONGITUDE_ALLOWED).nullable(),
});

/** The form as it is stored. */
export function placeForm({ name, position }: Pick<StationSettings, 'name' | 'position'>) {
  return { name, latitude: String(position?.latitude ?? ''), longitude: String(position?.longitude ?? '') };
}

/** Name and position. Without either degree there is no position; one alone is refused. */
export function readPlaceForm(fields: Fields): SettingsOutcome {
  const [latitude, longitude] = [degrees(fields.latitude), degrees(fields.longitude)];
  const given = { name: (fields.name ?? '').trim(), latitude, longitude };
  const parsed = parseWith(placeSchema, given, 'The station');
  const problems = new Map(parsed.ok ? [] : byPath(parsed.fields));
  if (latitude === null && longitude !== null)
    problems.set('latitude', `latitude: nothing was given; allowed is ${LATITUDE_ALLOWED}.`);
  if (longitude === null && latitude !== null)
    problems.set('longitude', `longitude: nothing was given; allowed is ${LONGITUDE_ALLOWED}.`);
  if (!parsed.ok || problems.size > 0) return { ok: false, problems };
  const position = latitude === null ? null : { latitude: parsed.value.latitude, longitude: parsed.value.longitude };
  return { ok: true, changes: { [CONFIG_KEY.stationName]: parsed.value.name, [CONFIG_KEY.position]: position } };
}

/** The switches of the form are checkboxes: one that is not sent is off. */
export const SWITCHES = ['autoEnrollment', 'autoUpdate', 'liveListening'] as const;

/** The form as it is stored. */
export function switchesForm(settings: Pick<StationSettings, (typeof SWITCHES)[number]>): Record<string, string> {
  return Object.fromEntries(SWITCHES.map((name) => [name, settings[name] ? 'yes' : '']));
}

export function readSwitchesForm(fields: Fields): Record<string, boolean> {
  return Object.fromEntries(SWITCHES.map((name) => [CONFIG_KEY[name], fields[name] === 'yes']));
}

// ---------------------------------------------------------------------------------------------------------- alerts

export const ALERT_ADDRESSES = ['ntfyUrl', 'webhookUrl'] as const;
export const ALERT_LIMITS = ['notRecordingMinutes', 'silentMinutes', 'diskFullDays'] as const;

/** What is stored; what cannot be read counts as the defaults, as it does for the controller, and `problem` says why. */
export function storedAlerts(value: unknown): { alerts: AlertSettings; problem: string | null } {
  const parsed = parseWith(alertSettingsSchema, value, 'The alerts');
  if (parsed.ok) return { alerts: parsed.value, problem: null };
  return {
    alerts: DEFAULT_ALERT_SETTINGS,
    problem: parsed.fields.map(({ message }) => withoutQuotes(message)).join(' '),
  };
}

/** What a browser may see of the form as it is stored. */
export function limitsForm(alerts: AlertSettings): Record<string, string> {
  return Object.fromEntries(ALERT_LIMITS.map((name) => [name, String(alerts[name])]));
}

/** Addresses may hold passwords, so they never reach a browser again: one that is left empty stays as it is. */
export function readAlertsForm(
  fields: Fields,
  stored: AlertSettings,
): { ok: true; alerts: AlertSettings } | { ok: false; problems: Problems } {
  const addresses = ALERT_ADDRESSES.map((name) => {
    const typed = (fields[name] ?? '').trim();
    return [name, typed !== '' ? typed : fields[`${name}Remove`] === 'yes' ? null : stored[name]];
  });
  const limits = ALERT_LIMITS.flatMap((name) => {
    const typed = (fields[name] ?? '').trim();
    return typed === '' ? [] : [[name, numberOrText(typed)]];
  });
  const given = { ...Object.fromEntries([...addresses, ...limits]), testToken: stored.testToken };
  const parsed = parseWith(alertSettingsSchema, given, 'The alerts');
  return parsed.ok ? { ok: true, alerts: parsed.value } : { ok: false, problems: new Map(byPath(parsed.fields)) };
}

/** Enough to know which one it is: `https://ntfy.sh/…`. */
export function maskedAddress(address: string): string {
  if (!URL.canParse(address)) return '…';
  const { protocol, host } = new URL(address);
  return `${protocol}//${host}/…`;
}

/** A sentence about what is stored quotes it, or the beginning of it, and what is stored may hold a password. */
function withoutQuotes(message: string): string {
  return message.replace(/".*["…]/s, '“…”');
}

// --------------------------------------------------------------------------------------------------------- helpers

function byPath(problems: readonly FieldProblem[]): [string, string][] {
  return problems.map(({ path, message }) => [path, message]);
}

/** null: nothing was given. What is no number stays text, and is refused as such. */
function degrees(given: string | undefined): number | string | null {
  const value = (given ?? '').trim();
  return value === '' ? null : numberOrText(value);
}
