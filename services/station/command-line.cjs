/**
 * `start`, `test`, `bench` and `clean`, step by step: check, install what is missing, hand over. Whatever cannot be done ends
 * with one sentence on the terminal and exit code 1.
 */
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { clean } = require('./clean.cjs');
const { checkPodmanVersion, installPrograms, linkRedis, missingPrograms } = require('./install.cjs');
const { buildBundles, installNodePackages, nodePackagesAreFresh } = require('./node-packages.cjs');
const preflight = require('./preflight.cjs');
const { Interrupted, Problem, createTerminal } = require('./terminal.cjs');

const REPOSITORY = path.resolve(__dirname, '..', '..');

const USAGE = `npm start [-- --yes]                    a station on this machine; Ctrl-C stops it
npm test [-- --yes] [-- <vitest's arguments>]   everything that is tested
npm run bench [-- --yes --quick --json]   speed and cost, measured on this machine
npm run chaos [-- --yes]                a station in which everything is killed at random; CHAOS_MINUTES=30 CHAOS_SEED=7
npm run clean [-- --yes --recordings]   removes what the station left; recordings only when asked to`;

/** Space for programs, Node packages, images. Bytes. */
const FIRST_START_BYTES = 3e9;
const TEST_BYTES = 4e9;
/** Below this the database could not even write its log. Bytes. */
const LATER_START_BYTES = 1e8;

/**
 * Splits the arguments into the command, our own switches, and what is passed on. `npm start --yes` (without `--`)
 * is taken by npm, which tells us in its environment.
 */
function parseArguments(argv, env = process.env) {
  const [command, ...rest] = argv;
  const own = new Set(command === 'clean' ? ['--yes', '--recordings'] : ['--yes']);
  return {
    command,
    yes: rest.includes('--yes') || env.npm_config_yes === 'true',
    recordings: rest.includes('--recordings'),
    passedOn: rest.filter((argument) => !own.has(argument)),
  };
}

/** Runs one command to its end and sets the exit code. Never throws for what a person can mend. */
async function run(argv) {
  try {
    const options = parseArguments(argv);
    const commands = { start, test, bench, chaos, clean: cleanUp };
    if (!Object.hasOwn(commands, options.command ?? '')) throw new Problem(`Say what to do:\n${USAGE}`);
    preflight.checkPlatform();
    trustSystemCertificates();
    process.exitCode = await commands[options.command](options);
  } catch (error) {
    process.exitCode = report(error);
  }
}

/**
 * npm trusts only the authorities built into Node; the machine's administrator may have added more, such as the one of
 * a proxy that inspects TLS. For us and whatever we start.
 */
function trustSystemCertificates() {
  const bundle = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt'].find(fs.existsSync);
  if (bundle !== undefined) process.env.NODE_EXTRA_CA_CERTS ??= bundle;
}

function report(error) {
  if (error instanceof Interrupted) {
    console.error(error.message);
    return error.exitCode;
  }
  if (!(error instanceof Problem)) throw error;
  if (error.details !== '') console.error(error.details);
  console.error(error.message);
  return 1;
}

async function start({ yes, passedOn }) {
  const data = preflight.dataFolder();
  const ports = preflight.stationPorts();
  preflight.prepareFolder(data);
  const lock = preflight.takeStationLock(data);
  for (const port of ports) await preflight.checkPort(port);
  checkSpace(data, 'start');
  const terminal = createTerminal({ logPath: path.join(data, 'install.log') });
  await prepare(terminal, { purpose: 'start', yes });
  await buildBundles(terminal, REPOSITORY);
  // Without source maps: the first error would load them, for good. NODE_OPTIONS=--enable-source-maps where one is sought.
  return handOver(
    process.execPath,
    ['--max-semi-space-size=1', '--heap-growing-percent=60', path.join('dist', 'station.js'), ...passedOn],
    {
      env: { ...process.env, SILVASONIC_WORKSPACE_PATH: data },
      lock,
    },
  );
}

async function test({ yes, passedOn }) {
  const { terminal, env } = await prepareTools('test', yes);
  const programs = [
    { title: 'Style and lint', script: '@biomejs/biome/bin/biome', args: ['check', '--error-on-warnings', '.'] },
    { title: 'Types', script: 'typescript/bin/tsc', args: [] },
    { title: 'Tests', script: 'vitest/vitest.mjs', args: ['run', ...passedOn] },
  ];
  const failed = [];
  for (const { title, script, args } of programs) {
    terminal.say(title);
    const code = await handOver(process.execPath, [path.join('node_modules', script), ...args], { env });
    // Asked to stop: the rest is not wanted either.
    if (code > 128) return code;
    if (code !== 0) failed.push(title);
  }
  terminal.say(failed.length === 0 ? 'All passed.' : `Failed: ${failed.join(', ')}.`);
  return failed.length === 0 ? 0 : 1;
}

/** Standard output is the result alone: with `--json` a program reads it. */
async function bench({ yes, passedOn }) {
  const { env } = await prepareTools('bench', yes, process.stderr);
  return handOver(process.execPath, [path.join('test', 'bench', 'run.js'), ...passedOn], { env });
}

/** Longer than the form of it among the tests, and what it does and finds is printed as it comes. */
async function chaos({ yes, passedOn }) {
  const { env } = await prepareTools('chaos', yes);
  const vitest = path.join('node_modules', 'vitest', 'vitest.mjs');
  const args = ['run', 'test/chaos', '--project', 'integration', '--disable-console-intercept', ...passedOn];
  return handOver(process.execPath, [vitest, ...args], {
    env: { ...env, CHAOS_MINUTES: env.CHAOS_MINUTES ?? '5' },
  });
}

/** What the tests' fixtures need on this machine, and the environment in which they find it. */
async function prepareTools(name, yes, output = process.stdout) {
  const cache = preflight.cacheFolder();
  preflight.prepareFolder(cache);
  checkSpace(cache, 'test');
  const terminal = createTerminal({ output, logPath: path.join(cache, `${name}-install.log`) });
  await prepare(terminal, { purpose: 'test', yes });
  const tools = path.join(cache, 'bin');
  linkRedis(tools);
  return { terminal, env: { ...process.env, PATH: [tools, process.env.PATH, '/usr/sbin', '/sbin'].join(':') } };
}

async function cleanUp({ yes, recordings }) {
  const data = preflight.dataFolder();
  const caches = [preflight.cacheFolder()];
  return clean({ data, caches, yes, recordings });
}

/** The first start fetches and builds much; a later one must not be refused because recordings have filled the disk. */
function checkSpace(folder, purpose) {
  const prepared = fs.existsSync(path.join(preflight.cacheFolder(), 'images-ready'));
  const complete = prepared && missingPrograms(purpose).length === 0 && nodePackagesAreFresh(REPOSITORY);
  if (complete) return preflight.checkDisk(folder, LATER_START_BYTES, 'a start');
  const [bytes, what] =
    purpose === 'test' ? [TEST_BYTES, 'the first test run'] : [FIRST_START_BYTES, 'the first start'];
  return preflight.checkDisk(folder, bytes, what);
}

async function prepare(terminal, options) {
  await installPrograms(terminal, options);
  checkPodmanVersion();
  await installNodePackages(terminal, REPOSITORY);
}

/**
 * Runs a program in our place: it has our terminal, our signals and our exit code.
 * @param {{env: object, lock?: number}} options `lock`: a descriptor that the program keeps open for as long as it lives
 * @returns {Promise<number>} its exit code, 128 + number for a signal
 */
function handOver(command, args, { env, lock }) {
  return new Promise((resolve, reject) => {
    const stdio = ['inherit', 'inherit', 'inherit', ...(lock === undefined ? [] : [lock])];
    const child = spawn(command, args, { cwd: REPOSITORY, env, stdio });
    // Ctrl-C and a closed terminal are told to the whole process group by the kernel: passed on, they would count twice.
    const passOn = (signal) => {
      if (signal === 'SIGTERM' || process.stdin.isTTY !== true) child.kill(signal);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, passOn);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, passOn);
      resolve(code ?? 128 + os.constants.signals[signal]);
    });
  });
}

module.exports = { run, parseArguments };
