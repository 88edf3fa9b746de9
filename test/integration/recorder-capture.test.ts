/**
 * The path from the microphone to the disk, sample by sample: the real `arecord` on a device that keeps real time and
 * loses what its buffer cannot hold (`recorder-image`), singing a counter.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseSegmentName, type RecorderConfig, type RecorderStatus } from '../../services/shared/contract.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from '../unit/recorder-sample.ts';
import { childrenOf, readCounter } from './recorder-counter.ts';
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

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Counting {
  place: RecorderPlace;
  recorder: RunningRecorder;
  /** Ends it with SIGTERM and reads all that it wrote. */
  finish(): Promise<Awaited<ReturnType<typeof recordedFiles>>>;
}

/** A recorder on a microphone that counts. */
async function startCounting(changes: Partial<RecorderConfig>, bufferMs: number): Promise<Counting> {
  const place = await makeRecorderPlace();
  cleanups.push(place.remove);
  const environment = {
    ...sampleRecorderEnvironment(sampleRecorderConfig(changes)),
    ...(await withoutHardware(place)),
    MICROPHONE_BUFFER_MS: String(bufferMs),
  };
  await controlMicrophone(place, 'counter');
  const recorder = startRecorder(place, environment);
  cleanups.push(async () => {
    recorder.child.kill('SIGCONT');
    recorder.child.kill('SIGKILL');
    return recorder.ended;
  });
  return {
    place,
    recorder,
    async finish() {
      recorder.child.kill('SIGTERM');
      expect((await recorder.ended).code).toBe(0);
      return recordedFiles(place.workspacePath);
    },
  };
}

/** The device goes on while somebody stands still. */
async function standStill(pids: (number | undefined)[], seconds: number): Promise<void> {
  for (const pid of pids) process.kill(Number(pid), 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  for (const pid of pids) process.kill(Number(pid), 'SIGCONT');
}

/** So many segments are finished. */
const hasSegments =
  (count: number) =>
  ({ lastSegment }: RecorderStatus): boolean =>
    lastSegment !== null && (parseSegmentName(lastSegment.name)?.sequence ?? 0) >= count;

const RATES = [48_000, 250_000, 384_000];
const FORMATS = ['S16_LE', 'S24_3LE', 'S32_LE'] as const;

describe('every sample is what the microphone delivered, over ten segments', () => {
  it.each(RATES.flatMap((rate) => [1, 2].map((channels) => [rate, channels] as const)))(
    '%i Hz, %i channel(s), in S16_LE, S24_3LE and S32_LE',
    async (rate, channels) => {
      const all = await Promise.all(FORMATS.map((format) => startCounting({ rate, channels, format }, 8000)));
      for (const { recorder, finish } of all) {
        const status = await recorder.status(hasSegments(10), 40);
        expect(status).toMatchObject({ overruns: 0, lostFrames: 0, gaps: [], restarts: 0, bufferSeconds: 8 });
        const files = await finish();
        expect(files.map((file) => file.segment.sequence)).toEqual(files.map((_, index) => index + 1));
        expect(files.slice(0, -1).map(framesOf)).toEqual(files.slice(1).map(() => rate));
        const counted = readCounter(files);
        expect(counted).toMatchObject({ first: 0, jumps: [] });
        expect(counted.frames).toBeGreaterThanOrEqual(10 * rate);
      }
    },
  );
});

describe('somebody stands still', () => {
  const wide = { rate: 384_000, format: 'S32_LE', segmentSeconds: 2 } as const;
  const who = {
    arecord: (recorder: RunningRecorder) => childrenOf(recorder.child.pid),
    'the recorder': (recorder: RunningRecorder) => [recorder.child.pid],
  };

  it.each(['arecord', 'the recorder'] as const)('%s, for less than the buffer holds: nothing is lost', async (name) => {
    const { recorder, finish } = await startCounting(wide, 8000);
    await recorder.status(hasSegments(1));
    await standStill(who[name](recorder), 3);
    const { frames } = await recorder.status(hasSegments(3), 30);
    const status = await recorder.status((later) => later.frames > frames + 3 * wide.rate, 30);
    expect(status).toMatchObject({ overruns: 0, lostFrames: 0, gaps: [], restarts: 0 });
    expect(readCounter(await finish()).jumps).toEqual([]);
  });

  it.each(['arecord', 'the recorder'] as const)('%s, for 3 s with a buffer of 1 s: counted exactly', async (name) => {
    const { recorder, finish } = await startCounting(wide, 1000);
    await recorder.status(hasSegments(1));
    const before = Date.now();
    await standStill(who[name](recorder), 3);
    const told = await recorder.status((status) => status.overruns > 0);
    const after = Date.now();
    const status = await recorder.status((later) => later.frames > told.frames + 4 * wide.rate, 30);
    const files = await finish();
    const { jumps } = readCounter(files);
    expect(jumps).toHaveLength(1);
    expect(status.lostFrames).toBe(jumps[0]?.missing);
    expect(status.gaps).toEqual([{ at: expect.any(Number), frames: status.lostFrames, cause: 'overrun' }]);
    expect(status.gaps?.[0]?.at).toBeGreaterThanOrEqual(before);
    expect(status.gaps?.[0]?.at).toBeLessThanOrEqual(after);
    const noted = files.flatMap(({ guano }) => guano.get('Silvasonic|Gaps') ?? []);
    expect(noted).toEqual([expect.stringContaining(`${status.lostFrames} frames overrun`)]);
  });
});

describe('arecord fails', () => {
  it('once: it is begun anew inside, and the gap is told with its length', async () => {
    const { recorder, finish } = await startCounting({}, 1000);
    const first = await recorder.status(({ frames }) => frames > 0);
    for (const pid of childrenOf(recorder.child.pid)) process.kill(pid, 'SIGKILL');
    const told = await recorder.status(({ gaps }) => gaps?.some(({ cause }) => cause === 'restart') === true);
    expect(told).toMatchObject({ run: first.run, state: 'recording', restarts: 1, overruns: 0 });
    expect(told.gaps).toEqual([{ at: expect.any(Number), frames: told.lostFrames, cause: 'restart' }]);
    const files = await finish();
    // It counts from the beginning again: the only place where a frame is not the one after the one before.
    expect(readCounter(files).jumps).toHaveLength(1);
    expect(files.slice(0, -1).map(framesOf)).toEqual(files.slice(1).map(() => 48_000));
  });

  it('by delivering nothing: it is killed and begun anew, and says so meanwhile', async () => {
    const { place, recorder } = await startCounting({}, 1000);
    await recorder.status(({ frames }) => frames > 0);
    const [pid] = childrenOf(recorder.child.pid);
    process.kill(Number(pid), 'SIGSTOP');
    const retrying = await recorder.status(({ restarts }) => restarts === 1, 30);
    expect(childrenOf(recorder.child.pid)).not.toContain(pid);
    const again = await recorder.status(({ state, frames }) => state === 'recording' && frames > retrying.frames);
    expect(again.run).toBe(retrying.run);
    expect((await recorder.status(({ lostFrames }) => lostFrames > 8 * 48_000)).gaps?.[0]?.cause).toBe('restart');
    expect(await readdir(join(place.workspacePath, '.buffer'))).toHaveLength(1);
  });
});

describe('the recorder is killed', () => {
  it('and at most 2 s are lost; what is saved says so in its name and in itself', async () => {
    const { place, recorder } = await startCounting({ segmentSeconds: 60 }, 1000);
    const told = await recorder.status(({ frames }) => frames > 4 * 48_000);
    recorder.child.kill('SIGKILL');
    await recorder.ended;
    const next = startRecorder(place, sampleRecorderEnvironment(sampleRecorderConfig()));
    cleanups.push(async () => {
      next.child.kill('SIGKILL');
      return next.ended;
    });
    await next.status(({ run, frames }) => run !== told.run && frames > 0);
    next.child.kill('SIGTERM');
    await next.ended;
    const files = (await recordedFiles(place.workspacePath)).filter(({ segment }) => segment.run === told.run);
    expect(files).toHaveLength(1);
    const counted = readCounter(files);
    expect(counted).toMatchObject({ first: 0, jumps: [] });
    expect(counted.frames).toBeGreaterThan(told.frames - 2 * 48_000);
    expect(files[0]?.segment.salvaged).toBe(true);
    expect(files[0]?.guano.get('Silvasonic|Salvaged')).toContain('yes');
    expect(files[0]?.guano.get('Serial')).toBe('1');
  });
});
