/** Recorders that die, hang, fall silent, lie or cannot start: each is told, repaired if it can be, and disturbs nobody. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  RECORDER_PATH,
  type RecorderStatus,
  STATUS_FILE,
  WORKSPACE_MARKER_FILE,
} from '../../services/shared/contract.ts';
import { type DerivedImages, derivedImages, startedBy } from './derived-images.ts';
import {
  containerOf,
  containersOf,
  health,
  lives,
  rowOf,
  untilAll,
  untilReplaced,
  untilTold,
  virtualId,
} from './station-devices.ts';
import { stationEngine } from './station-engine.ts';
import { recorderRuns } from './station-observation.ts';
import { createTestStation, type RunningController, type TestStation } from './test-station.ts';
import { plainMicrophone } from './usb-devices.ts';

/** As ids are made: vendor, product, serial. */
const microphoneId = (serial: string): string => `1234-5678-${serial}`;
const SERIALS = ['ash', 'birch', 'cedar', 'dogwood', 'elder'];
const ASH = microphoneId('ash');
const BIRCH = microphoneId('birch');
const CEDAR = microphoneId('cedar');
const DOGWOOD = microphoneId('dogwood');
const ELDER = microphoneId('elder');
const FOUR = [ASH, BIRCH, CEDAR, DOGWOOD];
/** Nothing is ever done to it: whatever happens to the others, its recorder is the same until the end. */
const NEIGHBOUR = virtualId(1);

/** A file in a device's workspace with shell commands: its next recorders carry them out instead of recording. */
const MISDEED_FILE = 'misdeed';
const RECORDER_OR_MISDEED = startedBy(
  `deed=$(cat ${RECORDER_PATH.workspace}/${MISDEED_FILE} 2>/dev/null); [ -n "$deed" ] || exec node /app/recorder.js; ` +
    `trap 'exit 0' TERM; cd ${RECORDER_PATH.run}; eval "$deed"; while :; do sleep 0.2; done`,
);

let images: DerivedImages;
let absent: DerivedImages;
let station: TestStation;
let controller: RunningController;
let neighbour: string[];
/** Since then `ELDER`'s recorder ends with 1 as soon as it has started. Unix milliseconds. */
let crashingSinceMs: number;

beforeAll(async () => {
  images = derivedImages(stationEngine());
  absent = derivedImages(stationEngine());
  await images.build(RECORDER_OR_MISDEED);
  station = await createTestStation({
    firstCard: 60,
    environment: {
      SILVASONIC_VIRTUAL_MICROPHONES: '1',
      SILVASONIC_RECONCILE_INTERVAL_S: '2',
      SILVASONIC_STALL_TIMEOUT_S: '6',
      SILVASONIC_RECORDER_IMAGE: images.reference,
    },
  });
  for (const serial of SERIALS) station.plug(plainMicrophone({ serial }));
  controller = await station.start();
  await untilAll(station, 'recording', [...FOUR, ELDER, NEIGHBOUR]);
  neighbour = lives([await containerOf(station, NEIGHBOUR)]);
  await plan(ELDER, 'exit 1');
  crashingSinceMs = Date.now();
  await station.engine.podman('kill', (await containerOf(station, ELDER)).Id);
});

afterAll(async () => {
  await station?.remove();
  await images?.remove();
  await absent?.remove();
});

async function workspaceOf(id: string): Promise<string> {
  const row = await rowOf(station, id);
  if (row === undefined) throw new Error(`there is no ${id}`);
  return row.workspace;
}

async function feed(id: string, mode: string): Promise<void> {
  station.feed(await workspaceOf(id), mode);
}

/** What the device's next recorders do. */
async function plan(id: string, misdeed: string): Promise<void> {
  writeFileSync(await misdeedFile(id), misdeed);
}

async function misdeedFile(id: string): Promise<string> {
  return join(station.workspace, 'recorder', await workspaceOf(id), MISDEED_FILE);
}

async function statusOf(id: string): Promise<RecorderStatus> {
  return JSON.parse(readFileSync(join(station.runPath, await workspaceOf(id), STATUS_FILE), 'utf8'));
}

/** How often this was told of a device. */
async function timesTold(id: string, reason: string): Promise<number> {
  const events = (await station.events()).filter(
    (event) => event.subject === `recorder:${id}` && event.reason === reason,
  );
  return events.reduce((sum, { count }) => sum + count, 0);
}

async function expectNeighbourUntouched(): Promise<void> {
  expect((await rowOf(station, NEIGHBOUR))?.phase).toBe('recording');
  expect(lives([await containerOf(station, NEIGHBOUR)])).toEqual(neighbour);
}

test('killed, or removed by somebody: it runs again', async () => {
  const [ash, birch] = await Promise.all([containerOf(station, ASH), containerOf(station, BIRCH)]);
  await station.engine.podman('kill', ash.Id);
  await station.engine.podman('rm', '--force', '--time', '0', birch.Id);
  await Promise.all([untilReplaced(station, ASH, ash), untilReplaced(station, BIRCH, birch)]);
  expect(await timesTold(ASH, 'Killed')).toBe(1);
  await expectNeighbourUntouched();
});

test('silent: told, never restarted; and told again when there is sound', async () => {
  const before = lives([await containerOf(station, ASH)]);
  await feed(ASH, 'silent');
  const row = await untilTold(station, ASH, { phase: 'recording', reason: 'Silent' });
  expect(row.message).toMatch(/nothing is heard/);
  const { run, frames, rate } = await statusOf(ASH);
  // Longer than it takes to call frames that stand still a stall.
  await station.until('eight seconds more are recorded', async () => (await statusOf(ASH)).frames >= frames + 8 * rate);
  expect((await statusOf(ASH)).run).toBe(run);
  expect(await timesTold(ASH, 'Silent')).toBe(1);
  await feed(ASH, 'tone');
  await untilTold(station, ASH, { phase: 'recording', reason: 'Recording' });
  expect(lives([await containerOf(station, ASH)])).toEqual(before);
});

test('frames that do not advance: told as stalled, and replaced', async () => {
  const before = await containerOf(station, BIRCH);
  await feed(BIRCH, 'stall');
  await station.until('the stall is told', async () => (await timesTold(BIRCH, 'Stalled')) > 0);
  await feed(BIRCH, 'tone');
  await untilReplaced(station, BIRCH, before);
  await expectNeighbourUntouched();
});

test('each way to end has its own phase, reason and cure', async () => {
  const ways = [
    { id: ASH, mode: 'unplug', phase: 'backoff', reason: 'MicrophoneGone', cure: /cable/ },
    { id: BIRCH, mode: 'busy', phase: 'backoff', reason: 'MicrophoneBusy', cure: /stop/ },
    { id: CEDAR, mode: 'denied', phase: 'blocked', reason: 'NoPermission', cure: /group audio/ },
    { id: DOGWOOD, mode: 'refused', phase: 'blocked', reason: 'FormatRefused', cure: /profile/ },
  ];
  for (const { id, mode } of ways) {
    await feed(id, mode);
    // Only unplugging is noticed by one that records already.
    if (mode !== 'unplug') await station.engine.podman('kill', (await containerOf(station, id)).Id);
  }
  await Promise.all(
    ways.map(async ({ id, phase, reason, cure }) => {
      const row = await untilTold(station, id, { phase, reason });
      expect(row.message).toMatch(cure);
      // What is blocked stays so until somebody acts: this is what the wish has come to.
      if (phase === 'blocked') expect(row.observed_generation).toBe(row.generation);
    }),
  );
  for (const { id, phase } of ways) {
    await feed(id, 'tone');
    if (phase === 'blocked') await station.update(id, { restart_token: 'mended' });
  }
  await untilAll(station, 'recording', FOUR);
  await expectNeighbourUntouched();
});

test('whatever stands where a status file belongs: it never blocks the controller and never counts as advancing', async () => {
  const victim = join('..', await workspaceOf(NEIGHBOUR), STATUS_FILE);
  const misdeeds: Record<string, string> = {
    [ASH]: `mkfifo ${STATUS_FILE}`,
    // Where it leads there is a recorder that advances: who follows it is deceived.
    [BIRCH]: `ln -s ${victim} ${STATUS_FILE}`,
    [CEDAR]: `while :; do head -c 5000 /dev/urandom > ${STATUS_FILE}; sleep 0.1; done`,
    [DOGWOOD]: `truncate -s 1G ${STATUS_FILE}`,
  };
  const stalledBefore = new Map(
    await Promise.all(FOUR.map(async (id) => [id, await timesTold(id, 'Stalled')] as const)),
  );
  for (const [id, misdeed] of Object.entries(misdeeds)) {
    const before = await containerOf(station, id);
    await plan(id, misdeed);
    await station.update(id, { restart_token: 'misdeed' });
    await station.until(`${id} runs its misdeed`, async () => (await containerOf(station, id)).Id !== before.Id);
  }
  const phases = new Set<string | undefined>();
  await station.until('all four are told as stalled', async () => {
    const { code, body } = await health(controller);
    expect([code, body.status]).toEqual([200, 'ok']);
    const told = await Promise.all(
      FOUR.map(async (id) => (await timesTold(id, 'Stalled')) > (stalledBefore.get(id) ?? 0)),
    );
    for (const id of FOUR) phases.add((await rowOf(station, id))?.phase);
    return told.every((each) => each);
  });
  expect([...phases]).not.toContain('recording');
  const { frames } = await statusOf(NEIGHBOUR);
  await station.until('the neighbour goes on', async () => (await statusOf(NEIGHBOUR)).frames > frames);
  await expectNeighbourUntouched();

  for (const id of FOUR) {
    rmSync(await misdeedFile(id));
    await station.update(id, { restart_token: 'good again' });
  }
  await untilAll(station, 'recording', FOUR);
});

test('one that ends with 1 for ever is started at most eight times a minute', async () => {
  const row = await untilTold(station, ELDER, { phase: 'backoff', reason: 'Crashed' });
  expect(row.message).toMatch(/code 1/);
  await station.until('a minute has passed', () => Date.now() >= crashingSinceMs + 60_000, 70_000);
  const starts = (await recorderRuns(station, ELDER)).filter(
    ({ beganMs }) => beganMs >= crashingSinceMs && beganMs < crashingSinceMs + 60_000,
  );
  expect(starts.length).toBeGreaterThanOrEqual(3);
  expect(starts.length).toBeLessThanOrEqual(8);
  rmSync(await misdeedFile(ELDER));
  await station.update(ELDER, { restart_token: 'mended' });
  await untilAll(station, 'recording', [ELDER]);
  await expectNeighbourUntouched();
});

test('the disk is not there: what runs goes on, nothing is started, and all is well when it is back', async () => {
  const marker = join(station.workspace, 'recorder', WORKSPACE_MARKER_FILE);
  const content = readFileSync(marker);
  const birch = lives([await containerOf(station, BIRCH)]);
  const ash = await containerOf(station, ASH);
  rmSync(marker);
  await untilTold(station, BIRCH, { phase: 'recording', reason: 'WorkspaceMissing' });
  await station.engine.podman('kill', ash.Id);
  const row = await untilTold(station, ASH, { phase: 'blocked', reason: 'WorkspaceMissing' });
  expect(row.message).toMatch(/is its disk mounted/);
  expect(row.message).toContain(await station.stationId());
  await station.until('its container is gone', async () => (await containersOf(station, ASH)).length === 0);
  expect(lives([await containerOf(station, BIRCH)])).toEqual(birch);
  await expectNeighbourUntouched();

  writeFileSync(marker, content);
  await untilTold(station, ASH, { phase: 'recording' });
  await untilTold(station, BIRCH, { phase: 'recording', reason: 'Recording' });
  expect(lives([await containerOf(station, BIRCH)])).toEqual(birch);
});

test('the image is not there: what runs goes on, what must be started says so and starts when there is one', async () => {
  await controller.kill('SIGTERM');
  controller = await station.start({ SILVASONIC_RECORDER_IMAGE: absent.reference });
  await station.engine.podman('kill', (await containerOf(station, ASH)).Id);
  const row = await untilTold(station, ASH, { phase: 'blocked', reason: 'ImageMissing' });
  expect(row.message).toContain(absent.reference);
  expect(row.message).toMatch(/build it|pull it/);
  await expectNeighbourUntouched();

  await absent.build(RECORDER_OR_MISDEED);
  await untilTold(station, ASH, { phase: 'recording' });
  expect((await containerOf(station, ASH)).Config.Image).toBe(absent.reference);
  await expectNeighbourUntouched();
});
