/**
 * From the bytes that ALSA delivers to the bytes that a file holds: whole frames only, and 24-bit samples packed.
 */
import type { SampleFormat } from '../shared/recording.ts';

/**
 * Makes a function that takes what was read, however it was torn apart, and gives back whole frames in the file's form.
 * An incomplete frame waits for its rest. What it gives back may share memory with what it was given.
 */
export function createFramer(format: SampleFormat, alsaFrameBytes: number): (chunk: Buffer) => Buffer {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = bytes.length - (bytes.length % alsaFrameBytes);
    rest = Buffer.from(bytes.subarray(whole));
    const frames = bytes.subarray(0, whole);
    return format === 'S24_LE' ? packTo24Bits(frames) : frames;
  };
}

/** Drops the fourth, meaningless byte of each S24_LE sample. */
export function packTo24Bits(samples: Buffer): Buffer {
  const packed = Buffer.allocUnsafe((samples.length / 4) * 3);
  for (let from = 0, to = 0; from < samples.length; from += 4, to += 3) {
    packed[to] = samples[from] ?? 0;
    packed[to + 1] = samples[from + 1] ?? 0;
    packed[to + 2] = samples[from + 2] ?? 0;
  }
  return packed;
}
