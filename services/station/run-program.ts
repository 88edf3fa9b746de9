/** Runs a program of the machine to its end, with a deadline. */
import { spawn } from 'node:child_process';

export interface ProgramResult {
  /** Exit code, or -1 when a signal ended it. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface ProgramOptions {
  timeoutMs: number;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

const KILL_GRACE_MS = 10_000;
/** Of each stream, the end is kept. Characters. */
const OUTPUT_LIMIT = 1_000_000;

/**
 * Resolves with whatever it ended with; the end of a program that ran too long is a result too, with its deadline as
 * the last line of `stderr`. Throws when the program cannot be started at all. A program does not outlive us: when this
 * process exits meanwhile, it is told to end.
 */
export function runProgram(command: string, args: readonly string[], options: ProgramOptions): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd, env: options.env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    let kill: NodeJS.Timeout | undefined;
    const endChild = () => {
      child.kill('SIGTERM');
    };
    const deadline = setTimeout(() => {
      stderr += `\nStopped: not finished after ${options.timeoutMs / 1000} s.`;
      endChild();
      kill = setTimeout(() => child.kill('SIGKILL'), KILL_GRACE_MS);
    }, options.timeoutMs);
    process.once('exit', endChild);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout = (stdout + text).slice(-OUTPUT_LIMIT);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-OUTPUT_LIMIT);
    });
    const finish = () => {
      clearTimeout(deadline);
      clearTimeout(kill);
      process.off('exit', endChild);
    };
    child.once('error', (error) => {
      finish();
      reject(new Error(`${command} cannot be started: install it, or add its folder to PATH.`, { cause: error }));
    });
    child.once('close', (code) => {
      finish();
      resolve({ code: code ?? -1, stdout, stderr });
    });
  });
}
