/** Fetches an image through the engine: hours on a slow line are fine as long as something comes. */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { z } from 'zod';
import { type Api, whyNot } from './podman-api.ts';
import type { ActionOutcome, Clock } from './world.ts';

/** A registry that does not answer is asked several times by the engine itself. */
const BEGIN_DEADLINE_MS = 120_000;
const SILENCE_MS = 120_000;
/** No message is that long. Characters. */
const MAX_LINE_LENGTH = 1024 * 1024;

/** Beyond all images. Bytes. */
const LARGEST_LAYER = 2 ** 50;

const word = z.string().nullish().catch(null);
const size = z.int().min(0).max(LARGEST_LAYER).nullish().catch(null);
/** What cannot be read counts as not said; that something went wrong counts however it is said. */
const messageSchema = z.object({
  id: word,
  status: word,
  error: z.string().nullish().catch('the engine does not say why in words'),
  progressDetail: z.object({ current: size, total: size }).nullish().catch(null),
});

export interface PullOptions {
  api: Api;
  clock: Clock;
  /** Fully qualified, with tag. */
  reference: string;
  /** Bytes so far, and of all layers known so far. */
  onProgress: (done: number, total: number) => void;
  signal: AbortSignal;
}

/** Never throws. Given up after two minutes without a word, or by `signal`: what came so far is then lost. */
export async function pullImage({ api, clock, reference, onProgress, signal }: PullOptions): Promise<ActionOutcome> {
  const opened = await api.open({
    what: `begin to fetch ${reference}`,
    deadlineMs: BEGIN_DEADLINE_MS,
    send: (docker, abortSignal) =>
      docker.createImage({ fromImage: reference, abortSignal: AbortSignal.any([abortSignal, signal]) }),
  });
  if (opened.kind !== 'answer') return failed(reference, whyNot(opened));
  const { stream, close } = opened.value;
  const layers = new Map<string, { done: number; total: number }>();
  let problem: string | null = null;
  const read = (line: string): void => {
    const message = messageSchema.safeParse(parseJson(line)).data;
    if (message === undefined) return;
    problem = message.error || problem;
    const { current, total } = message.progressDetail ?? {};
    const layer = layers.get(message.id ?? '') ?? { done: 0, total: 0 };
    if (total != null && total > 0) layer.total = total;
    if (current != null) layer.done = current;
    if (message.status === 'Download complete') layer.done = layer.total;
    layer.total = Math.max(layer.total, layer.done);
    layers.set(message.id ?? '', layer);
    const all = [...layers.values()];
    onProgress(
      all.reduce((sum, { done }) => sum + done, 0),
      all.reduce((sum, one) => sum + one.total, 0),
    );
  };
  const broken = await readLines(stream, clock, signal, read);
  close();
  if (broken !== null) return failed(reference, broken);
  if (problem !== null) return failed(reference, problem);
  return { kind: 'done', containerId: null, refusedLimits: [] };
}

function failed(reference: string, why: string): ActionOutcome {
  // It quotes the registry, which may say anything.
  const words = why
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, 500);
  return {
    kind: 'failed',
    reason: 'PullFailed',
    message: `The image ${reference} cannot be fetched: ${words || 'nobody says why'}.`,
  };
}

/** One JSON object per line. Answers null at the proper end, else why it ended. */
function readLines(
  stream: Readable,
  clock: Clock,
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<string | null> {
  return new Promise((resolve) => {
    const decoder = new StringDecoder('utf8');
    let rest = '';
    let cancel = (): void => {};
    const settle = (why: string | null): void => {
      cancel();
      signal.removeEventListener('abort', onAbort);
      resolve(why);
    };
    const onAbort = (): void => settle('it is not wanted any more');
    const listenOn = (): void => {
      cancel();
      cancel = clock.timer(SILENCE_MS, () => settle(`nothing has come for ${SILENCE_MS / 1000} s`));
    };
    signal.addEventListener('abort', onAbort);
    listenOn();
    stream.on('data', (chunk: Buffer) => {
      listenOn();
      const lines = (rest + decoder.write(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') onLine(line);
      if (rest.length > MAX_LINE_LENGTH) settle('the engine sent a message without an end');
    });
    stream.on('end', () => {
      if (rest.trim() !== '') onLine(rest);
      settle(null);
    });
    stream.on('error', (error) => settle(error.message));
    stream.on('close', () => settle('the engine broke off'));
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
