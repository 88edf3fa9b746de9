/** What an engine says while it fetches an image, damaged and cut anywhere: done or failed in a sentence, with numbers that are some. */
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { createImagePulls } from '../../services/controller/image-pulls.ts';
import type { Api } from '../../services/controller/podman-api.ts';
import { pullImage } from '../../services/controller/podman-pull.ts';
import type { ActionOutcome, Engine } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { createManualClock, quietLog } from '../unit/in-memory-world.ts';
import { corpus, damagedJson, damagedText, fuzz, isSentence, isUnpolluted } from './fuzzing.ts';

const REFERENCE = 'registry.example/wood/ballast:1';
const SAMPLES = corpus('pull-');
const LINES = SAMPLES.flatMap((text) => text.trim().split('\n')).map((line): unknown => JSON.parse(line));

/** Sizes that no layer has, each as an engine could write it. */
const strangeSizes = fc.constantFrom(-1, 0, 0.5, 1e308, -1e308, 2 ** 53, 3_100_692);
const messages = fc.array(
  fc.oneof(
    damagedJson(LINES),
    fc.record({
      status: fc.constantFrom('Downloading', 'Download complete', 'Extracting'),
      id: fc.constantFrom('253d514df698', '3c6287e35bf4', '__proto__', ''),
      progressDetail: fc.record({ current: strangeSizes, total: strangeSizes }),
    }),
  ),
  { maxLength: 30 },
);
const streams: fc.Arbitrary<string> = fc.oneof(
  damagedText(SAMPLES),
  messages.map((all) => all.map((one) => `${JSON.stringify(one) ?? ''}\n`).join('')),
);
const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 });

/** How the stream ends: as it should, with an error, or broken off. */
type Ending = 'end' | 'error' | 'close';

interface Pulled {
  outcome: ActionOutcome;
  steps: [number, number][];
}

async function pull(pieces: Iterable<Buffer>, ending: Ending = 'end'): Promise<Pulled> {
  const stream = new PassThrough();
  const api = { open: async () => ({ kind: 'answer', value: { stream, close: () => stream.destroy() } }) };
  const steps: [number, number][] = [];
  const pulling = pullImage({
    ...{ api: api as unknown as Api, clock: createClock(), reference: REFERENCE, signal: new AbortController().signal },
    onProgress: (done, total) => steps.push([done, total]),
  });
  for (const piece of pieces) stream.write(piece);
  if (ending === 'end') stream.end();
  else {
    await new Promise((resolve) => setImmediate(resolve));
    stream.destroy(ending === 'error' ? new Error('socket hang up') : undefined);
  }
  return { outcome: await pulling, steps };
}

function* cut(bytes: Buffer, into: readonly number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = into[turn % into.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Whether a line of it says that something went wrong. */
const saysError = (text: string): boolean =>
  text.split('\n').some((line) => {
    try {
      const message: unknown = JSON.parse(line);
      if (typeof message !== 'object' || message === null || Array.isArray(message)) return false;
      const error: unknown = Object.hasOwn(message, 'error') ? Reflect.get(message, 'error') : null;
      return error !== null && error !== '';
    } catch {
      return false;
    }
  });

describe('fetching an image', () => {
  fuzz(
    'is done or fails in a sentence that names it; its numbers are some, and what it said of errors is never done',
    streams,
    async (text) => {
      const { outcome, steps } = await pull([Buffer.from(text)]);
      for (const [done, total] of steps) {
        expect(Number.isFinite(total)).toBe(true);
        expect(done >= 0 && done <= total).toBe(true);
      }
      if (saysError(text)) expect(outcome.kind).toBe('failed');
      if (outcome.kind === 'done') return;
      expect(outcome.message).toSatisfy(isSentence);
      expect(outcome.message).toContain(REFERENCE);
      expect(isUnpolluted()).toBe(true);
    },
  );

  fuzz('is the same however the stream is cut', fc.tuple(streams, sizes), async ([text, into]) => {
    const bytes = Buffer.from(text);
    expect(await pull(cut(bytes, into))).toEqual(await pull([bytes]));
  });

  fuzz(
    'has failed where the stream broke, whatever came before',
    fc.tuple(streams, fc.constantFrom<Ending>('error', 'close')),
    async ([text, ending]) => {
      const { outcome } = await pull([Buffer.from(text)], ending);
      expect(outcome).toMatchObject({ kind: 'failed', reason: 'PullFailed' });
      if (outcome.kind === 'failed') expect(outcome.message).toSatisfy(isSentence);
    },
  );

  fuzz('is told in words with a share from 0 to 100 %', streams, async (text) => {
    const clock = createManualClock();
    const { steps } = await pull([Buffer.from(text)]);
    const told: string[] = [];
    const engine = {
      async pull(_reference: string, onProgress: (done: number, total: number) => void): Promise<ActionOutcome> {
        for (const [done, total] of steps) {
          onProgress(done, total);
          await clock.advance(3000);
        }
        return { kind: 'failed', reason: 'PullFailed', message: 'It failed.' };
      },
    } as unknown as Engine;
    const pulls = createImagePulls({
      ...{ clock, engine, log: quietLog },
      onChange: () => void told.push(pulls.states().get(REFERENCE)?.message ?? ''),
    });
    pulls.want([REFERENCE]);
    await until(() => pulls.states().get(REFERENCE)?.kind === 'waiting');
    pulls.stop();
    for (const message of told) {
      expect(message).toSatisfy(isSentence);
      if (message.includes(' pulling ')) expect(message).toMatch(/ pulling ((\d\d?|100) % of )?\d+ MB\.$/);
    }
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}
