import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import type { PluggedDevice } from '../integration/usb-tree.ts';
import { findBarriers } from './axe.ts';
import type { TestBrowser } from './browser.ts';
import type { RunningPage } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

let made: PageStation;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;
let umik: PluggedDevice;
/** Of the microphone's page. */
let address: string;
let id: string;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 220 });
  ({ station, page, browser } = made);
  umik = station.plug(umik1());
  const row = await station.untilPhase('recording');
  id = row.id;
  address = `${page.address}/microphones/${row.workspace}`;
});

afterAll(async () => {
  await made?.remove();
});

const row = async () => (await station.devices()).find((one) => one.id === id);
const settings = async () =>
  (await station.sql<{ settings: Record<string, unknown> }[]>`select settings from devices where id = ${id}`)[0]
    ?.settings;
const container = async () =>
  (await station.containers()).find((one) => one.Config.Labels['io.silvasonic.device_id'] === id);
/** All that was changed is in effect, and it records. */
const settled = () =>
  station.until('it records as it was told', async () => {
    const { phase, generation, observed_generation } = (await row()) ?? {};
    return phase === 'recording' && generation === observed_generation;
  });
const save = () => browser.page.getByRole('button', { name: 'Save', exact: true }).click();

describe('what it shows', () => {
  test('state with its reason, what the hardware offers, ids, how it fares, what happened', async () => {
    await browser.page.goto(address);
    await browser.page.getByRole('heading', { level: 1, name: 'UMIK-1' }).waitFor();
    await browser.page.locator('#state .badge.recording').waitFor();
    const shown = await browser.page.locator('main').innerText();
    expect(shown).toContain('S24_3LE, 2 channels: 48 kHz');
    expect(shown).toContain('2752:0007');
    expect(shown).toContain('nothing lost');
    expect(shown).toContain('Plug came and went\nno');
    await browser.page.locator('#happened').getByText('Recording.').first().waitFor();
  });

  test('levels and state move without a reload, and what is being typed stays', async () => {
    await browser.page.fill('#name-field', 'half a na');
    const meter = browser.page.locator('#state meter').first();
    await expect.poll(() => meter.evaluate((element: HTMLMeterElement) => element.value)).toBeGreaterThan(-60);
    await station.sql`insert into events (subject, type, reason, message) values (${`recorder:${id}`}, 'warning', 'FlappingPlug', 'The plug comes and goes')`;
    await browser.page.locator('#happened').getByText('The plug comes and goes').waitFor();
    await browser.page.locator('#wellbeing').getByText('1 time').waitFor();
    expect(await browser.page.inputValue('#name-field')).toBe('half a na');
  });
});

test('keyboard and screen reader meet no barrier, in light and dark', async () => {
  for (const colorScheme of ['dark', 'light'] as const) {
    await browser.page.emulateMedia({ colorScheme });
    expect(await findBarriers(browser.page)).toEqual([]);
  }
});

describe('what it changes', () => {
  test('a name with HTML in it is shown as the text that it is, and costs no recording', async () => {
    const before = await container();
    const name = '<b>Old oak</b> & "brook"';
    await browser.page.fill('#name-field', name);
    await save();
    await browser.page.getByText('Saved.').waitFor();
    await browser.page.getByRole('heading', { level: 1, name }).waitFor();
    expect(await browser.page.locator('h1 b').count()).toBe(0);
    expect((await row())?.name).toBe(name);
    await station.until('that is in effect', async () => {
      const now = await row();
      return now?.generation === now?.observed_generation;
    });
    expect((await container())?.Id).toBe(before?.Id);
  });

  test('wrong overrides are refused at their fields, and what was typed stays', async () => {
    await browser.page.fill('#segmentSeconds', '5000');
    await browser.page.fill('#gainDb', 'loud');
    await browser.page.fill('#rate', '44100');
    await save();
    await browser.page.locator('#segmentSeconds-problem').waitFor();
    expect(await browser.page.locator('#segmentSeconds-problem').innerText()).toContain('5000 was given');
    expect(await browser.page.locator('#gainDb-problem').innerText()).toContain('"loud" was given');
    expect(await browser.page.locator('#rate-problem').count()).toBe(0);
    expect(await browser.page.inputValue('#segmentSeconds')).toBe('5000');
    expect(await browser.page.inputValue('#rate')).toBe('44100');
    expect(await settings()).toEqual({});
  });

  test('what ends the current file is asked first; gain and archive are not', async () => {
    await browser.page.goto(address);
    await browser.page.fill('#gainDb', '6,5');
    await browser.page.selectOption('#archive', 'flac');
    await save();
    await browser.page.getByText('Saved.').waitFor();
    expect(await settings()).toEqual({ gainDb: 6.5, archive: 'flac' });

    await browser.page.fill('#segmentSeconds', '3');
    await save();
    await browser.page.getByText('This ends its current file at once').waitFor();
    await browser.page.getByRole('link', { name: 'No, leave it as it is' }).click();
    expect(await settings()).toEqual({ gainDb: 6.5, archive: 'flac' });

    const before = await container();
    await browser.page.fill('#segmentSeconds', '3');
    await save();
    await browser.page.getByRole('button', { name: /^Change how/ }).click();
    await browser.page.getByText('Saved.').waitFor();
    expect(await settings()).toEqual({ gainDb: 6.5, archive: 'flac', segmentSeconds: 3 });
    await station.until(
      'another recorder runs',
      async () => ![undefined, before?.Id].includes((await container())?.Id),
    );
    await browser.page.locator('#state .badge.recording').waitFor();
    await browser.page.locator('#state').getByText('In effect').waitFor();
  });

  test('all overrides go at once, back to the profile', async () => {
    await browser.page.getByRole('button', { name: 'Take everything from the profile again' }).click();
    await browser.page.getByRole('button', { name: /^Change how/ }).click();
    await browser.page.getByText('All is as the profile says.').waitFor();
    expect(await settings()).toEqual({});
    expect(await browser.page.inputValue('#segmentSeconds')).toBe('');
    await settled();
  });

  test('another profile is asked first, and taken', async () => {
    await browser.page.locator('#state .badge.recording').waitFor();
    await browser.page.selectOption('#profile', 'generic');
    await save();
    await browser.page.getByRole('button', { name: /^Change how/ }).click();
    await browser.page.getByText('Saved.').waitFor();
    expect((await row())?.profile_slug).toBe('generic');
    await settled();
  });

  test('a rate that the hardware has not is told beside the settings', async () => {
    await browser.page.locator('#state .badge.recording').waitFor();
    await browser.page.fill('#rate', '96000');
    await save();
    await browser.page.getByRole('button', { name: /^Change how/ }).click();
    await browser.page.locator('#settings').getByText('96000 Hz was asked for').waitFor();
    await settled();
  });

  test('a restart is asked first, and gives it another container', async () => {
    await browser.page.locator('#state .badge.recording').waitFor();
    const before = await container();
    await browser.page.locator('#state').getByRole('button', { name: 'Restart' }).click();
    await browser.page.getByRole('button', { name: /^Restart the recorder/ }).click();
    await browser.page.getByText('It is restarted.').waitFor();
    await station.until(
      'another recorder runs',
      async () => ![undefined, before?.Id].includes((await container())?.Id),
    );
    // Only what records is asked about before it is switched off.
    await settled();
  });

  test('switched off and on without leaving the page', async () => {
    await browser.page.locator('#state .badge.recording').waitFor();
    await browser.page.locator('#state').getByRole('switch').click();
    await browser.page.getByRole('button', { name: /^Switch/ }).click();
    await browser.page.locator('.notice.told', { hasText: 'Switched off.' }).waitFor();
    await browser.page.locator('#state .badge.disabled').waitFor();
    expect(new URL(browser.page.url()).pathname).toBe(new URL(address).pathname);
    await browser.page.locator('#state').getByRole('switch').click();
    await settled();
  });
});

describe('when it is no longer wanted', () => {
  test('ignored after a question, taken in again', async () => {
    await browser.page.goto(address);
    await browser.page.locator('#leave').getByRole('button', { name: 'Ignore' }).click();
    await browser.page.getByRole('button', { name: /^Ignore/ }).click();
    await station.untilPhase('ignored', id);
    await browser.page.goto(address);
    await browser.page.getByRole('button', { name: 'Take it in again' }).click();
    await settled();
  });

  test('it cannot be forgotten while it is plugged in, by a forged form neither', async () => {
    await browser.page.goto(address);
    await browser.page.getByText('It can be forgotten once it is unplugged.').waitFor();
    const token = await browser.page.locator('input[name=token]').first().inputValue();
    const answer = await browser.page.request.post(`${address}/forget`, {
      form: { token, confirmed: 'yes' },
      headers: { origin: page.address },
    });
    expect(answer.status()).toBe(409);
    expect(await row()).toBeDefined();
  });

  test('unplugged it can be forgotten after a question, and its recordings stay', async () => {
    const { workspace = '' } = (await row()) ?? {};
    const before = station.segments(workspace);
    station.usb.unplug(umik);
    await browser.page.locator('#leave').getByRole('button', { name: 'Forget it' }).click();
    await browser.page.getByText('Its recordings stay on the disk').waitFor();
    await browser.page.getByRole('button', { name: /^Forget/ }).click();
    await browser.page.getByText('It is forgotten. Its recordings stay.').waitFor();
    expect(await row()).toBeUndefined();
    expect(station.segments(workspace)).toEqual(expect.arrayContaining(before));
    expect(before.length).toBeGreaterThan(0);
    expect((await browser.page.goto(address))?.status()).toBe(404);
  });
});

test('a name that is no workspace’s is not there', async () => {
  for (const name of ['..%2f..%2fetc', 'x', '%00', 'none-00000000', '%2e%2e%2f'])
    expect((await browser.page.request.get(`${page.address}/microphones/${name}`)).status()).toBe(404);
});
