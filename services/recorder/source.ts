/**
 * Where sound comes from: the port between a source (a microphone through `arecord`, or the synthetic one) and the
 * recorder, which is the same for both.
 */
import type { RECORDER_EXIT } from '../shared/contract.ts';

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
  /** Whole frames in the file's form, the last of which has just been captured. They must not be changed. */
  frames(data: Buffer): void;
  /** Frames that the source could not deliver: an overrun. About so many. */
  lost(frames: number): void;
  /** The source ended by itself. */
  ended(end: CaptureEnd): void;
}

export interface CaptureSource {
  start(sink: CaptureSink): void;
  /** Ends the capture, at most 0.6 s later; what was captured until then is still told. */
  stop(): Promise<void>;
}
