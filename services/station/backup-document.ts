/**
 * A backup: what a person decided about a station, as JSON to read and to keep. Pure.
 *
 * In it: the station's settings, profiles that are not as the release brought them, every device with its decisions, the
 * services' settings. Not in it: the owner's password and sessions, addresses that alerts go to (they may hold
 * passwords), how anything fares, events, recordings.
 */
import { z } from 'zod';
import { type ParsedFields, parseWith } from '../shared/parse.ts';
import { ENROLLMENT_STATUSES } from '../shared/schema.ts';

/** Raised when an older release could misunderstand it. */
export const BACKUP_SCHEMA = 1;
/** No station has more: 500 devices, each with settings of a few kilobytes. */
export const BACKUP_MAX_BYTES = 32 * 1024 * 1024;

const object = z.record(z.string(), z.unknown());
const moment = z.iso.datetime({ offset: true });

const profileSchema = z.strictObject({
  slug: z.string(),
  name: z.string(),
  description: z.string().default(''),
  manufacturer: z.string().default(''),
  model: z.string().default(''),
  /** Came with a release, and was edited since. */
  isSystem: z.boolean().default(false),
  config: object,
});

const deviceSchema = z.strictObject({
  id: z.string(),
  /** Folder of its recordings. */
  workspace: z.string(),
  name: z.string(),
  enabled: z.boolean(),
  enrollmentStatus: z.enum(ENROLLMENT_STATUSES),
  decidedBy: z.enum(['auto', 'person']).nullable(),
  profileSlug: z.string().nullable(),
  settings: object,
  vendorId: z.string(),
  productId: z.string(),
  serial: z.string().nullable(),
  serialShared: z.boolean(),
  portPath: z.string(),
  product: z.string(),
  manufacturer: z.string(),
  capabilities: object,
  firstSeen: moment,
  lastSeen: moment,
});

const serviceSchema = z.strictObject({ name: z.string(), enabled: z.boolean(), settings: object });

const backupSchema = z.strictObject({
  kind: z.literal('silvasonic-backup'),
  schema: z.literal(BACKUP_SCHEMA),
  made: moment,
  /** Of Silvasonic. */
  release: z.string(),
  /** null: the database belonged to no station. */
  stationId: z.uuid().nullable(),
  /** Keys of `system_config`. */
  config: object,
  profiles: z.array(profileSchema),
  devices: z.array(deviceSchema),
  services: z.array(serviceSchema),
});

export type Backup = z.infer<typeof backupSchema>;
export type BackupProfile = Backup['profiles'][number];
export type BackupDevice = Backup['devices'][number];
export type BackupService = Backup['services'][number];

export function formatBackup(backup: Backup): string {
  return `${JSON.stringify(backup, null, 2)}\n`;
}

/** The message says what was given and what is allowed, without naming the file. */
export function parseBackup(text: string): ParsedFields<Backup> {
  if (text.length > BACKUP_MAX_BYTES) {
    return problem(`has ${text.length} characters, at most ${BACKUP_MAX_BYTES} are allowed.`);
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    return problem(`is not JSON: ${error instanceof Error ? error.message : String(error)}.`);
  }
  const { kind, schema } = Object(document) as Record<string, unknown>;
  if (kind !== 'silvasonic-backup')
    return problem('is no backup of Silvasonic: its "kind" is not "silvasonic-backup".');
  if (typeof schema === 'number' && schema > BACKUP_SCHEMA) {
    return problem(`has the schema ${schema}, and this release knows up to ${BACKUP_SCHEMA}: install a newer release.`);
  }
  return parseWith(backupSchema, document, 'the backup');
}

const problem = (message: string): ParsedFields<Backup> => ({ ok: false, message, fields: [] });
