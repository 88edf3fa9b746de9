/**
 * `npm run clean`: everything that a station and the tests left on this machine is listed, asked about once, and
 * removed. Recordings are a list of their own, and stay unless they are asked for by name.
 */
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { findCommand, takeStationLock } = require('./preflight.cjs');
const { Problem, confirm } = require('./terminal.cjs');

const COMMAND_DEADLINE_MS = 120_000;
/** The folder in the data folder that holds what was captured; services/shared/contract.ts has its layout. */
const RECORDINGS = 'recorder';

/**
 * @param {{data: string, caches: string[], yes: boolean, recordings: boolean}} options
 * @returns {Promise<number>} exit code
 */
async function clean({ data, caches, yes, recordings }) {
  const lock = fs.existsSync(data) ? takeStationLock(data) : null;
  try {
    const podman = createPodman(data);
    const plan = { ...findLeftovers({ podman, data, caches, recordings }), podman };
    describe(plan);
    if (plan.containers.length + plan.images.length + plan.folders.length === 0) return 0;
    if (!yes && process.stdin.isTTY !== true) {
      throw new Problem('Nothing was removed: there is no terminal to ask on, so say "npm run clean -- --yes".');
    }
    if (!(await confirm('Remove all of this?', { yes, byDefault: false }))) {
      console.log('Nothing was removed.');
      return 0;
    }
    return remove(plan);
  } finally {
    if (lock !== null) fs.closeSync(lock);
  }
}

/** Podman as the station used it: with the configuration that its engine wrote, where there is one. Null without it. */
function createPodman(data) {
  const program = findCommand('podman');
  if (program === null) return null;
  const conf = path.join(data, 'engine', 'containers.conf');
  const env = fs.existsSync(conf)
    ? { ...process.env, CONTAINERS_CONF: conf, CONTAINERS_CONF_OVERRIDE: conf }
    : process.env;
  return (args) => {
    const result = spawnSync(program, args, { encoding: 'utf8', env, timeout: COMMAND_DEADLINE_MS });
    if (result.error)
      throw new Problem(`"podman ${args[0]}" does not end: run it and mend what it says.`, '', result.error);
    return result;
  };
}

function findLeftovers({ podman, data, caches, recordings }) {
  const captured = path.join(data, RECORDINGS);
  const inside = fs.existsSync(data) ? fs.readdirSync(data).map((name) => path.join(data, name)) : [];
  const own = inside.filter((entry) => entry !== captured && path.basename(entry) !== 'station.lock');
  const keepsRecordings = fs.existsSync(captured) && !recordings;
  const folders = [...(keepsRecordings ? own : [data]), ...caches].filter((folder) => fs.existsSync(folder));
  return {
    containers: podman === null ? [] : findContainers(podman, data),
    images: podman === null ? [] : findImages(podman),
    folders,
    kept: keepsRecordings ? captured : null,
    lost: fs.existsSync(captured) && recordings ? captured : null,
  };
}

/** Containers of the station in this folder alone: another station's, on the same machine, mount another one. */
function findContainers(podman, data) {
  const list = lines(podman, [
    'ps',
    '--all',
    '--filter',
    'label=io.silvasonic.owner=controller',
    '--format',
    '{{.Names}}',
  ]);
  return list.filter((name) => {
    const mounts = lines(podman, ['inspect', '--format', '{{range .Mounts}}{{.Source}}\n{{end}}', name]);
    return mounts.some((source) => source === data || source.startsWith(`${data}/`));
  });
}

function findImages(podman) {
  const own = lines(podman, [
    'images',
    '--filter',
    'reference=localhost/silvasonic-*',
    '--format',
    '{{.Repository}}:{{.Tag}}',
  ]);
  const standIn = lines(podman, [
    'images',
    '--filter',
    'label=io.silvasonic.stand-in=true',
    '--format',
    '{{.Repository}}:{{.Tag}}',
  ]);
  return [...new Set([...own, ...standIn])].filter((name) => !name.includes('<none>'));
}

function lines(podman, args) {
  const result = podman(args);
  if (result.status !== 0) {
    throw new Problem(`"podman ${args[0]}" fails: mend what it says above and run this again.`, result.stderr.trim());
  }
  return result.stdout.split('\n').filter((line) => line !== '');
}

function describe({ containers, images, folders, kept, lost }) {
  const section = (title, entries) => {
    if (entries.length > 0) console.log(`${title}\n${entries.map((entry) => `  ${entry}`).join('\n')}`);
  };
  section('Containers, stopped and removed:', containers);
  section('Images, unless another container uses them:', images);
  section(
    'Files and folders:',
    folders.map((folder) => `${folder}  (${sizeOf(folder)})`),
  );
  if (lost !== null) console.log(`Recordings, for ever:\n  ${lost}  (${sizeOf(lost)})`);
  if (kept !== null) {
    console.log(`Recordings stay: ${kept} (${sizeOf(kept)}). "npm run clean -- --recordings" would remove them too.`);
  }
  if (containers.length + images.length + folders.length === 0) console.log('Nothing to remove.');
  else console.log('Installed packages and this checkout stay.');
}

function sizeOf(folder) {
  const result = spawnSync('du', ['--summarize', '--human-readable', folder], {
    encoding: 'utf8',
    timeout: COMMAND_DEADLINE_MS,
  });
  return result.stdout?.split('\t')[0] || 'size unknown';
}

function remove({ containers, images, folders, podman }) {
  if (containers.length > 0) lines(podman, ['rm', '--force', '--time', '10', ...containers]);
  for (const image of images) {
    const result = podman(['rmi', image]);
    if (result.status !== 0) console.log(`Kept ${image}: ${result.stderr.trim()}`);
  }
  for (const folder of folders) removeFolder(folder, podman);
  console.log('Removed.');
  return 0;
}

/** Without root, files in a container's storage belong to ids that only Podman's own user namespace may remove. */
function removeFolder(folder, podman) {
  try {
    fs.rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    if (podman === null || process.getuid() === 0 || error.code !== 'EACCES') throw notRemoved(folder, error);
    const result = podman(['unshare', 'rm', '-rf', folder]);
    if (result.status !== 0) throw notRemoved(folder, error);
  }
}

function notRemoved(folder, error) {
  return new Problem(`${folder} cannot be removed (${error.code}): do it as the user who owns it.`, '', error);
}

module.exports = { clean };
