/**
 * What a machine must have before a station or its tests can run, and how the missing part is installed: programs from
 * the distribution, Node packages from the lock file. The system's own configuration stays as it is: no daemon is
 * started, no file outside the packages is written.
 */
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { findCommand, isDebianFrom } = require('./preflight.cjs');
const { INSTALLERS } = require('./package-managers.cjs');
const { Problem, confirm } = require('./terminal.cjs');

const COMMAND_DEADLINE_MS = 20_000;
/** @typedef {{why: string, commands: string[], apt?: string, dnf?: string, pacman?: string}} Need one of `commands` must be there */

/**
 * What each way of running needs. A package manager without a name for a need doesn't install it.
 * @returns {Need[]}
 */
function needs({
  purpose,
  uid = process.getuid(),
  unifiedCgroups = hasUnifiedCgroups(),
  newDebian = isDebianFrom(13),
}) {
  const runtime = unifiedCgroups
    ? { commands: ['crun', 'runc'], apt: 'crun', dnf: 'crun', pacman: 'crun' }
    : // crun refuses to run beside cgroups v1.
      { commands: ['runc'], apt: 'runc', dnf: 'runc', pacman: 'runc' };
  const others = { dnf: 'nftables', pacman: 'nftables' };
  const firewall = newDebian
    ? { commands: ['nft'], apt: 'nftables', ...others }
    : { commands: ['iptables', 'nft'], apt: 'iptables', ...others };
  const list = [
    { why: 'runs each recorder in a container', commands: ['podman'], apt: 'podman', dnf: 'podman', pacman: 'podman' },
    { why: 'starts containers for Podman', ...runtime },
    { why: "Podman's networks", commands: ['netavark'], apt: 'netavark', dnf: 'netavark', pacman: 'netavark' },
    {
      why: 'names in these networks',
      commands: ['aardvark-dns'],
      apt: 'aardvark-dns',
      dnf: 'aardvark-dns',
      pacman: 'aardvark-dns',
    },
    { why: 'lets these networks reach out', ...firewall },
    { why: 'one station per folder', commands: ['flock'], apt: 'util-linux', dnf: 'util-linux', pacman: 'util-linux' },
    { why: 'a base image where no registry answers', commands: ['mmdebstrap'], apt: 'mmdebstrap' },
  ];
  if (uid !== 0) {
    list.push(
      { why: 'containers without root', commands: ['newuidmap'], apt: 'uidmap', dnf: 'shadow-utils', pacman: 'shadow' },
      {
        why: 'networks without root',
        commands: ['slirp4netns', 'pasta'],
        apt: 'slirp4netns',
        dnf: 'passt',
        pacman: 'passt',
      },
      {
        why: 'storage without root',
        commands: ['fuse-overlayfs'],
        apt: 'fuse-overlayfs',
        dnf: 'fuse-overlayfs',
        pacman: 'fuse-overlayfs',
      },
    );
  }
  if (purpose === 'test') {
    list.push(
      {
        why: 'microphones that are not there',
        commands: ['umockdev-run'],
        apt: 'umockdev',
        dnf: 'umockdev',
        pacman: 'umockdev',
      },
      {
        why: 'recording outside a container',
        commands: ['arecord'],
        apt: 'alsa-utils',
        dnf: 'alsa-utils',
        pacman: 'alsa-utils',
      },
      { why: 'sound processing outside a container', commands: ['sox'], apt: 'sox', dnf: 'sox', pacman: 'sox' },
      { why: 'checking FLAC files', commands: ['flac'], apt: 'flac', dnf: 'flac', pacman: 'flac' },
      {
        why: 'bringing the appliance up',
        commands: ['podman-compose'],
        apt: 'podman-compose',
        dnf: 'podman-compose',
        pacman: 'podman-compose',
      },
      { why: 'when files are synced', commands: ['strace'], apt: 'strace', dnf: 'strace', pacman: 'strace' },
      { why: 'clocks that jump', commands: ['faketime'], apt: 'faketime', dnf: 'libfaketime', pacman: 'libfaketime' },
      {
        why: 'disks that fill and stall',
        commands: ['mkfs.ext4'],
        apt: 'e2fsprogs',
        dnf: 'e2fsprogs',
        pacman: 'e2fsprogs',
      },
      {
        why: 'a browser for the page',
        commands: ['chromium', 'chromium-browser', 'google-chrome'],
        apt: 'chromium',
        dnf: 'chromium',
        pacman: 'chromium',
      },
      // Not Debian's redis-server: that one would start a daemon at every boot. redis-tools holds the same program.
      { why: 'Redis', commands: REDIS_PROGRAMS, apt: 'redis-tools', dnf: 'valkey', pacman: 'valkey' },
    );
  }
  return list;
}

/** Programs that are a Redis server when called `redis-server`. Debian builds its checking tool from the same file. */
const REDIS_PROGRAMS = ['redis-server', 'valkey-server', 'redis-check-rdb'];

function hasUnifiedCgroups() {
  return fs.existsSync('/sys/fs/cgroup/cgroup.controllers');
}

/** The needs that nothing on this machine meets yet. */
function missingNeeds(list, find = findCommand) {
  return list.filter((need) => need.commands.every((command) => find(command) === null));
}

const MANAGERS = [
  { name: 'apt', command: 'apt-get' },
  { name: 'dnf', command: 'dnf' },
  { name: 'pacman', command: 'pacman' },
];

/** The programs that a purpose needs and this machine lacks: the first name of each. */
function missingPrograms(purpose) {
  return missingNeeds(needs({ purpose })).map(({ commands }) => commands[0]);
}

/** How the missing needs are met here: package manager, packages, and what no package of this distribution meets. */
function planInstallation(missing, find = findCommand) {
  const manager = MANAGERS.find(({ command }) => find(command) !== null) ?? null;
  const packageOf = (need) => (manager === null ? undefined : need[manager.name]);
  return {
    manager,
    packages: [...new Set(missing.map(packageOf).filter((name) => name !== undefined))],
    // mmdebstrap makes Debian from Debian: elsewhere it isn't looked for, and the image comes from a registry.
    unmet: missing.filter((need) => packageOf(need) === undefined && !need.commands.includes('mmdebstrap')),
  };
}

/**
 * Installs what is missing, after saying what and asking once.
 * @throws {Problem} no package manager, no root and no sudo, the answer "no", the manager is busy or fails
 */
async function installPrograms(terminal, { purpose, yes }) {
  const missing = missingNeeds(needs({ purpose }));
  const { manager, packages, unmet } = planInstallation(missing);
  if (packages.length === 0 && unmet.length === 0) return;
  if (manager === null || unmet.length > 0) {
    const programs = (manager === null ? missing : unmet).map(({ commands }) => commands[0]).join(', ');
    throw new Problem(
      `These programs are missing and no known package manager (apt, dnf, pacman) has them here: ${programs}. Install them and run this again.`,
    );
  }
  const rights = findRights(packages);
  terminal.say(`Missing here: ${missing.map(({ commands, why }) => `${commands[0]} (${why})`).join(', ')}.`);
  terminal.say(`To be installed by ${manager.command}${rights.sudo ? ' with sudo' : ''}: ${packages.join(' ')}`);
  if (!(await confirm('Install these packages now?', { yes }))) {
    throw new Problem(
      `Nothing was installed; run this again when you want it, or install them yourself: ${packages.join(' ')}`,
    );
  }
  rights.acquire();
  await INSTALLERS[manager.name](terminal, packages, rights);
}

/** How this user installs packages. `wrap` turns a command with environment into what is really started. */
function findRights(packages, { uid = process.getuid(), find = findCommand } = {}) {
  if (uid === 0) return { sudo: false, acquire: () => {}, wrap: (command, args, env) => ({ command, args, env }) };
  const sudo = find('sudo');
  if (sudo === null) {
    throw new Problem(
      `Packages are missing, and this user is neither root nor is there sudo: as root, install ${packages.join(' ')} and run this again.`,
    );
  }
  const environment = (env) => Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return {
    sudo: true,
    acquire: () => acquireSudo(sudo, packages),
    wrap: (command, args, env) => ({
      command: sudo,
      args: ['--', 'env', ...environment(env), command, ...args],
      env: {},
    }),
  };
}

/** Lets sudo ask for its password before progress is shown; without a terminal it must not need one. */
function acquireSudo(sudo, packages) {
  const interactive = process.stdin.isTTY === true;
  const result = spawnSync(sudo, interactive ? ['--validate'] : ['--non-interactive', 'true'], {
    stdio: interactive ? 'inherit' : 'ignore',
    ...(interactive ? {} : { timeout: COMMAND_DEADLINE_MS }),
  });
  if (result.status === 0) return;
  throw new Problem(
    `sudo did not give this user the right to install packages: as root, install ${packages.join(' ')} and run this again.`,
  );
}

/** Puts a `redis-server` into a folder of ours where the distribution calls that program otherwise. */
function linkRedis(folder) {
  const program = REDIS_PROGRAMS.map((name) => findCommand(name)).find((file) => file !== null);
  const link = path.join(folder, 'redis-server');
  fs.mkdirSync(folder, { recursive: true });
  fs.rmSync(link, { force: true });
  if (program !== undefined) fs.symlinkSync(program, link);
}

const OLDEST_PODMAN = [4, 3];

/** Refuses a Podman without the network stack and API that the station is built on. */
function checkPodmanVersion() {
  const podman = findCommand('podman');
  const result = spawnSync(podman ?? 'podman', ['--version'], { encoding: 'utf8', timeout: COMMAND_DEADLINE_MS });
  const [, major, minor] = /(\d+)\.(\d+)/.exec(result.stdout ?? '') ?? [];
  if (major === undefined) {
    throw new Problem(
      'Podman does not start: run "podman --version" and mend what it says.',
      `${result.error?.message ?? result.stderr}`,
    );
  }
  if (Number(major) > OLDEST_PODMAN[0] || (Number(major) === OLDEST_PODMAN[0] && Number(minor) >= OLDEST_PODMAN[1]))
    return;
  throw new Problem(
    `Podman ${major}.${minor} is too old, Silvasonic needs ${OLDEST_PODMAN.join('.')} or newer: upgrade to Debian 12, Ubuntu 24.04, or any later one.`,
  );
}

module.exports = {
  REDIS_PROGRAMS,
  needs,
  missingNeeds,
  missingPrograms,
  linkRedis,
  planInstallation,
  installPrograms,
  findRights,
  checkPodmanVersion,
};
