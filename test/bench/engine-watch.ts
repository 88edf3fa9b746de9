/**
 * The engine as an onlooker sees it: its own events with its own times. What a container's start or end is measured by is
 * the same for the controller and for the floor.
 */

import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type Dockerode from 'dockerode';

export type EventKind = 'start' | 'end' | 'remove';

export interface EngineWatch {
  /** When, in Unix milliseconds, this first happened to a container of this name after `sinceMs`; waits for it. */
  time(kind: EventKind, name: string, sinceMs: number): Promise<number>;
  /** All that happened to a container of this name between these two times. */
  count(kind: EventKind, name: string, fromMs: number, untilMs: number): number;
  close(): void;
}

interface SeenEvent {
  kind: EventKind;
  name: string;
  atMs: number;
}

const KINDS = new Map<string, EventKind>([
  ['start', 'start'],
  ['die', 'end'],
  ['died', 'end'],
  ['remove', 'remove'],
  ['destroy', 'remove'],
]);
const DEADLINE_MS = 40_000;
/** Podman tells an event up to a quarter of a second after it. */
const LATEST_MS = 2000;

export async function watchEngine(docker: Dockerode): Promise<EngineWatch> {
  const stream = (await docker.getEvents({ filters: { type: ['container'] } })) as Readable;
  const seen: SeenEvent[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: stream }).on('line', (line) => {
    const event: { Action?: string; timeNano?: number; Actor?: { Attributes?: { name?: string } } } = JSON.parse(line);
    const kind = KINDS.get(event.Action ?? '');
    if (kind === undefined) return;
    seen.push({ kind, name: event.Actor?.Attributes?.name ?? '', atMs: (event.timeNano ?? 0) / 1e6 });
    for (const look of [...waiting]) look();
  });

  const find = (kind: EventKind, name: string, sinceMs: number): SeenEvent | undefined =>
    seen.find((event) => event.kind === kind && event.name === name && event.atMs >= sinceMs);

  return {
    time: (kind, name, sinceMs) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const event = find(kind, name, sinceMs);
          if (event === undefined) return;
          finish();
          resolve(event.atMs);
        };
        const deadline = setTimeout(() => {
          finish();
          reject(new Error(`The engine told no ${kind} of ${name} within ${DEADLINE_MS / 1000} s.`));
        }, DEADLINE_MS + LATEST_MS);
        const finish = (): void => {
          clearTimeout(deadline);
          waiting.delete(look);
        };
        waiting.add(look);
        look();
      }),
    count(kind, name, fromMs, untilMs) {
      const found = seen.filter((event) => event.kind === kind && event.name === name);
      // Podman tells old events once more when its event file is full: the same moment is the same event.
      const moments = new Set(found.map(({ atMs }) => atMs));
      return [...moments].filter((atMs) => atMs >= fromMs && atMs < untilMs).length;
    },
    close: () => {
      stream.destroy();
    },
  };
}
