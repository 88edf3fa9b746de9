/**
 * Recordings that are left as they are, and why. Kept in memory alone: each start tries each of them once more, which costs
 * little and needs no file of its own.
 */

import { SoxRefused } from './sox.ts';
import { BrokenRecording } from './wav-file.ts';

export interface Failures {
  /** Takes note of a failed attempt; true: the recording is left from now on. */
  note(title: string, error: unknown, done: number): boolean;
  /** It stays as it is, but nothing is wrong with it. */
  leave(title: string): void;
  isLeft(title: string): boolean;
  /** Failed before, but not given up: others go first. */
  isDoubtful(title: string): boolean;
  /** Title and sentence, the latest last. */
  broken(): readonly (readonly [string, string])[];
  /** It went well after all. */
  forget(title: string): void;
}

/**
 * So often is tried what fails without the recording being at fault, provided that others succeed meanwhile: a machine
 * without SoX must not call a whole season broken.
 */
const MOST_ATTEMPTS = 3;
const MOST_REMEMBERED = 10_000;

export function createFailures(): Failures {
  const broken = new Map<string, string>();
  const left = new Set<string>();
  const attempts = new Map<string, { count: number; doneBefore: number }>();

  return {
    note(title, error, done) {
      const known = attempts.get(title) ?? { count: 0, doneBefore: done };
      known.count += 1;
      const isAtFault = error instanceof BrokenRecording || error instanceof SoxRefused;
      if (!isAtFault && (known.count < MOST_ATTEMPTS || done === known.doneBefore)) {
        attempts.set(title, known);
        forgetOldest(attempts);
        return false;
      }
      attempts.delete(title);
      broken.set(title, error instanceof Error ? error.message : String(error));
      forgetOldest(broken);
      return true;
    },
    leave(title) {
      left.add(title);
      forgetOldest(left);
    },
    isLeft: (title) => broken.has(title) || left.has(title),
    isDoubtful: (title) => attempts.has(title),
    broken: () => [...broken],
    forget: (title) => attempts.delete(title),
  };
}

/** Whoever is forgotten is tried again. */
function forgetOldest(kept: Map<string, unknown> | Set<string>): void {
  const [oldest] = kept.keys();
  if (kept.size > MOST_REMEMBERED && oldest !== undefined) kept.delete(oldest);
}
