import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { cm108, umik1, webcam } from '../integration/usb-devices.ts';
import type { PluggedDevice } from '../integration/usb-tree.ts';
import { startBrowser, type TestBrowser } from './browser.ts';
import { type RunningPage, signIn } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

let made: PageStation;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 200 });
  ({ station, page, browser } = made);
});

afterAll(async () => {
  await made?.remove();
});

const card = (name: string) => browser.page.locator('.card', { has: browser.page.getByRole('heading', { name }) });
const isGone = async (id: string) =>
  !(await station.containers()).some((one) => one.Config.Labels['io.silvasonic.device_id'] === id);

describe('a microphone', () => {
  let umik: PluggedDevice;

  test('without one, the page says what to do', async () => {
    await browser.page.getByRole('heading', { name: 'No microphone yet' }).waitFor();
    await browser.page.getByRole('heading', { name: 'Nothing to record' }).waitFor();
  });

  test('plugged in, its card appears without a reload, and its levels move', async () => {
    await browser.page.evaluate(() => Reflect.set(window, 'neverReloaded', true));
    umik = station.plug(umik1());
    await card('UMIK-1').locator('.badge.recording').waitFor();
    await browser.page.getByRole('heading', { name: '1 of 1 recording' }).waitFor();
    const meter = card('UMIK-1').locator('meter').first();
    await expect.poll(() => meter.evaluate((element: HTMLMeterElement) => element.value)).toBeGreaterThan(-60);
    expect(await card('UMIK-1').locator('meter').count()).toBe(2);
    expect(await card('UMIK-1').innerText()).toContain('48 kHz × 2 · S24_3LE');
    expect(await browser.page.evaluate(() => Reflect.get(window, 'neverReloaded'))).toBe(true);
  });

  test('switched off after a question, its container goes and the card says so; switched on, it records again', async () => {
    const [row] = await station.devices();
    await card('UMIK-1').getByRole('switch').click();
    await browser.page.getByText('This ends its recording').waitFor();
    await browser.page.getByRole('link', { name: 'No, leave it as it is' }).click();
    expect((await station.devices())[0]?.enabled).toBe(true);

    await browser.page.goto(page.address);
    await card('UMIK-1').getByRole('switch').click();
    await browser.page.getByRole('button', { name: 'Switch “UMIK-1” off' }).click();
    await card('UMIK-1').locator('.badge.disabled').waitFor();
    await browser.page.getByRole('heading', { name: 'Nothing to record' }).waitFor();
    await station.until('its container is gone', () => isGone(row?.id ?? ''));
    await expect.poll(() => card('UMIK-1').locator('.applying').count()).toBe(0);

    await card('UMIK-1').getByRole('switch').click();
    await card('UMIK-1').locator('.badge.recording').waitFor();
    await browser.page.getByRole('heading', { name: '1 of 1 recording' }).waitFor();
  });

  test('pulled out, it moves to those that are not plugged in', async () => {
    station.usb.unplug(umik);
    await browser.page.getByText('Not plugged in (1)').waitFor();
    await card('UMIK-1').waitFor({ state: 'detached' });
  });
});

describe('a new device that may be something else', () => {
  test('waits with a suggestion, and records once it is taken in', async () => {
    await browser.page.goto(page.address);
    station.plug(webcam());
    const pending = browser.page.locator('.card.pending');
    await pending.waitFor();
    await pending.getByRole('button', { name: 'Record with it' }).click();
    const row = await station.untilPhase('recording');
    expect(row).toMatchObject({ enrollment_status: 'enrolled', decided_by: 'person' });
    await browser.page.locator('.card.microphone .badge.recording').waitFor();
  });

  test('is ignored where somebody says so', async () => {
    await station.sql`update devices set enrollment_status = 'pending', profile_slug = null`;
    await station.nudge();
    // Where it still records, it would be asked about first.
    await station.untilPhase('pending');
    const pending = browser.page.locator('.card.pending');
    await pending.getByRole('button', { name: 'Ignore' }).click();
    await station.untilPhase('ignored');
    await browser.page.locator('.card.pending').waitFor({ state: 'detached' });
  });
});

describe('a name', () => {
  test('with HTML in it is shown as the text that it is', async () => {
    const name = '<img src=x onerror="document.title=1">& "mic"';
    station.plug(cm108());
    const row = await station.until('it has a row', async () =>
      (await station.devices()).find(({ product, status }) => status === 'online' && /PnP/.test(product)),
    );
    await station.update(row.id, { name });
    await browser.page.getByText(name, { exact: true }).first().waitFor();
    await browser.page.goto(page.address);
    await browser.page.getByText(name, { exact: true }).first().waitFor();
    expect(await browser.page.locator('img[src="x"]').count()).toBe(0);
  });
});

describe('the connection', () => {
  test('lost, it says so and keeps the last state; back, it goes on by itself', async () => {
    const port = new URL(page.address).port;
    await browser.page.goto(page.address);
    await browser.page.locator('.card.microphone').first().waitFor();
    await page.stop();
    await browser.page.getByText('Connection lost.').waitFor();
    expect(await browser.page.locator('.card.microphone').count()).toBeGreaterThan(0);
    page = await made.startPageAgain({ SILVASONIC_WEB_PORT: port });
    await browser.page.getByText('Connection lost.').waitFor({ state: 'hidden' });
    // Still signed in, and live.
    const row = await station.untilPhase('recording');
    await station.update(row.id, { name: 'After the restart' });
    await browser.page.getByText('After the restart').first().waitFor();
  });

  test('refused for a while, it goes on by itself without a reload: what was typed stays', async () => {
    const port = new URL(page.address).port;
    const row = await station.untilPhase('recording');
    await browser.page.goto(`${page.address}/microphones/${row.workspace}`);
    await browser.page.getByLabel('Name', { exact: true }).fill('Half a name');
    await page.stop();
    await station.database.shutDown();
    page = await made.startPageAgain({ SILVASONIC_WEB_PORT: port });
    try {
      // A page that has never seen its database refuses everybody.
      for (let refused = 0; refused < 2; refused++) {
        const answer = await browser.page.waitForResponse((response) => response.url().includes('/live?'));
        expect(answer.status()).toBe(503);
      }
    } finally {
      await station.database.startAgain();
    }
    await browser.page.getByText('Connection lost.').waitFor({ state: 'hidden' });
    expect(await browser.page.getByLabel('Name', { exact: true }).inputValue()).toBe('Half a name');
    await browser.page.goto(page.address);
  });

  test('is left to the tab that is looked at, so that more can be open than a browser has connections', async () => {
    const tabs = [];
    try {
      for (let index = 0; index < 8; index++) {
        const tab = await browser.context.newPage();
        tabs.push(tab);
        await tab.goto(page.address);
        await tab.evaluate(hide, true);
      }
      const [first] = tabs;
      const row = await station.untilPhase('recording');
      await station.update(row.id, { name: 'Seen in the first tab' });
      await first?.evaluate(hide, false);
      await first?.getByText('Seen in the first tab').first().waitFor();
    } finally {
      for (const tab of tabs) await tab.close();
    }
  });

  test('without Redis, the page says what is missing, and shows the rest', async () => {
    await station.redis?.halt();
    await browser.page.getByText('Redis is away').waitFor();
    await browser.page.getByRole('heading', { name: /recording/ }).waitFor();
    await station.redis?.resume();
    await browser.page.getByText('Redis is away').waitFor({ state: 'detached' });
  });

  test('without the database, it shows the last known state and says that nothing can be changed', async () => {
    await station.database.shutDown();
    await browser.page.getByText('The database is away').waitFor();
    expect(await browser.page.locator('.card.microphone').count()).toBeGreaterThan(0);
    await station.database.startAgain();
    await browser.page.getByText('The database is away').waitFor({ state: 'detached' });
  });
});

describe('a browser without scripts', () => {
  test('sees it all and can switch', async () => {
    const plain = await startBrowser({ javaScript: false });
    try {
      await signIn(plain.page, page);
      await plain.page.locator('.card.microphone').first().waitFor();
      await plain.page.locator('.card.microphone').first().getByRole('switch').click();
      await plain.page.getByRole('heading', { name: 'Switch' }).waitFor();
      await plain.page.getByRole('button', { name: /^Switch/ }).click();
      await plain.page.locator('.notice.told', { hasText: 'Switched off.' }).waitFor();
    } finally {
      await plain.close();
    }
  });
});

/** A browser without a screen calls every tab visible. */
function hide(isHidden: boolean): void {
  Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}
