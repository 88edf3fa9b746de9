/** What containers have written, and whoever follows it; of the unit tests, and of the simulation. */
import type { Clock, Engine, EngineLogLine } from '../../services/controller/world.ts';

export interface InMemoryLogs {
  write(containerId: string, stream: EngineLogLine['stream'], text: string): void;
  follow: Engine['followLog'];
}

/** The engine whose containers write, as it is now. */
export interface LoggingEngine {
  /** Whoever followed something is cut off. */
  isAway(): boolean;
  stateOf(containerId: string): 'live' | 'ended' | 'gone';
}

const LOOK_MS = 50;

export function createInMemoryLogs(clock: Clock, engine: LoggingEngine): InMemoryLogs {
  const logs = new Map<string, EngineLogLine[]>();
  return {
    write(containerId, stream, text) {
      const lines = logs.get(containerId) ?? [];
      const nanoseconds = String(clock.wallMs() % 1000).padStart(3, '0') + String(lines.length % 1e6).padStart(6, '0');
      const timestamp = `${String(Math.floor(clock.wallMs() / 1000)).padStart(11, '0')}.${nanoseconds}`;
      lines.push({ timestamp, stream, text });
      logs.set(containerId, lines);
    },
    follow(containerId, sinceMs, onLine, onEnd) {
      let told = 0;
      let isCancelled = false;
      const look = (): void => {
        if (isCancelled) return;
        const state = engine.isAway() ? 'gone' : engine.stateOf(containerId);
        const lines = state === 'gone' ? [] : (logs.get(containerId) ?? []);
        for (; told < lines.length && !isCancelled; told += 1) {
          const line = lines[told];
          // From the beginning of that second on, as the engine takes it.
          if (line !== undefined && Number(line.timestamp) >= Math.floor(sinceMs / 1000)) onLine(line);
        }
        if (isCancelled) return;
        if (state === 'live') clock.timer(LOOK_MS, look);
        else onEnd();
      };
      clock.timer(0, look);
      return () => {
        isCancelled = true;
      };
    },
  };
}
