/**
 * The complete container of a wish, with its two hashes: `intent`, what a person, the operator or the hardware decided, and
 * `template`, what our release decided. Pure.
 */
import { createHash } from 'node:crypto';
import type { CatalogueEntry } from '../shared/catalogue.ts';
import {
  LABEL,
  OWNER,
  RECORDER_ENV,
  RECORDER_PATH,
  type RecorderConfig,
  SERVICE_PATH,
  SERVICE_RUN_FOLDER,
} from '../shared/contract.ts';
import { seedHash } from '../shared/profile.ts';
import type { SpecInput } from './spec.ts';
import type { ContainerSpec, DeviceRow, Microphone, ProfileRow, ServiceRow } from './world.ts';

/** What the person who installed the station set by environment, and what this release decides. */
export interface Operator {
  stationId: string;
  /** Fully qualified, with tag. */
  recorderImage: string;
  /** Absolute, on the host. */
  hostRecorderWorkspace: string;
  hostRunPath: string;
  recorderMemoryBytes: number;
  recorderCpus: number;
  /** Network of the services of the catalogue. */
  network: string;
}

const RECORDER_PIDS = 64;
const RECORDER_OOM_SCORE_ADJ = -999;
const RECORDER_TMPFS_BYTES = 16 * 1024 * 1024;
/** Between SIGTERM and SIGKILL: a recorder needs well under a second to finish its file. */
const STOP_TIMEOUT_S = 10;
const MEBIBYTE = 1024 * 1024;
const SERVICE_TMPFS_BYTES = 64 * MEBIBYTE;
const LOG_BYTES = 10 * MEBIBYTE;

export type Container = { spec: ContainerSpec; intent: string; template: string | null };

export function recorderContainer(
  row: DeviceRow,
  microphone: Microphone,
  profile: ProfileRow,
  config: RecorderConfig,
  input: SpecInput,
): Container {
  const { operator } = input;
  const spec: ContainerSpec = {
    name: containerName(operator.stationId, `recorder-${row.workspace}`),
    image: input.recorderImage.reference,
    env: {
      [RECORDER_ENV.device]: microphone.sound?.hw ?? '',
      [RECORDER_ENV.profileSlug]: profile.slug,
      [RECORDER_ENV.configJson]: JSON.stringify(config),
      [RECORDER_ENV.instanceId]: `recorder-${row.workspace}`,
    },
    labels: {
      [LABEL.tier]: '2',
      [LABEL.owner]: OWNER,
      [LABEL.station]: operator.stationId,
      [LABEL.service]: 'recorder',
      [LABEL.deviceId]: row.id,
      [LABEL.profile]: profile.slug,
    },
    network: 'none',
    binds: [
      {
        source: `${operator.hostRecorderWorkspace}/${row.workspace}`,
        target: RECORDER_PATH.workspace,
        readOnly: false,
      },
      { source: `${operator.hostRunPath}/${row.workspace}`, target: RECORDER_PATH.run, readOnly: false },
    ],
    devices: microphone.sound?.nodes ?? [],
    limits: {
      memoryBytes: operator.recorderMemoryBytes,
      cpus: operator.recorderCpus,
      pids: RECORDER_PIDS,
      oomScoreAdj: RECORDER_OOM_SCORE_ADJ,
      logBytes: LOG_BYTES,
    },
    capabilities: [],
    readOnlyRoot: true,
    tmpfs: { '/tmp': RECORDER_TMPFS_BYTES },
    stopTimeoutS: STOP_TIMEOUT_S,
  };
  const { rate, channels, format, segmentSeconds, watch } = config;
  const capture = { rate, channels, format, segmentSeconds, watch };
  const shipped = isAsShipped(profile, input.seedHashes);
  const intent = recorderIntent(row, microphone, profile, shipped ? null : capture, spec);
  const imageId = input.recorderImage.id;
  const template = imageId === null ? null : hash([templateHash(spec, imageId), shipped ? capture : null]);
  const labels = {
    ...spec.labels,
    [LABEL.intent]: intent,
    ...(template === null ? {} : { [LABEL.template]: template }),
  };
  return { spec: { ...spec, labels }, intent, template };
}

/** `silvasonic-<first 8 of the station id>-<part>`: two stations on one engine never meet. */
export function containerName(stationId: string, part: string): string {
  return `silvasonic-${stationId.slice(0, 8)}-${part}`;
}

/** What is captured, by whichever of profile, person and hardware decided it. */
type Capture = Pick<RecorderConfig, 'rate' | 'channels' | 'format' | 'segmentSeconds' | 'watch'>;

/**
 * What a person, the operator or the hardware decided. Names, position and what is done with finished segments are left
 * out on purpose: nobody wants a night interrupted because a microphone was given a nicer name. Of a profile as this
 * release ships it only the name counts: what a release changes in it waits for the next restart, as an image does.
 */
function recorderIntent(
  row: DeviceRow,
  microphone: Microphone,
  profile: ProfileRow,
  capture: Capture | null,
  spec: ContainerSpec,
): string {
  const { rate, channels, format, segmentSeconds } = row.settings.ok ? row.settings.value : {};
  return hash({
    profile: profile.slug,
    settings: [rate ?? null, channels ?? null, format ?? null, segmentSeconds ?? null],
    capture,
    restartToken: row.restartToken,
    incarnation: microphone.incarnation,
    hw: microphone.sound?.hw ?? '',
    memoryBytes: spec.limits.memoryBytes,
    cpus: spec.limits.cpus,
  });
}

/** Nobody edited this profile since it came with the release. */
function isAsShipped({ slug, isSystem, config }: ProfileRow, seedHashes: ReadonlyMap<string, string>): boolean {
  return isSystem && config.ok && seedHashes.get(slug) === seedHash(config.value);
}

/** What our release decides: image and the shape of the container, without what stands in `intent` or names the subject. */
function templateHash(spec: ContainerSpec, imageId: string): string {
  return hash({
    imageId,
    env: Object.keys(spec.env).sort(),
    labels: Object.keys(spec.labels).sort(),
    network: spec.network,
    targets: spec.binds.map((bind) => [bind.target, bind.readOnly]),
    limits: [spec.limits.pids, spec.limits.oomScoreAdj, spec.limits.logBytes],
    capabilities: spec.capabilities,
    readOnlyRoot: spec.readOnlyRoot,
    tmpfs: spec.tmpfs,
    stopTimeoutS: spec.stopTimeoutS,
  });
}

/** SHA-256 over JSON with sorted keys, 32 hex digits: equal data, equal hash, in every release (golden values in a test). */
export function hash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 32);
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** The container of a service, as the catalogue's file says; of the row only switch, settings and token count. */
export function serviceContainer(
  row: ServiceRow,
  entry: CatalogueEntry,
  settings: Record<string, unknown>,
  imageId: string | null,
  operator: Operator,
): Container {
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
  const spec: ContainerSpec = {
    name: containerName(operator.stationId, row.name),
    image: entry.image,
    env: {
      ...entry.env,
      ...(entry.settingsVariable === null ? {} : { [entry.settingsVariable]: JSON.stringify(settings) }),
      [RECORDER_ENV.instanceId]: row.name,
    },
    labels: {
      [LABEL.tier]: '2',
      [LABEL.owner]: OWNER,
      [LABEL.station]: operator.stationId,
      [LABEL.service]: row.name,
    },
    network: entry.network === 'none' ? 'none' : operator.network,
    binds: entry.recordings === 'none' ? [run] : [recordings, run],
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
    tmpfs: { '/tmp': SERVICE_TMPFS_BYTES },
    stopTimeoutS: STOP_TIMEOUT_S,
  };
  const intent = hash({ settings, restartToken: row.restartToken });
  const template = imageId === null ? null : hash({ template: templateHash(spec, imageId), entry });
  const labels = {
    ...spec.labels,
    [LABEL.intent]: intent,
    ...(template === null ? {} : { [LABEL.template]: template }),
  };
  return { spec: { ...spec, labels }, intent, template };
}
