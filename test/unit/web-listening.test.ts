/** Live sound from a recorder's socket to several listeners: who does not keep up is dropped, nobody else notices. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createClock } from '../../services/shared/clock.ts';
import { LIVE_SOCKET, STATUS_FILE, workspaceName } from '../../services/shared/contract.ts';
import { createLiveSound, type Listener, type LiveSound } from '../../services/web/live-sound.ts';
import { createStatusFiles } from '../../services/web/status-files.ts';

const WORKSPACE = workspaceName('id', 'Mic');
const SECOND = Buffer.alloc(96_000, 1);

let runPath: string;
let recorder: Server;
/** As the recorder sees them. */
let connections: Socket[];
let sound: LiveSound;

beforeEach(async () => {
  runPath = mkdtempSync(join(tmpdir(), 'silvasonic-live-'));
  mkdirSync(join(runPath, WORKSPACE));
  tell('recording');
  connections = [];
  recorder = createServer((socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    socket.once('close', () => connections.splice(connections.indexOf(socket), 1));
    socket.resume();
  });
  await once(recorder.listen(join(runPath, WORKSPACE, LIVE_SOCKET)), 'listening');
  const clock = createClock();
  sound = createLiveSound({ runPath, files: createStatusFiles({ runPath, recorderWorkspace: runPath }, clock) }, clock);
});

afterEach(async () => {
  sound.close();
  for (const connection of connections) connection.destroy();
  await new Promise((resolve) => recorder.close(resolve));
  rmSync(runPath, { recursive: true, force: true });
});

function tell(state: string): void {
  const form = { rate: 48_000, channels: 1, format: 'S16_LE', frames: 1, levels: [], silent: false };
  const rest = {
    schema: 1,
    run: 'run',
    reason: 'Recording',
    message: '',
    overruns: 0,
    lostFrames: 0,
    lastSegment: null,
  };
  writeFileSync(join(runPath, WORKSPACE, STATUS_FILE), JSON.stringify({ ...form, ...rest, state, at: 1 }));
}

interface Ear extends Listener {
  heardBytes: number;
  state: 'open' | 'ended' | 'dropped';
  /** What it has not taken. */
  behind: number;
}

function ear(): Ear {
  return {
    heardBytes: 0,
    state: 'open',
    behind: 0,
    write(bytes) {
      this.heardBytes += bytes.length;
    },
    behindBytes() {
      return this.behind;
    },
    end() {
      this.state = 'ended';
    },
    drop() {
      this.state = 'dropped';
    },
  };
}

const say = (bytes: Buffer) => {
  for (const connection of connections) connection.write(bytes);
};
const eventually = (condition: () => unknown) => expect.poll(condition, { timeout: 10_000 });

describe.each(['mp3', 'wav'] as const)('%s', (kind) => {
  const play = (listener: Listener) =>
    kind === 'mp3' ? sound.playMp3(WORKSPACE, 0, listener) : sound.playWav(WORKSPACE, listener);

  test('who does not keep up is dropped, the other goes on', async () => {
    const [quick, slow] = [ear(), ear()];
    const endings = [await play(quick), await play(slow)];
    expect(endings).not.toContain(null);
    slow.behind = 10 * 1024 * 1024;
    const before = quick.heardBytes;
    say(SECOND);
    await eventually(() => slow.state).toBe('dropped');
    await eventually(() => quick.heardBytes).toBeGreaterThan(before);
    const heard = quick.heardBytes;
    endings[1]?.();
    say(SECOND);
    await eventually(() => quick.heardBytes).toBeGreaterThan(heard);
    expect(quick.state).toBe('open');
  });

  test('when the last one leaves, the recorder is left alone', async () => {
    const ending = await play(ear());
    await eventually(() => connections.length).toBe(1);
    ending?.();
    await eventually(() => connections.length).toBe(0);
    // And the next is heard again.
    const next = ear();
    expect(await play(next)).not.toBeNull();
    await eventually(() => connections.length).toBe(1);
    const before = next.heardBytes;
    say(SECOND);
    await eventually(() => next.heardBytes).toBeGreaterThan(before);
  });

  test('when the recorder ends, all end', async () => {
    const listener = ear();
    await play(listener);
    await eventually(() => connections.length).toBe(1);
    connections[0]?.destroy();
    await eventually(() => listener.state).toBe('ended');
  });

  test.each(['starting', 'retrying', 'stopping'])('while it is %s there is nothing to hear', async (state) => {
    tell(state);
    expect(await play(ear())).toBeNull();
  });

  test('a link in the socket’s place, a file, or nothing is nothing to hear', async () => {
    const place = join(runPath, WORKSPACE, LIVE_SOCKET);
    const real = join(runPath, 'real.sock');
    const other = createServer((socket) => socket.end('secret'));
    await once(other.listen(real), 'listening');
    rmSync(place);
    expect(await play(ear())).toBeNull();
    writeFileSync(place, 'x');
    expect(await play(ear())).toBeNull();
    rmSync(place);
    symlinkSync(real, place);
    const listener = ear();
    expect(await play(listener)).toBeNull();
    expect(listener.heardBytes).toBe(0);
    other.close();
  });
});

test('browsers share one connection, and each begins with enough for a player to open it', async () => {
  const [first, second] = [ear(), ear()];
  await Promise.all([sound.playMp3(WORKSPACE, 0, first), sound.playMp3(WORKSPACE, 0, ear())]);
  await eventually(() => connections.length).toBe(1);
  expect(first.heardBytes).toBeGreaterThan(40_000);
  const beginning = first.heardBytes;
  say(Buffer.concat([SECOND, SECOND]));
  await eventually(() => first.heardBytes).toBeGreaterThan(beginning + 15_000);
  await sound.playMp3(WORKSPACE, 0, second);
  expect(connections.length).toBe(1);
  expect(second.heardBytes).toBe(beginning);
});

test('an endless WAV begins with its head', async () => {
  const chunks: Buffer[] = [];
  await sound.playWav(WORKSPACE, { ...ear(), write: (bytes) => void chunks.push(bytes) });
  await eventually(() => connections.length).toBe(1);
  say(Buffer.from('sound'));
  await eventually(() => Buffer.concat(chunks).length).toBe(49);
  expect(Buffer.concat(chunks).toString('latin1', 44)).toBe('sound');
});
