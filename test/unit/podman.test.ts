/** From specs to Podman's words and from Podman's words to sentences. The wordings are those of Podman, runc and crun. */
import { describe, expect, test } from 'vitest';
import {
  createBody,
  imageIdOf,
  noConcessions,
  plainName,
  stateOf,
} from '../../services/controller/podman-container.ts';
import { concede, isAboutTheHost, mergeConcessions, missingLimits } from '../../services/controller/podman-limits.ts';
import { explainRefusal } from '../../services/controller/podman-refusals.ts';
import type { ContainerSpec } from '../../services/controller/world.ts';

const spec: ContainerSpec = {
  name: 'silvasonic-12345678-recorder-robin',
  image: 'localhost/silvasonic-recorder:latest',
  env: { A: '1', B: 'x=y z' },
  labels: { one: 'two' },
  network: 'none',
  binds: [
    { source: '/data/robin', target: '/app/workspace', readOnly: false },
    { source: '/etc/robin', target: '/etc/robin', readOnly: true },
  ],
  devices: [{ path: '/dev/snd/pcmC1D0c', major: 116, minor: 24 }],
  limits: { memoryBytes: 512 * 1024 ** 2, cpus: 0.1, pids: 64, oomScoreAdj: -999, logBytes: 10_485_760 },
  capabilities: ['NET_RAW'],
  readOnlyRoot: true,
  tmpfs: { '/tmp': 1024 },
  stopTimeoutS: 10,
  ports: [],
  entrypoint: null,
  command: null,
  user: null,
};

const info = { MemoryLimit: true, CpuCfsQuota: true, PidsLimit: true, SecurityOptions: [], CgroupVersion: '2' };
const applied = { Memory: 512 * 1024 ** 2, NanoCpus: 100_000_000, PidsLimit: 64, OomScoreAdj: -999 };
const inspected = (hostConfig: object = {}) => ({
  Id: 'c1',
  State: {},
  Config: {},
  HostConfig: { ...applied, ...hostConfig },
});

describe('the body of a creation', () => {
  test('says all that a spec says', () => {
    expect(createBody(spec, noConcessions)).toEqual({
      name: spec.name,
      Image: spec.image,
      Env: ['A=1', 'B=x=y z'],
      Labels: { one: 'two' },
      StopTimeout: 10,
      HostConfig: {
        NetworkMode: 'none',
        Binds: ['/data/robin:/app/workspace:rw', '/etc/robin:/etc/robin:ro'],
        Devices: [{ PathOnHost: '/dev/snd/pcmC1D0c', PathInContainer: '/dev/snd/pcmC1D0c', CgroupPermissions: 'rw' }],
        CapDrop: ['ALL'],
        CapAdd: ['NET_RAW'],
        SecurityOpt: ['no-new-privileges', 'label=disable'],
        ReadonlyRootfs: true,
        Tmpfs: { '/tmp': 'rw,nosuid,nodev,mode=1777,size=1024' },
        RestartPolicy: { Name: 'no' },
        LogConfig: { Type: 'k8s-file', Config: { 'max-size': '10485760b' } },
        OomScoreAdj: -999,
        Memory: 536_870_912,
        NanoCpus: 100_000_000,
        PidsLimit: 64,
      },
    });
  });

  test('without what was given up, and nothing else changed', () => {
    const concessions = {
      oomScoreFloor: 100,
      withoutMemory: true,
      withoutCpus: true,
      withoutPids: true,
      ulimits: true,
    };
    const { HostConfig, ...rest } = createBody(spec, concessions);
    const { HostConfig: full, ...fullRest } = createBody(spec, noConcessions);
    const { Memory: _memory, NanoCpus: _cpus, PidsLimit: _pids, ...kept } = full ?? {};
    expect(rest).toEqual(fullRest);
    expect(HostConfig).toEqual({
      ...kept,
      OomScoreAdj: 100,
      Ulimits: [
        { Name: 'nofile', Soft: 4096, Hard: 4096 },
        { Name: 'nproc', Soft: 4096, Hard: 4096 },
      ],
    });
  });
});

test.each([
  ['running', 'live'],
  ['paused', 'live'],
  ['exited', 'ended'],
  ['dead', 'ended'],
  ['created', 'created'],
  ['configured', 'created'],
  ['stopping', 'moving'],
  ['removing', 'moving'],
  ['something new', 'moving'],
  ['constructor', 'moving'],
])('state %s is %s', (word, state) => {
  expect(stateOf(word)).toBe(state);
});

test('ids and names in one form', () => {
  expect([imageIdOf('abc'), imageIdOf('sha256:abc')]).toEqual(['sha256:abc', 'sha256:abc']);
  expect([plainName('/a'), plainName('a')]).toEqual(['a', 'a']);
});

describe('what a refused start gives up', () => {
  test.each<[string, object | null]>([
    [
      "runc create failed: unable to start container process: can't get final child's PID from pipe: EOF",
      { oomScoreFloor: 0 },
    ],
    ['crun: write to `/proc/self/oom_score_adj`: Permission denied: OCI permission denied', { oomScoreFloor: 0 }],
    ['crun: the requested cgroup controller `memory` is not available', { withoutMemory: true }],
    ['crun: the requested cgroup controller `cpu` is not available', { withoutCpus: true }],
    ['crun: the requested cgroup controller `pids` is not available', { withoutPids: true }],
    ['crun: opening file `memory.max` for writing: No such file or directory', { withoutMemory: true }],
    ['open /sys/fs/cgroup/x/cpu.max: no such file or directory', { withoutCpus: true }],
    [
      'error setting cgroup config for procHooks process: unable to set memory limit to 1 (current usage: 2)',
      { withoutMemory: true },
    ],
    [
      'runc: cannot enter cgroup: it is in an invalid state',
      { withoutMemory: true, withoutCpus: true, withoutPids: true },
    ],
    ['error setting rlimit type 7: operation not permitted', { ulimits: true }],
    ['stat /dev/snd/pcmC1D0c: no such file or directory', null],
    ['exec: "node": executable file not found in $PATH', null],
  ])('%s', (message, given) => {
    expect(concede(message, spec, noConcessions)).toEqual(given === null ? null : { ...noConcessions, ...given });
  });

  test('each time less, until there is nothing left to give', () => {
    const messages = [
      'oom_score_adj',
      'controller `memory`',
      'controller `cpu`',
      'controller `pids`',
      'rlimit',
      'cgroup',
    ];
    for (const message of messages) {
      let given = noConcessions;
      let steps = 0;
      for (let next = concede(message, spec, given); next !== null; next = concede(message, spec, given)) {
        expect(mergeConcessions(given, next)).toEqual(next);
        given = next;
        steps += 1;
      }
      expect(steps).toBeGreaterThan(0);
      expect(steps).toBeLessThan(5);
    }
  });

  test('a score that is high enough is not raised', () => {
    const expendable = { ...spec, limits: { ...spec.limits, oomScoreAdj: 500 } };
    expect(concede("can't get final child's PID from pipe", expendable, noConcessions)).toBeNull();
  });

  test('a limit that is too small says nothing of the host', () => {
    expect(isAboutTheHost('unable to set memory limit to 1 (current usage: 2)')).toBe(false);
    expect(isAboutTheHost('controller `memory` is not available')).toBe(true);
  });
});

describe('what is told of limits', () => {
  const reasons = (started: Partial<Parameters<typeof missingLimits>[1]>): string[] =>
    missingLimits(spec.limits, { concessions: noConcessions, inspected: inspected(), info, ...started }).map(
      ({ reason }) => reason,
    );

  test('nothing while all hold, or while nothing is known', () => {
    expect(reasons({})).toEqual([]);
    expect(reasons({ info: null, inspected: null })).toEqual([]);
    const asQuota = inspected({ NanoCpus: 0, CpuQuota: 10_000 });
    expect(reasons({ inspected: asQuota })).toEqual([]);
  });

  test.each<[string, Partial<Parameters<typeof missingLimits>[1]>, string[]]>([
    ['refused score', { concessions: { ...noConcessions, oomScoreFloor: 0 }, inspected: null }, ['OomScoreRefused']],
    ['score that the engine raised', { inspected: inspected({ OomScoreAdj: 100 }) }, ['OomScoreIgnored']],
    ['refused memory', { concessions: { ...noConcessions, withoutMemory: true } }, ['MemoryLimitRefused']],
    ['memory that was dropped', { inspected: inspected({ Memory: 0 }) }, ['MemoryLimitIgnored']],
    ['no memory cgroup', { info: { ...info, MemoryLimit: false } }, ['MemoryLimitIgnored']],
    ['no quota', { info: { ...info, CpuCfsQuota: false } }, ['CpuLimitIgnored']],
    ['pids that were dropped', { inspected: inspected({ PidsLimit: null }) }, ['PidsLimitIgnored']],
    [
      'rootless without delegation',
      { info: { ...info, SecurityOptions: ['name=rootless'], CgroupDriver: 'cgroupfs' } },
      ['MemoryLimitIgnored', 'CpuLimitIgnored', 'PidsLimitIgnored'],
    ],
    [
      'rootless with delegation',
      { info: { ...info, SecurityOptions: ['name=rootless'], CgroupDriver: 'systemd' } },
      [],
    ],
  ])('%s', (_what, started, expected) => {
    expect(reasons(started)).toEqual(expected);
  });

  test('in one sentence that says what to do', () => {
    const all = missingLimits(spec.limits, {
      concessions: { oomScoreFloor: 0, withoutMemory: true, withoutCpus: true, withoutPids: true, ulimits: false },
      inspected: null,
      info,
    });
    expect(all.map(({ message }) => message)).toEqual([
      'It runs with the OOM score 0 instead of -999, which Podman may not set here, so it is less protected when memory runs out: give Podman the capability CAP_SYS_RESOURCE.',
      'It runs without its memory limit of 512 MiB, which Podman refuses here: have the kernel keep the memory cgroup (on a Raspberry Pi add "cgroup_enable=memory cgroup_memory=1" to the line in /boot/firmware/cmdline.txt and reboot), or set a limit above what it needs to start.',
      'It runs without its limit of 0.1 CPU, which Podman refuses here: use a kernel with CONFIG_CFS_BANDWIDTH.',
      'It runs without its limit of 64 processes, which Podman refuses here: use a kernel with CONFIG_CGROUP_PIDS.',
    ]);
  });
});

describe('refusals', () => {
  test.each<[string, string, string]>([
    ['no such image: localhost/silvasonic-recorder:latest: image not known', 'blocked', 'ImageMissing'],
    ['container create: unable to find network with name or ID x: network not found', 'blocked', 'NetworkMissing'],
    ['container create: stat /dev/snd/pcmC1D0c: no such file or directory', 'failed', 'DeviceMissing'],
    ['crun: mknod `/dev/snd/pcmC1D0c`: Operation not permitted', 'blocked', 'DeviceForbidden'],
    ['statfs /data/robin: no such file or directory', 'failed', 'FolderUnreachable'],
    [
      'making volume mountpoint for volume /etc/robin: mkdir /etc/robin: permission denied',
      'failed',
      'FolderUnreachable',
    ],
    ['mkdir /var/lib/containers/x: no space left on device', 'failed', 'DiskFull'],
    ['exec: "node": executable file not found in $PATH', 'failed', 'StartFailed'],
  ])('%s', (message, kind, reason) => {
    const outcome = explainRefusal('start', { status: 500, message }, spec);
    expect(outcome).toMatchObject({ kind, reason });
    const sentence = 'message' in outcome ? outcome.message : '';
    expect(sentence.length).toBeGreaterThan(20);
    if (reason === 'StartFailed') expect(sentence).toContain(message);
  });
});
