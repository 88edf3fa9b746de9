/**
 * Images under the names that compose.yml and the Containerfiles begin with, made of Debian packages: no registry is
 * needed, and a machine with emulated USB lies in the base alone. With them comes docker-compose, from a package too.
 */
import { copyFileSync, existsSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { NODE_BASE_IMAGE } from '../../services/station/base-image.ts';
import { readDebianArchive } from '../../services/station/debian-sources.ts';
import type { OwnEngine } from '../../services/station/engine.ts';
import { ensureImages, type ImageRecipe } from '../../services/station/images.ts';
import { runProgram } from '../../services/station/run-program.ts';

const SUITE = 'trixie';
const CONTEXT = 'test/integration/appliance-images';
const NODE: ImageRecipe = {
  name: 'localhost/silvasonic-test-node:latest',
  containerfile: `${CONTEXT}/Containerfile.node`,
  context: 'test/integration',
};
const SERVERS = 'localhost/silvasonic-test-servers:latest';
const DATABASE: ImageRecipe = {
  name: 'localhost/silvasonic-test-database:latest',
  containerfile: `${CONTEXT}/Containerfile.database`,
  context: CONTEXT,
};
const REDIS: ImageRecipe = {
  name: 'localhost/silvasonic-test-redis:latest',
  containerfile: `${CONTEXT}/Containerfile.redis`,
  context: CONTEXT,
};
const STAND_INS: [recipe: ImageRecipe, name: string][] = [
  [NODE, NODE_BASE_IMAGE],
  [DATABASE, 'docker.io/library/postgres:17-bookworm'],
  [REDIS, 'docker.io/library/redis:8-bookworm'],
];

const MAX_AGE_MS = 30 * 24 * 3600_000;
const MAKE_DEADLINE_MS = 10 * 60_000;
const IMPORT_DEADLINE_MS = 120_000;

/** Makes the images in this engine; what takes long is kept in the cache folder. */
export async function ensureStandIns(engine: OwnEngine, cacheFolder: string): Promise<void> {
  const podman = async (...args: string[]): Promise<boolean> =>
    (await engine.podman(args, IMPORT_DEADLINE_MS)).code === 0;
  const must = async (...args: string[]): Promise<void> => {
    if (!(await podman(...args))) throw new Error(`podman ${args.join(' ')} failed.`);
  };
  // The emulated base bears the real one's name, and must not be built on itself.
  if (await podman('image', 'exists', NODE.name)) await podman('untag', NODE.name, NODE_BASE_IMAGE);
  const servers = await keptFile(join(cacheFolder, `servers-${SUITE}-${process.arch}-r1.tar`), makeServers);
  if (!(await podman('image', 'exists', SERVERS))) {
    const path = 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    await must('import', '--quiet', '--change', path, servers, SERVERS);
  }
  await ensureImages({
    podman: engine.podman,
    repositoryFolder: resolve('.'),
    cacheFolder,
    recipes: STAND_INS.map(([recipe]) => recipe),
    keepBuildCache: true,
    progress: (text) => console.log(`  images: ${text}`),
  });
  for (const [recipe, name] of STAND_INS) await must('tag', recipe.name, name);
}

/** The program docker-compose, as `podman compose` would call it. */
export async function ensureDockerCompose(cacheFolder: string): Promise<string> {
  return await keptFile(join(cacheFolder, `docker-compose-${SUITE}-${process.arch}`), async (target) => {
    const root = mkdtempSync(join(cacheFolder, 'compose-'));
    try {
      await mmdebstrap(['--variant=extract', '--include=docker-compose', SUITE, root]);
      copyFileSync(join(root, 'usr/libexec/docker/cli-plugins/docker-compose'), target);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
}

/** The file, made when it is missing or has grown old; it is complete or not there. */
async function keptFile(file: string, make: (target: string) => Promise<void>): Promise<string> {
  if (existsSync(file) && Date.now() - statSync(file).mtimeMs < MAX_AGE_MS) return file;
  const unfinished = `${file}.${process.pid}`;
  try {
    await make(unfinished);
    renameSync(unfinished, file);
  } finally {
    rmSync(unfinished, { force: true });
  }
  return file;
}

/** One root file system for both servers, of Debian's own packages. */
async function makeServers(target: string): Promise<void> {
  const lean = ['man', 'locale', 'doc'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
  const packages = '--include=ca-certificates,postgresql-17,redis-server';
  await mmdebstrap(['--variant=minbase', '--format=tar', packages, ...lean, SUITE, target]);
}

async function mmdebstrap(args: string[]): Promise<void> {
  const { mainUri } = readDebianArchive('/etc/apt');
  const all = ['--quiet', '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "2"', ...args];
  const result = await runProgram('mmdebstrap', [...all, `deb ${mainUri} ${SUITE} main`], {
    timeoutMs: MAKE_DEADLINE_MS,
  });
  if (result.code !== 0) throw new Error(`mmdebstrap ${args.join(' ')}: ${result.stderr.slice(-2000)}`);
}
