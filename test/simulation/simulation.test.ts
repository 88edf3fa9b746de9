/** A few hundred worlds; `SIMULATION_SEED=n` replays one, `SIMULATION_WORLDS=n` runs any number. */
import { expect, test } from 'vitest';
import { simulate } from './simulation.ts';

const WORLDS = Number(process.env.SIMULATION_WORLDS ?? 200);

test('in any world nobody healthy is stopped, nothing forbidden runs on, and afterwards all is as wished', async () => {
  const replay = process.env.SIMULATION_SEED;
  const seeds = replay === undefined ? Array.from({ length: WORLDS }, (_, index) => index + 1) : [Number(replay)];
  let starts = 0;
  for (const seed of seeds) {
    const { history } = await simulate(seed);
    starts += history.filter((line) => line.includes('started')).length;
  }
  // A world in which nothing ever starts proves nothing.
  expect(starts).toBeGreaterThan(seeds.length);
});
