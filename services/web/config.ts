/** The page's configuration: environment in, values or the full list of problems out. */
import { join } from 'node:path';
import {
  connectionConflicts,
  connectionVariables,
  logLevelVariable,
  type PostgresConfig,
  pathVariable,
  portVariable,
} from '../shared/connections.ts';
import { type Environment, ipAddress, type Outcome, readVariables } from '../shared/environment.ts';

export interface WebConfig {
  port: number;
  /** IP address. */
  host: string;
  postgres: PostgresConfig;
  /** null: there is no Redis, and none is missed. Without the password that `redisPasswordFile` holds. */
  redisUrl: string | null;
  redisPasswordFile: string | null;
  /** As this process sees them. Recordings and run folders are only read. */
  recorderWorkspace: string;
  runPath: string;
  /** The page's own folder, all that it may write. */
  webWorkspace: string;
}

/** Where compose.yml and the Quadlet units mount the folders. */
const CONTAINER_PATH = {
  webWorkspace: '/app/workspace',
  recorderWorkspace: '/app/recorder-workspace',
  run: '/run/silvasonic',
} as const;

const webVariables = {
  SILVASONIC_WEB_PORT: { ...portVariable, fallback: '8090' },
  SILVASONIC_WEB_BIND: { allowed: 'an IP address', schema: ipAddress, fallback: '0.0.0.0' },
  ...connectionVariables,
  SILVASONIC_WORKSPACE_PATH: { ...pathVariable, fallback: '/var/lib/silvasonic' },
  SILVASONIC_RUN_PATH: { ...pathVariable, fallback: '/run/silvasonic' },
  LOG_LEVEL: logLevelVariable,
} as const;

/** Reads the whole configuration; every wrong variable is told, one line each. */
export function readWebConfig(environment: Environment, insideContainer: boolean): Outcome<WebConfig> {
  const read = readVariables(environment, webVariables);
  const problems = [...(read.ok ? [] : read.problems), ...connectionConflicts(environment)];
  if (!read.ok || problems.length > 0) return { ok: false, problems };
  const values = read.value;
  return {
    ok: true,
    value: {
      port: values.SILVASONIC_WEB_PORT,
      host: values.SILVASONIC_WEB_BIND,
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
      ...(insideContainer
        ? {
            recorderWorkspace: CONTAINER_PATH.recorderWorkspace,
            runPath: CONTAINER_PATH.run,
            webWorkspace: CONTAINER_PATH.webWorkspace,
          }
        : {
            recorderWorkspace: join(values.SILVASONIC_WORKSPACE_PATH, 'recorder'),
            runPath: values.SILVASONIC_RUN_PATH,
            webWorkspace: join(values.SILVASONIC_WORKSPACE_PATH, 'web'),
          }),
    },
  };
}
