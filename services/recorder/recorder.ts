/**
 * The recorder itself: takes frames from a source, hands them to the segment writer, watches level, clock and disk, and
 * tells how it fares. Frames go on being counted and heard whatever the disk does.
 */
import { randomBytes } from 'node:crypto';
import type { RecorderConfig, RecorderStatus } from '../shared/contract.ts';
import { MAX_TOLD_GAPS, RECORDER_EXIT } from '../shared/recording.ts';
import { FILE_BITS, frameBytesOf, type WavFormat } from '../shared/wav.ts';
import { createWallClock, readClockSynchronised, type WallClock } from './clock.ts';
import { freeBytesAt, hasRoom, isDiskFull } from './folders.ts';
import { createLevelMeter, createSilenceWatch } from './levels.ts';
import { createLiveSound, type LiveSound } from './live.ts';
import { errorText, type Log } from './log.ts';
import { createLosses, type Losses } from './losses.ts';
import { salvageLeftovers } from './salvage.ts';
import { createSegmentWriter, type SegmentWriter, segmentFrames } from './segments.ts';
import type { CaptureEnd, CaptureSink, CaptureSource } from './source.ts';
import { createStatusFile, type StatusFile } from './status.ts';
import { createTimeline, type Timeline } from './timeline.ts';

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
/** Looks between two questions whether the clock is synchronised. */
const CLOCK_PROBE_LOOKS = 60;
/** Sound in memory that waits for a slow disk: so many seconds of it, within these bounds; beyond it is dropped. */
const QUEUE_SECONDS = 20;
const LEAST_QUEUE_BYTES = 16 * 1024 * 1024;
const MOST_QUEUE_BYTES = 160 * 1024 * 1024;
/** Largest margin above the disk reserve before writing goes on. Bytes. */
const MAX_MARGIN_BYTES = 64 * 1024 * 1024;
/** A disk that hangs at the very end is not waited for longer: the file is salvaged at the next start. */
const CLOSE_DEADLINE_MS = 30_000;

/** How samples of this configuration lie in our files. */
export function fileFormat(config: RecorderConfig): WavFormat {
  return { rate: config.rate, channels: config.channels, bitsPerSample: FILE_BITS[config.format] };
}

/** The status with all that this release tells. */
type FullStatus = { [Field in keyof RecorderStatus]-?: Exclude<RecorderStatus[Field], undefined> };

/** All that a run knows and its parts share. */
interface Run {
  options: RecorderOptions;
  format: WavFormat;
  status: FullStatus;
  statusFile: StatusFile;
  writer: SegmentWriter;
  losses: Losses;
  timeline: Timeline;
  clock: WallClock;
  live: LiveSound | null;
  /** Why nothing is written; null: there is room. */
  noSpace: string | null;
  /** The disk is too slow: told once, until it has caught up. */
  lagging: boolean;
  /** The source was begun anew, and the gap that this makes is not told yet. */
  restarted: boolean;
  salvaging: Promise<void>;
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
  salvage(run);
  return {
    stop: () => end({ exitCode: RECORDER_EXIT.askedToStop, reason: 'AskedToStop', message: 'Asked to stop.' }),
    finished: record(run, ended),
  };
}

async function record(run: Run, ended: Promise<CaptureEnd>): Promise<CaptureEnd> {
  const { source, runPath, log } = run.options;
  const watches = [createWatch(() => watchDisk(run)), createWatch(() => probeClock(run), CLOCK_PROBE_LOOKS)];
  for (const watch of watches) watch.look();
  await watches[0]?.settle();
  run.live = await createLiveSound(runPath, run.format.rate * frameBytesOf(run.format), log);
  source.start(createSink(run));
  const ticker = setInterval(() => {
    watchClock(run);
    publish(run);
    for (const watch of watches) watch.look();
  }, STATUS_INTERVAL_MS);
  const end = await ended;
  clearInterval(ticker);
  setState(run, 'stopping', end.reason, end.message);
  await source.stop();
  run.losses.endDrop();
  run.live.close();
  await closeInTime(run, Promise.all([watches[0]?.settle(), run.writer.close(), run.salvaging]));
  publish(run);
  await run.statusFile.settle();
  return end;
}

async function closeInTime(run: Run, closed: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), CLOSE_DEADLINE_MS);
  });
  const outcome = await Promise.race([closed, deadline]);
  clearTimeout(timer);
  if (outcome !== 'late') return;
  run.options.log('error', 'The disk does not answer: the last recording stays in .buffer until the next start.');
}

/** Something looked at now and then; a look that hangs is not begun a second time. */
function createWatch(work: () => Promise<void>, everyLooks = 1): { look(): void; settle(): Promise<void> } {
  let working: Promise<void> | null = null;
  let looks = 0;
  return {
    look() {
      const due = looks % everyLooks === 0;
      looks += 1;
      if (!due || working !== null) return;
      working = work().finally(() => {
        working = null;
      });
    },
    settle: async () => {
      await working;
    },
  };
}

function createRun(options: RecorderOptions, end: (end: CaptureEnd) => void): Run {
  const { config, log, workspacePath } = options;
  const format = fileFormat(config);
  const status = firstStatus(config, options.device);
  const timeline = createTimeline(config.rate);
  const clock = createWallClock();
  const writer = createSegmentWriter({
    workspacePath,
    config,
    run: status.run,
    format,
    timeOf: (frame) => clock.at(timeline.timeOf(frame)),
    clockSynchronised: () => status.clock.synchronised,
    finished(segment) {
      status.lastSegment = segment;
    },
    failed: (error, lostFrames) => onWriteFailure(run, error, lostFrames),
  });
  const run: Run = {
    options,
    format,
    status,
    statusFile: createStatusFile(options.runPath, (error) => {
      if (error === null) log('info', 'The status file can be written again.');
      else log('error', `The status file cannot be written, recording goes on: ${errorText(error)}.`);
    }),
    writer,
    losses: createLosses(status, writer.noteGap),
    timeline,
    clock,
    live: null,
    noSpace: null,
    lagging: false,
    restarted: false,
    salvaging: Promise.resolve(),
    end,
    meter: createLevelMeter(format, config.watch.clipAtDbfs),
    isSilent: createSilenceWatch(config.rate, config.watch),
  };
  return run;
}

function createSink(run: Run): CaptureSink {
  const { status, timeline, losses, options } = run;
  const frameBytes = frameBytesOf(run.format);
  return {
    opened(bufferFrames) {
      status.bufferSeconds = Math.round((bufferFrames / run.format.rate) * 1000) / 1000;
    },
    frames(data) {
      const firstFrame = status.frames;
      const count = data.length / frameBytes;
      status.frames += count;
      const lost = timeline.advance(count, performance.now());
      if (lost > 0) onFramesMissing(run, lost);
      run.meter.add(data);
      run.live?.send(data);
      keep(run, data, firstFrame);
      if (status.state === 'starting' || status.state === 'retrying') tellCapturing(run);
    },
    lost(frames) {
      status.overruns += 1;
      timeline.announce(frames);
      losses.add('overrun', frames);
      if (status.overruns === 1) options.log('warn', 'Sound was lost: this machine did not keep up (overrun).');
    },
    retrying(end) {
      status.restarts += 1;
      run.restarted = true;
      options.log('warn', `${end.message} It is begun anew.`, { reason: end.reason });
      setState(run, 'retrying', end.reason, end.message);
    },
    ended: run.end,
  };
}

function keep(run: Run, data: Buffer, firstFrame: number): void {
  const frames = data.length / frameBytesOf(run.format);
  const cause = run.noSpace !== null ? 'no_space' : isLagging(run) ? 'slow_disk' : null;
  if (cause !== null) {
    run.losses.drop(cause, frames);
    return;
  }
  run.losses.endDrop();
  run.writer.write(data, firstFrame);
}

/** By the monotonic clock they should have come, and the source did not say why they did not. */
function onFramesMissing(run: Run, frames: number): void {
  const seconds = (frames / run.format.rate).toFixed(2);
  const cause = run.restarted ? 'restart' : 'late';
  run.restarted = false;
  run.losses.add(cause, frames);
  run.options.log('warn', `${frames} frames (${seconds} s) never came.`, { reason: 'FramesMissing', cause });
}

function tellCapturing(run: Run): void {
  if (run.noSpace !== null) setState(run, 'no_space', 'DiskFull', run.noSpace);
  else setState(run, 'recording', 'Capturing', `${run.options.device} is recorded.`);
}

function isLagging(run: Run): boolean {
  const bytesPerSecond = run.format.rate * frameBytesOf(run.format);
  const mostBytes = Math.min(MOST_QUEUE_BYTES, Math.max(LEAST_QUEUE_BYTES, QUEUE_SECONDS * bytesPerSecond));
  const lagging = run.writer.queuedBytes() > (run.lagging ? mostBytes / 2 : mostBytes);
  if (lagging !== run.lagging) {
    run.lagging = lagging;
    // What follows the gap is another segment: within one, no frame is missing that could have been kept.
    if (lagging) run.writer.cut();
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
    run.status.disk.freeBytes = null;
    log('error', `The free space of ${workspacePath} cannot be read, recording goes on: ${errorText(error)}.`);
    return;
  }
  run.status.disk.freeBytes = freeBytes;
  const hadRoom = run.noSpace === null;
  const room = hasRoom(freeBytes, hadRoom, { reserveBytes: config.reserveBytes, marginBytes });
  if (room === hadRoom) return;
  if (room) resumeWriting(run);
  else stopWriting(run, `${megabytes(freeBytes)} are free and ${megabytes(config.reserveBytes)} are kept in reserve`);
}

/** `error` null: frames of a segment that failed before. */
function onWriteFailure(run: Run, error: unknown, lostFrames: number): void {
  const full = error === null ? run.noSpace !== null : isDiskFull(error);
  if (lostFrames > 0) run.losses.drop(full ? 'no_space' : 'write_failed', lostFrames);
  if (full) {
    if (run.noSpace === null) stopWriting(run, errorText(error));
    return;
  }
  if (error === null) return;
  const message = `The recording could not be written: ${errorText(error)}.`;
  run.end({ exitCode: 1, reason: 'WriteFailed', message });
}

function stopWriting(run: Run, why: string): void {
  run.noSpace = `The disk is full (${why}): make room, recording then goes on by itself.`;
  run.writer.cut();
  run.options.log('error', run.noSpace, { reason: 'DiskFull' });
  if (run.status.state !== 'stopping') setState(run, 'no_space', 'DiskFull', run.noSpace);
}

function resumeWriting(run: Run): void {
  run.noSpace = null;
  run.options.log('info', 'There is room on the disk again, recording goes on.');
  // A file that could not be completed or moved for want of room can be now.
  salvage(run);
  if (run.status.state !== 'no_space') return;
  // The next frames say that it records.
  setState(run, 'starting', 'RoomAgain', 'There is room on the disk again.');
}

function salvage(run: Run): void {
  const { config, workspacePath, log } = run.options;
  const isOpen = (name: string): boolean => run.writer.openNames().has(name);
  run.salvaging = run.salvaging
    .then(() => salvageLeftovers({ workspacePath, config, isOpen, log }))
    .catch((error: unknown) => log('error', `What lies in .buffer could not be looked at: ${errorText(error)}.`));
}

function watchClock(run: Run): void {
  const step = run.clock.look();
  if (step === null) return;
  const { steps } = run.status.clock;
  steps.push(step);
  if (steps.length > MAX_TOLD_GAPS) steps.shift();
  run.writer.noteClockStep(step);
  run.options.log('warn', `The clock was set by ${step.seconds} s.`, { reason: 'ClockStep' });
}

async function probeClock(run: Run): Promise<void> {
  run.status.clock.synchronised = await readClockSynchronised();
}

function setState(run: Run, state: RecorderStatus['state'], reason: string, message: string): void {
  Object.assign(run.status, { state, reason, message: message.slice(0, 500) });
  publish(run);
}

function publish(run: Run): void {
  const { status, writer, live } = run;
  const window = run.meter.take();
  if (window !== null) {
    status.levels = window.levels;
    status.silent = run.isSilent(window);
  }
  status.disk.queuedBytes = writer.queuedBytes();
  status.listeners = live?.listeners() ?? 0;
  run.statusFile.write({ ...status, at: Date.now() });
}

function firstStatus(config: RecorderConfig, device: string): FullStatus {
  return {
    schema: 1,
    run: newRunName(),
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
    bufferSeconds: null,
    restarts: 0,
    gaps: [],
    clock: { synchronised: null, steps: [] },
    disk: { freeBytes: null, queuedBytes: 0 },
    listeners: 0,
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
