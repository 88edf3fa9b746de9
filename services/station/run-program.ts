/** Runs programs of the machine to their end, with a deadline; and ends them, with all that they started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

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

/** What a program is given to tidy up after a SIGTERM. */
const TIDY_UP_MS = 1500;
/** And what is given to it once everything that it started is dead. */
const GIVE_UP_MS = 5000;
const LOOK_AGAIN_MS = 20;
/** Of each stream, the end is kept. Characters. */
const OUTPUT_LIMIT = 1_000_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) for (const pid of family(child)) kill(pid, 'SIGTERM');
});

/**
 * Resolves with whatever it ended with; the end of a program that ran too long is a result too, with its deadline as
 * the last line of `stderr`. Throws when the program cannot be started at all. It is in a process group of its own: a
 * Ctrl-C does not reach it, `endPrograms` ends it in order.
 */
export function runProgram(command: string, args: readonly string[], options: ProgramOptions): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const { cwd, env, timeoutMs } = options;
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let stdout = '';
    let stderr = '';
    running.add(child);
    const deadline = setTimeout(() => {
      stderr += `\nStopped: not finished after ${timeoutMs / 1000} s.`;
      void end(child);
    }, timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout = (stdout + text).slice(-OUTPUT_LIMIT);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-OUTPUT_LIMIT);
    });
    const finish = () => {
      clearTimeout(deadline);
      running.delete(child);
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

/** Ends every program that still runs, and what it started; resolves when they are gone. */
export async function endPrograms(): Promise<void> {
  await Promise.all([...running].map(end));
}

/**
 * From the leaves to the root. Told to end itself, `podman build` leaves its container and the command in it behind;
 * when that command dies, it ends as after any failed step, and tidies up. The command is process 1 of its container,
 * which ignores everything but SIGKILL; others, such as mmdebstrap's, tidy up at a SIGTERM.
 */
async function end(child: ChildProcess): Promise<void> {
  const begun = family(child).slice(1);
  for (const pid of begun.length > 0 ? begun : family(child)) kill(pid, 'SIGTERM');
  if (await hasEnded(child, TIDY_UP_MS)) return;
  for (const pid of family(child).slice(1)) kill(pid, 'SIGKILL');
  if (await hasEnded(child, GIVE_UP_MS)) return;
  for (const pid of family(child)) kill(pid, 'SIGKILL');
}

async function hasEnded(child: ChildProcess, withinMs: number): Promise<boolean> {
  for (const deadlineMs = performance.now() + withinMs; performance.now() < deadlineMs; await sleep(LOOK_AGAIN_MS)) {
    if (child.exitCode !== null || child.signalCode !== null) return true;
  }
  return false;
}

/** The child's process and its descendants, parents before children; nothing of a child that has ended. */
function family(child: ChildProcess): number[] {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return [];
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const parent = parentOf(name);
    if (parent !== null) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found = [child.pid];
  for (const pid of found) found.push(...(children.get(pid) ?? []));
  return found;
}

/** null: it has ended since the folder was listed. The name in the second field may hold spaces and brackets. */
function parentOf(pid: string): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');
}
