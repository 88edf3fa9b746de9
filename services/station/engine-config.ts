/**
 * What Podman has to be told on this host so that containers start at all. A host with systemd, one kind of cgroups and
 * full capabilities needs nothing, and gets nothing. Nothing here is ever written outside the given folder.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What was found out about the host. */
export interface HostFacts {
  systemd: boolean;
  /** cgroups v1 controllers are mounted, alone or beside v2: crun refuses such a mixture, runc takes it. */
  cgroupsV1: boolean;
  /** Without CAP_SYS_RESOURCE no limit can be raised above what this process has itself. */
  mayRaiseLimits: boolean;
  /** Hard limit of open files. */
  openFiles: number;
  /** Hard limit of processes, at most `/proc/sys/kernel/pid_max`, to which Podman lowers its own. */
  processes: number;
}

/** A storage of its own: nothing is shared with, or visible to, any other engine on the machine. */
export interface OwnStorage {
  /** Images and containers. */
  root: string;
  /** State that does not outlive a reboot. */
  runRoot: string;
}

/** Bit of CAP_SYS_RESOURCE in `/proc/self/status` (capabilities(7)). */
const CAP_SYS_RESOURCE = 24n;
/** What Podman itself asks for where nothing is configured. */
const PODMAN_LIMIT = 1_048_576;
/** Private, and not the pool from which Podman takes its own networks (10.88 to 10.89). */
const OWN_SUBNET = '10.222.0.0/16';
const OWN_SUBNET_POOL = '10.223.0.0/16';

/** `root` is what stands before each path: a test's picture of another machine. */
export async function readHostFacts(root = ''): Promise<HostFacts> {
  const [status, limits, mounts, pidMax] = await Promise.all(
    ['/proc/self/status', '/proc/self/limits', '/proc/self/mounts', '/proc/sys/kernel/pid_max'].map((path) =>
      readFile(`${root}${path}`, 'utf8'),
    ),
  );
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1] ?? '0'}`);
  return {
    systemd: existsSync(`${root}/run/systemd/system`),
    cgroupsV1: /^\S+ \S+ cgroup /m.test(mounts ?? ''),
    mayRaiseLimits: ((effective >> CAP_SYS_RESOURCE) & 1n) === 1n,
    openFiles: hardLimit(limits ?? '', 'Max open files'),
    processes: Math.min(hardLimit(limits ?? '', 'Max processes'), Number.parseInt(pidMax ?? '', 10) || PODMAN_LIMIT),
  };
}

function hardLimit(limits: string, name: string): number {
  const hard = new RegExp(`^${name}\\s+\\S+\\s+(\\d+)`, 'm').exec(limits)?.[1];
  return hard === undefined ? PODMAN_LIMIT : Number(hard);
}

/** containers.conf(5) with only what this host needs; empty: nothing. */
export function containersConf(facts: HostFacts, storage: OwnStorage | null): string {
  const sections = {
    // Naming one limit alone puts the other back to Podman's own, and the start fails.
    containers: facts.mayRaiseLimits
      ? []
      : [`default_ulimits = ["nofile=${pair(facts.openFiles)}", "nproc=${pair(facts.processes)}"]`],
    engine: [
      ...(facts.systemd ? [] : ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']),
      ...(facts.cgroupsV1 ? ['runtime = "runc"'] : []),
      // Podman's locks lie in one shared memory segment per user; a second engine beside the first would, at its first
      // start, free the locks of the other.
      ...(storage === null
        ? []
        : [`tmp_dir = ${JSON.stringify(join(storage.runRoot, 'libpod'))}`, 'lock_type = "file"']),
    ],
    network:
      storage === null
        ? []
        : [
            `network_config_dir = ${JSON.stringify(join(storage.root, 'networks'))}`,
            `default_subnet = "${OWN_SUBNET}"`,
            `default_subnet_pools = [{ "base" = "${OWN_SUBNET_POOL}", "size" = 24 }]`,
          ],
  };
  return Object.entries(sections)
    .filter(([, lines]) => lines.length > 0)
    .map(([name, lines]) => `[${name}]\n${lines.join('\n')}\n`)
    .join('\n');
}

const pair = (limit: number): string => `${limit}:${limit}`;

/** containers-storage.conf(5) of a storage of its own. */
function storageConf({ root, runRoot }: OwnStorage): string {
  return `[storage]\ndriver = "overlay"\ngraphroot = ${JSON.stringify(root)}\nrunroot = ${JSON.stringify(runRoot)}\n`;
}

/**
 * Writes what is needed into `folder` and answers the environment that makes Podman read it: for the API service and
 * for every command that is to see the same containers. From 4.6 on a file can be read on top of the host's own
 * configuration; an older Podman reads either the host's or this one.
 */
export async function writeEngineConfig(
  folder: string,
  storage: OwnStorage | null,
  version: { major: number; minor: number },
): Promise<Record<string, string>> {
  await mkdir(folder, { recursive: true });
  const environment: Record<string, string> = {};
  const conf = containersConf(await readHostFacts(), storage);
  if (conf !== '') {
    const path = join(folder, 'containers.conf');
    await writeFile(path, conf);
    const layered = version.major > 4 || (version.major === 4 && version.minor >= 6);
    environment[layered ? 'CONTAINERS_CONF_OVERRIDE' : 'CONTAINERS_CONF'] = path;
  }
  if (storage !== null) {
    await forgetEarlierBoot(storage.runRoot);
    const path = join(folder, 'storage.conf');
    await writeFile(path, storageConf(storage));
    environment.CONTAINERS_STORAGE_CONF = path;
  }
  return environment;
}

/**
 * Podman takes it that its run folder lies in memory: after a reboot it would go on believing in mounts and processes
 * that are gone. A run folder on disk is therefore emptied when another boot left it; only one that bears our mark.
 */
async function forgetEarlierBoot(runRoot: string): Promise<void> {
  const mark = join(runRoot, 'boot-id');
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  if (existsSync(mark) && (await readFile(mark, 'utf8')) !== bootId) await rm(runRoot, { recursive: true });
  await mkdir(runRoot, { recursive: true });
  await writeFile(mark, bootId);
}
