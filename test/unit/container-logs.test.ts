/** Logs of containers on the bus: frames taken apart, each line once, nobody kept waiting by who writes too much. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { createInProcessBus, type InProcessBus } from '../../services/controller/bus.ts';
import { startContainerLogs } from '../../services/controller/container-logs.ts';
import { createFrameReader } from '../../services/controller/podman-logs.ts';
import type { Engine, EngineLogLine, ObservedContainer } from '../../services/controller/world.ts';
import { type LogLine, logLineSchema } from '../../services/shared/contract.ts';
import { createManualClock, createWorld, type ManualClock } from './in-memory-world.ts';
import { strayContainer } from './sample-world.ts';

function frame(text: string | Buffer, stream = 1): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

function readAll(chunks: Buffer[]): { lines: EngineLogLine[]; ok: boolean } {
  const lines: EngineLogLine[] = [];
  const reader = createFrameReader((line) => lines.push(line));
  return { lines, ok: chunks.every((chunk) => reader.read(chunk)) };
}

describe('the frames of an engine', () => {
  const TIME = '2026-05-01T12:00:00.5+02:00';

  test('become lines with a time that can be compared, by stream, without their break', () => {
    const chunks = [frame(`${TIME} one\r\n`), frame(`2026-05-01T10:00:00.500000001Z two\n`, 2), frame(`${TIME} \n`)];
    expect(readAll(chunks)).toEqual({
      ok: true,
      lines: [
        { timestamp: '01777629600.500000000', stream: 'stdout', text: 'one' },
        { timestamp: '01777629600.500000001', stream: 'stderr', text: 'two' },
        { timestamp: '01777629600.500000000', stream: 'stdout', text: '' },
      ],
    });
  });

  test('cut anywhere, even within a character, they are the same', () => {
    const texts = ['Käuzchen am „Großen Teich“ 🦉', '', 'second line'];
    const whole = Buffer.concat(texts.map((text, index) => frame(`${TIME} ${text}\n`, 1 + (index % 2))));
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length), { maxLength: 12 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
        const chunks = at.slice(1).map((end, index) => whole.subarray(at[index], end));
        expect(readAll(chunks).lines.map(({ text }) => text)).toEqual(texts);
      }),
    );
  });

  test('a line in pieces, a character across two of them, is put together; a long one is cut', () => {
    const owl = Buffer.from('🦉');
    const pieces = [
      frame(Buffer.concat([Buffer.from(`${TIME} an owl: `), owl.subarray(0, 2)])),
      frame(Buffer.concat([Buffer.from(`${TIME} `), owl.subarray(2), Buffer.from('!\n')])),
      frame(`${TIME} ${'x'.repeat(9000)}\n`),
    ];
    expect(readAll(pieces).lines.map(({ text }) => text)).toEqual(['an owl: 🦉!', 'x'.repeat(4000)]);
  });

  test('what are none is refused, whatever it is, and never throws', () => {
    expect(readAll([Buffer.from('HTTP/1.1 500 Internal Server Error\r\n')]).ok).toBe(false);
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readAll([Buffer.from(bytes)])));
  });
});

interface Followed {
  id: string;
  sinceMs: number;
  line(timestamp: string, text: string): void;
  end(): void;
  cancelled: boolean;
}

describe('on the bus', () => {
  let clock: ManualClock;
  let bus: InProcessBus;
  let containers: ObservedContainer[];
  let followed: Followed[];
  let heard: LogLine[];

  beforeEach(() => {
    clock = createManualClock();
    bus = createInProcessBus();
    containers = [strayContainer('robin'), strayContainer('wren')];
    followed = [];
    heard = [];
    const { ports } = createWorld(clock);
    const engine: Engine = {
      ...ports.engine,
      followLog(id, sinceMs, onLine, onEnd) {
        const one: Followed = {
          id,
          sinceMs,
          cancelled: false,
          line: (timestamp, text) => onLine({ timestamp, stream: 'stdout', text }),
          end: onEnd,
        };
        followed.push(one);
        return () => {
          one.cancelled = true;
        };
      },
    };
    startContainerLogs({ clock, engine, bus, containers: () => containers });
  });

  const listen = async (): Promise<() => void> => {
    const stop = bus.onLog((line) => heard.push(logLineSchema.parse(line)));
    await clock.advance(2000);
    return stop;
  };
  const at = (seconds: number): string => `${String(1_700_000_000 + seconds).padStart(11, '0')}.000000000`;
  const texts = (): string[] => heard.map(({ text }) => text);

  test('nothing is followed while nobody listens, and nothing any more when he goes', async () => {
    await clock.advance(60_000);
    expect(followed).toEqual([]);
    const stop = await listen();
    expect(followed.map(({ id }) => id)).toEqual(['robin', 'wren']);
    followed[0]?.line(at(70), 'hello');
    await clock.advance(200);
    expect(heard).toMatchObject([{ service: 'recorder', instance: 'robin', text: 'hello', at: 1_700_000_070_000 }]);
    stop();
    await clock.advance(2000);
    expect(followed.every(({ cancelled }) => cancelled)).toBe(true);
    await clock.advance(60_000);
    expect(followed).toHaveLength(2);
  });

  test('a stream that broke is taken up again; what it repeats is left out, though several lines bear one time', async () => {
    await listen();
    followed[0]?.line(at(1), 'a');
    followed[0]?.line(at(2), 'b');
    followed[0]?.line(at(2), 'c');
    followed[0]?.end();
    await clock.advance(3000);
    const again = followed.at(-1);
    expect(again?.id).toBe('robin');
    for (const [time, text] of [
      [1, 'a'],
      [2, 'b'],
      [2, 'c'],
      [2, 'd'],
      [3, 'e'],
    ] as const)
      again?.line(at(time), text);
    // A clock that was put back silences nobody.
    again?.line(at(0), 'f');
    await clock.advance(200);
    expect(texts()).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  test('another listener later hears no line a second time; a new container is heard from its beginning', async () => {
    const stop = await listen();
    followed[0]?.line(at(3), 'a');
    await clock.advance(200);
    stop();
    await clock.advance(2000);
    containers = [...containers, strayContainer('owl')];
    await listen();
    const [robin, , owl] = followed.slice(2);
    robin?.line(at(3), 'a');
    robin?.line(at(5), 'b');
    owl?.line(at(4), 'first');
    await clock.advance(200);
    expect(texts().sort()).toEqual(['a', 'b', 'first']);
  });

  test('fifty that write without end: each has its share, what is beyond it is counted and told', async () => {
    containers = Array.from({ length: 50 }, (_, index) => strayContainer(`c${index}`));
    await listen();
    // A few are taken up at a time.
    await clock.advance(5000);
    expect(followed).toHaveLength(50);
    for (let turn = 0; turn < 1000; turn += 1) for (const one of followed) one.line(at(turn), `line ${turn}`);
    await clock.advance(5000);
    expect(heard.length).toBeGreaterThan(1000);
    const said = heard.filter(({ text }) => /^… \d+ lines left out/.test(text));
    expect(new Set(said.map(({ instance }) => instance)).size).toBe(50);
    const lines = heard.length - said.length;
    const left = said.reduce((sum, { text }) => sum + Number(/\d+/.exec(text)?.[0]), 0);
    expect(lines + left).toBe(50 * 1000);
  });
});
