/** A recorder's raw sound turned into MP3, which every browser and phone plays while it comes, over a bad connection too. */
import { createMp3Encoder } from 'wasm-media-encoders';
import type { WavFormat } from '../shared/wav.ts';
import { createResampler } from './live-sound-resampler.ts';

/** Raw sound in the form of the files, cut anywhere; samples from -1 to 1 at a rate that MP3 has, one array per channel. */
export interface SoundReader {
  rate: Mp3Rate;
  channels: 1 | 2;
  read(bytes: Buffer): Float32Array[];
}

/** A stream of one listener, from its beginning: players stumble over one that they join in its middle. */
export interface Mp3Stream {
  /**
   * Silence. Browsers open a stream only with its first 32 KiB, and from then on take it in such portions: with less in
   * hand the first would be waited for, and each seam be heard.
   */
  beginning: Buffer;
  encode(samples: readonly Float32Array[]): Buffer;
}

/** MPEG-1, MPEG-2 and MPEG-2.5 have these. Frames per second. */
const RATES = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000] as const;
type Mp3Rate = (typeof RATES)[number];
const LOWEST_RATE = 8000;
const FULL_RATE = 32_000;
/** kbit/s. Birds don't need more, and a field's connection often has no more. */
const BITRATE = { full: 96, low: 48 } as const;

const BEGINNING_BYTES = 48 * 1024;

/** The highest of MP3's rates that holds nothing but what was recorded; 44.1 kHz and its multiples stay in step. */
export function mp3Rate(rate: number): Mp3Rate {
  if (rate % 44_100 === 0) return 44_100;
  return RATES.find((one) => one <= rate) ?? LOWEST_RATE;
}

/** One or two channels stay, more become one. `gainDb`: as for the copies, so that both sound alike. */
export function createSoundReader(format: WavFormat, gainDb: number): SoundReader {
  const channels = format.channels === 2 ? 2 : 1;
  const rate = mp3Rate(format.rate);
  const resampler = createResampler(format.rate, rate, channels);
  const decode = createPcmDecoder(format, channels, 10 ** (gainDb / 20));
  return { rate, channels, read: (bytes) => resampler.resample(decode(bytes)) };
}

export async function createMp3Stream({ rate, channels }: Pick<SoundReader, 'rate' | 'channels'>): Promise<Mp3Stream> {
  const encoder = await createMp3Encoder();
  const bitrate = rate >= FULL_RATE ? BITRATE.full : BITRATE.low;
  encoder.configure({ sampleRate: rate, channels, bitrate });
  // The encoder's memory is used again at its next call.
  const encode = (samples: readonly Float32Array[]): Buffer =>
    (samples[0]?.length ?? 0) === 0 ? Buffer.alloc(0) : Buffer.from(encoder.encode(samples));
  const seconds = BEGINNING_BYTES / ((bitrate * 1000) / 8);
  const silence = Array.from({ length: channels }, () => new Float32Array(Math.ceil(rate * seconds)));
  return { beginning: encode(silence), encode };
}

/** Chosen once: this runs up to a million times a second. */
const READERS: Record<WavFormat['bitsPerSample'], (bytes: Buffer, offset: number) => number> = {
  16: (bytes, offset) => bytes.readInt16LE(offset),
  24: (bytes, offset) => bytes.readIntLE(offset, 3),
  32: (bytes, offset) => bytes.readInt32LE(offset),
};

/** Samples from -1 to 1, one array per channel of the outcome; a frame that is cut waits for its rest. */
export function createPcmDecoder(
  { channels, bitsPerSample }: WavFormat,
  outcome: 1 | 2,
  factor: number,
): (bytes: Buffer) => Float32Array[] {
  const sampleBytes = bitsPerSample / 8;
  const frameBytes = channels * sampleBytes;
  const read = READERS[bitsPerSample];
  const scale = factor / 2 ** (bitsPerSample - 1) / (outcome === 1 ? channels : 1);
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const frames = Math.floor(all.length / frameBytes);
    const result = Array.from({ length: outcome }, () => new Float32Array(frames));
    for (let frame = 0, offset = 0; frame < frames; frame += 1) {
      for (let channel = 0; channel < channels; channel += 1, offset += sampleBytes) {
        const target = result[outcome === 1 ? 0 : channel];
        if (target !== undefined) target[frame] = (target[frame] ?? 0) + read(all, offset) * scale;
      }
    }
    if (factor > 1) for (const sound of result) clip(sound);
    // A copy: the chunk's memory is the socket's.
    rest = Buffer.from(all.subarray(frames * frameBytes));
    return result;
  };
}

function clip(sound: Float32Array): void {
  for (let index = 0; index < sound.length; index += 1) sound[index] = Math.max(-1, Math.min(1, sound[index] ?? 0));
}
