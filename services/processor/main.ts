/**
 * The processor: one process per station. Started by the controller in a container, or by `npm run processor`.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { uptime } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { PROCESSOR_EXIT, type ProcessorStatus } from '../shared/contract.ts';
import { createLog, errorText, type Log } from '../shared/log.ts';
import { createStatusFile, type StatusFile } from '../shared/status-file.ts';
import { type ProcessorSettings, readProcessorSettings } from './config.ts';
import { idleDiskPrefix, lowerOwnPriority } from './priority.ts';
import { createProcessor, LOOK_INTERVAL_MS, type Processor } from './processor.ts';
import type { DiskSpace } from './retention.ts';
import { createSox } from './sox.ts';

const STATUS_INTERVAL_MS = 1000;
/** What a disk that hangs may delay the end. */
const STOP_DEADLINE_MS = 2000;

// Before anything else: process 1 of a container ignores a signal that it has no handler for.
const stopRequest = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopRequest.abort());

const settings = readProcessorSettings();
const log = createLog({ service: 'processor', ...(settings.ok && { instance: settings.value.instanceId }) });
if (!settings.ok) log('error', settings.message, { reason: 'BadConfig', exitCode: PROCESSOR_EXIT.badConfig });
process.exit(settings.ok ? await run(settings.value, log, stopRequest.signal) : PROCESSOR_EXIT.badConfig);

async function run(settings: ProcessorSettings, log: Log, stop: AbortSignal): Promise<number> {
  const { runPath, recordingsPath, config, childEnvironment } = settings;
  try {
    lowerOwnPriority();
    await mkdir(runPath, { recursive: true });
  } catch (error) {
    log('error', `${runPath} cannot be made: ${errorText(error)}: give the processor a folder that it may write.`);
    return PROCESSOR_EXIT.folderUnwritable;
  }
  const sox = createSox({ environment: childEnvironment, prefix: await idleDiskPrefix(childEnvironment), stop });
  const clocks = { now: () => Date.now(), bootedAt: () => Date.now() - uptime() * 1000 };
  const processor = createProcessor({ recordingsPath, config, sox, log, ...clocks, diskSpace, stop });
  log('info', `Processing the recordings in ${recordingsPath}.`, { retention: config.retention });
  const statusFile = createStatusFile<ProcessorStatus>(runPath, (error) => {
    if (error === null) log('info', 'The status file can be written again.');
    else log('error', `The status file cannot be written: ${errorText(error)}.`);
  });
  const timer = setInterval(writeWhenChanged(processor, statusFile), STATUS_INTERVAL_MS);
  const asked = new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([stepUntil(processor, stop), asked.then(() => wait(STOP_DEADLINE_MS))]);
  clearInterval(timer);
  const message = 'Asked to stop; what was being made is made anew at the next start.';
  statusFile.write({ ...processor.status(), state: 'stopping', reason: 'AskedToStop', message });
  await statusFile.settle();
  log('info', message);
  return PROCESSOR_EXIT.askedToStop;
}

/** While nothing happens, nothing is written. */
function writeWhenChanged(processor: Processor, statusFile: StatusFile<ProcessorStatus>): () => void {
  let written = '';
  return () => {
    const status = processor.status();
    const text = JSON.stringify({ ...status, at: 0 });
    if (text !== written) statusFile.write(status);
    written = text;
  };
}

async function stepUntil(processor: Processor, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    if ((await processor.step()) === 'worked') continue;
    await wait(LOOK_INTERVAL_MS, undefined, { signal: stop }).catch((error: unknown) => {
      if (!stop.aborted) throw error;
    });
  }
}

async function diskSpace(path: string): Promise<DiskSpace> {
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
