// Bundles the simulation into one file and runs it by plain node: a test runner's own bookkeeping costs more than a world.
// Plain JavaScript, so that it runs right after `npm ci` with no compiler before it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'silvasonic-simulation-'));
const outfile = join(folder, 'simulation.mjs');
let status = 1;
try {
  await build({
    entryPoints: [join(root, 'test/simulation/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: 'inline',
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as simulationCreateRequire } from 'node:module'; const require = simulationCreateRequire(import.meta.url);",
    },
  });
  status =
    spawnSync(process.execPath, ['--enable-source-maps', outfile, ...process.argv.slice(2)], { stdio: 'inherit' })
      .status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = status;
