/** A service of the catalogue on a real station: the processor works on what a recorder has finished. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestStation, type TestStation } from './test-station.ts';

let station: TestStation;

beforeAll(async () => {
  const environment = { SILVASONIC_VIRTUAL_MICROPHONES: '1' };
  station = await createTestStation({ firstCard: 90, services: true, environment });
  await station.start();
});

afterAll(() => station.remove());

const service = async () => {
  const [row] = await station.sql<
    { phase: string; reason: string; message: string; generation: number; observed_generation: number }[]
  >`
    select phase, reason, message, generation, observed_generation from system_services where name = 'processor'`;
  return row;
};
const processors = async () => (await station.containers()).filter(({ Name }) => Name.endsWith('-processor'));

test('the processor runs confined, and makes copy, picture and overview of a finished recording', async () => {
  const { id, workspace } = await station.untilPhase('recording');
  await station.update(id, { settings: station.sql.json({ segmentSeconds: 2, gainDb: 6 }) });
  await station.until('the processor runs', async () => (await service())?.phase === 'running');
  const [container] = await processors();
  expect(container?.HostConfig).toMatchObject({
    NetworkMode: 'none',
    ReadonlyRootfs: true,
    Memory: 384 * 1024 * 1024,
    OomScoreAdj: 500,
  });
  const processed = join(station.workspace, 'recorder', workspace, 'data', 'processed');
  const made = (): string[] =>
    existsSync(processed)
      ? readdirSync(processed, { recursive: true, encoding: 'utf8' }).map((name) => name.replace(/^.*\./, '.'))
      : [];
  await station.until(
    'all is made of a recording',
    () => ['.flac', '.png', '.json'].every((ending) => made().includes(ending)),
    90_000,
  );
});

test('switched off it goes, the recorder stays; a setting out of its range is told', async () => {
  const recorders = async () =>
    (await station.containers())
      .filter(({ Name }) => !Name.endsWith('-processor'))
      .map(({ Id, State }) => [Id, State.StartedAt]);
  const before = await recorders();
  await station.sql`update system_services set enabled = false where name = 'processor'`;
  await station.nudge();
  await station.until('the processor is gone', async () => (await processors()).length === 0);
  expect(
    await station.until('that is told', async () => ((await service())?.phase === 'disabled' ? await service() : null)),
  ).toMatchObject({ reason: 'SwitchedOff' });
  await station.sql`update system_services set enabled = true, settings = ${station.sql.json({ reservePercent: 400 })} where name = 'processor'`;
  await station.nudge();
  const told = await station.until('the mistake is told', async () =>
    (await service())?.phase === 'blocked' ? await service() : null,
  );
  expect(told.message).toContain('reservePercent: 400 was given');
  expect(await recorders()).toEqual(before);
});
