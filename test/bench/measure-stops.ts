/** That what is slow to stop holds up nobody: neither another start nor its own nine neighbours. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchMicrophone, BenchStation } from './bench-station.ts';
import { type Body, startFloor, startManyFloor } from './floor.ts';
import { lastBody, type Progress, startByNudge } from './measure-starts.ts';
import { compare, type Row } from './statistics.ts';
import { createWallClock, sleep } from './wall-clock.ts';

/** Between SIGTERM and SIGKILL. */
const STOP_TIMEOUT_MS = 10_000;
/** Into the floor's ten seconds: then the controller's begin, so that one waits while the other does. */
const OURS_OFFSET_MS = 2000;
const STARTS_PER_ROUND = 4;

export interface Stops {
  /** They do not end when asked to. */
  stubborn: readonly BenchMicrophone[];
  other: BenchMicrophone;
  rounds: number;
  progress: Progress;
}

export async function measureStops(bench: BenchStation, { stubborn, other, rounds, progress }: Stops): Promise<Row[]> {
  const body = lastBody(bench, other);
  const deaf = deafBody(bench, body);
  const gone = { floor: [] as number[], ours: [] as number[] };
  const started = { floor: [] as number[], ours: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    await bench.switchOn(stubborn);
    const { containers } = await startManyFloor(bench, deaf, stubborn.length);
    await bench.settle();
    const floorGone = stopFloor(bench, containers);
    await sleep(OURS_OFFSET_MS);
    await bench.write(stubborn, false);
    const { wallMs: beganMs } = bench.nudge();
    const all = Promise.all(stubborn.map(({ name }) => bench.events.time('remove', name, beganMs)));
    for (let start = 0; start < STARTS_PER_ROUND; start += 1) {
      started.floor.push(await startFloor(bench, body));
      await bench.settle();
      started.ours.push((await startByNudge(bench, other)).ranMs);
      await bench.switchOff([other]);
    }
    gone.ours.push(Math.max(...(await all)) - beganMs);
    gone.floor.push(await floorGone);
    progress(`slow stops ${round + 1} of ${rounds}`);
  }
  return [
    compare({
      name: 'start of B while stops take 10 s',
      ...started,
      unit: 'ms',
      bar: '≤ 1.25 × floor',
      limit: (floor) => 1.25 * floor,
    }),
    compare({
      name: 'ten that ignore SIGTERM switched off, last gone',
      ...gone,
      unit: 'ms',
      bar: '≤ 10 600 ms',
      limit: () => 10_600,
    }),
  ];
}

/** Only SIGKILL ends it: a first process has no signals that it did not ask for. */
function deafBody({ floorFolder }: BenchStation, body: Body): Body {
  const folder = join(floorFolder, 'deaf');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'deed'), 'deaf');
  return { ...body, HostConfig: { ...body.HostConfig, Binds: [`${folder}:/app/workspace:rw`] } };
}

/**
 * By two signals and a removal for each. The engine's own stop is no floor: it waits for seven at a time on two CPUs, so
 * that ten take twenty seconds, and whatever else is asked of it meanwhile waits too.
 */
async function stopFloor(
  bench: BenchStation,
  containers: Awaited<ReturnType<typeof startManyFloor>>['containers'],
): Promise<number> {
  const beganMs = createWallClock().nowMs();
  await Promise.all(
    containers.map(async ({ container }) => {
      await container.kill({ signal: 'SIGTERM' });
      await sleep(STOP_TIMEOUT_MS);
      await container.kill({ signal: 'SIGKILL' });
      await container.remove({ force: true });
    }),
  );
  const times = await Promise.all(containers.map(({ name }) => bench.events.time('remove', name, beganMs)));
  return Math.max(...times) - beganMs;
}
