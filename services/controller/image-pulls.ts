/**
 * Images that are wanted and not there are fetched in the background: with progress in words, tried again later and later
 * while their registry is away. Nothing waits for it but the service that needs the image.
 */
import type { Log } from './log.ts';
import type { Clock, Engine, PullState } from './world.ts';

export interface ImagePulls {
  /** All images that are missing now. Others that are under way are given up. */
  want(references: readonly string[]): void;
  states(): ReadonlyMap<string, PullState>;
  /** Gives up everything; nothing begins any more. */
  stop(): void;
}

export interface ImagePullsOptions {
  clock: Clock;
  engine: Engine;
  log: Log;
  /** `done`: an image has come. Else only words have changed. */
  onChange: (done: boolean) => void;
}

/** A slow line is not made faster by sharing it. */
const PULLS_AT_ONCE = 2;
const FIRST_RETRY_MS = 5000;
const LONGEST_RETRY_MS = 10 * 60_000;
/** Words about progress reach the database: not more often than this. */
const TELL_MS = 2000;
/** Built on this machine: there is no registry to ask. */
const LOCAL = /^localhost\//;

interface Pull {
  state: PullState;
  attempts: number;
  /** Gives up what is under way, or the wait for the next attempt. */
  cancel: () => void;
  phase: 'queued' | 'pulling' | 'waiting';
}

export function createImagePulls({ clock, engine, log, onChange }: ImagePullsOptions): ImagePulls {
  const pulls = new Map<string, Pull>();
  let stopped = false;

  const begin = (reference: string, pull: Pull): void => {
    const abort = new AbortController();
    const current = (): boolean => !abort.signal.aborted && pulls.get(reference) === pull;
    let toldAtMs = Number.NEGATIVE_INFINITY;
    pull.phase = 'pulling';
    pull.cancel = () => abort.abort();
    pull.state = { kind: 'pulling', message: `Fetching the image ${reference}.` };
    log.info({ reference, attempt: pull.attempts + 1 }, 'An image is being fetched.');
    const onProgress = (done: number, total: number): void => {
      if (!current() || clock.nowMs() - toldAtMs < TELL_MS) return;
      toldAtMs = clock.nowMs();
      const message = `Fetching the image ${reference}: pulling ${progress(done, total)}.`;
      if (message === pull.state.message) return;
      pull.state = { kind: 'pulling', message };
      onChange(false);
    };
    void engine.pull(reference, onProgress, abort.signal).then((outcome) => {
      if (!current()) return;
      if (outcome.kind === 'done') {
        log.info({ reference }, 'An image has been fetched.');
        // Found, it is not wanted any more. An engine that files it under another name must not fetch it on and on.
        pull.state = { kind: 'pulling', message: `The image ${reference} has been fetched; it is looked for.` };
        tryAgainLater(pull);
      } else {
        pull.state = { kind: 'waiting', message: `${outcome.message} It is tried again by itself.` };
        const delayMs = tryAgainLater(pull);
        log.warn({ reference, why: outcome.message, delayMs }, 'An image could not be fetched; it is tried again.');
      }
      fill();
      onChange(outcome.kind === 'done');
    });
  };

  /** Answers in how many milliseconds. */
  const tryAgainLater = (pull: Pull): number => {
    const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(pull.attempts, 20));
    pull.attempts += 1;
    pull.phase = 'waiting';
    pull.cancel = clock.timer(delayMs, () => {
      pull.phase = 'queued';
      fill();
    });
    return delayMs;
  };

  const fill = (): void => {
    const underWay = [...pulls.values()].filter(({ phase }) => phase === 'pulling').length;
    const queued = [...pulls].filter(([, { phase }]) => phase === 'queued');
    for (const [reference, pull] of queued.slice(0, Math.max(0, PULLS_AT_ONCE - underWay))) begin(reference, pull);
  };

  const forget = (reference: string): void => {
    const pull = pulls.get(reference);
    pulls.delete(reference);
    pull?.cancel();
  };

  return {
    want(references) {
      if (stopped) return;
      const wanted = new Set(references.filter((reference) => !LOCAL.test(reference)));
      for (const reference of [...pulls.keys()]) if (!wanted.has(reference)) forget(reference);
      for (const reference of wanted) {
        if (pulls.has(reference)) continue;
        const message = `The image ${reference} is to be fetched; others come first.`;
        const state = { kind: 'pulling' as const, message };
        pulls.set(reference, { state, attempts: 0, cancel: () => {}, phase: 'queued' });
      }
      fill();
    },
    states: () => new Map([...pulls].map(([reference, { state }]) => [reference, state])),
    stop() {
      stopped = true;
      for (const reference of [...pulls.keys()]) forget(reference);
    },
  };
}

/** "45 % of 312 MB", of what is known so far of its layers. */
function progress(done: number, total: number): string {
  if (total <= 0) return `${megabytes(done)}`;
  return `${Math.min(100, Math.floor((100 * done) / total))} % of ${megabytes(total)}`;
}

const megabytes = (bytes: number): string => `${Math.max(1, Math.round(bytes / 1e6))} MB`;
