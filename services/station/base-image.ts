/**
 * A stand-in for the base image, for hosts that reach no registry: Debian from the host's own mirror, Node and npm from
 * the npm registry, put together so that the same Containerfile builds on it unchanged.
 *
 * It is kept as one tar file per architecture: making it costs half a minute, importing it a few seconds.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DebianArchive, readDebianArchive } from './debian-sources.ts';
import { runProgram } from './run-program.ts';

/** The name that the services' Containerfiles begin with. */
export const NODE_BASE_IMAGE = 'docker.io/library/node:24-bookworm-slim';

/** Raised whenever the stand-in is made differently: an older tar file is then not used any more. */
const STAND_IN_REVISION = 1;
const SUITE = 'bookworm';
/** After this, Debian has had security updates that a fresh one should contain. */
const STAND_IN_MAX_AGE_MS = 30 * 24 * 3600_000;
const DEBIAN_DEADLINE_MS = 15 * 60_000;
const NPM_DEADLINE_MS = 5 * 60_000;
const QUICK_DEADLINE_MS = 20_000;
const LOCAL_CERTIFICATES = '/usr/local/share/ca-certificates';

export interface StandInOptions {
  cacheFolder: string;
  /** Called with a sentence at each step. */
  progress(text: string): void;
  /** From `process.arch`. */
  arch: string;
}

/** The tar file of an earlier run, or null when there is none or it has grown old. */
export function findStandIn({ cacheFolder, arch }: Pick<StandInOptions, 'cacheFolder' | 'arch'>): string | null {
  const file = standInFile(cacheFolder, arch);
  if (!existsSync(file)) return null;
  return Date.now() - statSync(file).mtimeMs < STAND_IN_MAX_AGE_MS ? file : null;
}

function standInFile(cacheFolder: string, arch: string): string {
  return join(cacheFolder, `node-24-${SUITE}-slim-${arch}-r${STAND_IN_REVISION}.tar`);
}

/**
 * Makes the stand-in's tar file and returns its path. Needs `mmdebstrap`, the host's Debian mirror and npm's registry.
 * @throws Error with a sentence for a person; `cause` holds what the failing program said
 */
export async function makeStandIn(options: StandInOptions): Promise<string> {
  const { cacheFolder, arch, progress } = options;
  await requireDebian();
  const archive = readDebianArchive('/etc/apt');
  await mkdir(cacheFolder, { recursive: true });
  const work = await mkdtemp(join(cacheFolder, 'stand-in-'));
  try {
    progress('No registry answers: fetching Node from the npm registry');
    await Promise.all([pack(`node-linux-${arch}@24`, work, 'node.tgz'), pack('npm@11', work, 'npm.tgz')]);
    progress("Making a Debian base image from this host's own package mirror (half a minute)");
    const unfinished = join(work, 'image.tar');
    await makeDebian({ archive, work, target: unfinished, aptOptions: await proxyOptions() });
    await rename(unfinished, standInFile(cacheFolder, arch));
    return standInFile(cacheFolder, arch);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What `podman import --change` sets, as the image that it stands for does. */
export const STAND_IN_CHANGES = [
  'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'LABEL io.silvasonic.stand-in=true',
  'CMD ["node"]',
] as const;

async function requireDebian(): Promise<void> {
  const text = existsSync('/etc/os-release') ? await readFile('/etc/os-release', 'utf8') : '';
  const value = (key: string): string => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  const version = value('VERSION_ID');
  if (value('ID') === 'debian' && (version === '' || Number(version) >= 12)) return;
  throw new Error(
    `The image registry docker.io cannot be reached, and only Debian 12 or newer can do without (this is ${value('PRETTY_NAME') || 'another system'}): let this machine reach docker.io, or load the image with "podman load" (${NODE_BASE_IMAGE}).`,
  );
}

/** Fetches one npm package as a tar file, by npm itself: its proxy, certificates and registry are set there. */
async function pack(name: string, folder: string, fileName: string): Promise<void> {
  const target = await mkdtemp(join(folder, 'pack-'));
  const args = ['pack', name, '--pack-destination', target, '--ignore-scripts', '--loglevel=error'];
  const result = await runProgram('npm', args, { cwd: folder, timeoutMs: NPM_DEADLINE_MS });
  const file = readdirSync(target).find((entry) => entry.endsWith('.tgz'));
  if (result.code !== 0 || file === undefined) {
    throw new Error(`${name} could not be fetched: connect this machine to the internet and to npm's registry.`, {
      cause: new Error(result.stderr.trim()),
    });
  }
  await rename(join(target, file), join(folder, fileName));
}

/** apt's own proxy settings, handed on: mmdebstrap's apt reads none of the host's configuration. */
async function proxyOptions(): Promise<string[]> {
  const keys = ['Acquire::http::Proxy', 'Acquire::https::Proxy'];
  const result = await runProgram('apt-config', ['dump', '--format', '%f "%v";%n', ...keys], {
    timeoutMs: QUICK_DEADLINE_MS,
  });
  if (result.code !== 0) throw new Error(`apt-config fails: ${result.stderr.trim()}; mend /etc/apt/apt.conf.d.`);
  return result.stdout.split('\n').filter((line) => /^\S+ "[^"]+";$/.test(line));
}

interface DebianRecipe {
  archive: DebianArchive;
  /** Holds node.tgz and npm.tgz. */
  work: string;
  target: string;
  aptOptions: string[];
}

async function makeDebian({ archive, work, target, aptOptions }: DebianRecipe): Promise<void> {
  const args = [
    '--quiet',
    '--variant=minbase',
    '--format=tar',
    '--include=ca-certificates,tzdata,libstdc++6',
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "2"',
    ...aptOptions.map((option) => `--aptopt=${option}`),
    '--dpkgopt=path-exclude=/usr/share/man/*',
    '--dpkgopt=path-exclude=/usr/share/locale/*',
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-include=/usr/share/doc/*/copyright',
    // Uploaded, not read by the hook: in mmdebstrap's rootless mode, the hook is a user who may not enter our folder.
    `--customize-hook=upload "${join(work, 'node.tgz')}" /node.tgz`,
    `--customize-hook=upload "${join(work, 'npm.tgz')}" /npm.tgz`,
    `--customize-hook=${INSTALL_NODE}`,
    SUITE,
    target,
    ...aptLines(archive),
  ];
  const env = { ...process.env, SILVASONIC_CERTIFICATES: LOCAL_CERTIFICATES };
  const result = await runProgram('mmdebstrap', args, { env, timeoutMs: DEBIAN_DEADLINE_MS });
  if (result.code === 0) return;
  throw new Error(
    `The base image could not be made from ${archive.mainUri}: let this machine reach that mirror or docker.io, and try again.`,
    { cause: new Error(result.stderr.trim().split('\n').slice(-20).join('\n')) },
  );
}

function aptLines({ mainUri, securityUri }: DebianArchive): string[] {
  return [
    `deb ${mainUri} ${SUITE} main`,
    `deb ${mainUri} ${SUITE}-updates main`,
    ...(securityUri === null ? [] : [`deb ${securityUri} ${SUITE}-security main`]),
  ];
}

/**
 * Runs on the host with the new system's root as $1. The host's own certificates go along: behind a proxy that inspects
 * TLS, npm in a build would fail with SELF_SIGNED_CERT_IN_CHAIN. The user `node` is the one of the real image.
 */
const INSTALL_NODE = `set -eu
mkdir -p "$1/usr/local/lib/node_modules/npm" "$1/usr/local/etc"
tar -xzf "$1/node.tgz" --no-same-owner -C "$1/usr/local" --strip-components=1 package/bin/node
tar -xzf "$1/npm.tgz" --no-same-owner -C "$1/usr/local/lib/node_modules/npm" --strip-components=1
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$1/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$1/usr/local/bin/npx"
chmod 755 "$1/usr/local/bin/node" "$1/usr/local/lib/node_modules/npm/bin/npm-cli.js" "$1/usr/local/lib/node_modules/npm/bin/npx-cli.js"
chroot "$1" groupadd --gid 1000 node
chroot "$1" useradd --uid 1000 --gid node --shell /bin/bash --create-home node
found=no
for certificate in "$SILVASONIC_CERTIFICATES"/*.crt; do
  [ -f "$certificate" ] || continue
  cp "$certificate" "$1/usr/local/share/ca-certificates/"
  found=yes
done
if [ "$found" = yes ]; then
  chroot "$1" update-ca-certificates
  printf 'cafile=/etc/ssl/certs/ca-certificates.crt\\n' >"$1/usr/local/etc/npmrc"
fi
chroot "$1" node --version
chroot "$1" npm --version
rm -rf "$1/node.tgz" "$1/npm.tgz" "$1/root/.npm" "$1/etc/resolv.conf" "$1/etc/hostname"`;
