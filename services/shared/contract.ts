/**
 * What the services say to each other, in one place: names, labels, environment, paths, exit codes, and the two JSON
 * documents (status file, heartbeat). A change here is a change for every service, and for containers that still run.
 */
import { z } from 'zod';
import {
  formatSegmentName,
  GAP_CAUSES,
  MAX_TOLD_GAPS,
  parseSegmentName,
  SAMPLE_FORMATS,
  type SegmentName,
} from './recording.ts';

export * from './recording.ts';
export * from './service-contract.ts';

/** Labels on every Tier 2 container. `owner` and `station` together say "ours"; anything else is foreign. */
export const LABEL = {
  tier: 'io.silvasonic.tier',
  owner: 'io.silvasonic.owner',
  station: 'io.silvasonic.station',
  service: 'io.silvasonic.service',
  deviceId: 'io.silvasonic.device_id',
  /** One stay of a microphone on a port: whoever bears it holds that microphone as long as it lives. */
  incarnation: 'io.silvasonic.incarnation',
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

/** What a subject's message says, maybe among other sentences, while a newer release waits for its next restart. */
export const UPDATE_WAITING = {
  reason: 'UpdateWaiting',
  message: 'An update waits for the next restart; “apply now” does it at once.',
} as const;

/** One line that a Tier 2 container wrote: Redis `silvasonic:logs`, only while somebody is subscribed. */
export const logLineSchema = z.object({
  schema: z.literal(1),
  service: z.string().max(64),
  /** As in heartbeats: `recorder-<workspace>`, or the service's name. */
  instance: z.string().max(200),
  /** Unix milliseconds. */
  at: z.number(),
  stream: z.enum(['stdout', 'stderr']),
  /** Without its line break; a longer line is cut. */
  text: z.string().max(4000),
});
export type LogLine = z.infer<typeof logLineSchema>;

/** What every service may tell a person in its status file, beside whatever else stands there. `Fine`: nothing. */
export const serviceReportSchema = z.object({ reason: z.string().min(1).max(64), message: z.string().max(500) });
export const NOTHING_TO_REPORT = 'Fine';

/** Where a service of the catalogue finds the recordings and its run folder inside its container. */
export const SERVICE_PATH = { recordings: '/app/recordings', run: '/run/silvasonic' } as const;
/** In the run path of the host: the folder of the services' run folders, apart from those of the recorders. */
export const SERVICE_RUN_FOLDER = 'services';

/** The day (UTC) under which a segment and what is made of it lie, `YYYY-MM-DD`. */
export function segmentDay(segment: SegmentName): string {
  return segment.startedAt.toISOString().slice(0, 10);
}

/**
 * What the processor makes of a segment. In `data/processed/<day>/`, under the segment's name with another ending:
 * `flac` the copy at 48 kHz, `png` the spectrogram, `json` the overview. In `data/raw/<day>/`: `flac`, the archive form.
 */
export const DERIVED_ENDINGS = ['flac', 'png', 'json'] as const;
export type DerivedEnding = (typeof DERIVED_ENDINGS)[number];

export function formatDerivedName(segment: SegmentName, ending: DerivedEnding): string {
  return `${formatSegmentName(segment).slice(0, -'wav'.length)}${ending}`;
}

/** Parses such a name; null for any that `formatDerivedName` would not have made. */
export function parseDerivedName(name: string): { segment: SegmentName; ending: DerivedEnding } | null {
  const ending = DERIVED_ENDINGS.find((one) => name.endsWith(`.${one}`));
  if (ending === undefined) return null;
  const segment = parseSegmentName(`${name.slice(0, -ending.length)}wav`);
  return segment === null ? null : { segment, ending };
}

/** File in the root of a device's workspace, written by the controller: what the processor makes of its segments. */
export const PROCESSING_FILE = 'processing.json';
/** Such a file beyond this is not one of ours. Bytes. */
export const PROCESSING_FILE_MAX_BYTES = 4096;

export const processingSchema = z.strictObject({
  /** Of the copy, not of the recording. */
  gainDb: z.number().min(-60).max(60).default(0),
  /** 0: none. Of the copy, not of the recording. */
  highPassHz: z.number().min(0).max(200_000).default(0),
  /** `flac`: a recording is kept as FLAC once its copies are made; no sample changes. */
  archive: z.enum(['wav', 'flac']).default('wav'),
});
export type Processing = z.infer<typeof processingSchema>;

/** Environment of the processor. The two folders may be moved for a processor outside any container. */
export const PROCESSOR_ENV = {
  configJson: 'SILVASONIC_PROCESSOR_CONFIG_JSON',
  recordings: 'SILVASONIC_PROCESSOR_RECORDINGS',
  run: 'SILVASONIC_PROCESSOR_RUN',
} as const;
export const PROCESSOR_EXIT = { askedToStop: 0, folderUnwritable: 14, badConfig: 64 } as const;

const GIBIBYTE = 1024 ** 3;

export const processorConfigSchema = z.strictObject({
  /** Free space that is kept: so many bytes, or this share of the disk, whichever is more. */
  reserveBytes: z
    .int()
    .min(0)
    .default(2 * GIBIBYTE),
  reservePercent: z.number().min(0).max(90).default(5),
  /** What goes when copies alone give not enough room: nothing, or the oldest recordings. */
  retention: z.enum(['keep', 'overwrite']).default('keep'),
  /** For devices without a `processing.json`. */
  processing: processingSchema.default({ gainDb: 0, highPassHz: 0, archive: 'wav' }),
});
export type ProcessorConfig = z.infer<typeof processorConfigSchema>;

/** The overview of one segment: enough to draw it without its sound. */
export const overviewSchema = z.strictObject({
  schema: z.literal(1),
  /** Of the recording: frames per second, and what its samples really use (a 32-bit file may hold 24). */
  rate: z.number().min(1),
  channels: z.number().min(1),
  frames: z.number().min(1),
  usedBits: z.number().min(0).max(32),
  /** Of all channels together, full scale is 32767; equally long stretches of time from begin to end. */
  minimum: z.array(z.int().min(-32768).max(32767)).max(1000),
  maximum: z.array(z.int().min(-32768).max(32767)).max(1000),
});
export type Overview = z.infer<typeof overviewSchema>;

/** How many broken recordings a status names at most. */
export const MOST_BROKEN_NAMED = 20;

/** What the processor writes to its status file (`STATUS_FILE` in its run folder), at most once a second, atomically. */
export const processorStatusSchema = z.object({
  schema: z.literal(1),
  /** Random name of this process's run. */
  run: z.string().regex(/^[0-9a-z]{1,16}$/),
  /**
   * `idle`: all is done. `paused`: too little room for copies; recording goes on. `full`: the reserve is used up and
   * nothing may be removed. `retrying`: something outside it fails.
   */
  state: z.enum(['starting', 'idle', 'working', 'paused', 'full', 'retrying', 'stopping']),
  /** CamelCase, and a sentence for a person. */
  reason: z.string().max(64),
  message: z.string().max(500),
  /** Grows with each look at the disk and each finished piece of work, also while there is nothing to do. */
  steps: z.number().min(0),
  /** Recordings completed by this run, and recordings that still lack something. */
  done: z.number().min(0),
  backlog: z.number().min(0),
  /** Recordings that nothing can be made of, and the folders that cannot be read; they stay as they are. */
  broken: z.array(z.object({ name: z.string().max(300), message: z.string().max(300) })).max(MOST_BROKEN_NAMED),
  brokenCount: z.number().min(0),
  /** Removed by this run to keep the reserve: recordings whose copies went, and recordings that went. */
  removed: z.object({ copies: z.number().min(0), recordings: z.number().min(0) }),
  /** null before the first look. */
  disk: z
    .object({
      freeBytes: z.number(),
      totalBytes: z.number(),
      reserveBytes: z.number(),
      /** What the recordings of the last week took per day. null: less than an hour is known. */
      growthBytesPerDay: z.number().nullable(),
      /** Until recordings alone have filled it up to the reserve. null: unknown, or `overwrite` keeps it from filling. */
      fullInDays: z.number().nullable(),
    })
    .nullable(),
  /** Unix milliseconds. */
  at: z.number(),
});
export type ProcessorStatus = z.infer<typeof processorStatusSchema>;
