/** The least that still breaks: steps are left out in halves, then in smaller parts, then one by one. */
import { STEPS, simulate } from './simulation.ts';

/** The steps of this seed that are needed for its failure. With none left out where it does not fail at all. */
export async function shrink(seed: number): Promise<number[]> {
  let steps = Array.from({ length: STEPS }, (_, index) => index);
  const kind = await breach(seed, steps);
  if (kind === null) return steps;
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < steps.length; ) {
      const fewer = [...steps.slice(0, from), ...steps.slice(from + size)];
      if ((await breach(seed, fewer)) === kind) steps = fewer;
      else from += size;
    }
  }
  return steps;
}

/** Which sentence breaks, without what differs from world to world. */
async function breach(seed: number, steps: readonly number[]): Promise<string | null> {
  const { failure } = await simulate(seed, { only: new Set(steps) });
  return failure === null ? null : failure.what.replace(/\(.*/, '').replace(/[0-9a-f]{4}-\S+|\d+/g, '');
}
