/** Settings and About in a real browser: place, switches, alerts at a real receiver, password, browsers, the support bundle. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import { findBarriers } from './axe.ts';
import { startBrowser, type TestBrowser } from './browser.ts';
import { PASSWORD, type RunningPage, signIn } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

let made: PageStation;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;
let receiver: Server;
const received: string[] = [];

beforeAll(async () => {
  made = await createPageStation({ firstCard: 280 });
  ({ station, page, browser } = made);
  receiver = createServer((request, response) => {
    request.setEncoding('utf8').on('data', (text: string) => received.push(text));
    request.on('end', () => response.end());
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
});

afterAll(async () => {
  await made?.remove();
  receiver?.close();
});

const stored = async (key: string) => (await station.sql`select value from system_config where key = ${key}`)[0]?.value;
const save = (section: string, name = 'Save') =>
  browser.page.locator(`#${section}`).getByRole('button', { name, exact: true }).click();

describe('settings', () => {
  test('name and place: wrong at the field, right in effect, and gone again', async () => {
    await browser.page.goto(`${page.address}/settings`);
    await browser.page.fill('#station-name', '<i>Beech</i> wood');
    await browser.page.fill('#latitude', '91');
    await browser.page.fill('#longitude', '13,3777');
    await save('place');
    expect(await browser.page.locator('#latitude-problem').innerText()).toContain('91 was given');
    expect(await browser.page.inputValue('#longitude')).toBe('13,3777');
    expect(await stored('position')).toBeUndefined();
    await browser.page.fill('#latitude', '52.5163');
    await save('place');
    await browser.page.getByText('Saved.').waitFor();
    expect(await stored('position')).toEqual({ latitude: 52.5163, longitude: 13.3777 });
    expect(await browser.page.locator('.brand').innerText()).toBe('<i>Beech</i> wood');
    await browser.page.fill('#latitude', '');
    await browser.page.fill('#longitude', '');
    await save('place');
    await browser.page.getByText('Saved.').waitFor();
    expect(await stored('position')).toBeNull();
  });

  test('a station that takes nothing in by itself lets a new microphone wait', async () => {
    await browser.page.uncheck('#autoEnrollment');
    await save('switches');
    await browser.page.getByText('Saved.').waitFor();
    expect([await stored('auto_enrollment'), await stored('auto_update'), await stored('live_listening')]).toEqual([
      false,
      false,
      false,
    ]);
    station.plug(umik1());
    await station.untilPhase('pending');
    await browser.page.goto(`${page.address}/settings`);
    await browser.page.check('#autoEnrollment');
    await save('switches');
    await station.untilPhase('recording');
  });

  test('an alert goes out to try it, and its address never comes back', async () => {
    const address = receiver.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await browser.page.goto(`${page.address}/settings`);
    expect(await browser.page.getByRole('button', { name: 'Send a test' }).count()).toBe(0);
    await browser.page.fill('#webhookUrl', 'ftp://nowhere');
    await browser.page.fill('#silentMinutes', 'long');
    await save('alerts');
    expect(await browser.page.locator('#webhookUrl-problem').innerText()).toContain('http://');
    expect(await browser.page.locator('#silentMinutes-problem').innerText()).toContain('"long" was given');
    await browser.page.fill('#webhookUrl', `http://127.0.0.1:${port}/hook?key=very-secret`);
    await browser.page.fill('#silentMinutes', '90');
    await save('alerts');
    await browser.page.getByText('Saved.').waitFor();
    expect(await browser.page.content()).not.toContain('very-secret');
    await browser.page.getByRole('button', { name: 'Send a test' }).click();
    await browser.page.getByText('A test alert goes out').waitFor();
    await station.until('it has come', () => received.some((text) => JSON.parse(text).kind === 'test'));
    expect(await stored('alerts')).toMatchObject({ silentMinutes: 90, ntfyUrl: null });
  });

  test('nothing stands in the way of a screen reader', async () => {
    expect(await findBarriers(browser.page)).toEqual([]);
  });

  test('the password is changed by whoever knows it, and every other browser is out at once', async () => {
    const other = await startBrowser();
    try {
      await signIn(other.page, page);
      await browser.page.goto(`${page.address}/settings`);
      await browser.page.getByText('Sign out all others').waitFor();
      const fill = async (old: string, password: string, repeat: string): Promise<void> => {
        await browser.page.fill('#old', old);
        await browser.page.fill('#password', password);
        await browser.page.fill('#repeat', repeat);
        await save('password-form', 'Change the password');
      };
      await fill('not the password', 'short', 'other');
      expect(await browser.page.locator('#old-problem').innerText()).toBe('That is not the password.');
      expect(await browser.page.locator('#password-problem').innerText()).toContain('5 characters');
      expect(await browser.page.locator('#repeat-problem').innerText()).toContain('not the same');
      await fill(PASSWORD, 'a better password', 'a better password');
      await browser.page.getByText('The password is changed').waitFor();
      await other.page.goto(`${page.address}/about`);
      await other.page.getByRole('heading', { name: 'Sign in' }).waitFor();
      await fill('a better password', PASSWORD, PASSWORD);
      await browser.page.getByText('The password is changed').waitFor();
      await signIn(other.page, page);
      await browser.page.goto(`${page.address}/settings`);
      await browser.page.getByRole('button', { name: 'Sign out all others' }).click();
      await browser.page.getByText('Every other browser is signed out.', { exact: true }).first().waitFor();
      await other.page.goto(`${page.address}/about`);
      await other.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    } finally {
      await other.close();
    }
  });
});

describe('about', () => {
  test('says how each part fares, and follows', async () => {
    await browser.page.goto(`${page.address}/about`);
    const part = (name: string) => browser.page.locator('.parts > li', { hasText: name }).first();
    await part('Controller').locator('.part-good').waitFor();
    expect(await part('Controller').innerText()).toMatch(/1 of 1 recording[\s\S]*0 failed/);
    expect(await part('Database').innerText()).toMatch(/PostgreSQL \d+/);
    expect(await part('Redis').innerText()).toContain('is connected');
    expect(await browser.page.locator('#station').innerText()).toContain(await station.stationId());
    expect(await findBarriers(browser.page)).toEqual([]);
    await station.redis?.halt();
    await part('Redis').locator('.part-bad').waitFor();
    await station.redis?.resume();
    await part('Redis').locator('.part-good').waitFor();
  });

  test('the bundle is a file to keep, without what is secret', async () => {
    const coming = browser.page.waitForEvent('download');
    await browser.page.getByRole('link', { name: 'Download it' }).click();
    const download = await coming;
    expect(download.suggestedFilename()).toMatch(/^silvasonic-[0-9a-f]{8}-\d{4}-\d\d-\d\d\.json$/);
    const text = readFileSync(await download.path(), 'utf8');
    const [device] = await station.devices();
    expect(JSON.parse(text).devices[0]).toMatchObject({ workspace: device?.workspace, phase: 'recording' });
    expect(JSON.parse(text).heartbeats.controller.details.cycles).toBeGreaterThan(0);
    expect(text).not.toContain('very-secret');
    expect(text).not.toContain(device?.id ?? '?');
    if (device?.serial != null) expect(text).not.toContain(device.serial);
  });
});
