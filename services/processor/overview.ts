/**
 * The overview of a segment: how far the sound goes up and down in each of about a thousand stretches of its time.
 */
import type { Overview } from '../shared/contract.ts';

/** Stretches of an overview; fewer only for files of fewer frames. */
export const OVERVIEW_POINTS = 1000;

export interface OverviewBuilder {
  /** Interleaved signed 32-bit little-endian samples, cut anywhere. */
  add(bytes: Buffer): void;
  /** Throws when the sound had not as many frames as were announced. */
  finish(): Overview;
}

export function createOverviewBuilder(sound: { rate: number; channels: number; frames: number }): OverviewBuilder {
  const { rate, channels, frames } = sound;
  const points = Math.min(OVERVIEW_POINTS, frames);
  const minimum = new Int32Array(points);
  const maximum = new Int32Array(points);
  const samples = frames * channels;
  let rest: Buffer = Buffer.alloc(0);
  let seen = 0;
  let point = -1;
  let pointEnd = 0;
  let lowest = 0;
  let highest = 0;
  let allBits = 0;

  function keepPoint(): void {
    if (point < 0) return;
    minimum[point] = lowest >> 16;
    maximum[point] = highest >> 16;
  }

  function add(bytes: Buffer): void {
    const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const whole = all.length - (all.length % 4);
    if (seen + whole / 4 > samples) throw new Error(`it has more than the ${frames} frames that its head tells of`);
    for (let offset = 0; offset < whole; offset += 4) {
      const sample = all.readInt32LE(offset);
      if (seen === pointEnd) {
        keepPoint();
        point += 1;
        pointEnd = Math.floor(((point + 1) * frames) / points) * channels;
        lowest = sample;
        highest = sample;
      }
      if (sample < lowest) lowest = sample;
      else if (sample > highest) highest = sample;
      allBits |= sample;
      seen += 1;
    }
    // A copy: the chunk's memory is the stream's.
    rest = Buffer.from(all.subarray(whole));
  }

  return {
    add,
    finish() {
      if (seen !== samples) {
        throw new Error(`it has ${seen / channels} frames where its head tells of ${frames}`);
      }
      keepPoint();
      return {
        schema: 1,
        rate,
        channels,
        frames,
        usedBits: usedBitsOf(allBits),
        minimum: [...minimum],
        maximum: [...maximum],
      };
    },
  };
}

/** How many bits from the top down samples need whose bits together are these. */
function usedBitsOf(allBits: number): number {
  return allBits === 0 ? 0 : 1 + Math.clz32(allBits & -allBits);
}
