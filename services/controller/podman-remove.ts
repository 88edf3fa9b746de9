/**
 * Ends a container in its own time, and removes it. Some of it by Podman's own calls: of those that are compatible with
 * Docker, the wait keeps a CPU busy and notices an end late, and a removal by force takes another ten seconds.
 */
import { z } from 'zod';
import { type Answer, type Api, noAnswer } from './podman-api.ts';
import type { ActionOutcome } from './world.ts';

const LOOK_DEADLINE_MS = 5000;
const SIGNAL_DEADLINE_MS = 10_000;
const REMOVE_DEADLINE_MS = 30_000;
/** While it is awaited, the engine looks this often whether it has ended. */
const WAIT_INTERVAL = '50ms';

/** What an image that names none is ended with. */
export const DEFAULT_SIGNAL = 'SIGTERM';

const stateSchema = z.object({
  State: z.object({ Running: z.boolean(), Paused: z.boolean().nullish() }),
  Config: z.object({ StopSignal: z.string().nullish() }),
});

/** What containers want to be asked with to end, by id, as far as they were ever looked at. */
export type StopSignals = Map<string, string>;

/**
 * Asks it to end, waits for `stopTimeoutS`, kills it, removes it. Gone already is what was wanted.
 *
 * Not by the engine's own stop: Podman carries out three for each CPU and one more at once (`--max-workers`), and the
 * next waits for as long as the slowest of those takes, whoever asked for them.
 */
export async function stopAndRemove(
  api: Api,
  containerId: string,
  stopTimeoutS: number,
  signals: StopSignals = new Map(),
): Promise<ActionOutcome> {
  const done: ActionOutcome = { kind: 'done', containerId: null, refusedLimits: [] };
  const ended = await end(api, containerId, stopTimeoutS, signals.get(containerId));
  signals.delete(containerId);
  if (isGone(ended)) return done;
  if (ended.kind === 'late' || ended.kind === 'unreachable') return noAnswer(ended);
  // Refused for any other reason: removing by force ends it too.
  const removed = await removeContainer(api, containerId, REMOVE_DEADLINE_MS);
  if (removed.kind === 'answer' || isGone(removed)) return done;
  if (removed.kind !== 'refused') return noAnswer(removed);
  if (removed.status === 409) return { kind: 'lookAgain', message: 'Somebody else is removing it already.' };
  return {
    kind: 'failed',
    reason: 'RemoveFailed',
    message: `Podman could not remove container ${shortId(containerId)} (HTTP ${removed.status}): ${removed.message}`,
  };
}

/** Kills it if it runs, and takes its anonymous volumes with it. */
export function removeContainer(api: Api, id: string, deadlineMs: number): Promise<Answer<unknown>> {
  return callPodman(api, {
    what: `remove container ${shortId(id)}`,
    deadlineMs,
    method: 'DELETE',
    path: `containers/${id}`,
    query: { force: true, v: true, timeout: 0 },
  });
}

/** `known`: its signal, where it need not be asked for first. Of ten that are stopped at once the last was asked late. */
async function end(
  api: Api,
  containerId: string,
  stopTimeoutS: number,
  known: string | undefined,
): Promise<Answer<unknown>> {
  const askedAtOnce = known === undefined ? null : await tell(api, containerId, known);
  if (askedAtOnce?.kind === 'answer') {
    const [ended] = await Promise.all([seeEnd(api, containerId, stopTimeoutS), letGoOn(api, containerId)]);
    return ended;
  }
  const found = await look(api, containerId);
  if (found.kind !== 'answer') return found;
  const { State, Config } = found.value;
  // What is paused would neither hear a signal nor finish its file.
  if (State.Paused === true) await unpause(api, containerId);
  else if (!State.Running) return found;
  const asked = await tell(api, containerId, Config.StopSignal || DEFAULT_SIGNAL);
  return asked.kind === 'answer' ? await seeEnd(api, containerId, stopTimeoutS) : asked;
}

function look(api: Api, containerId: string): Promise<Answer<z.infer<typeof stateSchema>>> {
  return api.call({
    what: `describe container ${shortId(containerId)}`,
    deadlineMs: LOOK_DEADLINE_MS,
    schema: stateSchema,
    send: (docker, abortSignal) => docker.getContainer(containerId).inspect({ abortSignal }),
  });
}

/** Whoever was asked while it was paused hears it once it goes on. */
async function letGoOn(api: Api, containerId: string): Promise<void> {
  const found = await look(api, containerId);
  if (found.kind === 'answer' && found.value.State.Paused === true) await unpause(api, containerId);
}

function unpause(api: Api, containerId: string): Promise<Answer<unknown>> {
  return api.call({
    what: `let go on container ${shortId(containerId)}`,
    deadlineMs: SIGNAL_DEADLINE_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => docker.getContainer(containerId).unpause({ abortSignal }),
  });
}

function tell(api: Api, containerId: string, signal: string): Promise<Answer<unknown>> {
  return api.call({
    what: `send ${signal} to container ${shortId(containerId)}`,
    deadlineMs: SIGNAL_DEADLINE_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => docker.getContainer(containerId).kill({ signal, abortSignal }),
  });
}

/** Waits, and kills it where it took too long. */
async function seeEnd(api: Api, containerId: string, stopTimeoutS: number): Promise<Answer<unknown>> {
  const path = `containers/${containerId}`;
  const ended = await callPodman(api, {
    what: `see container ${shortId(containerId)} end`,
    deadlineMs: stopTimeoutS * 1000,
    method: 'POST',
    path: `${path}/wait`,
    query: { interval: WAIT_INTERVAL },
  });
  if (ended.kind === 'answer' || ended.kind === 'unreachable') return ended;
  return await callPodman(api, {
    what: `kill container ${shortId(containerId)}`,
    deadlineMs: SIGNAL_DEADLINE_MS,
    method: 'POST',
    path: `${path}/kill`,
    query: { signal: 'SIGKILL' },
  });
}

interface PodmanCall {
  /** Completes the sentence "Podman did not …". */
  what: string;
  deadlineMs: number;
  method: 'POST' | 'DELETE';
  path: string;
  query: Record<string, unknown>;
}

/** A call of Podman's own API. Any Podman from 4.0 on answers to this version of it. */
function callPodman(api: Api, { what, deadlineMs, method, path, query }: PodmanCall): Promise<Answer<unknown>> {
  return api.call({
    what,
    deadlineMs,
    schema: z.unknown(),
    send: (docker, abortSignal) => {
      const statusCodes = { 200: true, 204: true, 404: 'no such container', 409: 'conflict', 500: 'server error' };
      // Nothing after the question mark: that is where `options` go.
      const request = { path: `/v4.0.0/libpod/${path}?`, method, options: query, statusCodes, abortSignal };
      return new Promise((resolve, reject) => {
        docker.modem.dial(request, (error: unknown, data: unknown) => (error ? reject(error) : resolve(data)));
      });
    },
  });
}

const isGone = (answer: Answer<unknown>): boolean => answer.kind === 'refused' && answer.status === 404;
const shortId = (containerId: string): string => containerId.slice(0, 12);
