/** The page of logs in the browser: lines as they come, text and nothing else; by service, paused, cleared, bounded. */

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

  const events = new EventSource(address);
  events.addEventListener('open', () => {
    state.textContent = shown.childElementCount === 0 ? (state.dataset.waiting ?? '') : '';
  });
  events.addEventListener('error', () => {
    state.textContent = state.dataset.lost ?? '';
  });
  events.addEventListener('lines', (event: MessageEvent<string>) => {
    const { lines }: { lines: Line[] } = JSON.parse(event.data);
    addSources(of, lines);
    if (isPaused()) waiting = [...waiting, ...lines].slice(-MOST_WAITING);
    else show(lines);
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
  element.append(time, ' ', name, ' ', text);
  return element;
}

/** What began to write after the page was loaded. */
function addSources(of: HTMLSelectElement, lines: readonly Line[]): void {
  for (const { instance } of lines)
    if (![...of.options].some(({ value }) => value === instance)) of.add(new Option(instance, instance));
}
