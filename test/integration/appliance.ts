/**
 * An appliance of a test's own: a copy of this folder, brought up by compose on an engine whose storage nobody else uses.
 * compose.yml is the one that users have; its `.env` names folders, ports and a network of the test.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { vi } from 'vitest';
import { acquireLock } from '../../services/controller/lock.ts';
import { type RecorderStatus, recorderStatusSchema } from '../../services/shared/contract.ts';
import type { OwnEngine } from '../../services/station/engine.ts';
import { runProgram } from '../../services/station/run-program.ts';
import { ensureDockerCompose, ensureStandIns } from './appliance-images.ts';
import { removeContainers, startOn } from './global-setup.ts';
import { freePort, type InspectedContainer } from './test-station.ts';

export type Provider = 'docker-compose' | 'podman-compose';

export interface Appliance {
  /** The copy of this folder. */
  folder: string;
  workspace: string;
  /** Where the controller's container sees its emulated machine. */
  machineFolder: string;
  webPort: number;
  controllerPort: number;
  network: string;
  /** Runs the provider's command in the folder; throws with what it said where it fails. */
  compose(...args: string[]): Promise<string>;
  podman(...args: string[]): Promise<string>;
  /** All containers, also those that do not run. */
  containers(): Promise<InspectedContainer[]>;
  /** The container of one of compose.yml's services; throws where there is none. */
  service(name: string): Promise<InspectedContainer>;
  /** Running recorders. */
  recorders(): Promise<InspectedContainer[]>;
  /** What the one recorder says of itself; throws while there is none that does. */
  status(): Promise<RecorderStatus>;
  /** Folder of the only microphone; throws before it is there. */
  recordings(): string;
  /** As the page's own login at the database: rows as lines, columns divided by |. */
  query(sql: string): Promise<string>;
  /** Power off and on: processes, mounts and what lies in memory are gone; then the system starts what always runs. */
  reboot(): Promise<void>;
  remove(): Promise<void>;
}

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'silvasonic');
const COPIED = [
  '.dockerignore',
  '.npmrc',
  'compose.yml',
  'migrations',
  'package-lock.json',
  'package.json',
  'profiles',
  'services',
];
const OWN_IMAGES = ['controller', 'web', 'recorder', 'processor'];
const COMMAND_DEADLINE_MS = 60_000;
const COMPOSE_DEADLINE_MS = 10 * 60_000;

/** Waits until `look` no longer throws; fails with what it threw last. */
export const until = <T>(look: () => T | Promise<T>, timeoutMs = 40_000): Promise<T> =>
  vi.waitFor(look, { timeout: timeoutMs, interval: 100 });

export async function createAppliance(provider: Provider): Promise<Appliance> {
  const storage = join(CACHE, 'tests-appliance');
  mkdirSync(storage, { recursive: true });
  const lock = await acquireLock(join(storage, 'in-use.lock'));
  if (lock.kind !== 'held') throw new Error(`Another run uses ${storage}: wait until it has ended.`);
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-appliance-'));
  const socketFolder = join(folder, 'run');
  let engine = await startOn(storage, join(socketFolder, 'podman.sock'));
  await removeContainers(engine);
  await ensureStandIns(engine, CACHE);
  // As on a machine that has none of our images yet; what they were built in steps from is kept, and shortens it.
  if (provider === 'docker-compose')
    for (const name of OWN_IMAGES) await engine.podman(['untag', `localhost/silvasonic-${name}:latest`]);
  const project = join(folder, basename(folder).toLowerCase());
  for (const name of COPIED) cpSync(resolve(name), join(project, name), { recursive: true });
  const [webPort, controllerPort] = [await freePort(), await freePort()];
  const network = `${basename(project)}-services`;
  const variables = {
    SILVASONIC_PODMAN_FOLDER: socketFolder,
    SILVASONIC_WORKSPACE_PATH: './station',
    SILVASONIC_WEB_PORT: webPort,
    SILVASONIC_CONTROLLER_PORT: controllerPort,
    SILVASONIC_NETWORK: network,
  };
  writeFileSync(
    join(project, '.env'),
    Object.entries(variables)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
  const program = provider === 'docker-compose' ? await ensureDockerCompose(CACHE) : 'podman-compose';
  const workspace = join(project, 'station');

  const podman = async (...args: string[]): Promise<string> => {
    const result = await engine.podman(args, COMMAND_DEADLINE_MS);
    if (result.code !== 0) throw new Error(`podman ${args.join(' ')}: ${result.stderr || result.stdout}`);
    return result.stdout.trim();
  };
  const containers = async (): Promise<InspectedContainer[]> => {
    const ids = (await podman('ps', '--all', '--quiet', '--no-trunc')).split('\n').filter((id) => id !== '');
    // One that goes away between the two commands is not there.
    const inspected = await engine.podman(['inspect', '--type', 'container', ...ids], COMMAND_DEADLINE_MS);
    return ids.length === 0 ? [] : JSON.parse(inspected.stdout);
  };
  const labelled = async (label: string, value: string): Promise<InspectedContainer[]> =>
    (await containers()).filter(({ Config }) => Config.Labels[label] === value);
  const recorders = async (): Promise<InspectedContainer[]> =>
    (await labelled('io.silvasonic.service', 'recorder')).filter(({ State }) => State.Status === 'running');
  const service = async (name: string): Promise<InspectedContainer> => {
    const [found, ...others] = await labelled('com.docker.compose.service', name);
    if (found === undefined || others.length > 0) throw new Error(`${name}: ${others.length} others, or none`);
    return found;
  };
  const recordings = (): string => {
    const root = join(workspace, 'recorder');
    const [name, ...others] = readdirSync(root).filter((entry) => !entry.startsWith('.'));
    if (name === undefined || others.length > 0) throw new Error(`${root} holds ${[name, ...others].join(', ')}`);
    return join(root, name);
  };

  return {
    folder: project,
    workspace,
    machineFolder: join(workspace, 'controller', 'emulated'),
    webPort,
    controllerPort,
    network,
    podman,
    containers,
    service,
    recorders,
    recordings,
    async compose(...args) {
      const env = {
        ...process.env,
        ...engine.environment,
        DOCKER_HOST: `unix://${socketFolder}/podman.sock`,
        // As `podman compose` sets it.
        DOCKER_BUILDKIT: '0',
        // A name that no station beside the test has; podman-compose takes the folder's.
        COMPOSE_PROJECT_NAME: basename(project),
      };
      const result = await runProgram(program, args, { cwd: project, env, timeoutMs: COMPOSE_DEADLINE_MS });
      if (result.code !== 0) throw new Error(`${provider} ${args.join(' ')}: ${result.stdout}${result.stderr}`);
      return `${result.stdout}${result.stderr}`;
    },
    async status() {
      const text = readFileSync(join(socketFolder, 'silvasonic', basename(recordings()), 'status.json'), 'utf8');
      return recorderStatusSchema.parse(JSON.parse(text));
    },
    async query(sql) {
      const { Id } = await service('database');
      const web = await service('web');
      const password = await podman('exec', web.Id, 'cat', '/secrets/page/password');
      const psql = ['psql', '--host=127.0.0.1', '--username=silvasonic_page', '--dbname=silvasonic', '-Atqc', sql];
      return await podman('exec', '--env', `PGPASSWORD=${password}`, Id, ...psql);
    },
    async reboot() {
      const ran = (await containers()).filter(({ State }) => State.Status === 'running');
      await engine.stop();
      await powerOff(engine, ran, [join(storage, 'run'), socketFolder]);
      engine = await startOn(storage, join(socketFolder, 'podman.sock'));
      // As podman-restart.service does; who fails is told by its exit code.
      await engine.podman(['start', '--all', '--filter', 'restart-policy=always'], COMMAND_DEADLINE_MS);
    },
    async remove() {
      await removeContainers(engine);
      await engine.stop();
      rmSync(folder, { recursive: true, force: true });
      await lock.release();
    },
  };
}

/** Nothing of these containers is left but what lies on disk. */
async function powerOff(engine: OwnEngine, ran: InspectedContainer[], inMemory: string[]): Promise<void> {
  for (const { State } of ran) {
    // The one that watches first: it could still write down how the other ended.
    for (const pid of [parentOf(State.Pid), State.Pid]) process.kill(pid, 'SIGKILL');
  }
  await until(() => {
    const alive = ran.filter(({ State }) => existsSync(`/proc/${State.Pid}`));
    if (alive.length > 0) throw new Error(`${alive.length} processes are still there`);
  });
  const root = dirname(engine.environment.CONTAINERS_STORAGE_CONF ?? '');
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  const own = mounts.filter((path) => path.startsWith(`${root}/`)).reverse();
  for (const path of own) await runProgram('umount', ['--lazy', path], { timeoutMs: COMMAND_DEADLINE_MS });
  await forgetForwarding(ran.map(({ Id }) => Id));
  await forgetNetworks(ran);
  for (const { Id } of ran)
    for (const runtime of ['runc', 'crun']) rmSync(`/run/${runtime}/${Id}`, { recursive: true, force: true });
  for (const path of inMemory) rmSync(path, { recursive: true, force: true });
}

/** Which process watches over a container's first one. */
function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** A boot begins without network namespaces; with them go their ends of the bridges, which would stay for ever. */
async function forgetNetworks(ran: InspectedContainer[]): Promise<void> {
  for (const { NetworkSettings } of ran) {
    if (!NetworkSettings.SandboxKey.startsWith('/run/netns/')) continue;
    await runProgram('umount', ['--lazy', NetworkSettings.SandboxKey], { timeoutMs: COMMAND_DEADLINE_MS });
    rmSync(NetworkSettings.SandboxKey, { force: true });
  }
}

/** A boot begins without rules of the firewall: ports that lead to the containers of before would be found first. */
async function forgetForwarding(ids: string[]): Promise<void> {
  const run = (...args: string[]) => runProgram('iptables', ['-t', 'nat', ...args], { timeoutMs: COMMAND_DEADLINE_MS });
  const rules = (await run('-S', 'NETAVARK-HOSTPORT-DNAT')).stdout.split('\n');
  const own = rules.filter((rule) => ids.some((id) => rule.includes(id)));
  for (const rule of own) {
    const words = rule
      .replace(/--comment ".*?"/, '')
      .split(' ')
      .filter((word) => word !== '');
    const chain = words.at(-1);
    if (chain !== undefined) await run('-F', chain);
  }
}
