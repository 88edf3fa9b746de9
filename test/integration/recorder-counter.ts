/** Reads the counter that the microphone of `recorder-image` sings: which frames are there, and which are not. */
import { execFileSync } from 'node:child_process';
import { frameBytesOf } from '../../services/shared/wav.ts';
import type { RecordedFile } from './recorder-process.ts';

/** Frames that are missing before a frame. */
export interface Jump {
  atFrame: number;
  missing: number;
}

export interface Counted {
  /** Of the first sample. */
  first: number;
  frames: number;
  jumps: Jump[];
}

/** Looks at every sample of the files in their order. Throws where the channels of one frame do not belong together. */
export function readCounter(files: RecordedFile[]): Counted {
  const counted: Counted = { first: Number.NaN, frames: 0, jumps: [] };
  let expected = Number.NaN;
  for (const { samples, format, declaredBytes } of files) {
    const { channels, bitsPerSample } = format;
    const bytes = bitsPerSample / 8;
    const modulo = 2 ** bitsPerSample;
    for (let place = 0; place < declaredBytes; place += frameBytesOf(format)) {
      for (let channel = 0; channel < channels; channel += 1) {
        const value = samples.readUIntLE(place + channel * bytes, bytes);
        if (Number.isNaN(expected)) counted.first = value;
        else if (value !== expected) {
          if (channel > 0) throw new Error(`frame ${counted.frames} is torn`);
          counted.jumps.push({ atFrame: counted.frames, missing: ((value - expected + modulo) % modulo) / channels });
        }
        expected = (value + 1) % modulo;
      }
      counted.frames += 1;
    }
  }
  return counted;
}

/** The processes that a recorder started: its `arecord`. */
export function childrenOf(pid: number | undefined): number[] {
  const output = execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  return output.trim().split(/\s+/).map(Number);
}
