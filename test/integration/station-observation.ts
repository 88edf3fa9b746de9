/**
 * What can be seen of a station from outside while its controller works: which recorders ran when, whether
 * `observed_generation` tells the truth at every moment, what `/healthy` answers. And a person's hand: the page's role.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TransactionSql } from 'postgres';
import { LABEL, STATUS_FILE } from '../../services/shared/contract.ts';
import { PAGE_ROLE } from '../../services/shared/schema.ts';
import { ask, type HttpAnswer } from './engine-api.ts';
import type { DeviceColumns, RunningController, TestStation } from './test-station.ts';

// -------------------------------------------------------------------------------------------------- a person's hand

/** Statements with the rights of the page, in one transaction. */
export async function asPage<T>(station: TestStation, work: (sql: TransactionSql) => Promise<T>): Promise<T> {
  const done = await station.sql.begin(async (sql) => {
    await sql`set local role ${sql(PAGE_ROLE)}`;
    return { value: await work(sql) };
  });
  return done.value;
}

/** A person's change of one device on the page, with the nudge that follows. Answers with the new generation. */
export async function change(station: TestStation, id: string, columns: Record<string, unknown>): Promise<number> {
  const [row] = await asPage(
    station,
    (sql) => sql<{ generation: number }[]>`update devices set ${sql(columns)} where id = ${id} returning generation`,
  );
  if (row === undefined) throw new Error(`There is no device ${id}.`);
  await station.nudge();
  return row.generation;
}

// ----------------------------------------------------------------------------------------------------- recorders

export interface RecorderRun {
  containerId: string;
  /** Milliseconds of the engine's clock; null: still running. */
  beganMs: number;
  endedMs: number | null;
}

interface EngineEvent {
  ID: string;
  Status: string;
  Time: string;
  timeNano?: number;
}

/** Every run of a device's recorders so far, in order, from the engine's own records. */
export async function recorderRuns(station: TestStation, deviceId: string): Promise<RecorderRun[]> {
  const stationId = await station.stationId();
  const output = await station.engine.podman(
    ...['events', '--stream=false', '--since', '1h', '--format', '{{json .}}'],
    ...['--filter', `label=${LABEL.station}=${stationId}`],
  );
  const runs = new Map<string, RecorderRun>();
  for (const line of output.split('\n').filter((text) => text !== '')) {
    const event: EngineEvent & { Attributes?: Record<string, string> } = JSON.parse(line);
    if (event.Attributes?.[LABEL.deviceId] !== deviceId) continue;
    const atMs = Date.parse(event.Time);
    const run = runs.get(event.ID);
    if (event.Status === 'start') runs.set(event.ID, { containerId: event.ID, beganMs: atMs, endedMs: null });
    else if (event.Status === 'died' && run !== undefined) run.endedMs ??= atMs;
  }
  return [...runs.values()].sort((a, b) => a.beganMs - b.beganMs);
}

/** Pairs of runs that were there at one moment: two recorders on one microphone. */
export function overlaps(runs: readonly RecorderRun[]): [RecorderRun, RecorderRun][] {
  return runs.flatMap((run, index) =>
    runs
      .slice(index + 1)
      .filter((later) => run.endedMs === null || later.beganMs < run.endedMs)
      .map((later): [RecorderRun, RecorderRun] => [run, later]),
  );
}

/** Device id → the container that runs for it and when that began; equal later means that nobody touched it. */
export async function lives(station: TestStation): Promise<Record<string, string>> {
  const containers = await station.containers();
  return Object.fromEntries(
    containers
      .filter((container) => container.State.Status === 'running')
      .map((container) => [
        container.Config.Labels[LABEL.deviceId] ?? '',
        `${container.Id} since ${container.State.StartedAt}`,
      ]),
  );
}

// --------------------------------------------------------------------------------------------------------- truth

export interface TruthWatch {
  /** Sentences about moments at which a row claimed what was not so. */
  lies: string[];
  /** How often a claim of each kind was found true: a watch that saw nothing proves nothing. */
  confirmed: Record<string, number>;
  stop(): Promise<void>;
}

interface Claim {
  id: string;
  workspace: string;
  generation: number;
  phase: string;
  reason: string;
  profile_slug: string | null;
  serial: string | null;
  online: boolean;
  undecided: boolean;
  wanted: boolean;
}

const OFF_PHASES = ['offline', 'pending', 'ignored', 'disabled'];
/** What lets a recorder go on as it was although something else is wished. */
const GOES_ON_REASONS = ['ProfileInvalid', 'SettingsInvalid'];
const WATCH_PAUSE_MS = 60;

/**
 * Looks again and again, until stopped: whenever `observed_generation` equals `generation`, the change is in effect. Off:
 * nothing runs. Recording: a recorder of that profile runs and has captured. Blocked: a reason is given.
 */
export function watchTruth(station: TestStation): TruthWatch {
  const lies: string[] = [];
  const confirmed: Record<string, number> = {};
  const reached = new Set<string>();
  let stopped = false;
  const watch = async (): Promise<void> => {
    while (!stopped) {
      const before = await readClaims(station);
      const running = await runningRecorders(station);
      const after = new Map((await readClaims(station)).map((claim) => [claim.id, JSON.stringify(claim)]));
      for (const claim of before) {
        // Changed meanwhile: what was seen in between belongs to neither.
        if (after.get(claim.id) !== JSON.stringify(claim)) continue;
        const key = `${claim.id} ${claim.generation}`;
        const lie = contradiction(station, claim, running.get(claim.id) ?? [], reached.has(key));
        if (lie === null) {
          confirmed[claim.phase] = (confirmed[claim.phase] ?? 0) + 1;
          reached.add(key);
        } else lies.push(`${claim.id} at generation ${claim.generation} says ${claim.phase} (${claim.reason}): ${lie}`);
      }
      await new Promise((resolve) => setTimeout(resolve, WATCH_PAUSE_MS));
    }
  };
  const done = watch();
  return {
    lies,
    confirmed,
    async stop() {
      stopped = true;
      await done;
    },
  };
}

async function readClaims({ sql }: TestStation): Promise<Claim[]> {
  return await sql<Claim[]>`
    select id, workspace, generation, phase, reason, profile_slug, serial, decided_by is null as undecided,
      status = 'online' as online,
      status = 'online' and enabled and enrollment_status = 'enrolled' and profile_slug is not null as wanted
    from devices where generation = observed_generation order by id`;
}

/** null: it is as the row claims. A generation that was `reached` may be undone by hardware, not by being untrue. */
function contradiction(
  station: TestStation,
  claim: Claim,
  profiles: readonly string[],
  reached: boolean,
): string | null {
  if (!claim.wanted) {
    // Unplugging is no change of a person's: the row says so first, and the recorder is gone a moment later.
    if (!claim.online) return null;
    // Whom our rules take in records first, and its row follows: nobody wished otherwise.
    if (claim.undecided && profiles.length === 1) return null;
    if (!OFF_PHASES.includes(claim.phase)) return 'it is not wanted, and that is no phase of being off';
    return profiles.length === 0 ? null : `a recorder runs (${profiles.join(', ')})`;
  }
  if (GOES_ON_REASONS.includes(claim.reason)) return profiles.length <= 1 ? null : 'several recorders run';
  if (claim.phase === 'blocked') return claim.reason === '' ? 'no reason is given' : null;
  if (claim.phase !== 'recording') return reached ? null : 'it is wanted, and that is neither recording nor blocked';
  // A recorder hears at once that its plug was pulled; the row follows with the next look at USB.
  const isPulled = claim.serial !== null && !station.usb.serials().includes(claim.serial);
  if (profiles.length === 0 && reached && isPulled) return null;
  if (profiles.length !== 1) return `${profiles.length} recorders run`;
  if (profiles[0] !== claim.profile_slug) return `${profiles[0]} is recorded with instead of ${claim.profile_slug}`;
  return capturedFrames(station, claim.workspace) > 0 ? null : 'nothing has been captured';
}

function capturedFrames(station: TestStation, workspace: string): number {
  const status: { frames: number } = JSON.parse(readFileSync(join(station.runPath, workspace, STATUS_FILE), 'utf8'));
  return status.frames;
}

/** Device id → profiles of its running recorders. Asks the engine directly: a `podman` process each time would be too slow. */
async function runningRecorders(station: TestStation): Promise<Map<string, string[]>> {
  const filters = JSON.stringify({ label: [`${LABEL.station}=${await station.stationId()}`], status: ['running'] });
  const path = `/v1.41/containers/json?filters=${encodeURIComponent(filters)}`;
  const answer = await ask({ socketPath: station.engine.socketPath, path });
  const listed: { Labels: Record<string, string> }[] = JSON.parse(answer.body);
  const profiles = new Map<string, string[]>();
  for (const { Labels } of listed) {
    const id = Labels[LABEL.deviceId] ?? '';
    profiles.set(id, [...(profiles.get(id) ?? []), Labels[LABEL.profile] ?? '']);
  }
  return profiles;
}

// -------------------------------------------------------------------------------------------------------- health

export interface Health {
  httpStatus: number;
  status: string;
  message: string;
  dependencies: { name: string; state: string; message: string }[];
}

/** What `/healthy` says. */
export async function readHealth(controller: RunningController): Promise<Health> {
  const { httpStatus, body } = await askController(controller, 'GET', '/healthy');
  return { httpStatus, ...JSON.parse(body) };
}

/** Waits until `/healthy` says that a dependency is down. */
export async function untilDown(station: TestStation, controller: RunningController, name: string): Promise<Health> {
  return await station.until(`${name} is told to be down`, async () => {
    const health = await readHealth(controller);
    return health.dependencies.some((one) => one.name === name && one.state === 'down') ? health : null;
  });
}

/** Waits until `/healthy` misses nothing. */
export async function untilWell(station: TestStation, controller: RunningController): Promise<void> {
  await station.until('all is well', async () => (await readHealth(controller)).status === 'ok');
}

/** Any request to the controller's port. */
export function askController(controller: RunningController, method: string, path: string): Promise<HttpAnswer> {
  return ask({ host: '127.0.0.1', port: controller.healthPort, path, method });
}

/** Row of one device. */
export async function deviceRow(station: TestStation, id: string): Promise<DeviceColumns> {
  const row = (await station.devices()).find((device) => device.id === id);
  if (row === undefined) throw new Error(`There is no device ${id}.`);
  return row;
}

/** Waits until the last change of a device is in effect; answers with its row. */
export async function inEffect(station: TestStation, id: string): Promise<DeviceColumns> {
  return await station.until(`the change of ${id} is in effect`, async () => {
    const row = await deviceRow(station, id);
    return row.observed_generation === row.generation ? row : null;
  });
}
