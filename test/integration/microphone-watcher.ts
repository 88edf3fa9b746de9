/**
 * Runs the real microphone source and prints one JSON line whenever what it says has changed. For tests, which start it
 * where `/sys` and `/proc` are a tree of theirs. Ends at the end of its input.
 */
import { createClock } from '../../services/controller/clock.ts';
import { createMicrophoneSource, microphoneHolder } from '../../services/controller/microphones.ts';
import type { DependencyState, Microphone } from '../../services/controller/world.ts';

export interface WatcherLine {
  /** How often `onChange` was called so far. */
  changes: number;
  /** null: the reading failed. */
  microphones: Microphone[] | null;
  error: string | null;
  dependency: Pick<DependencyState, 'state' | 'message'>;
  /** Who holds each microphone, in words. */
  holders: string[];
}

const quiet = () => {};
const source = createMicrophoneSource({
  pollMs: 100,
  clock: createClock(),
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
  };
  const text = JSON.stringify(line);
  if (text !== printed) process.stdout.write(`${text}\n`);
  printed = text;
}

function holderOf({ sound }: Microphone): string {
  if (sound === null) return 'no card';
  const holder = microphoneHolder(sound.card, sound.device);
  if (!holder.ok) return holder.message;
  return holder.value === null ? 'nobody' : `${holder.value.pid} ${holder.value.command}`;
}

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
