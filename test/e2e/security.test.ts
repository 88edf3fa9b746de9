/** The page's guards as a browser sees them: lock-out, foreign pages, names with HTML, the page's process and its files. */
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import type { TestBrowser } from './browser.ts';
import { PASSWORD, type RunningPage } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
let made: PageStation;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;
let foreign: Server;
let workspace: string;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 290 });
  ({ station, page, browser } = made);
  station.plug(umik1());
  ({ workspace } = await station.untilPhase('recording'));
  foreign = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<form method=post action="${page.address}/microphones/${workspace}/enabled">
      <input name=enabled value=no><input name=confirmed value=yes><button>Win a prize</button></form>
      <iframe src="${page.address}/"></iframe><img src="${page.address}/sign-out">`);
  }).listen(0, '127.0.0.1');
  await once(foreign, 'listening');
});

afterAll(async () => {
  await made?.remove();
  foreign?.close();
});

test('a foreign page can neither send a form of ours, nor show us in a frame, nor sign us out', async () => {
  const address = foreign.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  // Another name for the same machine, so that it is another site.
  await browser.page.goto(`http://localhost:${port}/`);
  const frame = browser.page.frames().find((one) => one !== browser.page.mainFrame());
  expect((await frame?.content()) ?? '').not.toContain('UMIK-1');
  await browser.page.getByRole('button', { name: 'Win a prize' }).click();
  await browser.page.waitForURL(new RegExp(page.address));
  expect((await station.devices())[0]?.enabled).toBe(true);
  await browser.page.goto(page.address);
  await browser.page.getByRole('heading', { name: '1 of 1 recording' }).waitFor();
});

test('names with HTML are text on every page, and no policy is broken', async () => {
  const broken: string[] = [];
  browser.page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) broken.push(message.text());
  });
  const [device] = await station.devices();
  await station.sql`insert into system_config (key, value) values ('station_name', ${station.sql.json(HOSTILE)})
    on conflict (key) do update set value = excluded.value`;
  await station.sql`insert into microphone_profiles (slug, name, description, manufacturer, model, config)
    select 'hostile', ${HOSTILE}, ${HOSTILE}, ${HOSTILE}, ${HOSTILE}, config from microphone_profiles where slug = ${device?.profile_slug ?? ''}`;
  await station.sql`insert into events (subject, type, reason, message) values ('station', 'warning', 'X', ${HOSTILE})`;
  await station.sql`update sessions set user_agent = ${HOSTILE}`;
  await station.update(device?.id ?? '', { name: HOSTILE, profile_slug: 'hostile' });
  const paths = [
    '/',
    `/microphones/${workspace}`,
    '/profiles',
    '/profiles/hostile',
    '/profiles/hostile/edit',
    '/services',
    '/events',
    '/logs',
    '/settings',
    '/about',
  ];
  for (const path of paths) {
    await browser.page.goto(page.address + path);
    await browser.page.locator('.brand', { hasText: HOSTILE }).waitFor();
    expect(await browser.page.locator('img[src="x"], main script').count(), path).toBe(0);
    expect(await browser.page.title(), path).not.toBe('owned');
  }
  // Live parts too.
  await browser.page.goto(page.address);
  await station.update(device?.id ?? '', { name: `${HOSTILE} again` });
  await browser.page.getByText(`${HOSTILE} again`, { exact: true }).first().waitFor();
  expect(await browser.page.locator('img[src="x"]').count()).toBe(0);
  expect(broken).toEqual([]);
});

test('a script that got into the page all the same would not run', async () => {
  const ran = await browser.page.evaluate(async () => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    const image = document.createElement('img');
    image.setAttribute('onerror', 'window.ran = true');
    image.src = '/nowhere.png';
    document.body.append(script, image);
    await new Promise((resolve) => image.addEventListener('error', resolve));
    return Reflect.get(window, 'ran') ?? false;
  });
  expect(ran).toBe(false);
  expect(await browser.page.evaluate(() => document.cookie)).toBe('');
});

test('five wrong passwords lock out, and say for how long; signing out signs out', async () => {
  await browser.page.goto(page.address);
  await browser.page.getByRole('button', { name: 'Sign out' }).click();
  await browser.page.getByText('You are signed out.').waitFor();
  await browser.page.goto(`${page.address}/settings`);
  await browser.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  for (let count = 0; count < 5; count++) {
    await browser.page.fill('#password', `wrong ${count}`);
    await browser.page.getByRole('button', { name: 'Sign in' }).click();
    await browser.page.getByText('That is not the password.').waitFor();
  }
  await browser.page.fill('#password', PASSWORD);
  await browser.page.getByRole('button', { name: 'Sign in' }).click();
  await browser.page.getByText('Too many attempts').waitFor();
  expect(page.output()).toContain('A wrong password was given from 127.0.0.1');
  expect(page.output()).not.toContain('wrong 3');
});

test('its process holds open for writing nothing but its own', () => {
  const { pid } = page.process;
  const isWritable = (fd: string): boolean => {
    const [, flags = '0'] = /flags:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8')) ?? [];
    return (Number.parseInt(flags, 8) & 3) !== 0;
  };
  const opened = readdirSync(`/proc/${pid}/fd`).filter((fd) => existsSync(`/proc/${pid}/fdinfo/${fd}`));
  const files = opened.filter(isWritable).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  expect(files.length).toBeGreaterThan(0);
  // Sockets and pipes have names without a slash in front.
  expect(files.filter((name) => name.startsWith('/') && name !== '/dev/null')).toEqual([]);
  expect(readdirSync(join(station.workspace, 'web'))).toEqual([]);
});
