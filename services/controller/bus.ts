/**
 * The bus: a nudge that says "look again" comes in, heartbeats go out. Best effort on purpose: a nudge that is lost costs
 * at most a tick, and a station without Redis records all the same.
 */
import { Redis } from 'ioredis';
import { readRedisUrl } from '../shared/connections.ts';
import { CHANNEL, HEARTBEAT_TTL_S, type Heartbeat, type LogLine, statusKey } from '../shared/contract.ts';
import { withoutCredentials } from '../shared/environment.ts';
import { createStateLog, type Log } from './log.ts';
import type { Bus, Clock, DependencyState } from './world.ts';

export interface RedisBusOptions {
  /** `redis://` or `rediss://`, with credentials and database where needed. */
  url: string;
  /** Holds the password, where that is not in the address; it may be made later. */
  passwordFile?: string | null;
  clock: Clock;
  log: Log;
  /** Names the connections in `CLIENT LIST`. */
  instance: string;
}

/** Whoever runs controller and page in one process speaks directly. */
export type InProcessBus = Bus & {
  nudge(): void;
  /** Returns its cancellation. */
  onHeartbeat(callback: (heartbeat: Heartbeat) => void): () => void;
  /** Log lines come only while somebody listens here. Returns its cancellation. */
  onLog(callback: (line: LogLine) => void): () => void;
};

const CONNECT_DEADLINE_MS = 5000;
/** From the connection to the confirmed subscription: a frozen Redis accepts connections and says nothing. */
const SUBSCRIBE_DEADLINE_MS = 5000;
const PUBLISH_DEADLINE_MS = 2000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 30_000;
const KEEP_ALIVE_MS = 10_000;
const FILE_POLL_MS = 1000;

/** Connects once it is started, and once the password can be read: nobody waits for either. */
export function createRedisBus({ passwordFile = null, ...options }: RedisBusOptions): Bus {
  return passwordFile === null ? createConnectedBus(options) : createAwaitedBus(options, passwordFile);
}

type ConnectedBusOptions = Omit<RedisBusOptions, 'passwordFile'>;

/** No bus until the file can be read, which is said once. */
function createAwaitedBus(options: ConnectedBusOptions, passwordFile: string): Bus {
  const { url, clock, log } = options;
  const state = createState(clock, log, withoutCredentials(url));
  let bus: Bus | null = null;
  let stopped = false;
  let cancel = (): void => {};
  const connect = async (onNudge: () => void): Promise<void> => {
    const address = await readRedisUrl({ url, passwordFile });
    if (stopped) return;
    if (address.ok && address.value !== null) {
      bus = createConnectedBus({ ...options, url: address.value });
      bus.start(onNudge);
      return;
    }
    if (!address.ok) state.told('down', `${address.message} The station goes on without Redis.`);
    cancel = clock.timer(FILE_POLL_MS, () => void connect(onNudge));
  };
  return {
    start: (onNudge) => void connect(onNudge),
    publish: async (heartbeat) => (await bus?.publish(heartbeat)) ?? false,
    publishLogs: async (lines) => (await bus?.publishLogs(lines)) ?? false,
    logListeners: async () => (await bus?.logListeners()) ?? 0,
    dependency: () => bus?.dependency() ?? state.dependency(),
    async stop() {
      stopped = true;
      cancel();
      await bus?.stop();
    },
  };
}

/**
 * Two connections, as one that is subscribed cannot publish; the publishing one is made at the first heartbeat. After
 * each subscription `onNudge` is called once, as a nudge may have been missed meanwhile.
 */
function createConnectedBus({ url, clock, log, instance }: ConnectedBusOptions): Bus {
  const where = withoutCredentials(url);
  const state = createState(clock, log, where);
  const open = (role: string, retryDelayMs: (times: number) => number): Redis =>
    new Redis(url, {
      connectionName: `silvasonic-${instance}-${role}`,
      lazyConnect: true,
      connectTimeout: CONNECT_DEADLINE_MS,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: retryDelayMs,
      // What cannot be sent now is out of date later.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // The subscription that follows each connection is check enough.
      enableReadyCheck: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      disableClientInfo: true,
    });
  const subscriber = createSubscriber({ open, clock, state, where });
  const publisher = createPublisher({ open, clock });
  const told = async (sending: Promise<Published>): Promise<boolean> => {
    const outcome = await sending;
    // Frozen: the subscription would never say so by itself, and nudges may get lost.
    if (outcome === 'late') subscriber.startOver(`Redis at ${where} does not answer.`);
    return outcome === 'sent';
  };

  return {
    start: subscriber.start,
    publish: (heartbeat) => told(publisher.send((redis) => sendHeartbeat(redis, heartbeat))),
    publishLogs: (lines) => told(publisher.send((redis) => sendLogs(redis, lines))),
    async logListeners() {
      if (state.dependency().state !== 'up') return 0;
      let listeners = 0;
      await told(
        publisher.send(async (redis) => {
          listeners = await countListeners(redis);
          return true;
        }),
      );
      return listeners;
    },
    dependency: state.dependency,
    async stop() {
      subscriber.stop();
      publisher.stop();
    },
  };
}

/** Hands each heartbeat to whoever listens in this process; never fails. */
export function createInProcessBus(): InProcessBus {
  const listeners = new Set<(heartbeat: Heartbeat) => void>();
  const readers = new Set<(line: LogLine) => void>();
  let onNudge = (): void => {};
  return {
    start(callback) {
      onNudge = callback;
    },
    nudge: () => onNudge(),
    async publish(heartbeat) {
      for (const listener of listeners) listener(heartbeat);
      return true;
    },
    async publishLogs(lines) {
      for (const line of lines) for (const reader of readers) reader(line);
      return true;
    },
    logListeners: async () => readers.size,
    onLog(callback) {
      readers.add(callback);
      return () => readers.delete(callback);
    },
    onHeartbeat(callback) {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    dependency: () => ({ name: 'bus', state: 'up', message: 'Within this process.', sinceMs: 0 }),
    async stop() {
      onNudge = () => {};
      listeners.clear();
      readers.clear();
    },
  };
}

type State = ReturnType<typeof createState>;

/** Up or down and since when; one line in the log for each change. */
function createState(clock: Clock, log: Log, where: string) {
  const stateLog = createStateLog(log);
  let current: DependencyState = {
    name: 'redis',
    state: 'down',
    message: `Redis at ${where} has not answered yet.`,
    sinceMs: clock.nowMs(),
  };
  return {
    told(state: 'up' | 'down', message: string): void {
      current = { ...current, state, message, sinceMs: state === current.state ? current.sinceMs : clock.nowMs() };
      stateLog.tell('redis', state, state === 'up' ? 'info' : 'warn', message);
    },
    dependency: (): DependencyState => current,
  };
}

type Open = (role: string, retryDelayMs: (times: number) => number) => Redis;

/** Doubles from attempt to attempt. */
const retryDelayMs = (failures: number): number =>
  Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures, 20), LONGEST_RETRY_MS);

interface SubscriberOptions {
  open: Open;
  clock: Clock;
  state: State;
  where: string;
}

function createSubscriber({ open, clock, state, where }: SubscriberOptions) {
  let failures = 0;
  let why = 'the connection was closed';
  let onNudge = (): void => {};
  let cancelDeadline = (): void => {};
  // Only a confirmed subscription counts as success: a Redis that accepts and hangs up is not asked ten times a second.
  const redis = open('subscriber', () => retryDelayMs(failures++));

  const startOver = (message: string): void => {
    state.told('down', message);
    redis.disconnect(true);
  };

  redis.on('error', (error: Error) => {
    why = wordsOf(error);
  });
  redis.on('connect', () => {
    why = 'the connection was closed';
    cancelDeadline = clock.timer(SUBSCRIBE_DEADLINE_MS, () =>
      startOver(`Redis at ${where} accepts and does not answer.`),
    );
  });
  redis.on('ready', () => {
    redis.subscribe(CHANNEL.nudge).then(
      () => {
        cancelDeadline();
        failures = 0;
        state.told('up', `Subscribed at ${where}.`);
        onNudge();
      },
      (error: unknown) => {
        why = wordsOf(error);
        redis.disconnect(true);
      },
    );
  });
  redis.on('close', () => {
    cancelDeadline();
    state.told('down', `Redis at ${where} is not there (${why}); the station goes on without it.`);
  });
  redis.on('message', (channel: string) => {
    if (channel === CHANNEL.nudge) onNudge();
  });

  return {
    startOver,
    start(callback: () => void): void {
      onNudge = callback;
      // How it went is told by the events.
      redis.connect().catch(() => {});
    },
    stop(): void {
      onNudge = () => {};
      redis.removeAllListeners('close');
      cancelDeadline();
      redis.disconnect();
    },
  };
}

/** A refusal by each of a name's addresses bears no message of its own, only a code. */
function wordsOf(error: unknown): string {
  const { message, code } = Object(error) as { message?: unknown; code?: unknown };
  return String(message || code || error);
}

type Published = 'sent' | 'failed' | 'late';

function createPublisher({ open, clock }: { open: Open; clock: Clock }) {
  let redis: Redis | null = null;
  let opening: Promise<void> = Promise.resolve();

  const connection = async (): Promise<Redis | null> => {
    if (redis === null) {
      redis = open('publisher', retryDelayMs);
      // Its state is the subscription's: this one is only used while that one stands.
      redis.on('error', () => {});
      opening = redis.connect().catch(() => {});
    }
    await opening;
    return redis.status === 'ready' ? redis : null;
  };

  const sendNow = async (work: (redis: Redis) => Promise<boolean>): Promise<Published> => {
    const ready = await connection();
    return ready !== null && (await work(ready)) ? 'sent' : 'failed';
  };

  return {
    /** Within the deadline, or never. */
    send(work: (redis: Redis) => Promise<boolean>): Promise<Published> {
      return new Promise((resolve) => {
        const cancel = clock.timer(PUBLISH_DEADLINE_MS, () => {
          // Not waited for any longer, and not sent when it thaws.
          redis?.disconnect(true);
          resolve('late');
        });
        sendNow(work)
          .catch((): Published => 'failed')
          .then((outcome) => {
            cancel();
            resolve(outcome);
          });
      });
    },
    stop(): void {
      redis?.disconnect();
    },
  };
}

async function sendHeartbeat(redis: Redis, heartbeat: Heartbeat): Promise<boolean> {
  const json = JSON.stringify(heartbeat);
  const answers = await redis
    .pipeline()
    .set(statusKey(heartbeat.instance), json, 'EX', HEARTBEAT_TTL_S)
    .publish(CHANNEL.status, json)
    .exec();
  return answers?.every(([error]) => error === null) === true;
}

async function sendLogs(redis: Redis, lines: readonly LogLine[]): Promise<boolean> {
  const pipeline = redis.pipeline();
  for (const line of lines) pipeline.publish(CHANNEL.logs, JSON.stringify(line));
  const answers = await pipeline.exec();
  return answers?.every(([error]) => error === null) === true;
}

async function countListeners(redis: Redis): Promise<number> {
  // Channel, number, channel, number …
  const answer: unknown = await redis.call('PUBSUB', 'NUMSUB', CHANNEL.logs);
  return Array.isArray(answer) ? Number(answer[1]) || 0 : 0;
}
