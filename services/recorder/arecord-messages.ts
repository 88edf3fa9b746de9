/**
 * What `arecord` says on standard error, understood. Texts are those of alsa-utils (aplay/aplay.c, the same from 1.1 to
 * 1.2.14) under LC_ALL=C with `-v`; system errors are those of glibc's strerror.
 */
import { RECORDER_EXIT, type SampleFormat } from '../shared/recording.ts';
import type { CaptureEnd } from './source.ts';

/** What was asked of it. */
export interface CaptureRequest {
  /** `hw:1,0`. */
  device: string;
  rate: number;
  channels: number;
  format: SampleFormat;
}

export type ArecordEvent =
  /** The device's buffer, as granted. */
  | { kind: 'buffer'; frames: number }
  /** The device's buffer was full, and what came in so many milliseconds since then is lost … */
  | { kind: 'overrun'; lostMs: number }
  /** … and so is what lay in the buffer: ALSA begins anew with an empty one. */
  | { kind: 'discarded'; frames: number }
  /** It captures something else than was asked for: what it delivers must not be kept. */
  | { kind: 'refused'; end: CaptureEnd };

export interface ArecordMessages {
  /** Takes one line; null: nothing that matters now. */
  line(text: string): ArecordEvent | null;
  /** It ended by itself, with this exit code or signal: why. */
  end(code: number | null, signal: string | null): CaptureEnd;
}

const RATE_WARNING = /rate is not accurate \(requested = (\d+)Hz, got = (\d+)Hz\)/;
const OVERRUN = /overrun!!!(?: \(at least (-?\d{1,10}(?:\.\d{1,6})?) ms long\))?/;
const SETUP_FIELD = /^\s+(format|channels|rate)\s+: (\S+)/;
const BUFFER_SIZE = /^\s+buffer_size\s+: (\d{1,12})$/;
/** In the status that `-v` prints after an overrun. */
const AVAILABLE = /^\s+avail\s+: (\d{1,12})$/;
const SETUP_BEGIN = 'Its setup is:';
const REFUSALS =
  /Sample format non available|Channels count non available|Access type not available|Broken configuration for this PCM|Unable to install hw params/;
/** Lines of its own that may hold the reason of its end, and how much of each. */
const MAX_ERRORS = 8;
const LONGEST_LINE = 300;

/** Follows one run of `arecord`. */
export function createArecordMessages(request: CaptureRequest): ArecordMessages {
  const errors: string[] = [];
  // Only the first block is the PCM that was asked for; what follows are the layers below it.
  let setupBlocks = 0;
  let overrun = false;
  return {
    line(text) {
      const warning = RATE_WARNING.exec(text);
      if (warning !== null) return { kind: 'refused', end: refused(request, `it offers ${warning[2]} Hz instead`) };
      const lost = OVERRUN.exec(text);
      if (lost !== null) {
        overrun = true;
        return { kind: 'overrun', lostMs: Math.max(0, Number(lost[1] ?? 0)) };
      }
      const available = overrun ? AVAILABLE.exec(text) : null;
      if (available !== null) {
        overrun = false;
        return { kind: 'discarded', frames: Number(available[1]) };
      }
      if (text.startsWith(SETUP_BEGIN)) setupBlocks += 1;
      if (setupBlocks === 1) {
        const difference = setupDifference(text, request);
        if (difference !== null) return { kind: 'refused', end: refused(request, difference) };
        const buffer = BUFFER_SIZE.exec(text);
        if (buffer !== null) return { kind: 'buffer', frames: Number(buffer[1]) };
      }
      if (text.startsWith('arecord: ') && errors.length < MAX_ERRORS) errors.push(text.trim().slice(0, LONGEST_LINE));
      return null;
    },
    end(code, signal) {
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      return explainEnd(request, errors, how);
    },
  };
}

/**
 * `arecord` rounds silently to a rate within 5 % of the one asked for and warns only beyond that, so the setup that it
 * prints is compared with what was asked for.
 */
function setupDifference(line: string, request: CaptureRequest): string | null {
  const field = SETUP_FIELD.exec(line);
  const given = field?.[2] ?? '';
  switch (field?.[1]) {
    case 'rate':
      return Number(given) === request.rate ? null : `it offers ${given} Hz instead`;
    case 'channels':
      return Number(given) === request.channels ? null : `it offers ${given} channels instead`;
    case 'format':
      return given === request.format ? null : `it offers ${given} instead`;
    default:
      return null;
  }
}

function explainEnd(request: CaptureRequest, errors: string[], how: string): CaptureEnd {
  const said = errors.map(withoutPlace);
  const find = (pattern: RegExp): string | undefined => said.find((line) => pattern.test(line));
  const { device } = request;
  const gone = find(/No such (file or directory|device)/);
  if (gone !== undefined) {
    const message = `The microphone ${device} is gone (${gone}): plug it in again, or look at its cable and hub.`;
    return { exitCode: RECORDER_EXIT.microphoneGone, reason: 'MicrophoneGone', message };
  }
  const busy = find(/Device or resource busy/);
  if (busy !== undefined) {
    const message = `The microphone ${device} is used by another program (${busy}): end that program.`;
    return { exitCode: RECORDER_EXIT.microphoneBusy, reason: 'MicrophoneBusy', message };
  }
  const denied = find(/Permission denied|Operation not permitted/);
  if (denied !== undefined) {
    const message = `The microphone ${device} must not be opened (${denied}): give this user the right to /dev/snd.`;
    return { exitCode: RECORDER_EXIT.noPermission, reason: 'NoPermission', message };
  }
  const refusal = find(REFUSALS);
  if (refusal !== undefined) return refused(request, refusal);
  const last = said.at(-1) ?? 'without a word';
  return { exitCode: 1, reason: 'CaptureFailed', message: `arecord on ${device} ended by itself (${how}): ${last}.` };
}

function refused(request: CaptureRequest, why: string): CaptureEnd {
  const asked = `${request.rate} Hz, ${request.channels} channel(s), ${request.format}`;
  return {
    exitCode: RECORDER_EXIT.formatRefused,
    reason: 'FormatRefused',
    message: `The microphone ${request.device} does not capture ${asked} (${why}): choose what it offers.`,
  };
}

/** `arecord: main:831: audio open error: …` → `audio open error: …`. */
function withoutPlace(line: string): string {
  return line.replace(/^arecord: (?:\w+:\d+: )?/, '').replace(/:$/, '');
}
