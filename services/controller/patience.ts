/** Waiting for an engine that may be slow, without being held up by it. */
import type { Clock } from './world.ts';

/** How long a cycle waits for the engine before it goes on without. */
const ENGINE_PATIENCE_MS = 1000;

/**
 * Waits for a call a limited time. While it is under way it is not made again; what comes in late is handed out by the
 * next call of the same name, so that an engine that is always slow is still heard.
 */
export function createPatience(clock: Clock, onLate: () => void) {
  const pending = new Set<string>();
  const arrived = new Map<string, Promise<unknown>>();
  return async <T>(name: string, call: () => Promise<T>): Promise<T | 'late'> => {
    const late = arrived.get(name) as Promise<T> | undefined;
    arrived.delete(name);
    if (late !== undefined) return await late;
    if (pending.has(name)) return 'late';
    pending.add(name);
    const answer = call();
    let isLate = false;
    const arrive = (): void => {
      pending.delete(name);
      if (!isLate) return;
      arrived.set(name, answer);
      onLate();
    };
    answer.then(arrive, arrive);
    return await new Promise<T | 'late'>((resolve, reject) => {
      const cancel = clock.timer(ENGINE_PATIENCE_MS, () => {
        isLate = true;
        resolve('late');
      });
      answer.then(resolve, reject).finally(cancel);
    });
  };
}
