/**
 * The last good state as a document: `DesiredState` to text and back. It outlives releases, so what is read is checked
 * like any other outside input.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { alertSettingsSchema, DEFAULT_ALERT_SETTINGS } from '../shared/alerts.ts';
import { deviceSettingsSchema, profileConfigSchema } from '../shared/profile.ts';
import type { DesiredState, Parsed } from './world.ts';

/** No station has more: 500 devices of a few kilobytes each. */
export const LAST_GOOD_MAX_BYTES = 16 * 1024 * 1024;

const parsed = <T extends z.ZodType>(value: T) =>
  z.discriminatedUnion('ok', [
    z.object({ ok: z.literal(true), value }),
    z.object({ ok: z.literal(false), message: z.string() }),
  ]);

const captureOfferSchema = z.object({
  format: z.string(),
  channels: z.number(),
  rates: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('list'), values: z.array(z.number()) }),
    z.object({ kind: z.literal('range'), min: z.number(), max: z.number() }),
  ]),
});

const statusColumns = {
  observedGeneration: z.number(),
  phase: z.enum([
    'offline',
    'pending',
    'ignored',
    'disabled',
    'waiting',
    'pulling',
    'starting',
    'recording',
    'running',
    'stalled',
    'backoff',
    'blocked',
    'stopping',
  ]),
  reason: z.string(),
  message: z.string(),
};

/** Unix milliseconds that a calendar has. */
const moment = z.number().min(-8.64e15).max(8.64e15);

const deviceSchema = z.object({
  ...statusColumns,
  id: z.string(),
  name: z.string(),
  vendorId: z.string(),
  productId: z.string(),
  serial: z.string().nullable(),
  serialShared: z.boolean(),
  portPath: z.string(),
  product: z.string(),
  manufacturer: z.string(),
  capabilities: z.object({ offers: z.array(captureOfferSchema) }),
  status: z.enum(['online', 'offline']),
  enabled: z.boolean(),
  enrollmentStatus: z.enum(['pending', 'enrolled', 'ignored']),
  decidedBy: z.enum(['auto', 'person']).nullable(),
  profileSlug: z.string().nullable(),
  suggestedProfile: z.string().nullable(),
  settings: parsed(deviceSettingsSchema),
  restartToken: z.string(),
  workspace: z.string(),
  firstSeenAt: moment,
  lastSeenAt: moment,
  generation: z.number(),
});

const profileSchema = z.object({
  slug: z.string(),
  name: z.string(),
  // Last good states of before it was kept have none.
  description: z.string().default(''),
  manufacturer: z.string(),
  model: z.string(),
  isSystem: z.boolean(),
  config: parsed(profileConfigSchema),
});

const serviceSchema = z.object({
  ...statusColumns,
  name: z.string(),
  enabled: z.boolean(),
  settings: z.unknown(),
  restartToken: z.string(),
  generation: z.number(),
});

const stateSchema: z.ZodType<DesiredState> = z.object({
  stationId: z.string().nullable(),
  config: z.object({
    name: z.string(),
    position: z.object({ latitude: z.number(), longitude: z.number() }).nullable(),
    autoEnrollment: z.boolean(),
    autoUpdate: z.boolean(),
    workspaceMarked: z.boolean(),
    // Last good states of before there were alerts have none; one that cannot be read costs no recording.
    alerts: alertSettingsSchema.default(DEFAULT_ALERT_SETTINGS).catch(DEFAULT_ALERT_SETTINGS),
  }),
  profiles: z.array(profileSchema),
  devices: z.array(deviceSchema),
  services: z.array(serviceSchema),
  problems: z.array(z.string()),
});

const documentSchema = z.object({ schema: z.literal(1), state: stateSchema });

/** The document's text. */
export function formatLastGood(state: DesiredState): string {
  return `${JSON.stringify({ schema: 1, state })}\n`;
}

/** The message says what is wrong with the text, without naming its file. */
export function parseLastGood(text: string): Parsed<DesiredState> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    // It quotes the text, which may hold anything.
    const why = error instanceof Error ? error.message : String(error);
    return { ok: false, message: why.replace(/\p{Cc}/gu, ' ') };
  }
  const result = documentSchema.safeParse(document);
  if (result.success) return { ok: true, value: result.data.state };
  const [issue] = result.error.issues;
  return { ok: false, message: issue === undefined ? 'unknown form' : `${issue.path.join('.')}: ${issue.message}` };
}

/**
 * Equal for states that ask for the same. What merely reports (phases, who is plugged in, when) changes all the time,
 * is found out again by the next cycle, and is not worth a write to an SD card.
 */
export function wishFingerprint(state: DesiredState): string {
  const quiet = { observedGeneration: 0, phase: null, reason: '', message: '' };
  const wishes = {
    ...state,
    profiles: ordered(state.profiles, ({ slug }) => slug),
    devices: ordered(
      state.devices.map((device) => ({ ...device, ...quiet, status: null, lastSeenAt: 0 })),
      ({ id }) => id,
    ),
    services: ordered(
      state.services.map((service) => ({ ...service, ...quiet })),
      ({ name }) => name,
    ),
    problems: [],
  };
  return createHash('sha256').update(JSON.stringify(wishes, sortedKeys)).digest('hex');
}

function ordered<T>(rows: T[], key: (row: T) => string): T[] {
  return rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** For `JSON.stringify`: the order of an object's keys says nothing, and differs between database and file. */
function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
