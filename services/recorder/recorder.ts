/**
 * The recorder itself: takes frames from a source, hands them to the segment writer, watches level and disk, and tells
 * how it fares. Frames go on being counted and heard whatever the disk does.
 */
import { randomBytes } from 'node:crypto';
import { RECORDER_EXIT, type RecorderConfig, type RecorderStatus } from '../shared/contract.ts';
import { freeBytesAt, hasRoom, isDiskFull } from './folders.ts';
import { createLevelMeter, createSilenceWatch } from './levels.ts';
import { errorText, type Log } from './log.ts';
import { salvageLeftovers } from './salvage.ts';
import { createSegmentWriter, type SegmentWriter, segmentFrames } from './segments.ts';
import type { CaptureEnd, CaptureSink, CaptureSource } from './source.ts';
import { createStatusFile, type StatusFile } from './status.ts';
import { FILE_BITS, frameBytesOf, type WavFormat } from './wav.ts';

export interface RecorderOptions {
  config: RecorderConfig;
  /** `hw:1,0` or `virtual`, for sentences. */
  device: string;
  workspacePath: string;
  runPath: string;
  source: CaptureSource;
  log: Log;
}

export interface Recorder {
  /** Ends the recording in order; `finished` then resolves. */
  stop(): void;
  /** Resolves once all is on disk. */
  finished: Promise<CaptureEnd>;
}

const STATUS_INTERVAL_MS = 1000;
/** Sound in memory that waits for a slow disk; what comes beyond it is dropped and counted. Bytes. */
const MAX_PENDING_BYTES = 32 * 1024 * 1024;
/** Largest margin above the disk reserve before writing goes on. Bytes. */
const MAX_MARGIN_BYTES = 64 * 1024 * 1024;

/** How samples of this configuration lie in our files. */
export function fileFormat(config: RecorderConfig): WavFormat {
  return { rate: config.rate, channels: config.channels, bitsPerSample: FILE_BITS[config.format] };
}

/** All that a run knows and its parts share. */
interface Run {
  options: RecorderOptions;
  format: WavFormat;
  status: RecorderStatus;
  statusFile: StatusFile;
  writer: SegmentWriter;
  hasRoom: boolean;
  /** The disk is too slow: told once, until it has caught up. */
  lagging: boolean;
  /** Ends the run; the first call decides. */
  end(end: CaptureEnd): void;
  meter: ReturnType<typeof createLevelMeter>;
  isSilent: ReturnType<typeof createSilenceWatch>;
}

/** Starts at once. The folders must exist (`prepareFolders`). */
export function startRecorder(options: RecorderOptions): Recorder {
  const { promise: ended, end } = firstEnd();
  const run = createRun(options, end);
  publish(run);
  const salvaged = salvageLeftovers(options.workspacePath, run.status.run, options.log).catch((error: unknown) => {
    options.log('error', `What an earlier run left in .buffer could not be looked at: ${errorText(error)}.`);
  });
  return {
    stop: () => end({ exitCode: RECORDER_EXIT.askedToStop, reason: 'AskedToStop', message: 'Asked to stop.' }),
    finished: record(run, ended, salvaged),
  };
}

async function record(run: Run, ended: Promise<CaptureEnd>, salvaged: Promise<void>): Promise<CaptureEnd> {
  const { source } = run.options;
  await watchDisk(run);
  source.start(createSink(run));
  let watching = Promise.resolve();
  let busy = false;
  const ticker = setInterval(() => {
    publish(run);
    if (busy) return;
    busy = true;
    watching = watchDisk(run).finally(() => {
      busy = false;
    });
  }, STATUS_INTERVAL_MS);
  const end = await ended;
  clearInterval(ticker);
  setState(run, 'stopping', end.reason, end.message);
  await source.stop();
  await Promise.all([watching, run.writer.close(), salvaged]);
  publish(run);
  await run.statusFile.settle();
  return end;
}

function createRun(options: RecorderOptions, end: (end: CaptureEnd) => void): Run {
  const { config, log } = options;
  const format = fileFormat(config);
  const name = newRunName();
  const writer = createSegmentWriter({
    workspacePath: options.workspacePath,
    workspace: config.microphone.workspace,
    run: name,
    format,
    segmentSeconds: config.segmentSeconds,
    finished(segment) {
      run.status.lastSegment = segment;
    },
    failed: (error, lostFrames) => onWriteFailure(run, error, lostFrames),
  });
  const statusFile = createStatusFile(options.runPath, (error) => {
    if (error === null) log('info', 'The status file can be written again.');
    else log('error', `The status file cannot be written, recording goes on: ${errorText(error)}.`);
  });
  const run: Run = {
    options,
    format,
    status: firstStatus(config, name, options.device),
    statusFile,
    writer,
    hasRoom: true,
    lagging: false,
    end,
    meter: createLevelMeter(format, config.watch.clipAtDbfs),
    isSilent: createSilenceWatch(config.rate, config.watch),
  };
  return run;
}

function createSink(run: Run): CaptureSink {
  const frameBytes = frameBytesOf(run.format);
  const { status, writer } = run;
  return {
    frames(data) {
      const count = data.length / frameBytes;
      status.frames += count;
      run.meter.add(data);
      if (!run.hasRoom || isLagging(run)) status.lostFrames += count;
      else writer.write(data, Date.now());
      if (status.state === 'starting') setState(run, 'recording', 'Capturing', `${run.options.device} is recorded.`);
    },
    lost(frames) {
      status.overruns += 1;
      status.lostFrames += frames;
      if (status.overruns === 1) run.options.log('warn', `Sound was lost: this machine did not keep up (overrun).`);
    },
    ended: run.end,
  };
}

function isLagging(run: Run): boolean {
  const pendingBytes = run.writer.pendingBytes();
  const lagging = pendingBytes > (run.lagging ? MAX_PENDING_BYTES / 2 : MAX_PENDING_BYTES);
  if (lagging !== run.lagging) {
    run.lagging = lagging;
    if (lagging) run.options.log('error', 'Sound is being lost: the disk is too slow for this microphone.');
    else run.options.log('info', 'The disk has caught up.');
  }
  return lagging;
}

/** Never throws: what cannot be read changes nothing. */
async function watchDisk(run: Run): Promise<void> {
  const { config, workspacePath, log } = run.options;
  const segmentBytes = segmentFrames(run.format, config.segmentSeconds) * frameBytesOf(run.format);
  const marginBytes = Math.min(segmentBytes, MAX_MARGIN_BYTES);
  let freeBytes: number;
  try {
    freeBytes = await freeBytesAt(workspacePath);
  } catch (error) {
    log('error', `The free space of ${workspacePath} cannot be read, recording goes on: ${errorText(error)}.`);
    return;
  }
  const room = hasRoom(freeBytes, run.hasRoom, { reserveBytes: config.reserveBytes, marginBytes });
  if (room === run.hasRoom) return;
  if (room) resumeWriting(run);
  else stopWriting(run, `${megabytes(freeBytes)} are free and ${megabytes(config.reserveBytes)} are kept in reserve`);
}

function onWriteFailure(run: Run, error: unknown, lostFrames: number): void {
  run.status.lostFrames += lostFrames;
  if (isDiskFull(error)) {
    if (run.hasRoom) stopWriting(run, errorText(error));
    return;
  }
  const message = `The recording could not be written: ${errorText(error)}.`;
  run.end({ exitCode: 1, reason: 'WriteFailed', message });
}

function stopWriting(run: Run, why: string): void {
  run.hasRoom = false;
  run.writer.cut();
  const message = `The disk is full (${why}): make room, recording then goes on by itself.`;
  run.options.log('error', message, { reason: 'DiskFull' });
  if (run.status.state !== 'stopping') setState(run, 'no_space', 'DiskFull', message);
}

function resumeWriting(run: Run): void {
  run.hasRoom = true;
  run.options.log('info', 'There is room on the disk again, recording goes on.');
  if (run.status.state !== 'no_space') return;
  // The next frames say that it records.
  setState(run, 'starting', 'RoomAgain', 'There is room on the disk again.');
}

function setState(run: Run, state: RecorderStatus['state'], reason: string, message: string): void {
  Object.assign(run.status, { state, reason, message: message.slice(0, 500) });
  publish(run);
}

function publish(run: Run): void {
  const window = run.meter.take();
  if (window !== null) {
    run.status.levels = window.levels;
    run.status.silent = run.isSilent(window);
  }
  run.statusFile.write({ ...run.status, at: Date.now() });
}

function firstStatus(config: RecorderConfig, run: string, device: string): RecorderStatus {
  return {
    schema: 1,
    run,
    state: 'starting',
    reason: 'Opening',
    message: `${device} is being opened.`,
    frames: 0,
    rate: config.rate,
    channels: config.channels,
    format: config.format,
    levels: [],
    silent: false,
    overruns: 0,
    lostFrames: 0,
    lastSegment: null,
    at: Date.now(),
  };
}

/** Eight of 0-9, a-z: no two runs on one microphone will ever share it. */
function newRunName(): string {
  return randomBytes(8).readBigUInt64LE().toString(36).padStart(8, '0').slice(-8);
}

function firstEnd(): { promise: Promise<CaptureEnd>; end(end: CaptureEnd): void } {
  let end: (end: CaptureEnd) => void = () => {};
  const promise = new Promise<CaptureEnd>((resolve) => {
    end = resolve;
  });
  return { promise, end };
}

function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 1_000_000)} MB`;
}
