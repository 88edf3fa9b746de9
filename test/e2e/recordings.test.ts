/** Recordings in a real browser, made by a real recorder and processor: days, pictures, player, downloads, and what is refused. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { samplesOf, soundFacts } from '../integration/processor-process.ts';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import type { PluggedDevice } from '../integration/usb-tree.ts';
import { findBarriers } from './axe.ts';
import type { TestBrowser } from './browser.ts';
import type { RunningPage } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

let made: PageStation;
let folder: string;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;
let umik: PluggedDevice;
let workspace: string;
/** Of the microphone's page. */
let address: string;
/** Title of a recording that has all its copies, and its path. */
let title: string;
let rawPath: string;
let day: string;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 320, services: true });
  ({ station, page, browser, folder } = made);
  umik = station.plug(umik1());
  const row = await station.until('it has a row', async () => (await station.devices())[0]);
  workspace = row.workspace;
  await station.update(row.id, { settings: station.sql.json({ segmentSeconds: 2 }) });
  address = `${page.address}/microphones/${workspace}`;
  await station.until('it records in short files', () => station.segments(workspace).length > 1);
});

afterAll(async () => {
  await made?.remove();
});

const data = (...parts: string[]) => join(station.workspace, 'recorder', workspace, 'data', ...parts);
const ask = (url: string, headers: Record<string, string> = {}) =>
  browser.page.request.get(url, { headers, maxRedirects: 0 });
const copiesOf = (one: string) =>
  existsSync(data('processed', day)) ? readdirSync(data('processed', day)).filter((name) => name.startsWith(one)) : [];
const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Plays a player of the page and waits until it has come so far; answers its length in seconds. */
async function play(shown: Page, selector: string, untilSeconds: number): Promise<number> {
  const audio = shown.locator(selector).first();
  await audio.evaluate((element: HTMLAudioElement) => element.play());
  await expect
    .poll(() => audio.evaluate((element: HTMLAudioElement) => element.currentTime), { timeout: 15_000 })
    .toBeGreaterThan(untilSeconds);
  return await audio.evaluate((element: HTMLAudioElement) => {
    element.pause();
    return element.duration;
  });
}

describe('before the processor has drawn anything', () => {
  test('there is no picture, and the page shows none', async () => {
    await station.sql`update system_services set enabled = false where name = 'processor'`;
    await station.nudge();
    await station.until('no processor works', async () =>
      (await station.containers()).every(({ Name }) => !Name.endsWith('-processor')),
    );
    rmSync(data('processed'), { recursive: true, force: true });
    expect((await ask(`${address}/spectrogram.png`)).status()).toBe(404);
    await browser.page.goto(address);
    await browser.page.locator('#state .spectrogram').waitFor({ state: 'hidden' });
  });

  test('the first picture appears by itself', async () => {
    await station.sql`update system_services set enabled = true where name = 'processor'`;
    await station.nudge();
    await browser.page.locator('#state .spectrogram img').waitFor({ timeout: 60_000 });
    const width = () =>
      browser.page.locator('#state .spectrogram img').evaluate((image: HTMLImageElement) => image.naturalWidth);
    await expect.poll(width, { timeout: 20_000 }).toBeGreaterThan(0);
    // The first is from before the length was changed: of any length.
    const whole = 2 * 48_000 * 2 * 3;
    const file = await station.until('there is a whole one', () =>
      station.segments(workspace).find((one) => {
        const { size } = statSync(one);
        return one.endsWith('.wav') && size > whole && size < 1.5 * whole;
      }),
    );
    day = basename(dirname(file));
    title = basename(file, '.wav');
    rawPath = file;
    await station.until('all its copies are made', () => copiesOf(title).length === 3, 90_000);
  });
});

describe('a day', () => {
  test('is listed with its length and size, and seen at a glance', async () => {
    await browser.page.goto(address);
    await browser.page.locator('#recordings').getByRole('link', { name: day }).waitFor();
    expect(await browser.page.locator('#recordings').innerText()).toMatch(/\d+ recordings · .* · .*B/);
    expect(await browser.page.locator('#recordings svg rect').count()).toBeGreaterThan(0);
    await browser.page.locator('#recordings').getByRole('link', { name: 'Recordings' }).click();
    await browser.page.getByRole('heading', { level: 1, name: 'Recordings of UMIK-1' }).waitFor();
    await browser.page.locator('main').getByRole('link', { name: day }).click();
    await browser.page.getByRole('heading', { level: 1, name: day }).waitFor();
    expect(await browser.page.locator('article.recording').count()).toBeGreaterThan(1);
  });

  test('shows each recording with picture, axes, waveform, and what is in it', async () => {
    const article = browser.page.locator(`[id="${title}"]`);
    await article.scrollIntoViewIfNeeded();
    const text = await article.innerText();
    expect(text).toContain('48 kHz × 2');
    expect(text).toContain('24 bit');
    expect(text).toMatch(/24 kHz\s+18 kHz\s+12 kHz\s+6 kHz\s+0 kHz/);
    expect(text).toMatch(/0 s\s+0.5 s\s+1 s\s+1.5 s\s+2 s/);
    for (const image of await article.locator('img').all())
      await expect
        .poll(() => image.evaluate((one: HTMLImageElement) => one.complete && one.naturalWidth))
        .toBeGreaterThan(0);
  });

  test('has no barrier for keyboard and screen reader, in light and dark', async () => {
    for (const colorScheme of ['dark', 'light'] as const) {
      await browser.page.emulateMedia({ colorScheme });
      expect(await findBarriers(browser.page)).toEqual([]);
    }
  });

  test('by the hour and by the page', async () => {
    const hour = new Date(
      `${title
        .split('_')
        .slice(1, 3)
        .join('T')
        .replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/, '$1-$2-$3T$4:$5:$6Z')}`,
    ).getUTCHours();
    await browser.page.goto(`${address}/recordings/${day}?hour=${hour}`);
    expect(await browser.page.locator('article.recording').count()).toBeGreaterThan(1);
    const newest = (await browser.page.locator('article.recording').first().getAttribute('id')) ?? '';
    await browser.page.goto(`${address}/recordings/${day}?before=${newest}`);
    const titles = await browser.page.locator('article.recording').evaluateAll((all) => all.map(({ id }) => id));
    expect(titles).not.toContain(newest);
    expect(titles).toContain(title);
  });

  test('plays the copy, and the raw recording ten times slower', async () => {
    await browser.page.goto(`${address}/recordings/${day}?before=${title.replace(/_\d{6}$/, '_999999')}`);
    const article = `[id="${title}"]`;
    expect(await play(browser.page, `${article} audio[src*="/copies/"]`, 0.5)).toBeCloseTo(2, 1);
    await browser.page.locator(`${article} summary`).click();
    expect(await play(browser.page, `${article} audio[src*="/slow/"]`, 1)).toBeCloseTo(20, 1);
    await browser.page.locator(`${article} .picture`).click({ position: { x: 5, y: 20 } });
    await browser.page.locator(`${article} .playhead`).waitFor();
  });
});

describe('files', () => {
  const raw = () => `${address}/raw/${title}.wav`;

  test('come whole, under their name, and are what lies on the disk', async () => {
    const answer = await ask(`${raw()}?download`);
    expect(answer.status()).toBe(200);
    expect(answer.headers()).toMatchObject({
      'content-type': 'audio/wav',
      'accept-ranges': 'bytes',
      'content-disposition': `attachment; filename="${title}.wav"`,
    });
    expect(sha(await answer.body())).toBe(sha(readFileSync(rawPath)));
  });

  test('come in parts, from the browser’s own fetch', async () => {
    const whole = readFileSync(rawPath);
    const parts: [string, number, Buffer][] = [
      ['bytes=0-43', 206, whole.subarray(0, 44)],
      ['bytes=100-', 206, whole.subarray(100)],
      ['bytes=-10', 206, whole.subarray(-10)],
    ];
    for (const [range, status, bytes] of parts) {
      const got = await browser.page.evaluate(
        async ([url = '', wanted = '']) => {
          const answer = await fetch(url, { headers: { range: wanted } });
          return { status: answer.status, bytes: [...new Uint8Array(await answer.arrayBuffer())] };
        },
        [raw(), range],
      );
      expect(got.status).toBe(status);
      expect(Buffer.from(got.bytes).equals(bytes)).toBe(true);
    }
    expect((await ask(raw(), { range: `bytes=${whole.length}-` })).status()).toBe(416);
  });

  test('that did not change are not sent again', async () => {
    const first = await ask(raw());
    const { etag = '', 'last-modified': modified = '' } = first.headers();
    expect((await ask(raw(), { 'if-none-match': etag })).status()).toBe(304);
    expect((await ask(raw(), { 'if-modified-since': modified })).status()).toBe(304);
    expect((await ask(raw(), { 'if-range': '"other"', range: 'bytes=0-3' })).status()).toBe(200);
  });

  test('slowed are the same sound under another rate, in parts too', async () => {
    const whole = readFileSync(rawPath);
    const slow = Buffer.from(whole);
    slow.writeUInt32LE(4800, 24);
    slow.writeUInt32LE(4800 * 6, 28);
    const url = `${address}/slow/${title}.wav`;
    expect((await (await ask(url)).body()).equals(slow)).toBe(true);
    expect((await (await ask(url, { range: 'bytes=20-99' })).body()).equals(slow.subarray(20, 100))).toBe(true);
    expect((await (await ask(url, { range: 'bytes=90-' })).body()).equals(slow.subarray(90))).toBe(true);
  });

  test('of others, with odd names, or behind a link are not there', async () => {
    const other = `other-00000000${title.slice(workspace.length)}`;
    const names = [
      `${other}.wav`,
      `..%2f..%2f${title}.wav`,
      `..%2fraw%2f${day}%2f${title}.wav`,
      `${title}.wav%00`,
      `%00`,
      '..',
      '%2e%2e%2f%2e%2e%2f%2e%2e%2f.silvasonic-station',
      `${title}.WAV`,
      `${title}.wav.wav`,
      'processing.json',
      `${title.replace(/_\d{8}_/, '_20260231_')}.wav`,
      'x'.repeat(290),
    ];
    for (const place of ['raw', 'slow', 'copies', 'waveform'])
      for (const name of names)
        expect([place, name, (await ask(`${address}/${place}/${name}`)).status()]).toEqual([place, name, 404]);
    // Another microphone's recording in this one's folder, and a link to a real one.
    writeFileSync(data('raw', day, `${other}.wav`), 'x');
    expect((await ask(`${address}/raw/${other}.wav`)).status()).toBe(404);
    const linked = title.replace(/_\d{6}$/, '_000900');
    symlinkSync('/etc/hostname', data('raw', day, `${linked}.wav`));
    expect((await ask(`${address}/raw/${linked}.wav`)).status()).toBe(404);
    mkdirSync(data('raw', day, `${title.replace(/_\d{6}$/, '_000901')}.wav`));
    expect((await ask(`${address}/raw/${title.replace(/_\d{6}$/, '_000901')}.wav`)).status()).toBe(404);
    expect((await ask(`${page.address}/microphones/other-00000000/raw/${other}.wav`)).status()).toBe(404);
    for (const odd of ['2026-02-31', '..%2f..', 'x'])
      expect((await ask(`${address}/recordings/${odd}`)).status()).toBe(404);
  });

  test('are nobody’s who is not signed in', async () => {
    for (const path of [`raw/${title}.wav`, `copies/${title}.png`, 'spectrogram.png', `slow/${title}.wav`])
      expect((await fetch(`${address}/${path}`)).status).toBe(401);
  });
});

test('archived as FLAC a recording plays slower too, and what is without copies plays as it is', async () => {
  const seconds = async (path: string) => (await soundFacts(path)).frames / 48_000;
  const { id } = await station.untilPhase('recording');
  await station.update(id, { settings: station.sql.json({ segmentSeconds: 2, archive: 'flac' }) });
  const archived = await station.until(
    'one is archived',
    () => station.segments(workspace).find((name) => name.endsWith('.flac')),
    90_000,
  );
  const one = basename(archived, '.flac');
  const slow = join(folder, 'slow.flac');
  writeFileSync(slow, await (await ask(`${address}/slow/${one}.flac`)).body());
  expect((await soundFacts(slow)).rate).toBe(4800);
  expect((await soundFacts(archived)).rate).toBe(48_000);
  expect(await samplesOf(slow)).toEqual(await samplesOf(archived));
  await browser.page.goto(`${address}/recordings/${day}?before=${one.replace(/_\d{6}$/, '_999999')}`);
  const article = `[id="${one}"]`;
  await browser.page.locator(`${article} summary`).click();
  expect(await play(browser.page, `${article} audio[src*="/slow/"]`, 1)).toBeCloseTo((await seconds(archived)) * 10, 0);
  await browser.page
    .locator(article)
    .getByRole('link', { name: /^Raw FLAC/ })
    .waitFor();

  renameSync(data('processed', day, `${one}.flac`), join(folder, 'aside.flac'));
  await browser.page.reload();
  expect(await play(browser.page, `${article} audio[src*="/raw/"]`, 0.3)).toBeCloseTo(await seconds(archived), 1);
});

test('a microphone that was forgotten leaves its recordings, and the way to them', async () => {
  const { id } = await station.untilPhase('recording');
  await station.sql`update devices set enabled = false where id = ${id}`;
  await station.nudge();
  await station.untilPhase('disabled', id);
  station.usb.unplug(umik);
  await station.until(
    'it is offline',
    async () => (await station.devices()).find((one) => one.id === id)?.status === 'offline',
  );
  await station.sql`delete from devices where id = ${id}`;
  await browser.page.goto(`${page.address}/recordings`);
  await browser.page.getByText('a microphone that was forgotten').waitFor();
  await browser.page.getByRole('link', { name: workspace }).click();
  await browser.page.getByRole('link', { name: day }).click();
  expect(await browser.page.locator('article.recording').count()).toBeGreaterThan(1);
});
