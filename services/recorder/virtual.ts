/**
 * The virtual microphone: a synthetic dawn chorus in real time, for a station without hardware. The same every time.
 */
import type { CaptureSource } from './source.ts';
import { frameBytesOf, type WavFormat } from './wav.ts';

const TICK_MS = 100;
/** A process that slept longer than this has lost sound, as it would have with a microphone. */
const LONGEST_GAP_MS = 2000;
/** The chorus is made once and repeated: seconds of it, fewer where they would take more memory than this. */
const LOOP_SECONDS = 10;
const LOOP_MAX_BYTES = 2 * 1024 * 1024;
const NOISE_AMPLITUDE = 0.001;

/** One bird: syllables that glide from one pitch to another, sung as phrases all through the loop. */
interface Bird {
  fromHz: number;
  toHz: number;
  syllableSeconds: number;
  /** From the start of one syllable to the next. */
  everySeconds: number;
  syllables: number;
  phrases: number;
  /** Where in the loop its first phrase begins, 0 to 1. */
  offset: number;
  amplitude: number;
}

const BIRDS: Bird[] = [
  {
    fromHz: 2400,
    toHz: 1800,
    syllableSeconds: 0.28,
    everySeconds: 0.36,
    syllables: 4,
    phrases: 2,
    offset: 0.02,
    amplitude: 0.16,
  },
  {
    fromHz: 3600,
    toHz: 5200,
    syllableSeconds: 0.09,
    everySeconds: 0.14,
    syllables: 9,
    phrases: 3,
    offset: 0.11,
    amplitude: 0.1,
  },
  {
    fromHz: 6800,
    toHz: 4300,
    syllableSeconds: 0.05,
    everySeconds: 0.07,
    syllables: 16,
    phrases: 3,
    offset: 0.27,
    amplitude: 0.08,
  },
  {
    fromHz: 900,
    toHz: 760,
    syllableSeconds: 0.42,
    everySeconds: 0.8,
    syllables: 2,
    phrases: 2,
    offset: 0.4,
    amplitude: 0.12,
  },
];

/** A source that delivers exactly `rate` frames per second of `nowMs`, a monotonic clock. */
export function createVirtualSource(format: WavFormat, nowMs: () => number = () => performance.now()): CaptureSource {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(sink) {
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
  const sound = new Float32Array(seconds * format.rate);
  addNoise(sound);
  for (const bird of BIRDS) addBird(sound, format.rate, bird);
  return interleave(sound, format);
}

/** A linear congruential generator (constants of Numerical Recipes): the same noise every time. */
function addNoise(sound: Float32Array): void {
  let state = 20_240_501;
  for (let index = 0; index < sound.length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    sound[index] = (state / 2 ** 31) * NOISE_AMPLITUDE;
  }
}

function addBird(sound: Float32Array, rate: number, bird: Bird): void {
  // Above half the rate there is no such sound.
  if (Math.max(bird.fromHz, bird.toHz) > rate * 0.45) return;
  for (let phrase = 0; phrase < bird.phrases; phrase += 1) {
    const phraseStart = Math.floor(sound.length * (bird.offset + phrase / bird.phrases));
    for (let syllable = 0; syllable < bird.syllables; syllable += 1) {
      addSyllable(sound, rate, bird, phraseStart + Math.floor(syllable * bird.everySeconds * rate));
    }
  }
}

/** Wraps around the end of the loop, so that its repetition has no seam. */
function addSyllable(sound: Float32Array, rate: number, bird: Bird, start: number): void {
  const length = Math.floor(bird.syllableSeconds * rate);
  let phase = 0;
  for (let index = 0; index < length; index += 1) {
    const progress = index / length;
    phase += (2 * Math.PI * (bird.fromHz + (bird.toHz - bird.fromHz) * progress)) / rate;
    const place = (start + index) % sound.length;
    const envelope = Math.sin(Math.PI * progress) ** 2;
    sound[place] = (sound[place] ?? 0) + Math.sin(phase) * envelope * bird.amplitude;
  }
}

/** Each further channel hears it a little fainter, as a second microphone would. */
function interleave(sound: Float32Array, format: WavFormat): Buffer {
  const bytes = format.bitsPerSample / 8;
  const fullScale = 2 ** (format.bitsPerSample - 1) - 1;
  const data = Buffer.alloc(sound.length * format.channels * bytes);
  let place = 0;
  for (const sample of sound) {
    for (let channel = 0; channel < format.channels; channel += 1) {
      const value = Math.max(-1, Math.min(1, sample / (1 + channel / 4)));
      data.writeIntLE(Math.round(value * fullScale), place, bytes);
      place += bytes;
    }
  }
  return data;
}
