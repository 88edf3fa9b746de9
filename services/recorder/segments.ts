/**
 * Cuts an endless stream of frames into segments of exactly the same number of frames, without a gap. Taking frames
 * never waits: they lie in memory until the disk has them. One hand writes, so a disk that hangs holds one call only.
 */

import type { RecorderConfig } from '../shared/contract.ts';
import { formatSegmentName } from '../shared/recording.ts';
import { frameBytesOf, MAX_DATA_BYTES, type WavFormat } from '../shared/wav.ts';
import type { ClockStep } from './clock.ts';
import type { Gap, SegmentFacts } from './metadata.ts';
import { createSegmentFile, type SegmentFile } from './segment-file.ts';

export interface FinishedSegment {
  name: string;
  /** Unix milliseconds of its first frame. */
  startedAt: number;
  frames: number;
}

export interface SegmentWriterOptions {
  workspacePath: string;
  config: RecorderConfig;
  run: string;
  format: WavFormat;
  /** Unix milliseconds at which the frame of this number was captured; asked at the boundary. */
  timeOf(frame: number): number;
  /** Null: not known. Asked when a segment ends. */
  clockSynchronised(): boolean | null;
  /** A file has appeared in `data/raw`. */
  finished(segment: FinishedSegment): void;
  /** Something could not be written; so many frames are lost for it. Its segment ends there. */
  failed(error: unknown, lostFrames: number): void;
}

export interface SegmentWriter {
  /** Whole frames, the first of which has this number. Kept in memory until written. */
  write(frames: Buffer, firstFrame: number): void;
  /** Frames were lost in the segment that grows, or before the next. */
  noteGap(gap: Gap): void;
  noteClockStep(step: ClockStep): void;
  /** Ends the segment that grows, however short it is. */
  cut(): void;
  /** Ends it and waits until all is on disk. */
  close(): Promise<void>;
  /** Bytes that wait to be written. */
  queuedBytes(): number;
  /** The files in `.buffer/` that are still being written. */
  openNames(): ReadonlySet<string>;
}

interface Segment {
  facts: SegmentFacts;
  /** Bytes taken so far, whether written or waiting. */
  takenBytes: number;
  file: SegmentFile | null;
  /** Nothing more is written to it. */
  failed: boolean;
}

type Job = { segment: Segment; frames: Buffer } | { segment: Segment; frames: null };

/** Waiting frames go to the disk so often, or as soon as there are so many. */
const FLUSH_INTERVAL_MS = 500;
const FLUSH_BYTES = 1024 * 1024;
/** Every other flush: a power cut then costs well under 2 s. */
const SYNC_AFTER_MS = 900;

export function createSegmentWriter(options: SegmentWriterOptions): SegmentWriter {
  const segmentBytes = segmentFrames(options.format, options.config.segmentSeconds) * frameBytesOf(options.format);
  const queue: Job[] = [];
  const openNames = new Set<string>();
  const disk = createDiskHand(options, openNames);
  let queuedBytes = 0;
  let sequence = 0;
  let current: Segment | null = null;
  let gaps: Gap[] = [];
  let clockSteps: ClockStep[] = [];
  let working: Promise<void> | null = null;
  const timer = setInterval(() => kick(), FLUSH_INTERVAL_MS);

  function begin(firstFrame: number): Segment {
    sequence += 1;
    const segment = newSegment(options, sequence, firstFrame, gaps, clockSteps);
    openNames.add(segment.facts.name);
    gaps = [];
    clockSteps = [];
    return segment;
  }

  function end(): void {
    if (current === null) return;
    queue.push({ segment: current, frames: null });
    current = null;
  }

  async function work(): Promise<void> {
    for (let batch = takeBatch(queue); batch !== null; batch = takeBatch(queue)) {
      await disk.store(batch);
      queuedBytes -= batch.bytes;
    }
    await disk.syncIfDue();
    working = null;
  }

  function kick(): void {
    working ??= work();
  }

  return {
    write(frames, firstFrame) {
      const frameBytes = frameBytesOf(options.format);
      for (let offset = 0; offset < frames.length; ) {
        current ??= begin(firstFrame + offset / frameBytes);
        const part = frames.subarray(offset, offset + segmentBytes - current.takenBytes);
        queue.push({ segment: current, frames: part });
        current.takenBytes += part.length;
        offset += part.length;
        if (current.takenBytes === segmentBytes) end();
      }
      queuedBytes += frames.length;
      if (queuedBytes >= FLUSH_BYTES) kick();
    },
    noteGap: (gap) => (current?.facts.gaps ?? gaps).push(gap),
    noteClockStep: (step) => (current?.facts.clockSteps ?? clockSteps).push(step),
    cut() {
      end();
      kick();
    },
    async close() {
      clearInterval(timer);
      end();
      while (queue.length > 0 || working !== null) {
        kick();
        await working;
      }
    },
    queuedBytes: () => queuedBytes,
    openNames: () => openNames,
  };
}

/** Frames per file: as long as asked for, or as long as a file may be. */
export function segmentFrames(format: WavFormat, segmentSeconds: number): number {
  return Math.min(segmentSeconds * format.rate, Math.floor(MAX_DATA_BYTES / frameBytesOf(format)));
}

function newSegment(
  options: SegmentWriterOptions,
  sequence: number,
  firstFrame: number,
  gaps: Gap[],
  clockSteps: ClockStep[],
): Segment {
  const { run, format, config } = options;
  const startedAt = options.timeOf(firstFrame);
  const { workspace } = config.microphone;
  const facts: SegmentFacts = {
    name: formatSegmentName({ workspace, startedAt: new Date(startedAt), run, sequence }),
    startedAt,
    startKnownTo: 'millisecond',
    ...format,
    frames: 0,
    clockSynchronised: null,
    clockSteps,
    gaps,
    salvaged: false,
  };
  return { facts, takenBytes: 0, file: null, failed: false };
}

/** What goes to the disk in one call: frames of one segment, and whether it ends there. */
interface Batch {
  segment: Segment;
  parts: Buffer[];
  bytes: number;
  ends: boolean;
}

/** Null: nothing waits. */
function takeBatch(queue: Job[]): Batch | null {
  const first = queue[0];
  if (first === undefined) return null;
  const batch: Batch = { segment: first.segment, parts: [], bytes: 0, ends: false };
  let taken = 0;
  for (const job of queue) {
    if (batch.ends || job.segment !== batch.segment || batch.bytes >= FLUSH_BYTES) break;
    if (job.frames === null) batch.ends = true;
    else {
      batch.parts.push(job.frames);
      batch.bytes += job.frames.length;
    }
    taken += 1;
  }
  queue.splice(0, taken);
  return batch;
}

interface DiskHand {
  /** Never throws: what fails is told. */
  store(batch: Batch): Promise<void>;
  syncIfDue(): Promise<void>;
}

function createDiskHand(options: SegmentWriterOptions, openNames: Set<string>): DiskHand {
  const frameBytes = frameBytesOf(options.format);
  let growing: Segment | null = null;
  let unsynced = false;
  let syncedAtMs = performance.now();

  async function finish(segment: Segment): Promise<void> {
    const { file, facts } = segment;
    segment.file = null;
    growing = null;
    unsynced = false;
    try {
      facts.clockSynchronised = options.clockSynchronised();
      const frames = file === null ? 0 : await file.finish(facts, options.config);
      syncedAtMs = performance.now();
      if (frames > 0) options.finished({ name: facts.name, startedAt: facts.startedAt, frames });
    } catch (error) {
      options.failed(error, 0);
    }
    openNames.delete(facts.name);
  }

  async function fail(segment: Segment, error: unknown, lostBytes: number): Promise<void> {
    segment.failed = true;
    options.failed(error, Math.ceil(lostBytes / frameBytes));
    await finish(segment);
  }

  async function syncIfDue(): Promise<void> {
    const nowMs = performance.now();
    if (growing === null || growing.file === null || !unsynced || nowMs - syncedAtMs < SYNC_AFTER_MS) return;
    unsynced = false;
    try {
      await growing.file.sync();
      syncedAtMs = nowMs;
    } catch (error) {
      await fail(growing, error, 0);
    }
  }

  return {
    async store(batch) {
      const { segment } = batch;
      if (segment.failed) return options.failed(null, batch.bytes / frameBytes);
      let before = 0;
      try {
        segment.file ??= await createSegmentFile(options.workspacePath, segment.facts.name, options.format);
        growing = segment;
        before = segment.file.dataBytes();
        await segment.file.append(batch.parts);
        unsynced = true;
      } catch (error) {
        const written = segment.file === null ? 0 : segment.file.dataBytes() - before;
        return fail(segment, error, batch.bytes - written);
      }
      if (batch.ends) await finish(segment);
      else await syncIfDue();
    },
    syncIfDue,
  };
}
