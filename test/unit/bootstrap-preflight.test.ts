import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { preflight } from './station-scripts.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-preflight-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('platform', () => {
  it('refuses other systems and 32 bits', () => {
    expect(() => preflight.checkPlatform({ platform: 'darwin', arch: 'arm64' })).toThrow(/darwin.*needs Linux/);
    expect(() => preflight.checkPlatform({ platform: 'linux', arch: 'arm' })).toThrow(/arm.*64-bit/);
    expect(() => preflight.checkPlatform({ platform: 'linux', arch: 'ia32' })).toThrow(/ia32.*64-bit/);
  });

  it('takes 64-bit Linux', () => {
    expect(() => preflight.checkPlatform({ platform: 'linux', arch: 'x64' })).not.toThrow();
    expect(() => preflight.checkPlatform({ platform: 'linux', arch: 'arm64' })).not.toThrow();
  });

  it('knows a Debian that is new enough', () => {
    expect(preflight.isDebianFrom(12, { id: 'debian', version: '12' })).toBe(true);
    expect(preflight.isDebianFrom(13, { id: 'debian', version: '12' })).toBe(false);
    expect(preflight.isDebianFrom(13, { id: 'debian', version: '' })).toBe(true);
    expect(preflight.isDebianFrom(12, { id: 'ubuntu', version: '24.04' })).toBe(false);
  });
});

describe('data folder', () => {
  const user = { uid: 1000, home: '/home/ada' };

  it("is root's, the user's, or the one that was named", () => {
    expect(preflight.dataFolder({ env: {}, uid: 0, home: '/root' })).toBe('/var/lib/silvasonic');
    expect(preflight.dataFolder({ env: {}, ...user })).toBe('/home/ada/.local/share/silvasonic');
    expect(preflight.dataFolder({ env: { XDG_DATA_HOME: '/data' }, ...user })).toBe('/data/silvasonic');
    expect(preflight.dataFolder({ env: { SILVASONIC_WORKSPACE_PATH: '/srv/birds/' }, ...user })).toBe('/srv/birds/');
  });

  it('must be absolute', () => {
    expect(() => preflight.dataFolder({ env: { SILVASONIC_WORKSPACE_PATH: 'birds' }, ...user })).toThrow(
      /"birds".*absolute path/,
    );
  });

  it('says so when it cannot be written', () => {
    writeFileSync(join(folder, 'file'), '');
    expect(() => preflight.prepareFolder(join(folder, 'file', 'data'))).toThrow(/cannot be written \(ENOTDIR\)/);
  });
});

describe('the lock of a station', () => {
  /** A process that holds the lock, and a child of its own that inherits the descriptor, as a station does. */
  const holder = `
    const { takeStationLock } = require(process.argv[1]);
    takeStationLock(process.argv[2]);
    console.log('held');
    setInterval(() => {}, 1000);`;
  const script = resolve(import.meta.dirname, '../../services/station/preflight.cjs');

  it('refuses a second station and names the first, until that one is killed', async () => {
    const child = spawn(process.execPath, ['-e', holder, script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    expect(() => preflight.takeStationLock(folder)).toThrow(new RegExp(`process ${child.pid}.*kill ${child.pid}`));

    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    const lock = preflight.takeStationLock(folder);
    closeSync(lock);
  });

  it('is taken on a full disk too: how little room there is, another check says in a sentence', () => {
    symlinkSync('/dev/full', join(folder, 'station.lock'));
    closeSync(preflight.takeStationLock(folder));
  });

  it('is a lock of one folder', () => {
    mkdirSync(join(folder, 'a'));
    mkdirSync(join(folder, 'b'));
    const locks = [preflight.takeStationLock(join(folder, 'a')), preflight.takeStationLock(join(folder, 'b'))];
    for (const lock of locks) closeSync(lock);
  });
});

describe('ports', () => {
  it('come from the environment', () => {
    expect(preflight.stationPorts({}).map(({ port }) => port)).toEqual([9100, 8090]);
    const ports = preflight.stationPorts({ SILVASONIC_CONTROLLER_PORT: '9200', SILVASONIC_WEB_PORT: '80' });
    expect(ports.map(({ port }) => port)).toEqual([9200, 80]);
  });

  it.each(['0', '65536', 'http', '80.5', ' 80'])('refuses "%s"', (value) => {
    expect(() => preflight.stationPorts({ SILVASONIC_WEB_PORT: value })).toThrow(/SILVASONIC_WEB_PORT.*1 to 65535/);
  });

  it('refuses one port for both', () => {
    expect(() => preflight.stationPorts({ SILVASONIC_WEB_PORT: '9100' })).toThrow(/both 9100/);
  });

  it('names who has a port, and how to choose another', async () => {
    const server = createServer().listen(0);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await expect(preflight.checkPort({ use: 'web page', variable: 'SILVASONIC_WEB_PORT', port })).rejects.toThrow(
      new RegExp(`Port ${port}.*process ${process.pid} .*SILVASONIC_WEB_PORT=`),
    );
    server.close();
    await once(server, 'close');
    await expect(preflight.checkPort({ use: 'web page', variable: 'X', port })).resolves.toBeUndefined();
  });
});

describe('addresses to listen on', () => {
  it.each([
    ['SILVASONIC_WEB_BIND', '192.0.2.1'],
    ['SILVASONIC_WEB_BIND', 'no address.'],
    ['SILVASONIC_CONTROLLER_BIND', '192.0.2.1'],
  ])('%s: where "%s" is none of this machine, that is said, and no other port asked for', async (variable, value) => {
    const checks = preflight.stationPorts({ [variable]: value }).filter(({ host }) => host === value);
    await expect(Promise.all(checks.map(preflight.checkPort))).rejects.toThrow(
      new RegExp(`^${variable} is "${value}".*this machine`),
    );
  });
});

describe('disk and network', () => {
  it('compares free space with what is needed', () => {
    expect(() => preflight.checkDisk(folder, 1, 'a start')).not.toThrow();
    expect(() => preflight.checkDisk(folder, 1e18, 'a start')).toThrow(/GB free, and a start needs 1000000000\.0 GB/);
  });

  it('tells a reachable server from one that is not', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const target = { url: `http://127.0.0.1:${port}/`, purpose: 'packages must be fetched' };
    await expect(preflight.checkNetwork(target)).resolves.toBeUndefined();
    server.close();
    await once(server, 'close');
    await expect(preflight.checkNetwork(target)).rejects.toThrow(/^No network: 127\.0\.0\.1.*ECONNREFUSED/);
  });
});

describe('programs', () => {
  it('are found in the PATH and beside it, and only when they can be run', () => {
    const program = join(folder, 'podman');
    writeFileSync(program, '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(join(folder, 'notes'), '', { mode: 0o644 });
    mkdirSync(join(folder, 'directory'));
    const inPath = { searchPath: `/nowhere:${folder}`, folders: [] };
    expect(preflight.findCommand('podman', inPath)).toBe(program);
    expect(preflight.findCommand('podman', { searchPath: '', folders: [folder] })).toBe(program);
    expect(preflight.findCommand('directory', inPath)).toBeNull();
    expect(preflight.findCommand('absent', inPath)).toBeNull();
  });
});
