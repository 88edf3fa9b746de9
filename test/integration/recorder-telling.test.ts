/** What a recorder tells: in its files, by which clock, and live. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LIVE_SOCKET, type RecorderConfig } from '../../services/shared/contract.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from '../unit/recorder-sample.ts';
import {
  framesOf,
  makeRecorderPlace,
  type RecorderPlace,
  type RunningRecorder,
  recordedFiles,
  startRecorder,
} from './recorder-process.ts';

const run = promisify(execFile);
let place: RecorderPlace;
let running: RunningRecorder[];

beforeEach(async () => {
  place = await makeRecorderPlace();
  running = [];
});

afterEach(async () => {
  for (const recorder of running) {
    recorder.child.kill('SIGKILL');
    await recorder.ended;
  }
  await place.remove();
});

/** On the synthetic microphone. */
function start(changes: Partial<RecorderConfig>, environment: Record<string, string> = {}): RunningRecorder {
  const recorder = startRecorder(place, {
    ...sampleRecorderEnvironment(sampleRecorderConfig(changes)),
    ...environment,
  });
  running.push(recorder);
  return recorder;
}

async function finish(recorder: RunningRecorder): Promise<Awaited<ReturnType<typeof recordedFiles>>> {
  recorder.child.kill('SIGTERM');
  expect((await recorder.ended).code).toBe(0);
  return recordedFiles(place.workspacePath);
}

describe('each file is accepted by the tools of the field', () => {
  it.each([
    ['S16_LE', 1, 48_000],
    ['S24_3LE', 1, 44_101],
    ['S32_LE', 2, 250_000],
  ] as const)(
    '%s, %i channel(s), %i Hz: SoX counts its samples, GUANO says what it is',
    async (format, channels, rate) => {
      const microphone = { ...sampleRecorderConfig().microphone, name: 'Oak\nby the river: östlich' };
      const position = { latitude: 51.501, longitude: -0.1277 };
      const station = { id: 'x', name: 'Meadow', position };
      const recorder = start({ format, channels, rate, microphone, station });
      await recorder.status(({ lastSegment }) => lastSegment !== null);
      const files = await finish(recorder);
      for (const file of files) {
        const { stdout } = await run('soxi', ['-s', file.path]);
        expect(Number(stdout)).toBe(framesOf(file));
        expect(Object.fromEntries(file.guano)).toMatchObject({
          'GUANO|Version': '1.0',
          Make: 'Open Acoustic Devices',
          Model: 'AudioMoth',
          Serial: '1',
          Samplerate: String(rate),
          Length: (framesOf(file) / rate).toFixed(6),
          'Loc Position': '51.501000 -0.127700',
          'Original Filename': file.name,
          'Silvasonic|Station': 'Meadow',
          'Silvasonic|Microphone': 'Oak\\nby the river: östlich',
          'Silvasonic|Clock Synchronised': expect.stringMatching(/^(yes|no|unknown)$/),
          'Silvasonic|Lost Frames': '0',
        });
        const timestamp = file.guano.get('Timestamp') ?? '';
        expect(timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        expect(Math.floor(Date.parse(timestamp) / 1000)).toBe(file.segment.startedAt.getTime() / 1000);
        expect(file.chunks.get('LIST')?.toString()).toContain('Silvasonic');
      }
      // The first frame of a file follows the last of the one before by one frame's time, give or take a clock's drift.
      const starts = files.map(({ guano }) => Date.parse(guano.get('Timestamp') ?? ''));
      for (const [index, at] of starts.slice(1).entries())
        expect(Math.abs(at - (starts[index] ?? 0) - 1000)).toBeLessThan(100);
    },
  );
});

const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib']
  .map((folder) => join(folder, 'faketime', 'libfaketimeMT.so.1'))
  .find((path) => existsSync(path));

describe('the clock jumps', () => {
  it('an hour on, an hour back, a year on: no file is shorter or longer, none is missing, each step is told', async () => {
    if (FAKETIME === undefined) throw new Error('install the package libfaketime');
    const offsetPath = join(place.runPath, '..', 'offset');
    await writeFile(offsetPath, '+0s');
    const recorder = start(
      { segmentSeconds: 1 },
      {
        LD_PRELOAD: FAKETIME,
        FAKETIME_TIMESTAMP_FILE: offsetPath,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    );
    await recorder.status(({ lastSegment }) => lastSegment !== null);
    const offsets = [3600, 0, 365 * 86_400];
    for (const [index, offset] of offsets.entries()) {
      await writeFile(offsetPath, `+${offset}s`);
      const { lastSegment } = await recorder.status(({ clock }) => clock?.steps.length === index + 1);
      await recorder.status((later) => later.lastSegment?.name !== lastSegment?.name);
    }
    const told = await recorder.status(() => true);
    await recorder.status(({ frames }) => frames > told.frames + 96_000);
    const files = await finish(recorder);
    expect(told.clock?.steps.map(({ seconds }) => Math.round(seconds))).toEqual([3600, -3600, 365 * 86_400]);
    expect(files.map(({ segment }) => segment.sequence)).toEqual(files.map((_, index) => index + 1));
    expect(files.slice(0, -1).map(framesOf)).toEqual(files.slice(1).map(() => 48_000));
    expect(files.flatMap(({ guano }) => guano.get('Silvasonic|Clock Steps') ?? [])).toHaveLength(3);
    const year = files.at(-1)?.segment.startedAt.getTime() ?? 0;
    expect(year - (files[0]?.segment.startedAt.getTime() ?? 0)).toBeGreaterThan(364 * 86_400_000);
    expect(told.lostFrames).toBe(0);
  });
});

describe('live sound', () => {
  const listen = (): Socket => connect(join(place.runPath, LIVE_SOCKET));

  it('is what the files hold, from a whole frame on', async () => {
    const recorder = start({ rate: 48_000, channels: 2, format: 'S24_3LE' });
    await recorder.status(({ frames, listeners }) => frames > 0 && listeners === 0);
    const heard: Buffer[] = [];
    const socket = listen();
    socket.on('data', (chunk: Buffer) => heard.push(chunk));
    await recorder.status(({ listeners }) => listeners === 1);
    const { frames } = await recorder.status(() => true);
    await recorder.status((status) => status.frames > frames + 96_000);
    socket.destroy();
    await recorder.status(({ listeners }) => listeners === 0);
    const files = await finish(recorder);
    const recorded = Buffer.concat(files.map(({ samples, declaredBytes }) => samples.subarray(0, declaredBytes)));
    const live = Buffer.concat(heard);
    expect(live.length).toBeGreaterThan(96_000 * 6);
    const from = recorded.indexOf(live.subarray(0, 6000));
    expect(from % 6).toBe(0);
    expect(recorded.subarray(from, from + live.length).equals(live)).toBe(true);
  });

  it('does not wait for who does not keep up: it is dropped, and the recording knows nothing of it', async () => {
    const recorder = start({ rate: 384_000 });
    await recorder.status(({ frames }) => frames > 0);
    const socket = listen();
    socket.on('error', () => {});
    // Connected, and never reading.
    socket.pause();
    await recorder.status(({ listeners }) => listeners === 1);
    await recorder.status(({ listeners }) => listeners === 0, 30);
    socket.destroy();
    expect(await recorder.status(() => true)).toMatchObject({ state: 'recording', lostFrames: 0, overruns: 0 });
  });

  it('is offered again after a killed run left its socket behind', async () => {
    const killed = start({});
    const before = await killed.status(({ frames }) => frames > 0);
    killed.child.kill('SIGKILL');
    await killed.ended;
    const recorder = start({});
    await recorder.status(({ frames, run: name }) => frames > 0 && name !== before.run);
    const socket = listen();
    await recorder.status(({ listeners }) => listeners === 1);
    socket.destroy();
  });
});
