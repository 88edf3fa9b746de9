/**
 * apt, dnf and pacman: how each is made to install without questions, without starting daemons, and with a sentence
 * when it fails.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { describeProcess, distribution } = require('./preflight.cjs');
const { Problem, runStep, tail } = require('./terminal.cjs');

const LISTS_DEADLINE_MS = 5 * 60_000;
const INSTALL_DEADLINE_MS = 30 * 60_000;
const LOCK_WAIT_MS = 60_000;
/** Older package lists than this are read anew: a package that a mirror has replaced cannot be fetched any more. */
const LISTS_FRESH_MS = 24 * 3600_000;

/** By name of the manager: `(terminal, packages, rights) => Promise<void>`; `rights` as from `findRights`. */
const INSTALLERS = {
  apt: installByApt,
  dnf: (terminal, packages, rights) =>
    runManager(terminal, rights, {
      title: 'Installing programs',
      command: 'dnf',
      args: ['install', '--assumeyes', '--setopt=install_weak_deps=False', ...packages],
    }),
  pacman: (terminal, packages, rights) =>
    runManager(terminal, rights, {
      title: 'Installing programs',
      command: 'pacman',
      // Without -y: new lists with old packages are a partial upgrade, which Arch does not support.
      args: ['--sync', '--noconfirm', '--needed', ...packages],
    }),
};

/**
 * With these, apt asks nothing, and the services of a package are not started: invoke-rc.d looks at RUNLEVEL,
 * systemctl at SYSTEMD_OFFLINE, Ubuntu's needrestart at its own variable.
 */
const APT_ENVIRONMENT = {
  DEBIAN_FRONTEND: 'noninteractive',
  RUNLEVEL: '1',
  SYSTEMD_OFFLINE: '1',
  NEEDRESTART_SUSPEND: '1',
  LC_ALL: 'C',
};
const APT_OPTIONS = ['-o', 'DPkg::Lock::Timeout=60', '-o', 'Acquire::Retries=2', '-o', 'Dpkg::Use-Pty=0'];

async function installByApt(terminal, packages, rights) {
  await waitForDpkg(terminal);
  const apt = (title, args, timeoutMs) =>
    runManager(terminal, rights, {
      title,
      command: 'apt-get',
      args: [...APT_OPTIONS, ...args],
      env: APT_ENVIRONMENT,
      timeoutMs,
    });
  const update = async () => {
    const output = await apt('Reading the package lists', ['update'], LISTS_DEADLINE_MS);
    // apt-get calls it a success when it could reach nobody.
    if (!hasLists()) throw new Problem(managerProblem('apt-get', output), tail(output));
  };
  const install = () =>
    apt(
      'Installing programs',
      ['install', '--yes', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold', ...packages],
      INSTALL_DEADLINE_MS,
    );
  const fresh = listsAreFresh();
  if (!fresh) await update();
  try {
    await install();
  } catch (error) {
    // The mirror may have moved on since the lists were read.
    if (!fresh || !/404 +Not Found|Unable to locate package|has no installation candidate/.test(error.details ?? ''))
      throw error;
    await update();
    await install();
  }
}

/** Runs a package manager as a step; its failure is worded by what it said. */
function runManager(terminal, rights, { title, command, args, env = {}, timeoutMs = INSTALL_DEADLINE_MS }) {
  const wrapped = rights.wrap(command, args, env);
  return runStep(terminal, {
    title,
    command: wrapped.command,
    args: wrapped.args,
    env: { ...process.env, ...wrapped.env },
    timeoutMs,
    sentence: (output) => managerProblem(command, output),
  });
}

/** What to do about a package manager's failure, as one sentence. */
function managerProblem(command, output) {
  if (
    /Could not resolve|Temporary failure|Could not connect|Unable to connect|Network is unreachable|Connection timed out/i.test(
      output,
    )
  ) {
    return `No network: ${command} could not reach its package server; connect this machine to the internet, or tell ${command} its proxy, and run this again.`;
  }
  if (/Could not get lock|Unable to acquire the dpkg frontend lock|unable to lock database/i.test(output)) {
    return `Another package manager is at work; wait until it has finished and run this again.`;
  }
  if (/No space left|enough free space/i.test(output)) {
    return 'The disk is full: free 1 GB on / and run this again.';
  }
  if (/dpkg was interrupted/i.test(output)) {
    return 'An earlier installation was interrupted: run "dpkg --configure -a" as root, then this again.';
  }
  if (/Unable to locate package|No match for argument|target not found/i.test(output)) {
    return `${distribution().name} has not all packages that are needed (Debian 12 or newer has): upgrade it, or install what is missing another way.`;
  }
  return `${command} failed: mend what it says above and run this again.`;
}

const LISTS_FOLDER = '/var/lib/apt/lists';

/** True when package lists are there and of today. */
function listsAreFresh(folder = LISTS_FOLDER, nowMs = Date.now()) {
  if (!hasLists(folder)) return false;
  const lists = fs.readdirSync(folder).filter((name) => /_(InRelease|Release)$/.test(name));
  // The file's own time is the server's; the change of its inode is when this machine fetched it.
  return lists.some((name) => nowMs - fs.statSync(path.join(folder, name)).ctimeMs < LISTS_FRESH_MS);
}

function hasLists(folder = LISTS_FOLDER) {
  return fs.existsSync(folder) && fs.readdirSync(folder).some((name) => /_Packages(\.\w+)?$/.test(name));
}

/** Waits up to a minute while somebody else installs packages, and says who. */
async function waitForDpkg(terminal, waitMs = LOCK_WAIT_MS) {
  const holderOf = () => lockHolder('/var/lib/dpkg/lock-frontend') ?? lockHolder('/var/lib/apt/lists/lock');
  const deadline = Date.now() + waitMs;
  let said = false;
  for (let holder = holderOf(); holder !== null; holder = holderOf()) {
    if (Date.now() >= deadline) {
      throw new Problem(
        `${holder} has been installing packages for a minute: wait until it has finished and run this again.`,
      );
    }
    if (!said) terminal.say(`Waiting for ${holder}, which is installing packages …`);
    said = true;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/**
 * Who holds an fcntl lock on a file, for a person; null when nobody does. `/proc/locks` names device and inode, and the
 * holder's process (0 or -1 where it lives outside this container).
 */
function lockHolder(file, locks = '/proc/locks') {
  if (!fs.existsSync(file) || !fs.existsSync(locks)) return null;
  const { dev, ino } = fs.statSync(file);
  const major = ((dev >>> 8) & 0xfff).toString(16).padStart(2, '0');
  const minor = ((dev & 0xff) | ((dev >>> 12) & 0xfff00)).toString(16).padStart(2, '0');
  const line = fs
    .readFileSync(locks, 'utf8')
    .split('\n')
    .find((text) => text.includes(' POSIX ') && text.includes(` ${major}:${minor}:${ino} `));
  if (line === undefined) return null;
  const pid = Number(line.trim().split(/\s+/)[4]);
  return pid > 0 ? describeProcess(String(pid)) : 'another package manager';
}

module.exports = { INSTALLERS, managerProblem, listsAreFresh, waitForDpkg, lockHolder };
