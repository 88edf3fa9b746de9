/**
 * Chaos on the real thing: the real controller, recorders, PostgreSQL, Redis and Podman, and for a while everything goes
 * wrong at random. Then it is calm again, and what came of it is judged from outside.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { STATUS_FILE } from '../../services/shared/contract.ts';
import { runBystander } from '../integration/station-devices.ts';
import { createTestStation, type TestStation } from '../integration/test-station.ts';
import { audioMoth, cm108, plainMicrophone, type UsbDeviceSpec } from '../integration/usb-devices.ts';
import { createRandom } from '../simulation/random.ts';
import {
  type ChaosMicrophone,
  type ChaosWorld,
  createChaosProxy,
  endFaults,
  pause,
  pickFault,
} from './chaos-faults.ts';
import { type Findings, hasConverged, judge } from './chaos-judge.ts';

export interface ChaosOptions {
  seed: number;
  /** How long things go wrong. */
  durationMs: number;
  firstCard: number;
  /** One line per thing done. */
  tell: (line: string) => void;
}

export interface ChaosReport extends Findings {
  /** How often each fault happened. */
  faults: Record<string, number>;
}

const MICROPHONES: readonly { spec: UsbDeviceSpec; port: string }[] = [
  { spec: plainMicrophone({ serial: 'CHAOS1' }), port: '1' },
  { spec: plainMicrophone({ serial: 'CHAOS2' }), port: '2' },
  { spec: cm108(), port: '3' },
  { spec: audioMoth(), port: '4' },
];
/** Twice the longest back-off that a recorder can have earned in a short run, and a cycle. */
const CONVERGE_MS = 180_000;
const FIRST_MS = 60_000;

/** Throws when the station does not come to rest. Leaves nothing behind. */
export async function runChaos({ seed, durationMs, firstCard, tell }: ChaosOptions): Promise<ChaosReport> {
  const station = await createTestStation({
    firstCard,
    environment: { SILVASONIC_RECONCILE_INTERVAL_S: '2', SILVASONIC_OFFLINE_GRACE_S: '1' },
  });
  const proxy = createChaosProxy(station, join(station.workspace, 'engine.sock'));
  station.environment.CONTAINER_SOCKET = proxy.socketPath;
  const random = createRandom(seed);
  const world: ChaosWorld = {
    station,
    proxy,
    controller: null,
    microphones: [],
    excuses: [],
    unanswered: null,
    random,
    tell,
  };
  try {
    await proxy.open();
    world.controller = await station.start();
    world.microphones = await plugAll(world);
    const stranger = await runBystander(station, `chaos-stranger-${process.pid}`, {
      'io.silvasonic.station': 'another',
    });
    const faults = await makeTrouble(world, durationMs);
    await endFaults(world);
    tell('Calm again: waiting until everything is as it was asked for.');
    await station.until('all is as it was asked for', () => hasConverged(world), CONVERGE_MS);
    const findings = await judge(world);
    const running = await station.engine.podman('inspect', '--format', '{{.State.Status}}', stranger);
    if (running !== 'running') findings.problems.push('A container that is not ours was touched.');
    await station.engine.podman('rm', '--force', '--time', '0', stranger);
    return { ...findings, faults };
  } finally {
    await endFaults(world).catch(() => {});
    await station.remove();
    await proxy.close();
  }
}

async function plugAll({ station, excuses }: ChaosWorld): Promise<ChaosMicrophone[]> {
  const plugged: { spec: UsbDeviceSpec; port: string; id: string }[] = [];
  const microphones: ChaosMicrophone[] = [];
  for (const { spec, port } of MICROPHONES) {
    const device = station.plug(spec, { port });
    const row = await station.until(
      `${spec.product} records`,
      async () =>
        (await station.devices()).find(
          ({ id, phase }) => phase === 'recording' && !plugged.some((earlier) => earlier.id === id),
        ),
      FIRST_MS,
    );
    plugged.push({ spec, port, id: row.id });
    station.feed(row.workspace, 'counter');
    const uncountedRuns = new Set([await currentRun(station, row.workspace)]);
    const settings = { segmentSeconds: 2 };
    excuses.push({ id: row.id, atMs: Date.now(), what: 'short files from the beginning' });
    await station.update(row.id, { settings });
    const wishes = { name: [row.name], enabled: [true], segmentSeconds: [2] };
    const { id, workspace } = row;
    microphones.push({ id, workspace, spec, port, plugged: device, uncountedRuns, wishes });
  }
  await station.until('all record with short files', async () =>
    (await station.devices()).every((row) => row.phase === 'recording' && row.generation === row.observed_generation),
  );
  return microphones;
}

/** Of the recorder that records now. */
async function currentRun(station: TestStation, workspace: string): Promise<string> {
  const status: { run: string } = JSON.parse(await readFile(join(station.runPath, workspace, STATUS_FILE), 'utf8'));
  return status.run;
}

async function makeTrouble(world: ChaosWorld, durationMs: number): Promise<Record<string, number>> {
  // Short files were asked for a moment ago: that has ended the first recorders.
  for (const { id } of world.microphones)
    world.excuses.push({ id, atMs: Date.now(), what: 'settings at the beginning' });
  const faults: Record<string, number> = {};
  const untilMs = performance.now() + durationMs;
  while (performance.now() < untilMs) {
    const fault = pickFault(world.random);
    world.tell(fault.name);
    faults[fault.name] = (faults[fault.name] ?? 0) + 1;
    await fault.run(world);
    await pause(world.random.between(100, 1500));
  }
  return faults;
}
