/**
 * The log of the one-command station: a file that begins anew when it has grown long, since a station may run for months.
 * Whatever becomes of its disk costs lines of the log and nothing else.
 */
import { createWriteStream, existsSync, renameSync, statSync, type WriteStream } from 'node:fs';

export interface StationLog {
  /** A whole line. Never throws, and never waits. */
  write(line: string): void;
}

const MAX_BYTES = 10 * 1024 * 1024;
/** So much waits for a disk that hangs; lines beyond it are dropped. */
const BACKLOG_BYTES = 1024 * 1024;

/** Goes on in the log of the last run. The log before is kept as `<path>.1`. */
export function openStationLog(path: string, maxBytes = MAX_BYTES): StationLog {
  let stream: WriteStream | null = null;
  let bytes = 0;

  const open = (): WriteStream => {
    bytes = sizeOf(path);
    const opened = createWriteStream(path, { flags: 'a', mode: 0o640 });
    // A full disk, or a broken one: the next line tries anew.
    opened.on('error', () => {
      if (stream === opened) stream = null;
    });
    return opened;
  };
  const beginAnew = (): void => {
    try {
      renameSync(path, `${path}.1`);
      stream?.end();
      stream = null;
    } catch {
      // It grows on, and this is tried again when it has grown as much once more.
      bytes = 0;
    }
  };

  return {
    write(line) {
      stream ??= open();
      if (bytes > maxBytes) beginAnew();
      stream ??= open();
      if (stream.writableLength > BACKLOG_BYTES) return;
      bytes += Buffer.byteLength(line);
      stream.write(line);
    },
  };
}

function sizeOf(path: string): number {
  try {
    return existsSync(path) ? statSync(path).size : 0;
  } catch {
    return 0;
  }
}
