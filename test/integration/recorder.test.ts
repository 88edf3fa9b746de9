/** The recorder as a process: with the synthetic source, and with the real `arecord` on a microphone out of a FIFO. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dawnChorus } from '../../services/recorder/virtual.ts';
import { wavHeader } from '../../services/shared/wav.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from '../unit/recorder-sample.ts';
import {
  controlMicrophone,
  framesOf,
  lastStatus,
  makeRecorderPlace,
  type RecorderPlace,
  type RunningRecorder,
  recordedFiles,
  startRecorder,
  withoutHardware,
} from './recorder-process.ts';

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

function start(environment: Record<string, string | undefined>): RunningRecorder {
  const recorder = startRecorder(place, environment);
  running.push(recorder);
  return recorder;
}

const bufferPath = (): string => join(place.workspacePath, '.buffer');

describe('segments of the synthetic microphone', () => {
  it.each([
    ['S16_LE', 1, 16],
    ['S24_LE', 1, 24],
    ['S32_LE', 3, 32],
  ] as const)(
    '%s, %i channel(s): exact length, no gap, a valid short last one after SIGTERM',
    async (format, channels, bitsPerSample) => {
      const config = sampleRecorderConfig({ format, channels, rate: 22_051 });
      const recorder = start(sampleRecorderEnvironment(config));
      await recorder.status(({ lastSegment }) => lastSegment?.name.includes('_000002') === true);
      recorder.child.kill('SIGTERM');
      expect((await recorder.ended).code).toBe(0);

      const files = await recordedFiles(place.workspacePath);
      expect(files.map((file) => file.segment.sequence)).toEqual(files.map((_, index) => index + 1));
      for (const file of files) {
        expect(file.format).toEqual({ rate: 22_051, channels, bitsPerSample });
        expect(file.day).toBe(file.segment.startedAt.toISOString().slice(0, 10));
        expect(file.samples.length - file.declaredBytes).toBe(file.declaredBytes % 2);
      }
      expect(files.slice(0, -1).map(framesOf)).toEqual(files.slice(1).map(() => 22_051));
      expect(framesOf(files[files.length - 1])).toBeLessThanOrEqual(22_051);
      const sound = Buffer.concat(files.map((file) => file.samples.subarray(0, file.declaredBytes)));
      const chorus = dawnChorus({ rate: 22_051, channels, bitsPerSample });
      expect(sound.equals(chorus.subarray(0, sound.length))).toBe(true);
      expect(await readdir(bufferPath())).toEqual([]);
      expect(await lastStatus(place)).toMatchObject({
        state: 'stopping',
        frames: files.reduce((sum, file) => sum + framesOf(file), 0),
        lostFrames: 0,
      });
    },
  );

  it('SIGINT ends it as SIGTERM does, also in its first moments', async () => {
    const recorder = start(sampleRecorderEnvironment());
    await recorder.status(({ state }) => state === 'starting' || state === 'recording');
    recorder.child.kill('SIGINT');
    expect((await recorder.ended).code).toBe(0);
    expect(await readdir(bufferPath())).toEqual([]);
  });

  it('frames and levels are told, and never go back', async () => {
    const recorder = start(sampleRecorderEnvironment());
    const first = await recorder.status(({ frames }) => frames > 0);
    const second = await recorder.status(({ frames }) => frames > first.frames);
    expect(second.run).toBe(first.run);
    expect(second).toMatchObject({ state: 'recording', silent: false, rate: 48_000, channels: 1, format: 'S16_LE' });
    expect(second.levels).toHaveLength(1);
    expect(second.levels[0]?.rmsDbfs).toBeGreaterThan(-70);
  });
});

describe('what a killed run leaves', () => {
  it('is saved by the next one, which has a name of its own', async () => {
    const config = sampleRecorderConfig({ segmentSeconds: 60 });
    const killed = start(sampleRecorderEnvironment(config));
    const { run } = await killed.status(({ frames }) => frames > 10_000);
    killed.child.kill('SIGKILL');
    await killed.ended;
    const [left] = await readdir(bufferPath());
    expect(left).toContain(`_${run}_000001.wav`);
    await rm(join(place.runPath, 'status.json'));

    const next = start(sampleRecorderEnvironment(config));
    const status = await next.status(({ frames }) => frames > 0);
    expect(status.run).not.toBe(run);
    next.child.kill('SIGTERM');
    await next.ended;
    const saved = (await recordedFiles(place.workspacePath)).find((file) => file.segment.run === run);
    expect(saved?.name).toBe(left?.replace('.wav', '_salvaged.wav'));
    expect(saved?.guano.get('Silvasonic|Salvaged')).toContain('yes');
    expect(saved?.declaredBytes).toBe(saved?.samples.length);
    expect(framesOf(saved)).toBeGreaterThan(8000);
    const chorus = dawnChorus({ rate: 48_000, channels: 1, bitsPerSample: 16 });
    expect(saved?.samples.equals(chorus.subarray(0, saved.samples.length))).toBe(true);
  });

  it('torn in the middle of a frame is cut to whole frames; without sound it goes; what is not ours stays', async () => {
    await mkdir(bufferPath(), { recursive: true });
    const header = wavHeader({ rate: 48_000, channels: 4, bitsPerSample: 16 }, 0);
    const name = (run: string) => `audiomoth-0a1b2c3d_20240501_235959_${run}_000007.wav`;
    await writeFile(join(bufferPath(), name('torn')), Buffer.concat([header, Buffer.alloc(8 * 5 + 3, 1)]));
    await writeFile(join(bufferPath(), name('empty')), header);
    await writeFile(join(bufferPath(), name('nothing')), '');
    await writeFile(join(bufferPath(), name('foreign')), Buffer.alloc(5000, 'x'));
    await writeFile(join(bufferPath(), 'notes.txt'), 'mine');

    const recorder = start(sampleRecorderEnvironment());
    await recorder.status(({ frames }) => frames > 0);
    recorder.child.kill('SIGTERM');
    const { errors } = await recorder.ended;
    const torn = (await recordedFiles(place.workspacePath)).find((file) => file.segment.run === 'torn');
    expect(torn).toMatchObject({ day: '2024-05-01', declaredBytes: 40 });
    expect(torn?.samples).toEqual(Buffer.alloc(40, 1));
    expect((await readdir(bufferPath())).sort()).toEqual([name('foreign'), 'notes.txt'].sort());
    expect(errors).toContain(`${name('foreign')} stays in .buffer`);
  });
});

describe('refusals', () => {
  it.each([
    [{ SILVASONIC_RECORDER_DEVICE: 'plughw:1' }, 'SILVASONIC_RECORDER_DEVICE was given'],
    [{ SILVASONIC_RECORDER_PROFILE_SLUG: undefined }, 'SILVASONIC_RECORDER_PROFILE_SLUG was given nothing'],
    [{ SILVASONIC_INSTANCE_ID: undefined }, 'SILVASONIC_INSTANCE_ID was given nothing'],
    [{ SILVASONIC_RECORDER_CONFIG_JSON: '[]' }, 'SILVASONIC_RECORDER_CONFIG_JSON was given'],
    [
      { SILVASONIC_RECORDER_CONFIG_JSON: JSON.stringify(sampleRecorderConfig({ segmentSeconds: 0 })) },
      'SILVASONIC_RECORDER_CONFIG_JSON field segmentSeconds was given',
    ],
    [{ SILVASONIC_RECORDER_WORKSPACE: './here' }, 'SILVASONIC_RECORDER_WORKSPACE was given'],
  ])('a wrong configuration ends it with 64 and one line that names it: %o', async (changes, expected) => {
    const { code, errors } = await start({ ...sampleRecorderEnvironment(), ...changes }).ended;
    expect(code).toBe(64);
    const lines = errors.trim().split('\n');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(`${lines[0]}`)).toMatchObject({ level: 'error', msg: expect.stringContaining(expected) });
  });

  it('a folder that cannot be written ends it with 14 and names the folder', async () => {
    await writeFile(place.workspacePath, 'a file where a folder should be');
    const { code, errors } = await start(sampleRecorderEnvironment()).ended;
    expect(code).toBe(14);
    expect(errors).toContain(`The folder ${bufferPath()} cannot be written`);
  });

  it('too little room: nothing is written, frames are counted, and it says so', async () => {
    const config = sampleRecorderConfig({ reserveBytes: Number.MAX_SAFE_INTEGER });
    const recorder = start(sampleRecorderEnvironment(config));
    const status = await recorder.status(({ state, frames }) => state === 'no_space' && frames > 0);
    expect(status).toMatchObject({ reason: 'DiskFull', lostFrames: status.frames, lastSegment: null });
    recorder.child.kill('SIGTERM');
    expect((await recorder.ended).code).toBe(0);
    expect(await recordedFiles(place.workspacePath)).toEqual([]);
  });
});

describe('the real arecord on a microphone out of a FIFO', () => {
  it('records what it hears, without a gap', async () => {
    const config = sampleRecorderConfig({ rate: 96_000, channels: 2, format: 'S24_3LE' });
    const recorder = start({ ...sampleRecorderEnvironment(config), ...(await withoutHardware(place)) });
    await recorder.status(({ lastSegment }) => lastSegment?.name.includes('_000002') === true);
    recorder.child.kill('SIGTERM');
    expect((await recorder.ended).code).toBe(0);
    const files = await recordedFiles(place.workspacePath);
    expect(files.slice(0, 2).map(framesOf)).toEqual([96_000, 96_000]);
    // 1 kHz at 96 kHz repeats every 96 frames, so any frame that is missing or doubled shows.
    const sound = Buffer.concat(files.map((file) => file.samples.subarray(0, file.declaredBytes)));
    const period = 96 * 6;
    expect(sound.subarray(period).equals(sound.subarray(0, sound.length - period))).toBe(true);
    expect(sound.some((byte) => byte !== 0)).toBe(true);
  });

  it('a microphone that falls silent is told, and goes on being recorded', async () => {
    const recorder = start({ ...sampleRecorderEnvironment(), ...(await withoutHardware(place)) });
    await recorder.status(({ frames, silent }) => frames > 0 && !silent);
    await controlMicrophone(place, 'silent');
    const silent = await recorder.status((status) => status.silent);
    expect(silent.state).toBe('recording');
    await controlMicrophone(place, 'tone');
    const loud = await recorder.status((status) => !status.silent);
    expect(loud.frames).toBeGreaterThan(silent.frames);
  });

  it('a microphone that stops delivering is stopped at once all the same, and loses nothing', async () => {
    const recorder = start({ ...sampleRecorderEnvironment(), ...(await withoutHardware(place)) });
    await recorder.status(({ frames }) => frames > 0);
    await controlMicrophone(place, 'stall');
    // Written once a second: two equal ones in a row with different times are a standstill.
    let last = { frames: -1, at: 0 };
    await recorder.status((status) => {
      if (status.at === last.at) return false;
      const still = status.frames === last.frames;
      last = status;
      return still;
    });
    recorder.child.kill('SIGTERM');
    expect((await recorder.ended).code).toBe(0);
    const files = await recordedFiles(place.workspacePath);
    expect(files.reduce((sum, file) => sum + framesOf(file), 0)).toBe(last.frames);
  });

  it.each([
    ['unplug', 10],
    ['exit', 1],
  ])('that ends in mid-recording (%s): what was heard is kept, exit %i', async (mode, exitCode) => {
    const recorder = start({ ...sampleRecorderEnvironment(), ...(await withoutHardware(place)) });
    await recorder.status(({ frames }) => frames > 0);
    await controlMicrophone(place, mode);
    expect((await recorder.ended).code).toBe(exitCode);
    const files = await recordedFiles(place.workspacePath);
    expect(files.reduce((sum, file) => sum + framesOf(file), 0)).toBeGreaterThan(0);
    expect(await readdir(bufferPath())).toEqual([]);
  });

  it('a card that does not exist: exit 10, in alsa-utils’ own words', async () => {
    const environment = { ...sampleRecorderEnvironment(), SILVASONIC_RECORDER_DEVICE: 'hw:31,0' };
    const { code, errors } = await start(environment).ended;
    expect(code).toBe(10);
    expect(errors).toContain('The microphone hw:31,0 is gone');
  });

  it.each([
    ['busy', 11],
    ['denied', 12],
    ['refused', 13],
  ])('a start that is %s: exit %i', async (mode, exitCode) => {
    const environment = { ...sampleRecorderEnvironment(), ...(await withoutHardware(place)) };
    await controlMicrophone(place, mode);
    expect((await start(environment).ended).code).toBe(exitCode);
  });
});
