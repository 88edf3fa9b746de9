/**
 * One controller per station: a lock that the kernel holds for us and frees however we end. Node has no flock(2), so a
 * child holds it: `flock` takes the lock and turns into `cat`, which ends when our side of its pipe closes, and that
 * happens at our death too. In the file stands who holds it, for the sentence that the second one says.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { z } from 'zod';
import { errorCode, readHostileFile } from '../shared/hostile-file.ts';
import type { Log } from './log.ts';
import type { Clock } from './world.ts';

export interface HeldLock {
  kind: 'held';
  /** The lock is free when this has resolved. */
  release(): Promise<void>;
  /** Calls back once, if the lock is lost without having been released: somebody ended the child. */
  onLost(callback: () => void): void;
}

/** `holder` is a description for people; null: the file doesn't say. */
export type LockOutcome = HeldLock | { kind: 'taken'; holder: string | null };

/** flock's exit code that we choose for "somebody else has it"; none of its own or the shell's. */
const TAKEN_EXIT_CODE = 75;
const START_DEADLINE_MS = 10_000;
const RELEASE_DEADLINE_MS = 2000;
const LONGEST_RETRY_MS = 30_000;
const HOLDER_MAX_BYTES = 4096;
/** A disk that takes nothing more. The lock holds there too, and the controller must start: it starts whoever makes room. */
const TAKES_NOTHING = ['ENOSPC', 'EDQUOT', 'EROFS'];

const holderSchema = z.object({ pid: z.int(), host: z.string().max(300), since: z.string().max(40) });

/** Tries once. Throws where the file cannot be locked at all (folder not writable, no util-linux). */
export async function acquireLock(file: string): Promise<LockOutcome> {
  await mkdir(dirname(file), { recursive: true });
  const child = spawnHolder(file, ['--nonblock']);
  const got = await answer(child, file, AbortSignal.timeout(START_DEADLINE_MS));
  if (got === 'taken') return { kind: 'taken', holder: await readHolder(file) };
  return hold(child, file);
}

export interface WaitOptions {
  log: Log;
  clock: Clock;
  /** Ends the waiting: the promise rejects. */
  signal?: AbortSignal;
}

/**
 * Waits for as long as somebody else holds the lock, and says so once. The kernel wakes us when it is free; nothing is
 * polled. An end of the waiting child is survived: it is made again, at growing distances of up to 30 s.
 */
export async function waitForLock(file: string, { log, clock, signal }: WaitOptions): Promise<HeldLock> {
  const first = await acquireLock(file);
  if (first.kind === 'held') return first;
  const holder = first.holder ?? 'another process';
  log.warn({ file }, `Another controller works for this station (${holder}): waiting until it ends.`);
  for (let retryMs = 1000; ; retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS)) {
    signal?.throwIfAborted();
    const child = spawnHolder(file, []);
    try {
      await answer(child, file, signal);
      return await hold(child, file);
    } catch (error) {
      signal?.throwIfAborted();
      log.error({ err: error, file }, 'Waiting for the lock failed; it is tried again.');
      await pause(clock, retryMs, signal);
    }
  }
}

function spawnHolder(file: string, options: string[]): ChildProcessWithoutNullStreams {
  // --no-fork: one process, so that its end and the lock's are the same thing. `detached`: a Ctrl-C in our terminal
  // goes to every process of the group, and must not take the lock while we are still shutting down.
  const flock = ['--no-fork', '--conflict-exit-code', String(TAKEN_EXIT_CODE), ...options, resolve(file)];
  const child = spawn('flock', [...flock, 'sh', '-c', 'echo held; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    detached: true,
  });
  // A write to a child that is gone fails here too; its end is told by `close`.
  child.stdin.on('error', () => child.kill('SIGKILL'));
  return child;
}

/** What the child comes to: the lock, or its end. Kills the child when `signal` fires. */
async function answer(
  child: ChildProcessWithoutNullStreams,
  file: string,
  signal: AbortSignal | undefined,
): Promise<'held' | 'taken'> {
  const abort = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', abort, { once: true });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, 500);
  });
  try {
    if (signal?.aborted) abort();
    const code = await new Promise<number | null | 'held'>((settle, fail) => {
      child.on('error', fail);
      child.once('close', (exitCode) => settle(exitCode));
      child.stdout.once('data', () => settle('held'));
    });
    if (code === 'held') return 'held';
    if (code === TAKEN_EXIT_CODE) return 'taken';
    const why = signal?.aborted ? 'no answer in time' : complaint.trim() || `flock ended with ${code}`;
    throw new Error(`${file} cannot be locked (${why}): its folder must exist on a disk and be writable.`);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') {
      throw new Error('The program "flock" is missing: install the package util-linux.', { cause: error });
    }
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

async function hold(child: ChildProcessWithoutNullStreams, file: string): Promise<HeldLock> {
  let state: 'held' | 'released' | 'lost' = 'held';
  const callbacks: (() => void)[] = [];
  const ended = () => {
    if (state !== 'held') return;
    state = 'lost';
    for (const callback of callbacks) callback();
  };
  child.once('exit', ended);
  if (child.exitCode !== null || child.signalCode !== null) ended();
  try {
    await writeHolder(file);
  } catch (error) {
    if (!TAKES_NOTHING.includes(errorCode(error) ?? '')) {
      await end(child);
      throw new Error(`${file} cannot be written: the holder of the lock would remain unknown.`, { cause: error });
    }
  }
  return {
    kind: 'held',
    async release() {
      if (state === 'held') state = 'released';
      await end(child);
    },
    onLost(callback) {
      if (state === 'lost') queueMicrotask(callback);
      else callbacks.push(callback);
    },
  };
}

/** Lets the child end, and makes it. */
async function end(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  const deadline = setTimeout(() => child.kill('SIGKILL'), RELEASE_DEADLINE_MS);
  child.stdin.end();
  await gone;
  clearTimeout(deadline);
}

/** In place: a renamed file would be another file, with a lock of its own. */
async function writeHolder(file: string): Promise<void> {
  const holder = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  await writeFile(file, `${JSON.stringify(holder)}\n`, { signal: AbortSignal.timeout(START_DEADLINE_MS) });
}

async function readHolder(file: string): Promise<string | null> {
  const content = await readHostileFile({ root: dirname(file), name: basename(file) }, HOLDER_MAX_BYTES);
  if (content.kind !== 'text') return null;
  const parsed = holderSchema.safeParse(parseJson(content.text));
  if (!parsed.success) return null;
  const { pid, host, since } = parsed.data;
  return `process ${pid} on ${host}, since ${since}`;
}

/** undefined where the text is no JSON: half of a line, read while its holder writes it. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Wakes early when `signal` fires. */
function pause(clock: Clock, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((wake) => {
    const cancel = clock.timer(delayMs, wake);
    signal?.addEventListener(
      'abort',
      () => {
        cancel();
        wake();
      },
      { once: true },
    );
  });
}
