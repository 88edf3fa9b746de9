/**
 * Runs the real microphone source and prints one JSON line whenever what it says has changed. For tests, which start it
 * where `/sys` and `/proc` are a tree of theirs. Ends at the end of its input.
 *
 * With the argument `by-hand` time stands still, and each line of its input is one poll, answered by one line.
 */
import { createInterface } from 'node:readline';
import { createMicrophoneSource, microphoneHolder } from '../../services/controller/microphones.ts';
import type { Clock, DependencyState, Microphone } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';

export interface WatcherLine {
  /** How often `onChange` was called so far. */
  changes: number;
  /** null: the reading failed. */
  microphones: Microphone[] | null;
  error: string | null;
  dependency: Pick<DependencyState, 'state' | 'message'>;
  /** Who holds each microphone, in words. */
  holders: string[];
  /** By hand: after how long the source wants to look again. */
  nextPollMs: number | null;
}

/** A clock whose time passes only when somebody says so. */
interface HandClock extends Clock {
  /** Until the earliest timer; null: there is none. */
  nextMs(): number | null;
  /** Lets the time until the earliest timer pass. */
  step(): void;
}

const POLL_MS = 100;
const byHand = process.argv[2] === 'by-hand';
const handClock = createHandClock();
const quiet = () => {};
const source = createMicrophoneSource({
  pollMs: POLL_MS,
  clock: byHand ? handClock : createClock(),
  log: { info: quiet, warn: quiet, error: quiet },
});

let changes = 0;
let printed = '';

function print(): void {
  const reading = source.read();
  const { state, message } = source.dependency();
  const line: WatcherLine = {
    changes,
    microphones: reading.ok ? reading.value : null,
    error: reading.ok ? null : reading.error,
    dependency: { state, message },
    holders: reading.ok ? reading.value.map(holderOf) : [],
    nextPollMs: byHand ? handClock.nextMs() : null,
  };
  const text = JSON.stringify(line);
  if (byHand || text !== printed) process.stdout.write(`${text}\n`);
  printed = text;
}

function holderOf({ sound }: Microphone): string {
  if (sound === null) return 'no card';
  const holder = microphoneHolder(sound.card, sound.device);
  if (!holder.ok) return holder.message;
  return holder.value === null ? 'nobody' : `${holder.value.pid} ${holder.value.command}`;
}

function createHandClock(): HandClock {
  let now = 0;
  const timers = new Map<object, { atMs: number; callback: () => void }>();
  const earliest = () => [...timers].sort(([, a], [, b]) => a.atMs - b.atMs)[0];
  return {
    nowMs: () => now,
    wallMs: () => now,
    timer(delayMs, callback) {
      const key = {};
      timers.set(key, { atMs: now + delayMs, callback });
      return () => timers.delete(key);
    },
    nextMs() {
      const next = earliest();
      return next === undefined ? null : next[1].atMs - now;
    },
    step() {
      const next = earliest();
      if (next === undefined) throw new Error('there is no timer');
      timers.delete(next[0]);
      now = next[1].atMs;
      next[1].callback();
    },
  };
}

/** A poll is over when the source has set the timer for the next one; that of an enumeration's deadline is far longer. */
async function pollIsOver(): Promise<void> {
  for (;;) {
    const nextMs = handClock.nextMs();
    if (nextMs !== null && nextMs <= POLL_MS) return;
    await new Promise((done) => setTimeout(done, 1));
  }
}

async function pollByHand(): Promise<void> {
  let poll = () =>
    source.start(() => {
      changes += 1;
    });
  for await (const _line of createInterface({ input: process.stdin })) {
    poll();
    poll = handClock.step;
    await pollIsOver();
    print();
  }
  source.stop();
}

function pollByItself(): void {
  print();
  source.start(() => {
    changes += 1;
    print();
  });
  const timer = setInterval(print, 20);
  process.stdin.resume().on('end', () => {
    clearInterval(timer);
    source.stop();
  });
}

if (byHand) await pollByHand();
else pollByItself();
