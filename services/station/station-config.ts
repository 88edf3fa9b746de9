/** What the environment says of a one-command station: read before anything is fetched, built or started. Pure. */
import { join } from 'node:path';
import { type ControllerConfig, readConfig } from '../controller/config.ts';
import type { Environment, Outcome } from '../shared/environment.ts';

export interface StationFolders {
  data: string;
  run: string;
  cache: string;
}

export interface StationConfig {
  folders: StationFolders;
  /** Engine and database are found later, and are not those of the environment. */
  controller: Omit<ControllerConfig, 'socketPath' | 'postgres'>;
}

/** Variables of what the station brings itself. */
const OWN = {
  CONTAINER_SOCKET: '',
  SILVASONIC_REDIS_URL: '',
  POSTGRES_HOST: '',
  POSTGRES_PORT: '',
  POSTGRES_USER: '',
  POSTGRES_PASSWORD: '',
  POSTGRES_PASSWORD_FILE: '',
  POSTGRES_DB: '',
};

/** Not ok: all variables that are wrong, one line each. An empty variable counts as one that is not there. */
export function readStationConfig(
  environment: Environment,
  { uid, home }: { uid: number; home: string },
): Outcome<StationConfig> {
  const data = environment.SILVASONIC_WORKSPACE_PATH || '/var/lib/silvasonic';
  const runtime = uid === 0 ? '/run' : environment.XDG_RUNTIME_DIR || join(data, 'run');
  const read = readConfig(
    {
      ...environment,
      ...OWN,
      SILVASONIC_VIRTUAL_MICROPHONES: environment.SILVASONIC_VIRTUAL_MICROPHONES || 'auto',
      SILVASONIC_ON_SHUTDOWN: environment.SILVASONIC_ON_SHUTDOWN || 'stop',
      SILVASONIC_WORKSPACE_PATH: data,
      SILVASONIC_RUN_PATH: environment.SILVASONIC_RUN_PATH || join(runtime, 'silvasonic'),
    },
    { insideContainer: false },
  );
  if (!read.ok) return read;
  const { socketPath: _socket, postgres: _postgres, ...controller } = read.value;
  const cache = join(environment.XDG_CACHE_HOME || join(home, '.cache'), 'silvasonic');
  return {
    ok: true,
    value: { folders: { data: controller.workspacePath, run: controller.runPath, cache }, controller },
  };
}
