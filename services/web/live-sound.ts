/**
 * What a microphone hears now, from its recorder's socket. Browsers share one connection per microphone and get MP3; a
 * service gets the sound as it is. Who does not keep up is dropped: no recorder waits for anybody.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import type { Clock } from '../shared/clock.ts';
import { isWorkspaceName, LIVE_SOCKET, type RecorderStatus, SAMPLE_FORMATS } from '../shared/contract.ts';
import { type Folder, withFolder, withRoot } from '../shared/folders.ts';
import { withDeadline } from '../shared/postgres-session.ts';
import { endlessWavHeader, FILE_BITS, type WavFormat } from '../shared/wav.ts';
import { createMp3Stream, createSoundReader, type Mp3Stream, type SoundReader } from './live-sound-encoder.ts';
import type { StatusFiles } from './status-files.ts';

/** Whoever listens: a reply to a browser or service. */
export interface Listener {
  write(bytes: Buffer): void;
  /** What it has not taken yet. Bytes. */
  behindBytes(): number;
  end(): void;
  drop(): void;
}

export interface LiveSound {
  /** Begins to send MP3; null: nothing is recorded there now. What comes back ends it. */
  playMp3(workspace: string, gainDb: number, listener: Listener): Promise<(() => void) | null>;
  /** The same with an endless WAV file of the very samples. */
  playWav(workspace: string, listener: Listener): Promise<(() => void) | null>;
  close(): void;
}

/** Of 96 kbit/s: twenty seconds that a bad connection may take to come back. */
const MOST_BEHIND_MP3_BYTES = 256 * 1024;
const MOST_BEHIND_SECONDS = 4;
const LEAST_BEHIND_WAV_BYTES = 512 * 1024;
const DEADLINE_MS = 3000;
/** Linux: opens the place itself, whatever it is, and neither reads nor follows it. Node.js has no name for it. */
const O_PATH = 0o10000000;

interface Broadcast {
  /** With the stream of each. */
  listeners: Map<Listener, Mp3Stream>;
  reader: SoundReader;
  socket: Socket;
}

export function createLiveSound({ runPath, files }: { runPath: string; files: StatusFiles }, clock: Clock): LiveSound {
  const broadcasts = new Map<string, Promise<Broadcast | null>>();
  const sockets = new Set<Socket>();

  const openSound = async (workspace: string): Promise<{ socket: Socket; format: WavFormat } | null> => {
    if (!isWorkspaceName(workspace)) return null;
    const status = await files.recorder(workspace);
    const format = status.kind === 'read' ? liveFormat(status.value) : null;
    if (format === null) return null;
    const socket = await withDeadline(clock, DEADLINE_MS, connectTo(runPath, workspace)).catch(() => null);
    if (socket === null) return null;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return { socket, format };
  };

  const broadcast = async (workspace: string, gainDb: number): Promise<Broadcast | null> => {
    const sound = await openSound(workspace);
    if (sound === null) return null;
    const { socket } = sound;
    const reader = createSoundReader(sound.format, gainDb);
    const listeners = new Map<Listener, Mp3Stream>();
    socket.on('data', (bytes: Buffer) => {
      const samples = reader.read(bytes);
      for (const [listener, stream] of listeners) {
        const frames = stream.encode(samples);
        if (frames.length > 0) send(listener, frames, MOST_BEHIND_MP3_BYTES);
      }
    });
    socket.once('close', () => {
      broadcasts.delete(workspace);
      for (const listener of listeners.keys()) listener.end();
    });
    return socket.destroyed ? null : { listeners, reader, socket };
  };

  return {
    async playMp3(workspace, gainDb, listener) {
      const starting = broadcasts.get(workspace) ?? broadcast(workspace, gainDb);
      broadcasts.set(workspace, starting);
      const running = await starting.catch((error: unknown) => {
        broadcasts.delete(workspace);
        throw error;
      });
      if (running === null || running.socket.destroyed) {
        broadcasts.delete(workspace);
        return null;
      }
      const { listeners, reader, socket } = running;
      const leave = (): void => {
        listeners.delete(listener);
        if (listeners.size === 0) socket.destroy();
      };
      const stream = await createMp3Stream(reader).catch((error: unknown) => {
        leave();
        throw error;
      });
      if (socket.destroyed) return null;
      listener.write(stream.beginning);
      listeners.set(listener, stream);
      return leave;
    },
    async playWav(workspace, listener) {
      const sound = await openSound(workspace);
      if (sound === null) return null;
      const { socket, format } = sound;
      const mostBehindBytes = Math.max(
        LEAST_BEHIND_WAV_BYTES,
        (format.rate * format.channels * format.bitsPerSample * MOST_BEHIND_SECONDS) / 8,
      );
      listener.write(endlessWavHeader(format));
      socket.on('data', (bytes: Buffer) => send(listener, bytes, mostBehindBytes));
      socket.once('close', () => listener.end());
      return () => void socket.destroy();
    },
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function send(listener: Listener, bytes: Buffer, mostBehindBytes: number): void {
  if (listener.behindBytes() > mostBehindBytes) listener.drop();
  else listener.write(bytes);
}

/** null: it does not record, or in a form that no recorder of ours has. */
export function liveFormat(status: RecorderStatus): WavFormat | null {
  const format = SAMPLE_FORMATS.find((one) => one === status.format);
  if (status.state !== 'recording' && status.state !== 'no_space') return null;
  if (format === undefined || status.rate < 1 || status.channels < 1) return null;
  return { rate: status.rate, channels: status.channels, bitsPerSample: FILE_BITS[format] };
}

/**
 * The run folder belongs to a container: what stands at the socket's name is opened without following it, looked at, and
 * that very thing connected to, so that a link cannot lead to another socket of this host.
 */
async function connectTo(runPath: string, workspace: string): Promise<Socket | null> {
  return await withRoot(runPath, (root) =>
    withFolder(root, [workspace], async (folder) => {
      const place = await openPlace(folder);
      if (place === null) return null;
      try {
        return (await place.stat()).isSocket() ? await connected(`/proc/self/fd/${place.fd}`) : null;
      } finally {
        await place.close();
      }
    }),
  );
}

async function openPlace(folder: Folder): Promise<FileHandle | null> {
  try {
    return await open(`/proc/self/fd/${folder.handle.fd}/${LIVE_SOCKET}`, O_PATH | constants.O_NOFOLLOW);
  } catch {
    // Not there: the recorder has not begun, or ended.
    return null;
  }
}

async function connected(path: string): Promise<Socket | null> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    // Nobody listens there any more; later, 'close' follows.
    socket.on('error', () => resolve(null));
  });
}
