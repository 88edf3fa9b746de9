/** What every bus behind the port `Bus` does: the same cases for the fake, for the bus within one process and for a real Redis. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../services/controller/world.ts';
import type { Heartbeat, LogLine } from '../../services/shared/contract.ts';

/** A bus that is not started yet, and what others do on it. */
export interface BusHarness {
  bus: Bus;
  settle<T>(work: Promise<T>): Promise<T>;
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
  /** Somebody says "look again". */
  nudge(): Promise<void>;
  /** What is told from now on; grows. */
  hearHeartbeats(): Promise<Heartbeat[]>;
  /** Somebody reads logs until `stop`. */
  readLogs(): Promise<{ lines: LogLine[]; stop: () => Promise<void> }>;
  /** null: it lives within this process, and cannot be away. */
  outage: BusOutage | null;
  close(): Promise<void>;
}

export interface BusOutage {
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
}

const HEARTBEAT: Heartbeat = {
  ...{ schema: 1, service: 'controller', instance: 'controller', version: '0.0.0', at: 1_700_000_000_000 },
  ...{ uptimeSeconds: 5, phase: 'running', reason: 'Running', message: '3 of 4 recording: „Eulen“', details: { n: 3 } },
};

const line = (text: string): LogLine => ({
  ...{ schema: 1, service: 'recorder', instance: 'recorder-a', at: 1_700_000_000_000, stream: 'stderr', text },
});

export function describeBus(implementation: string, open: () => Promise<BusHarness>): void {
  describe(`the bus port: ${implementation}`, () => {
    let harness: BusHarness;
    let nudges: number;
    beforeEach(async () => {
      harness = await open();
      nudges = 0;
    });
    afterEach(async () => {
      await harness?.bus.stop();
      await harness?.close();
    });
    const start = async (): Promise<void> => {
      harness.bus.start(() => {
        nudges += 1;
      });
      await harness.until('it is up', () => harness.bus.dependency().state === 'up');
      await subscribed(0);
    };
    /** What may have been missed before a subscription is taken as one nudge. */
    const subscribed = async (before: number): Promise<void> => {
      if (harness.outage !== null) await harness.until('a nudge is taken as missed', () => nudges === before + 1);
    };

    test('each nudge is heard', async () => {
      await start();
      for (let count = 0; count < 3; count += 1) {
        const before = nudges;
        await harness.nudge();
        await harness.until('it is heard', () => nudges === before + 1);
      }
    });

    test('heartbeats are told as they are given', async () => {
      await start();
      const heard = await harness.hearHeartbeats();
      expect(await harness.settle(harness.bus.publish(HEARTBEAT))).toBe(true);
      await harness.until('it is heard', () => heard.length > 0);
      expect(heard).toEqual([HEARTBEAT]);
    });

    test('logs: who reads is counted, lines come in their order, and nobody is left when he has gone', async () => {
      await start();
      expect(await harness.settle(harness.bus.logListeners())).toBe(0);
      const reader = await harness.readLogs();
      await harness.until('he is counted', async () => (await harness.settle(harness.bus.logListeners())) === 1);
      const told = ['first', 'second', 'Käuzchen 🦉'].map(line);
      expect(await harness.settle(harness.bus.publishLogs(told))).toBe(true);
      await harness.until('all are heard', () => reader.lines.length === told.length);
      expect(reader.lines).toEqual(told);
      await reader.stop();
      await harness.until('nobody is counted', async () => (await harness.settle(harness.bus.logListeners())) === 0);
    });

    test('away: nobody could be told and nobody is asked; back again, a nudge is taken as missed', async () => {
      await start();
      const { outage } = harness;
      if (outage === null) return expect(harness.bus.dependency().state).toBe('up');
      const heard = await harness.hearHeartbeats();
      const reader = await harness.readLogs();
      await outage.goAway();
      await harness.until('it is down', () => harness.bus.dependency().state === 'down');
      expect(await harness.settle(harness.bus.publish(HEARTBEAT))).toBe(false);
      expect(await harness.settle(harness.bus.publishLogs([line('lost')]))).toBe(false);
      expect(await harness.settle(harness.bus.logListeners())).toBe(0);
      expect([heard, reader.lines]).toEqual([[], []]);
      const before = nudges;
      await outage.comeBack();
      await subscribed(before);
      expect(harness.bus.dependency().state).toBe('up');
      await harness.nudge();
      await harness.until('it is heard', () => nudges === before + 2);
      await harness.until('it can be told', () => harness.settle(harness.bus.publish(HEARTBEAT)));
    });

    test('after the end nothing is heard any more', async () => {
      await start();
      await harness.bus.stop();
      const before = nudges;
      await harness.nudge();
      expect(nudges).toBe(before);
    });
  });
}
