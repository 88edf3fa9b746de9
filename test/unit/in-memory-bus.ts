/** A bus in memory, which can be away; of the unit tests, and of the simulation. */
import type { Bus, Clock } from '../../services/controller/world.ts';
import type { Heartbeat, LogLine } from '../../services/shared/contract.ts';

/** Who hears what is told on it. */
export interface BusListeners {
  onHeartbeat: ((heartbeat: Heartbeat) => void) | null;
  /** Each gets the log lines that are told while it is among them. */
  logReaders: ReadonlySet<LogLine[]>;
}

export type InMemoryBus = Bus & { nudge(): void; setAway(away: boolean): void };

export function createInMemoryBus({ onHeartbeat, logReaders }: BusListeners, clock: Clock): InMemoryBus {
  const sinceMs = clock.nowMs();
  let onNudge = (): void => {};
  let isAway = false;
  // Each subscription begins with a nudge: one may have been missed before it.
  const subscribe = (): void => {
    const callback = onNudge;
    clock.timer(0, () => onNudge === callback && !isAway && callback());
  };
  return {
    start: (callback) => {
      onNudge = callback;
      subscribe();
    },
    nudge: () => {
      if (!isAway) onNudge();
    },
    setAway(away) {
      isAway = away;
      if (!away) subscribe();
    },
    async publish(heartbeat) {
      if (!isAway) onHeartbeat?.(structuredClone(heartbeat));
      return !isAway;
    },
    logListeners: async () => (isAway ? 0 : logReaders.size),
    async publishLogs(lines) {
      if (!isAway) for (const reader of logReaders) reader.push(...structuredClone([...lines]));
      return !isAway;
    },
    dependency: () => ({ name: 'redis', state: isAway ? 'down' : 'up', message: '', sinceMs }),
    async stop() {
      onNudge = () => {};
    },
  };
}
