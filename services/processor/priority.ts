/**
 * The lowest priority: whatever else the machine does goes first, for the processor as well as for the disk.
 */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { promisify } from 'node:util';

const CHECK_DEADLINE_MS = 5000;
/** Class 3 is "idle": the disk when nobody else wants it. `-t`: where the kernel refuses it, run nevertheless. */
const IDLE_CLASS = ['ionice', '-c', '3', '-t'] as const;

/**
 * Gives this process's threads, and so all programs that it starts, the lowest priority on the CPU. Linux keeps it per
 * thread, and Node has several already. Throws what the kernel says.
 */
export function lowerOwnPriority(): void {
  for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), constants.priority.PRIORITY_LOW);
}

/** What to put before a command line for the lowest priority at the disk; nothing where there is no `ionice`. */
export async function idleDiskPrefix(environment: NodeJS.ProcessEnv): Promise<readonly string[]> {
  try {
    const [program, ...others] = IDLE_CLASS;
    await promisify(execFile)(program, [...others, 'true'], { env: environment, timeout: CHECK_DEADLINE_MS });
    return IDLE_CLASS;
  } catch {
    // Not there, or not working: known, and no reason not to run.
    return [];
  }
}
