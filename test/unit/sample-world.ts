/** Ready-made pieces of the world for tests of the pure parts: each takes only what the test cares about. */

import type { HostLoad } from '../../services/controller/host-load.ts';
import { emptyPlanMemory } from '../../services/controller/plan-memory.ts';
import type { PlanInput } from '../../services/controller/plan-outcome.ts';
import type { SpecInput } from '../../services/controller/spec.ts';
import type {
  DesiredState,
  DeviceRow,
  Microphone,
  ObservedContainer,
  ProfileRow,
  Reading,
  Wish,
} from '../../services/controller/world.ts';
import { DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';
import { LABEL, OWNER, type RecorderStatus, workspaceName } from '../../services/shared/contract.ts';
import { type ProfileConfig, profileConfigSchema } from '../../services/shared/profile.ts';

export const STATION_ID = '0f0e0d0c-0b0a-4908-8706-050403020100';

export function reading<T>(value: T, startedAtMs = 1000): Reading<T> {
  return { ok: true, value, startedAtMs };
}

export function failed<T>(error = 'cannot be read', startedAtMs = 1000): Reading<T> {
  return { ok: false, error, startedAtMs };
}

export function microphone(given: Partial<Microphone> = {}): Microphone {
  const portPath = given.portPath ?? 'pci0000:00/0000:00:14.0/0/4';
  return {
    incarnation: `${portPath}#7#1#116:5,116:6`,
    portPath,
    vendorId: '2752',
    productId: '0007',
    serial: '000-0000',
    product: 'UMIK-1',
    manufacturer: 'miniDSP',
    kind: 'plain',
    sound: {
      card: 1,
      device: 0,
      hw: 'hw:1,0',
      usbDevice: '001/007 2752:0007',
      nodes: [
        { path: '/dev/snd/controlC1', major: 116, minor: 5 },
        { path: '/dev/snd/pcmC1D0c', major: 116, minor: 6 },
      ],
      capabilities: { offers: [{ format: 'S24_3LE', channels: 2, rates: { kind: 'list', values: [48_000] } }] },
    },
    obstacle: null,
    virtual: false,
    ...given,
  };
}

export function profileConfig(given: Partial<ProfileConfig> = {}): ProfileConfig {
  return {
    ...profileConfigSchema.parse({ match: {}, audio: { rate: 'native', channels: 'native', format: 'native' } }),
    ...given,
  };
}

export function profileRow(
  slug: string,
  match: Partial<ProfileConfig['match']> = {},
  given: Partial<ProfileRow> = {},
): ProfileRow {
  const config = profileConfig({ match: { vid: null, pid: null, name: null, priority: 0, ...match } });
  return {
    slug,
    name: slug,
    description: '',
    manufacturer: '',
    model: '',
    isSystem: true,
    config: { ok: true, value: config },
    ...given,
  };
}

export const UMIK_PROFILE = profileRow('umik-1', { vid: '2752', pid: '0007' });
export const GENERIC_PROFILE = profileRow('generic');

export function deviceRow(id: string, given: Partial<DeviceRow> = {}): DeviceRow {
  const like = microphone();
  return {
    id,
    name: 'UMIK-1',
    vendorId: like.vendorId,
    productId: like.productId,
    serial: like.serial,
    serialShared: false,
    portPath: like.portPath,
    product: like.product,
    manufacturer: like.manufacturer,
    capabilities: like.sound?.capabilities ?? { offers: [] },
    status: 'online',
    enabled: true,
    enrollmentStatus: 'enrolled',
    decidedBy: 'auto',
    profileSlug: 'umik-1',
    suggestedProfile: 'umik-1',
    settings: { ok: true, value: {} },
    restartToken: '',
    workspace: workspaceName(id, like.product),
    firstSeenAt: 1_700_000_000_000,
    lastSeenAt: 1_700_000_000_000,
    generation: 1,
    observedGeneration: 0,
    phase: 'waiting',
    reason: 'New',
    message: '',
    ...given,
  };
}

export function desiredState(given: Partial<DesiredState> = {}): DesiredState {
  return {
    stationId: STATION_ID,
    config: {
      name: 'Wood',
      position: null,
      autoEnrollment: true,
      autoUpdate: false,
      workspaceMarked: true,
      alerts: DEFAULT_ALERT_SETTINGS,
    },
    profiles: [UMIK_PROFILE, GENERIC_PROFILE],
    devices: [],
    services: [],
    problems: [],
    ...given,
  };
}

export function specInput(given: Partial<SpecInput> = {}): SpecInput {
  const row = deviceRow('2752-0007-000-0000');
  return {
    operator: {
      stationId: STATION_ID,
      recorderImage: 'localhost/silvasonic-recorder:latest',
      hostRecorderWorkspace: '/srv/silvasonic/recorder',
      hostRunPath: '/run/silvasonic',
      recorderMemoryBytes: 512 * 1024 * 1024,
      recorderCpus: 1,
      network: 'silvasonic-net',
      hostServicesFolder: '/srv/silvasonic/services',
      hostSecretsFolder: '/srv/silvasonic/secrets',
      pageUrl: 'http://host.containers.internal:8090',
      takenPorts: [8090, 9100],
    },
    desired: desiredState(),
    rows: [row],
    present: new Map([[row.id, microphone()]]),
    missing: new Set(),
    unknown: new Set(),
    flapping: new Map(),
    holders: new Map(),
    recorderImage: { reference: 'localhost/silvasonic-recorder:latest', id: 'sha256:aaaa' },
    catalogue: [],
    seedHashes: new Map(),
    images: {},
    secrets: new Map(),
    workspaceProblem: null,
    ...given,
  };
}

/** The container that a wish asks for, as the engine would list it. */
export function containerOf(wish: Wish, given: Partial<ObservedContainer> = {}): ObservedContainer {
  if (wish.kind !== 'run') throw new Error(`${wish.subject} wishes no container`);
  return {
    id: `id-of-${wish.subject}`,
    name: wish.spec.name,
    imageId: wish.imageId ?? 'sha256:aaaa',
    state: 'live',
    exitCode: null,
    oomKilled: false,
    labels: wish.spec.labels,
    ...given,
  };
}

export function strayContainer(id: string, given: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id,
    name: `silvasonic-0f0e0d0c-${id}`,
    imageId: 'sha256:aaaa',
    state: 'live',
    exitCode: null,
    oomKilled: false,
    labels: { [LABEL.owner]: OWNER, [LABEL.station]: STATION_ID, [LABEL.service]: 'recorder', [LABEL.deviceId]: id },
    ...given,
  };
}

export function status(frames: number, given: Partial<RecorderStatus> = {}): RecorderStatus {
  return {
    schema: 1,
    run: 'abc123',
    state: 'recording',
    reason: 'Recording',
    message: 'Recording.',
    frames,
    rate: 48_000,
    channels: 1,
    format: 'S16_LE',
    levels: [],
    silent: false,
    overruns: 0,
    lostFrames: 0,
    lastSegment: null,
    at: frames,
    ...given,
  };
}

export function planInput(given: Partial<PlanInput> = {}): PlanInput {
  return {
    wishes: [],
    remembered: false,
    containers: reading([], 2000),
    statuses: new Map(),
    reports: new Map(),
    pulls: new Map(),
    inFlight: new Map(),
    results: [],
    image: { currentId: 'sha256:aaaa', lastGoodId: null, lastGoodReference: 'localhost/silvasonic-recorder:last-good' },
    memory: emptyPlanMemory,
    nowMs: 2000,
    policy: { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: false },
    ...given,
  };
}

/** A machine that does nothing else. */
export const IDLE_HOST: HostLoad = {
  load: { average1m: 0, cpus: 4, memoryFreeBytes: 0, memoryTotalBytes: 0 },
  disk: null,
};
