import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import { findBarriers } from './axe.ts';
import type { TestBrowser } from './browser.ts';
import type { RunningPage } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

let made: PageStation;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 260, services: true });
  ({ station, page, browser } = made);
});

afterAll(async () => {
  await made?.remove();
});

const card = (name: string) => browser.page.locator(`article#${name}`);
const processor = async () => (await station.containers()).find(({ Name }) => Name.endsWith('-processor'));
const settings = async (name: string) =>
  (await station.sql`select settings from system_services where name = ${name}`)[0]?.settings;

describe('the processor', () => {
  test('runs, says what it does, and what it may', async () => {
    await browser.page.goto(`${page.address}/services`);
    await card('processor').locator('.badge.running').waitFor();
    await card('processor').getByText('Recordings that wait').waitFor();
    await card('processor').getByText('What it may').click();
    expect(await card('processor').innerText()).toContain('may read and change the recordings');
    expect(await card('processor').innerText()).toContain('has no network');
    expect(await card('processor').innerText()).toContain('localhost/silvasonic-processor:latest');
    expect(await findBarriers(browser.page)).toEqual([]);
  });

  test('switched off, its container goes and the card says so without a reload; switched on, it runs again', async () => {
    await card('processor').getByRole('switch').click();
    await browser.page.getByText('Switched off.').first().waitFor();
    expect(new URL(browser.page.url()).pathname).toBe('/services');
    await browser.page.evaluate(() => Reflect.set(window, 'neverReloaded', true));
    await card('processor').locator('.badge.disabled').waitFor();
    await station.until('its container is gone', async () => (await processor()) === undefined);
    expect(await browser.page.evaluate(() => Reflect.get(window, 'neverReloaded'))).toBe(true);
    await card('processor').getByRole('switch').click();
    await card('processor').locator('.badge.running').waitFor();
  });

  test('takes settings within their bounds, and its container has them', async () => {
    await card('processor').getByText('Settings', { exact: true }).click();
    await browser.page.fill('#processor-reservePercent', '200');
    await browser.page.selectOption('#processor-retention', 'overwrite');
    const save = () => card('processor').getByRole('button', { name: 'Save' }).click();
    await save();
    expect(await browser.page.locator('#processor-reservePercent-problem').innerText()).toContain('200 was given');
    expect(await browser.page.inputValue('#processor-retention')).toBe('overwrite');
    expect(await settings('processor')).toEqual({});
    await browser.page.fill('#processor-reservePercent', '7,5');
    await save();
    await browser.page.getByText('Saved.').waitFor();
    expect(await settings('processor')).toEqual({ retention: 'overwrite', reservePercent: 7.5 });
    await station.until('its container has them', async () =>
      (await processor())?.Config.Env.some((one) => one.includes('"reservePercent":7.5')),
    );
    await card('processor').getByText('Settings', { exact: true }).click();
    await card('processor').getByRole('button', { name: 'Back to the defaults' }).click();
    await browser.page.getByText('Reset to what came with the station.').waitFor();
    expect(await settings('processor')).toEqual({});
  });

  test('is restarted once', async () => {
    await card('processor').locator('.badge.running').waitFor();
    const before = await station.until('it runs', processor);
    await card('processor').getByRole('button', { name: 'Restart Processor' }).click();
    await station.until('another one runs', async () => {
      const now = await processor();
      return now !== undefined && now.Id !== before.Id;
    });
  });
});

test('a row that the catalogue does not know says so', async () => {
  await station.sql`insert into system_services (name, enabled) values ('unheard-of', true)`;
  await browser.page.goto(`${page.address}/services`);
  await card('unheard-of').getByText('The catalogue of this release has no service called “unheard-of”').waitFor();
  expect(await card('unheard-of').getByText('Settings').count()).toBe(0);
});

describe('events', () => {
  test('come by themselves, lead to whom they concern, and can be looked through by subject and kind', async () => {
    await browser.page.goto(`${page.address}/events`);
    station.plug(umik1());
    const link = browser.page.locator('#happened').getByRole('link', { name: 'UMIK-1', exact: true });
    await link.first().waitFor();
    expect(await findBarriers(browser.page)).toEqual([]);
    await browser.page.getByLabel('Of').selectOption({ label: 'Station' });
    await browser.page.getByLabel('Kind').selectOption('warning');
    await browser.page.getByRole('button', { name: 'Show' }).click();
    await browser.page.waitForURL(/subject=station/);
    const name = '<b>loud</b>';
    await station.sql`insert into events (subject, type, reason, message) values ('station', 'warning', 'Test', ${name}), ('station', 'normal', 'Test', 'all is well')`;
    await browser.page.locator('#happened').getByText(name, { exact: true }).waitFor();
    expect(await browser.page.locator('#happened').getByText('all is well').count()).toBe(0);
    expect(await browser.page.locator('#happened b').count()).toBe(0);
    expect(await link.count()).toBe(0);
  });

  test('older ones are on the next page', async () => {
    await station.sql`insert into events (subject, type, reason, message)
      select 'station', 'warning', 'Test' || n, 'number ' || n from generate_series(1, 120) as n`;
    await browser.page.goto(`${page.address}/events?subject=station`);
    const lines = browser.page.locator('#happened li');
    expect(await lines.count()).toBe(50);
    const newest = await lines.first().innerText();
    await browser.page.getByRole('link', { name: 'Older' }).click();
    await browser.page.getByRole('link', { name: 'The newest' }).waitFor();
    expect(await lines.count()).toBe(50);
    expect(await lines.first().innerText()).not.toBe(newest);
  });
});
