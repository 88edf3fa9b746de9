import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../services/controller/config.ts';
import { makeSecrets } from '../../services/controller/make-secrets.ts';
import { foldersByMounts, type Mount, possibleContainerIds } from '../../services/controller/own-mounts.ts';

const ID = 'a1'.repeat(32);
const OTHER = 'b2'.repeat(32);
const nothing = { containerenv: '', mountinfo: '', cgroup: '', hostname: 'station' };

describe('which container this is', () => {
  it.each([
    ['its own mark', { containerenv: `engine="podman-4.3.1"\nname="x"\nid="${ID}"\nimage="y"\n` }],
    [
      "a file that the engine mounts from the container's folder",
      {
        mountinfo: `900 1 0:1 / /data rw - overlay overlay rw,lowerdir=/${OTHER}/x\n901 1 0:2 /containers/overlay-containers/${ID}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n`,
      },
    ],
    ['cgroups v1', { cgroup: `12:pids:/libpod_parent/libpod-${ID}\n` }],
    ['cgroups v2', { cgroup: `0::/machine.slice/libpod-${ID}.scope/container\n` }],
  ])('by %s', (_how, texts) => {
    expect(possibleContainerIds({ ...nothing, ...texts })).toEqual([ID]);
  });

  it('by a host name only where that has the form of an id, and the surest way first', () => {
    expect(possibleContainerIds(nothing)).toEqual([]);
    expect(possibleContainerIds({ ...nothing, hostname: 'a1a1a1a1a1a1\n' })).toEqual(['a1a1a1a1a1a1']);
    const all = {
      ...nothing,
      containerenv: `id="${ID}"`,
      cgroup: `0::/libpod-${OTHER}.scope`,
      hostname: 'c3c3c3c3c3c3',
    };
    expect(possibleContainerIds(all)).toEqual([ID, OTHER, 'c3c3c3c3c3c3']);
  });
});

describe('where the folders of the container lie on the host', () => {
  const config = (environment: Record<string, string> = {}) => {
    const read = readConfig({ CONTAINER_SOCKET: '/run/podman/podman.sock', ...environment }, { insideContainer: true });
    if (!read.ok) throw new Error(read.problems.join());
    return read.value;
  };
  const mounts = (...more: [destination: string, source: string][]): Mount[] =>
    [
      ['/app/recorder-workspace', '/mnt/ssd/recorder'],
      ['/app/services', '/mnt/ssd/services'],
      ['/app/secrets', '/var/lib/containers/storage/volumes/secrets/_data'],
      ...more,
    ].map(([destination = '', source = '']) => ({ destination, source }));

  it('each by its own mount, the run folder beside the socket where it has none', () => {
    expect(foldersByMounts(config(), mounts(['/run/podman', '/run/user/1000/podman']))).toEqual({
      ok: true,
      value: {
        hostRecorderWorkspace: '/mnt/ssd/recorder',
        hostServicesFolder: '/mnt/ssd/services',
        hostSecretsFolder: '/var/lib/containers/storage/volumes/secrets/_data',
        runPath: '/run/podman/silvasonic',
        hostRunPath: '/run/user/1000/podman/silvasonic',
      },
    });
    expect(
      foldersByMounts(config(), mounts(['/run/podman', '/run/podman'], ['/run/silvasonic', '/run/silva'])),
    ).toMatchObject({ value: { runPath: '/run/silvasonic', hostRunPath: '/run/silva' } });
  });

  it.each([
    ['/app/recorder-workspace is no mount', {}, [{ destination: '/run/silvasonic', source: '/run/silvasonic' }]],
    ['/run/silvasonic is no mount of this container, nor is the folder of /run/podman/podman.sock', {}, mounts()],
    [
      'SILVASONIC_WORKSPACE_PATH: "/mnt/hdd" was given, but /mnt/hdd/recorder is not what is mounted here, which is /mnt/ssd/recorder',
      { SILVASONIC_WORKSPACE_PATH: '/mnt/hdd' },
      mounts(['/run/silvasonic', '/run/silvasonic']),
    ],
    [
      'SILVASONIC_RUN_PATH: "/run/other" was given',
      { SILVASONIC_RUN_PATH: '/run/other' },
      mounts(['/run/silvasonic', '/run/silvasonic']),
    ],
  ])('refuses with a sentence: %s', (sentence, environment, given) => {
    expect(foldersByMounts(config(environment), given)).toEqual({
      ok: false,
      message: expect.stringContaining(sentence),
    });
  });

  it('takes what was given where that is what is mounted', () => {
    const environment = { SILVASONIC_WORKSPACE_PATH: '/mnt/ssd', SILVASONIC_RUN_PATH: '/run/silvasonic' };
    expect(foldersByMounts(config(environment), mounts(['/run/silvasonic', '/run/silvasonic']))).toMatchObject({
      ok: true,
    });
  });
});

describe('makeSecrets', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'silvasonic-secrets-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');

  it('makes each password once, another one each time, for its owner alone', async () => {
    const files = ['owner/password', 'page/password', 'redis/password', 'redis/redis.conf'];
    expect(await makeSecrets(folder)).toEqual(files);
    expect(files.map((name) => statSync(join(folder, name)).mode & 0o777)).toEqual([0o600, 0o600, 0o600, 0o600]);
    const passwords = files.slice(0, 3).map(read);
    expect(new Set(passwords).size).toBe(3);
    for (const password of passwords) expect(password).toMatch(/^[\w-]{32}\n$/);
    expect(read('redis/redis.conf')).toBe(`requirepass ${read('redis/password')}`);
    expect(await makeSecrets(folder)).toEqual([]);
    expect(files.slice(0, 3).map(read)).toEqual(passwords);
  });

  it('completes what an interrupted run left', async () => {
    await makeSecrets(folder);
    rmSync(join(folder, 'redis/redis.conf'));
    writeFileSync(join(folder, 'redis/password'), 'kept\n');
    expect(await makeSecrets(folder)).toEqual(['redis/redis.conf']);
    expect(read('redis/redis.conf')).toBe('requirepass kept\n');
  });
});
