/**
 * Who uses a microphone that is busy, as far as this process may see: ALSA names the process in `/proc/asound`, which
 * some engines hide, and its name is known only where it runs in sight.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A sentence. `procPath` is `/proc`. */
export function describeHolder(device: string, procPath = '/proc'): string {
  const place = /^hw:(\d+),(\d+)$/.exec(device);
  const status = read(join(procPath, 'asound', `card${place?.[1]}`, `pcm${place?.[2]}c`, 'sub0', 'status'));
  const owner = /^owner_pid\s*:\s*(\d{1,10})\s*$/m.exec(status ?? '')?.[1];
  if (owner === undefined) return 'Which one cannot be seen from here.';
  const name = read(join(procPath, owner, 'comm'));
  return name === null ? `It is process ${owner} of this computer.` : `It is ${plain(name)} (process ${owner}).`;
}

/** A program calls itself what it likes: nothing of it may forge a line or a terminal. */
function plain(name: string): string {
  return (
    name
      .replace(/[\p{Cc}\p{Cf}]/gu, ' ')
      .trim()
      .slice(0, 40) || 'a program without a name'
  );
}

/** Null: not to be seen from here, for whatever reason; it is only for the sentence. */
function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
