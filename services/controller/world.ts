/**
 * The world as the controller sees it: the data that flows from observation to action, and, from `ports`, what it reaches
 * the outside through. Types only; no behaviour, no clock, no adapter.
 *
 * Terms
 *   microphone   a USB device that can capture sound, as one scan saw it
 *   incarnation  one stay of a device on a port; a replug is a new one, and the PCM opened on the old one is dead
 *   device       the row that remembers a microphone for ever
 *   subject      what containers are made for: one device (`recorder:<id>`) or one service (`service:<name>`)
 *   wish         what should be true of a subject in this cycle
 *   reading      an observation that may have failed; failed is never the same as empty
 */
import type { AlertSettings } from '../shared/alerts.ts';
import type { Processing, ToldMicrophones } from '../shared/contract.ts';
import type { Parsed } from '../shared/parse.ts';
import type { Capabilities, DeviceSettings, ProfileConfig } from '../shared/profile.ts';

export type { Clock } from '../shared/clock.ts';
export type { Parsed } from '../shared/parse.ts';
export type * from './ports.ts';

/** An observation. `startedAtMs` (monotonic) is when it began: it tells nothing of what happened after that. */
export type Reading<T> =
  | { ok: true; value: T; startedAtMs: number }
  | { ok: false; error: string; startedAtMs: number };

/** CamelCase word for programs, sentence for people. */
export interface Explanation {
  reason: string;
  message: string;
}

// ---------------------------------------------------------------------------------------------------- microphones

export interface DeviceNode {
  /** On the host, e.g. `/dev/snd/pcmC1D0c`. */
  path: string;
  major: number;
  minor: number;
}

export interface SoundCard {
  card: number;
  device: number;
  /** What `arecord -D` opens: `hw:1,0`, or `virtual`. */
  hw: string;
  /** Whose card it must be when it is opened, as `formatUsbDevice` writes it; empty: virtual. */
  usbDevice: string;
  /** `controlC<N>` and `pcmC<N>D<D>c`; none for a virtual microphone. */
  nodes: DeviceNode[];
  capabilities: Capabilities;
}

export interface Microphone {
  /** Port path, device number, card and node numbers: equal means the very same stay of the very same thing. */
  incarnation: string;
  /** The host controller's sysfs path and the ports from there on; the same after any reboot. */
  portPath: string;
  /** Four hexadecimal digits, lower case. */
  vendorId: string;
  productId: string;
  /** Cleaned: printable, at most 128 characters, no rate prefix (AudioMoth). null: none. */
  serial: string | null;
  product: string;
  manufacturer: string;
  /** `plain`: captures and nothing else. `composite`: capture beside video or playback, or an interface we don't know. */
  kind: 'plain' | 'composite';
  /** null: no card (yet), and `obstacle` says why. */
  sound: SoundCard | null;
  /** Why it cannot record as it is. `lasting`: waiting does not help, a person must act. */
  obstacle: (Explanation & { lasting: boolean }) | null;
  virtual: boolean;
}

// -------------------------------------------------------------------------------------------------- desired state

export type EnrollmentStatus = 'pending' | 'enrolled' | 'ignored';
export type Phase =
  | 'offline'
  | 'pending'
  | 'ignored'
  | 'disabled'
  | 'waiting'
  | 'starting'
  | 'recording'
  | 'stalled'
  | 'backoff'
  | 'blocked'
  | 'stopping';
export type ServicePhase =
  | 'disabled'
  | 'pulling'
  | 'starting'
  | 'running'
  | 'stalled'
  | 'backoff'
  | 'blocked'
  | 'stopping';

/** The columns that tell a person how a subject fares. The controller writes them, nobody else. */
export interface StatusColumns {
  observedGeneration: number;
  phase: Phase | ServicePhase;
  reason: string;
  message: string;
}

export interface DeviceRow extends StatusColumns {
  id: string;
  name: string;
  vendorId: string;
  productId: string;
  serial: string | null;
  serialShared: boolean;
  portPath: string;
  product: string;
  manufacturer: string;
  capabilities: Capabilities;
  status: 'online' | 'offline';
  enabled: boolean;
  enrollmentStatus: EnrollmentStatus;
  /** Who settled enrolment and profile: nobody yet, our rules, or a person. */
  decidedBy: 'auto' | 'person' | null;
  profileSlug: string | null;
  suggestedProfile: string | null;
  settings: Parsed<DeviceSettings>;
  restartToken: string;
  workspace: string;
  /** Unix milliseconds. */
  firstSeenAt: number;
  lastSeenAt: number;
  generation: number;
}

export interface ProfileRow {
  slug: string;
  name: string;
  description: string;
  manufacturer: string;
  model: string;
  isSystem: boolean;
  config: Parsed<ProfileConfig>;
}

export interface ServiceRow extends StatusColumns {
  name: string;
  enabled: boolean;
  settings: unknown;
  restartToken: string;
  generation: number;
}

export interface StationConfig {
  name: string;
  position: { latitude: number; longitude: number } | null;
  autoEnrollment: boolean;
  autoUpdate: boolean;
  /** Once true, the marker file must be there before anything is recorded. */
  workspaceMarked: boolean;
  alerts: AlertSettings;
}

/** All that the database says, read in one statement. */
export interface DesiredState {
  /** null: the database has never belonged to a station. */
  stationId: string | null;
  config: StationConfig;
  profiles: ProfileRow[];
  devices: DeviceRow[];
  services: ServiceRow[];
  /** Rows and keys that could not be read, each named; they affect nothing but themselves. */
  problems: string[];
}

// -------------------------------------------------------------------------------------------- changes to the rows

/** Columns that say what the hardware is; a person's columns are never among them. */
export interface DeviceFacts {
  vendorId: string;
  productId: string;
  serial: string | null;
  serialShared: boolean;
  portPath: string;
  product: string;
  manufacturer: string;
  capabilities: Capabilities;
  status: 'online' | 'offline';
  /** Unix milliseconds; written on going offline only. */
  lastSeenAt: number;
  suggestedProfile: string | null;
}

export interface EnrollmentDecision {
  enrollmentStatus: EnrollmentStatus;
  profileSlug: string | null;
  decidedBy: 'auto' | null;
}

export type DeviceChange =
  | { kind: 'insert'; id: string; workspace: string; name: string; facts: DeviceFacts; enrollment: EnrollmentDecision }
  | { kind: 'update'; id: string; facts: Partial<DeviceFacts> }
  /** Applied only while the row is still `pending` and undecided: a person who was faster wins. */
  | { kind: 'enroll'; id: string; enrollment: EnrollmentDecision }
  | { kind: 'forget'; id: string };

export interface StatusChange extends StatusColumns {
  subject: { kind: 'device'; id: string } | { kind: 'service'; name: string };
}

/** Something worth telling. Repeats of (subject, reason, message) raise a count instead of adding rows. */
export interface StationEvent extends Explanation {
  /** A subject key, or `station`. */
  subject: string;
  type: 'normal' | 'warning';
}

export interface Changes {
  devices: DeviceChange[];
  statuses: StatusChange[];
  events: StationEvent[];
  config: { workspaceMarked?: true };
}

// ----------------------------------------------------------------------------------------------------- containers

export interface Limits {
  memoryBytes: number;
  /** Whole CPUs, e.g. 0.5. */
  cpus: number;
  pids: number;
  oomScoreAdj: number;
  logBytes: number;
}

export interface Bind {
  /** Absolute path on the host. */
  source: string;
  /** Absolute path in the container. */
  target: string;
  readOnly: boolean;
}

export interface PublishedPort {
  /** IP address of the host. */
  address: string;
  port: number;
  /** Of the container. */
  container: number;
}

/** A Tier 2 container, complete. It cannot be built without limits. */
export interface ContainerSpec {
  name: string;
  /** Fully qualified, with tag; or an image's id. */
  image: string;
  env: Record<string, string>;
  labels: Record<string, string>;
  network: string;
  binds: Bind[];
  devices: DeviceNode[];
  limits: Limits;
  capabilities: string[];
  readOnlyRoot: boolean;
  /** tmpfs mounts, target → size in bytes. */
  tmpfs: Record<string, number>;
  /** Seconds between SIGTERM and SIGKILL. */
  stopTimeoutS: number;
  // What follows only services of the catalogue have. null: as the image says.
  ports: PublishedPort[];
  entrypoint: string[] | null;
  command: string[] | null;
  user: string | null;
}

export interface ObservedContainer {
  id: string;
  name: string;
  imageId: string;
  /** `live`: running or paused. `ended`: exited or dead. `created`: never started. `moving`: the engine is at it. */
  state: 'live' | 'ended' | 'created' | 'moving';
  /** Only of an ended one, where the engine knows it. */
  exitCode: number | null;
  oomKilled: boolean;
  labels: Record<string, string>;
}

/** Image ids behind the tags that a spec may name; null: no such image here. */
export type ImageIds = Record<string, string | null>;

/** How an image that is not here comes along; `message` is a sentence. */
export interface PullState {
  /** `pulling`: under way, or about to be tried again. */
  kind: 'pulling' | 'waiting';
  message: string;
}

/** What one action came to. `lookAgain`: no failure, the world was not as planned. */
export type ActionOutcome =
  | { kind: 'done'; containerId: string | null; refusedLimits: Explanation[] }
  | ({ kind: 'failed' } & Explanation)
  /** Waiting does not help; tried again when its input changes, or slowly. */
  | ({ kind: 'blocked' } & Explanation)
  | { kind: 'lookAgain'; message: string }
  /** No answer within the deadline: unknown until the next reading. */
  | { kind: 'unknown'; message: string };

// ------------------------------------------------------------------------------------------------ wishes and actions

/** `recorder:<device id>` or `service:<name>`: what back-off, actions and events are counted by. */
export type SubjectKey = string;

interface WishBase extends Explanation {
  subject: SubjectKey;
  target: StatusChange['subject'];
  generation: number;
  /** The columns as the database has them, so that nothing is written twice. */
  told: StatusColumns;
}

export type Wish =
  /** One container, this one. It is started, kept, replaced. `message` adds what a person should know (warnings). */
  | (WishBase & {
      kind: 'run';
      spec: ContainerSpec;
      /** What a person or the hardware decided: differs = replaced now. */
      intent: string;
      /** What the release decided: differs = "update waiting". null: unknown, differs from nothing. */
      template: string | null;
      /** null: the image is not there, so nothing can be started. */
      imageId: string | null;
      /** A recorder's workspace has a status file; of a service nothing tells whether it advances, living is enough. */
      folders: Folders;
      /** What is to be done with a recorder's finished segments; takes effect without a restart. */
      processing: Processing | null;
      /** Which program holds the microphone, where it was found busy and the holder is visible. */
      holder: string | null;
      /** Why nothing is started just now, though what runs goes on. null: it may be. */
      notNow: Explanation | null;
    })
  /** No container. What runs is stopped. */
  | (WishBase & { kind: 'off'; phase: Phase | ServicePhase })
  /** What runs goes on, whatever it is; nothing is started. */
  | (WishBase & { kind: 'hold'; phase: Phase | ServicePhase; untilMs: number | null });

export type Action =
  | ({ kind: 'run'; subject: SubjectKey; spec: ContainerSpec; folders: Folders; imageId: string } & Explanation)
  | ({ kind: 'remove'; subject: SubjectKey; containerId: string; stopTimeoutS: number } & Explanation)
  | ({ kind: 'tag'; subject: SubjectKey; imageId: string; reference: string } & Explanation);

/** Whose folders must be there before a container is made: an engine would make missing ones itself, empty. */
export type Folders = { kind: 'recorder'; workspace: string } | ({ kind: 'service' } & ServiceFolders);

export interface ServiceFolders {
  name: string;
  /** Names of its own folders that are kept. */
  kept: string[];
  /** What it is told in its run folder; null: nothing. */
  microphones: ToldMicrophones | null;
  /** It gets a token for live sound, and a playlist of `microphones` that have an address. */
  liveSound: boolean;
}

/**
 * Which secrets of a service are there: name → what changes when the file does; `open`: others may read it; `foreign`: it
 * belongs to another user, so the service could not read it; or null.
 */
export type SecretVersions = Record<string, string | 'open' | 'foreign' | null>;

export interface FinishedAction {
  action: Action;
  outcome: ActionOutcome;
  endedAtMs: number;
}
