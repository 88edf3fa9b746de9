/** One picture of the station: rows, what recorders say of themselves, heartbeats, and what could not be had. */
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os';
import { type Heartbeat, type ProcessorStatus, type RecorderStatus, UPDATE_WAITING } from '../shared/contract.ts';
import type { BusState } from './ports.ts';
import type { DeviceRow, EventRow, ProfileRow, ServiceRow, StationRows, StationSettings } from './station-queries.ts';
import type { DiskSpace, StatusFiles, StatusReading } from './status-files.ts';

export interface DevicePicture {
  row: DeviceRow;
  profile: ProfileRow | null;
  /** Of one that records or tries to; null of all others. */
  status: StatusReading<RecorderStatus> | null;
  /** What a person changed is in effect. */
  inEffect: boolean;
  updateWaiting: boolean;
}

export interface HostLoad {
  average1m: number;
  cpus: number;
  memoryFreeBytes: number;
  memoryTotalBytes: number;
}

export interface StationPicture {
  settings: StationSettings;
  devices: DevicePicture[];
  services: ServiceRow[];
  profiles: ProfileRow[];
  events: EventRow[];
  host: HostLoad;
  disk: DiskSpace | null;
  processor: ProcessorStatus | null;
  bus: BusState;
  /** By instance; empty without Redis. */
  heartbeats: ReadonlyMap<string, Heartbeat>;
  /** The controller has not been heard for half a minute, although it could have been: its rows may no longer be true. */
  controllerSilent: boolean;
  /** Why the rows are those of the last good reading; null: they are fresh. */
  databaseProblem: string | null;
}

/** Phases in which a recorder runs, or did a moment ago: only then its status file says something. */
const ACTIVE_PHASES: ReadonlySet<string> = new Set(['starting', 'recording', 'stalled', 'waiting', 'blocked']);

export interface PictureSources {
  rows: StationRows;
  files: StatusFiles;
  bus: BusState;
  heartbeats: ReadonlyMap<string, Heartbeat>;
  controllerSilent: boolean;
  databaseProblem: string | null;
}

/** Looks at the status files of what is active, and puts all together. */
export async function takePicture(sources: PictureSources): Promise<StationPicture> {
  const { rows, files } = sources;
  const [statuses, processor, disk] = await Promise.all([
    Promise.all(rows.devices.map((row) => (isActive(row) ? files.recorder(row.workspace) : null))),
    files.processor(),
    files.disk(),
  ]);
  return {
    settings: rows.settings,
    devices: rows.devices.map((row, index) => picture(row, statuses[index] ?? null, rows.profiles)),
    services: rows.services,
    profiles: rows.profiles,
    events: rows.events,
    host: {
      average1m: loadavg()[0] ?? 0,
      cpus: availableParallelism(),
      memoryFreeBytes: freemem(),
      memoryTotalBytes: totalmem(),
    },
    disk,
    processor: processor.kind === 'read' ? processor.value : null,
    bus: sources.bus,
    heartbeats: sources.heartbeats,
    controllerSilent: sources.controllerSilent,
    databaseProblem: sources.databaseProblem,
  };
}

/** A device that is wanted: it should record now. */
export function isWanted({ status, enabled, enrollmentStatus, profileSlug }: DeviceRow): boolean {
  return status === 'online' && enabled && enrollmentStatus === 'enrolled' && profileSlug !== null;
}

/** "3 of 4 recording": how many record, how many should. */
export function countRecording(picture: StationPicture): { recording: number; wanted: number } {
  const rows = picture.devices.map(({ row }) => row);
  return {
    recording: rows.filter(({ phase }) => phase === 'recording').length,
    wanted: rows.filter((row) => isWanted(row) || row.phase === 'recording').length,
  };
}

function isActive(row: DeviceRow): boolean {
  return ACTIVE_PHASES.has(row.phase) && row.status === 'online';
}

function picture(
  row: DeviceRow,
  status: StatusReading<RecorderStatus> | null,
  profiles: readonly ProfileRow[],
): DevicePicture {
  return {
    row,
    profile: profiles.find(({ slug }) => slug === row.profileSlug) ?? null,
    status,
    inEffect: row.generation === row.observedGeneration,
    updateWaiting: row.message.includes(UPDATE_WAITING.message),
  };
}
