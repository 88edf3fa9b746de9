/**
 * The controller's configuration: every environment variable it knows, their defaults, and the one place that turns
 * them into values. Reading is pure: environment in, configuration or the full list of problems out.
 */
import { join } from 'node:path';
import { z } from 'zod';
import {
  connectionConflicts,
  connectionVariables,
  logLevelVariable,
  type PostgresConfig,
  pathVariable,
  portVariable,
} from '../shared/connections.ts';
import {
  byteSize,
  decimalNumber,
  type Environment,
  ipAddress,
  type Outcome,
  qualifiedImage,
  readVariables,
  seconds,
  socketPath,
  type Values,
  wholeNumber,
  withoutCredentials,
} from '../shared/environment.ts';
import { findPackageFolder } from '../shared/surroundings.ts';

export interface ControllerConfig {
  healthPort: number;
  healthHost: string;
  /** Of the page, on the host. */
  webPort: number;
  /** The engine's socket, as this process sees it. */
  socketPath: string;
  network: string;
  postgres: PostgresConfig;
  /** null: there is no Redis, and none is missed. Without the password that `redisPasswordFile` holds. */
  redisUrl: string | null;
  redisPasswordFile: string | null;
  /** Holds the password of the page's own login, which the controller makes; null: somebody else cares for that. */
  pagePasswordFile: string | null;
  recorderImage: string;
  /** On the host: what binds name. */
  workspacePath: string;
  /** As this process sees them. */
  controllerWorkspace: string;
  recorderWorkspace: string;
  runPath: string;
  /** Of services of the catalogue: their own folders, and their secrets; beside that of the recordings. */
  servicesFolder: string;
  secretsFolder: string;
  /** The same folders on the host. */
  hostRecorderWorkspace: string;
  hostRunPath: string;
  hostServicesFolder: string;
  hostSecretsFolder: string;
  /** What the environment says of them; null: nothing. In a container they are learned from its own mounts. */
  givenWorkspacePath: string | null;
  givenRunPath: string | null;
  reconcileIntervalMs: number;
  usbPollMs: number;
  offlineGraceMs: number;
  stallTimeoutMs: number;
  recorderMemoryBytes: number;
  /** Whole CPUs, e.g. 0.5. */
  recorderCpus: number;
  virtualMicrophones: { kind: 'fixed'; count: number } | { kind: 'auto' };
  onShutdown: 'leave' | 'stop';
  logLevel: 'debug' | 'info' | 'warn' | 'error';
  migrationsFolder: string;
  profilesFolder: string;
}

export interface ConfigSurroundings {
  /** Whether this process runs in the controller's container: its folders are mounts with fixed places then. */
  insideContainer: boolean;
  /** The folder that holds `migrations/` and `profiles/`. */
  packageFolder?: string;
}

/** Where compose.yml and the Quadlet units mount the folders. */
const CONTAINER_PATH = {
  controllerWorkspace: '/app/workspace',
  recorderWorkspace: '/app/recorder-workspace',
  services: '/app/services',
  secrets: '/app/secrets',
  run: '/run/silvasonic',
} as const;

/** Names that engines give a meaning of their own; `host` would put a foreign service next to the database. */
const RESERVED_NETWORKS = ['bridge', 'container', 'default', 'host', 'none', 'ns', 'pasta', 'private', 'slirp4netns'];

const MEBIBYTE = 1024 ** 2;
const socket = { allowed: 'an absolute path of at most 107 bytes', schema: socketPath };

/** Every environment variable that the controller reads. `.env.example` says what each is for. */
export const controllerVariables = {
  SILVASONIC_CONTROLLER_PORT: { ...portVariable, fallback: '9100' },
  SILVASONIC_CONTROLLER_BIND: { allowed: 'an IP address', schema: ipAddress, fallback: null },
  SILVASONIC_WEB_PORT: { ...portVariable, fallback: '8090' },
  CONTAINER_SOCKET: { ...socket, fallback: null },
  SILVASONIC_PODMAN_SOCKET: { ...socket, fallback: null },
  SILVASONIC_NETWORK: {
    allowed: `a network's name of letters, digits, "_", "." and "-", but none of ${RESERVED_NETWORKS.join(', ')}`,
    schema: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/)
      .refine((name) => !RESERVED_NETWORKS.includes(name)),
    fallback: 'silvasonic-net',
  },
  ...connectionVariables,
  SILVASONIC_PAGE_PASSWORD_FILE: { ...pathVariable, fallback: null },
  SILVASONIC_RECORDER_IMAGE: {
    allowed: 'a fully qualified image with its tag, like localhost/silvasonic-recorder:latest',
    schema: qualifiedImage,
    fallback: 'localhost/silvasonic-recorder:latest',
  },
  SILVASONIC_WORKSPACE_PATH: { ...pathVariable, fallback: '/var/lib/silvasonic' },
  SILVASONIC_RUN_PATH: { ...pathVariable, fallback: '/run/silvasonic' },
  SILVASONIC_RECONCILE_INTERVAL_S: { allowed: 'seconds, 1 to 3600', schema: seconds(1, 3600), fallback: '30' },
  SILVASONIC_USB_POLL_MS: {
    allowed: 'whole milliseconds, 50 to 10000',
    schema: wholeNumber(50, 10_000),
    fallback: '250',
  },
  SILVASONIC_OFFLINE_GRACE_S: { allowed: 'seconds, 0 to 300', schema: seconds(0, 300), fallback: '3' },
  // A recorder writes its position once a second: below three, one late write would look like a stall.
  SILVASONIC_STALL_TIMEOUT_S: { allowed: 'seconds, 3 to 3600', schema: seconds(3, 3600), fallback: '30' },
  SILVASONIC_RECORDER_MEMORY_LIMIT: {
    allowed: 'bytes, or a whole number with k, m or g, from 64m to 1024g',
    schema: byteSize(64 * MEBIBYTE, 1024 * 1024 * MEBIBYTE),
    fallback: '512m',
  },
  SILVASONIC_RECORDER_CPU_LIMIT: { allowed: 'CPUs, 0.1 to 256', schema: decimalNumber(0.1, 256), fallback: '1.0' },
  SILVASONIC_VIRTUAL_MICROPHONES: {
    allowed: 'a whole number from 0 to 32, or auto',
    schema: z.union([
      z.literal('auto').transform(() => ({ kind: 'auto' as const })),
      wholeNumber(0, 32).transform((count) => ({ kind: 'fixed' as const, count })),
    ]),
    fallback: '0',
  },
  SILVASONIC_ON_SHUTDOWN: { allowed: 'leave or stop', schema: z.enum(['leave', 'stop']), fallback: 'leave' },
  LOG_LEVEL: logLevelVariable,
} as const;

/**
 * Reads the whole configuration. Every wrong variable is told, one line each: its name, what was given (a secret never),
 * what is allowed.
 */
export function readConfig(environment: Environment, surroundings: ConfigSurroundings): Outcome<ControllerConfig> {
  const read = readVariables(environment, controllerVariables);
  const problems = [...(read.ok ? [] : read.problems), ...connectionConflicts(environment)];
  if (!read.ok || problems.length > 0) return { ok: false, problems };
  const given = (name: 'SILVASONIC_WORKSPACE_PATH' | 'SILVASONIC_RUN_PATH') =>
    (environment[name] ?? '').trim() === '' ? null : read.value[name];
  const config = assemble(read.value, surroundings);
  const givenWorkspacePath = given('SILVASONIC_WORKSPACE_PATH');
  return { ok: true, value: { ...config, givenWorkspacePath, givenRunPath: given('SILVASONIC_RUN_PATH') } };
}

function assemble(
  values: Values<typeof controllerVariables>,
  { insideContainer, packageFolder = findPackageFolder(import.meta.url) }: ConfigSurroundings,
): Omit<ControllerConfig, 'givenWorkspacePath' | 'givenRunPath'> {
  const workspacePath = values.SILVASONIC_WORKSPACE_PATH;
  const hostRecorderWorkspace = join(workspacePath, 'recorder');
  const hostRunPath = values.SILVASONIC_RUN_PATH;
  // SILVASONIC_PODMAN_SOCKET names a file of the host: compose.yml binds it to CONTAINER_SOCKET.
  const hostSocket = insideContainer ? null : values.SILVASONIC_PODMAN_SOCKET;
  return {
    healthPort: values.SILVASONIC_CONTROLLER_PORT,
    // In a container, the loopback address would be out of reach for a published port.
    healthHost: values.SILVASONIC_CONTROLLER_BIND ?? (insideContainer ? '0.0.0.0' : '127.0.0.1'),
    webPort: values.SILVASONIC_WEB_PORT,
    socketPath: values.CONTAINER_SOCKET ?? hostSocket ?? '/var/run/container.sock',
    network: values.SILVASONIC_NETWORK,
    postgres: {
      host: values.POSTGRES_HOST,
      port: values.POSTGRES_PORT,
      user: values.POSTGRES_USER,
      password: values.POSTGRES_PASSWORD,
      passwordFile: values.POSTGRES_PASSWORD_FILE,
      database: values.POSTGRES_DB,
    },
    redisUrl: values.SILVASONIC_REDIS_URL,
    redisPasswordFile: values.SILVASONIC_REDIS_PASSWORD_FILE,
    pagePasswordFile: values.SILVASONIC_PAGE_PASSWORD_FILE,
    recorderImage: values.SILVASONIC_RECORDER_IMAGE,
    workspacePath,
    controllerWorkspace: insideContainer ? CONTAINER_PATH.controllerWorkspace : join(workspacePath, 'controller'),
    recorderWorkspace: insideContainer ? CONTAINER_PATH.recorderWorkspace : hostRecorderWorkspace,
    runPath: insideContainer ? CONTAINER_PATH.run : hostRunPath,
    servicesFolder: insideContainer ? CONTAINER_PATH.services : join(workspacePath, 'services'),
    secretsFolder: insideContainer ? CONTAINER_PATH.secrets : join(workspacePath, 'secrets'),
    hostRecorderWorkspace,
    hostRunPath,
    hostServicesFolder: join(workspacePath, 'services'),
    hostSecretsFolder: join(workspacePath, 'secrets'),
    reconcileIntervalMs: values.SILVASONIC_RECONCILE_INTERVAL_S,
    usbPollMs: values.SILVASONIC_USB_POLL_MS,
    offlineGraceMs: values.SILVASONIC_OFFLINE_GRACE_S,
    stallTimeoutMs: values.SILVASONIC_STALL_TIMEOUT_S,
    recorderMemoryBytes: values.SILVASONIC_RECORDER_MEMORY_LIMIT,
    recorderCpus: values.SILVASONIC_RECORDER_CPU_LIMIT,
    virtualMicrophones: values.SILVASONIC_VIRTUAL_MICROPHONES,
    onShutdown: values.SILVASONIC_ON_SHUTDOWN,
    logLevel: values.LOG_LEVEL,
    migrationsFolder: join(packageFolder, 'migrations'),
    profilesFolder: join(packageFolder, 'profiles'),
  };
}

/** The configuration as JSON for logs and support: complete, but with no secret in it. */
export function describeConfig(config: ControllerConfig): Record<string, unknown> {
  const { postgres } = config;
  return {
    ...config,
    postgres: { ...postgres, password: postgres.password === null ? null : '(set)' },
    redisUrl: config.redisUrl === null ? null : withoutCredentials(config.redisUrl),
  };
}
