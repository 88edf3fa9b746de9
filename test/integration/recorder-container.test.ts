/** The recorder in its real container, confined as the controller confines it: the same samples, and its own figures. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { parseSegmentName, RECORDER_PATH } from '../../services/shared/contract.ts';
import { sampleRecorderConfig, sampleRecorderEnvironment } from '../unit/recorder-sample.ts';
import { readCounter } from './recorder-counter.ts';
import { controlMicrophone, lastStatus, makeRecorderPlace, recordedFiles } from './recorder-process.ts';
import { stationEngine } from './station-engine.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

it('384 kHz, 2 channels, S24_3LE: every sample, over ten segments, without network, capability or writable root', async () => {
  const engine = stationEngine();
  const { podman } = engine;
  const place = await makeRecorderPlace();
  cleanups.push(place.remove);
  await mkdir(place.workspacePath, { recursive: true });
  await mkdir(place.runPath, { recursive: true });
  await controlMicrophone(place, 'counter');
  const config = sampleRecorderConfig({ rate: 384_000, channels: 2, format: 'S24_3LE' });
  const environment = {
    ...sampleRecorderEnvironment(config),
    SILVASONIC_RECORDER_DEVICE: 'hw:1,0',
    MICROPHONE_BUFFER_MS: '8000',
  };
  const name = `silvasonic-capture-${randomUUID()}`;
  cleanups.push(() => podman('rm', '--force', '--time', '0', '--ignore', name));
  await podman(
    ...['run', '--detach', '--name', name, '--network', 'none', '--cap-drop', 'all', '--read-only'],
    ...['--security-opt', 'no-new-privileges', '--tmpfs', '/tmp', '--pids-limit', '64'],
    ...['--volume', `${place.workspacePath}:${RECORDER_PATH.workspace}`],
    ...['--volume', `${place.runPath}:${RECORDER_PATH.run}`],
    ...Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
    engine.testRecorderImage,
  );
  const sequence = async () => parseSegmentName((await lastStatus(place))?.lastSegment?.name ?? '')?.sequence ?? 0;
  await expect.poll(sequence, { timeout: 60_000, interval: 200 }).toBeGreaterThanOrEqual(10);
  const status = await lastStatus(place);
  expect(status).toMatchObject({ overruns: 0, lostFrames: 0, bufferSeconds: 8, clock: { steps: [] } });
  // The kernel's answer, through what the image has: not the unknown.
  expect(status?.clock?.synchronised).toEqual(expect.any(Boolean));
  await podman('stop', '--time', '10', name);
  expect(await podman('inspect', '--format', '{{.State.ExitCode}}', name)).toBe('0');
  expect(readCounter(await recordedFiles(place.workspacePath))).toMatchObject({ first: 0, jumps: [] });
});

/** After process 1 has begun the recorder: before, while and after Node.js gets a handler for signals. Milliseconds. */
const MOMENTS = [0, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 250, 300, 400, 600];

it('asked to stop in whichever of its first moments: it ends as asked, and leaves no file but a complete one', async () => {
  const { podman, recorderImage } = stationEngine();
  const place = await makeRecorderPlace();
  cleanups.push(place.remove);
  await mkdir(join(place.workspacePath, 'data/raw'), { recursive: true });
  await mkdir(place.runPath, { recursive: true });
  const ends: string[] = [];
  for (const moment of MOMENTS) {
    const name = `silvasonic-early-${randomUUID()}`;
    const pidFile = join(place.runPath, name);
    cleanups.push(() => podman('rm', '--force', '--time', '0', '--ignore', name));
    const started = podman(
      ...['run', '--detach', '--name', name, '--pidfile', pidFile, '--network', 'none', '--cap-drop', 'all'],
      ...['--read-only', '--tmpfs', '/tmp'],
      ...['--volume', `${place.workspacePath}:${RECORDER_PATH.workspace}`],
      ...['--volume', `${place.runPath}:${RECORDER_PATH.run}`],
      ...Object.entries(sampleRecorderEnvironment()).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
      recorderImage,
    );
    const first = await vi.waitFor(() => processWithChild(pidFile), { timeout: 20_000, interval: 1 });
    await sleep(moment);
    // As the engine does it, without the time that a command takes.
    process.kill(first, 'SIGTERM');
    await started;
    ends.push(await podman('wait', name));
  }
  expect(ends).toEqual(MOMENTS.map(() => '0'));
  const left = await readdir(place.workspacePath, { recursive: true, withFileTypes: true });
  const files = left.filter((entry) => entry.isFile());
  expect(files.filter(({ parentPath }) => parentPath.includes('.buffer'))).toEqual([]);
  expect(await recordedFiles(place.workspacePath)).toHaveLength(files.length);
});

/** A container's process 1, once it has begun another. Throws before. */
function processWithChild(pidFile: string): number {
  const pid = Number(readFileSync(pidFile, 'utf8'));
  if (readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8') === '') throw new Error(`${pid} has no child`);
  return pid;
}
