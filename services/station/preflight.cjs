/**
 * What is checked before anything is touched. Each check either passes or throws a Problem: one sentence that names
 * what was found, what is needed and what to do. Nothing here changes the machine, but for the data folder and its lock.
 */
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { Problem } = require('./terminal.cjs');

const GIGABYTE = 1e9;
const NETWORK_DEADLINE_MS = 10_000;
const COMMAND_DEADLINE_MS = 20_000;

/** Where Podman's helpers and administrators' programs live: not in everybody's PATH. */
const MORE_FOLDERS = [
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/bin',
  '/bin',
  '/usr/lib/podman',
  '/usr/libexec/podman',
];

/** `ID` and `VERSION_ID` of this distribution, empty where it doesn't say. */
function distribution(file = '/etc/os-release') {
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  const value = (key) => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: value('ID'), version: value('VERSION_ID'), name: value('PRETTY_NAME') || 'this distribution' };
}

/** True for Debian of this version or newer; testing and unstable bear no number and are newer. */
function isDebianFrom(version, { id, version: own } = distribution()) {
  return id === 'debian' && (own === '' || Number(own) >= version);
}

/** Full path of a program, or null. */
function findCommand(name, { searchPath = process.env.PATH ?? '', folders = MORE_FOLDERS } = {}) {
  for (const folder of [...searchPath.split(':'), ...folders]) {
    if (folder === '') continue;
    const file = path.join(folder, name);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      if (fs.statSync(file).isFile()) return file;
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR', 'EACCES'].includes(error.code)) throw error;
    }
  }
  return null;
}

/** Refuses what cannot work however long one tries: another system, a 32-bit one. */
function checkPlatform({ platform = process.platform, arch = process.arch } = {}) {
  if (platform !== 'linux') {
    throw new Problem(
      `This is ${platform}, and Silvasonic needs Linux (it reads microphones through ALSA and USB from /sys): run it on a Linux machine or in a Linux virtual machine.`,
    );
  }
  if (arch !== 'x64' && arch !== 'arm64') {
    throw new Problem(
      `This Node is built for ${arch}, and Silvasonic runs on 64-bit systems only (x64 or arm64): install a 64-bit system, on a Raspberry Pi 3 or newer "Raspberry Pi OS (64-bit)".`,
    );
  }
}

/** Where recordings, database and logs of this station live. Absolute. */
function dataFolder({ env = process.env, uid = process.getuid(), home = os.homedir() } = {}) {
  const given = env.SILVASONIC_WORKSPACE_PATH;
  if (given !== undefined && given !== '') {
    if (path.isAbsolute(given)) return path.normalize(given);
    throw new Problem(
      `SILVASONIC_WORKSPACE_PATH is "${given}", and it must be an absolute path, such as /var/lib/silvasonic: containers are given folders by it.`,
    );
  }
  if (uid === 0) return '/var/lib/silvasonic';
  return path.join(env.XDG_DATA_HOME || path.join(home, '.local', 'share'), 'silvasonic');
}

/** What can be made again at any time: base images, tools for the tests. Shared by the station and the tests. */
function cacheFolder({ env = process.env, home = os.homedir() } = {}) {
  return path.join(env.XDG_CACHE_HOME || path.join(home, '.cache'), 'silvasonic');
}

/** Makes a folder of ours, and proves that it can be written. */
function prepareFolder(folder) {
  const probe = path.join(folder, `.writable-${process.pid}`);
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
    fs.writeFileSync(probe, '');
    fs.unlinkSync(probe);
  } catch (error) {
    throw new Problem(
      `The folder ${folder} cannot be written (${error.code}): give it to this user, or name another one in SILVASONIC_WORKSPACE_PATH.`,
      '',
      error,
    );
  }
}

/**
 * Takes the station's lock, held by the kernel until this process and the one that inherits the descriptor have ended,
 * however they end. `flock` locks the open file itself, which outlives the `flock` process because it is ours.
 * @returns {number} the file descriptor to hand on
 */
function takeStationLock(folder) {
  const file = path.join(folder, 'station.lock');
  const descriptor = fs.openSync(file, 'a+');
  const result = spawnSync('flock', ['--nonblock', '--conflict-exit-code', '75', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', descriptor],
    timeout: COMMAND_DEADLINE_MS,
  });
  if (result.status === 0) {
    noteHolder(descriptor);
    return descriptor;
  }
  const holder = fs.readFileSync(file, 'utf8').trim();
  fs.closeSync(descriptor);
  if (result.status === 75) {
    const who = /^\d+$/.test(holder) ? ` (process ${holder})` : '';
    throw new Problem(
      `A station already works in ${folder}${who}: stop it with Ctrl-C in its terminal${who === '' ? '' : ` or with "kill ${holder}"`}, or name another folder in SILVASONIC_WORKSPACE_PATH.`,
    );
  }
  throw new Problem(
    `${file} cannot be locked: put ${folder} on a local disk that supports file locks.`,
    `${result.error?.message ?? result.stderr}`,
  );
}

/** For the sentence that a second station says. On a full disk it stays unsaid: the lock is the kernel's. */
function noteHolder(descriptor) {
  try {
    fs.ftruncateSync(descriptor, 0);
    fs.writeSync(descriptor, `${process.pid}\n`);
  } catch {
    // Whether there is room enough is looked at next, and said in a sentence.
  }
}

/** The ports that a station opens, from the environment. Throws where a value is no port. */
function stationPorts(env = process.env) {
  const read = (variable, fallback) => {
    const text = env[variable] === undefined || env[variable] === '' ? fallback : env[variable];
    const port = Number(text);
    if (/^\d+$/.test(text) && port >= 1 && port <= 65535) return { variable, port };
    throw new Problem(`${variable} is "${text}", and it must be a port, 1 to 65535.`);
  };
  const health = {
    use: 'health check',
    hostVariable: 'SILVASONIC_CONTROLLER_BIND',
    host: env.SILVASONIC_CONTROLLER_BIND || '127.0.0.1',
    ...read('SILVASONIC_CONTROLLER_PORT', '9100'),
  };
  const page = {
    use: 'web page',
    hostVariable: 'SILVASONIC_WEB_BIND',
    host: env.SILVASONIC_WEB_BIND,
    ...read('SILVASONIC_WEB_PORT', '8090'),
  };
  if (health.port === page.port) {
    throw new Problem(
      `${health.variable} and ${page.variable} are both ${page.port}, and two services cannot share a port: change one of them.`,
    );
  }
  return [health, page];
}

/** Refuses an address that is not here, and a port that somebody else has, who is named as far as the kernel tells this user. */
async function checkPort({ use, hostVariable, host, variable, port }) {
  const isAddress = !host || net.isIP(host) !== 0;
  const error = isAddress ? await tryListen(port, host) : null;
  if (!isAddress || error?.code === 'EADDRNOTAVAIL') {
    throw new Problem(
      `${hostVariable} is "${host}", and it must be an IP address of this machine ("ip address" lists them), or nothing.`,
    );
  }
  if (error === null) return;
  if (error.code === 'EADDRINUSE') {
    throw new Problem(
      `Port ${port}, meant for the ${use}, is taken${by(portHolder(port))}: stop that, or choose another port with ${variable}=${port + 1}.`,
    );
  }
  throw new Problem(
    `Port ${port}, meant for the ${use}, cannot be opened (${error.code}): choose another one with ${variable}, from 1024 upwards.`,
    '',
    error,
  );
}

function by(holder) {
  return holder === null ? ' by another process' : ` by ${holder}`;
}

function tryListen(port, host) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', resolve);
    server.listen({ port, ...(host ? { host } : {}), exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** "process 123 (nginx)" for the listener on a port; null where the kernel does not show it to this user. */
function portHolder(port) {
  const inodes = new Set();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    if (!fs.existsSync(table)) continue;
    for (const line of fs.readFileSync(table, 'utf8').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === '0A' && Number.parseInt(local.split(':')[1], 16) === port) inodes.add(`socket:[${inode}]`);
    }
  }
  if (inodes.size === 0) return null;
  const pid = fs
    .readdirSync('/proc')
    .find((name) => /^\d+$/.test(name) && openFiles(name).some((file) => inodes.has(file)));
  return pid === undefined ? null : describeProcess(pid);
}

/** Targets of a process's descriptors. A process of another user, or one that has just ended, shows none. */
function openFiles(pid) {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).map((name) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${name}`);
      } catch {
        return '';
      }
    });
  } catch {
    return [];
  }
}

/** "process 123 (nginx)". */
function describeProcess(pid) {
  try {
    return `process ${pid} (${fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim()})`;
  } catch {
    return `process ${pid}`;
  }
}

/** Refuses a disk on which the work ahead would not fit. `neededBytes` is free space for an ordinary user. */
function checkDisk(folder, neededBytes, purpose) {
  const { bavail, bsize } = fs.statfsSync(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  throw new Problem(
    `${folder} has ${(freeBytes / GIGABYTE).toFixed(1)} GB free, and ${purpose} needs ${(neededBytes / GIGABYTE).toFixed(1)} GB: free some space, or name a folder on a larger disk in SILVASONIC_WORKSPACE_PATH.`,
  );
}

/**
 * Refuses to begin a download where nothing can be reached. Only the way there is tried, to the proxy where one is set:
 * what the other side answers is for the download itself to say.
 * @param {{url: string, purpose: string}} target
 */
async function checkNetwork({ url, purpose }) {
  const { hostname, port, protocol } = new URL(url);
  const problem = await tryConnect(hostname, Number(port) || (protocol === 'http:' ? 80 : 443));
  if (problem === null) return;
  throw new Problem(
    `No network: ${hostname} cannot be reached (${problem}), and ${purpose}: connect this machine to the internet, or set HTTPS_PROXY if it needs a proxy, and run this again.`,
  );
}

function tryConnect(host, port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: NETWORK_DEADLINE_MS });
    const finish = (problem) => {
      socket.destroy();
      resolve(problem);
    };
    socket.once('connect', () => finish(null));
    socket.once('timeout', () => finish(`no answer in ${NETWORK_DEADLINE_MS / 1000} s`));
    socket.once('error', (error) => finish(error.code ?? error.message));
  });
}

module.exports = {
  distribution,
  isDebianFrom,
  findCommand,
  checkPlatform,
  dataFolder,
  cacheFolder,
  prepareFolder,
  takeStationLock,
  stationPorts,
  checkPort,
  describeProcess,
  checkDisk,
  checkNetwork,
};
