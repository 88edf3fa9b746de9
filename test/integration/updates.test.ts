/** A new release reaches what runs by itself: one recorder at a time, and back again when it does not work. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { controllerSettings, createPorts, loadSeeds } from '../../services/controller/assembly.ts';
import { readConfig } from '../../services/controller/config.ts';
import { type Controller, createController } from '../../services/controller/controller.ts';
import { lastGoodReference } from '../../services/controller/observe.ts';
import type { MicrophoneSource } from '../../services/controller/world.ts';
import { type DerivedImages, derivedImages, startedBy } from './derived-images.ts';
import { silentLog } from './engine.ts';
import { containerOf, isRunning, lives, ownContainers, untilAll, untilTold, virtualIds } from './station-devices.ts';
import { stationEngine } from './station-engine.ts';
import { type RecorderRun, recorderRuns } from './station-observation.ts';
import { createTestStation, type InspectedContainer, type TestStation } from './test-station.ts';

const THREE = virtualIds(3);
/** Instead of a minute. */
const GOOD_AFTER_MS = 3000;

let images: DerivedImages;
let station: TestStation;
/** In this process, for the sake of `goodAfterMs`; all else is as in its own. */
let controller: Controller;

beforeAll(async () => {
  images = derivedImages(stationEngine());
  await images.build(['LABEL release=1']);
  station = await createTestStation({
    firstCard: 55,
    environment: {
      SILVASONIC_VIRTUAL_MICROPHONES: '3',
      SILVASONIC_RECONCILE_INTERVAL_S: '1',
      SILVASONIC_RECORDER_IMAGE: images.reference,
    },
  });
  const config = readConfig(station.environment, { insideContainer: false, packageFolder: station.packageFolder });
  if (!config.ok) throw new Error(config.problems.join('\n'));
  const seeds = loadSeeds(config.value, silentLog);
  const settings = controllerSettings(config.value, seeds, () => {});
  const ports = { ...createPorts(config.value, seeds, silentLog), microphones: noMicrophones };
  controller = createController(ports, { ...settings, goodAfterMs: GOOD_AFTER_MS });
  controller.start();
  await untilAll(station, 'recording', THREE);
});

afterAll(async () => {
  await controller?.stop();
  await station?.remove();
  await images?.remove();
});

/** Those that this machine may have are none of a test's business. */
const noMicrophones: MicrophoneSource = {
  start: () => {},
  read: () => ({ ok: true, value: [], startedAtMs: performance.now() }),
  holder: () => null,
  dependency: () => ({ name: 'usb', state: 'absent', message: 'There is no USB.', sinceMs: 0 }),
  stop: () => {},
};

async function untilLastGood(imageId: string): Promise<void> {
  const reference = lastGoodReference(images.reference);
  await station.until(`${imageId} is the last good one`, async () => (await images.idOf(reference)) === imageId);
}

const imageIdOf = ({ Image }: InspectedContainer): string => `sha256:${Image.replace('sha256:', '')}`;

async function untilAllRunOn(imageId: string): Promise<void> {
  await station.until(`all run on ${imageId}`, async () => {
    const ids = (await ownContainers(station)).filter(isRunning).map(imageIdOf);
    return (
      (ids.length === THREE.length && ids.every((id) => id === imageId)) || Promise.reject(new Error(ids.join(' ')))
    );
  });
  await untilAll(station, 'recording', THREE);
}

/** Between the end of one recorder of a device and the beginning of its next. Milliseconds of the engine's clock. */
interface Pause {
  fromMs: number;
  toMs: number;
}

async function pausesSince(beginMs: number): Promise<Pause[]> {
  const runs = await Promise.all(THREE.map((id) => recorderRuns(station, id)));
  const pauses = runs.flatMap((of: RecorderRun[]) =>
    of.slice(1).map((next, index) => ({ fromMs: of[index]?.endedMs ?? Number.NaN, toMs: next.beganMs })),
  );
  return pauses.filter(({ fromMs }) => fromMs >= beginMs).sort((a, b) => a.fromMs - b.fromMs);
}

test('with auto_update the recorders are renewed one after the other, each after the one before has run well', async () => {
  const first = await images.idOf(images.reference);
  await untilLastGood(first ?? '');
  const before = lives(await ownContainers(station));
  const second = await images.build(['LABEL release=2']);
  for (const id of THREE) await untilTold(station, id, { phase: 'recording', reason: 'UpdateWaiting' });
  expect(lives(await ownContainers(station))).toEqual(before);

  const beginMs = Date.now();
  await station.sql`
    insert into system_config (key, value) values ('auto_update', 'true'::jsonb)
    on conflict (key) do update set value = excluded.value`;
  await station.nudge();
  await untilAllRunOn(second);
  const pauses = await pausesSince(beginMs);
  expect(pauses).toHaveLength(THREE.length);
  for (const [index, pause] of pauses.slice(1).entries())
    expect(pause.fromMs - (pauses[index]?.toMs ?? Number.NaN)).toBeGreaterThanOrEqual(GOOD_AFTER_MS);
  await untilLastGood(second);
});

test('an image that does not work costs one recorder two starts: it is rolled back, and skipped until there is another', async () => {
  const good = await images.idOf(images.reference);
  const before = await Promise.all(THREE.map((id) => containerOf(station, id)));
  const beginMs = Date.now();
  await images.build(startedBy('exit 1'));
  await station.until('it is rolled back', async () => {
    const events = await station.events();
    const rolledBack = events.some(({ type, reason }) => type === 'warning' && reason === 'ImageRolledBack');
    return (
      rolledBack ||
      Promise.reject(
        new Error(
          events
            .slice(-5)
            .map(({ reason }) => reason)
            .join(' '),
        ),
      )
    );
  });
  await untilAllRunOn(good ?? '');
  const after = await Promise.all(THREE.map((id) => containerOf(station, id)));
  expect(after.filter(({ Id }) => before.every((old) => old.Id !== Id))).toHaveLength(1);
  const kept = after.filter(({ Id }) => before.some((old) => old.Id === Id));
  expect(lives(before)).toEqual(expect.arrayContaining(lives(kept)));
  // Twice with the bad one, then with the good one.
  expect(await pausesSince(beginMs)).toHaveLength(3);
  expect(await images.idOf(lastGoodReference(images.reference))).toBe(good);

  const mended = await images.build(['LABEL release=3']);
  await untilAllRunOn(mended);
});
