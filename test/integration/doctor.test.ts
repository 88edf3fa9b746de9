/** The doctor on a real engine, in a container, and on a machine made of files and small programs. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { examine } from '../../services/station/doctor-checks.ts';
import type { DoctorFacts, Finding } from '../../services/station/doctor-facts.ts';
import { gather } from '../../services/station/doctor-gather.ts';
import { createLook } from '../../services/station/doctor-look.ts';
import { runProgram } from '../../services/station/run-program.ts';
import { TEST_IMAGE, type TestEngine, testEngine } from './engine.ts';
import { stationEngine } from './station-engine.ts';

const DEADLINE_MS = 60_000;
let folder: string;
let program: string;
let engine: TestEngine;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-doctor-'));
  for (const name of ['node_modules', 'migrations', 'profiles']) symlinkSync(resolve(name), join(folder, name));
  program = join(folder, 'dist/doctor.mjs');
  await build({
    entryPoints: ['services/station/doctor.ts'],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['usb'],
    banner: { js: "import { createRequire as cr } from 'node:module'; const require = cr(import.meta.url);" },
  });
  engine = await testEngine();
});
afterAll(async () => {
  await engine?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Told {
  code: number;
  ok: boolean;
  findings: Finding[];
}

async function ask(environment: Record<string, string>): Promise<Told> {
  const result = await runProgram(process.execPath, [program, '--json'], {
    timeoutMs: DEADLINE_MS,
    env: {
      PATH: process.env.PATH,
      SILVASONIC_WORKSPACE_PATH: join(folder, 'workspace'),
      SILVASONIC_CONTROLLER_PORT: '1',
      ...environment,
    },
  });
  expect(result.stderr).toBe('');
  return { code: result.code, ...JSON.parse(result.stdout) };
}

function about({ findings }: Pick<Told, 'findings'>, title: string): Finding {
  const found = findings.find((finding) => finding.title === title);
  if (found === undefined) throw new Error(`Nothing is said of "${title}".`);
  return found;
}

describe('this machine', () => {
  test('an engine that answers: its version, its images, its limits, no more than it is', async () => {
    const told = await ask({ CONTAINER_SOCKET: engine.socketPath, SILVASONIC_RECORDER_IMAGE: TEST_IMAGE });
    expect(about(told, "Podman's socket")).toMatchObject({
      state: 'ok',
      message: expect.stringContaining(engine.socketPath),
    });
    const [version = ''] = /\d+\.\d+\.\d+/.exec(await engine.podman('--version')) ?? [];
    expect(about(told, 'Podman').message).toContain(`Podman ${version} `);
    expect(about(told, 'Images').message).toContain(TEST_IMAGE);
    const offered = JSON.parse(await engine.podman('info', '--format', 'json')).host.cgroupControllers;
    expect(about(told, 'Memory limits').state === 'ok').toBe(offered.includes('memory'));
    expect(told.ok).toBe(!told.findings.some(({ state }) => state === 'problem'));
    expect(told.code).toBe(told.ok ? 0 : 1);
  });

  test('the recorder image is not there: how it is built', async () => {
    const told = await ask({ CONTAINER_SOCKET: engine.socketPath });
    expect(about(told, 'Images')).toMatchObject({
      state: 'warning',
      cure: [expect.stringContaining('podman build -t')],
    });
  });

  test('no socket, a folder in its place, nobody behind it, a deaf one: each with its own cure', async () => {
    const absent = join(folder, 'absent.sock');
    expect(about(await ask({ CONTAINER_SOCKET: absent }), "Podman's socket")).toMatchObject({ state: 'problem' });
    const place = join(folder, 'folder.sock');
    mkdirSync(place);
    const told = await ask({ CONTAINER_SOCKET: place });
    expect(about(told, "Podman's socket")).toMatchObject({
      state: 'problem',
      cure: expect.arrayContaining([expect.stringContaining(`rmdir ${place}`)]),
    });
    expect(told.code).toBe(1);
    const left = join(folder, 'left.sock');
    const begin = `require('net').createServer().listen('${left}', () => process.kill(process.pid, 'SIGKILL'))`;
    await runProgram(process.execPath, ['-e', begin], { timeoutMs: DEADLINE_MS });
    expect(about(await ask({ CONTAINER_SOCKET: left }), "Podman's socket").message).toContain('nobody listens on it');
    const deaf = createServer().listen(join(folder, 'deaf.sock'));
    const heard = await ask({ CONTAINER_SOCKET: join(folder, 'deaf.sock') });
    expect(about(heard, "Podman's socket").message).toContain('does not answer');
    deaf.close();
  });

  test('a database that is named and away is a problem; none that is named is no finding', async () => {
    const away = await ask({ POSTGRES_HOST: '127.0.0.1', POSTGRES_PORT: '1' });
    expect(about(away, 'Database')).toMatchObject({
      state: 'problem',
      message: expect.stringContaining('not running'),
    });
    expect((await ask({})).findings.map(({ title }) => title)).not.toContain('Database');
  });

  test('wrong variables are told, and the rest is looked at', async () => {
    const told = await ask({ LOG_LEVEL: 'loud', CONTAINER_SOCKET: engine.socketPath });
    expect(about(told, 'Configuration')).toMatchObject({
      state: 'problem',
      message: expect.stringContaining('LOG_LEVEL'),
    });
    expect(told.findings.length).toBeGreaterThan(15);
  });

  test('for people: groups, words, no colours where there is no terminal; an unknown word is refused', async () => {
    const env = { PATH: process.env.PATH, CONTAINER_SOCKET: engine.socketPath };
    const { stdout } = await runProgram(process.execPath, [program], { timeoutMs: DEADLINE_MS, env });
    for (const group of ['Machine', 'Engine', 'Limits', 'Disk', 'Microphones'])
      expect(stdout).toContain(`\n${group}\n`.trimStart());
    expect(stdout).not.toContain('\u001b');
    const refused = await runProgram(process.execPath, [program, '--jsno'], { timeoutMs: DEADLINE_MS, env });
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining('--jsno is not known') });
  });
});

test('in a container that is privileged as the controller’s is: the engine is seen, what only the host shows is said', async () => {
  const { podman, recorderImage, socketPath } = stationEngine();
  const output = await podman(
    ...['run', '--rm', '--privileged', '--network=none', '--entrypoint=sh'],
    ...['-v', `${dirname(program)}:/app/dist:ro`, '-v', `${resolve('node_modules')}:/app/node_modules:ro`],
    ...['-v', `${dirname(socketPath)}:/run/podman`, '-e', `CONTAINER_SOCKET=/run/podman/podman.sock`],
    ...[recorderImage, '-c', 'node /app/dist/doctor.mjs --json || true'],
  );
  const told: Told = JSON.parse(output);
  expect(about(told, "Podman's socket").state).toBe('ok');
  expect(about(told, 'Images')).toMatchObject({ state: 'ok', message: expect.stringContaining(recorderImage) });
  expect(about(told, 'podman.socket')).toMatchObject({
    state: 'unknown',
    message: expect.stringContaining('on the host'),
  });
  // There is always one meant there, and in this container there is none.
  expect(about(told, 'Database').state).toBe('problem');
});

describe('another machine, made of files and small programs', () => {
  /** Files below a root; programs by what they print. A `null` text makes a program that never ends. */
  async function look(files: Record<string, string>, programs: Record<string, string | null>): Promise<DoctorFacts> {
    const root = mkdtempSync(join(folder, 'machine-'));
    const bin = join(root, 'bin');
    const usual = {
      '/proc/self/status': 'CapEff:\t000001ffffffffff\n',
      '/proc/self/limits': 'Max processes 62000 62000 processes\nMax open files 1024 524288 files\n',
      '/proc/self/mounts': '/dev/mmcblk0p2 / ext4 rw,noatime 0 0\ntmpfs /run tmpfs rw,nosuid,size=400000k 0 0\n',
      '/proc/sys/kernel/pid_max': '4194304\n',
      '/run/systemd/system/.keep': '',
      '/var/lib/silvasonic/.keep': '',
    };
    for (const [path, text] of Object.entries({ ...usual, ...files })) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    mkdirSync(bin);
    for (const [name, text] of Object.entries(programs)) {
      const body = text === null ? 'exec sleep 600' : `cat <<'END'\n${text}\nEND`;
      writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
      chmodSync(join(bin, name), 0o755);
    }
    const environment = {
      PATH: bin,
      SILVASONIC_CONTROLLER_PORT: '1',
      SILVASONIC_WORKSPACE_PATH: '/var/lib/silvasonic',
    };
    return await gather({ look: createLook(environment, root), insideContainer: false });
  }

  test('a Raspberry Pi as its system comes', async () => {
    const facts = await look(
      {
        '/proc/device-tree/model': 'Raspberry Pi 4 Model B Rev 1.4\0',
        '/proc/cmdline': 'coherent_pool=1M cgroup_disable=memory root=PARTUUID=9d1a-02 rootwait\n',
        '/boot/firmware/cmdline.txt': 'console=tty1 root=PARTUUID=9d1a-02 rootwait\n',
        '/etc/os-release': 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        '/proc/asound/cards': ' 1 [Ultramic384K   ]: USB-Audio - Ultramic384K\n                      Dodotronic\n',
        [`/var/lib/systemd/linger/${userInfo().username}`]: '',
        '/var/lib/silvasonic/controller/last-good.json': '{"schema": 1}',
      },
      {
        vcgencmd: 'throttled=0x50000',
        timedatectl: 'yes',
        systemctl: 'enabled',
        dmesg: '[    1.0] usb 1-1: new device\n[  912.4] hwmon hwmon1: Undervoltage detected!',
        podman: 'podman version 4.3.1',
      },
    );
    expect(facts.machine).toMatchObject({
      raspberryPi: 'Raspberry Pi 4 Model B Rev 1.4',
      distribution: { id: 'debian', version: '12' },
      systemd: true,
    });
    expect(facts.limits).toMatchObject({
      commandLineFile: '/boot/firmware/cmdline.txt',
      host: { value: { mayRaiseLimits: true, openFiles: 524_288, processes: 62_000, cgroupsV1: false } },
    });
    expect(facts.power).toEqual({
      throttled: { ok: true, value: 0x50000 },
      kernelLog: { ok: true, value: ['[  912.4] hwmon hwmon1: Undervoltage detected!'] },
    });
    expect(facts.clock.synchronised).toEqual({ ok: true, value: true });
    expect(facts.sound.cards).toEqual({ ok: true, value: ['1 [Ultramic384K ]: USB-Audio - Ultramic384K'] });
    expect(facts.starting).toMatchObject({ linger: { value: true }, units: [{ state: { value: 'enabled' } }, {}, {}] });
    expect(facts.disk).toMatchObject({
      recordings: { value: { kind: 'ext4', source: '/dev/mmcblk0p2', path: '/var/lib/silvasonic' } },
      run: { value: { kind: 'tmpfs' } },
      marker: { ok: true, value: false },
      // Unreadable is not "no station was here".
      marked: { ok: false },
    });
    expect(about({ findings: examine(facts) }, 'Memory limits').cure[0]).toContain('/boot/firmware/cmdline.txt');
  });

  test('nothing is installed, and programs hang: everything is told nevertheless', async () => {
    const facts = await look({}, { timedatectl: null, dmesg: null, systemctl: null });
    expect(facts.clock.synchronised.ok).toBe(false);
    expect(facts.power.kernelLog.ok).toBe(false);
    expect(facts.starting.units.map(({ state }) => state.ok)).toEqual([false, false, false]);
    expect(examine(facts).length).toBeGreaterThan(15);
  });
});
