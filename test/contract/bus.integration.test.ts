/** A real Redis keeps the contract of the port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { createRedisBus } from '../../services/controller/bus.ts';
import { createClock } from '../../services/shared/clock.ts';
import {
  CHANNEL,
  type Heartbeat,
  heartbeatSchema,
  type LogLine,
  logLineSchema,
} from '../../services/shared/contract.ts';
import { silentLog } from '../integration/engine.ts';
import { startRedis } from '../integration/redis.ts';
import { until } from '../integration/store-fixture.ts';
import { type BusHarness, describeBus } from './bus-contract.ts';

const START_LINES = 3;

describeBus('Redis', async (): Promise<BusHarness> => {
  const redis = await startRedis();
  const stops: (() => Promise<void>)[] = [];
  /** Every third line of redis-cli is what was published. */
  const listen = async (channel: string, onMessage: (text: string) => void): Promise<() => Promise<void>> => {
    const port = new URL(redis.url).port;
    const client = spawn('redis-cli', ['-p', port, '--raw', 'SUBSCRIBE', channel], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let count = 0;
    const subscribed = new Promise<void>((resolve) => {
      createInterface({ input: client.stdout }).on('line', (text) => {
        count += 1;
        if (count === START_LINES) resolve();
        else if (count > START_LINES && count % 3 === 0) onMessage(text);
      });
    });
    await subscribed;
    const stop = async (): Promise<void> => {
      if (client.exitCode !== null || client.signalCode !== null) return;
      const ended = once(client, 'exit');
      client.kill();
      await ended;
    };
    stops.push(stop);
    return stop;
  };
  return {
    bus: createRedisBus({ url: redis.url, clock: createClock(), log: silentLog, instance: 'contract' }),
    settle: (work) => work,
    until: async (what, holds) => void (await until(what, async () => ((await holds()) ? true : null))),
    nudge: () => redis.publish(CHANNEL.nudge, ''),
    async hearHeartbeats() {
      const heard: Heartbeat[] = [];
      await listen(CHANNEL.status, (text) => heard.push(heartbeatSchema.parse(JSON.parse(text))));
      return heard;
    },
    async readLogs() {
      const lines: LogLine[] = [];
      const stop = await listen(CHANNEL.logs, (text) => lines.push(logLineSchema.parse(JSON.parse(text))));
      return { lines, stop };
    },
    outage: { goAway: redis.halt, comeBack: redis.resume },
    async close() {
      await Promise.all(stops.map((stop) => stop()));
      await redis.stop();
    },
  };
});
