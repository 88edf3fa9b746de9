/** Looks at a station from outside, by the engine's records, rows and files, and says what was not as it must be. */
import { join } from 'node:path';
import { readCounter } from '../integration/recorder-counter.ts';
import { type RecordedFile, recordedFiles } from '../integration/recorder-process.ts';
import { containersOf, isRunning, ownContainers } from '../integration/station-devices.ts';
import { overlaps, type RecorderRun, recorderRuns } from '../integration/station-observation.ts';
import type { DeviceColumns } from '../integration/test-station.ts';
import type { ChaosMicrophone, ChaosWorld } from './chaos-faults.ts';

export interface Findings {
  /** Sentences; none of them is how it must be. */
  problems: string[];
  recorderRuns: number;
  files: number;
  frames: number;
}

/** The engine writes its records in whole seconds here and there, and a signal takes its time. */
const CLOCK_SLACK_MS = 1500;
/** A cause may take so long to end a recorder: engine and controller may be frozen in between. */
const CAUSE_REACHES_MS = 90_000;

/** True once every microphone does what its row says, in effect. */
export async function hasConverged({ station, microphones }: ChaosWorld): Promise<boolean> {
  const rows = new Map((await station.devices()).map((row) => [row.id, row]));
  const settled = microphones.map(async ({ id }) => {
    const row = rows.get(id);
    if (row === undefined || row.status !== 'online' || row.generation !== row.observed_generation) return false;
    const running = (await containersOf(station, id)).filter(isRunning);
    return row.enabled
      ? row.phase === 'recording' && running.length === 1
      : row.phase === 'disabled' && running.length === 0;
  });
  return (await Promise.all(settled)).every(Boolean);
}

const MOST_JUMPS_TOLD = 5;

/** To be asked once all is calm. */
export async function judge(world: ChaosWorld): Promise<Findings> {
  const problems: string[] = [];
  const { station, microphones } = world;
  const rows = new Map((await station.devices()).map((row) => [row.id, row]));
  let runCount = 0;
  let files = 0;
  let frames = 0;
  for (const microphone of microphones) {
    const row = rows.get(microphone.id);
    if (row === undefined) problems.push(`${microphone.id} has no row any more.`);
    else problems.push(...lostEdits(microphone, row));
    const runs = await recorderRuns(station, microphone.id);
    runCount += runs.length;
    for (const [one, other] of overlaps(runs))
      problems.push(`Two recorders on ${microphone.id}: ${one.containerId} and ${other.containerId}.`);
    problems.push(...needlessEnds(world, microphone, runs));
    const recorded = await recordedFiles(join(station.workspace, 'recorder', microphone.workspace));
    files += recorded.length;
    const gaps = lostFrames(microphone, recorded);
    frames += gaps.frames;
    problems.push(...gaps.problems);
  }
  problems.push(...(await unlimited(world)));
  return { problems, recorderRuns: runCount, files, frames };
}

function lostEdits({ id, wishes }: ChaosMicrophone, row: DeviceColumns): string[] {
  const settings: unknown = Reflect.get(row, 'settings');
  const segmentSeconds: unknown =
    typeof settings === 'object' && settings !== null ? Reflect.get(settings, 'segmentSeconds') : undefined;
  const found = { name: row.name, enabled: row.enabled, segmentSeconds };
  return Object.entries(wishes).flatMap(([key, possible]: [string, readonly unknown[]]) => {
    const value: unknown = Reflect.get(found, key);
    if (possible.includes(value)) return [];
    return [`An edit of ${id} is lost: ${key} is ${JSON.stringify(value)}, and was set to ${possible.join(' or ')}.`];
  });
}

/** A recorder that ended, though nothing was done to it or its microphone. */
function needlessEnds({ excuses }: ChaosWorld, { id }: ChaosMicrophone, runs: readonly RecorderRun[]): string[] {
  return runs.flatMap(({ containerId, beganMs, endedMs }) => {
    if (endedMs === null) return [];
    const why = excuses.find(
      ({ id: of, atMs }) =>
        of === id &&
        atMs >= beganMs - CAUSE_REACHES_MS &&
        atMs <= endedMs + CLOCK_SLACK_MS &&
        endedMs - atMs < CAUSE_REACHES_MS,
    );
    return why === undefined ? [`The recorder ${containerId.slice(0, 12)} of ${id} was ended without a reason.`] : [];
  });
}

/** The microphone counts its samples: within one run of a recorder none may be missing. */
function lostFrames(
  { id, uncountedRuns }: ChaosMicrophone,
  recorded: readonly RecordedFile[],
): { problems: string[]; frames: number } {
  const byRun = new Map<string, RecordedFile[]>();
  for (const file of recorded.filter(({ segment }) => !uncountedRuns.has(segment.run)))
    byRun.set(file.segment.run, [...(byRun.get(file.segment.run) ?? []), file]);
  const problems: string[] = [];
  let frames = 0;
  for (const [run, files] of byRun) {
    const counted = readCounter(files);
    frames += counted.frames;
    for (const { atFrame, missing } of counted.jumps.slice(0, MOST_JUMPS_TOLD))
      problems.push(`${missing} frames are missing in run ${run} of ${id}, before frame ${atFrame}.`);
  }
  return { problems, frames };
}

async function unlimited({ station }: ChaosWorld): Promise<string[]> {
  return (await ownContainers(station))
    .filter(({ HostConfig }) => !(Number(HostConfig.Memory) > 0 && Number(HostConfig.PidsLimit) > 0))
    .map(({ Name }) => `${Name} has no limits.`);
}
