/**
 * How loud it is: levels per channel over a window of frames, and whether a microphone has fallen silent.
 */
import { frameBytesOf, type WavFormat } from '../shared/wav.ts';

export interface ChannelLevel {
  /** Level around the mean, so that a constant offset counts as silence. dBFS; a full-scale sine has -3. */
  rmsDbfs: number;
  /** The largest sample's distance from zero. dBFS. */
  peakDbfs: number;
  clipped: boolean;
}

/** What was heard since the last window. */
export interface LevelWindow {
  frames: number;
  levels: ChannelLevel[];
  /** In every channel all samples were equal. */
  still: boolean;
}

export interface LevelMeter {
  /** Whole frames in the file's form. */
  add(frames: Buffer): void;
  /** Ends the window and begins the next; null where nothing was added. */
  take(): LevelWindow | null;
}

/** JSON knows no -Infinity: digital silence is told as this. dBFS. */
export const SILENCE_DBFS = -200;

interface Sums {
  sum: number;
  squares: number;
  min: number;
  max: number;
}

/** A meter for samples as they lie in a file. `clipAtDbfs`: a peak at or above it is called clipped. */
export function createLevelMeter(format: WavFormat, clipAtDbfs: number): LevelMeter {
  const frameBytes = frameBytesOf(format);
  const fullScale = 2 ** (format.bitsPerSample - 1);
  let channels = emptySums(format.channels);
  let frameCount = 0;
  return {
    add(frames) {
      const samples = samplesOf(frames, format.bitsPerSample);
      for (const [channel, sums] of channels.entries()) addSamples(sums, samples, channel, format.channels);
      frameCount += frames.length / frameBytes;
    },
    take() {
      if (frameCount === 0) return null;
      const levels = channels.map((sums) => levelOf(sums, frameCount, fullScale, clipAtDbfs));
      const window = { frames: frameCount, levels, still: channels.every((sums) => sums.min === sums.max) };
      channels = emptySums(format.channels);
      frameCount = 0;
      return window;
    },
  };
}

export interface SilenceSettings {
  silentBelowDbfs: number;
  silentAfterSeconds: number;
}

/**
 * Makes a function that is given one window after the other and says whether the microphone is silent: every channel
 * without any change, or at or below the threshold, for as long as the settings say (counted in frames, not by a clock).
 */
export function createSilenceWatch(rate: number, settings: SilenceSettings): (window: LevelWindow) => boolean {
  let quietFrames = 0;
  return (window) => {
    const quiet = window.still || window.levels.every((level) => level.rmsDbfs <= settings.silentBelowDbfs);
    quietFrames = quiet ? quietFrames + window.frames : 0;
    return quietFrames >= settings.silentAfterSeconds * rate;
  };
}

function emptySums(channels: number): Sums[] {
  return Array.from({ length: channels }, () => ({ sum: 0, squares: 0, min: Infinity, max: -Infinity }));
}

/** The hot loop: every sample passes here once. Local variables keep it free of memory writes. */
function addSamples(sums: Sums, samples: Int16Array | Int32Array, channel: number, channels: number): void {
  let { sum, squares, min, max } = sums;
  for (let index = channel; index < samples.length; index += channels) {
    const sample = samples[index] ?? 0;
    sum += sample;
    squares += sample * sample;
    if (sample < min) min = sample;
    if (sample > max) max = sample;
  }
  sums.sum = sum;
  sums.squares = squares;
  sums.min = min;
  sums.max = max;
}

function levelOf(sums: Sums, frames: number, fullScale: number, clipAtDbfs: number): ChannelLevel {
  const mean = sums.sum / frames;
  // Rounding can make the difference of two large numbers slightly negative.
  const variance = sums.min === sums.max ? 0 : Math.max(0, sums.squares / frames - mean * mean);
  const peakDbfs = dbfs(Math.max(Math.abs(sums.min), Math.abs(sums.max)) / fullScale);
  return { rmsDbfs: dbfs(Math.sqrt(variance) / fullScale), peakDbfs, clipped: peakDbfs >= clipAtDbfs };
}

function dbfs(ratio: number): number {
  if (ratio <= 0) return SILENCE_DBFS;
  return Math.max(SILENCE_DBFS, Math.round(20 * Math.log10(ratio) * 100) / 100);
}

/** Numbers out of bytes: a view where the bytes' place in memory allows it, a copy otherwise. */
function samplesOf(frames: Buffer, bitsPerSample: 16 | 24 | 32): Int16Array | Int32Array {
  if (bitsPerSample === 24) return unpack24Bits(frames);
  const bytes = bitsPerSample / 8;
  const aligned = frames.byteOffset % bytes === 0 ? frames : new Uint8Array(frames);
  return bitsPerSample === 16
    ? new Int16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / bytes)
    : new Int32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / bytes);
}

function unpack24Bits(frames: Buffer): Int32Array {
  const samples = new Int32Array(frames.length / 3);
  for (let index = 0, from = 0; index < samples.length; index += 1, from += 3) {
    const high = frames[from + 2] ?? 0;
    samples[index] = ((high << 24) >> 8) | ((frames[from + 1] ?? 0) << 8) | (frames[from] ?? 0);
  }
  return samples;
}
