/** Logs from a real engine: frames as it sends them, and each line once though its API goes away and comes back. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createInProcessBus } from '../../services/controller/bus.ts';
import { startContainerLogs } from '../../services/controller/container-logs.ts';
import { createPodman } from '../../services/controller/podman.ts';
import type { Engine, ObservedContainer } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import type { LogLine } from '../../services/shared/contract.ts';
import { testSpec } from './container-spec.ts';
import { silentLog, type TestEngine, testEngine } from './engine.ts';

const PATIENCE = { timeout: 60_000, interval: 50 };
const STATION_ID = randomUUID();

let engine: TestEngine;
let podman: Engine;
let containers: readonly ObservedContainer[] = [];
let stop = (): void => {};

beforeAll(async () => {
  engine = await testEngine();
  podman = createPodman({ socketPath: engine.socketPath, clock: createClock(), log: silentLog });
});
afterEach(() => stop());
afterAll(async () => {
  await podman.stop();
  await engine.stop();
});

/** Runs a script and hands over what it writes, as a listener hears it. */
async function hear(script: string): Promise<LogLine[]> {
  const bus = createInProcessBus();
  const lines: LogLine[] = [];
  bus.onLog((line) => lines.push(line));
  stop = startContainerLogs({ clock: createClock(), engine: podman, bus, containers: () => containers });
  const outcome = await podman.run(testSpec(STATION_ID, { script: `trap "exit 0" TERM; sleep 3 & wait; ${script}` }));
  expect(outcome.kind).toBe('done');
  const listed = await podman.list(STATION_ID);
  if (!listed.ok) throw new Error(listed.error);
  containers = listed.value.filter(({ id }) => outcome.kind === 'done' && id === outcome.containerId);
  return lines;
}

const numbersOf = (lines: LogLine[]): number[] => lines.map(({ text }) => Number(text.replace('line ', '')));

test('both streams, any character, and a line that is longer than any frame', async () => {
  const long = 'x'.repeat(20_000);
  const lines = await hear(`echo "Käuzchen 🦉"; echo "trouble" >&2; echo ${long}; echo end; sleep 1000 & wait`);
  await vi.waitFor(() => expect(lines.at(-1)?.text).toBe('end'), PATIENCE);
  const said = (stream: LogLine['stream']) => lines.filter((line) => line.stream === stream).map(({ text }) => text);
  expect(said('stdout')).toEqual(['Käuzchen 🦉', long.slice(0, 4000), 'end']);
  expect(said('stderr')).toEqual(['trouble']);
});

test('the API goes away and comes back: each line once, and none is missing', async () => {
  const lines = await hear('n=0; while :; do echo "line $n"; n=$((n+1)); sleep 0.05 & wait $!; done');
  await vi.waitFor(() => expect(lines.length).toBeGreaterThan(20), PATIENCE);
  await engine.stopApi();
  const before = lines.length;
  await engine.startApi();
  await vi.waitFor(() => expect(lines.length).toBeGreaterThan(before + 60), PATIENCE);
  const numbers = numbersOf(lines);
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
});
