/** The page of logs in the browser: lines as they come, text and nothing else; by service, paused, cleared, bounded. */
import { followStream } from './stream.ts';

interface Line {
  instance: string;
  /** Unix milliseconds. */
  at: number;
  from: 'stdout' | 'stderr';
  text: string;
}

/** Lines that wait while somebody pauses. */
const MOST_WAITING = 1000;
/** Whoever scrolled up by more wants to read, and is left there. Pixels. */
const AT_END_PX = 40;
/** Fields that every line of ours has, and that are shown otherwise or not at all. */
const KNOWN = new Set(['msg', 'level', 'time', 'service', 'instance', 'pid', 'hostname']);
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

export function followLogs(shown: HTMLElement): void {
  const pause = document.getElementById('log-pause');
  const of = document.getElementById('log-of');
  const state = document.getElementById('log-state');
  const address = shown.dataset.live;
  const most = Number(shown.dataset.most);
  if (pause === null || state === null || !(of instanceof HTMLSelectElement) || address === undefined) return;
  for (const hidden of document.querySelectorAll<HTMLElement>('[data-needs-script]')) hidden.hidden = false;
  // Whoever has no mouse scrolls it by the keyboard.
  shown.tabIndex = 0;
  state.textContent = state.dataset.waiting ?? '';
  let waiting: Line[] = [];
  const isPaused = (): boolean => pause.getAttribute('aria-pressed') === 'true';

  const show = (lines: readonly Line[]): void => {
    const wasAtEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < AT_END_PX;
    shown.append(...lines.map((line) => elementOf(line, of.value)));
    const surplus = shown.childElementCount - most;
    for (let count = 0; count < surplus; count++) shown.firstElementChild?.remove();
    state.textContent = surplus > 0 ? (state.dataset.left ?? '') : '';
    if (wasAtEnd) shown.scrollTop = shown.scrollHeight;
  };

  pause.addEventListener('click', () => {
    const paused = !isPaused();
    pause.setAttribute('aria-pressed', String(paused));
    pause.textContent = (paused ? pause.dataset.resume : pause.dataset.pause) ?? '';
    if (paused) return;
    show(waiting);
    waiting = [];
  });
  document.getElementById('log-clear')?.addEventListener('click', () => {
    shown.replaceChildren();
    waiting = [];
  });
  of.addEventListener('change', () => {
    for (const element of shown.children)
      if (element instanceof HTMLElement) element.hidden = isOther(element.dataset.instance ?? '', of.value);
    shown.scrollTop = shown.scrollHeight;
  });

  const take = (event: MessageEvent<string>): void => {
    const { lines }: { lines: Line[] } = JSON.parse(event.data);
    addSources(of, lines);
    if (isPaused()) waiting = [...waiting, ...lines].slice(-MOST_WAITING);
    else show(lines);
  };
  followStream(address, {
    listen: (events) => events.addEventListener('lines', take),
    opened() {
      state.textContent = shown.childElementCount === 0 ? (state.dataset.waiting ?? '') : '';
    },
    lost() {
      state.textContent = state.dataset.lost ?? '';
    },
    // Lines that nobody takes are gone: somebody may wait for one in another tab.
    onlySeen: false,
  });
}

function isOther(instance: string, wanted: string): boolean {
  return wanted !== '' && instance !== wanted;
}

function elementOf({ instance, at, from, text }: Line, wanted: string): HTMLElement {
  const element = document.createElement('div');
  element.className = from;
  element.dataset.instance = instance;
  element.hidden = isOther(instance, wanted);
  const time = document.createElement('time');
  time.dateTime = new Date(at).toISOString();
  time.textContent = clock.format(at);
  const name = document.createElement('b');
  name.textContent = instance;
  const { message, rest, isBad } = readable(text);
  element.classList.toggle('bad', isBad);
  element.append(time, ' ', name, ' ', message);
  if (rest !== '') {
    const fields = document.createElement('small');
    fields.textContent = rest;
    element.append(' ', fields);
  }
  return element;
}

/** Programs of ours write JSON: its sentence first, then its other fields. What is no such line is shown as it is. */
function readable(text: string): { message: string; rest: string; isBad: boolean } {
  const plain = { message: text, rest: '', isBad: false };
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    return plain;
  }
  if (typeof line !== 'object' || line === null || !('msg' in line) || typeof line.msg !== 'string') return plain;
  const others = Object.entries(line).filter(([name]) => !KNOWN.has(name));
  const isBad = 'level' in line && (line.level === 'warn' || line.level === 'error');
  return { message: line.msg, rest: others.length === 0 ? '' : JSON.stringify(Object.fromEntries(others)), isBad };
}

/** What began to write after the page was loaded. */
function addSources(of: HTMLSelectElement, lines: readonly Line[]): void {
  for (const { instance } of lines)
    if (![...of.options].some(({ value }) => value === instance)) of.add(new Option(instance, instance));
}
