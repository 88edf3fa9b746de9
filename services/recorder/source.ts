/**
 * Where sound comes from: the port between a source (a microphone through `arecord`, or the synthetic one) and the
 * recorder, which is the same for both.
 */
import type { RECORDER_EXIT } from '../shared/recording.ts';

export type ExitCode = (typeof RECORDER_EXIT)[keyof typeof RECORDER_EXIT];

/** Why a recording ended. `exitCode` 1 is a crash: something that we have no word for. */
export interface CaptureEnd {
  exitCode: ExitCode | 1;
  /** CamelCase word for programs. */
  reason: string;
  /** Sentence for people. */
  message: string;
}

/** What a source tells. Nothing is told after `ended`, nor after `stop` has resolved. */
export interface CaptureSink {
  /** Frames that the device holds while nobody reads. */
  opened(bufferFrames: number): void;
  /** Whole frames in the file's form, the last of which has just been captured. They must not be changed. */
  frames(data: Buffer): void;
  /** An overrun: so many frames were lost, as exactly as the source knows. */
  lost(frames: number): void;
  /** It ended by itself for this reason, and is about to be begun anew. */
  retrying(end: CaptureEnd): void;
  /** The source ended by itself, for good. */
  ended(end: CaptureEnd): void;
}

export interface CaptureSource {
  start(sink: CaptureSink): void;
  /** Ends the capture, at most 0.6 s later; what was captured until then is still told. */
  stop(): Promise<void>;
}
