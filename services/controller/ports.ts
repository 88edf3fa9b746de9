/** The ports through which the controller reaches everything outside. Types only; adapters and fakes keep to them. */
import type { Heartbeat, LogLine, Processing, RecorderStatus } from '../shared/contract.ts';
import type {
  ActionOutcome,
  Changes,
  ContainerSpec,
  DesiredState,
  Explanation,
  Folders,
  ImageIds,
  Microphone,
  ObservedContainer,
  Reading,
  SecretVersions,
  ServiceFolders,
  SoundCard,
} from './world.ts';

export type DependencyState = { name: string; state: 'up' | 'down' | 'absent'; message: string; sinceMs: number };

/** Watches USB by itself; `read` hands out the last scan that two readings agreed on. */
export interface MicrophoneSource {
  start(onChange: () => void): void;
  read(): Reading<Microphone[]>;
  /** Which program has the microphone open, in words; null: none, or none that we may see. */
  holder(sound: SoundCard): string | null;
  dependency(): DependencyState;
  stop(): void;
}

export interface Store {
  /** Begins to connect in the background; `onAvailable` is called each time the database can be read (again). */
  start(onAvailable: () => void): void;
  /** One statement, at most 2 s. While the database is known to be away it fails at once. */
  read(): Promise<Reading<DesiredState>>;
  /** All or nothing. An empty change touches no connection. */
  write(changes: Changes): Promise<Reading<null>>;
  /** Makes an empty or foreign database ours: station id, config, profiles, devices, services of `state`. */
  adopt(state: DesiredState): Promise<Reading<null>>;
  dependency(): DependencyState;
  stop(): Promise<void>;
}

export interface Engine {
  /** Containers whose labels say `owner` and this station. Deadline 5 s. */
  list(stationId: string): Promise<Reading<ObservedContainer[]>>;
  /** Ids behind these tags. Deadline 5 s. */
  images(references: string[]): Promise<Reading<ImageIds>>;
  /**
   * Creates and starts; on failure leaves nothing behind that it knows of. `onStarted` is called when it runs: what is still
   * asked then is only how, and that waits for what `onStarted` answers with.
   */
  run(spec: ContainerSpec, onStarted?: () => Promise<void>): Promise<ActionOutcome>;
  /** Stops (SIGTERM, after `stopTimeoutS` SIGKILL) and removes. Already gone is done. */
  remove(containerId: string, stopTimeoutS: number): Promise<ActionOutcome>;
  tag(imageId: string, reference: string): Promise<ActionOutcome>;
  /**
   * Fetches an image; `onProgress` gets bytes so far and of all layers known so far. Given up after two minutes without
   * progress, or by `signal`.
   */
  pull(
    reference: string,
    onProgress: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<ActionOutcome>;
  /**
   * Follows what a container writes, from `sinceMs` (Unix) on. `onEnd` is called once, when it has ended or the stream
   * broke. Returns its cancellation.
   */
  followLog(containerId: string, sinceMs: number, onLine: (line: EngineLogLine) => void, onEnd: () => void): () => void;
  /** Follows engine events (died, removed, oom) of this station's containers; reconnects by itself and then calls once. */
  watch(stationId: string, onEvent: (containerName: string) => void): void;
  dependency(): DependencyState;
  stop(): Promise<void>;
}

export interface EngineLogLine {
  /** As the engine wrote it, to the nanosecond; later lines compare greater within one container. */
  timestamp: string;
  stream: 'stdout' | 'stderr';
  text: string;
}

export interface Bus {
  start(onNudge: () => void): void;
  /** Best effort: false where nobody could be told. */
  publish(heartbeat: Heartbeat): Promise<boolean>;
  /** Who reads logs now; 0 also where nobody can be asked. */
  logListeners(): Promise<number>;
  /** In this order, best effort. */
  publishLogs(lines: readonly LogLine[]): Promise<boolean>;
  dependency(): DependencyState;
  stop(): Promise<void>;
}

/** The folders on disk: what recorders write, and the controller's own last good state. */
export interface Workspaces {
  /** Makes the folders and clears what an earlier container left in the run folder. */
  prepare(folders: Folders): Promise<Reading<null>>;
  /** Tells whoever processes a device's segments what to do with them; writes only what differs. */
  writeProcessing(workspace: string, processing: Processing): Promise<Reading<null>>;
  /** null: missing or unparsable, which is "not advancing"; a failed reading is "unknown". */
  readStatus(workspace: string): Promise<Reading<RecorderStatus | null>>;
  /** Writes what services are told that run or should; only what differs. Tokens of all others are forgotten. */
  tellServices(services: readonly ServiceFolders[]): Promise<Reading<null>>;
  /** Which of these secrets of a service are there. */
  readSecrets(service: string, names: readonly string[]): Promise<Reading<SecretVersions>>;
  /** What a service of the catalogue has to tell; null: nothing, or nothing that can be read. */
  readReport(service: string): Promise<Reading<Explanation | null>>;
  /** The station id in the marker file; null: there is no marker. */
  readMarker(): Promise<Reading<string | null>>;
  writeMarker(stationId: string): Promise<Reading<null>>;
  readLastGood(): Promise<Reading<DesiredState | null>>;
  writeLastGood(state: DesiredState): Promise<Reading<null>>;
}
