/** A recorder's raw sound turned into MP3, which every browser and phone plays while it comes, over a bad connection too. */
import { createMp3Encoder } from 'wasm-media-encoders';
import type { WavFormat } from '../shared/wav.ts';
import { createResampler } from './live-sound-resampler.ts';

export interface Mp3Stream {
  /**
   * Silence to begin with, for whoever joins: browsers open a stream only with its first 32 KiB, and from then on take it
   * in such portions. With less in hand the first would wait for seconds and each seam would be heard.
   */
  beginning: Buffer;
  /** Raw sound in the form of the files, cut anywhere; whole MP3 frames, perhaps none yet. */
  encode(bytes: Buffer): Buffer;
}

/** MPEG-1, MPEG-2 and MPEG-2.5 have these. Frames per second. */
const RATES = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000] as const;
type Mp3Rate = (typeof RATES)[number];
const LOWEST_RATE = 8000;
const FULL_RATE = 32_000;
/** kbit/s. Birds don't need more, and a field's connection often has no more. */
const BITRATE = { full: 96, low: 48 } as const;

/** Of one frame, by the version of MPEG. */
const FRAME_SAMPLES = { full: 1152, low: 576 } as const;
/** Bit of a frame's third byte. */
const PADDED = 0x02;

/** The highest of MP3's rates that holds nothing but what was recorded; 44.1 kHz and its multiples stay in step. */
export function mp3Rate(rate: number): Mp3Rate {
  if (rate % 44_100 === 0) return 44_100;
  return RATES.find((one) => one <= rate) ?? LOWEST_RATE;
}

/** One or two channels stay, more become one. `gainDb`: as for the copies, so that both sound alike. */
export async function createMp3Stream(format: WavFormat, gainDb: number): Promise<Mp3Stream> {
  const channels = format.channels === 2 ? 2 : 1;
  const rate = mp3Rate(format.rate);
  const encoder = await createMp3Encoder();
  const kind = rate >= FULL_RATE ? 'full' : 'low';
  const bitrate = BITRATE[kind];
  encoder.configure({ sampleRate: rate, channels, bitrate });
  const resampler = createResampler(format.rate, rate, channels);
  const decode = createPcmDecoder(format, channels, 10 ** (gainDb / 20));
  const frameBytes = Math.floor(((FRAME_SAMPLES[kind] / 8) * 1000 * bitrate) / rate);
  let rest: Buffer = Buffer.alloc(0);
  return {
    beginning: await silence(rate, channels, bitrate, frameBytes),
    encode(bytes) {
      const samples = resampler.resample(decode(bytes));
      if ((samples[0]?.length ?? 0) === 0) return Buffer.alloc(0);
      const made = Buffer.concat([rest, encoder.encode(samples)]);
      const end = endOfFrames(made, frameBytes);
      rest = made.subarray(end);
      return made.subarray(0, end);
    },
  };
}

const BEGINNING_BYTES = 56 * 1024;

async function silence(sampleRate: number, channels: 1 | 2, bitrate: 96 | 48, frameBytes: number): Promise<Buffer> {
  const encoder = await createMp3Encoder();
  encoder.configure({ sampleRate, channels, bitrate });
  const second = Array.from({ length: channels }, () => new Float32Array(sampleRate));
  const made = Buffer.from(encoder.encode(second));
  const frames = made.subarray(0, endOfFrames(made, frameBytes));
  return Buffer.concat(Array.from({ length: Math.ceil(BEGINNING_BYTES / frames.length) }, () => frames));
}

/** Where the last whole frame ends: a frame has its length, and one byte more where its head says so. */
function endOfFrames(bytes: Buffer, frameBytes: number): number {
  let end = 0;
  for (let at = 0; at + 3 <= bytes.length; at = end) {
    const isPadded = ((bytes[at + 2] ?? 0) & PADDED) !== 0;
    const next = at + frameBytes + (isPadded ? 1 : 0);
    if (next > bytes.length) break;
    end = next;
  }
  return end;
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
