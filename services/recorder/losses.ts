/** What is in no file: counted, and told with its time in the status and in the metadata of the segment it concerns. */
import { type GapCause, MAX_TOLD_GAPS } from '../shared/recording.ts';
import type { Gap } from './metadata.ts';

export interface Losses {
  /** So many frames never came, or were given up. */
  add(cause: GapCause, frames: number): void;
  /** Frames that arrive now are dropped; those of one stretch are one gap. */
  drop(cause: GapCause, frames: number): void;
  /** The stretch is over: the next segment tells of it. */
  endDrop(): void;
}

/** Writes into `lostFrames` and `gaps` of the status; `note` hands a gap to the segment that grows, or to the next. */
export function createLosses(
  status: { lostFrames: number; gaps: Gap[] },
  note: (gap: Gap) => void,
  realMs: () => number = Date.now,
): Losses {
  let dropping: Gap | null = null;

  function begin(cause: GapCause, frames: number): Gap {
    const gap = { at: realMs(), frames, cause };
    status.gaps.push(gap);
    if (status.gaps.length > MAX_TOLD_GAPS) status.gaps.shift();
    return gap;
  }

  return {
    add(cause, frames) {
      status.lostFrames += frames;
      note(begin(cause, frames));
    },
    drop(cause, frames) {
      status.lostFrames += frames;
      if (dropping === null) dropping = begin(cause, frames);
      else dropping.frames += frames;
    },
    endDrop() {
      if (dropping !== null) note(dropping);
      dropping = null;
    },
  };
}
