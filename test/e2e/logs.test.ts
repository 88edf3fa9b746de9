import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHANNEL } from '../../services/shared/contract.ts';
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
let device: { id: string; workspace: string };

beforeAll(async () => {
  made = await createPageStation({ firstCard: 270, browser: { width: 390, height: 800 } });
  ({ station, page, browser } = made);
  station.plug(umik1());
  device = await station.untilPhase('recording');
  await browser.page.goto(`${page.address}/logs`);
});

afterAll(async () => {
  await made?.remove();
});

const lines = () => browser.page.locator('#log-lines > div');
const shown = () => browser.page.locator('#log-lines > div:visible');
const say = (instance: string, text: string) =>
  station.redis?.publish(
    CHANNEL.logs,
    JSON.stringify({ schema: 1, service: 'x', instance, at: Date.now(), stream: 'stdout', text }),
  );
/** Until the page listens: a line that nobody hears is gone. */
const sayUntilShown = async (instance: string, text: string): Promise<void> => {
  await expect
    .poll(
      async () => {
        await say(instance, text);
        return await lines().filter({ hasText: text }).count();
      },
      { timeout: 20_000 },
    )
    .toBeGreaterThan(0);
};

test('what a recorder writes comes by itself', async () => {
  await sayUntilShown('somebody', 'the page listens');
  // The controller asks every two seconds whether somebody listens; what was written before is gone.
  let restarts = 0;
  const restartAndLook = async (): Promise<number> => {
    restarts += 1;
    await station.update(device.id, { restart_token: String(restarts) });
    return await lines()
      .filter({ hasText: `recorder-${device.workspace}` })
      .count();
  };
  await expect.poll(restartAndLook, { timeout: 30_000, interval: 4000 }).toBeGreaterThan(0);
  expect(await findBarriers(browser.page)).toEqual([]);
});

test('it is shown as text, whatever it is', async () => {
  const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
  await sayUntilShown('somebody', hostile);
  expect(await browser.page.locator('#log-lines img, #log-lines script').count()).toBe(0);
  expect(await browser.page.title()).not.toContain('owned');
});

test('a line of JSON is shown by its sentence, with its other fields behind; bad news are marked', async () => {
  const line = { level: 'warn', time: '2026-01-01T00:00:00Z', msg: 'The <b>disk</b> is slow.', queued: 7 };
  await sayUntilShown('choir', '{"msg":"begin"');
  await say('choir', JSON.stringify(line));
  const element = lines().filter({ hasText: 'The <b>disk</b> is slow.' }).first();
  expect(await element.innerText()).toMatch(/choir The <b>disk<\/b> is slow\. \{"queued":7\}$/);
  expect(await element.getAttribute('class')).toContain('bad');
});

test('one service alone, paused, gone on, cleared', async () => {
  await sayUntilShown('choir', 'la la');
  await browser.page.selectOption('#log-of', 'choir');
  expect(await shown().allInnerTexts()).toEqual(expect.arrayContaining([expect.stringContaining('la la')]));
  expect((await shown().allInnerTexts()).filter((text) => !text.includes('choir'))).toEqual([]);

  await browser.page.getByRole('button', { name: 'Pause' }).click();
  const before = await lines().count();
  await say('choir', 'sung in silence');
  await say('newcomer', 'hello');
  // Who writes is listed at once, so the line before has come too.
  await browser.page.locator('#log-of option[value="newcomer"]').waitFor({ state: 'attached' });
  expect(await lines().count()).toBe(before);
  await browser.page.getByRole('button', { name: 'Go on' }).click();
  await lines().filter({ hasText: 'sung in silence' }).waitFor();

  await browser.page.getByRole('button', { name: 'Clear' }).click();
  expect(await lines().count()).toBe(0);
  await browser.page.selectOption('#log-of', '');
});

test('the end stays in sight until somebody scrolls up; the number of lines is bounded', async () => {
  const box = browser.page.locator('#log-lines');
  const fromEnd = () => box.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);
  for (let index = 0; index < 1200; index++) await say('choir', `line ${index}`);
  await lines().filter({ hasText: 'line 1199' }).waitFor();
  expect(await lines().count()).toBe(1000);
  expect(await fromEnd()).toBeLessThan(40);
  await box.evaluate((element) => {
    element.scrollTop = 100;
  });
  await sayUntilShown('choir', 'one more');
  expect(await fromEnd()).toBeGreaterThan(500);
});

test('without Redis it says what cannot be shown, and goes on when Redis is back', async () => {
  await station.redis?.halt();
  await browser.page.getByText('No logs can be shown').waitFor();
  await station.redis?.resume();
  await browser.page.getByText('No logs can be shown').waitFor({ state: 'detached' });
  await sayUntilShown('choir', 'back again');
});
