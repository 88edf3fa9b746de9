/** A test's station with its controller, its page, and a browser that is signed in. `remove` leaves nothing of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestStation, type StationOptions, type TestStation } from '../integration/test-station.ts';
import { type BrowserOptions, startBrowser, type TestBrowser } from './browser.ts';
import { makePagePackage, type RunningPage, setUp, startPage } from './page-process.ts';

export interface PageStation {
  station: TestStation;
  /** The page that runs now: `startPageAgain` replaces it. */
  page: RunningPage;
  browser: TestBrowser;
  /** To put things aside in. */
  folder: string;
  /** On another environment, once the one before has been stopped. */
  startPageAgain(environment?: Record<string, string>): Promise<RunningPage>;
  remove(): Promise<void>;
}

/** The owner's password is set, and the browser shows the first page. */
export async function createPageStation(options: StationOptions & { browser?: BrowserOptions }): Promise<PageStation> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-page-'));
  const cleanups: (() => Promise<void> | void)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const remove = async (): Promise<void> => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    const station = await createTestStation(options);
    cleanups.push(() => station.remove());
    const packageFolder = makePagePackage(folder);
    await station.start();
    await station.stationId();
    let page = await startPage(station, packageFolder);
    cleanups.push(() => page.stop());
    const browser = await startBrowser(options.browser);
    cleanups.push(() => browser.close());
    await setUp(browser.page, page);
    return {
      station,
      get page() {
        return page;
      },
      browser,
      folder,
      async startPageAgain(environment) {
        page = await startPage(station, packageFolder, environment);
        return page;
      },
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
