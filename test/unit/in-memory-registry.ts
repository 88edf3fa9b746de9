/** A registry in memory, and how an engine fetches from it; of the unit tests, and of the simulation. */
import type { ActionOutcome, Engine } from '../../services/controller/world.ts';

export interface InMemoryRegistry {
  /** By reference. */
  images: Map<string, { id: string; bytes: number }>;
  away: boolean;
  bytesPerSecond: number;
}

export const FAST_BYTES_PER_SECOND = 10_000_000;

export const createInMemoryRegistry = (): InMemoryRegistry => ({
  images: new Map(),
  away: false,
  bytesPerSecond: FAST_BYTES_PER_SECOND,
});

/** The engine that fetches, as it is now. */
export interface FetchingEngine {
  sleep(delayMs: number): Promise<void>;
  isAway(): boolean;
  /** It takes every request and answers none. */
  isHanging(): boolean;
  keep(reference: string, id: string): void;
}

const STEP_MS = 100;
const BEGIN_DEADLINE_MS = 120_000;

/** Fetches step by step, until it is done, given up, or somebody is away. */
export function createPull(registry: InMemoryRegistry, engine: FetchingEngine): Engine['pull'] {
  return async (reference, onProgress, signal) => {
    const failed = (why: string): ActionOutcome => ({
      ...{ kind: 'failed', reason: 'PullFailed', message: `The image ${reference} cannot be fetched: ${why}.` },
    });
    let done = 0;
    for (let hungMs = 0; ; ) {
      if (signal.aborted) return failed('it is not wanted any more');
      if (engine.isAway()) return failed('the engine is away');
      await engine.sleep(STEP_MS);
      if (engine.isHanging()) {
        hungMs += STEP_MS;
        if (hungMs >= BEGIN_DEADLINE_MS) return failed(`no answer within ${BEGIN_DEADLINE_MS / 1000} s`);
        continue;
      }
      if (signal.aborted) continue;
      if (registry.away) return failed('connection refused');
      const image = registry.images.get(reference);
      if (image === undefined) return failed('manifest unknown');
      done = Math.min(image.bytes, done + (registry.bytesPerSecond * STEP_MS) / 1000);
      onProgress(done, image.bytes);
      if (done < image.bytes) continue;
      engine.keep(reference, image.id);
      return { kind: 'done', containerId: null, refusedLimits: [] };
    }
  };
}
