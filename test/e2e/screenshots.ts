/**
 * Draws the README's pictures: a station with synthetic and emulated microphones, its processor, and a real browser on a
 * phone and on a desktop, light and dark. Written to `test/e2e/screenshots/`.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, test } from 'vitest';
import { createTestStation, type TestStation } from '../integration/test-station.ts';
import { umik1, webcam } from '../integration/usb-devices.ts';
import { startBrowser } from './browser.ts';
import { makePagePackage, type RunningPage, setUp, signIn, startPage } from './page-process.ts';

const TARGET = 'test/e2e/screenshots';
const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 860 };
/** Short files, so that there are spectrograms and recordings soon. */
const SEGMENT_SECONDS = 10;
const RECORDING_MS = 75_000;

let folder: string;
let station: TestStation;
let page: RunningPage;

beforeAll(async () => {
  mkdirSync(TARGET, { recursive: true });
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-screenshots-'));
  station = await createTestStation({
    firstCard: 230,
    services: true,
    environment: { SILVASONIC_VIRTUAL_MICROPHONES: '3' },
  });
  const packageFolder = makePagePackage(folder);
  await station.start();
  await station.stationId();
  page = await startPage(station, packageFolder);
  await prepareStation();
});

afterAll(async () => {
  await page?.stop();
  await station?.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** Microphones as a station in a wood may have them, with files already there. */
async function prepareStation(): Promise<void> {
  const first = await startBrowser();
  await setUp(first.page, page);
  await first.close();
  station.plug(umik1());
  station.plug(webcam());
  await station.until('all are known', async () => (await station.devices()).length === 5);
  const names = ['Beech, north edge', 'Pond', 'Reed bed'];
  for (const row of await station.devices()) {
    const virtual = row.product.startsWith('Virtual');
    const name = virtual ? names.shift() : undefined;
    await station.update(row.id, {
      ...(name !== undefined && { name }),
      settings: { segmentSeconds: SEGMENT_SECONDS },
    });
  }
  await station.sql`insert into system_config (key, value) values
    ('station_name', '"Birch wood"'), ('live_listening', 'true') on conflict (key) do update set value = excluded.value`;
  await station.nudge();
  await station.until('four record', async () => {
    const rows = await station.devices();
    return rows.filter(({ phase }) => phase === 'recording').length === 4;
  });
  const muted = (await station.devices()).find(({ product }) => product.includes('UMIK'));
  station.feed(muted?.workspace ?? '', 'silent');
  await new Promise((resolve) => setTimeout(resolve, RECORDING_MS));
}

type Look = `${'phone' | 'desktop'}-${'light' | 'dark'}`;

interface Picture {
  name: string;
  looks: Look[];
  open: (browser: Page) => Promise<unknown>;
}

const address = async (product: string): Promise<string> => {
  const row = (await station.devices()).find((one) => one.product.includes(product));
  return `${page.address}/microphones/${row?.workspace}`;
};

const PICTURES: Picture[] = [
  {
    name: 'dashboard',
    looks: ['phone-light', 'phone-dark', 'desktop-light', 'desktop-dark'],
    open: (browser) => browser.goto(page.address),
  },
  {
    name: 'microphone',
    looks: ['phone-dark', 'desktop-light'],
    open: async (browser) => browser.goto(await address('Virtual')),
  },
  {
    name: 'recordings',
    looks: ['phone-light', 'desktop-dark'],
    open: async (browser) => {
      await browser.goto(await address('Virtual'));
      await browser.getByRole('link', { name: /^\d{4}-\d\d-\d\d$/ }).click();
    },
  },
  { name: 'profiles', looks: ['phone-light'], open: (browser) => browser.goto(`${page.address}/profiles`) },
  { name: 'services', looks: ['desktop-light'], open: (browser) => browser.goto(`${page.address}/services`) },
  { name: 'events', looks: ['phone-dark'], open: (browser) => browser.goto(`${page.address}/events`) },
  { name: 'settings', looks: ['desktop-dark'], open: (browser) => browser.goto(`${page.address}/settings`) },
  { name: 'about', looks: ['phone-light'], open: (browser) => browser.goto(`${page.address}/about`) },
];
const LOOKS: readonly Look[] = ['phone-light', 'phone-dark', 'desktop-light', 'desktop-dark'];
/** Longer pages are cut: nobody reads on in a picture. Pixels. */
const TALLEST = 1500;

test.each(LOOKS)('%s', async (look) => {
  const size = look.startsWith('phone') ? PHONE : DESKTOP;
  const browser = await startBrowser({ ...size, colorScheme: look.endsWith('dark') ? 'dark' : 'light' });
  await signIn(browser.page, page);
  for (const { name, open } of PICTURES.filter(({ looks }) => looks.includes(look))) {
    await open(browser.page);
    // Levels and pictures come once a second.
    await browser.page.waitForTimeout(2500);
    const height = await browser.page.evaluate(() => document.documentElement.scrollHeight);
    await browser.page.screenshot({
      path: join(TARGET, `${name}-${look}.jpg`),
      type: 'jpeg',
      quality: 80,
      fullPage: true,
      clip: { x: 0, y: 0, width: size.width, height: Math.min(height, TALLEST) },
    });
  }
  await browser.close();
});
