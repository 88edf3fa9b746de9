/** Sound in the browser: live sound that is only fetched while somebody listens, and recordings one at a time. */

const AGAIN_MS = 500;
/** Sound that stood still for so long does not go on by itself. */
const STUCK_MS = 3000;

/** Stopping ends the connection, which the browser's own pause would not. Again for what came later. */
export function listenOnDemand(): void {
  for (const place of document.querySelectorAll<HTMLElement>('[data-listen]:not([data-ready])')) {
    place.dataset.ready = '';
    const button = place.querySelector('button');
    const status = place.querySelector<HTMLElement>('[role=status]');
    const audio = place.querySelector('audio');
    if (button !== null && status !== null && audio !== null) listen(place.dataset, { button, status, audio });
  }
}

interface ListenParts {
  button: HTMLButtonElement;
  status: HTMLElement;
  audio: HTMLAudioElement;
}

function listen(words: DOMStringMap, { button, status, audio }: ListenParts): void {
  let wanted = false;
  let again: ReturnType<typeof setTimeout> | undefined;
  const say = (word: string | undefined): void => {
    status.hidden = word === undefined;
    status.textContent = word ?? '';
  };
  const fetchSound = (): void => {
    // Another address each time: what a browser has kept of the last one is not live.
    audio.src = `${words.listen}?at=${Date.now()}`;
    audio.play().catch(() => {});
  };
  const lose = (): void => {
    if (!wanted) return;
    say(words.lost);
    clearTimeout(again);
    again = setTimeout(fetchSound, AGAIN_MS);
  };
  const end = (): void => {
    clearTimeout(again);
    audio.pause();
    audio.removeAttribute('src');
    audio.load();
  };
  audio.controls = false;
  // Fetched only on demand anyway. With less than that, browsers stop fetching when they know what it is, and may not resume.
  audio.preload = 'auto';
  end();
  button.hidden = false;
  const want = (isWanted: boolean): void => {
    wanted = isWanted;
    button.textContent = (wanted ? words.stop : words.start) ?? '';
    button.classList.toggle('danger', wanted);
    say(wanted ? words.connecting : undefined);
    if (wanted) fetchSound();
    else end();
  };
  button.addEventListener('click', () => want(!wanted));
  // Another player began, or the phone's own button was used. At the sound's end 'ended' follows.
  audio.addEventListener('pause', () => {
    if (wanted && !audio.ended && audio.error === null) want(false);
  });
  audio.addEventListener('playing', () => wanted && say(words.playing));
  audio.addEventListener('ended', lose);
  audio.addEventListener('error', lose);
  // A connection that died without a word, or a player that no longer asks for more.
  let at = 0;
  setInterval(() => {
    if (wanted && !status.hidden && status.textContent === words.playing && audio.currentTime === at) lose();
    at = audio.currentTime;
  }, STUCK_MS);
}

/** Two recordings at once are noise. */
export function playOneAtATime(): void {
  document.addEventListener(
    'play',
    ({ target }) => {
      for (const audio of document.querySelectorAll('audio')) if (audio !== target) audio.pause();
    },
    true,
  );
}

/** A line moves over a recording's picture while it plays, and a click into the picture goes there. */
export function seekInPictures(): void {
  for (const picture of document.querySelectorAll<HTMLElement>('[data-seek]')) {
    const audio = picture.closest('article')?.querySelector('audio');
    if (audio == null) continue;
    const line = document.createElement('span');
    line.className = 'playhead';
    line.hidden = true;
    picture.append(line);
    audio.addEventListener('timeupdate', () => {
      line.hidden = !Number.isFinite(audio.duration) || audio.currentTime === 0;
      line.style.left = `${(audio.currentTime / audio.duration) * 100}%`;
    });
    picture.addEventListener('click', ({ clientX }) => {
      const { left, width } = picture.getBoundingClientRect();
      void playFrom(audio, (clientX - left) / width);
    });
  }
}

/** `part` of the whole, 0 to 1. */
async function playFrom(audio: HTMLAudioElement, part: number): Promise<void> {
  try {
    await audio.play();
    if (Number.isFinite(audio.duration)) audio.currentTime = part * audio.duration;
  } catch {
    // The browser says by itself that it cannot.
  }
}
