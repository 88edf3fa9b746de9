/**
 * A real Podman of the tests' own: own storage, own state, own socket, in a folder under the system's temporary one, so
 * that no test ever sees or touches containers of anybody else on the machine. With it comes a small image made of this
 * machine's own shell, so that no registry is needed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '../../services/controller/log.ts';
import { type OwnEngine, startEngine } from '../../services/station/engine.ts';

/** Fully qualified name of the image. Its one program runs the shell commands in the variable `TEST_SCRIPT`. */
export const TEST_IMAGE = 'localhost/silvasonic-test:latest';

export interface TestEngine {
  folder: string;
  socketPath: string;
  environment: Record<string, string>;
  /** Standard output of a successful `podman` command; throws with what it said otherwise. */
  podman(...args: string[]): Promise<string>;
  /** Ends the API; containers stay. */
  stopApi(): Promise<void>;
  startApi(): Promise<void>;
  /** Removes every container, mount and file of this engine. */
  stop(): Promise<void>;
}

export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLog,
};

const FOLDER_PREFIX = 'silvasonic-engine-';
const OWNER_FILE = 'owner.pid';
/** What the image offers, besides what the shell can do by itself. */
const PROGRAMS = ['sh', 'sleep', 'cat', 'ls', 'id', 'stat', 'touch', 'mkdir'];
const PROGRAM_FOLDERS = ['/bin', '/usr/bin'];

export async function testEngine(): Promise<TestEngine> {
  removeLeftovers();
  const folder = mkdtempSync(join(tmpdir(), FOLDER_PREFIX));
  writeFileSync(join(folder, OWNER_FILE), String(process.pid));
  const options = {
    folder,
    socketPath: join(folder, 'run', 'podman.sock'),
    root: join(folder, 'root'),
    runRoot: join(folder, 'runroot'),
    log: silentLog,
  };
  let engine: OwnEngine = await startEngine(options);
  const podman = async (...args: string[]): Promise<string> => {
    const result = await engine.podman(args);
    if (result.code !== 0) throw new Error(`podman ${args.join(' ')}: ${result.stderr || result.stdout}`);
    return result.stdout.trim();
  };
  const stop = async (): Promise<void> => {
    await engine.stop();
    removeEngine(folder);
  };
  try {
    await podman('import', '--change', 'ENTRYPOINT ["/bin/sh", "-c", "eval \\"$TEST_SCRIPT\\""]', rootfs(), TEST_IMAGE);
  } catch (cause) {
    await stop();
    throw cause;
  }
  return {
    folder,
    socketPath: engine.socketPath,
    environment: engine.environment,
    podman,
    stop,
    stopApi: () => engine.stop(),
    async startApi() {
      engine = await startEngine(options);
    },
  };
}

/** A tar with a shell, a few programs and their libraries, all of this machine; made once per user. */
function rootfs(): string {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? tmpdir(), '.cache'), 'silvasonic-test');
  const archive = join(cache, 'rootfs-1.tar');
  if (existsSync(archive)) return archive;
  mkdirSync(cache, { recursive: true });
  const programs = PROGRAMS.map((name) => PROGRAM_FOLDERS.map((folder) => join(folder, name)).find(existsSync)).filter(
    (path) => path !== undefined,
  );
  const libraries = run('ldd', programs).match(/(?<=[\t ])\/\S+(?= \(0x)/g) ?? [];
  const build = mkdtempSync(join(cache, 'build-'));
  try {
    const tree = join(build, 'tree');
    for (const name of ['bin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'run', 'app'])
      mkdirSync(join(tree, name), { recursive: true });
    for (const program of programs) run('cp', ['-L', program, join(tree, 'bin')]);
    for (const library of new Set(libraries)) {
      mkdirSync(join(tree, library, '..'), { recursive: true });
      run('cp', ['-L', library, join(tree, library)]);
    }
    run('tar', ['-C', tree, '--owner=0', '--group=0', '-cf', join(build, 'rootfs.tar'), '.']);
    run('mv', [join(build, 'rootfs.tar'), archive]);
  } finally {
    rmSync(build, { recursive: true, force: true });
  }
  return archive;
}

/** Engines of test runs that were killed before they could tidy up. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(FOLDER_PREFIX))) {
    const folder = join(tmpdir(), name);
    const owner = existsSync(join(folder, OWNER_FILE)) ? readFileSync(join(folder, OWNER_FILE), 'utf8') : '';
    if (owner !== '' && !existsSync(`/proc/${owner}`)) removeEngine(folder);
  }
}

function removeEngine(folder: string): void {
  const conf = (name: string) => join(folder, name);
  const env = {
    ...process.env,
    ...(existsSync(conf('containers.conf')) && {
      CONTAINERS_CONF: conf('containers.conf'),
      CONTAINERS_CONF_OVERRIDE: conf('containers.conf'),
    }),
    CONTAINERS_STORAGE_CONF: conf('storage.conf'),
  };
  if (existsSync(conf('storage.conf'))) {
    spawnSync('podman', ['rm', '--all', '--force', '--time', '0'], { env, timeout: 60_000 });
    spawnSync('podman', ['system', 'reset', '--force'], { env, timeout: 60_000 });
  }
  killContainers(folder);
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`));
  for (const mount of mounts.reverse()) spawnSync('umount', ['--lazy', mount]);
  rmSync(folder, { recursive: true, force: true });
}

/** Whatever Podman could not end: the children of this engine's conmons, which then end by themselves. */
function killContainers(folder: string): void {
  const conmons = processesOf(folder).filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'conmon');
  for (const conmon of conmons) {
    const children = readFileSync(`/proc/${conmon}/task/${conmon}/children`, 'utf8').trim();
    for (const child of children.split(' ').filter((text) => text !== '')) process.kill(Number(child), 'SIGKILL');
  }
}

/** Processes whose command line names this path. */
export function processesOf(path: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.map(Number).filter((pid) => commandLine(pid).includes(path));
}

/** Empty for a process that ended while we looked. */
function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

function run(program: string, args: string[]): string {
  const result = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${result.stderr}`);
  return result.stdout;
}
