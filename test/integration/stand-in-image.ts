/**
 * Small images made of this machine's own programs, that stand for images which no test can fetch: the same programs by
 * name, of the same interface as far as the catalogue uses it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestEngine } from './engine.ts';

export interface StandIn {
  /** Names of programs of this machine. */
  programs: string[];
  /** Scripts in /usr/bin, by name. */
  scripts: Record<string, string>;
  /** Filled with bytes that cannot be packed, so that fetching it takes a while. */
  ballastBytes?: number;
}

const FOLDERS = ['/bin', '/usr/bin', '/sbin', '/usr/sbin'];

/** Makes it under this name in the engine. */
export async function makeStandIn(engine: TestEngine, name: string, standIn: StandIn): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-stand-in-'));
  try {
    const tree = join(folder, 'tree');
    for (const path of ['bin', 'usr/bin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'run', 'app', 'root', 'data'])
      mkdirSync(join(tree, path), { recursive: true });
    const programs = standIn.programs.map(find);
    for (const [index, program] of programs.entries())
      run('cp', ['-L', program, join(tree, 'bin', standIn.programs[index] ?? '')]);
    const libraries =
      run(
        'ldd',
        programs.map((program) => realpathSync(program)),
      ).match(/(?<=[\t ])\/\S+(?= \(0x)/g) ?? [];
    for (const library of new Set(libraries)) {
      mkdirSync(join(tree, dirname(library)), { recursive: true });
      run('cp', ['-L', library, join(tree, library)]);
    }
    for (const [script, text] of Object.entries(standIn.scripts))
      writeFileSync(join(tree, 'usr/bin', script), text, { mode: 0o755 });
    if (standIn.ballastBytes !== undefined)
      run('head', ['-c', String(standIn.ballastBytes), '/dev/urandom'], join(tree, 'app', 'ballast'));
    const archive = join(folder, 'rootfs.tar');
    run('tar', ['-C', tree, '--owner=0', '--group=0', '-cf', archive, '.']);
    await engine.podman('import', '--change', 'ENTRYPOINT ["/bin/sh"]', archive, name);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function find(name: string): string {
  const path = FOLDERS.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`There is no program ${name} on this machine.`);
  return path;
}

function run(program: string, args: string[], output?: string): string {
  const result = spawnSync(program, args, { encoding: 'buffer', maxBuffer: 512 * 1024 * 1024, timeout: 60_000 });
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${result.stderr}`);
  if (output !== undefined) writeFileSync(output, result.stdout);
  return output === undefined ? result.stdout.toString() : '';
}
