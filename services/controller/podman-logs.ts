/**
 * What a container writes, line by line: the engine's frames taken apart, characters put together across them. Chatty
 * containers take turns, so that they keep their own lines waiting and nobody else.
 */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Api } from './podman-api.ts';
import type { Clock, EngineLogLine } from './world.ts';

export interface FollowOptions {
  containerId: string;
  /** Unix milliseconds: what was written before is not told. */
  sinceMs: number;
  onLine: (line: EngineLogLine) => void;
  /** Called once, however it ends; not after the cancellation. */
  onEnd: () => void;
}

const BEGIN_DEADLINE_MS = 10_000;
/** Of those that write so much at once, one is read in each turn: all of them together keep a tenth of a core busy. */
const MUCH_BYTES = 8 * 1024;
const TURN_MS = 25;
const HEADER_BYTES = 8;
/** No frame is that long. */
const MAX_FRAME_BYTES = 1024 * 1024;
/** A line is cut here. Characters. */
const MAX_LINE_LENGTH = 4000;
const STREAMS: Record<number, EngineLogLine['stream']> = { 1: 'stdout', 2: 'stderr' };

export type LogFollower = (options: FollowOptions) => () => void;

/** All that follow through one of these share its turns. */
export function createLogFollower(api: Api, clock: Clock): LogFollower {
  const turns = createTurns(clock);
  /** Follows until it ends or the returned function is called. */
  return ({ containerId, sinceMs, onLine, onEnd }) => {
    let stopped = false;
    let release = (): void => {};
    const end = (): void => {
      if (stopped) return;
      stopped = true;
      release();
      onEnd();
    };
    const follow = async (): Promise<void> => {
      const opened = await openLog(api, containerId, sinceMs);
      if (opened.kind !== 'answer') return end();
      const { stream, close } = opened.value;
      if (stopped) return close();
      const giveUpTurn = turns.join(stream);
      release = () => {
        giveUpTurn();
        close();
      };
      const frames = createFrameReader(onLine);
      stream.on('data', (chunk: Buffer) => {
        if (!stopped && !frames.read(chunk)) end();
      });
      stream.on('error', end);
      stream.on('close', end);
    };
    void follow();
    return () => {
      stopped = true;
      release();
    };
  };
}

function openLog(api: Api, containerId: string, sinceMs: number) {
  return api.open({
    what: `tell what container ${containerId.slice(0, 12)} writes`,
    deadlineMs: BEGIN_DEADLINE_MS,
    send: (docker, abortSignal) => {
      const since = Math.floor(sinceMs / 1000);
      const options = { follow: true as const, stdout: true, stderr: true, timestamps: true, since, abortSignal };
      return docker.getContainer(containerId).logs(options);
    },
  });
}

/** Whoever has much to say pauses after each piece, and goes on when it is his turn; others are not held up. */
function createTurns(clock: Clock) {
  const waiting: Readable[] = [];
  let isRunning = false;
  const next = (): void => {
    const stream = waiting.shift();
    isRunning = stream !== undefined;
    stream?.resume();
    if (isRunning) clock.timer(TURN_MS, next);
  };
  return {
    /** Returns how to leave. */
    join(stream: Readable): () => void {
      stream.on('data', (chunk: Buffer) => {
        if (chunk.length < MUCH_BYTES) return;
        stream.pause();
        waiting.push(stream);
        if (isRunning) return;
        isRunning = true;
        clock.timer(TURN_MS, next);
      });
      return () => {
        const place = waiting.indexOf(stream);
        if (place !== -1) waiting.splice(place, 1);
      };
    },
  };
}

/** `read` answers false when what comes are no frames. */
export function createFrameReader(onLine: (line: EngineLogLine) => void): { read(chunk: Buffer): boolean } {
  let rest: Buffer = Buffer.alloc(0);
  const parts: Record<EngineLogLine['stream'], Part> = { stdout: newPart(), stderr: newPart() };
  return {
    read(chunk) {
      let buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (buffer.length >= HEADER_BYTES) {
        const stream = STREAMS[buffer.readUInt8(0)];
        const length = buffer.readUInt32BE(4);
        if (stream === undefined || length > MAX_FRAME_BYTES) return false;
        if (buffer.length < HEADER_BYTES + length) break;
        readFrame(parts[stream], buffer.subarray(HEADER_BYTES, HEADER_BYTES + length), stream, onLine);
        buffer = buffer.subarray(HEADER_BYTES + length);
      }
      rest = Buffer.from(buffer);
      return true;
    },
  };
}

/** A line that is not complete yet. */
interface Part {
  decoder: StringDecoder;
  timestamp: string;
  text: string;
}

const newPart = (): Part => ({ decoder: new StringDecoder('utf8'), timestamp: '', text: '' });

/** A frame is a line, or a piece of a long one, each with the time before it. */
function readFrame(
  part: Part,
  frame: Buffer,
  stream: EngineLogLine['stream'],
  onLine: (line: EngineLogLine) => void,
): void {
  for (let from = 0; from < frame.length; ) {
    const lineEnd = frame.indexOf(0x0a, from);
    const isWhole = lineEnd !== -1;
    const piece = frame.subarray(from, isWhole ? lineEnd : frame.length);
    const space = piece.indexOf(0x20);
    const timestamp = space === -1 ? null : comparableTime(piece.toString('latin1', 0, space));
    if (part.timestamp === '') part.timestamp = timestamp ?? '';
    if (part.text.length < MAX_LINE_LENGTH)
      part.text += part.decoder.write(timestamp === null ? piece : piece.subarray(space + 1));
    if (isWhole) {
      const text = (part.text + part.decoder.end()).slice(0, MAX_LINE_LENGTH).replace(/\r$/, '');
      onLine({ timestamp: part.timestamp, stream, text });
      part.text = '';
      part.timestamp = '';
    }
    from = isWhole ? lineEnd + 1 : frame.length;
  }
}

const TIME_PATTERN = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/;

/** Seconds since 1970 with nine digits behind the point: as text they sort as they follow each other; null: no time. */
function comparableTime(text: string): string | null {
  const found = TIME_PATTERN.exec(text);
  if (found === null) return null;
  const seconds = Date.parse(`${found[1]}${found[3]}`) / 1000;
  if (Number.isNaN(seconds)) return null;
  return `${String(seconds).padStart(11, '0')}.${(found[2] ?? '').padEnd(9, '0')}`;
}
