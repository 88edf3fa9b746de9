/** A real browser (Debian's Chromium), driven by playwright-core. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

export interface TestBrowser {
  context: BrowserContext;
  page: Page;
  close(): Promise<void>;
}

export interface BrowserOptions {
  width?: number;
  height?: number;
  colorScheme?: 'light' | 'dark';
  javaScript?: boolean;
}

/** Root may not use Chromium's sandbox, and a closed network makes its own services wait in vain. */
const SWITCHES = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

/** A fresh browser, with no cookies. */
export async function startBrowser(options: BrowserOptions = {}): Promise<TestBrowser> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-browser-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: findBrowser(),
    args: SWITCHES,
    viewport: { width: options.width ?? 1280, height: options.height ?? 900 },
    colorScheme: options.colorScheme ?? 'light',
    javaScriptEnabled: options.javaScript ?? true,
    timezoneId: 'Europe/Berlin',
    locale: 'en-GB',
  });
  const page = context.pages()[0] ?? (await context.newPage());
  return {
    context,
    page,
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function findBrowser(): string {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const found = names.map((name) => `/usr/bin/${name}`).find(existsSync);
  if (found === undefined) throw new Error(`None of ${names.join(', ')} is in /usr/bin: install Chromium.`);
  return found;
}
