// `npm run check`: lint, types and unit tests side by side. What each has to say is told whole when it has ended.
// Plain JavaScript, so that it runs right after `npm ci` with no compiler before it.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const CHECKS = [
  ['biome', 'check', '--error-on-warnings', '.'],
  // What it found out about files that did not change since is kept beside the packages: another release forgets it.
  ['tsc', '--incremental', '--tsBuildInfoFile', 'node_modules/.cache/check/types.tsbuildinfo'],
  ['vitest', 'run', '--project', 'unit'],
];

/** Resolves with whether it found nothing wrong. */
function run([program, ...words]) {
  return new Promise((resolve) => {
    const env = { ...process.env, ...(process.stdout.isTTY && { FORCE_COLOR: '1' }) };
    const child = spawn(join(root, 'node_modules/.bin', program), words, {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const told = [];
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => told.push(chunk));
    child.once('error', (error) => {
      process.stderr.write(`${program} cannot be started (${error.message}): run "npm ci" first.\n`);
      resolve(false);
    });
    child.once('close', (code) => {
      process.stdout.write(Buffer.concat(told));
      if (code !== 0) process.stdout.write(`\n${program} ${words.join(' ')}: not well.\n`);
      resolve(code === 0);
    });
  });
}

const began = performance.now();
const well = (await Promise.all(CHECKS.map(run))).every(Boolean);
process.stdout.write(
  `${well ? 'All is well' : 'Not all is well'}, ${Math.round((performance.now() - began) / 1000)} s.\n`,
);
process.exit(well ? 0 : 1);
