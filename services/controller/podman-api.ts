/**
 * The connection to Podman: every call has a deadline and a socket of its own, so that neither a stop that takes ten
 * seconds nor an engine that accepts and never answers holds up anybody else. Answers are data; nothing here throws.
 */
import { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import Dockerode from 'dockerode';
import type { z } from 'zod';
import type { ActionOutcome, Clock } from './world.ts';

export type Answer<T> =
  | { kind: 'answer'; value: T }
  /** The engine said no, with an HTTP status. */
  | { kind: 'refused'; status: number; message: string }
  /** `sent`: the request may have arrived, so nobody knows whether it was carried out. */
  | { kind: 'unreachable'; message: string; sent: boolean }
  | { kind: 'late'; message: string };

interface Call {
  /** Completes the sentence "Podman did not …". */
  what: string;
  deadlineMs: number;
}

export interface Api {
  call<T>(
    call: Call & { schema: z.ZodType<T>; send: (docker: Dockerode, abortSignal: AbortSignal) => Promise<unknown> },
  ): Promise<Answer<T>>;
  /** The deadline is for the beginning of the stream; `close` ends it. */
  open(
    call: Call & { send: (docker: Dockerode, abortSignal: AbortSignal) => Promise<NodeJS.ReadableStream> },
  ): Promise<Answer<{ stream: Readable; close: () => void }>>;
  /** Breaks off everything under way. */
  close(): void;
}

export interface ApiOptions {
  socketPath: string;
  clock: Clock;
}

/** Errors of a connection that never came about: the request was not carried out. */
const NEVER_SENT = new Map([
  ['ENOENT', 'there is no such socket'],
  ['ECONNREFUSED', 'nobody listens there'],
  ['ENOTSOCK', 'that is not a socket'],
  ['EACCES', 'permission is denied'],
  ['EPERM', 'permission is denied'],
]);

export function createApi({ socketPath, clock }: ApiOptions): Api {
  const docker = connect(socketPath);
  const underWay = new Set<AbortController>();

  /** Resolves once, whatever becomes of the request: a connection that breaks within an answer tells nobody. */
  const bounded = <T>(
    { what, deadlineMs }: Call,
    send: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<{ answer: Answer<T>; controller: AbortController }> =>
    new Promise((resolve) => {
      const controller = new AbortController();
      underWay.add(controller);
      const settle = (answer: Answer<T>): void => {
        cancel();
        controller.signal.removeEventListener('abort', onAbort);
        if (answer.kind !== 'answer') underWay.delete(controller);
        resolve({ answer, controller });
      };
      const onAbort = (): void =>
        settle({ kind: 'unreachable', message: 'The connection to the engine was closed.', sent: true });
      const cancel = clock.timer(deadlineMs, () => {
        settle({ kind: 'late', message: `Podman did not ${what} within ${Math.round(deadlineMs / 100) / 10} s.` });
        controller.abort();
      });
      controller.signal.addEventListener('abort', onAbort);
      send(controller.signal).then(
        (value) => settle({ kind: 'answer', value }),
        (error: unknown) => settle(failure(error, socketPath)),
      );
    });

  return {
    async call({ schema, send, ...call }) {
      const { answer, controller } = await bounded(call, (abortSignal) => send(docker, abortSignal));
      underWay.delete(controller);
      if (answer.kind !== 'answer') return answer;
      const parsed = schema.safeParse(answer.value);
      if (parsed.success) return { kind: 'answer', value: parsed.data };
      const problem = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
      const message = `Podman answered something unknown when it was to ${call.what} (${plain(problem).slice(0, 300)}): is what listens at ${socketPath} a Podman?`;
      return { kind: 'unreachable', message, sent: true };
    },
    async open({ send, ...call }) {
      const { answer, controller } = await bounded(call, (abortSignal) => send(docker, abortSignal));
      if (answer.kind !== 'answer') return answer;
      const close = (): void => {
        underWay.delete(controller);
        controller.abort();
      };
      // It is an `http.IncomingMessage`; the declared type is only narrower.
      return { kind: 'answer', value: { stream: answer.value as Readable, close } };
    },
    close() {
      for (const controller of underWay) controller.abort();
      underWay.clear();
    },
  };
}

/**
 * No keep-alive: a pooled socket of an engine that was restarted fails at its next use. `host` and the others are named
 * because dockerode would otherwise take them from DOCKER_HOST and DOCKER_CLIENT_TIMEOUT.
 */
function connect(socketPath: string): Dockerode {
  const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
  // For a debug line that nobody reads, dockerode's modem prints each request with its agent, all open sockets and whatever
  // hangs on them: with fifty streams that takes tens of milliseconds a request. This is what it prints instead.
  Object.assign(agent, { [inspect.custom]: () => 'Agent' });
  const options: Dockerode.DockerOptions & { agent: Agent } = {
    socketPath,
    host: undefined,
    port: undefined,
    protocol: 'http',
    timeout: undefined,
    agent,
  };
  const docker = new Dockerode(options);
  tellRefusals(docker.modem);
  return docker;
}

/** What docker-modem calls with what came back; its types leave it out. */
interface Answering {
  buildPayload(
    error: unknown,
    isStream: boolean,
    expected: Record<number, unknown>,
    openStdin: boolean,
    request: unknown,
    response: Readable & { statusCode: number },
    json: unknown,
    done: (error: unknown, value: unknown) => void,
  ): void;
}

/**
 * docker-modem joins a refusal to one text, and throws where nobody can catch it when an answer's `toString` is no function
 * (found by fuzzing; docker-modem 5.0.7). A refusal is handed on as it came instead.
 */
function tellRefusals(modem: unknown): void {
  const answering = modem as Answering;
  const build = answering.buildPayload.bind(answering);
  answering.buildPayload = (error, isStream, expected, openStdin, request, response, json, done) => {
    if (error || expected[response.statusCode] === true)
      return build(error, isStream, expected, openStdin, request, response, json, done);
    const { statusCode } = response;
    const refuse = (body: unknown): void => done(Object.assign(new Error('refused'), { statusCode, json: body }), null);
    if (isStream) text(response).then((words) => refuse(parsed(words)), done as (error: unknown) => void);
    else refuse(Buffer.isBuffer(json) ? json.toString() : json);
  };
}

function parsed(words: string): unknown {
  try {
    return JSON.parse(words);
  } catch {
    return words;
  }
}

function failure(error: unknown, socketPath: string): Exclude<Answer<never>, { kind: 'answer' }> {
  const { statusCode, code, message, json } = Object(error) as Record<string, unknown>;
  if (typeof statusCode === 'number') return { kind: 'refused', status: statusCode, message: engineWords(json) };
  const why = NEVER_SENT.get(String(code));
  if (why !== undefined) {
    return {
      kind: 'unreachable',
      message: `No engine answers at ${socketPath}: ${why}. Start Podman's API ("systemctl enable --now podman.socket") or correct the path.`,
      sent: false,
    };
  }
  return { kind: 'unreachable', message: `The connection to ${socketPath} broke: ${String(message)}.`, sent: true };
}

/** The engine's own sentence. */
function engineWords(body: unknown): string {
  const { message, cause } = Object(body) as Record<string, unknown>;
  const words = [message, cause, body].find((words) => typeof words === 'string' && words.trim() !== '');
  const rest = Object(body) === body ? JSON.stringify(body) : 'it gave no reason';
  return plain(words ?? rest).slice(0, 1000);
}

/** In one line, and nothing in it that a terminal obeys: an engine quotes what programs said. */
function plain(words: unknown): string {
  return String(words)
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim();
}

/** The sentence of whatever is not an answer. */
export function whyNot(answer: Exclude<Answer<unknown>, { kind: 'answer' }>): string {
  return answer.kind === 'refused' ? `Podman refused (HTTP ${answer.status}): ${answer.message}` : answer.message;
}

/** What never reached the engine did not happen; anything else may have. */
export function noAnswer(failure: Extract<Answer<never>, { kind: 'unreachable' | 'late' }>): ActionOutcome {
  if (failure.kind === 'unreachable' && !failure.sent)
    return { kind: 'failed', reason: 'EngineUnavailable', message: failure.message };
  return { kind: 'unknown', message: failure.message };
}
