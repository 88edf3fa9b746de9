/** What a fault is, and how one is done that lasts for a while. */
import type { Random } from './random.ts';
import { note, type Run } from './run.ts';

export interface Fault {
  name: string;
  /** False: there was nothing to do it to. */
  happen(run: Run, random: Random): boolean;
}

const DURATIONS_MS = [300, 2000, 8000, 30_000, 90_000];

/** A condition that begins, and ends by itself. Begun again while it lasts, it lasts longer. */
export function lasting(name: string, begin: (run: Run, random: Random) => void, end: (run: Run) => void): Fault {
  return {
    name,
    happen(run, random) {
      const { clock } = run.station;
      const forMs = random.pick(DURATIONS_MS);
      const endsAtMs = Math.max(clock.nowMs() + forMs, run.lasting.get(name)?.endsAtMs ?? 0);
      run.lasting.set(name, { endsAtMs, end: () => end(run) });
      begin(run, random);
      note(run, () => `  for ${forMs} ms`);
      clock.after(forMs, () => {
        if ((run.lasting.get(name)?.endsAtMs ?? Number.POSITIVE_INFINITY) > clock.nowMs()) return;
        run.lasting.delete(name);
        note(run, () => `  over: ${name}`);
        end(run);
      });
      return true;
    },
  };
}
