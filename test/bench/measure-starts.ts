/** How quickly what is wished runs: after a nudge, ten at once, after a plug. The floor is measured between the samples. */
import type { BenchMicrophone, BenchStation } from './bench-station.ts';
import { type Body, bodyOf, plainBody, startFloor, startManyFloor } from './floor.ts';
import { compare, type Row } from './statistics.ts';
import { createWallClock } from './wall-clock.ts';

const MILLISECONDS = 'ms';
const MANY = 10;

export type Progress = (text: string) => void;

/** What the controller asked the engine to create when it last started this microphone. */
export function lastBody(bench: BenchStation, microphone: BenchMicrophone): Body {
  const request = bench.requests
    .all()
    .findLast(({ method, path }) => method === 'POST' && path.includes(`/containers/create?name=${microphone.name}`));
  if (request === undefined) throw new Error(`${microphone.name} was never created: there is no floor to measure.`);
  return bodyOf(request, bench);
}

/** One start by a nudge: until the first request to the engine, and until it runs. Milliseconds. */
export async function startByNudge(
  bench: BenchStation,
  microphone: BenchMicrophone,
): Promise<{ askedMs: number; ranMs: number }> {
  await bench.write([microphone], true);
  const nudged = bench.nudge();
  const request = await bench.requests.firstAfter(nudged.atMs);
  const startedMs = await bench.events.time('start', microphone.name, nudged.wallMs);
  return { askedMs: request.atMs - nudged.atMs, ranMs: startedMs - nudged.wallMs };
}

export async function measureNudges(
  bench: BenchStation,
  microphones: readonly BenchMicrophone[],
  n: number,
  progress: Progress,
): Promise<{ rows: Row[]; floor: number[] }> {
  const body = lastBody(bench, first(microphones));
  const floors = { same: [] as number[], none: [] as number[], bridge: [] as number[] };
  const asked: number[] = [];
  const ran: number[] = [];
  for (let sample = 0; sample < n; sample += 1) {
    const microphone = first(microphones.slice(sample % microphones.length));
    floors.same.push(await startFloor(bench, body));
    floors.none.push(await startFloor(bench, plainBody(bench, 'none')));
    floors.bridge.push(await startFloor(bench, plainBody(bench, 'bridge')));
    await bench.settle();
    const { askedMs, ranMs } = await startByNudge(bench, microphone);
    asked.push(askedMs);
    ran.push(ranMs);
    await bench.switchOff([microphone]);
    progress(`nudge ${sample + 1} of ${n}`);
  }
  const info = { ours: ran, unit: MILLISECONDS, bar: '', limit: null };
  const rows = [
    compare({
      name: 'nudge → first engine request, median',
      floor: null,
      ours: asked,
      unit: MILLISECONDS,
      bar: '≤ 15 ms',
      limit: () => 15,
    }),
    compare({
      name: 'nudge → first engine request, p95',
      floor: null,
      ours: asked,
      part: 0.95,
      unit: MILLISECONDS,
      bar: '≤ 30 ms',
      limit: () => 30,
    }),
    compare({
      name: 'nudge → one recorder running',
      floor: floors.same,
      ours: ran,
      unit: MILLISECONDS,
      bar: '≤ 1.15 × floor',
      limit: (floor) => 1.15 * floor,
    }),
    compare({ ...info, name: '… against the barest container, no network', floor: floors.none }),
    compare({ ...info, name: '… against the barest container, bridge', floor: floors.bridge }),
  ];
  return { rows, floor: floors.same };
}

export async function measureMany(
  bench: BenchStation,
  microphones: readonly BenchMicrophone[],
  n: number,
  progress: Progress,
): Promise<Row[]> {
  const ten = microphones.slice(0, MANY);
  const body = lastBody(bench, first(ten));
  const floor: number[] = [];
  const ours: number[] = [];
  for (let sample = 0; sample < n; sample += 1) {
    const { lastMs, containers } = await startManyFloor(bench, body, MANY);
    floor.push(lastMs);
    await Promise.all(containers.map(({ container }) => container.remove({ force: true, t: 0 })));
    await bench.settle();
    await bench.write(ten, true);
    const { wallMs: beganMs } = bench.nudge();
    const times = await Promise.all(ten.map(({ name }) => bench.events.time('start', name, beganMs)));
    ours.push(Math.max(...times) - beganMs);
    await bench.switchOff(ten);
    progress(`ten at once ${sample + 1} of ${n}`);
  }
  return [
    compare({
      name: 'ten at once, last running',
      floor,
      ours,
      unit: MILLISECONDS,
      bar: '≤ floor + 60 ms',
      limit: (theirs) => theirs + 60,
    }),
  ];
}

/** Each one was never seen before, so that no plug looks as if it flapped. */
export async function measurePlugs(bench: BenchStation, body: Body, n: number, progress: Progress): Promise<Row[]> {
  const floor: number[] = [];
  const ours: number[] = [];
  for (let sample = 0; sample < n; sample += 1) {
    floor.push(await startFloor(bench, body));
    await bench.settle();
    const serial = `plug-${sample}`;
    const beganMs = createWallClock().nowMs();
    const plugged = bench.plug(serial);
    const microphone = await bench.known(serial, plugged);
    const ranMs = await bench.events.time('start', microphone.name, beganMs);
    ours.push(ranMs - beganMs);
    bench.station.usb.unplug(plugged);
    await bench.events.time('remove', microphone.name, ranMs);
    progress(`plug ${sample + 1} of ${n}`);
  }
  const row = { floor, ours, unit: MILLISECONDS };
  return [
    compare({
      ...row,
      name: 'node present → running, median',
      bar: '≤ floor + 250 ms',
      limit: (theirs) => theirs + 250,
    }),
    compare({
      ...row,
      name: 'node present → running, worst',
      part: 1,
      bar: '≤ floor + 400 ms',
      limit: (theirs) => theirs + 400,
    }),
  ];
}

export function first<T>(values: readonly T[]): T {
  const [value] = values;
  if (value === undefined) throw new Error('There is no microphone to measure with.');
  return value;
}
