/** Live sound for browsers: any rate becomes one that MP3 has, what nobody can hear does not come back as a ghost, chunks leave no seams. */
import { describe, expect, test } from 'vitest';
import type { WavFormat } from '../../services/shared/wav.ts';
import {
  createMp3Stream,
  createPcmDecoder,
  createSoundReader,
  mp3Rate,
} from '../../services/web/live-sound-encoder.ts';
import { createResampler } from '../../services/web/live-sound-resampler.ts';

const sine = (frequency: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: Math.round(rate * seconds) }, (_, at) => Math.sin((2 * Math.PI * frequency * at) / rate));

/** In chunks of uneven length. */
function resampled(sound: Float32Array, from: number, to: number): Float32Array {
  const resampler = createResampler(from, to, 1);
  const parts: number[] = [];
  for (let at = 0, length = 1; at < sound.length; at += length, length = ((length * 7) % 4001) + 1)
    parts.push(...(resampler.resample([sound.subarray(at, at + length)])[0] ?? []));
  return Float32Array.from(parts);
}

/** Root mean square, without the beginning, where the filter still fills. dBFS of a full sine. */
function level(sound: Float32Array): number {
  const settled = sound.subarray(Math.floor(sound.length / 4));
  return 10 * Math.log10((2 * settled.reduce((sum, value) => sum + value * value, 0)) / settled.length);
}

describe('the rate', () => {
  test.each([
    [48_000, 48_000],
    [44_100, 44_100],
    [384_000, 48_000],
    [250_000, 48_000],
    [176_400, 44_100],
    [96_000, 48_000],
    [47_999, 44_100],
    [22_050, 22_050],
    [4000, 8000],
  ])('of %d becomes %d', (from, to) => expect(mp3Rate(from)).toBe(to));

  test.each([
    [384_000, 48_000],
    [250_000, 48_000],
    [176_400, 44_100],
    [312_501, 48_000],
    [4000, 8000],
  ])('%d to %d keeps length and loudness of what is audible, whatever the chunks', (from, to) => {
    const tone = Math.min(1000, from / 8);
    const out = resampled(sine(tone, from, 0.5), from, to);
    expect(Math.abs(out.length - to / 2)).toBeLessThan(to / 100);
    expect(Math.abs(level(out))).toBeLessThan(0.1);
  });

  test('what lies above half of it is gone instead of folded back', () => {
    // A pipistrelle: at 48 kHz it would come back as 3 kHz.
    expect(level(resampled(sine(45_000, 384_000, 0.2), 384_000, 48_000))).toBeLessThan(-60);
    expect(level(resampled(sine(30_000, 250_000, 0.2), 250_000, 48_000))).toBeLessThan(-60);
  });
});

describe('samples', () => {
  const bytes = { 16: [0, 0x80], 24: [0, 0, 0x80], 32: [0, 0, 0, 0x80] } as const;

  test.each([16, 24, 32] as const)('of %d bits keep their scale, cut anywhere', (bitsPerSample) => {
    const lowest = Buffer.from(bytes[bitsPerSample]);
    const decode = createPcmDecoder({ rate: 48_000, channels: 2, bitsPerSample }, 2, 1);
    const frame = Buffer.concat([lowest, Buffer.alloc(lowest.length)]);
    const [left, right] = [1, 2, 3, 5].reduce<number[][]>(
      (all, cut, index, cuts) => {
        const part = Buffer.concat([frame, frame]).subarray(cuts[index - 1] ?? 0, cut === 5 ? undefined : cut);
        return decode(part).map((sound, channel) => [...(all[channel] ?? []), ...sound]);
      },
      [[], []],
    );
    expect(left).toEqual([-1, -1]);
    expect(right).toEqual([0, 0]);
  });

  test('of many channels are mixed into one; a gain never leaves the scale', () => {
    const format: WavFormat = { rate: 48_000, channels: 4, bitsPerSample: 16 };
    const frame = Buffer.alloc(8);
    frame.writeInt16LE(16_384, 0);
    frame.writeInt16LE(16_384, 2);
    expect([...(createPcmDecoder(format, 1, 1)(frame)[0] ?? [])]).toEqual([0.25]);
    expect([...(createPcmDecoder(format, 1, 100)(frame)[0] ?? [])]).toEqual([1]);
  });
});

test('the stream is MP3 frames of the promised rate and nothing else, from its silent beginning on', async () => {
  const reader = createSoundReader({ rate: 96_000, channels: 1, bitsPerSample: 16 }, 0);
  expect([reader.rate, reader.channels]).toEqual([48_000, 1]);
  const stream = await createMp3Stream(reader);
  expect(stream.beginning.length).toBeGreaterThan(40_000);
  const sound = Buffer.alloc(96_000 * 2);
  for (const [at, value] of sine(1000, 96_000, 1).entries()) sound.writeInt16LE(Math.round(value * 10_000), at * 2);
  const parts = Array.from({ length: 20 }, (_, at) =>
    stream.encode(reader.read(sound.subarray(at * 9600, (at + 1) * 9600))),
  );
  const made = Buffer.concat([stream.beginning, ...parts]);
  // 96 kbit/s at 48 kHz: frames of 288 bytes, each beginning with its mark.
  expect(made.length - stream.beginning.length).toBeGreaterThan(9000);
  for (let at = 0; at + 2 <= made.length; at += 288) expect(made.readUInt16BE(at)).toBe(0xfffb);
});
