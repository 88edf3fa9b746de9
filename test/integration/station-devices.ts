/** What scenarios ask of a station again and again: which devices record, in which containers, and what was told. */
import { LABEL, OWNER } from '../../services/shared/contract.ts';
import { inspectContainer } from './engine-api.ts';
import type { DeviceColumns, InspectedContainer, RunningController, TestStation } from './test-station.ts';

/** Id of the n-th virtual microphone, counted from 1. */
export const virtualId = (number: number): string => `0000-0001-virtual-${number}`;

export const virtualIds = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => virtualId(index + 1));

export async function rowOf(station: TestStation, id: string): Promise<DeviceColumns | undefined> {
  return (await station.devices()).find((row) => row.id === id);
}

/** Phases of these devices as they were at one moment; undefined: there is no such row. */
export async function phasesOf(station: TestStation, ids: readonly string[]): Promise<(string | undefined)[]> {
  const rows = await station.devices();
  return ids.map((id) => rows.find((row) => row.id === id)?.phase);
}

export async function untilAll(
  station: TestStation,
  phase: string,
  ids: readonly string[],
  deadlineMs?: number,
): Promise<void> {
  const areAll = async (): Promise<true> => {
    const phases = await phasesOf(station, ids);
    return phases.every((each) => each === phase) || Promise.reject(new Error(phases.join(', ')));
  };
  await station.until(`${ids.join(', ')} are ${phase}`, areAll, deadlineMs);
}

/** Waits until a device's row says this, and answers with the row. */
export async function untilTold(
  station: TestStation,
  id: string,
  wanted: Partial<Pick<DeviceColumns, 'phase' | 'reason'>>,
): Promise<DeviceColumns> {
  return await station.until(`${id} says ${JSON.stringify(wanted)}`, async () => {
    const row = await rowOf(station, id);
    const said = wanted.phase === undefined || row?.phase === wanted.phase;
    if (row !== undefined && said && (wanted.reason === undefined || row.reason === wanted.reason)) return row;
    throw new Error(`it says ${row?.phase} (${row?.reason}: ${row?.message})`);
  });
}

/** Containers that are this station's by both labels. */
export async function ownContainers(station: TestStation): Promise<InspectedContainer[]> {
  return (await station.containers()).filter(({ Config }) => Config.Labels[LABEL.owner] === OWNER);
}

export async function containersOf(station: TestStation, id: string): Promise<InspectedContainer[]> {
  return (await ownContainers(station)).filter(({ Config }) => Config.Labels[LABEL.deviceId] === id);
}

/** The only container of a device; throws where there is none, or more than one. */
export async function containerOf(station: TestStation, id: string): Promise<InspectedContainer> {
  const [container, ...others] = await containersOf(station, id);
  if (container === undefined || others.length > 0)
    throw new Error(`${id} has ${others.length + 1} containers or none`);
  return container;
}

/** Waits until a device records in another container than this one. */
export async function untilReplaced(
  station: TestStation,
  id: string,
  old: InspectedContainer,
): Promise<InspectedContainer> {
  return await station.until(`${id} records in another container`, async () => {
    const container = await containerOf(station, id);
    const row = await rowOf(station, id);
    return container.Id !== old.Id && isRunning(container) && row?.phase === 'recording' ? container : null;
  });
}

export const isRunning = (container: InspectedContainer): boolean => container.State.Status === 'running';

/** Which processes these are: equal later means that nobody ended or restarted them. */
export function lives(containers: readonly InspectedContainer[]): string[] {
  return containers.map(({ Id, State }) => `${Id} ${State.Status} since ${State.StartedAt}`).sort();
}

/** Labels of a container that the controller of this station would call its own. */
export function ownLabels(stationId: string, more: Record<string, string> = {}): Record<string, string> {
  return { [LABEL.owner]: OWNER, [LABEL.station]: stationId, ...more };
}

/** Waits, and ends when it is asked to. */
const BYSTANDER = 'trap "exit 0" TERM; while :; do sleep 0.2; done';

/** Starts a container beside the station's, which only waits; answers its id. */
export async function runBystander(
  station: TestStation,
  name: string,
  labels: Record<string, string>,
  command: 'run' | 'create' = 'run',
): Promise<string> {
  const marks = Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]);
  const options = ['--network', 'none', '--oom-score-adj', '0', '--entrypoint', 'sh', '--name', name, ...marks];
  const how = command === 'run' ? ['run', '--detach'] : ['create'];
  return await station.engine.podman(...how, ...options, station.engine.recorderImage, '-c', BYSTANDER);
}

/** Containers by id, as the engine describes them; throws when one of them is gone. */
export async function inspect(station: TestStation, ids: readonly string[]): Promise<InspectedContainer[]> {
  const found = await Promise.all(ids.map((id) => inspectContainer(station.engine.socketPath, id)));
  return found.map((container, index) => {
    if (container === null) throw new Error(`There is no container ${ids[index]}.`);
    return container;
  });
}

export interface Health {
  code: number;
  body: {
    status?: string;
    uptimeSeconds?: number;
    lastCycleAgeSeconds?: number | null;
    dependencies?: { name: string; state: string }[];
  };
}

/** Throws where nobody answers. */
export async function health(controller: RunningController, deadlineMs = 2000): Promise<Health> {
  const response = await fetch(`http://127.0.0.1:${controller.healthPort}/healthy`, {
    signal: AbortSignal.timeout(deadlineMs),
  });
  return { code: response.status, body: JSON.parse(await response.text()) };
}
