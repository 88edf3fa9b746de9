/**
 * From any rate to one that browsers play, for listening only: a windowed sinc, of which each output sample takes the phase
 * that is nearest. What lies above half of the lower rate is left out, so a bat's call does not come back as a ghost.
 */

export interface Resampler {
  /** One array per channel, equally long. What it answers may be empty, while it still waits for more. */
  resample(samples: readonly Float32Array[]): Float32Array[];
}

/** On each side of the middle. More cost more, and keep more of the highest octave. */
const ZERO_CROSSINGS = 12;
/** Of the half rate: the rest is where the filter falls. */
const PASS = 0.9;
/** Rates that don't divide get the nearest of so many positions between two samples. */
const MOST_PHASES = 512;

/** Rates in frames per second. */
export function createResampler(from: number, to: number, channels: number): Resampler {
  if (from === to) return { resample: (samples) => [...samples] };
  const { kernels, taps } = makeKernels(from, to);
  const phases = kernels.length;
  // Silence before the beginning, so that the first sample is a whole one.
  let kept = Array.from({ length: channels }, () => new Float32Array(taps - 1));
  /** Where the next output sample lies, in samples of `kept`: `at + part / to`. */
  let at = 0;
  let part = 0;

  return {
    resample(samples) {
      const input = kept.map((before, channel) => joined(before, samples[channel] ?? new Float32Array(0)));
      const length = input[0]?.length ?? 0;
      const most = Math.max(0, Math.ceil(((length - taps - at) * to) / from) + 1);
      const output = input.map(() => new Float32Array(most));
      let count = 0;
      for (; at + taps <= length; count += 1) {
        const kernel = kernels[Math.floor((part / to) * phases)];
        if (kernel === undefined) break;
        for (const [channel, sound] of input.entries()) {
          let sum = 0;
          for (let tap = 0; tap < taps; tap += 1) sum += (sound[at + tap] ?? 0) * (kernel[tap] ?? 0);
          const target = output[channel];
          if (target !== undefined) target[count] = sum;
        }
        part += from;
        at += Math.floor(part / to);
        part %= to;
      }
      const used = Math.min(at, length);
      kept = input.map((sound) => sound.slice(used));
      at -= used;
      return output.map((sound) => sound.subarray(0, count));
    },
  };
}

/** One kernel per position between two input samples; each passes a constant as it is. */
function makeKernels(from: number, to: number): { kernels: Float32Array[]; taps: number } {
  const cutoff = PASS * Math.min(1, to / from);
  const half = Math.ceil(ZERO_CROSSINGS / Math.min(1, to / from));
  const taps = 2 * half;
  const phases = Math.min(MOST_PHASES, to / commonDivisor(from, to));
  const kernels = Array.from({ length: phases }, (_, phase) => {
    const middle = half - 1 + phase / phases;
    const kernel = Float32Array.from(
      { length: taps },
      (_, tap) => sinc(cutoff * (tap - middle)) * window((tap - middle) / half),
    );
    const sum = kernel.reduce((all, value) => all + value, 0);
    return kernel.map((value) => value / sum);
  });
  return { kernels, taps };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Blackman's, from -1 to 1. */
function window(x: number): number {
  return Math.abs(x) >= 1 ? 0 : 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

function joined(before: Float32Array, after: Float32Array): Float32Array {
  const all = new Float32Array(before.length + after.length);
  all.set(before);
  all.set(after, before.length);
  return all;
}
