/**
 * The watchdog: a thread that ends the process when the loop has not finished a cycle for too long, so that whoever
 * supervises the controller starts a fresh one. Recorders don't notice: they are adopted by the next controller.
 *
 * The process ends with exit code 70, also while JavaScript runs in an endless loop: the thread asks V8's inspector to
 * interrupt the main thread. Nothing can interrupt a main thread that is stuck in a system call, or in an exit handler:
 * two seconds later the whole process gets SIGKILL (137 in a shell).
 */
import { Worker } from 'node:worker_threads';
import type { Log } from './log.ts';

/** How the watchdog ends the process (`EX_SOFTWARE` of sysexits.h). */
export const WATCHDOG_EXIT_CODE = 70;

export interface WatchdogOptions {
  /** Longest silence between two beats. Milliseconds. */
  limitMs: number;
  log: Log;
}

export interface Watchdog {
  /** A cycle has finished. */
  beat(): void;
  /** Nothing is watched any more. */
  stop(): Promise<void>;
}

/** Begins to watch; the first beat is due within `limitMs` from now. */
export function startWatchdog({ limitMs, log }: WatchdogOptions): Watchdog {
  const memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  const cells = new Int32Array(memory);
  const worker = new Worker(threadSource, {
    eval: true,
    workerData: { memory, limitMs, exitCode: WATCHDOG_EXIT_CODE },
    name: 'watchdog',
    // It needs nothing of what the main thread was given, and next to no memory.
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
  });
  worker.unref();
  worker.on('error', (error) => log.error({ err: error }, 'The watchdog thread has died: a hang would go unnoticed.'));
  return {
    beat() {
      Atomics.add(cells, 0, 1);
    },
    async stop() {
      Atomics.store(cells, 1, 1);
      Atomics.notify(cells, 1);
      await worker.terminate();
    },
  };
}

/**
 * The thread, as text: in a bundle there is no second file that it could be loaded from. It adds up its own short naps
 * instead of comparing two times: after a sleep of the machine, or a SIGSTOP, at most two naps count.
 */
const threadSource = `
'use strict';
const { writeSync } = require('node:fs');
const { Session } = require('node:inspector');
const { workerData } = require('node:worker_threads');
const { memory, limitMs, exitCode } = workerData;
const cells = new Int32Array(memory);
const BEATS = 0, STOPPED = 1;
const napMs = Math.min(5000, Math.max(10, limitMs / 10));

function say(line) {
  try { writeSync(2, line + '\\n'); } catch { /* Nobody listens: ending the process matters more. */ }
}

function endProcess() {
  say('silvasonic: no cycle has finished for ' + limitMs / 1000 + ' s; the watchdog ends the process.');
  try {
    const session = new Session();
    session.connectToMainThread();
    session.post('Runtime.evaluate', { expression: 'process.exit(' + exitCode + ')' });
    Atomics.wait(cells, STOPPED, 0, 2000);
  } finally {
    process.kill(process.pid, 'SIGKILL');
  }
}

let seen = Atomics.load(cells, BEATS);
let silentMs = 0;
for (;;) {
  const before = performance.now();
  Atomics.wait(cells, STOPPED, 0, napMs);
  if (Atomics.load(cells, STOPPED) === 1) break;
  const beats = Atomics.load(cells, BEATS);
  silentMs = beats === seen ? silentMs + Math.min(performance.now() - before, 2 * napMs) : 0;
  seen = beats;
  if (silentMs >= limitMs) endProcess();
}
`;
