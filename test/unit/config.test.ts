import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import {
  type ControllerConfig,
  controllerVariables,
  describeConfig,
  readConfig,
} from '../../services/controller/config.ts';
import { readPostgresPassword, readRedisUrl } from '../../services/shared/connections.ts';
import { findPackageFolder } from '../../services/shared/surroundings.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const outside = { insideContainer: false };
const inside = { insideContainer: true };

function good(environment: Record<string, string | undefined>, surroundings = outside): ControllerConfig {
  const read = readConfig(environment, surroundings);
  if (!read.ok) throw new Error(read.problems.join('\n'));
  return read.value;
}

function problems(environment: Record<string, string | undefined>): string[] {
  const read = readConfig(environment, outside);
  return read.ok ? [] : read.problems;
}

/** For each variable, texts that must be refused. */
const wrong: Record<keyof typeof controllerVariables, string[]> = {
  SILVASONIC_CONTROLLER_PORT: ['0', '65536', '-1', '9100.5', '0x10', '1e3', 'http'],
  SILVASONIC_WEB_PORT: ['0', '65536', 'eighty'],
  SILVASONIC_CONTROLLER_BIND: ['localhost', '256.0.0.1', '0.0.0.0:9100'],
  CONTAINER_SOCKET: ['podman.sock', '/', '/run/../etc', '/run//x', `/${'s'.repeat(107)}`],
  SILVASONIC_PODMAN_SOCKET: ['unix:///run/podman.sock', './podman.sock'],
  SILVASONIC_NETWORK: ['host', 'none', 'bridge', '-net', 'two words', 'a/b'],
  POSTGRES_HOST: ['postgres://database', 'two words', '-x', 'relative/folder'],
  POSTGRES_PORT: ['70000', 'default'],
  POSTGRES_USER: ["o'neill", 'a b', 'x'.repeat(64)],
  POSTGRES_PASSWORD: ['two\nlines', 'x'.repeat(1001)],
  POSTGRES_PASSWORD_FILE: ['secret.txt', '/run/secrets/'.repeat(100)],
  POSTGRES_DB: ['silva sonic', 'a;b'],
  SILVASONIC_REDIS_PASSWORD_FILE: ['redis.txt'],
  SILVASONIC_PAGE_PASSWORD_FILE: ['./page'],
  SILVASONIC_REDIS_URL: ['redis', 'http://redis:6379', 'redis://', 'redis:6379'],
  SILVASONIC_RECORDER_IMAGE: [
    'silvasonic-recorder',
    'silvasonic-recorder:latest',
    'silvasonic/recorder:latest',
    'localhost/silvasonic-recorder',
    'localhost/silvasonic-recorder:',
    'localhost/Recorder:latest',
    'registry.example:5000/recorder',
  ],
  SILVASONIC_WORKSPACE_PATH: ['silvasonic', '/', '//', '/a:b', '/a/./b', '~/silvasonic', '/a\\b'],
  SILVASONIC_RUN_PATH: ['run', '/run/..', '/'],
  SILVASONIC_RECONCILE_INTERVAL_S: ['0', '0.5', '3601', '30s', '-30', 'NaN'],
  SILVASONIC_USB_POLL_MS: ['49', '10001', '250.5', 'fast'],
  SILVASONIC_OFFLINE_GRACE_S: ['-1', '301', '3,5'],
  SILVASONIC_STALL_TIMEOUT_S: ['2', '3601', 'never'],
  SILVASONIC_RECORDER_MEMORY_LIMIT: ['63m', '1', '0.5g', '512mb', '2000g', 'lots', '-512m'],
  SILVASONIC_RECORDER_CPU_LIMIT: ['0', '0.05', '257', '50%', '1e2'],
  SILVASONIC_VIRTUAL_MICROPHONES: ['-1', '33', 'yes', 'AUTO!'],
  SILVASONIC_ON_SHUTDOWN: ['keep', 'Stop', 'leave,stop'],
  LOG_LEVEL: ['verbose', '30', 'silent'],
};

describe('readConfig', () => {
  it('needs nothing set', () => {
    expect(good({})).toEqual({
      healthPort: 9100,
      healthHost: '127.0.0.1',
      webPort: 8090,
      socketPath: '/var/run/container.sock',
      network: 'silvasonic-net',
      postgres: {
        host: 'database',
        port: 5432,
        user: 'silvasonic',
        password: null,
        passwordFile: null,
        database: 'silvasonic',
      },
      redisUrl: 'redis://redis:6379',
      redisPasswordFile: null,
      pagePasswordFile: null,
      recorderImage: 'localhost/silvasonic-recorder:latest',
      workspacePath: '/var/lib/silvasonic',
      controllerWorkspace: '/var/lib/silvasonic/controller',
      recorderWorkspace: '/var/lib/silvasonic/recorder',
      runPath: '/run/silvasonic',
      servicesFolder: '/var/lib/silvasonic/services',
      secretsFolder: '/var/lib/silvasonic/secrets',
      hostRecorderWorkspace: '/var/lib/silvasonic/recorder',
      hostRunPath: '/run/silvasonic',
      hostServicesFolder: '/var/lib/silvasonic/services',
      hostSecretsFolder: '/var/lib/silvasonic/secrets',
      givenWorkspacePath: null,
      givenRunPath: null,
      reconcileIntervalMs: 30_000,
      usbPollMs: 250,
      offlineGraceMs: 3000,
      stallTimeoutMs: 30_000,
      recorderMemoryBytes: 536_870_912,
      recorderCpus: 1,
      virtualMicrophones: { kind: 'fixed', count: 0 },
      onShutdown: 'leave',
      logLevel: 'info',
      migrationsFolder: join(REPOSITORY, 'migrations'),
      profilesFolder: join(REPOSITORY, 'profiles'),
    });
  });

  it('takes what was given', () => {
    expect(
      good({
        SILVASONIC_CONTROLLER_BIND: '::1',
        CONTAINER_SOCKET: '/tmp/podman.sock',
        SILVASONIC_PODMAN_SOCKET: '/run/other.sock',
        POSTGRES_HOST: '/run/postgresql',
        SILVASONIC_REDIS_URL: 'rediss://:secret@10.0.0.1:6380/2',
        SILVASONIC_RECORDER_IMAGE: 'registry.example:5000/field/recorder:v1.2-rc_1',
        SILVASONIC_WORKSPACE_PATH: ' /srv/sound recordings/ ',
        SILVASONIC_OFFLINE_GRACE_S: '0.25',
        SILVASONIC_RECORDER_MEMORY_LIMIT: '1G',
        SILVASONIC_RECORDER_CPU_LIMIT: '0.5',
        SILVASONIC_VIRTUAL_MICROPHONES: 'auto',
        SILVASONIC_ON_SHUTDOWN: 'stop',
        LOG_LEVEL: 'DEBUG',
      }),
    ).toMatchObject({
      healthHost: '::1',
      socketPath: '/tmp/podman.sock',
      postgres: { host: '/run/postgresql' },
      redisUrl: 'rediss://:secret@10.0.0.1:6380/2',
      recorderImage: 'registry.example:5000/field/recorder:v1.2-rc_1',
      recorderWorkspace: '/srv/sound recordings/recorder',
      offlineGraceMs: 250,
      recorderMemoryBytes: 1024 ** 3,
      recorderCpus: 0.5,
      virtualMicrophones: { kind: 'auto' },
      onShutdown: 'stop',
      logLevel: 'debug',
    });
    expect(good({ SILVASONIC_VIRTUAL_MICROPHONES: '3' }).virtualMicrophones).toEqual({ kind: 'fixed', count: 3 });
    expect(good({ SILVASONIC_RECORDER_MEMORY_LIMIT: '100000000' }).recorderMemoryBytes).toBe(100_000_000);
    expect(good({ SILVASONIC_PODMAN_SOCKET: '/run/podman/podman.sock' }).socketPath).toBe('/run/podman/podman.sock');
  });

  it('knows the places in the container, and those on the host that binds name', () => {
    const given = {
      SILVASONIC_WORKSPACE_PATH: '/srv/silva',
      SILVASONIC_RUN_PATH: '/run/user/1000/silva',
      SILVASONIC_PODMAN_SOCKET: '/run/podman/podman.sock',
    };
    expect(good(given, inside)).toMatchObject({
      healthHost: '0.0.0.0',
      socketPath: '/var/run/container.sock',
      controllerWorkspace: '/app/workspace',
      recorderWorkspace: '/app/recorder-workspace',
      runPath: '/run/silvasonic',
      workspacePath: '/srv/silva',
      hostRecorderWorkspace: '/srv/silva/recorder',
      hostRunPath: '/run/user/1000/silva',
      givenWorkspacePath: '/srv/silva',
      givenRunPath: '/run/user/1000/silva',
    });
  });

  it('takes an empty text for an absent one, except that an empty Redis address means no Redis', () => {
    const empty = Object.fromEntries(Object.keys(controllerVariables).map((name) => [name, '']));
    expect(good(empty)).toEqual({ ...good({}), redisUrl: null });
  });

  it.each(Object.entries(wrong))('refuses what is wrong in %s', (name, texts) => {
    for (const text of texts) {
      const lines = problems({ [name]: text });
      expect(lines, `${name}=${text}`).toHaveLength(1);
      expect(lines[0]).toMatch(new RegExp(`^${name}: .+ was given; allowed: .+\\.$`));
    }
  });

  it('tells all that is wrong at once, one line each, and never a secret', () => {
    const all = Object.fromEntries(Object.entries(wrong).map(([name, [text]]) => [name, text]));
    const lines = problems({
      ...all,
      POSTGRES_PASSWORD: 'correct horse\nbattery',
      SILVASONIC_REDIS_URL: 'http://:hunter2@x',
    });
    expect(lines.filter((line) => line.includes(' was given; ')).map((line) => line.split(':')[0])).toEqual(
      Object.keys(controllerVariables),
    );
    expect(lines.join('\n')).not.toMatch(/horse|hunter2/);
    expect(lines.every((line) => !line.includes('\n'))).toBe(true);
  });

  it('names what was given, what is allowed and the default', () => {
    expect(problems({ SILVASONIC_USB_POLL_MS: 'fast\nforged' })).toEqual([
      'SILVASONIC_USB_POLL_MS: "fast\\nforged" was given; allowed: whole milliseconds, 50 to 10000 (default 250).',
    ]);
  });

  it('refuses a password given twice', () => {
    expect(problems({ POSTGRES_PASSWORD: 'a', POSTGRES_PASSWORD_FILE: '/run/secrets/a' })).toEqual([
      'POSTGRES_PASSWORD_FILE: was given beside POSTGRES_PASSWORD; allowed: one of the two.',
    ]);
  });
});

describe('describeConfig', () => {
  it('shows everything but secrets', () => {
    const config = good({
      POSTGRES_PASSWORD: 'hunter2',
      SILVASONIC_REDIS_URL: 'redis://silva:hunter3@redis:6379/1?password=hunter4',
    });
    const shown = describeConfig(config);
    expect(JSON.stringify(shown)).not.toContain('hunter');
    expect(shown).toMatchObject({
      healthPort: 9100,
      redisUrl: 'redis://***@redis:6379/1?***',
      postgres: { host: 'database', password: '(set)' },
    });
    expect(Object.keys(shown)).toEqual(Object.keys(config));
    expect(describeConfig(good({ SILVASONIC_REDIS_URL: '' }))).toMatchObject({
      redisUrl: null,
      postgres: { password: null },
    });
  });
});

describe('.env.example', () => {
  const text = readFileSync(join(REPOSITORY, '.env.example'), 'utf8');

  it.each(Object.entries(controllerVariables))('explains %s and shows its default', (name, { fallback }) => {
    const match = new RegExp(`((?:^#.*\\n)+)#${name}=(.*)$`, 'm').exec(text);
    expect(match?.[1]).toMatch(/^# \S/);
    if (fallback !== null) expect(match?.[2]).toBe(fallback);
  });

  it('sets nothing by itself, and what it shows is allowed', () => {
    expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([]);
    const shown = [...text.matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
    expect(problems(Object.fromEntries(shown))).toEqual([]);
  });
});

test('a default in README.md is what counts where nothing is set', () => {
  const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
  const rows = [...readme.matchAll(/^\| `([A-Z_]+)` \| `([^`]+)` \|/gm)].map(([, name = '', value = '']) => [
    name,
    value,
  ]);
  expect(rows.length).toBeGreaterThan(20);
  const told = rows.map(([name = '', value]) => {
    const { givenWorkspacePath: _workspace, givenRunPath: _run, ...config } = good({ [name]: value });
    return { name, config };
  });
  const { givenWorkspacePath: _workspace, givenRunPath: _run, ...config } = good({});
  expect(told).toEqual(told.map(({ name }) => ({ name, config })));
});

describe('findPackageFolder', () => {
  it.each(['file:///app/dist/controller.js', 'file:///app/services/controller/config.ts'])('%s', (url) => {
    expect(findPackageFolder(url)).toBe('/app');
  });

  it('is not misled by a folder further up, and gives up with a sentence', () => {
    expect(findPackageFolder('file:///srv/services/silva/dist/controller.js')).toBe('/srv/services/silva');
    expect(() => findPackageFolder('file:///app/lib/controller.js')).toThrow(
      '/app/lib/controller.js lies in no folder',
    );
  });
});

describe('readRedisUrl', () => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-redis-'));
  const passwordFile = join(folder, 'password');
  const url = 'redis://redis:6379/2';
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('puts the password that a file holds into the address, whatever letters it has', async () => {
    expect(await readRedisUrl({ url, passwordFile: null })).toEqual({ ok: true, value: url });
    writeFileSync(passwordFile, 'a/b@c:d%é\n');
    const read = await readRedisUrl({ url, passwordFile });
    expect(read.ok && decodeURIComponent(new URL(read.value ?? '').password)).toBe('a/b@c:d%é');
    expect(read).toMatchObject({ ok: true, value: expect.stringMatching(/@redis:6379\/2$/) });
    expect(await readRedisUrl({ url: null, passwordFile: join(folder, 'none') })).toEqual({ ok: true, value: null });
  });

  it('is one of two ways to give a password', () => {
    const both = { SILVASONIC_REDIS_URL: 'redis://:x@redis:6379', SILVASONIC_REDIS_PASSWORD_FILE: '/secrets/redis' };
    expect(problems(both)).toEqual([expect.stringMatching(/^SILVASONIC_REDIS_PASSWORD_FILE: .*one of the two/)]);
  });
});

describe('readPostgresPassword', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'silvasonic-config-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const withFile = (name: string) => good({ POSTGRES_PASSWORD_FILE: join(folder, name) }).postgres;

  it('hands out what was given', async () => {
    writeFileSync(join(folder, 'password'), ' pass word \n');
    expect(await readPostgresPassword(withFile('password'))).toEqual({ ok: true, value: ' pass word ' });
    expect(await readPostgresPassword(good({ POSTGRES_PASSWORD: ' x ' }).postgres)).toEqual({ ok: true, value: ' x ' });
    expect(await readPostgresPassword(good({}).postgres)).toEqual({ ok: true, value: null });
  });

  it('says what is wrong with the file, not what is in it', async () => {
    writeFileSync(join(folder, 'two'), 'hunter2\nhunter3\n');
    writeFileSync(join(folder, 'empty'), '\n');
    for (const name of ['two', 'empty', 'missing']) {
      const read = await readPostgresPassword(withFile(name));
      expect(read).toEqual({ ok: false, message: expect.stringContaining(join(folder, name)) });
      expect(JSON.stringify(read)).not.toContain('hunter');
    }
  });
});
