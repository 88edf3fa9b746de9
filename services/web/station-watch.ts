/**
 * Keeps an eye on the station while somebody looks: again after each change that the database tells of, and once a second
 * at what the recorders say. While nobody looks, nothing is read.
 */
import type { Heartbeat } from '../shared/contract.ts';
import { errorText } from '../shared/log.ts';
import type { PagePorts } from './ports.ts';
import { type StationPicture, takePicture } from './station-picture.ts';
import { readStationRows, type StationRows } from './station-queries.ts';
import type { StatusFiles } from './status-files.ts';

export interface StationWatch {
  /** A fresh picture. Throws `DatabaseAway` only when there has never been a good reading. */
  look(): Promise<StationPicture>;
  /** Calls back with each new picture; returns its cancellation. */
  follow(callback: (picture: StationPicture) => void): () => void;
  /** The latest picture; null before the first. */
  last(): StationPicture | null;
  stop(): void;
}

const LEVELS_MS = 1000;
/** A change that no notification told of (a lost connection) is seen after so long. */
const ROWS_MS = 5000;
/** A burst of changes is read once. */
const SETTLE_MS = 50;
/** Redis forgets a heartbeat after 30 s; so do we. */
const HEARTBEAT_MS = 30_000;
/** As its heartbeats name it. */
const CONTROLLER = 'controller';

export function createStationWatch({ clock, log, database, bus }: PagePorts, files: StatusFiles): StationWatch {
  const followers = new Set<(picture: StationPicture) => void>();
  const heartbeats = new Map<string, { heartbeat: Heartbeat; heardAtMs: number }>();
  let last: StationPicture | null = null;
  let rows: StationRows | null = null;
  let rowsAtMs = Number.NEGATIVE_INFINITY;
  let problem: string | null = null;
  let stale = true;
  /** When nothing could be heard, for all that is known. */
  let deafAtMs = clock.nowMs();
  let cancelNext = (): void => {};
  let cancelChanges: (() => void) | null = null;

  const cancelHeartbeats = bus.onHeartbeat((heartbeat) => {
    heartbeats.set(heartbeat.instance, { heartbeat, heardAtMs: clock.nowMs() });
  });

  const fresh = (): Map<string, Heartbeat> => {
    for (const [instance, { heardAtMs }] of heartbeats)
      if (clock.nowMs() - heardAtMs > HEARTBEAT_MS) heartbeats.delete(instance);
    return new Map([...heartbeats].map(([instance, { heartbeat }]) => [instance, heartbeat]));
  };

  /** Only of a bus that has been there long enough is silence news. */
  const isControllerSilent = (): boolean => {
    const nowMs = clock.nowMs();
    if (bus.state().state !== 'up') deafAtMs = nowMs;
    return nowMs - deafAtMs > HEARTBEAT_MS && !fresh().has(CONTROLLER);
  };

  const readRows = async (): Promise<StationRows> => {
    stale = false;
    try {
      rows = await readStationRows(database);
      problem = null;
    } catch (error) {
      stale = true;
      problem = errorText(error);
      if (rows === null) throw error;
    }
    rowsAtMs = clock.nowMs();
    return rows;
  };

  const pictureOf = async (read: StationRows): Promise<StationPicture> => {
    last = await takePicture({
      rows: read,
      files,
      bus: bus.state(),
      heartbeats: fresh(),
      controllerSilent: isControllerSilent(),
      databaseProblem: problem,
    });
    return last;
  };

  const step = async (): Promise<void> => {
    const isDue = stale || clock.nowMs() - rowsAtMs >= ROWS_MS;
    const read = isDue || rows === null ? await readRows() : rows;
    const picture = await pictureOf(read);
    for (const follower of followers) follower(picture);
  };

  let stepping = false;
  const run = async (): Promise<void> => {
    if (stepping) return;
    stepping = true;
    try {
      await step();
    } catch (error) {
      log('warn', `The station cannot be looked at: ${errorText(error)}`);
    } finally {
      stepping = false;
      schedule(stale && problem === null ? SETTLE_MS : LEVELS_MS);
    }
  };
  const schedule = (delayMs: number): void => {
    cancelNext();
    if (followers.size > 0) cancelNext = clock.timer(delayMs, () => void run());
  };

  return {
    look: async () => pictureOf(await readRows()),
    follow(callback) {
      followers.add(callback);
      cancelChanges ??= database.onChange(() => {
        stale = true;
        if (!stepping) schedule(SETTLE_MS);
      });
      schedule(0);
      return () => {
        followers.delete(callback);
        if (followers.size > 0) return;
        cancelNext();
        cancelChanges?.();
        cancelChanges = null;
      };
    },
    last: () => last,
    stop() {
      followers.clear();
      cancelNext();
      cancelChanges?.();
      cancelHeartbeats();
    },
  };
}
