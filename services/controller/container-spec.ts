/**
 * The complete container of a recorder, with its two hashes: `intent`, what a person, the operator or the hardware decided, and
 * `template`, what our release decided. Pure.
 */
import { hash as digest } from 'node:crypto';
import { LABEL, OWNER, RECORDER_ENV, RECORDER_PATH, type RecorderConfig } from '../shared/contract.ts';
import { canonicalJson, captureHash } from '../shared/profile.ts';
import type { SpecInput } from './spec.ts';
import type { ContainerSpec, DeviceRow, Microphone, ProfileRow } from './world.ts';

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
  /** Absolute, on the host: their own folders and their secrets. */
  hostServicesFolder: string;
  hostSecretsFolder: string;
  /** How they reach the page, without a slash at its end. */
  pageUrl: string;
  /** Ports of the host that the station itself uses. */
  takenPorts: readonly number[];
}

const RECORDER_PIDS = 64;
const RECORDER_OOM_SCORE_ADJ = -999;
const RECORDER_TMPFS_BYTES = 16 * 1024 * 1024;
/** Between SIGTERM and SIGKILL: a recorder needs well under a second to finish its file. */
export const STOP_TIMEOUT_S = 10;
const MEBIBYTE = 1024 * 1024;
const AS_THE_IMAGE_SAYS = { ports: [], entrypoint: null, command: null, user: null };
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
    // By its id: the tag may mean another image by now, and `template` below would tell of one that it is not made of.
    image: input.recorderImage.id ?? input.recorderImage.reference,
    env: {
      [RECORDER_ENV.device]: microphone.sound?.hw ?? '',
      [RECORDER_ENV.usbDevice]: microphone.sound?.usbDevice ?? '',
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
      [LABEL.incarnation]: microphone.incarnation,
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
    ...AS_THE_IMAGE_SAYS,
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

/** Nobody edited what this profile captures since it came with the release. */
function isAsShipped({ slug, isSystem, config }: ProfileRow, seedHashes: ReadonlyMap<string, string>): boolean {
  return isSystem && config.ok && seedHashes.get(slug) === captureHash(config.value);
}

/** What our release decides: image and the shape of the container, without what stands in `intent` or names the subject. */
export function templateHash(spec: ContainerSpec, imageId: string): string {
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
  return digest('sha256', canonicalJson(value), 'hex').slice(0, 32);
}
