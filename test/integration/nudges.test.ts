/**
 * When the controller looks: nudges that come, come in floods, and get lost with their Redis; a first start that has to
 * wait. And what it tells whoever asks at its port.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHANNEL, type Heartbeat } from '../../services/shared/contract.ts';
import {
  askController,
  asPage,
  change,
  inEffect,
  lives,
  readHealth,
  untilDown,
  untilWell,
} from './station-observation.ts';
import { createTestStation, type RunningController, type TestStation } from './test-station.ts';

const FIRST = '0000-0001-virtual-1';
const SECOND = '0000-0001-virtual-2';
const VIRTUAL = { SILVASONIC_VIRTUAL_MICROPHONES: '2' };

let station: TestStation;
let controller: RunningController;

describe('nudges, with an hour from tick to tick', () => {
  beforeAll(async () => {
    const environment = { ...VIRTUAL, SILVASONIC_RECONCILE_INTERVAL_S: '3600' };
    station = await createTestStation({ firstCard: 40, environment });
    controller = await station.start();
    for (const id of [FIRST, SECOND]) await station.untilPhase('recording', id);
    await untilWell(station, controller);
  });
  afterAll(async () => {
    await station?.remove();
  });

  test('a nudge is enough', async () => {
    await change(station, FIRST, { enabled: false });
    expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'disabled' });
    await change(station, FIRST, { enabled: true });
    expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
  });

  test('a flood of nudges costs at most ten cycles a second, and nobody a recording', async () => {
    const before = await lives(station);
    const heard = (await station.redis?.listen(CHANNEL.status)) ?? [];
    const nudges = 200;
    const script = `for i = 1, ${nudges} do redis.call('publish', '${CHANNEL.nudge}', '') end`;
    let sent = 0;
    const [first, second] = await station.until('two heartbeats came within the flood', async () => {
      await station.redis?.command('EVAL', script, '0');
      sent += nudges;
      const heartbeats = ofController(heard);
      return heartbeats.length >= 2 ? heartbeats : null;
    });
    expect(sent).toBeGreaterThan(2000);
    const cycles = cyclesOf(second) - cyclesOf(first);
    const seconds = (second?.uptimeSeconds ?? 0) - (first?.uptimeSeconds ?? 0);
    expect(cycles).toBeGreaterThan(seconds);
    // One may have begun just before the first heartbeat was written.
    expect(cycles).toBeLessThanOrEqual(10 * seconds + 1);
    expect(await lives(station)).toEqual(before);
  });

  test('Redis goes and comes back: what was missed is found, and nudges are heard again', async () => {
    const before = await lives(station);
    await station.redis?.halt();
    expect(await untilDown(station, controller, 'redis')).toMatchObject({ httpStatus: 200, status: 'degraded' });
    await asPage(station, (sql) => sql`update devices set enabled = false where id = ${FIRST}`);
    await station.redis?.resume();
    expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'disabled' });
    await untilWell(station, controller);
    await change(station, FIRST, { enabled: true });
    expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
    expect(await lives(station)).toMatchObject({ [SECOND]: before[SECOND] });
  });

  test('nothing but GET /healthy is answered', async () => {
    for (const [method, path] of [
      ['GET', '/'],
      ['GET', '/healthy/'],
      ['GET', '/metrics'],
      ['GET', '/%2e%2e/healthy'],
      ['HEAD', '/healthy'],
      ['POST', '/healthy'],
      ['DELETE', '/healthy'],
      ['OPTIONS', '*'],
    ] as const)
      expect(await askController(controller, method, path)).toEqual({ httpStatus: 404, body: '' });
    expect(await askController(controller, 'GET', '/healthy')).toMatchObject({ httpStatus: 200 });
  });
});

describe('a station that has never run', () => {
  beforeAll(async () => {
    station = await createTestStation({ firstCard: 40, redis: false, environment: VIRTUAL });
  });
  afterAll(async () => {
    await station?.remove();
  });

  test('waits for its database and says so; then it records', async () => {
    await station.database.shutDown();
    controller = await station.start();
    const health = await station.until('what is missing is told', async () => {
      const told = await readHealth(controller);
      const database = told.dependencies.find(({ name }) => name === 'database');
      return database?.state === 'down' && /is not running/.test(database.message) ? told : null;
    });
    expect(health).toMatchObject({ httpStatus: 200, status: 'degraded', message: expect.stringMatching(/database/) });
    await station.database.startAgain();
    for (const id of [FIRST, SECOND]) await station.untilPhase('recording', id);
    await untilWell(station, controller);
  });
});

function ofController(heartbeats: readonly string[]): Heartbeat[] {
  return heartbeats.map((line): Heartbeat => JSON.parse(line)).filter(({ service }) => service === 'controller');
}

const cyclesOf = (heartbeat: Heartbeat | undefined): number => Number(heartbeat?.details.cycles);
