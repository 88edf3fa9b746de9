/** What a person is told about the processor: state, reason and sentence, by what is the case. Pure. */
import type { ProcessorConfig, ProcessorStatus } from '../shared/contract.ts';

export interface Situation {
  retention: ProcessorConfig['retention'];
  disk: ProcessorStatus['disk'];
  /** Too little room for copies. */
  isPressed: boolean;
  /** Bytes are missing from the reserve, and nothing more may go. */
  isFull: boolean;
  /** What the machine refuses; null: nothing. */
  trouble: string | null;
  /** Recordings that lack something. */
  backlog: number;
}

export type Telling = Pick<ProcessorStatus, 'state' | 'reason' | 'message'>;

/** Days before a full disk from which on it is told first. */
export const FULL_SOON_DAYS = 14;
const MOST_CHARACTERS = 500;

export function tell(situation: Situation): Telling {
  const { state, reason, message } = decide(situation);
  return { state, reason, message: message.slice(0, MOST_CHARACTERS) };
}

function decide(situation: Situation): Telling {
  const { disk, backlog } = situation;
  if (situation.trouble !== null) {
    return { state: 'retrying', reason: 'Trouble', message: `${situation.trouble}. It is tried again.` };
  }
  if (situation.isFull) return full(situation);
  const state = situation.isPressed ? 'paused' : backlog > 0 ? 'working' : 'idle';
  const what = situation.isPressed
    ? `Too little room for copies (${gigabytes(disk?.freeBytes)} free, ${gigabytes(disk?.reserveBytes)} are kept free); recording goes on.`
    : backlog > 0
      ? `${backlog} ${backlog === 1 ? 'recording waits' : 'recordings wait'} for copies.`
      : 'Every recording has its copies.';
  if (disk === null || disk.fullInDays === null) {
    return { state, reason: situation.isPressed ? 'LittleRoom' : 'Fine', message: what };
  }
  const days = Math.floor(disk.fullInDays);
  const soon = `Full in ${days === 1 ? '1 day' : `${days} days`} at ${gigabytes(disk.growthBytesPerDay ?? 0)} a day`;
  if (disk.fullInDays > FULL_SOON_DAYS) {
    return { state, reason: situation.isPressed ? 'LittleRoom' : 'Fine', message: `${what} ${soon}.` };
  }
  const cure = 'exchange the disk, remove recordings, or let the oldest be overwritten';
  return { state, reason: 'FullSoon', message: `${soon}: ${cure}. ${what}` };
}

function full({ retention, disk }: Situation): Telling {
  const room = `Only ${gigabytes(disk?.freeBytes)} are free where ${gigabytes(disk?.reserveBytes)} are to be kept free`;
  return retention === 'keep'
    ? {
        state: 'full',
        reason: 'DiskFull',
        message: `${room}, and recordings are kept: exchange the disk, remove recordings, or let the oldest be overwritten.`,
      }
    : {
        state: 'full',
        reason: 'DiskFull',
        message: `${room}, and no older recording is left to overwrite: remove what else is on that disk.`,
      };
}

function gigabytes(bytes: number | undefined): string {
  return `${((bytes ?? 0) / 1e9).toFixed(1)} GB`;
}
