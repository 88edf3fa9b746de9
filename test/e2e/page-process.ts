/** The page as a process of its own, beside a test's station; built as `npm run build` does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runProgram } from '../../services/station/run-program.ts';
import { freePort, type TestStation } from '../integration/test-station.ts';

export interface RunningPage {
  process: ChildProcess;
  /** `http://127.0.0.1:<port>`. */
  address: string;
  /** All that it has written. */
  output(): string;
  setupCode(): string;
  stop(): Promise<void>;
}

/** Folder of the package that pages run from, made once per test file. */
export async function buildPage(folder: string): Promise<string> {
  const packageFolder = join(folder, 'page-package');
  mkdirSync(packageFolder);
  for (const name of ['profiles', 'node_modules', 'services', 'package.json'])
    symlinkSync(resolve(name), join(packageFolder, name));
  const built = await runProgram(process.execPath, ['services/station/build.js', 'web'], {
    cwd: packageFolder,
    timeoutMs: 60_000,
  });
  if (built.code !== 0) throw new Error(built.stderr);
  return packageFolder;
}

/** Starts the page on the station's database, Redis and folders, and waits until it answers. */
export async function startPage(station: TestStation, packageFolder: string): Promise<RunningPage> {
  const port = await freePort();
  const webWorkspace = join(station.workspace, 'web');
  const child = spawn(process.execPath, ['--enable-source-maps', join(packageFolder, 'dist', 'web.js')], {
    env: {
      ...process.env,
      ...station.environment,
      SILVASONIC_WEB_PORT: String(port),
      SILVASONIC_WEB_BIND: '127.0.0.1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const ended = once(child, 'close');
  const address = `http://127.0.0.1:${port}`;
  await station.until('the page answers', async () => {
    if (child.exitCode !== null) throw new Error(`The page ended: ${output}`);
    return (await fetch(`${address}/healthy`)).ok;
  });
  return {
    process: child,
    address,
    output: () => output,
    setupCode: () => readFileSync(join(webWorkspace, 'setup-code'), 'utf8').trim(),
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
