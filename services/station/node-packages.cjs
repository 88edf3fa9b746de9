/**
 * The Node packages of the lock file and the bundles made of our sources: brought up to date only when something
 * changed, so that a later start costs nothing.
 */
'use strict';

const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { checkNetwork } = require('./preflight.cjs');
const { Problem, runStep } = require('./terminal.cjs');

const COMMAND_DEADLINE_MS = 20_000;
const INSTALL_DEADLINE_MS = 30 * 60_000;
const BUILD_DEADLINE_MS = 5 * 60_000;

/** True when `npm ci` has nothing to do: our stamp says so, or npm's own record of what it installed. */
function nodePackagesAreFresh(repository) {
  const stamp = path.join(repository, 'node_modules', '.silvasonic-stamp');
  if (fs.existsSync(stamp)) return fs.readFileSync(stamp, 'utf8') === lockHash(repository);
  const record = path.join(repository, 'node_modules', '.package-lock.json');
  if (!fs.existsSync(record) || !holdsAll(readJson(path.join(repository, 'package-lock.json')), readJson(record)))
    return false;
  fs.writeFileSync(stamp, lockHash(repository));
  return true;
}

/** Whether the record of installed packages has each one of the lock file that this machine needs. */
function holdsAll(lock, record) {
  return Object.entries(lock.packages).every(([place, { version, optional }]) => {
    const installed = record.packages[place];
    return place === '' || (installed === undefined ? optional === true : installed.version === version);
  });
}

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

/** Changes when the lock file does, or when the folder is used on another kind of processor. */
function lockHash(repository) {
  const lock = fs.readFileSync(path.join(repository, 'package-lock.json'));
  return crypto.createHash('sha256').update(process.arch).update(lock).digest('hex');
}

/** npm of the same installation that started us, else the one of the PATH. */
function npmCommand(env = process.env) {
  const script = env.npm_execpath;
  if (script?.endsWith('.js') && fs.existsSync(script)) return { command: process.execPath, args: [script] };
  return { command: 'npm', args: [] };
}

/** Where npm will go first: the proxy if it has one, else the registry. */
function npmGateway(repository) {
  const { command, args } = npmCommand();
  const result = spawnSync(command, [...args, 'config', 'list', '--long', '--json'], {
    cwd: repository,
    encoding: 'utf8',
    timeout: COMMAND_DEADLINE_MS,
  });
  if (result.status !== 0) {
    throw new Problem(
      'npm does not start: run "npm config list" and mend what it says.',
      `${result.error?.message ?? result.stderr}`,
    );
  }
  const config = JSON.parse(result.stdout);
  return config['https-proxy'] || config.proxy || config.registry;
}

/**
 * Installs the Node packages that the lock file names.
 * @throws {Problem} no network, or npm fails
 */
async function installNodePackages(terminal, repository) {
  if (nodePackagesAreFresh(repository)) return;
  await checkNetwork({ url: npmGateway(repository), purpose: 'Node packages must be fetched' });
  const { command, args } = npmCommand();
  await runStep(terminal, {
    title: 'Installing Node packages',
    command,
    // The bundler is a development dependency: NODE_ENV=production must not leave it out.
    args: [
      ...args,
      'ci',
      '--include=dev',
      '--include=optional',
      '--no-audit',
      '--no-fund',
      '--fetch-retry-maxtimeout=10000',
    ],
    cwd: repository,
    timeoutMs: INSTALL_DEADLINE_MS,
    sentence: npmProblem,
  });
  fs.writeFileSync(path.join(repository, 'node_modules', '.silvasonic-stamp'), lockHash(repository));
}

/** What to do about a failure of npm, as one sentence. */
function npmProblem(output) {
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ECONNRESET/.test(output)) {
    return 'No network: npm could not reach its registry; connect this machine to the internet, or set HTTPS_PROXY if it needs a proxy, and run this again.';
  }
  if (/SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER|VERIFY)|CERT_/.test(output)) {
    return 'npm does not trust the certificate of its registry (a proxy that inspects TLS?): add its authority to this machine ("update-ca-certificates") and run this again.';
  }
  if (/ENOSPC/.test(output)) return 'The disk is full: free 1 GB for node_modules and run this again.';
  if (/EACCES|EPERM/.test(output)) {
    return 'npm may not write here: give this folder to the user who runs it ("chown -R"), and run this again.';
  }
  if (/EUSAGE/.test(output)) {
    return 'package-lock.json does not fit package.json: undo the last change to either ("git checkout package-lock.json"), or run "npm install" to bring them together.';
  }
  return 'npm failed to install the Node packages: mend what it says above and run this again.';
}

/** Bundles the services into dist/ when a source changed since the last time. */
async function buildBundles(terminal, repository) {
  const stamp = path.join(repository, 'dist', '.silvasonic-stamp');
  const hash = sourceHash(repository);
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === hash) return;
  await runStep(terminal, {
    title: 'Building',
    command: process.execPath,
    args: ['services/station/build.js'],
    cwd: repository,
    timeoutMs: BUILD_DEADLINE_MS,
    sentence: () =>
      'The services could not be built: undo the last change to the sources, or run "npm ci" and this again.',
  });
  fs.writeFileSync(stamp, hash);
}

function sourceHash(repository) {
  const hash = crypto.createHash('sha256').update(lockHash(repository));
  const folder = path.join(repository, 'services');
  const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const file of files.map((entry) => path.join(entry.parentPath, entry.name)).sort()) {
    hash.update(`\0${path.relative(folder, file)}\0`).update(fs.readFileSync(file));
  }
  return hash.digest('hex');
}

module.exports = { nodePackagesAreFresh, installNodePackages, buildBundles, npmCommand, npmProblem };
