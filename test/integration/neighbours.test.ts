/** A slow, foreign or unwanted container beside the others: it delays nobody, and is touched only when it is ours. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LABEL } from '../../services/shared/contract.ts';
import { ASKED_TO_STOP_FILE, type DerivedImages, derivedImages, STUBBORN } from './derived-images.ts';
import {
  containerOf,
  inspect,
  isRunning,
  lives,
  ownContainers,
  ownLabels,
  phasesOf,
  rowOf,
  runBystander,
  untilAll,
  untilTold,
  virtualId,
  virtualIds,
} from './station-devices.ts';
import { stationEngine } from './station-engine.ts';
import { createTestStation, plainName, type RunningController, type TestStation } from './test-station.ts';
import { plainMicrophone } from './usb-devices.ts';

const TEN = virtualIds(10);
const ELEVENTH = virtualId(11);
const TWO = virtualIds(2);
const FIRST = virtualId(1);
const SECOND = virtualId(2);

let images: DerivedImages;
/** Eleven recorders that take no notice of SIGTERM. */
let stubborn: TestStation;
/** Two that do as they are told, on the same engine; stopped when its controller is. */
let tidy: TestStation;
let tidyController: RunningController;
/** Containers that no station may touch, as they were when they were made. */
const foreign: string[] = [];

beforeAll(async () => {
  images = derivedImages(stationEngine());
  await images.build(STUBBORN);
  const many = { SILVASONIC_VIRTUAL_MICROPHONES: '11', SILVASONIC_RECORDER_IMAGE: images.reference };
  const few = {
    SILVASONIC_VIRTUAL_MICROPHONES: '2',
    SILVASONIC_RECONCILE_INTERVAL_S: '1',
    SILVASONIC_ON_SHUTDOWN: 'stop',
  };
  [stubborn, tidy] = await Promise.all([
    createTestStation({ firstCard: 70, environment: many }),
    createTestStation({ firstCard: 75, environment: few }),
  ]);
  [tidyController] = await Promise.all([tidy.start(), stubborn.start()]);
  await Promise.all([untilAll(stubborn, 'recording', [...TEN, ELEVENTH]), untilAll(tidy, 'recording', TWO)]);
});

afterAll(async () => {
  await Promise.all([stubborn?.remove(), tidy?.remove()]);
  if (foreign.length > 0) await stationEngine().podman('rm', '--force', '--ignore', '--time', '0', ...foreign);
  await images?.remove();
});

/** Devices of the stubborn whose present recorder has been asked to stop. */
async function askedToStop(station: TestStation): Promise<string[]> {
  const rows = await station.devices();
  return rows
    .filter(({ workspace }) => existsSync(join(station.runPath, workspace, ASKED_TO_STOP_FILE)))
    .filter(({ phase }) => phase === 'stopping')
    .map(({ id }) => id);
}

describe('a limit that the host refuses costs no recording', () => {
  test('each recorder has all limits, or runs without and says which and what would help', async () => {
    const container = await containerOf(tidy, FIRST);
    expect(container.HostConfig).toMatchObject({ Memory: 512 * 1024 ** 2, NanoCpus: 1e9, PidsLimit: 64 });
    const score = Number(readFileSync(`/proc/${container.State.Pid}/oom_score_adj`, 'utf8'));
    const events = (await tidy.events()).filter(({ reason }) => reason === 'OomScoreRefused');
    const row = await untilTold(tidy, FIRST, { phase: 'recording' });
    if (score === -999) {
      // This host lets Podman protect its recorders: there is nothing to be told.
      expect(events).toEqual([]);
      expect(row.message).toBe('Recording.');
    } else {
      const sentence = expect.stringMatching(/OOM score \d+ instead of -999.*: (run|give) Podman/);
      expect(events.map(({ subject, type, message }) => ({ subject, type, message }))).toEqual(
        expect.arrayContaining(TWO.map((id) => ({ subject: `recorder:${id}`, type: 'warning', message: sentence }))),
      );
      expect(row.message).toEqual(sentence);
    }
  });
});

describe('recorders that take no notice of SIGTERM', () => {
  test('one that is being stopped delays nobody: a microphone plugged in meanwhile records before it is gone', async () => {
    const slow = await containerOf(stubborn, ELEVENTH);
    await stubborn.update(ELEVENTH, { enabled: false });
    await untilTold(stubborn, ELEVENTH, { phase: 'stopping' });
    stubborn.plug(plainMicrophone());
    const plugged = await stubborn.until('the plugged microphone records', async () => {
      const rows = await stubborn.devices();
      const row = rows.find(({ id, phase }) => id.startsWith('1234-5678') && phase === 'recording');
      // One reading for both: this is how things stood at one moment.
      return row === undefined ? null : { row, slowPhase: rows.find(({ id }) => id === ELEVENTH)?.phase };
    });
    expect(plugged.slowPhase).toBe('stopping');
    expect(isRunning(await containerOf(stubborn, plugged.row.id))).toBe(true);
    expect((await inspect(stubborn, [slow.Id])).every(isRunning)).toBe(true);
    expect(await askedToStop(stubborn)).toEqual([ELEVENTH]);
    await untilAll(stubborn, 'disabled', [ELEVENTH]);
  });

  test('ten that are switched off together are stopped together', async () => {
    const before = lives(await stubborn.containers());
    expect(before).toHaveLength(11);
    await stubborn.sql`update devices set enabled = false where id in ${stubborn.sql(TEN)}`;
    await stubborn.nudge();
    await stubborn.until('all ten have been asked', async () => (await askedToStop(stubborn)).length === TEN.length);
    expect(lives(await stubborn.containers())).toEqual(before);
    expect(await phasesOf(stubborn, TEN)).toEqual(TEN.map(() => 'stopping'));
    await untilAll(stubborn, 'disabled', TEN, 70_000);
    const left = await stubborn.containers();
    expect(left.map(({ Config }) => Config.Labels[LABEL.deviceId])).toEqual([expect.stringMatching(/^1234-5678/)]);
    expect(left.every(isRunning)).toBe(true);
  });
});

describe('two stations and strangers on one engine', () => {
  test('containers of ours that nobody asks for are removed, and the good one of several is kept', async () => {
    const before = lives(await tidy.containers());
    const stationId = await tidy.stationId();
    const recorder = { [LABEL.service]: 'recorder' };
    // It sleeps until they are all there: it is quick enough to remove one that Podman is still starting.
    tidyController.process.kill('SIGSTOP');
    const leftovers = await Promise.all([
      runBystander(tidy, 'orphan', ownLabels(stationId, { ...recorder, [LABEL.deviceId]: 'nobody' })),
      runBystander(tidy, 'unnamed', ownLabels(stationId)),
      runBystander(tidy, 'service', ownLabels(stationId, { [LABEL.service]: 'birdnet' })),
      runBystander(tidy, 'duplicate', ownLabels(stationId, { ...recorder, [LABEL.deviceId]: FIRST })),
      runBystander(tidy, 'unstarted', ownLabels(stationId, { ...recorder, [LABEL.deviceId]: SECOND }), 'create'),
    ]).finally(() => tidyController.process.kill('SIGCONT'));
    await tidy.until('the leftovers are gone', async () => {
      const ids = (await tidy.containers()).map(({ Id }) => Id);
      return !leftovers.some((id) => ids.includes(id));
    });
    // While a leftover goes, its device may say so.
    await untilAll(tidy, 'recording', TWO);
    expect(lives(await tidy.containers())).toEqual(before);
  });

  test('a stranger that holds our name blocks that one recorder, and nobody else is touched', async () => {
    const stationId = await tidy.stationId();
    const first = lives([await containerOf(tidy, FIRST)]);
    const name = plainName(await containerOf(tidy, SECOND));
    await tidy.update(SECOND, { enabled: false });
    await untilAll(tidy, 'disabled', [SECOND]);
    const device = { [LABEL.service]: 'recorder', [LABEL.deviceId]: FIRST };
    foreign.push(
      await runBystander(tidy, name, {}),
      await runBystander(tidy, `elsewhere-${stationId}`, ownLabels(randomUUID(), device)),
      await runBystander(tidy, `somebody-${stationId}`, { ...ownLabels(stationId, device), [LABEL.owner]: 'somebody' }),
    );
    const before = lives(await inspect(tidy, foreign));
    await tidy.update(SECOND, { enabled: true });
    const row = await untilTold(tidy, SECOND, { phase: 'blocked', reason: 'NameTaken' });
    expect(row.message).toContain(`podman rename ${name}`);
    expect(row.observed_generation).toBe(row.generation);
    expect(await phasesOf(tidy, [FIRST])).toEqual(['recording']);

    // As the message says.
    await tidy.engine.podman('rename', name, `renamed-${stationId}`);
    await tidy.update(SECOND, { restart_token: 'again' });
    await untilAll(tidy, 'recording', TWO);
    expect(lives([await containerOf(tidy, FIRST)])).toEqual(first);
    expect(lives(await inspect(tidy, foreign))).toEqual(before);
  });

  test('a station that stops its recorders leaves those of the other station and the strangers alone', async () => {
    const neighbours = lives(await stubborn.containers());
    const strangers = lives(await inspect(tidy, foreign));
    expect((await rowOf(stubborn, FIRST))?.id).toBe((await rowOf(tidy, FIRST))?.id);
    expect(await ownContainers(tidy)).toHaveLength(2);
    expect(await tidyController.kill('SIGTERM')).toBe(0);
    expect(await ownContainers(tidy)).toEqual([]);
    expect(neighbours).toHaveLength(1);
    expect(lives(await stubborn.containers())).toEqual(neighbours);
    expect(lives(await inspect(tidy, foreign))).toEqual(strangers);
  });
});
