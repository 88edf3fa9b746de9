/** The bus of the tests, and the one within a process, keep the contract of the port. */
import { createInProcessBus } from '../../services/controller/bus.ts';
import type { Heartbeat, LogLine } from '../../services/shared/contract.ts';
import { createManualClock, createWorld } from '../unit/in-memory-world.ts';
import { type BusHarness, describeBus } from './bus-contract.ts';
import { passing } from './passing-time.ts';

describeBus('in memory', async (): Promise<BusHarness> => {
  const clock = createManualClock();
  const { state, ports } = createWorld(clock);
  return {
    bus: ports.bus,
    ...passing((byMs) => clock.advance(byMs)),
    nudge: async () => ports.bus.nudge(),
    hearHeartbeats: async () => state.heartbeats,
    async readLogs() {
      const lines: LogLine[] = [];
      state.logReaders.add(lines);
      return { lines, stop: async () => void state.logReaders.delete(lines) };
    },
    outage: {
      goAway: async () => ports.bus.setAway(true),
      comeBack: async () => ports.bus.setAway(false),
    },
    close: async () => {},
  };
});

describeBus('within one process', async (): Promise<BusHarness> => {
  const bus = createInProcessBus();
  const clock = createManualClock();
  return {
    bus,
    ...passing((byMs) => clock.advance(byMs)),
    nudge: async () => bus.nudge(),
    async hearHeartbeats() {
      const heard: Heartbeat[] = [];
      bus.onHeartbeat((heartbeat) => heard.push(heartbeat));
      return heard;
    },
    async readLogs() {
      const lines: LogLine[] = [];
      const cancel = bus.onLog((one) => lines.push(one));
      return { lines, stop: async () => cancel() };
    },
    outage: null,
    close: async () => {},
  };
});
