/**
 * What Tier 2 containers write, told on the bus while somebody listens there and not otherwise. Each line once: across
 * streams that break, listeners that come back, and containers that are replaced. All of it is bounded: what a container
 * writes beyond its share is counted, and the number told.
 */
import { LABEL, type LogLine } from '../shared/contract.ts';
import type { Bus, Clock, Engine, EngineLogLine, ObservedContainer } from './world.ts';

export interface ContainerLogsOptions {
  clock: Clock;
  engine: Engine;
  bus: Bus;
  /** As they were last listed. */
  containers: () => readonly ObservedContainer[];
}

/** Somebody who opens the page's log waits no longer than this. */
const LOOK_MS = 2000;
const FLUSH_MS = 200;
const MOST_FOLLOWED = 100;
/** Begun at once: fifty requests in one breath would hold up the loop, and the engine. */
const BEGUN_AT_ONCE = 4;
/** Of one container in a second. */
const LINES_PER_SECOND = 100;
/** Of all that wait to be told, and of those told at once. */
const MOST_WAITING = 2000;
const MOST_AT_ONCE = 200;
const FOLLOW_AGAIN_MS = 1000;
const TEXT_LIMIT = 4000;

/** What is known of one container's log; it outlives a stream that broke. */
interface Follower {
  service: string;
  instance: string;
  /** null: nobody follows it now. */
  cancel: (() => void) | null;
  /** Time of the last line that was told, and how many lines of that very time were. */
  last: { timestamp: string; count: number } | null;
  /** A new stream begins with what an earlier one told: so many lines of the last time are yet to be left out. */
  catchingUp: boolean;
  repeats: number;
  againAtMs: number;
  secondBeganMs: number;
  linesInSecond: number;
  dropped: number;
}

/** Looks until the returned function is called. */
export function startContainerLogs({ clock, engine, bus, containers }: ContainerLogsOptions): () => void {
  const followers = new Map<string, Follower>();
  let waiting: LogLine[] = [];
  /** Unix milliseconds; null: nobody listens. */
  let listeningSinceMs: number | null = null;
  let publishing = false;
  let stopped = false;
  let cancelLook = (): void => {};
  let cancelFlush = (): void => {};

  const enqueue = (follower: Follower, line: LogLine): void => {
    if (waiting.length < MOST_WAITING) waiting.push(line);
    else follower.dropped += 1;
  };

  const take = (follower: Follower, line: EngineLogLine): void => {
    if (isRepeat(follower, line)) return;
    const nowMs = clock.nowMs();
    if (nowMs - follower.secondBeganMs >= 1000) {
      follower.secondBeganMs = nowMs;
      follower.linesInSecond = 0;
    }
    follower.linesInSecond += 1;
    if (follower.linesInSecond > LINES_PER_SECOND) follower.dropped += 1;
    else enqueue(follower, toldLine(follower, line));
  };

  const follow = (id: string, follower: Follower, sinceMs: number): void => {
    const lastMs = follower.last === null ? 0 : Number(follower.last.timestamp) * 1000;
    follower.catchingUp = follower.last !== null;
    follower.repeats = follower.last?.count ?? 0;
    follower.cancel = engine.followLog(
      id,
      Math.max(sinceMs, lastMs),
      (line) => take(follower, line),
      () => {
        follower.cancel = null;
        follower.againAtMs = clock.nowMs() + FOLLOW_AGAIN_MS;
      },
    );
  };

  const release = (follower: Follower): void => {
    follower.cancel?.();
    follower.cancel = null;
  };

  /** Follows what lives, a few more each time, and forgets what is gone. */
  const attend = (sinceMs: number): void => {
    const listed = containers();
    const there = new Set(listed.map(({ id }) => id));
    for (const [id, follower] of followers) {
      if (there.has(id)) continue;
      release(follower);
      followers.delete(id);
    }
    let begun = 0;
    for (const container of listed.slice(0, MOST_FOLLOWED)) {
      if (container.state !== 'live' || begun === BEGUN_AT_ONCE) continue;
      const follower = followers.get(container.id) ?? newFollower(container);
      followers.set(container.id, follower);
      if (follower.cancel !== null || clock.nowMs() < follower.againAtMs) continue;
      follow(container.id, follower, sinceMs);
      begun += 1;
    }
  };

  const flush = (): void => {
    cancelFlush = clock.timer(FLUSH_MS, flush);
    if (listeningSinceMs !== null) attend(listeningSinceMs);
    tellDropped(followers.values(), enqueue, clock);
    if (publishing || waiting.length === 0) return;
    const batch = waiting.slice(0, MOST_AT_ONCE);
    waiting = waiting.slice(MOST_AT_ONCE);
    publishing = true;
    void bus.publishLogs(batch).finally(() => {
      publishing = false;
    });
  };

  const pause = (): void => {
    listeningSinceMs = null;
    cancelFlush();
    waiting = [];
    for (const follower of followers.values()) {
      release(follower);
      follower.dropped = 0;
      follower.againAtMs = 0;
    }
  };

  const look = async (): Promise<void> => {
    const listeners = await bus.logListeners();
    if (stopped) return;
    if (listeners === 0 && listeningSinceMs !== null) pause();
    if (listeners > 0) {
      if (listeningSinceMs === null) {
        listeningSinceMs = clock.wallMs();
        flush();
      }
    }
    cancelLook = clock.timer(LOOK_MS, () => void look());
  };

  cancelLook = clock.timer(LOOK_MS, () => void look());
  return () => {
    stopped = true;
    cancelLook();
    pause();
  };
}

function newFollower({ name, labels }: ObservedContainer): Follower {
  return {
    service: labels[LABEL.service] ?? '',
    // As in heartbeats: what follows `silvasonic-<station>-` in its name.
    instance: name.split('-').slice(2).join('-'),
    cancel: null,
    last: null,
    catchingUp: false,
    repeats: 0,
    againAtMs: 0,
    secondBeganMs: Number.NEGATIVE_INFINITY,
    linesInSecond: 0,
    dropped: 0,
  };
}

/**
 * A stream begins at a whole second: what of it was told before is left out. Several lines may bear one time. Only at the
 * beginning of a stream: a clock that is put back must not silence a container.
 */
function isRepeat(follower: Follower, { timestamp }: EngineLogLine): boolean {
  const { last } = follower;
  if (follower.catchingUp && last !== null) {
    if (timestamp < last.timestamp) return true;
    if (timestamp === last.timestamp && follower.repeats > 0) {
      follower.repeats -= 1;
      return true;
    }
    follower.catchingUp = false;
  }
  follower.last = { timestamp, count: last?.timestamp === timestamp ? last.count + 1 : 1 };
  return false;
}

function toldLine({ service, instance }: Follower, { timestamp, stream, text }: EngineLogLine): LogLine {
  return {
    schema: 1,
    service: service.slice(0, 64),
    instance: instance.slice(0, 200),
    at: Math.round(Number(timestamp) * 1000),
    stream,
    text: text.slice(0, TEXT_LIMIT),
  };
}

function tellDropped(
  followers: Iterable<Follower>,
  enqueue: (follower: Follower, line: LogLine) => void,
  clock: Clock,
): void {
  for (const follower of followers) {
    // Once in a second, when the number for it is known.
    if (follower.dropped === 0 || clock.nowMs() - follower.secondBeganMs < 1000) continue;
    const count = follower.dropped;
    follower.dropped = 0;
    const text = `… ${count} lines left out: at most ${LINES_PER_SECOND} a second are told of one container.`;
    enqueue(follower, toldLine(follower, { timestamp: String(clock.wallMs() / 1000), stream: 'stderr', text }));
  }
}
