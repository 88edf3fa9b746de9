/**
 * A recorder: one process, one microphone. Started by the controller in a container, or by `npm run recorder`.
 */
import { RECORDER_EXIT, VIRTUAL_DEVICE } from '../shared/recording.ts';
import { createArecordSource } from './arecord.ts';
import { createCardCheck } from './card.ts';
import { type RecorderSettings, readRecorderSettings } from './config.ts';
import { prepareFolders } from './folders.ts';
import { createLog, errorText, type Log } from './log.ts';
import { fileFormat, startRecorder } from './recorder.ts';
import { createRestartingSource } from './restarting-source.ts';
import type { CaptureEnd, CaptureSource } from './source.ts';
import { createVirtualSource } from './virtual.ts';

// Before anything else: process 1 of a container ignores a signal that it has no handler for.
const stopRequest = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopRequest.abort());

const settings = readRecorderSettings();
const log = createLog({ service: 'recorder', ...(settings.ok && { instance: settings.value.instanceId }) });
const end = settings.ok
  ? await run(settings.value, log)
  : { exitCode: RECORDER_EXIT.badConfig, reason: 'BadConfig', message: settings.message };
log(end.exitCode === RECORDER_EXIT.askedToStop ? 'info' : 'error', end.message, {
  reason: end.reason,
  exitCode: end.exitCode,
});
process.exit(end.exitCode);

async function run(settings: RecorderSettings, log: Log): Promise<CaptureEnd> {
  const { config, device, workspacePath, runPath } = settings;
  try {
    await prepareFolders(workspacePath, runPath);
  } catch (error) {
    const message = `${errorText(error)}: give the recorder a folder that it may write.`;
    return { exitCode: RECORDER_EXIT.folderUnwritable, reason: 'FolderUnwritable', message };
  }
  const { rate, channels, format } = config;
  log('info', `Recording ${device} as ${rate} Hz, ${channels} channel(s), ${format}.`, {
    profile: settings.profileSlug,
  });
  const source = createSource(settings, log);
  const recorder = startRecorder({ config, device, workspacePath, runPath, source, log });
  if (stopRequest.signal.aborted) recorder.stop();
  else stopRequest.signal.addEventListener('abort', () => recorder.stop(), { once: true });
  return recorder.finished;
}

function createSource({ config, device, usbDevice, childEnvironment }: RecorderSettings, log: Log): CaptureSource {
  if (device === VIRTUAL_DEVICE) return createVirtualSource(fileFormat(config));
  const { rate, channels, format } = config;
  const checkCard = createCardCheck({ device, usbDevice, log });
  return createRestartingSource(() =>
    createArecordSource({ device, rate, channels, format }, { childEnvironment, checkCard }),
  );
}
