/** What a process costs, as the kernel counts it. */
import { readdirSync, readFileSync } from 'node:fs';

/** Of /proc/<pid>/stat, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const KIBIBYTES_PER_MEBIBYTE = 1024;

export interface Memory {
  privateMebibytes: number;
  residentMebibytes: number;
}

/** User and system time of all its threads since it began, in milliseconds; a tick of the kernel is 10 ms. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [, , , , , , , , , , , user, system] = stat.slice(stat.lastIndexOf(')') + 1).split(' ');
  return ((Number(user) + Number(system)) * 1000) / TICKS_PER_SECOND;
}

/** Private: what would be free if it ended. Resident counts what it shares with others, such as Node itself, too. */
export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mebibytes = (field: string): number =>
    Number(new RegExp(`^${field}: +(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) / KIBIBYTES_PER_MEBIBYTE;
  return {
    privateMebibytes: mebibytes('Private_Clean') + mebibytes('Private_Dirty'),
    residentMebibytes: mebibytes('Rss'),
  };
}

/** This process and all below it, by number. */
export function processTree(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), parent: parentOf(name) }));
  const below = (one: number): number[] => [
    one,
    ...parents.filter(({ parent }) => parent === one).flatMap(({ pid: child }) => below(child)),
  ];
  return below(pid);
}

export const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');

/** null: it ended just now. */
function parentOf(pid: string): number | null {
  try {
    return Number(/\) \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return null;
    throw error;
  }
}
