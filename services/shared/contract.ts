/**
 * What the services say to each other, in one place: names, labels, environment, paths, exit codes, and the two JSON
 * documents (status file, heartbeat). A change here is a change for every service, and for containers that still run.
 */
import { z } from 'zod';
import { GAP_CAUSES, MAX_TOLD_GAPS, SAMPLE_FORMATS } from './recording.ts';

export * from './recording.ts';

/** Labels on every Tier 2 container. `owner` and `station` together say "ours"; anything else is foreign. */
export const LABEL = {
  tier: 'io.silvasonic.tier',
  owner: 'io.silvasonic.owner',
  station: 'io.silvasonic.station',
  service: 'io.silvasonic.service',
  deviceId: 'io.silvasonic.device_id',
  profile: 'io.silvasonic.profile',
  intent: 'io.silvasonic.intent',
  template: 'io.silvasonic.template',
} as const;

export const OWNER = 'controller';

/** A status file beyond this is not one of ours. Bytes. */
export const STATUS_FILE_MAX_BYTES = 64 * 1024;
/** File in the root of the recorder workspace that proves that the right disk is mounted. Holds the station id. */
export const WORKSPACE_MARKER_FILE = '.silvasonic-station';

/** Redis names. */
export const CHANNEL = {
  nudge: 'silvasonic:nudge',
  status: 'silvasonic:status',
  logs: 'silvasonic:logs',
} as const;
/** Redis key of one service's last heartbeat. */
export const statusKey = (instance: string): string => `silvasonic:status:${instance}`;
export const HEARTBEAT_INTERVAL_MS = 10_000;
export const HEARTBEAT_TTL_S = 30;

/**
 * The negotiated configuration of one recorder: what `negotiate` decided, complete, with nothing left to choose.
 * The recorder opens exactly this or exits 13.
 */
export const recorderConfigSchema = z.strictObject({
  /** Frames per second. */
  rate: z.int().min(4000).max(1_000_000),
  channels: z.int().min(1).max(32),
  format: z.enum(SAMPLE_FORMATS),
  /** Length of one file, seconds. */
  segmentSeconds: z.int().min(1).max(900),
  /** The processed copy that others make of a segment; carried along, not used by the recorder. */
  processed: z.strictObject({ gainDb: z.number().min(-60).max(60), highPassHz: z.number().min(0).max(200_000) }),
  archive: z.enum(['wav', 'flac']),
  watch: z.strictObject({
    /** At or below this level for `silentAfterSeconds` the microphone is called silent. dBFS. */
    silentBelowDbfs: z.number().min(-200).max(0),
    silentAfterSeconds: z.number().min(1).max(3600),
    /** At or above this peak a block is called clipped. dBFS. */
    clipAtDbfs: z.number().min(-60).max(0),
  }),
  /** Names the microphone in each file's metadata. */
  microphone: z.strictObject({
    deviceId: z.string().min(1).max(200),
    workspace: z.string().min(1).max(60),
    name: z.string().max(200),
    manufacturer: z.string().max(200),
    model: z.string().max(200),
    serial: z.string().max(200),
  }),
  station: z.strictObject({
    id: z.string().max(64),
    name: z.string().max(200),
    /** Degrees, WGS 84. */
    position: z
      .strictObject({ latitude: z.number().min(-90).max(90), longitude: z.number().min(-180).max(180) })
      .nullable(),
  }),
  /** Free space below which the recorder waits instead of writing. Bytes. */
  reserveBytes: z.int().min(0),
});
export type RecorderConfig = z.infer<typeof recorderConfigSchema>;

/**
 * What a recorder writes to its status file, at most once a second, atomically (write aside, rename).
 * (run, frames) is its position: the controller calls it advancing while that pair changes.
 */
export const recorderStatusSchema = z.object({
  schema: z.literal(1),
  /** Random name of this process's run; part of each segment's file name. */
  run: z.string().regex(/^[0-9a-z]{1,16}$/),
  state: z.enum(['starting', 'recording', 'retrying', 'no_space', 'stopping']),
  /** CamelCase, and a sentence for a person: why it is in that state. */
  reason: z.string().max(64),
  message: z.string().max(500),
  /** Frames captured by this run so far. */
  frames: z.number().min(0),
  rate: z.number().min(0),
  channels: z.number().min(0),
  format: z.string().max(16),
  levels: z.array(z.object({ rmsDbfs: z.number(), peakDbfs: z.number(), clipped: z.boolean() })).max(32),
  silent: z.boolean(),
  overruns: z.number().min(0),
  lostFrames: z.number().min(0),
  /** The last finished segment, or null before the first. Times are Unix milliseconds. */
  lastSegment: z.object({ name: z.string().max(200), startedAt: z.number(), frames: z.number() }).nullable(),
  /** Unix milliseconds by the recorder's clock. Never used to judge progress: clocks jump. */
  at: z.number(),
  // What follows is optional: the status files of earlier recorders, which still run, lack it.
  /** Seconds of sound that the device itself holds while this process does not read; null: not known. */
  bufferSeconds: z.number().min(0).nullable().optional(),
  /** How often the capture program was started anew inside this run. */
  restarts: z.number().min(0).optional(),
  /** The latest gaps, oldest first: when (Unix milliseconds), how many frames are in no file, and for what reason. */
  gaps: z
    .array(z.object({ at: z.number(), frames: z.number().min(0), cause: z.enum(GAP_CAUSES) }))
    .max(MAX_TOLD_GAPS)
    .optional(),
  clock: z
    .object({
      /** Whether the kernel knows its clock to be set by a time server or receiver; null: not known. */
      synchronised: z.boolean().nullable(),
      /** The latest steps of the clock: when by the new time (Unix milliseconds), by how many seconds. */
      steps: z.array(z.object({ at: z.number(), seconds: z.number() })).max(MAX_TOLD_GAPS),
    })
    .optional(),
  disk: z
    .object({
      /** Null: it could not be read. */
      freeBytes: z.number().min(0).nullable(),
      /** Sound in memory that waits to be written. */
      queuedBytes: z.number().min(0),
    })
    .optional(),
  /** Who hears the live sound now. */
  listeners: z.number().min(0).optional(),
});
export type RecorderStatus = z.infer<typeof recorderStatusSchema>;

/** Everything about one service that its heartbeat tells: Redis `silvasonic:status` and `silvasonic:status:<instance>`. */
export const heartbeatSchema = z.object({
  schema: z.literal(1),
  service: z.string().max(64),
  instance: z.string().max(200),
  version: z.string().max(64),
  /** Unix milliseconds. */
  at: z.number(),
  uptimeSeconds: z.number().min(0),
  /** Phase, reason and sentence, as in the database. */
  phase: z.string().max(32),
  reason: z.string().max(64),
  message: z.string().max(500),
  /** The service's own figures. */
  details: z.record(z.string(), z.unknown()),
});
export type Heartbeat = z.infer<typeof heartbeatSchema>;
