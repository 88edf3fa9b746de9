/**
 * Alerts from rule to receiver: what has been told and what waits to be sent is kept in the controller's workspace, so that
 * a restart neither repeats nor forgets one. A receiver that is away is tried later and later; nothing waits for it.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type Alert, alertSchema } from '../shared/alerts.ts';
import { atMost } from '../shared/clock.ts';
import { type ProcessorStatus, processorStatusSchema, SERVICE_RUN_FOLDER, STATUS_FILE } from '../shared/contract.ts';
import { writeDurably } from '../shared/durable-file.ts';
import { readHostileFile } from '../shared/hostile-file.ts';
import type { AlertTarget, PostAlert } from './alert-post.ts';
import { type AlertInput, type AlertMemory, findAlerts, testAlert } from './alert-rules.ts';
import type { Log } from './log.ts';
import type { Clock, StationEvent } from './world.ts';

export type AlertLook = Pick<AlertInput, 'station' | 'settings' | 'devices'>;

export interface Alerts {
  /** Cheap, and may be called after every cycle. Resolves when what was due has been tried; never rejects. */
  look(look: AlertLook, report: (event: StationEvent) => void): Promise<void>;
  stop(): void;
}

export interface AlertsOptions {
  clock: Clock;
  log: Log;
  /** Both as this process sees them. */
  controllerWorkspace: string;
  runPath: string;
  post: PostAlert;
}

/** Before anything is wanted of it; for stations that tell nobody. */
export const noAlerts: Alerts = { look: async () => {}, stop() {} };

const STATE_FILE = 'alerts.json';
const STATE_MAX_BYTES = 1024 * 1024;
const PROCESSOR = 'processor';
const STATUS_MAX_BYTES = 256 * 1024;
const SAVE_DEADLINE_MS = 5000;
/** Minutes are counted, not milliseconds. */
const LOOK_MS = 5000;
const FIRST_RETRY_MS = 10_000;
const LONGEST_RETRY_MS = 60 * 60_000;
/** Older news are none. */
const STALE_MS = 7 * 24 * 60 * 60_000;
/** The latest count. */
const MOST_WAITING = 100;
const TARGETS: readonly AlertTarget[] = ['ntfy', 'webhook'];

const waitingSchema = z.object({ target: z.enum(['ntfy', 'webhook']), alert: alertSchema });
const stateSchema = z.object({
  schema: z.literal(1),
  /** The value of `testToken` that was answered. */
  testToken: z.string(),
  /** Conditions that a person was told of, and whose end he has not been told. */
  told: z.array(z.string().max(400)).max(2000),
  waiting: z.array(waitingSchema).max(MOST_WAITING),
});
type State = z.infer<typeof stateSchema>;
type Waiting = State['waiting'][number];
const emptyState: State = { schema: 1, testToken: '', told: [], waiting: [] };

export function createAlerts({ clock, log, controllerWorkspace, runPath, post }: AlertsOptions): Alerts {
  const file = join(controllerWorkspace, STATE_FILE);
  const retries = new Map<AlertTarget, { failures: number; atMs: number }>();
  /**
   * Since when each alert waits, monotonic ms. The wall clock tells it only across a restart: without a network it is set
   * at some later time, and what waits would look a month old.
   */
  const waitsSinceMs = new WeakMap<Alert, number>();
  let state: State | null = null;
  let saved = '';
  let savable = true;
  let writing = false;
  let memory: AlertMemory = new Map();
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let busy = false;
  let stopped = false;

  const write = async (text: string): Promise<void> => {
    try {
      await writeDurably(file, text, 0o600);
      saved = text;
      savable = true;
    } catch (cause) {
      if (savable) log.warn({ err: cause }, 'What was told cannot be kept: after a restart an alert may come twice.');
      savable = false;
    }
  };
  /**
   * What cannot be kept is told all the same: of a disk that is full, broken or hangs a person must hear above all. One that
   * hangs keeps a thread of Node's few, and no second one is given to it.
   */
  const save = async (): Promise<void> => {
    const text = `${JSON.stringify(state)}\n`;
    if (text === saved || writing) return;
    writing = true;
    const written = write(text).finally(() => {
      writing = false;
    });
    await atMost(clock, SAVE_DEADLINE_MS, written);
  };

  const send = async (
    now: State,
    target: AlertTarget,
    { settings }: AlertLook,
    report: (event: StationEvent) => void,
  ): Promise<void> => {
    const address = addressOf(target, settings);
    for (;;) {
      const next = now.waiting.find((one) => one.target === target);
      if (next === undefined || address === null || stopped) return;
      if (clock.nowMs() < (retries.get(target)?.atMs ?? 0)) return;
      const delivery = await post(target, address, next.alert);
      const isTest = next.alert.kind === 'test';
      if (delivery.kind === 'failed' && !isTest) {
        const failures = (retries.get(target)?.failures ?? 0) + 1;
        const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20));
        retries.set(target, { failures, atMs: clock.nowMs() + delayMs });
        if (failures === 1) report(event('warning', 'AlertDelayed', `An alert waits: ${delivery.why}.`));
        return;
      }
      if (delivery.kind === 'sent') retries.delete(target);
      now.waiting = now.waiting.filter((one) => one !== next);
      if (delivery.kind !== 'sent')
        report(event('warning', 'AlertFailed', `The alert “${next.alert.title}” could not be sent: ${delivery.why}.`));
      else if (isTest) report(event('normal', 'AlertSent', `The test alert was taken by ${new URL(address).host}.`));
      await save();
    }
  };

  const work = async (look: AlertLook, report: (event: StationEvent) => void): Promise<void> => {
    const times = { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
    if (state === null) {
      state = await readState(controllerWorkspace, log);
      memory = new Map(state.told.map((key) => [key, { sinceMs: times.nowMs, holds: true, told: true }]));
      for (const { alert } of state.waiting)
        waitsSinceMs.set(alert, times.nowMs - Math.max(0, times.wallMs - alert.at));
    }
    const now = state;
    const { settings, station } = look;
    const targets = TARGETS.filter((target) => addressOf(target, settings) !== null);
    const found = findAlerts({ ...look, ...times, fullInDays: await readFullInDays(runPath) }, memory);
    memory = targets.length > 0 ? found.memory : untold(found.memory);
    now.told = [...memory].flatMap(([key, { told }]) => (told ? [key] : []));
    const tests: Alert[] = [];
    if (settings.testToken !== now.testToken) {
      now.testToken = settings.testToken;
      if (settings.testToken !== '') tests.push(testAlert({ station, wallMs: times.wallMs }));
    }
    if (targets.length === 0 && tests.length > 0)
      report(event('warning', 'AlertFailed', 'There is nobody to alert: give the address of ntfy or of a webhook.'));
    // Somebody waits in front of the page for a test: it does not stand behind what a receiver has refused so far.
    if (tests.length > 0) retries.clear();
    for (const alert of [...tests, ...found.alerts]) waitsSinceMs.set(alert, times.nowMs);
    const toEach = (alerts: Alert[]): Waiting[] =>
      alerts.flatMap((alert) => targets.map((target) => ({ target, alert })));
    now.waiting = [...toEach(tests), ...now.waiting, ...toEach(found.alerts)]
      .filter(({ target }) => targets.includes(target))
      .filter(({ alert }) => times.nowMs - (waitsSinceMs.get(alert) ?? times.nowMs) < STALE_MS)
      .slice(-MOST_WAITING);
    if (targets.length > 0)
      for (const { title } of [...tests, ...found.alerts]) log.info({ title }, 'A person is told.');
    await save();
    await Promise.all(targets.map((target) => send(now, target, look, report)));
    await save();
  };

  return {
    async look(look, report) {
      if (busy || stopped || clock.nowMs() - lookedAtMs < LOOK_MS) return;
      lookedAtMs = clock.nowMs();
      busy = true;
      try {
        await work(look, report);
      } catch (cause) {
        log.warn({ err: cause }, 'Alerts could not be looked after; that is tried again.');
      } finally {
        busy = false;
      }
    },
    stop() {
      stopped = true;
    },
  };
}

/** Without an address nobody was told of anything: whoever gives one then hears of what still goes on. */
const untold = (memory: AlertMemory): AlertMemory =>
  new Map([...memory].map(([key, condition]) => [key, { ...condition, told: false }]));

const addressOf = (target: AlertTarget, { ntfyUrl, webhookUrl }: AlertLook['settings']): string | null =>
  target === 'ntfy' ? ntfyUrl : webhookUrl;

const event = (type: StationEvent['type'], reason: string, message: string): StationEvent => ({
  subject: 'station',
  type,
  reason,
  message,
});

/** Of another release, or broken: alerts begin anew, and one may come twice. */
async function readState(controllerWorkspace: string, log: Log): Promise<State> {
  const content = await readHostileFile({ root: controllerWorkspace, name: STATE_FILE }, STATE_MAX_BYTES);
  if (content.kind === 'missing') return { ...emptyState };
  const parsed = stateSchema.safeParse(content.kind === 'text' ? parseJson(content.text) : null);
  if (parsed.success) return parsed.data;
  log.warn({ file: STATE_FILE }, 'What was told before cannot be read: an alert may come twice.');
  return { ...emptyState };
}

/** What the processor found out; undefined: it cannot be told now. */
async function readFullInDays(runPath: string): Promise<number | null | undefined> {
  const place = { root: join(runPath, SERVICE_RUN_FOLDER), folder: PROCESSOR, name: STATUS_FILE };
  const content = await readHostileFile(place, STATUS_MAX_BYTES);
  const status: ProcessorStatus | undefined =
    content.kind === 'text' ? processorStatusSchema.safeParse(parseJson(content.text)).data : undefined;
  return status?.disk?.fullInDays;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
