/**
 * The microphone as a source: real `arecord` as a child process, its raw output cut into frames.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { BYTES_PER_SAMPLE } from '../shared/contract.ts';
import { type CaptureRequest, createArecordMessages } from './arecord-messages.ts';
import { createFramer } from './samples.ts';
import type { CaptureEnd, CaptureSink, CaptureSource } from './source.ts';

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** After SIGTERM; a driver that hangs is not waited for. */
const KILL_AFTER_MS = 300;
/** Between the end of the process and the end of its output, which a stray child of it could hold open. */
const OUTPUT_GRACE_MS = 200;

/** `childEnvironment` must hold `LC_ALL=C`: the messages are read. */
export function createArecordSource(request: CaptureRequest, childEnvironment: NodeJS.ProcessEnv): CaptureSource {
  let child: Child | null = null;
  let stopped = false;
  let closed: Promise<void> = Promise.resolve();
  return {
    start(sink) {
      const args = ['-v', '-D', request.device, '-t', 'raw', '-f', request.format];
      args.push('-r', String(request.rate), '-c', String(request.channels));
      // A group of its own: Ctrl-C in a terminal goes to us alone, and we end it in order.
      const started = spawn('arecord', args, {
        env: childEnvironment,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      child = started;
      closed = follow(started, request, sink, () => stopped);
    },
    async stop() {
      stopped = true;
      if (child !== null) await endChild(child, closed);
    },
  };
}

/** Tells the sink all that the process does; resolves once there is nothing more to come. */
function follow(child: Child, request: CaptureRequest, sink: CaptureSink, isStopped: () => boolean): Promise<void> {
  const messages = createArecordMessages(request);
  const frame = createFramer(request.format, BYTES_PER_SAMPLE[request.format] * request.channels);
  let refusal: CaptureEnd | null = null;
  child.stdout.on('data', (chunk: Buffer) => {
    if (refusal !== null) return;
    const frames = frame(chunk);
    if (frames.length > 0) sink.frames(frames);
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    const event = messages.line(line);
    if (event?.kind === 'overrun') sink.lost(Math.round((event.lostMs / 1000) * request.rate));
    if (event?.kind === 'refused' && refusal === null) {
      refusal = event.end;
      child.kill('SIGKILL');
    }
  });
  return new Promise((resolve) => {
    let over = false;
    const end = (told: () => CaptureEnd) => {
      if (over) return;
      over = true;
      if (!isStopped()) sink.ended(refusal ?? told());
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
