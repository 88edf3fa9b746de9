/**
 * The virtual microphone: a synthetic dawn chorus in real time, for a station without hardware. The same every time.
 */

import { frameBytesOf, type WavFormat } from '../shared/wav.ts';
import { singDawnChorus } from './chorus.ts';
import type { CaptureSource } from './source.ts';

const TICK_MS = 100;
/** A process that slept longer than this has lost sound, as it would have with a microphone. */
const LONGEST_GAP_MS = 2000;
/** The chorus is made once and repeated: seconds of it, fewer where they would take more memory than this. */
const LOOP_SECONDS = 30;
const LOOP_MAX_BYTES = 4 * 1024 * 1024;

/** A source that delivers exactly `rate` frames per second of `nowMs`, a monotonic clock. */
export function createVirtualSource(format: WavFormat, nowMs: () => number = () => performance.now()): CaptureSource {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(sink) {
      sink.opened(Math.floor((LONGEST_GAP_MS / 1000) * format.rate));
      const loop = dawnChorus(format);
      const frameBytes = frameBytesOf(format);
      const startedAtMs = nowMs();
      let delivered = 0;
      timer = setInterval(() => {
        const due = Math.floor(((nowMs() - startedAtMs) / 1000) * format.rate) - delivered;
        if (due > (LONGEST_GAP_MS / 1000) * format.rate) {
          delivered += due;
          sink.lost(due);
          return;
        }
        for (const part of loopParts(loop, delivered * frameBytes, due * frameBytes)) sink.frames(part);
        delivered += due;
      }, TICK_MS);
    },
    async stop() {
      clearInterval(timer);
    },
  };
}

/** `length` bytes of the endless repetition of `loop`, from byte `position` on, as views of it. */
export function loopParts(loop: Buffer, position: number, length: number): Buffer[] {
  const parts: Buffer[] = [];
  let from = position % loop.length;
  for (let left = length; left > 0; ) {
    const part = loop.subarray(from, Math.min(loop.length, from + left));
    parts.push(part);
    left -= part.length;
    from = 0;
  }
  return parts;
}

/** Some seconds of dawn chorus as they lie in a file. */
export function dawnChorus(format: WavFormat): Buffer {
  const bytesPerSecond = format.rate * frameBytesOf(format);
  const seconds = Math.max(1, Math.min(LOOP_SECONDS, Math.floor(LOOP_MAX_BYTES / bytesPerSecond)));
  return interleave(singDawnChorus(format.rate, seconds), format);
}

/** Each further channel hears it a little fainter, as a second microphone would. */
function interleave(sound: Float32Array, format: WavFormat): Buffer {
  const bytes = format.bitsPerSample / 8;
  const fullScale = 2 ** (format.bitsPerSample - 1) - 1;
  const data = Buffer.alloc(sound.length * format.channels * bytes);
  const write = bytes === 2 ? writeInt16 : writeInt;
  let place = 0;
  for (const sample of sound) {
    for (let channel = 0; channel < format.channels; channel += 1) {
      const value = Math.max(-1, Math.min(1, sample / (1 + channel / 4)));
      write(data, Math.round(value * fullScale), place, bytes);
      place += bytes;
    }
  }
  return data;
}

function writeInt(data: Buffer, value: number, place: number, bytes: number): void {
  data.writeIntLE(value, place, bytes);
}

/** Several times as fast, for the most frequent format. */
function writeInt16(data: Buffer, value: number, place: number): void {
  data[place] = value & 0xff;
  data[place + 1] = (value >> 8) & 0xff;
}
