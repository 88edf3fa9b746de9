/** What an engine answers, damaged and cut anywhere: a failed reading or a true one, and never a throw. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPodman } from '../../services/controller/podman.ts';
import type { Api } from '../../services/controller/podman-api.ts';
import { followEvents } from '../../services/controller/podman-events.ts';
import { createFrameReader } from '../../services/controller/podman-logs.ts';
import type { Engine, EngineLogLine } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { testSpec } from '../integration/container-spec.ts';
import { quietLog } from '../unit/in-memory-world.ts';
import { STATION_ID } from '../unit/sample-world.ts';
import { corpus, damagedBytes, damagedJson, damagedText, fuzz, isSentence, isUnpolluted } from './fuzzing.ts';

/** Sizes of the pieces in which a stream comes. */
const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20 });

function* cut(bytes: Buffer, into: readonly number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = into[turn % into.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

describe('events', () => {
  const [sample = ''] = corpus('events');

  async function heardFrom(pieces: Iterable<Buffer>): Promise<string[]> {
    const stream = new PassThrough();
    const heard: string[] = [];
    const api = { open: async () => ({ kind: 'answer', value: { stream, close: () => stream.destroy() } }) };
    const follow = { clock: createClock(), stationId: STATION_ID, onState: () => {} };
    const stop = followEvents({ ...follow, api: api as unknown as Api, onEvent: (name) => heard.push(name) });
    await new Promise((resolve) => setImmediate(resolve));
    for (const piece of pieces) stream.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
    stop();
    stream.destroy();
    return heard;
  }

  fuzz(
    "the same is heard however the stream is cut, and names are the engine's",
    fc.tuple(damagedText([sample]), sizes),
    async ([text, into]) => {
      const bytes = Buffer.from(`${text}\n`);
      const whole = await heardFrom([bytes]);
      expect(await heardFrom(cut(bytes, into))).toEqual(whole);
      expect(whole.length).toBeLessThanOrEqual(text.split('\n').length + 1);
      expect(isUnpolluted()).toBe(true);
    },
  );
});

describe('logs', () => {
  const frame = (stream: number, text: string): Buffer => {
    const content = Buffer.from(text);
    const head = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(content.length, 4);
    return Buffer.concat([head, content]);
  };
  const SAMPLE = Buffer.concat([
    frame(1, '2025-06-14T03:15:00.123456789Z Eule gehört 🦉\n'),
    frame(2, '2025-06-14T05:15:00.5+02:00 {"level":"warn"}\r\n'),
    frame(1, '2025-06-14T03:15:01Z half a line'),
    frame(1, '2025-06-14T03:15:01Z  and the rest\n'),
  ]);

  function linesOf(pieces: Iterable<Buffer>): { lines: EngineLogLine[]; isGood: boolean } {
    const lines: EngineLogLine[] = [];
    const reader = createFrameReader((line) => lines.push(line));
    let isGood = true;
    for (const piece of pieces) isGood = isGood && reader.read(piece);
    return { lines, isGood };
  }

  fuzz(
    'the same lines however the stream is cut; each bounded, with a time that can be compared or none',
    fc.tuple(damagedBytes([SAMPLE]), sizes),
    ([bytes, into]) => {
      const whole = linesOf([bytes]);
      expect(linesOf(cut(bytes, into))).toEqual(whole);
      for (const { text, timestamp } of whole.lines) {
        expect(text.length).toBeLessThanOrEqual(4000);
        expect(timestamp).toMatch(/^(-?\d+\.\d{9})?$/);
      }
    },
  );
});

describe('answers', () => {
  let folder: string;
  let server: Server;
  let podman: Engine;
  let answer = '';
  let status = 200;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'silvasonic-fuzz-'));
    server = createServer((_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(answer);
    }).listen(join(folder, 'engine.sock'));
    await once(server, 'listening');
    // Whatever it does not answer as it should is told at once.
    podman = createPodman({ socketPath: join(folder, 'engine.sock'), clock: createClock(), log: quietLog });
  });
  afterAll(async () => {
    await podman?.stop();
    server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ['{"message":"no such image","toString":1}', 'no such image'],
    ['{"toString":{"toString":0}}', '{"toString":{"toString":0}}'],
    ['in plain words', 'in plain words'],
    ['', 'it gave no reason'],
  ])('a refusal is told whatever it looks like: %s', async (text, told) => {
    answer = text;
    status = 500;
    expect(await podman.list(STATION_ID)).toMatchObject({
      ok: false,
      error: expect.stringContaining(`(HTTP 500): ${told}`),
    });
    const pull = await podman.pull('localhost/silvasonic-recorder:latest', () => {}, new AbortController().signal);
    expect(pull).toMatchObject({ message: expect.stringContaining(told) });
  });

  const documents = [...corpus('listed'), ...corpus('inspect')].map((text) => JSON.parse(text));

  fuzz(
    'a list, an image, a start: done or told, and only what is ours',
    fc.tuple(
      fc.oneof(
        damagedJson(documents).map((json) => JSON.stringify(json) ?? ''),
        damagedText([...corpus('listed'), ...corpus('inspect')]),
      ),
      fc.constantFrom(200, 200, 200, 201, 204, 304, 404, 409, 500),
    ),
    async ([text, code]) => {
      answer = code === 204 || code === 304 ? '' : text;
      status = code;
      const listed = await podman.list(STATION_ID);
      if (!listed.ok) expect(listed.error).toSatisfy(isSentence);
      else for (const { labels } of listed.value) expect(labels['io.silvasonic.station']).toBe(STATION_ID);
      const images = await podman.images(['localhost/silvasonic-recorder:latest']);
      if (!images.ok) expect(images.error).toSatisfy(isSentence);
      const outcomes = [
        await podman.run(testSpec(STATION_ID, { ports: [], entrypoint: null, command: null, user: null })),
        await podman.remove('7a3bd9f1c2e4', 1),
        await podman.tag('sha256:0123', 'localhost/silvasonic-recorder:last-good'),
      ];
      for (const outcome of outcomes) if ('message' in outcome) expect(outcome.message).toSatisfy(isSentence);
      expect(isUnpolluted()).toBe(true);
    },
  );
});
