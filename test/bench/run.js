// Bundles the bench and runs it. Plain JavaScript, so that it runs right after `npm ci` with no compiler before it.
// The fixtures of the integration tests ask their runner for the engine: here the bench gives it to them.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

// As deep below the root as the sources are: they find migrations and images from where they lie.
const outfile = resolve(import.meta.dirname, '../../dist/bench/bench.js');

await build({
  entryPoints: [resolve(import.meta.dirname, 'main.ts')],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  sourcemap: 'inline',
  logLevel: 'warning',
  packages: 'external',
  alias: { vitest: resolve(import.meta.dirname, 'provided.ts') },
});

const { main } = await import(pathToFileURL(outfile).href);
// Whatever a failure left half made must not keep this process: what fixtures started ends with it.
process.exit(await main(process.argv.slice(2)));
