/**
 * What the page does in the browser: it follows the station by server-sent events, moves the levels, and shows times in
 * the browser's own zone. Every form works without it.
 */
import { Idiomorph } from 'idiomorph';
import { followLogs } from './logs.ts';

interface Levels {
  [workspace: string]: {
    channels: { dbfs: number; clipped: boolean }[];
    silent: boolean;
    lastFile: string | null;
  };
}

const AGES_MS = 1000;
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });

showTimes();
setInterval(showTimes, AGES_MS);
const { live } = document.body.dataset;
if (live !== undefined) follow(live);
const logLines = document.getElementById('log-lines');
if (logLines !== null) followLogs(logLines);

function follow(address: string): void {
  const lost = document.getElementById('connection');
  const events = new EventSource(address);
  events.addEventListener('open', () => lost?.setAttribute('hidden', ''));
  events.addEventListener('error', () => {
    lost?.removeAttribute('hidden');
    // A refusal ends it for good: the session is over, or the page is gone. Loading anew says which.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
  events.addEventListener('part', (event) => showPart(JSON.parse(event.data)));
  events.addEventListener('levels', (event) => showLevels(JSON.parse(event.data)));
  events.addEventListener('reload', () => location.reload());
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

/** A new file: its picture is made within seconds, so the address changes and the browser asks again. */
function refreshSpectrogram(workspace: string, lastFile: string): void {
  for (const image of document.querySelectorAll<HTMLImageElement>(`img[data-spectrogram="${workspace}"]`)) {
    if (image.dataset.file === lastFile) continue;
    image.dataset.file = lastFile;
    image.src = `${image.src.split('?')[0]}?after=${encodeURIComponent(lastFile)}`;
  }
}

function showTimes(): void {
  for (const element of document.querySelectorAll<HTMLTimeElement>('time[data-time]')) {
    const at = new Date(element.dateTime);
    const text = element.dataset.time === 'ago' ? inWords(at) : moment.format(at);
    if (element.textContent !== text) element.textContent = text;
    if (element.title === '') element.title = moment.format(at);
  }
}

function inWords(at: Date): string {
  const seconds = Math.round((at.getTime() - Date.now()) / 1000);
  const size = Math.abs(seconds);
  if (size < 90) return ago.format(Math.min(0, seconds), 'second');
  if (size < 5400) return ago.format(Math.round(seconds / 60), 'minute');
  if (size < 129_600) return ago.format(Math.round(seconds / 3600), 'hour');
  return ago.format(Math.round(seconds / 86_400), 'day');
}
