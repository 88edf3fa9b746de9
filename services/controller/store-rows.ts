/**
 * The database's answer, parsed row by row: what cannot be read is named among the problems and costs nothing but
 * itself. Nothing outside is touched.
 */
import { z } from 'zod';
import { alertSettingsSchema, DEFAULT_ALERT_SETTINGS } from '../shared/alerts.ts';
import { type Capabilities, capabilitiesSchema, parseDeviceSettings, parseProfileConfig } from '../shared/profile.ts';
import { CONFIG_KEY, DEVICE_PHASES, ENROLLMENT_STATUSES, SERVICE_PHASES } from '../shared/schema.ts';
import type { DesiredState, DeviceRow, ProfileRow, ServiceRow, StationConfig } from './world.ts';

/** What a key of `system_config` means while nobody has written it. */
export const DEFAULT_CONFIG: StationConfig = {
  name: '',
  position: null,
  autoEnrollment: true,
  autoUpdate: false,
  workspaceMarked: false,
  alerts: DEFAULT_ALERT_SETTINGS,
};

/** Rows come as the text of a JSON object: one that is told in the same words need not be parsed anew. */
const answerSchema = z.object({
  schema_at: z.coerce.number().nullable(),
  config: z.string(),
  profiles: z.array(z.string()),
  devices: z.array(z.string()),
  services: z.array(z.string()),
});

/** The one row that the reading statement answers with; its parts are not parsed yet. */
export type Answer = z.infer<typeof answerSchema>;

/** Throws when the answer is not of that form at all, which is a bug of ours. */
export function parseAnswer(row: unknown): Answer {
  return answerSchema.parse(row);
}

/**
 * Makes the function that turns an answer into the desired state. It remembers the last answer: whatever is told in the
 * same words is the very same object (frozen), and whoever compares it has nothing to do. It throws only when the station id is
 * unreadable: that must not look like none.
 */
export function createDesiredParser(): (answer: Answer) => DesiredState {
  const config = remembering(parseConfig);
  const profiles = remembering(rowParser('microphone_profiles', parseProfile));
  const devices = remembering(rowParser('devices', parseDevice));
  const services = remembering(rowParser('system_services', parseService));
  return (answer) => {
    const problems: string[] = [];
    const values = <T>(parts: Parsed<T>[]): T[] => {
      for (const part of parts) problems.push(...part.problems);
      return parts.flatMap(({ value }) => (value === null ? [] : [value]));
    };
    const [read] = values(config([answer.config]));
    if (read === undefined) throw new Error('system_config was not parsed');
    return {
      ...read,
      profiles: values(profiles(answer.profiles)),
      devices: values(devices(answer.devices)),
      services: values(services(answer.services)),
      problems,
    };
  };
}

/** null: it cannot be read at all, which is among the problems. */
interface Parsed<T> {
  value: T | null;
  problems: string[];
}

/** Parses many texts, those anew that were not among the last ones. */
function remembering<T>(parse: (text: string) => Parsed<T>): (texts: readonly string[]) => Parsed<T>[] {
  let last = new Map<string, Parsed<T>>();
  return (texts) => {
    const now = new Map<string, Parsed<T>>();
    for (const text of texts) now.set(text, last.get(text) ?? frozen(parse(text)));
    last = now;
    return texts.flatMap((text) => now.get(text) ?? []);
  };
}

/** It is handed out again and again: nobody may change it. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) frozen(part);
  }
  return value;
}

function parseStationId(value: unknown): string | null {
  if (value === undefined) return null;
  const parsed = z.uuid().safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Error(
    `system_config.${CONFIG_KEY.stationId} is ${shown(value)}; allowed is a UUID: restore it from the marker file in the recordings' folder.`,
  );
}

const latitude = z.number().min(-90).max(90);
const longitude = z.number().min(-180).max(180);

function parseConfig(text: string): Parsed<Pick<DesiredState, 'stationId' | 'config'>> {
  const config: Record<string, unknown> = JSON.parse(text);
  const problems: string[] = [];
  const settingOf = <T>(key: string, schema: z.ZodType<T>, fallback: T, allowed: string): T => {
    const value = config[key];
    if (value === undefined) return fallback;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    problems.push(
      `system_config.${key} is ${shown(value)}; allowed is ${allowed}. Until it is mended, ${shown(fallback)} counts.`,
    );
    return fallback;
  };
  const { name, position, autoEnrollment, autoUpdate, workspaceMarked, alerts } = DEFAULT_CONFIG;
  const place = z.object({ latitude, longitude }).nullable();
  const value: StationConfig = {
    name: settingOf(CONFIG_KEY.stationName, z.string().max(200), name, 'text of at most 200 characters'),
    position: settingOf(
      CONFIG_KEY.position,
      place,
      position,
      'latitude (-90 to 90) with longitude (-180 to 180), or null',
    ),
    autoEnrollment: settingOf(CONFIG_KEY.autoEnrollment, z.boolean(), autoEnrollment, 'true or false'),
    autoUpdate: settingOf(CONFIG_KEY.autoUpdate, z.boolean(), autoUpdate, 'true or false'),
    workspaceMarked: settingOf(CONFIG_KEY.workspaceMarked, z.boolean(), workspaceMarked, 'true or false'),
    alerts: settingOf(CONFIG_KEY.alerts, alertSettingsSchema, alerts, 'an object as the page writes it'),
  };
  return { value: { stationId: parseStationId(config[CONFIG_KEY.stationId]), config: value }, problems };
}

/** `parse` adds its own problems; a row that it throws at is left out. */
function rowParser<T>(table: string, parse: (row: unknown, problems: string[]) => T): (text: string) => Parsed<T> {
  return (text) => {
    const row: unknown = JSON.parse(text);
    const problems: string[] = [];
    try {
      return { value: parse(row, problems), problems };
    } catch (error) {
      if (!(error instanceof z.ZodError)) throw error;
      const [issue] = error.issues;
      const field = issue?.path.join('.') ?? '';
      const problem = `${table}: row ${shown(keyOf(row))} is left out, its ${field} cannot be read: ${issue?.message}.`;
      return { value: null, problems: [problem] };
    }
  };
}

const moment = z.string().transform((text, context) => {
  const unixMs = Date.parse(text);
  if (!Number.isNaN(unixMs)) return unixMs;
  context.addIssue({ code: 'custom', message: `${shown(text)} is no moment of this calendar` });
  return z.NEVER;
});
const count = z.int().min(0);

const profileSchema = z.object({
  slug: z.string(),
  name: z.string(),
  description: z.string(),
  manufacturer: z.string(),
  model: z.string(),
  is_system: z.boolean(),
  config: z.unknown(),
});

function parseProfile(row: unknown): ProfileRow {
  const { is_system, config, ...columns } = profileSchema.parse(row);
  const parsed = parseProfileConfig(config);
  return {
    ...columns,
    isSystem: is_system,
    config: parsed.ok ? parsed : { ok: false, message: parsed.message },
  };
}

const deviceSchema = z.object({
  id: z.string(),
  name: z.string(),
  vendor_id: z.string(),
  product_id: z.string(),
  serial: z.string().nullable(),
  serial_shared: z.boolean(),
  port_path: z.string(),
  product: z.string(),
  manufacturer: z.string(),
  capabilities: z.unknown(),
  status: z.enum(['online', 'offline']),
  enabled: z.boolean(),
  enrollment_status: z.enum(ENROLLMENT_STATUSES),
  decided_by: z.enum(['auto', 'person']).nullable(),
  profile_slug: z.string().nullable(),
  suggested_profile: z.string().nullable(),
  settings: z.unknown(),
  restart_token: z.string(),
  workspace: z.string(),
  first_seen: moment,
  last_seen: moment,
  generation: count,
  observed_generation: count,
  phase: z.enum(DEVICE_PHASES),
  reason: z.string(),
  message: z.string(),
});

function parseDevice(row: unknown, problems: string[]): DeviceRow {
  const columns = deviceSchema.parse(row);
  const settings = parseDeviceSettings(columns.settings);
  return {
    id: columns.id,
    name: columns.name,
    vendorId: columns.vendor_id,
    productId: columns.product_id,
    serial: columns.serial,
    serialShared: columns.serial_shared,
    portPath: columns.port_path,
    product: columns.product,
    manufacturer: columns.manufacturer,
    capabilities: parseCapabilities(columns.id, columns.capabilities, problems),
    status: columns.status,
    enabled: columns.enabled,
    enrollmentStatus: columns.enrollment_status,
    decidedBy: columns.decided_by,
    profileSlug: columns.profile_slug,
    suggestedProfile: columns.suggested_profile,
    settings: settings.ok ? settings : { ok: false, message: settings.message },
    restartToken: columns.restart_token,
    workspace: columns.workspace,
    firstSeenAt: columns.first_seen,
    lastSeenAt: columns.last_seen,
    generation: columns.generation,
    observedGeneration: columns.observed_generation,
    phase: columns.phase,
    reason: columns.reason,
    message: columns.message,
  };
}

/** Unreadable ones count as unknown: the hardware tells them anew whenever it is there. */
function parseCapabilities(id: string, value: unknown, problems: string[]): Capabilities {
  const parsed = capabilitiesSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  problems.push(`devices: the capabilities of ${shown(id)} cannot be read; they count as unknown.`);
  return { offers: [] };
}

/** Settings that no service has: writing them down again would overflow the stack. As text they are refused in words. */
const DEEPEST_SETTINGS = 32;
const serviceSettings = z
  .unknown()
  .transform((settings) => (isDeeperThan(settings, DEEPEST_SETTINGS) ? 'groups within groups without end' : settings));

const serviceSchema = z.object({
  name: z.string(),
  enabled: z.boolean(),
  settings: serviceSettings,
  restart_token: z.string(),
  generation: count,
  observed_generation: count,
  phase: z.enum(SERVICE_PHASES),
  reason: z.string(),
  message: z.string(),
});

function parseService(row: unknown): ServiceRow {
  const { restart_token, observed_generation, ...columns } = serviceSchema.parse(row);
  return { ...columns, restartToken: restart_token, observedGeneration: observed_generation };
}

function keyOf(row: unknown): unknown {
  if (typeof row !== 'object' || row === null) return row;
  return Reflect.get(row, 'id') ?? Reflect.get(row, 'slug') ?? Reflect.get(row, 'name');
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((one) => isDeeperThan(one, levels - 1));
}

function shown(value: unknown): string {
  if (isDeeperThan(value, DEEPEST_SETTINGS)) return 'something without end';
  const written = JSON.stringify(value) ?? String(value);
  return written.length > 80 ? `${written.slice(0, 79)}…` : written;
}
