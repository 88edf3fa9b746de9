import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import { findBarriers } from './axe.ts';
import { startBrowser, type TestBrowser } from './browser.ts';
import { type RunningPage, signIn } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

const SLUG = 'minidsp-umik-1';
let made: PageStation;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;
let id: string;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 250 });
  ({ station, page, browser } = made);
  station.plug(umik1());
  ({ id } = await station.untilPhase('recording'));
});

afterAll(async () => {
  await made?.remove();
});

const open = (path: string) => browser.page.goto(page.address + path);
const press = (name: string | RegExp) => browser.page.getByRole('button', { name, exact: true }).click();
const config = async (slug = SLUG) =>
  (await station.sql`select config from microphone_profiles where slug = ${slug}`)[0]?.config;
const container = async () =>
  (await station.containers()).find((one) => one.Config.Labels['io.silvasonic.device_id'] === id)?.Id;
const inEffect = () =>
  station.until('that is in effect', async () => {
    const [row] = await station.devices();
    return row?.phase === 'recording' && row.generation === row.observed_generation;
  });

test('the list says what each is recognised by and who uses it', async () => {
  await open('/profiles');
  const line = browser.page.locator('li', { has: browser.page.getByRole('link', { name: 'miniDSP UMIK-1' }) }).first();
  expect(await line.innerText()).toContain('USB 2752:0007');
  await line.getByRole('link', { name: 'UMIK-1', exact: true }).click();
  await browser.page.getByRole('heading', { level: 1, name: 'UMIK-1' }).waitFor();
});

describe('an edit', () => {
  test('that is wrong is refused at its fields, and what was typed stays', async () => {
    const before = await config();
    await open(`/profiles/${SLUG}`);
    await browser.page.getByRole('link', { name: 'Edit' }).click();
    await browser.page.fill('#field-segmentSeconds', '5000');
    await browser.page.fill('#field-audio-rate', 'fast');
    await browser.page.fill('#field-match-pid', '');
    await press('Save');
    const problem = (field: string) => browser.page.locator(`#field-${field}-problem`).innerText();
    expect(await problem('segmentSeconds')).toBe(
      'segmentSeconds: 5000 was given; allowed is a whole number of seconds from 1 to 900.',
    );
    expect(await problem('audio-rate')).toContain('"fast" was given');
    expect(await problem('match-vid')).toContain('vid together with pid');
    expect(await browser.page.inputValue('#field-segmentSeconds')).toBe('5000');
    expect(await browser.page.getAttribute('#field-audio-rate', 'aria-invalid')).toBe('true');
    expect(await findBarriers(browser.page)).toEqual([]);
    expect(await config()).toEqual(before);
  });

  test('of the copy’s gain is not asked, and interrupts nothing', async () => {
    const before = await container();
    await open(`/profiles/${SLUG}/edit`);
    await browser.page.fill('#field-processed-gainDb', '6,5');
    await browser.page.selectOption('#field-archive', 'flac');
    await press('Save');
    await browser.page.getByText('Saved.').waitFor();
    expect(await config()).toMatchObject({ processed: { gainDb: 6.5 }, archive: 'flac' });
    await inEffect();
    expect(await container()).toBe(before);
    expect(await browser.page.locator('.changes tbody').innerText()).toMatch(/Kept as\s+flac\s+wav/);
  });

  test('of a file’s length says whom it interrupts and asks; no leaves all as it is, yes does it', async () => {
    const before = await container();
    const change = async (): Promise<void> => {
      await open(`/profiles/${SLUG}/edit`);
      await browser.page.fill('#field-segmentSeconds', '30');
      await press('Save');
      await browser.page.getByText('“UMIK-1” records now with this profile').waitFor();
    };
    await change();
    await browser.page.getByRole('link', { name: 'No, leave it as it is' }).click();
    expect(await config()).toMatchObject({ segmentSeconds: 60 });
    expect(await container()).toBe(before);
    await change();
    await press('Save “miniDSP UMIK-1”');
    await browser.page.getByText('Saved.').waitFor();
    expect(await config()).toMatchObject({ segmentSeconds: 30, archive: 'flac' });
    await station.until('another recorder runs', async () => {
      const now = await container();
      return now !== undefined && now !== before;
    });
    await inEffect();
  });

  test('is undone by a reset, which asks as well', async () => {
    await open(`/profiles/${SLUG}`);
    await press('Reset to how it came');
    await press('Reset “miniDSP UMIK-1”');
    await browser.page.getByText('Reset to what came with the station.').waitFor();
    expect(await config()).toMatchObject({ segmentSeconds: 60, archive: 'wav', processed: { gainDb: 0 } });
    expect(await browser.page.locator('.changes').count()).toBe(0);
    await inEffect();
  });
});

describe('a profile of one’s own', () => {
  test('is made of another one, shown with its name as text, and removed', async () => {
    await open(`/profiles/${SLUG}`);
    await browser.page.getByRole('link', { name: 'Duplicate' }).click();
    expect(await browser.page.inputValue('#field-slug')).toBe('minidsp-umik-1-copy');
    expect(await browser.page.inputValue('#field-match-vid')).toBe('');
    await browser.page.fill('#field-name', '<b>Mine</b> & yours');
    await browser.page.fill('#field-slug', SLUG);
    await press('Save');
    expect(await browser.page.locator('#field-slug-problem').innerText()).toContain('is taken');
    await browser.page.fill('#field-slug', '');
    await press('Save');
    await browser.page.getByRole('heading', { level: 1, name: '<b>Mine</b> & yours' }).waitFor();
    expect(new URL(browser.page.url()).pathname).toBe('/profiles/b-mine-b-yours');
    expect(await findBarriers(browser.page)).toEqual([]);
    await press('Remove');
    await browser.page.getByText('Removed.').waitFor();
    expect(await config('b-mine-b-yours')).toBeUndefined();
  });

  test('is not removed while a microphone uses it, and the database says who', async () => {
    await station.sql`insert into microphone_profiles (slug, name, config) values ('own', 'Own', ${station.sql.json(await config())})`;
    await open('/profiles/own');
    await station.update(id, { profile_slug: 'own' });
    await press('Remove');
    await browser.page.getByText('Profile "Own" is used by').waitFor();
    await open('/profiles/own');
    expect(await browser.page.getByRole('button', { name: 'Remove' }).count()).toBe(0);
    await station.update(id, { profile_slug: SLUG });
  });

  test('that cannot be read says what is wrong, blocks its microphone, and is repaired by the form', async () => {
    await station.sql`insert into microphone_profiles (slug, name, config) values ('broken', 'Broken', '{"audio": {"rate": "fast", "channels": 1, "format": "native"}, "match": {}}')`;
    // What runs would go on as it is, and be asked for.
    await station.update(id, { enabled: false });
    await station.until('nothing runs', async () => (await container()) === undefined);
    await station.update(id, { profile_slug: 'broken', enabled: true });
    await station.untilPhase('blocked', id);
    await open('/profiles/broken');
    await browser.page.getByText('no microphone that has it can be started').waitFor();
    await browser.page.getByRole('link', { name: 'Repair it' }).click();
    expect(await browser.page.locator('#field-audio-rate-problem').innerText()).toContain('"fast" was given');
    await browser.page.fill('#field-audio-rate', 'native');
    await press('Save');
    await browser.page.getByText('Saved.').waitFor();
    await station.untilPhase('recording', id);
  });

  test('can be made in a browser without scripts, on a phone', async () => {
    const plain = await startBrowser({ javaScript: false, width: 360, height: 740, colorScheme: 'dark' });
    try {
      await signIn(plain.page, page);
      await plain.page.goto(`${page.address}/profiles-new`);
      await plain.page.fill('#field-name', 'From a phone');
      await plain.page.getByRole('button', { name: 'Save' }).click();
      await plain.page.getByText('Saved.').waitFor();
      expect(await config('from-a-phone')).toMatchObject({ audio: { rate: 'native' }, segmentSeconds: 60 });
    } finally {
      await plain.close();
    }
  });
});
