/** The recorder in its real container, confined as the controller confines it: the same samples, and its own figures. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { afterEach, expect, it } from 'vitest';
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
