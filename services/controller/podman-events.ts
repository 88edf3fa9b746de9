/**
 * Follows the engine's events. They get lost and streams drop, so they only ever wake the loop; a list is the truth.
 * While a stream is open nothing is asked: an idle engine costs nothing.
 */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { z } from 'zod';
import { LABEL, OWNER } from '../shared/contract.ts';
import { type Answer, type Api, whyNot } from './podman-api.ts';
import { plainName } from './podman-container.ts';
import type { Clock } from './world.ts';

export interface EventOptions {
  api: Api;
  clock: Clock;
  stationId: string;
  /** Name of the container; empty: anything may have happened. */
  onEvent: (containerName: string) => void;
  /** Told after every attempt to connect, and when a stream ends: null is well, otherwise why not. */
  onState: (error: string | null) => void;
}

const CONNECT_DEADLINE_MS = 5000;
/** Short enough that work begins the moment an engine appears; asking a socket that is not there costs next to nothing. */
const RETRY_DELAYS_MS = [250, 250, 500, 1000, 2000, 5000];
/** A stream that lived for this long was well: the next attempt is soon. */
const WELL_AFTER_MS = 10_000;
/** No event is that long. Characters. */
const MAX_LINE_LENGTH = 1024 * 1024;

/**
 * Podman calls them `died` and `remove`, Docker `die` and `destroy`, and Podman 4.3 filters by the one name what it sends
 * under the other (containers/podman#16857): so they are chosen here and not by the engine.
 */
const WANTED_ACTIONS = new Set(['die', 'died', 'remove', 'destroy', 'oom']);

const eventSchema = z.object({
  Action: z.string(),
  Actor: z.object({ Attributes: z.record(z.string(), z.string()).nullish() }).nullish(),
});

/** Reconnects until the returned function is called. */
export function followEvents({ api, clock, stationId, onEvent, onState }: EventOptions): () => void {
  let stopped = false;
  let failures = 0;
  let release = (): void => {};

  const connect = async (): Promise<void> => {
    const answer = await openStream(api, stationId);
    if (stopped) {
      if (answer.kind === 'answer') answer.value.close();
      return;
    }
    if (answer.kind !== 'answer') return retry(whyNot(answer));
    const { stream, close } = answer.value;
    const openedAtMs = clock.nowMs();
    release = close;
    readEvents(stream, stationId, onEvent, (why) => {
      close();
      if (clock.nowMs() - openedAtMs >= WELL_AFTER_MS) failures = 0;
      if (!stopped) retry(why);
    });
    onState(null);
    // Whatever happened while nobody listened is found by a list.
    onEvent('');
  };

  const retry = (why: string): void => {
    const delayMs = RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length - 1)] ?? 0;
    failures += 1;
    onState(why);
    release = clock.timer(delayMs, () => void connect());
  };

  void connect();
  return () => {
    stopped = true;
    release();
  };
}

function openStream(api: Api, stationId: string): Promise<Answer<{ stream: Readable; close: () => void }>> {
  const label = [`${LABEL.owner}=${OWNER}`, `${LABEL.station}=${stationId}`];
  return api.open({
    what: 'begin to tell of events',
    deadlineMs: CONNECT_DEADLINE_MS,
    // Without `since` it begins now; what the engine replays of old does no harm.
    send: (docker, abortSignal) => {
      const options = { filters: { type: ['container' as const], label }, abortSignal };
      return docker.getEvents(options);
    },
  });
}

/** One JSON object per line, cut anywhere, even within a character. `onEnd` is called once. */
function readEvents(
  stream: Readable,
  stationId: string,
  onEvent: (name: string) => void,
  onEnd: (why: string) => void,
): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let ended = false;
  const end = (why: string): void => {
    if (ended) return;
    ended = true;
    onEnd(why);
  };
  stream.on('data', (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const name = line.trim() === '' ? null : subjectOf(line, stationId);
      if (name !== null) onEvent(name);
    }
    if (rest.length > MAX_LINE_LENGTH) end('The engine sent an event without an end.');
  });
  stream.on('error', (error) => end(`The stream of events broke: ${error.message}.`));
  stream.on('close', () => end('The engine ended its stream of events.'));
}

/** The container that an event is about; null: nothing that concerns us. What cannot be read may be anything. */
function subjectOf(line: string, stationId: string): string | null {
  const event = eventSchema.safeParse(parseJson(line));
  if (!event.success) return '';
  if (!WANTED_ACTIONS.has(event.data.Action)) return null;
  const attributes = event.data.Actor?.Attributes ?? {};
  // Of several labels in a filter of events Podman asks for any, not for all as in a list.
  const station = attributes[LABEL.station];
  if (station !== undefined && station !== stationId) return null;
  return plainName(attributes.name ?? '');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
