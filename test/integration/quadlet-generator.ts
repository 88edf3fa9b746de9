/**
 * Podman's own generator of units: this host's, or where its Podman is too old to have one (Debian 12), the one in a
 * later Debian's package, fetched by apt from the host's own mirror and with its keys, into a folder of our own.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readDebianArchive } from '../../services/station/debian-sources.ts';
import { runProgram } from '../../services/station/run-program.ts';

const HOSTS_OWN = ['/usr/libexec/podman/quadlet', '/usr/lib/podman/quadlet'];
const SUITE = 'trixie';
const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';
const FETCH_DEADLINE_MS = 170_000;

/** Its path. Throws with what apt said where it cannot be had. */
export async function quadletGenerator(): Promise<string> {
  const own = HOSTS_OWN.find((path) => existsSync(path));
  if (own !== undefined) return own;
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'silvasonic', `quadlet-${SUITE}`);
  const generator = join(folder, 'package/usr/libexec/podman/quadlet');
  if (!existsSync(generator)) await fetchPackage(folder);
  return generator;
}

async function fetchPackage(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  for (const name of ['sources', 'lists/partial', 'cache/archives/partial']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  const { mainUri } = readDebianArchive('/etc/apt');
  writeFileSync(
    join(folder, 'sources', 'debian.sources'),
    `Types: deb\nURIs: ${mainUri}\nSuites: ${SUITE}\nComponents: main\nSigned-By: ${KEYS}\n`,
  );
  const options = [
    'Dir::Etc::SourceList=/dev/null',
    `Dir::Etc::SourceParts=${folder}/sources`,
    `Dir::State::Lists=${folder}/lists`,
    `Dir::Cache=${folder}/cache`,
    'Acquire::Languages=none',
    // apt's own user cannot see a folder of root's.
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  await must(folder, 'apt-get', ...options, 'update');
  await must(folder, 'apt-get', ...options, 'download', 'podman');
  const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.deb'));
  await must(folder, 'dpkg-deb', '-x', file, 'unpacked');
  for (const name of ['lists', 'cache', file]) rmSync(join(folder, name), { recursive: true });
  // Last, and at once: an interrupted download is begun anew.
  await must(folder, 'mv', 'unpacked', 'package');
}

async function must(cwd: string, command: string, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await runProgram(command, args, { timeoutMs: FETCH_DEADLINE_MS, cwd });
  if (code !== 0) throw new Error(`${command} ${args.at(-1)}: ${stderr || stdout}`);
}
