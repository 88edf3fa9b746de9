/**
 * The two clocks: the monotonic one, by which everything is measured, and the wall clock, which may jump and which is
 * asked only for how far it is from the other.
 */
import { execFile } from 'node:child_process';

export interface ClockStep {
  /** When it was noticed, by the new time. Unix milliseconds. */
  at: number;
  /** Positive: the clock was put forward. */
  seconds: number;
}

export interface WallClock {
  /** The wall clock's time, as it stands now, of a moment of the monotonic clock. Unix milliseconds. */
  at(monotonicMs: number): number;
  /** A step of more than a second since the last look; null: none. To be called about once a second. */
  look(): ClockStep | null;
}

/** Slower changes are a time server's corrections, which are not steps. */
const STEP_MS = 1000;

/** `realMs` and `monotonicMs` are the two clocks. */
export function createWallClock(
  realMs: () => number = Date.now,
  monotonicMs: () => number = () => performance.now(),
): WallClock {
  const offsetMs = (): number => realMs() - monotonicMs();
  let lastMs = offsetMs();
  return {
    at: (moment) => Math.round(moment + offsetMs()),
    look() {
      const nowMs = offsetMs();
      const stepMs = nowMs - lastMs;
      lastMs = nowMs;
      return Math.abs(stepMs) > STEP_MS ? { at: realMs(), seconds: Math.round(stepMs) / 1000 } : null;
    },
  };
}

/** adjtimex(2) by machine, as in the kernel's system call tables. */
const ADJTIMEX: Readonly<Record<string, number>> = { x64: 159, arm64: 171 };
/** adjtimex(2): the clock is not synchronised. */
const TIME_ERROR = 5;
const PROBE_DEADLINE_MS = 2000;

/**
 * Asks the kernel, which any time daemon tells once its clock is set. Node.js offers no way to adjtimex(2), and neither
 * a time daemon nor its files are in a container: Perl, of which Debian always has the base, makes the call, which reads
 * only. Null: not known (no Perl, another machine, a refusal).
 */
export function readClockSynchronised(architecture: string = process.arch): Promise<boolean | null> {
  const call = ADJTIMEX[architecture];
  if (call === undefined) return Promise.resolve(null);
  const program = `my $timex = "\\0" x 512; print syscall(${call}, $timex);`;
  return new Promise((resolve) => {
    execFile('perl', ['-e', program], { timeout: PROBE_DEADLINE_MS, killSignal: 'SIGKILL' }, (error, output) => {
      const state = /^\d+$/.test(output) ? Number(output) : null;
      resolve(error !== null || state === null ? null : state !== TIME_ERROR);
    });
  });
}
