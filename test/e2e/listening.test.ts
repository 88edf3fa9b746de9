/** Live sound: in a real browser where the station allows it, and for services by their token, whatever it says. */
import { createHash } from 'node:crypto';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestStation } from '../integration/test-station.ts';
import { umik1 } from '../integration/usb-devices.ts';
import type { TestBrowser } from './browser.ts';
import type { RunningPage } from './page-process.ts';
import { createPageStation, type PageStation } from './page-station.ts';

const TOKEN = 'a-token-of-a-service';

let made: PageStation;
let folder: string;
let station: TestStation;
let page: RunningPage;
let browser: TestBrowser;
let workspace: string;

beforeAll(async () => {
  made = await createPageStation({ firstCard: 240 });
  ({ station, page, browser, folder } = made);
  station.plug(umik1());
  workspace = (await station.untilPhase('recording')).workspace;
});

afterAll(async () => {
  await made?.remove();
});

const allow = async (value: boolean) => {
  await station.sql`insert into system_config (key, value) values ('live_listening', ${station.sql.json(value)})
    on conflict (key) do update set value = excluded.value`;
};
const ask = (file: string, headers: Record<string, string> = {}) =>
  fetch(`${page.address}/live/${file}`, { headers, signal: AbortSignal.timeout(10_000) });
const withToken = { authorization: `Bearer ${TOKEN}` };
const audio = () => browser.page.locator('#listen audio');
const playedSeconds = () => audio().evaluate((element: HTMLAudioElement) => element.currentTime);

/** The first bytes of an endless answer; then it is let go. */
async function beginOf(response: Response, bytes: number): Promise<Buffer> {
  const reader = response.body?.getReader();
  let begin = Buffer.alloc(0);
  while (reader !== undefined && begin.length < bytes) {
    const { value, done } = await reader.read();
    if (done) break;
    begin = Buffer.concat([begin, value]);
  }
  await reader?.cancel();
  return begin;
}

describe('for people', () => {
  test('it is off until the station’s owner allows it, and the page says where', async () => {
    await browser.page.goto(`${page.address}/microphones/${workspace}`);
    await browser.page.getByText('Listening live is switched off on this station.').waitFor();
    const link = browser.page.getByRole('link', { name: 'Switch it on in the settings' });
    expect(await link.getAttribute('href')).toMatch(/^\/settings/);
    for (const ending of ['mp3', 'wav']) {
      const answer = await browser.page.request.get(`${page.address}/live/${workspace}.${ending}`);
      expect(answer.status()).toBe(403);
      expect((await ask(`${workspace}.${ending}`)).status).toBe(401);
    }
  });

  test('allowed, the player appears without a reload, plays on, and the page counts who listens', async () => {
    await allow(true);
    await browser.page.getByRole('button', { name: 'Listen' }).click();
    await browser.page.getByText('You are listening.').waitFor();
    await expect.poll(playedSeconds, { timeout: 20_000 }).toBeGreaterThan(1);
    const before = await playedSeconds();
    await expect.poll(playedSeconds, { timeout: 20_000 }).toBeGreaterThan(before + 1);
    await browser.page.locator('#wellbeing').getByText('1 person').waitFor();
    // What it plays is the tone of the microphone and not silence, with which it begins.
    await expect.poll(playedSeconds, { timeout: 20_000 }).toBeGreaterThan(6);
    expect(await loudest()).toBeGreaterThan(0.05);
  });

  test('a second browser joins the same stream in its middle', async () => {
    const other = await browser.context.newPage();
    await other.goto(`${page.address}/microphones/${workspace}`);
    await other.getByRole('button', { name: 'Listen' }).click();
    await other.getByText('You are listening.').waitFor();
    const played = () => other.locator('#listen audio').evaluate((element: HTMLAudioElement) => element.currentTime);
    await expect.poll(played, { timeout: 20_000 }).toBeGreaterThan(1);
    await browser.page.locator('#wellbeing').getByText('2 people').waitFor();
    await other.close();
    await browser.page.locator('#wellbeing').getByText('1 person').waitFor();
  });

  test('a recorder that is replaced ends it; it goes on by itself with the next', async () => {
    const { id } = await station.untilPhase('recording');
    await station.update(id, { restart_token: 'again' });
    await browser.page.getByText('The sound stopped; trying again').waitFor();
    await browser.page.getByText('You are listening.').waitFor();
  });

  test('stopped, the connection ends', async () => {
    await browser.page.getByRole('button', { name: 'Stop listening' }).click();
    await browser.page.locator('#wellbeing').getByText('nobody').waitFor();
    await browser.page.getByText('You are listening.').waitFor({ state: 'hidden' });
  });

  test('forbidden, who listens already hears no more', async () => {
    await browser.page.getByRole('button', { name: 'Listen' }).click();
    await browser.page.getByText('You are listening.').waitFor();
    await allow(false);
    await browser.page.getByText('Listening live is switched off on this station.').waitFor();
    await browser.page.locator('#wellbeing').getByText('nobody').waitFor();
    expect((await browser.page.request.get(`${page.address}/live/${workspace}.mp3`)).status()).toBe(403);
  });
});

describe('for services', () => {
  test('without a token, or with one that is not known, 401', async () => {
    const files = [undefined, '{}', '{"x":1}', 'no json'];
    for (const content of files) {
      if (content !== undefined) writeFileSync(join(station.runPath, 'live-tokens.json'), content);
      const answer = await ask(`${workspace}.wav`, withToken);
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  test('with a token: an endless WAV in the form of the recordings, whatever the setting says', async () => {
    const digest = createHash('sha256').update(TOKEN).digest('hex');
    writeFileSync(join(station.runPath, 'live-tokens.json'), JSON.stringify({ birdnet: digest }));
    await browser.page.goto(`${page.address}/microphones/${workspace}`);
    const answer = await ask(`${workspace}.wav?token=${TOKEN}`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('audio/wav');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const reader = answer.body?.getReader();
    await reader?.read();
    await browser.page.locator('#wellbeing').getByText('birdnet').waitFor();
    await reader?.cancel();
    await browser.page.locator('#wellbeing').getByText('nobody').waitFor();

    const begin = await beginOf(await ask(`${workspace}.wav`, withToken), 68 + 48_000 * 6);
    expect(begin.toString('latin1', 0, 4)).toBe('RIFF');
    expect(begin.readUInt32LE(4)).toBe(0xffffffff);
    expect([begin.readUInt16LE(22), begin.readUInt32LE(24), begin.readUInt16LE(34)]).toEqual([2, 48_000, 24]);
    expect(begin.readUInt32LE(64)).toBe(0xffffffff);
    const loudest = Math.max(...Array.from({ length: 3000 }, (_, at) => begin.readIntLE(68 + at * 3, 3) / 2 ** 23));
    // A tone of -20 dBFS.
    expect(loudest).toBeGreaterThan(0.09);
    expect(loudest).toBeLessThan(0.11);
  });

  test('a token opens nothing else', async () => {
    for (const path of ['/', `/microphones/${workspace}`, `/live/${workspace}.mp3`, '/live?page=dashboard']) {
      const answer = await fetch(`${page.address}${path}`, { headers: withToken, redirect: 'manual' });
      expect([303, 401]).toContain(answer.status);
    }
  });

  test('what is none of ours is not found', async () => {
    const files = ['none-00000000.wav', 'x.wav', '..%2f..%2fetc%2fpasswd.wav', '%00.wav', `${workspace}.ogg`];
    for (const file of files) expect([401, 404]).toContain((await ask(file, withToken)).status);
    for (const file of files.slice(0, 4)) expect((await ask(file, withToken)).status).toBe(404);
  });

  test('nothing recorded: 503, and when to ask again', async () => {
    const { id } = await station.untilPhase('recording');
    const listening = await ask(`${workspace}.wav`, withToken);
    await station.update(id, { enabled: false });
    await station.untilPhase('disabled', id);
    // It ended with the recorder.
    for (const reader = listening.body?.getReader(); ; ) if ((await reader?.read())?.done !== false) break;
    const answer = await ask(`${workspace}.wav`, withToken);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('5');
  });

  test('a link in place of the recorder’s socket leads nowhere', async () => {
    const other = createServer((socket) => socket.end('a secret of this host'));
    const place = join(folder, 'other.sock');
    await new Promise<void>((resolve) => other.listen(place, resolve));
    try {
      rmSync(join(station.runPath, workspace, 'live.sock'), { force: true });
      symlinkSync(place, join(station.runPath, workspace, 'live.sock'));
      const status = { state: 'recording', rate: 48_000, channels: 1, format: 'S16_LE' };
      writeStatus(status);
      expect((await ask(`${workspace}.wav`, withToken)).status).toBe(503);
      rmSync(join(station.runPath, workspace, 'live.sock'));
      // The same without the link is heard: what was refused was the link.
      const real = createServer((socket) => socket.end('sound'));
      await new Promise<void>((resolve) => real.listen(join(station.runPath, workspace, 'live.sock'), resolve));
      const heard = await (await ask(`${workspace}.wav`, withToken)).arrayBuffer();
      expect(Buffer.from(heard).toString('latin1')).toContain('sound');
      real.close();
    } finally {
      other.close();
    }
  });
});

test('tokens are in no log', () => expect(page.output()).not.toContain(TOKEN));

/** Of a recorder that runs no more. */
function writeStatus(status: object): void {
  const rest = { schema: 1, run: 'test', reason: 'Recording', message: '', frames: 1, levels: [], silent: false };
  const all = { ...rest, overruns: 0, lostFrames: 0, lastSegment: null, at: Date.now(), ...status };
  writeFileSync(join(station.runPath, workspace, 'status.json'), JSON.stringify(all));
}

/** The highest sample of what the browser plays now. */
async function loudest(): Promise<number> {
  return await audio().evaluate(async (element: HTMLAudioElement) => {
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    context.createMediaElementSource(element).connect(analyser);
    analyser.connect(context.destination);
    let highest = 0;
    for (let step = 0; step < 200 && highest < 0.05; step += 1) {
      const samples = new Float32Array(analyser.fftSize);
      analyser.getFloatTimeDomainData(samples);
      highest = Math.max(highest, ...samples);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return highest;
  });
}
