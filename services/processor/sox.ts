/**
 * Runs SoX. It gets open files instead of names (`/dev/fd/3` is the first), so that it opens what was checked and nothing
 * else, and it runs with the lowest priority there is.
 */
import { spawn } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';
import { errorCode } from '../shared/log.ts';

export interface Sox {
  /**
   * Runs to the end. `{0}`, `{1}` in arguments become the files. `onSound` gets standard output; its throwing ends the run.
   * Throws `SoxRefused` with SoX's words when it ends with an error, any other error when it could not run or was ended.
   */
  run(argumentList: readonly string[], files: readonly FileHandle[], options: SoxRun): Promise<void>;
}

export interface SoxRun {
  /** Milliseconds; then it is killed. */
  deadlineMs: number;
  onSound?: (bytes: Buffer) => void;
}

/** SoX looked at the sound and refused it. */
export class SoxRefused extends Error {}

export interface SoxOptions {
  /** PATH and the like. */
  environment: NodeJS.ProcessEnv;
  /** Before `sox` on its command line, such as `ionice -c 3`. */
  prefix: readonly string[];
  /** Ends what runs at once. */
  stop: AbortSignal;
}

/** Its words are kept up to this. Characters. */
const MOST_WORDS = 4000;
const FIRST_FILE_DESCRIPTOR = 3;

export function createSox({ environment, prefix, stop }: SoxOptions): Sox {
  return {
    async run(argumentList, files, { deadlineMs, onSound }) {
      stop.throwIfAborted();
      const named = argumentList.map((text) =>
        text.replace(/^\{(\d)\}$/, (_, index) => `/dev/fd/${FIRST_FILE_DESCRIPTOR + Number(index)}`),
      );
      // -V1: errors only. --no-dither where it matters is the caller's.
      const [program = 'sox', ...others] = [...prefix, 'sox', '-V1', ...named];
      const child = spawn(program, others, {
        env: { ...environment, LC_ALL: 'C' },
        stdio: ['ignore', onSound === undefined ? 'ignore' : 'pipe', 'pipe', ...files.map((file) => file.fd)],
      });
      let words = '';
      let ourError: unknown = null;
      const end = (error: unknown): void => {
        ourError ??= error;
        child.kill('SIGKILL');
      };
      const onStop = () => end(new Error('asked to stop'));
      const timer = setTimeout(() => end(new Error(`sox did not end within ${deadlineMs / 1000} s`)), deadlineMs);
      stop.addEventListener('abort', onStop, { once: true });
      child.stderr?.on('data', (chunk: Buffer) => {
        words = `${words}${chunk.toString()}`.slice(-MOST_WORDS);
      });
      child.stdout?.on('data', (chunk: Buffer) => {
        try {
          onSound?.(chunk);
        } catch (error) {
          end(error);
        }
      });
      try {
        const outcome = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
          child.once('error', (error) => reject(startError(error)));
          child.once('close', (code, signal) => resolve({ code, signal }));
        });
        if (ourError !== null) throw ourError;
        if (outcome.signal !== null) throw signalled(outcome.signal);
        if (outcome.code !== 0) throw refusal(outcome.code, words);
      } finally {
        clearTimeout(timer);
        stop.removeEventListener('abort', onStop);
      }
    },
  };
}

function startError(error: Error): Error {
  if (errorCode(error) !== 'ENOENT') return error;
  return new Error('the program sox is missing: install the package sox', { cause: error });
}

/** What a program does to itself it does at this sound each time; it is the machine that kills. */
function signalled(signal: string): Error {
  const isOwnFault = ['SIGABRT', 'SIGFPE', 'SIGSEGV'].includes(signal);
  return isOwnFault ? new SoxRefused(`sox fails at it (${signal})`) : new Error(`sox was ended by ${signal}`);
}

/** A full disk is nobody's sound at fault. */
function refusal(code: number | null, words: string): Error {
  const last = words.trim().split('\n').at(-1) ?? '';
  if (/No space left|Disk quota|Input\/output error|Cannot allocate|out of memory/i.test(words)) return new Error(last);
  // 127: what `prefix` says when there is no sox.
  if (code === 127) return new Error('the program sox is missing: install the package sox');
  return new SoxRefused(`sox refuses it (${last.replace(/^sox FAIL /, '') || `code ${code}`})`);
}
