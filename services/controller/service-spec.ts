/**
 * The container of a service of the catalogue, and what the service is told of the station. Of its row only switch,
 * settings and token count; everything else stands in the catalogue's file on disk. Pure.
 */
import type { CatalogueEntry } from '../shared/catalogue.ts';
import {
  LABEL,
  livePath,
  OWNER,
  RECORDER_ENV,
  SERVICE_PATH,
  SERVICE_RUN_FOLDER,
  SERVICE_SECRETS_PATH,
  type ToldMicrophones,
} from '../shared/contract.ts';
import { type Container, containerName, hash, type Operator, STOP_TIMEOUT_S, templateHash } from './container-spec.ts';
import type {
  Bind,
  ContainerSpec,
  DeviceRow,
  SecretVersions,
  ServiceFolders,
  ServiceRow,
  StationConfig,
} from './world.ts';

const MEBIBYTE = 1024 * 1024;
const TMPFS_BYTES = 64 * MEBIBYTE;
/** Without any capability. Its folders are root's; rootless, that is the user whom the station runs as. */
const USER = '0:0';

export interface ServiceInput {
  row: ServiceRow;
  entry: CatalogueEntry;
  /** In effect, each as the catalogue allows. */
  settings: Record<string, unknown>;
  secrets: SecretVersions;
  microphones: ToldMicrophones;
  imageId: string | null;
  config: StationConfig;
  operator: Operator;
}

/** Microphones that should record, with what was settled for them (device id → rate and channels). */
export function toldMicrophones(
  rows: readonly DeviceRow[],
  audio: ReadonlyMap<string, { rate: number; channels: number }>,
  { name, position }: StationConfig,
  pageUrl: string,
): ToldMicrophones {
  const wanted = rows.filter((row) => row.enabled && row.enrollmentStatus === 'enrolled' && row.profileSlug !== null);
  const microphones = wanted.map((row) => ({
    workspace: row.workspace,
    name: row.name || row.product,
    rate: audio.get(row.id)?.rate ?? null,
    channels: audio.get(row.id)?.channels ?? null,
    recording: row.phase === 'recording',
    live: `${pageUrl}${livePath(row.workspace)}`,
  }));
  microphones.sort((a, b) => (a.workspace < b.workspace ? -1 : 1));
  return { schema: 1, station: { name, position }, microphones };
}

/** What this service gets to know of all that. */
export function serviceFolders({
  row,
  entry,
  microphones,
}: Pick<ServiceInput, 'row' | 'entry' | 'microphones'>): ServiceFolders {
  const { liveSound } = entry.station;
  const told = entry.station.microphones !== 'none' || liveSound;
  const hidden = microphones.microphones.map((one) => ({ ...one, live: liveSound ? one.live : null }));
  return {
    name: row.name,
    kept: Object.keys(entry.folders),
    microphones: told ? { ...microphones, microphones: hidden } : null,
    liveSound,
  };
}

export function serviceContainer(input: ServiceInput): Container {
  const { row, entry, settings, imageId, operator } = input;
  const spec: ContainerSpec = {
    name: containerName(operator.stationId, row.name),
    image: entry.image,
    env: environmentOf(input),
    labels: {
      [LABEL.tier]: '2',
      [LABEL.owner]: OWNER,
      [LABEL.station]: operator.stationId,
      [LABEL.service]: row.name,
    },
    network: entry.network === 'none' ? 'none' : operator.network,
    binds: bindsOf(input),
    devices: [],
    limits: {
      memoryBytes: entry.limits.memoryMebibytes * MEBIBYTE,
      cpus: entry.limits.cpus,
      pids: entry.limits.pids,
      oomScoreAdj: entry.limits.oomScoreAdj,
      logBytes: entry.limits.logMebibytes * MEBIBYTE,
    },
    capabilities: [],
    readOnlyRoot: true,
    tmpfs: {
      '/tmp': TMPFS_BYTES,
      ...Object.fromEntries(Object.entries(entry.memoryFolders).map(([path, size]) => [path, size * MEBIBYTE])),
    },
    stopTimeoutS: STOP_TIMEOUT_S,
    ports: entry.ports,
    entrypoint: entry.entrypoint,
    command: entry.command,
    user: USER,
  };
  const intent = hash({ settings, restartToken: row.restartToken, ...furtherIntent(input) });
  const template = imageId === null ? null : hash({ template: templateHash(spec, imageId), entry });
  const labels = {
    ...spec.labels,
    [LABEL.intent]: intent,
    ...(template === null ? {} : { [LABEL.template]: template }),
  };
  return { spec: { ...spec, labels }, intent, template };
}

/** Only what a service has is in its hash, so that one that has none of it stays as it is. */
function furtherIntent({ entry, secrets, microphones, config }: ServiceInput): Record<string, unknown> {
  const { latitudeVariable, longitudeVariable } = entry.station;
  return {
    ...(entry.secrets.length > 0 && { secrets }),
    ...(entry.station.microphones === 'restart' && {
      microphones: microphones.microphones.map(({ workspace, name }) => [workspace, name]),
    }),
    ...((latitudeVariable ?? longitudeVariable) !== null && { position: config.position }),
  };
}

function environmentOf({ row, entry, settings, config }: ServiceInput): Record<string, string> {
  const { latitudeVariable, longitudeVariable } = entry.station;
  const { position } = config;
  const own = Object.entries(entry.settings).flatMap(([name, { variable }]) =>
    variable === undefined ? [] : [[variable, String(settings[name])]],
  );
  return {
    ...entry.env,
    ...Object.fromEntries(own),
    ...(entry.settingsVariable === null ? {} : { [entry.settingsVariable]: JSON.stringify(settings) }),
    ...(latitudeVariable !== null && position !== null && { [latitudeVariable]: String(position.latitude) }),
    ...(longitudeVariable !== null && position !== null && { [longitudeVariable]: String(position.longitude) }),
    [RECORDER_ENV.instanceId]: row.name,
  };
}

function bindsOf({ row, entry, operator }: ServiceInput): Bind[] {
  const recordings = {
    source: operator.hostRecorderWorkspace,
    target: SERVICE_PATH.recordings,
    readOnly: entry.recordings === 'read-only',
  };
  const run = {
    source: `${operator.hostRunPath}/${SERVICE_RUN_FOLDER}/${row.name}`,
    target: SERVICE_PATH.run,
    readOnly: false,
  };
  const folders = Object.entries(entry.folders).map(([folder, target]) => ({
    source: `${operator.hostServicesFolder}/${row.name}/${folder}`,
    target,
    readOnly: false,
  }));
  const secrets = entry.secrets.map(({ name }) => ({
    source: `${operator.hostSecretsFolder}/${row.name}/${name}`,
    target: `${SERVICE_SECRETS_PATH}/${name}`,
    readOnly: true,
  }));
  return [...(entry.recordings === 'none' ? [] : [recordings]), run, ...folders, ...secrets];
}
