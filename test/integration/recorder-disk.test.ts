/** The recorder and the disk: synced, full, hanging. Needs root: it mounts file systems of its own. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecorderConfig } from '../../services/shared/contract.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from '../unit/recorder-sample.ts';
import { readCounter } from './recorder-counter.ts';
import {
  controlMicrophone,
  framesOf,
  makeRecorderPlace,
  type RecorderPlace,
  type RunningRecorder,
  recordedFiles,
  startRecorder,
  withoutHardware,
} from './recorder-process.ts';

const run = promisify(execFile);
const MEBIBYTE = 1024 * 1024;
const cleanups: (() => Promise<unknown>)[] = [];
let place: RecorderPlace;

beforeEach(async () => {
  place = await makeRecorderPlace();
  cleanups.push(place.remove);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function mount(...options: string[]): Promise<void> {
  await mkdir(place.workspacePath, { recursive: true });
  await run('mount', [...options, place.workspacePath]);
  cleanups.push(() => run('umount', ['-l', place.workspacePath]));
}

/** A recorder on a microphone that counts. */
async function startCounting(changes: Partial<RecorderConfig>, under: string[] = []): Promise<RunningRecorder> {
  const environment = {
    ...sampleRecorderEnvironment(sampleRecorderConfig(changes)),
    ...(await withoutHardware(place)),
    MICROPHONE_BUFFER_MS: '5000',
  };
  await controlMicrophone(place, 'counter');
  const recorder = startRecorder(place, environment, under);
  cleanups.push(async () => {
    recorder.child.kill('SIGKILL');
    return recorder.ended;
  });
  return recorder;
}

async function finish(recorder: RunningRecorder): Promise<void> {
  recorder.child.kill('SIGTERM');
  expect((await recorder.ended).code).toBe(0);
}

interface Call {
  seconds: number;
  name: string;
  path: string;
}

/** The calls that succeeded, in the order in which they ended, from what strace wrote. */
async function callsIn(tracePath: string): Promise<Call[]> {
  const calls: Call[] = [];
  const begun = new Map<string, Call>();
  for (const line of (await readFile(tracePath, 'utf8')).split('\n')) {
    const [, thread = '', time = '', rest = ''] = /^(\d+)\s+([\d.]+) (.*)$/.exec(line) ?? [];
    const start = /^(\w+)\((?:\d+<([^>]*)>|"([^"]*)")/.exec(rest);
    const call =
      start === null
        ? begun.get(thread)
        : { seconds: Number(time), name: start[1] ?? '', path: start[2] ?? start[3] ?? '' };
    if (call === undefined) continue;
    if (rest.endsWith('<unfinished ...>')) begun.set(thread, call);
    else if (/= 0$/.test(rest)) calls.push({ ...call, seconds: Number(time) });
  }
  return calls;
}

describe('what is written is safe', () => {
  it('at most 2 s after it was heard; a finished file is synced, moved, and its folder synced, in this order', async () => {
    const tracePath = join(place.runPath, '..', 'trace');
    const trace = ['strace', '-f', '-y', '-ttt', '-e', 'trace=fsync,fdatasync,rename', '-o', tracePath];
    const recorder = await startCounting({ segmentSeconds: 6 }, trace);
    await recorder.status(({ lastSegment }) => lastSegment !== null, 30);
    // The signal is meant for the recorder, not for the one who watches it.
    await run('pkill', ['-TERM', '-P', String(recorder.child.pid)]);
    await recorder.ended;
    const [first] = await recordedFiles(place.workspacePath);
    const calls = await callsIn(tracePath);
    const buffered = join(place.workspacePath, '.buffer', `${first?.name}`);
    const own = calls.filter(({ path }) => path === buffered);
    const datasyncs = own.filter(({ name }) => name === 'fdatasync').map(({ seconds }) => seconds);
    expect(datasyncs.length).toBeGreaterThanOrEqual(4);
    for (const [index, seconds] of datasyncs.slice(1).entries()) {
      expect(seconds - (datasyncs[index] ?? 0)).toBeLessThanOrEqual(2);
    }
    expect(own.slice(-2).map(({ name }) => name)).toEqual(['fsync', 'rename']);
    const renamed = calls.findIndex(({ name, path }) => name === 'rename' && path === buffered);
    const folder = calls.findIndex(({ name, path }) => name === 'fsync' && path.endsWith(`raw/${first?.day}`));
    expect(folder).toBeGreaterThan(renamed);
  });
});

describe('a disk that fills and empties', () => {
  it.each([
    ['below the reserve', 4 * MEBIBYTE, 13 * MEBIBYTE],
    ['to the last byte', 0, 16 * MEBIBYTE],
  ])('%s: it waits inside, goes on by itself, and leaves only whole files', async (_name, reserveBytes, ballast) => {
    await mount('-t', 'tmpfs', '-o', 'size=16m', 'tmpfs');
    const recorder = await startCounting({ reserveBytes, rate: 250_000, channels: 2 });
    const started = await recorder.status(({ lastSegment }) => lastSegment !== null);
    const ballastPath = join(place.workspacePath, 'ballast');
    // As far as there is room.
    await writeFile(ballastPath, Buffer.alloc(ballast)).catch(() => {});
    const full = await recorder.status(({ state, lostFrames }) => state === 'no_space' && lostFrames > 0);
    expect(full).toMatchObject({ run: started.run, reason: 'DiskFull' });
    await rm(ballastPath);
    const again = await recorder.status(({ state, frames }) => state === 'recording' && frames > full.frames + 500_000);
    expect(again.run).toBe(started.run);
    await finish(recorder);
    const files = await recordedFiles(place.workspacePath);
    expect(await readdir(join(place.workspacePath, '.buffer'))).toEqual([]);
    const kept = files.reduce((sum, file) => sum + framesOf(file), 0);
    const { jumps } = readCounter(files);
    expect(jumps.length).toBeGreaterThan(0);
    const last = await recorder.status(() => true).catch(() => again);
    expect(kept + last.lostFrames).toBeGreaterThanOrEqual(again.frames);
    expect(files.some(({ guano }) => guano.get('Silvasonic|Gaps')?.includes('no_space'))).toBe(true);
  });
});

describe('a disk that hangs', () => {
  it('for 10 s: nothing is lost', async () => {
    const imagePath = join(place.runPath, '..', 'disk');
    await writeFile(imagePath, '');
    await truncate(imagePath, 128 * MEBIBYTE);
    await run('mkfs.ext4', ['-q', imagePath]);
    await mount('-o', 'loop', imagePath);
    const recorder = await startCounting({ rate: 384_000 });
    await recorder.status(({ lastSegment }) => lastSegment !== null);
    await run('fsfreeze', ['-f', place.workspacePath]);
    const thaw = () => run('fsfreeze', ['-u', place.workspacePath]);
    cleanups.push(() => thaw().catch(() => {}));
    const hanging = await recorder.status(({ disk }) => (disk?.queuedBytes ?? 0) > 10 * 768_000, 40);
    expect(hanging).toMatchObject({ state: 'recording', lostFrames: 0, overruns: 0 });
    await thaw();
    await recorder.status(({ disk, frames }) => frames > hanging.frames && (disk?.queuedBytes ?? 0) < 2 * 768_000, 30);
    await finish(recorder);
    const files = await recordedFiles(place.workspacePath);
    const counted = readCounter(files);
    expect(counted).toMatchObject({ first: 0, jumps: [] });
    expect(counted.frames).toBeGreaterThan(hanging.frames);
    expect(files.slice(0, -1).map(framesOf)).toEqual(files.slice(1).map(() => 384_000));
  });
});
