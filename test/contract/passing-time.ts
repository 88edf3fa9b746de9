/** Waiting where time is simulated: it is moved on until what is waited for is there. */

const STEP_MS = 100;
/** Longer than any deadline and any back-off of a port. */
const LONGEST_MS = 120_000;

export interface Passing {
  /** Waits for an answer; throws when it does not come in two minutes of simulated time. */
  settle<T>(work: Promise<T>): Promise<T>;
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
}

export function passing(advance: (byMs: number) => Promise<void>): Passing {
  const settle = async <T>(work: Promise<T>): Promise<T> => {
    let settled = false;
    const watched = work.finally(() => {
      settled = true;
    });
    watched.catch(() => {});
    for (let passedMs = 0; passedMs < LONGEST_MS; passedMs += STEP_MS) {
      await advance(0);
      if (settled) return await watched;
      await advance(STEP_MS);
    }
    throw new Error(`No answer within ${LONGEST_MS / 1000} s.`);
  };
  return {
    settle,
    async until(what, holds) {
      for (let passedMs = 0; passedMs < LONGEST_MS; passedMs += STEP_MS) {
        if (await settle(Promise.resolve(holds()))) return;
        await advance(STEP_MS);
      }
      throw new Error(`Waited ${LONGEST_MS / 1000} s in vain until ${what}.`);
    },
  };
}
