/** What a one-command station makes of its environment, before anything is fetched, built or started. */
import { expect, it } from 'vitest';
import { readStationConfig, type StationConfig } from '../../services/station/station-config.ts';

const root = { uid: 0, home: '/root' };
const ada = { uid: 1000, home: '/home/ada' };

function good(environment: Record<string, string>, user = root): StationConfig {
  const read = readStationConfig(environment, user);
  if (!read.ok) throw new Error(read.problems.join('\n'));
  return read.value;
}

it('needs nothing set; a virtual microphone sings, and recorders end with the station', () => {
  const { folders, controller } = good({});
  expect(folders).toEqual({ data: '/var/lib/silvasonic', run: '/run/silvasonic', cache: '/root/.cache/silvasonic' });
  expect(controller).toMatchObject({
    ...{ workspacePath: '/var/lib/silvasonic', runPath: '/run/silvasonic', redisUrl: null },
    ...{ virtualMicrophones: { kind: 'auto' }, onShutdown: 'stop' },
  });
});

it.each([
  'SILVASONIC_WORKSPACE_PATH',
  'SILVASONIC_RUN_PATH',
  'SILVASONIC_VIRTUAL_MICROPHONES',
  'SILVASONIC_ON_SHUTDOWN',
  'XDG_CACHE_HOME',
])('an empty %s is the same as none', (name) => {
  expect(good({ [name]: '' })).toEqual(good({}));
});

it('has what memory there is for whoever is not root', () => {
  const data = { SILVASONIC_WORKSPACE_PATH: '/home/ada/birds/' };
  expect(good({ ...data, XDG_RUNTIME_DIR: '/run/user/1000' }, ada).folders).toEqual({
    ...{ data: '/home/ada/birds', run: '/run/user/1000/silvasonic', cache: '/home/ada/.cache/silvasonic' },
  });
  expect(good({ ...data, XDG_RUNTIME_DIR: '' }, ada).folders.run).toBe('/home/ada/birds/run/silvasonic');
});

it('tells all that is wrong, and nothing of a database and an engine that it does not use', () => {
  const read = readStationConfig(
    {
      ...{ SILVASONIC_USB_POLL_MS: '7', LOG_LEVEL: 'chatty', SILVASONIC_RUN_PATH: 'run' },
      ...{
        POSTGRES_PASSWORD_FILE: 'nowhere',
        POSTGRES_PASSWORD: 'x',
        SILVASONIC_REDIS_URL: 'no',
        CONTAINER_SOCKET: 'x',
      },
    },
    root,
  );
  expect(read.ok ? [] : read.problems.map((line) => line.split(':')[0]).sort()).toEqual([
    'LOG_LEVEL',
    'SILVASONIC_RUN_PATH',
    'SILVASONIC_USB_POLL_MS',
  ]);
});
