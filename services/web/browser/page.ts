/**
 * What the page does in the browser: it follows the station by server-sent events, moves the levels, and shows times in
 * the browser's own zone. Every form works without it.
 */
import { Idiomorph } from 'idiomorph';
import { followLogs } from './logs.ts';
import { listenOnDemand, playOneAtATime, seekInPictures } from './player.ts';
import { followStream } from './stream.ts';

interface Levels {
  [workspace: string]: {
    channels: { dbfs: number; clipped: boolean }[];
    silent: boolean;
    lastFile: string | null;
  };
}

const AGES_MS = 1000;
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });

listenOnDemand();
playOneAtATime();
seekInPictures();
watchSpectrograms();
showTimes();
setInterval(showTimes, AGES_MS);
const { live } = document.body.dataset;
if (live !== undefined) follow(live);
// On a phone the menu is wider than the screen.
document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
const logLines = document.getElementById('log-lines');
if (logLines !== null) followLogs(logLines);

function follow(address: string): void {
  const lost = document.getElementById('connection');
  followStream(address, {
    listen(events) {
      events.addEventListener('part', (event) => showPart(JSON.parse(event.data)));
      events.addEventListener('levels', (event) => showLevels(JSON.parse(event.data)));
      events.addEventListener('reload', () => location.reload());
    },
    opened: () => lost?.setAttribute('hidden', ''),
    lost: () => lost?.removeAttribute('hidden'),
    onlySeen: true,
  });
}

/** Changes what differs and nothing else: what is being typed, chosen or unfolded stays. */
function showPart({ id, html }: { id: string; html: string }): void {
  const present = document.getElementById(id);
  if (present === null) return;
  Idiomorph.morph(present, html, {
    morphStyle: 'outerHTML',
    ignoreActiveValue: true,
    callbacks: { beforeNodeMorphed: (before: Node, after: Node) => !keeps(before, after) },
  });
  listenOnDemand();
  showTimes();
}

function keeps(before: Node, after: Node): boolean {
  if (!(before instanceof HTMLElement) || !(after instanceof HTMLElement)) return false;
  if (before instanceof HTMLDetailsElement && after instanceof HTMLDetailsElement) after.open = before.open;
  return before.dataset.keep !== undefined && before.childElementCount === after.childElementCount;
}

function showLevels(levels: Levels): void {
  for (const [workspace, { channels, silent, lastFile }] of Object.entries(levels)) {
    for (const shown of document.querySelectorAll<HTMLElement>(`[data-levels="${workspace}"]`)) {
      const clipped = channels.some((channel) => channel.clipped);
      shown.classList.toggle('clipped', clipped);
      shown.classList.toggle('silent', silent);
      for (const [index, { dbfs }] of channels.entries()) {
        const level = shown.children[index];
        const meter = level?.querySelector('meter');
        const output = level?.querySelector('output');
        if (meter != null) meter.value = dbfs;
        if (output != null) output.value = `${dbfs.toFixed(0)} dB`;
      }
      const hearing = shown.querySelector<HTMLElement>('.hearing');
      const words = clipped ? hearing?.dataset.clipped : silent ? hearing?.dataset.silent : '';
      if (hearing !== null && hearing.textContent !== words) hearing.textContent = words ?? '';
    }
    if (lastFile !== null) refreshSpectrogram(workspace, lastFile);
  }
}

/** The processor draws within seconds of a file's end, or when it finds the time. */
const PICTURE_MS = [3000, 12_000];
/** Those that will be asked for; files may end faster than they are drawn. */
const askedSoon = new WeakSet<HTMLImageElement>();

/** A new file: its picture is asked for a little later, under another address, so that the browser asks at all. */
function refreshSpectrogram(workspace: string, lastFile: string): void {
  for (const image of document.querySelectorAll<HTMLImageElement>(`img[data-spectrogram="${workspace}"]`)) {
    if (image.dataset.file === lastFile || askedSoon.has(image)) continue;
    image.dataset.file = lastFile;
    askedSoon.add(image);
    for (const delayMs of PICTURE_MS)
      setTimeout(() => {
        image.src = `${image.src.split('?')[0]}?at=${Date.now()}`;
        if (delayMs === PICTURE_MS.at(-1)) askedSoon.delete(image);
      }, delayMs);
  }
}

/** A picture that is not there is hidden, until there is one. */
function watchSpectrograms(): void {
  const show = (target: EventTarget | null, isThere: boolean): void => {
    if (!(target instanceof HTMLImageElement) || target.dataset.spectrogram === undefined) return;
    target.closest('.spectrogram')?.toggleAttribute('hidden', !isThere);
    // A browser would not load what is hidden before it is seen.
    target.loading = 'eager';
  };
  document.addEventListener('error', ({ target }) => show(target, false), true);
  document.addEventListener('load', ({ target }) => show(target, true), true);
  for (const image of document.images) if (image.complete && image.naturalWidth === 0) show(image, false);
}

function showTimes(): void {
  for (const element of document.querySelectorAll<HTMLTimeElement>('time[data-time]')) {
    const at = new Date(element.dateTime);
    const text = inZone(at, element.dataset.time);
    if (element.textContent !== text) element.textContent = text;
    if (element.title === '') element.title = moment.format(at);
  }
}

function inZone(at: Date, form: string | undefined): string {
  if (form === 'ago') return inWords(at);
  return (form === 'hour' ? hour : moment).format(at);
}

function inWords(at: Date): string {
  const seconds = Math.round((at.getTime() - Date.now()) / 1000);
  const size = Math.abs(seconds);
  if (size < 90) return ago.format(Math.min(0, seconds), 'second');
  if (size < 5400) return ago.format(Math.round(seconds / 60), 'minute');
  if (size < 129_600) return ago.format(Math.round(seconds / 3600), 'hour');
  return ago.format(Math.round(seconds / 86_400), 'day');
}
