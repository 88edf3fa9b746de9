/**
 * The microphone as a source: real `arecord` as a child process, its raw output cut into frames.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { BYTES_PER_SAMPLE, RECORDER_EXIT } from '../shared/recording.ts';
import { type CaptureRequest, createArecordMessages } from './arecord-messages.ts';
import type { CardCheck } from './card.ts';
import { describeHolder } from './holder.ts';
import { createFramer } from './samples.ts';
import type { CaptureEnd, CaptureSink, CaptureSource } from './source.ts';

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** After SIGTERM; a driver that hangs is not waited for. */
const KILL_AFTER_MS = 300;
/** Between the end of the process and the end of its output, which a stray child of it could hold open. */
const OUTPUT_GRACE_MS = 200;

/** Asked of the device, which grants the largest that it has, up to this: so long nobody has to read. Microseconds. */
const BUFFER_TIME_US = 20_000_000;
/** `arecord` reads and passes on so much at a time. */
const PERIODS_PER_SECOND = 20;
/** The second line about an overrun follows at once, or never. */
const OVERRUN_REST_MS = 200;

export interface ArecordSettings {
  /** Must hold `LC_ALL=C`: the messages are read. */
  childEnvironment: NodeJS.ProcessEnv;
  /** Asked before the device is opened and once it is open: the cards may be numbered anew in between. */
  checkCard: CardCheck;
}

export function createArecordSource(request: CaptureRequest, settings: ArecordSettings): CaptureSource {
  let child: Child | null = null;
  let stopped = false;
  let closed: Promise<void> = Promise.resolve();
  return {
    start(sink) {
      const wrongCard = settings.checkCard();
      if (wrongCard !== null) {
        // Not before `start` has returned.
        closed = Promise.resolve().then(() => {
          if (!stopped) sink.ended(wrongCard);
        });
        return;
      }
      const args = ['-v', '-D', request.device, '-t', 'raw', '-f', request.format];
      args.push('-r', String(request.rate), '-c', String(request.channels));
      args.push(`--buffer-time=${BUFFER_TIME_US}`, `--period-size=${Math.ceil(request.rate / PERIODS_PER_SECOND)}`);
      // A group of its own: Ctrl-C in a terminal goes to us alone, and we end it in order.
      const started = spawn('arecord', args, {
        env: settings.childEnvironment,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      child = started;
      closed = follow(started, request, settings.checkCard, sink, () => stopped);
    },
    async stop() {
      stopped = true;
      if (child !== null) await endChild(child, closed);
    },
  };
}

/** Tells the sink all that the process does; resolves once there is nothing more to come. */
function follow(
  child: Child,
  request: CaptureRequest,
  checkCard: CardCheck,
  sink: CaptureSink,
  isStopped: () => boolean,
): Promise<void> {
  const messages = createArecordMessages(request);
  const frame = createFramer(request.format, BYTES_PER_SAMPLE[request.format] * request.channels);
  const overrun = createOverrunSum(sink);
  let refusal: CaptureEnd | null = null;
  let isChecked = false;
  const refuse = (end: CaptureEnd | null): void => {
    if (end === null || refusal !== null) return;
    refusal = end;
    child.kill('SIGKILL');
  };
  /** Both outputs tell that the device is open, and which of them comes first is not said. */
  const checkOpen = (): void => {
    if (isChecked) return;
    isChecked = true;
    refuse(checkCard());
  };
  child.stdout.on('data', (chunk: Buffer) => {
    checkOpen();
    if (refusal !== null) return;
    const frames = frame(chunk);
    if (frames.length > 0) sink.frames(frames);
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    const event = messages.line(line);
    if (event?.kind === 'buffer') {
      checkOpen();
      sink.opened(event.frames);
    }
    if (event?.kind === 'overrun') overrun.begin(Math.round((event.lostMs / 1000) * request.rate));
    if (event?.kind === 'discarded') overrun.complete(event.frames);
    if (event?.kind === 'refused') refuse(event.end);
  });
  return new Promise((resolve) => {
    let over = false;
    const end = (told: () => CaptureEnd) => {
      if (over) return;
      over = true;
      overrun.complete(0);
      if (!isStopped()) sink.ended(withHolder(refusal ?? told(), request));
      resolve();
    };
    child.once('error', (error) => end(() => notStarted(error)));
    child.once('close', (code, signal) => end(() => messages.end(code, signal)));
    child.once('exit', () => {
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, OUTPUT_GRACE_MS).unref();
    });
  });
}

/** An overrun is told in two lines; its frames are told to the sink once. */
function createOverrunSum(sink: CaptureSink): { begin(frames: number): void; complete(frames: number): void } {
  let begun: number | null = null;
  let timer: NodeJS.Timeout | undefined;
  const complete = (frames: number): void => {
    clearTimeout(timer);
    if (begun === null) return;
    sink.lost(begun + frames);
    begun = null;
  };
  return {
    begin(frames) {
      complete(0);
      begun = frames;
      timer = setTimeout(() => complete(0), OVERRUN_REST_MS);
    },
    complete,
  };
}

/** Who uses the microphone is said where this process may know. */
function withHolder(end: CaptureEnd, request: CaptureRequest): CaptureEnd {
  if (end.exitCode !== RECORDER_EXIT.microphoneBusy) return end;
  return { ...end, message: `${end.message} ${describeHolder(request.device)}` };
}

function notStarted(error: Error): CaptureEnd {
  const message = `arecord could not be started (${error.message}): install the package alsa-utils.`;
  return { exitCode: 1, reason: 'CaptureProgramMissing', message };
}

async function endChild(child: Child, closed: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  await closed;
  clearTimeout(killer);
}
