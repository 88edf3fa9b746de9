/** The bus over Redis: nudges go out, heartbeats come in, and log lines while somebody reads them. */
import { Redis } from 'ioredis';
import { type RedisConfig, readRedisUrl } from '../shared/connections.ts';
import { CHANNEL, type Heartbeat, heartbeatSchema, type LogLine, logLineSchema } from '../shared/contract.ts';
import { withoutCredentials } from '../shared/environment.ts';
import { errorText, type Log } from '../shared/log.ts';
import type { BusState, PageBus } from './ports.ts';

const CONNECT_DEADLINE_MS = 5000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 30_000;
const KEEP_ALIVE_MS = 10_000;
const FILE_POLL_MS = 1000;
/** A message beyond this is none of ours. Characters. */
const LONGEST_MESSAGE = 64 * 1024;

/** Connects by itself, as soon as the password can be read: neither is waited for. Without an address there is no Redis. */
export function createPageBus({ url, passwordFile }: RedisConfig, log: Log): PageBus {
  if (url === null) return createAbsentBus();
  return passwordFile === null ? createConnectedBus(url, log) : createAwaitedBus(url, passwordFile, log);
}

/** No bus until the file can be read; who wants to hear something then does. */
function createAwaitedBus(url: string, passwordFile: string, log: Log): PageBus {
  let current: BusState = { state: 'down', message: 'The password of Redis has not been read yet.' };
  let bus: PageBus | null = null;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const waiting = new Set<() => void>();
  const connect = async (): Promise<void> => {
    const address = await readRedisUrl({ url, passwordFile });
    if (stopped) return;
    if (address.ok && address.value !== null) {
      bus = createConnectedBus(address.value, log);
      for (const begin of waiting) begin();
      waiting.clear();
      return;
    }
    const message = address.ok ? current.message : `${address.message} The station goes on without Redis.`;
    if (message !== current.message) log('warn', message);
    current = { state: 'down', message };
    timer = setTimeout(() => void connect(), FILE_POLL_MS);
  };
  const whenThere = (listen: (there: PageBus) => () => void): (() => void) => {
    if (bus !== null) return listen(bus);
    const begin = (): void => {
      if (bus !== null) end = listen(bus);
    };
    let end = (): void => void waiting.delete(begin);
    waiting.add(begin);
    return () => end();
  };
  void connect();
  return {
    nudge: async () => await bus?.nudge(),
    onHeartbeat: (callback) => whenThere((there) => there.onHeartbeat(callback)),
    onLog: (callback) => whenThere((there) => there.onLog(callback)),
    state: () => bus?.state() ?? current,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await bus?.stop();
    },
  };
}

/** Two connections, as one that is subscribed cannot publish. Never throws for a Redis that is away. */
function createConnectedBus(url: string, log: Log): PageBus {
  const where = withoutCredentials(url);
  let current: BusState = { state: 'down', message: `Redis at ${where} has not answered yet.` };
  const heartbeats = new Set<(heartbeat: Heartbeat) => void>();
  const logs = new Set<(line: LogLine) => void>();

  const open = (role: string): Redis =>
    new Redis(url, {
      connectionName: `silvasonic-web-${role}`,
      lazyConnect: true,
      connectTimeout: CONNECT_DEADLINE_MS,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: (times) => Math.min(FIRST_RETRY_MS * 2 ** Math.min(times, 20), LONGEST_RETRY_MS),
      enableOfflineQueue: false,
      enableReadyCheck: false,
      // What we subscribe to depends on who looks at that moment.
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      disableClientInfo: true,
    });
  const publisher = open('publisher');
  const subscriber = open('subscriber');
  const told = (state: BusState): void => {
    if (state.state !== current.state) log(state.state === 'up' ? 'info' : 'warn', state.message);
    current = state;
  };

  publisher.on('error', () => {});
  let why = 'the connection was closed';
  subscriber.on('error', (error: Error) => {
    why = errorText(error) || why;
  });
  subscriber.on('ready', () => {
    const channels = [CHANNEL.status, ...(logs.size > 0 ? [CHANNEL.logs] : [])];
    subscriber.subscribe(...channels).then(
      () => told({ state: 'up', message: `Redis at ${where} is connected.` }),
      (error: unknown) => told({ state: 'down', message: `Redis at ${where} refuses: ${errorText(error)}` }),
    );
  });
  subscriber.on('close', () =>
    told({ state: 'down', message: `Redis at ${where} is not there (${why}); the station goes on without it.` }),
  );
  subscriber.on('message', (channel: string, text: string) => {
    if (channel === CHANNEL.status) deliver(heartbeatSchema, text, heartbeats);
    if (channel === CHANNEL.logs) deliver(logLineSchema, text, logs);
  });
  for (const redis of [publisher, subscriber]) redis.connect().catch(() => {});

  return {
    async nudge() {
      await publisher.publish(CHANNEL.nudge, '').catch(() => {});
    },
    onHeartbeat(callback) {
      heartbeats.add(callback);
      return () => heartbeats.delete(callback);
    },
    onLog(callback) {
      logs.add(callback);
      if (logs.size === 1) subscriber.subscribe(CHANNEL.logs).catch(() => {});
      return () => {
        logs.delete(callback);
        if (logs.size === 0) subscriber.unsubscribe(CHANNEL.logs).catch(() => {});
      };
    },
    state: () => current,
    async stop() {
      for (const redis of [publisher, subscriber]) {
        redis.removeAllListeners('close');
        redis.disconnect();
      }
    },
  };
}

/** Without Redis: nobody is told anything, and the page says so where it matters. */
export function createAbsentBus(): PageBus {
  return {
    nudge: async () => {},
    onHeartbeat: () => () => {},
    onLog: () => () => {},
    state: () => ({ state: 'absent', message: 'No Redis is configured.' }),
    stop: async () => {},
  };
}

function deliver<T>(
  schema: { safeParse(input: unknown): { success: true; data: T } | { success: false } },
  text: string,
  callbacks: ReadonlySet<(value: T) => void>,
): void {
  if (text.length > LONGEST_MESSAGE) return;
  let parsed: ReturnType<typeof schema.safeParse>;
  try {
    parsed = schema.safeParse(JSON.parse(text));
  } catch {
    // Whatever else speaks on this channel is not for us.
    return;
  }
  if (parsed.success) for (const callback of callbacks) callback(parsed.data);
}
