/**
 * Live sound: whoever connects to the Unix socket in the run folder hears raw PCM from the next frame on. A listener
 * that does not keep up is dropped; without listeners nothing is done.
 */
import { unlink } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { LIVE_SOCKET } from '../shared/recording.ts';
import { errorCode, errorText, type Log } from './log.ts';

export interface LiveSound {
  /** Whole frames in the file's form, handed to all who listen. They must not be changed. */
  send(frames: Buffer): void;
  listeners(): number;
  close(): void;
}

/** More at once are not wanted: each costs memory. */
const MOST_LISTENERS = 8;
/** A listener that is so many seconds behind does not keep up. */
const MOST_BEHIND_SECONDS = 2;
const LEAST_BEHIND_BYTES = 256 * 1024;

/** Never throws: a recorder whose live sound cannot be offered records all the same. */
export async function createLiveSound(runPath: string, bytesPerSecond: number, log: Log): Promise<LiveSound> {
  const path = join(runPath, LIVE_SOCKET);
  const mostBehindBytes = Math.max(LEAST_BEHIND_BYTES, bytesPerSecond * MOST_BEHIND_SECONDS);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // A listener that vanishes is nothing to tell; 'close' follows.
    socket.on('error', () => {});
    // What it says is not heard, but its end is.
    socket.resume();
  });
  server.maxConnections = MOST_LISTENERS;
  server.on('error', (error) => log('error', `Live sound cannot be offered at ${path}: ${errorText(error)}.`));
  await removeStale(path, log);
  server.listen(path);
  return {
    send(frames) {
      for (const socket of sockets) {
        if (socket.writableLength > mostBehindBytes) socket.destroy();
        else socket.write(frames);
      }
    },
    listeners: () => sockets.size,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A socket of an earlier, killed run would stand in the way. */
async function removeStale(path: string, log: Log): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') log('error', `The stale socket ${path} cannot be removed: ${errorText(error)}.`);
  }
}
