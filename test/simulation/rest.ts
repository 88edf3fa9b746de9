/** The faults stop; in a bounded time what is wished runs and advances, nothing else does, every row says so, and it stays so. */

import type { DeviceRow } from '../../services/controller/world.ts';
import { UPDATE_WAITING } from '../../services/shared/contract.ts';
import { UMIK_PROFILE } from '../unit/sample-world.ts';
import { checkInvariants, records } from './invariants.ts';
import { cause, fail, note, type Run, stickOf } from './run.ts';
import { GOOD_AFTER_MS, TICK_MS } from './simulated-controller.ts';
import { HELPER, QUIET_DATABASE } from './simulated-database.ts';
import { quietFaults } from './simulated-engine.ts';
import { isRunning, isWell } from './simulated-recorder.ts';
import { FIRST_IMAGE_ID, QUIET_DISK, RECORDER_IMAGE } from './simulated-station.ts';
import { isPluggedIn, isVirtual, portPathOf } from './simulated-usb.ts';

/** Longer than the longest back-off, the hold of a flapping plug, and the retry of what was blocked. */
const REST_MS = 700_000;
/** One recorder after the other takes a new release, the next when this one has proven itself. */
const UPDATE_MS = 120_000;
const LOOK_EVERY_MS = 10_000;
/**
 * So long after all is as wished there may be news: a release is noticed at every other tick, and what runs well for a
 * minute proves its image, which others may then wait for.
 */
const NEWS_MS = GOOD_AFTER_MS + 2 * TICK_MS + 10_000;
/** After that nothing happens any more. Longer than a stall takes, and than a tick. */
const QUIET_MS = 40_000;

/** `thorough`: looks on for the whole time, not only until it has stayed as it should be for long. */
export async function comeToRest(run: Run, thorough: boolean): Promise<void> {
  const { station } = run;
  note(run, () => '--- the faults stop');
  endFaults(run);
  const beganMs = station.clock.nowMs();
  let restedSinceMs: number | null = null;
  let writes = 0;
  let complaint: string | null = 'nobody has looked';
  const boundMs = REST_MS + UPDATE_MS * station.sticks.length;
  while (station.clock.nowMs() - beganMs < boundMs && run.failure === null) {
    mendEdits(run);
    await station.clock.advance(LOOK_EVERY_MS, () => checkInvariants(run, false));
    complaint = findComplaint(run);
    const restedMs = restedSinceMs === null ? 0 : station.clock.nowMs() - restedSinceMs;
    if (complaint !== null) {
      if (restedMs > NEWS_MS) break;
      restedSinceMs = null;
      continue;
    }
    restedSinceMs ??= station.clock.nowMs();
    if (restedMs <= NEWS_MS) writes = station.database.writes;
    if (restedMs > NEWS_MS + QUIET_MS && !thorough) break;
  }
  if (complaint !== null) fail(run, `at rest ${complaint}`);
  if (station.database.writes !== writes) fail(run, 'at rest the database is written to');
}

function endFaults(run: Run): void {
  const { station } = run;
  const { engine, database, disk } = station;
  for (const [name, { end }] of run.lasting) {
    run.lasting.delete(name);
    end();
  }
  Object.assign(engine.faults, quietFaults);
  Object.assign(database.faults, QUIET_DATABASE);
  Object.assign(disk.faults, QUIET_DISK);
  Object.assign(station, { usbFails: false });
  station.freezeController(0);
  station.killAtEffect(Number.POSITIVE_INFINITY);
  engine.registry.away = false;
  engine.behaviours.clear();
  engine.badImages.clear();
  engine.images.set(RECORDER_IMAGE, engine.images.get(RECORDER_IMAGE) ?? FIRST_IMAGE_ID);
  cause(run, '*');
  for (const container of engine.containers.values()) {
    if (run.foreign.has(container.id)) continue;
    if (container.state === 'moving') container.state = 'live';
    if (!isWell(container.behaviour) || container.behaviour !== 'good') engine.kill(container, 1);
  }
  for (const stick of station.sticks) Object.assign(stick, { missed: false, cardLate: false });
  if (station.controller() === null) station.startController();
  station.plugChanged();
  station.available();
}

/** A person mends what the page calls unusable; what a restored database brings back, again. */
function mendEdits({ station }: Run): void {
  const { database } = station;
  const { profiles, devices, stationId } = database.state;
  if (stationId !== station.disk.marker) return;
  if (profiles.every(({ config }) => config.ok) && devices.every(({ settings }) => settings.ok)) return;
  database.state = {
    ...database.state,
    profiles: profiles.map((profile) => (profile.config.ok ? profile : { ...profile, config: UMIK_PROFILE.config })),
    devices: devices.map((row) => ({
      ...row,
      settings: row.settings.ok ? row.settings : { ok: true, value: {} },
      generation: row.generation + 1,
    })),
  };
  station.nudge();
}

/** What is not as it should be; null: all is. */
function findComplaint(run: Run): string | null {
  const { station } = run;
  const { devices, services, config } = station.database.state;
  const containers = [...station.engine.containers.values()].filter(({ id }) => !run.foreign.has(id));
  for (const row of devices) {
    const running = containers.filter((one) => one.deviceId === row.id && isRunning(one));
    const told = `(${row.phase}, ${row.reason}, generation ${row.observedGeneration} of ${row.generation})`;
    const expected = expectedPhase(run, row);
    if (row.phase !== expected) return `${row.id} should be ${expected} ${told}`;
    if (running.length !== (expected === 'recording' ? 1 : 0))
      return `${running.length} recorders of ${row.id} run ${told}`;
    if (row.observedGeneration !== row.generation) return `a change of ${row.id} is not in effect ${told}`;
    if (config.autoUpdate && row.message.includes(UPDATE_WAITING.message))
      return `${row.id} waits for its update ${told}`;
    const [recorder] = running;
    if (recorder !== undefined && run.made.get(recorder.id)?.stick !== stickOf(run, row))
      return `${row.id} hears another microphone ${told}`;
  }
  const virtual = devices.filter((row) => isVirtual(row) && row.status === 'online').length;
  const { virtualMicrophones: wished } = station;
  const most = wished.kind === 'fixed' ? wished.count : records(run) ? 0 : 1;
  if (virtual > most || (wished.kind === 'fixed' && virtual < most))
    return `${virtual} virtual microphones are plugged in, not ${most}`;
  const helper = services.find(({ name }) => name === HELPER.name);
  const helpers = containers.filter(({ spec, state }) => spec.image === HELPER.image && state === 'live').length;
  if (helpers !== (helper?.enabled ? 1 : 0)) return `${helpers} helpers run`;
  if (helper?.phase !== (helper?.enabled ? 'running' : 'disabled')) return `the helper is ${helper?.phase}`;
  const wanted = devices.filter((row) => row.phase === 'recording').length + helpers;
  if (containers.length !== wanted)
    return `there is more than is wanted: ${containers.map((one) => `${one.spec.name} ${one.state}`).join(', ')}`;
  for (const stick of station.sticks.filter(isPluggedIn)) {
    const rows = devices.filter((row) => stickOf(run, row) === stick);
    if (rows.length !== 1) return `${rows.length} rows know the microphone on ${portPathOf(stick)}`;
  }
  const gone = [...run.foreign].find((id) => station.engine.containers.get(id)?.state !== 'live');
  return gone === undefined ? null : `a container of others is gone (${gone})`;
}

/** The rule, said once more and in other words than the code says it. */
function expectedPhase(run: Run, row: DeviceRow): string {
  if (row.enrollmentStatus === 'ignored') return 'ignored';
  if (stickOf(run, row) === undefined) return 'offline';
  if (row.enrollmentStatus === 'pending') return 'pending';
  if (!row.enabled) return 'disabled';
  return row.profileSlug === null ? 'pending' : 'recording';
}
