/** The page as a process of its own, beside a test's station; built as `npm run build` does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { prepared } from '../integration/station-engine.ts';
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
export function makePagePackage(folder: string): string {
  const packageFolder = join(folder, 'page-package');
  mkdirSync(packageFolder);
  for (const name of ['profiles', 'node_modules', 'services', 'package.json'])
    symlinkSync(resolve(name), join(packageFolder, name));
  // Copied: what it sends to browsers, it finds from where it lies itself.
  cpSync(prepared().bundleFolder, join(packageFolder, 'dist'), { recursive: true });
  return packageFolder;
}

/** Starts the page on the station's database, Redis and folders, and waits until it answers. */
export async function startPage(
  station: TestStation,
  packageFolder: string,
  environment: Record<string, string> = {},
): Promise<RunningPage> {
  const port = environment.SILVASONIC_WEB_PORT ?? String(await freePort());
  const webWorkspace = join(station.workspace, 'web');
  const child = spawn(process.execPath, ['--enable-source-maps', join(packageFolder, 'dist', 'web.js')], {
    env: {
      ...process.env,
      ...station.environment,
      SILVASONIC_WEB_PORT: port,
      SILVASONIC_WEB_BIND: '127.0.0.1',
      ...environment,
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

export const PASSWORD = 'correct horse battery';

/** The first visit: sets the owner's password by the setup code, and is signed in then. */
export async function setUp(browser: Page, page: RunningPage): Promise<void> {
  await browser.goto(page.address);
  await browser.fill('#code', page.setupCode());
  await browser.fill('#password', PASSWORD);
  await browser.fill('#repeat', PASSWORD);
  await browser.click('button[type=submit]');
  await browser.getByRole('navigation').waitFor();
}

export async function signIn(browser: Page, page: RunningPage): Promise<void> {
  await browser.goto(page.address);
  await browser.fill('#password', PASSWORD);
  await browser.click('button[type=submit]');
  await browser.getByRole('navigation').waitFor();
}
