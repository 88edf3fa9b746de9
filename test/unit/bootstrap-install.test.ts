import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { install, nodePackages, packageManagers } from './station-scripts.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-install-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const machine = { purpose: 'start', uid: 0, unifiedCgroups: true, newDebian: false };
/** A machine with these programs and no others. */
const having =
  (...programs: string[]) =>
  (name: string): string | null =>
    programs.includes(name) ? `/usr/bin/${name}` : null;
const packagesFor = (options: typeof machine, ...programs: string[]) => {
  const find = having(...programs);
  return install.planInstallation(install.missingNeeds(install.needs(options), find), find).packages;
};

describe('what is installed', () => {
  it('is everything on a bare Debian, and nothing twice', () => {
    expect(packagesFor(machine, 'apt-get')).toEqual([
      'podman',
      'crun',
      'netavark',
      'aardvark-dns',
      'iptables',
      'util-linux',
      'mmdebstrap',
    ]);
  });

  it('leaves out what is there', () => {
    const rest = ['netavark', 'aardvark-dns', 'nft', 'flock', 'mmdebstrap'];
    expect(packagesFor(machine, 'apt-get', 'runc', ...rest)).toEqual(['podman']);
    expect(packagesFor(machine, 'apt-get', 'podman', 'crun', ...rest)).toEqual([]);
  });

  it('is runc beside cgroups v1, where crun refuses to run', () => {
    const mixed = { ...machine, unifiedCgroups: false };
    expect(packagesFor(mixed, 'apt-get', 'crun')).toContain('runc');
  });

  it('adds what containers without root need', () => {
    expect(packagesFor({ ...machine, uid: 1000 }, 'apt-get')).toEqual(
      expect.arrayContaining(['uidmap', 'slirp4netns', 'fuse-overlayfs']),
    );
  });

  it('for the tests holds Redis without its daemon', () => {
    const packages = packagesFor({ ...machine, purpose: 'test' }, 'apt-get');
    expect(packages).toEqual(expect.arrayContaining(['umockdev', 'alsa-utils', 'redis-tools']));
    expect(packages).not.toContain('redis-server');
  });

  it('names what no package of a distribution offers, but not what only Debian has', () => {
    const need = { why: 'x', commands: ['nosuch'], apt: 'nosuch' };
    const onFedora = install.planInstallation([need, ...install.needs(machine)], having('dnf'));
    expect(onFedora.unmet).toEqual([need]);
    expect(onFedora.packages).not.toContain(undefined);
  });
});

describe('rights', () => {
  it('asks for root where there is no sudo', () => {
    expect(() => install.findRights(['podman'], { uid: 1000, find: having() })).toThrow(/as root, install podman/);
  });

  it('hands the environment through sudo, which would drop it', () => {
    const rights = install.findRights([], { uid: 1000, find: having('sudo') });
    const wrapped = rights.wrap('apt-get', ['update'], { DEBIAN_FRONTEND: 'noninteractive' });
    expect([wrapped.command, ...wrapped.args].join(' ')).toBe(
      '/usr/bin/sudo -- env DEBIAN_FRONTEND=noninteractive apt-get update',
    );
  });
});

describe('package managers', () => {
  it.each([
    ["Err:1 Could not resolve 'mirror.example.org'", /^No network/],
    ['E: Could not get lock /var/lib/dpkg/lock-frontend.', /Another package manager/],
    ['E: You do not have enough free space in /var/cache/apt/archives/.', /disk is full/],
    ["E: dpkg was interrupted, you must manually run 'dpkg --configure -a'", /dpkg --configure -a/],
    ['E: Unable to locate package netavark', /Debian 12/],
    ['something else', /apt-get failed: mend what it says/],
  ])('"%s" becomes a sentence', (output, sentence) => {
    expect(packageManagers.managerProblem('apt-get', output)).toMatch(sentence);
  });

  it('reads the lists anew when there are none, or they are of another day', () => {
    expect(packageManagers.listsAreFresh(join(folder, 'absent'), Date.now())).toBe(false);
    expect(packageManagers.listsAreFresh(folder, Date.now())).toBe(false);
    writeFileSync(join(folder, 'mirror.example.org_debian_dists_bookworm_InRelease'), '');
    expect(packageManagers.listsAreFresh(folder, Date.now())).toBe(false);
    writeFileSync(join(folder, 'mirror.example.org_debian_dists_bookworm_main_binary-amd64_Packages.lz4'), '');
    expect(packageManagers.listsAreFresh(folder, Date.now())).toBe(true);
    expect(packageManagers.listsAreFresh(folder, Date.now() + 25 * 3600_000)).toBe(false);
  });

  it("finds who holds dpkg's lock in the kernel's table", () => {
    const lock = join(folder, 'lock-frontend');
    const table = join(folder, 'locks');
    writeFileSync(lock, '');
    const { dev, ino } = statSync(lock);
    const hex = (value: number) => value.toString(16).padStart(2, '0');
    const device = `${hex((dev >>> 8) & 0xfff)}:${hex(dev & 0xff)}`;
    writeFileSync(table, `1: FLOCK  ADVISORY  WRITE 1 ${device}:${ino} 0 EOF\n`);
    expect(packageManagers.lockHolder(lock, table)).toBeNull();
    writeFileSync(table, `1: POSIX  ADVISORY  WRITE ${process.pid} ${device}:${ino} 0 EOF\n`);
    expect(packageManagers.lockHolder(lock, table)).toContain(`process ${process.pid}`);
    writeFileSync(table, `1: POSIX  ADVISORY  WRITE 0 ${device}:${ino} 0 EOF\n`);
    expect(packageManagers.lockHolder(lock, table)).toBe('another package manager');
    writeFileSync(table, `1: POSIX  ADVISORY  WRITE 7 ${device}:${ino + 1} 0 EOF\n`);
    expect(packageManagers.lockHolder(lock, table)).toBeNull();
  });
});

describe('Node packages', () => {
  const write = (name: string, packages: Record<string, unknown>) => {
    mkdirSync(join(folder, 'node_modules'), { recursive: true });
    writeFileSync(join(folder, name), JSON.stringify({ packages }));
  };
  const RECORD = 'node_modules/.package-lock.json';

  it('are installed when there are none', () => {
    write('package-lock.json', { '': {}, 'node_modules/a': { version: '1.0.0' } });
    expect(nodePackages.nodePackagesAreFresh(folder)).toBe(false);
  });

  it('are taken as they are when "npm ci" was run by hand, other platforms left out', () => {
    write('package-lock.json', {
      '': {},
      'node_modules/a': { version: '1.0.0' },
      'node_modules/a-win32': { version: '1.0.0', optional: true },
    });
    write(RECORD, { 'node_modules/a': { version: '1.0.0' } });
    expect(nodePackages.nodePackagesAreFresh(folder)).toBe(true);
  });

  it('are installed again when the lock file has changed', () => {
    write('package-lock.json', { '': {}, 'node_modules/a': { version: '1.0.0' } });
    write(RECORD, { 'node_modules/a': { version: '1.0.0' } });
    expect(nodePackages.nodePackagesAreFresh(folder)).toBe(true);
    write('package-lock.json', { '': {}, 'node_modules/a': { version: '1.1.0' } });
    expect(nodePackages.nodePackagesAreFresh(folder)).toBe(false);
  });

  it.each([
    ['npm error code ENOTFOUND', /^No network/],
    ['npm error code SELF_SIGNED_CERT_IN_CHAIN', /update-ca-certificates/],
    ['npm error code EUSAGE', /package-lock\.json/],
    ['npm error code ENOSPC', /disk is full/],
    ['npm error code EACCES', /may not write/],
    ['else', /failed to install/],
  ])('"%s" becomes a sentence', (output, sentence) => {
    expect(nodePackages.npmProblem(output)).toMatch(sentence);
  });
});
