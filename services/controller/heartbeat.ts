/**
 * Every ten seconds one heartbeat of the controller and one for each Tier 2 container, which has no Redis of its own.
 * Best effort: the station works without anybody listening.
 */
import { HEARTBEAT_INTERVAL_MS, type Heartbeat, type RecorderStatus } from '../shared/contract.ts';
import type { HostLoad } from './host-load.ts';
import type { Outcome } from './plan-outcome.ts';
import type { Snapshot } from './reconcile.ts';
import type { Bus, Clock, DependencyState, DeviceRow, Workspaces } from './world.ts';

/** What the controller counts of itself since it started. */
export interface Counters {
  cycles: number;
  cycleErrors: number;
  actions: number;
  failedActions: number;
  lastCycleMs: number;
  slowestCycleMs: number;
}

export interface HeartbeatSources {
  clock: Clock;
  bus: Bus;
  workspaces: Workspaces;
  version: string;
  hostLoad: () => Promise<HostLoad>;
  snapshot: () => Snapshot;
  counters: () => Counters;
  dependencies: () => DependencyState[];
}

/** Beats until the returned function is called. */
export function startHeartbeat(sources: HeartbeatSources): () => void {
  const startedAtMs = sources.clock.nowMs();
  const uptimeOf = createUptimes(sources.clock);
  let stopped = false;
  let cancel = (): void => {};
  const beat = async (): Promise<void> => {
    // Nobody there to hear: no files are read for nothing.
    if (sources.bus.dependency().state === 'up') {
      const uptimeSeconds = (sources.clock.nowMs() - startedAtMs) / 1000;
      const all = [...(await collect(sources, uptimeSeconds)), ...serviceHeartbeats(sources, uptimeOf)];
      await Promise.all(all.map((heartbeat) => sources.bus.publish(heartbeat)));
    }
    if (!stopped) cancel = sources.clock.timer(HEARTBEAT_INTERVAL_MS, () => void beat());
  };
  cancel = sources.clock.timer(0, () => void beat());
  return () => {
    stopped = true;
    cancel();
  };
}

async function collect(sources: HeartbeatSources, uptimeSeconds: number): Promise<Heartbeat[]> {
  const snapshot = sources.snapshot();
  const at = sources.clock.wallMs();
  const active = snapshot.devices.filter((row) => row.phase === 'recording' || row.phase === 'starting');
  const recorders = active.map(async (row) =>
    recorderHeartbeat(row, await sources.workspaces.readStatus(row.workspace), sources.version, at),
  );
  const hostLoad = await sources.hostLoad();
  const controller: Heartbeat = {
    schema: 1,
    service: 'controller',
    instance: 'controller',
    version: sources.version,
    at,
    uptimeSeconds,
    phase: 'running',
    reason: 'Running',
    message: snapshot.line,
    details: {
      ...sources.counters(),
      stationId: snapshot.stationId,
      active: active.length,
      failed: snapshot.devices.filter(
        (row) => row.phase === 'backoff' || row.phase === 'blocked' || row.phase === 'stalled',
      ).length,
      dependencies: sources.dependencies(),
      ...hostLoad,
    },
  };
  return [controller, ...(await Promise.all(recorders))];
}

/** How long each service has run, in seconds, as far as this controller has seen; of those that are asked for together. */
function createUptimes(clock: Clock) {
  let sinceMs = new Map<string, number>();
  return (names: readonly string[]): Map<string, number> => {
    const nowMs = clock.nowMs();
    sinceMs = new Map(names.map((name) => [name, sinceMs.get(name) ?? nowMs]));
    return new Map([...sinceMs].map(([name, ms]) => [name, (nowMs - ms) / 1000]));
  };
}

/** Of those of the catalogue that run. What they have of their own to tell is in their sentence. */
function serviceHeartbeats(
  { snapshot, clock, version }: HeartbeatSources,
  uptimeOf: ReturnType<typeof createUptimes>,
): Heartbeat[] {
  const running = snapshot().outcomes.flatMap(({ target, ...told }: Outcome) =>
    target?.kind === 'service' && (told.phase === 'running' || told.phase === 'starting')
      ? [{ ...told, name: target.name }]
      : [],
  );
  const uptimes = uptimeOf(running.map(({ name }) => name));
  return running.map(({ name, phase, reason, message }) => ({
    schema: 1,
    service: name,
    instance: name,
    version,
    at: clock.wallMs(),
    uptimeSeconds: uptimes.get(name) ?? 0,
    phase,
    reason,
    message: message.slice(0, 500),
    details: {},
  }));
}

function recorderHeartbeat(
  row: DeviceRow,
  status: { ok: true; value: RecorderStatus | null } | { ok: false; error: string },
  version: string,
  at: number,
): Heartbeat {
  const told = status.ok ? status.value : null;
  return {
    schema: 1,
    service: 'recorder',
    instance: `recorder-${row.workspace}`,
    version,
    at,
    // What it has captured is how long it has been at work.
    uptimeSeconds: told === null || told.rate === 0 ? 0 : told.frames / told.rate,
    phase: row.phase,
    reason: row.reason,
    message: row.message.slice(0, 500),
    details: { deviceId: row.id, status: told, statusError: status.ok ? null : status.error },
  };
}
