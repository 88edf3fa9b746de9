/** What a recorder does to samples: header, frames, levels, silence, the synthetic chorus. */
import { describe, expect, it } from 'vitest';
import {
  createLevelMeter,
  createSilenceWatch,
  type LevelWindow,
  SILENCE_DBFS,
} from '../../services/recorder/levels.ts';
import { createFramer } from '../../services/recorder/samples.ts';
import { dawnChorus, loopParts } from '../../services/recorder/virtual.ts';
import { frameBytesOf, MAX_DATA_BYTES, readWavFormat, type WavFormat, wavHeader } from '../../services/shared/wav.ts';

const MONO_16: WavFormat = { rate: 384_000, channels: 1, bitsPerSample: 16 };

describe('the header of a WAV file', () => {
  it('is the plain one for 16 bits and up to two channels', () => {
    const header = wavHeader(MONO_16, 1000);
    expect(header.toString('hex')).toBe(
      `${hex('RIFF')}0c040000${hex('WAVEfmt ')}10000000` +
        `01000100${'00dc0500'}${'00b80b00'}02001000${hex('data')}e8030000`,
    );
  });

  it('says what it means for more channels or bits', () => {
    const header = wavHeader({ rate: 48_000, channels: 2, bitsPerSample: 24 }, 6);
    expect(header.length).toBe(68);
    expect(header.readUInt16LE(20)).toBe(0xfffe);
    expect(header.readUInt16LE(38)).toBe(24);
    expect(header.readUInt32LE(40)).toBe(3);
    expect(wavHeader({ rate: 48_000, channels: 3, bitsPerSample: 16 }, 6).length).toBe(68);
  });

  it('counts the pad byte in the file, not in the data', () => {
    const header = wavHeader({ rate: 48_000, channels: 1, bitsPerSample: 24 }, 9);
    expect(header.readUInt32LE(4)).toBe(68 - 8 + 9 + 1);
    expect(header.readUInt32LE(64)).toBe(9);
  });

  it('refuses more than RIFF can count', () => {
    expect(() => wavHeader(MONO_16, MAX_DATA_BYTES + 1)).toThrow(RangeError);
  });

  it.each<WavFormat>([
    MONO_16,
    { rate: 44_100, channels: 2, bitsPerSample: 24 },
    { rate: 192_000, channels: 8, bitsPerSample: 32 },
  ])('is read back: %o', (format) => {
    const head = Buffer.concat([wavHeader(format, 12_345 * frameBytesOf(format)), Buffer.alloc(100, 7)]);
    expect(readWavFormat(head)).toEqual(format);
  });

  it('of another program, or torn, is not taken for ours', () => {
    const foreign = wavHeader(MONO_16, 100);
    foreign.write('LIST', 36, 'latin1');
    expect(readWavFormat(foreign)).toBeNull();
    expect(readWavFormat(wavHeader({ ...MONO_16, channels: 4 }, 0).subarray(0, 50))).toBeNull();
    expect(readWavFormat(Buffer.alloc(68))).toBeNull();
  });
});

describe('frames', () => {
  it('come out whole and complete, however the input is torn apart', () => {
    const input = Buffer.from(Array.from({ length: 60 }, (_, index) => index));
    const frame = createFramer('S24_3LE', 6);
    const output = [input.subarray(0, 1), input.subarray(1, 20), input.subarray(20, 25), input.subarray(25)].map(frame);
    for (const part of output) expect(part.length % 6).toBe(0);
    expect(Buffer.concat(output)).toEqual(input);
  });

  it('of S24_LE keep their three meaningful bytes, whatever the fourth says', () => {
    const frame = createFramer('S24_LE', 8);
    const packed = frame(Buffer.from([1, 2, 3, 0, 4, 5, 0x86, 0xff, 9]));
    expect([...packed]).toEqual([1, 2, 3, 4, 5, 0x86]);
    expect([...frame(Buffer.from([8, 7, 0x55, 1, 1, 1, 0]))]).toEqual([9, 8, 7, 1, 1, 1]);
  });
});

describe('levels', () => {
  it.each([16, 24, 32] as const)('of %i-bit samples are those of each channel', (bitsPerSample) => {
    const format: WavFormat = { rate: 48_000, channels: 2, bitsPerSample };
    const meter = createLevelMeter(format, -0.1);
    meter.add(sine(format, [0.5, 0.05]));
    const window = meter.take();
    expect(window?.frames).toBe(48_000);
    expect(window?.levels[0]?.peakDbfs).toBeCloseTo(-6.02, 1);
    expect(window?.levels[0]?.rmsDbfs).toBeCloseTo(-9.03, 1);
    expect(window?.levels[1]?.peakDbfs).toBeCloseTo(-26.02, 1);
    expect(window?.levels[1]?.rmsDbfs).toBeCloseTo(-29.03, 1);
    expect(window?.still).toBe(false);
    expect(meter.take()).toBeNull();
  });

  it('are right where the samples lie oddly in memory', () => {
    const samples = sine(MONO_16, [0.5]);
    const odd = Buffer.concat([Buffer.alloc(1), samples]).subarray(1);
    const meter = createLevelMeter(MONO_16, -0.1);
    meter.add(odd);
    expect(meter.take()?.levels[0]?.rmsDbfs).toBeCloseTo(-9.03, 1);
  });

  it('call a peak at the threshold clipped, also at the lowest sample there is', () => {
    const meter = createLevelMeter(MONO_16, 0);
    meter.add(Buffer.from(Int16Array.of(0, -32_768, 5).buffer));
    expect(meter.take()?.levels).toMatchObject([{ peakDbfs: 0, clipped: true }]);
    meter.add(Buffer.from(Int16Array.of(0, 32_000, 5).buffer));
    expect(meter.take()?.levels).toMatchObject([{ clipped: false }]);
  });

  it('of zeros, and of any constant, are silence', () => {
    const meter = createLevelMeter(MONO_16, 0);
    meter.add(Buffer.from(Int16Array.of(700, 700, 700).buffer));
    expect(meter.take()).toMatchObject({ still: true, levels: [{ rmsDbfs: SILENCE_DBFS }] });
    meter.add(Buffer.alloc(20));
    expect(meter.take()).toMatchObject({ still: true, levels: [{ rmsDbfs: SILENCE_DBFS, peakDbfs: SILENCE_DBFS }] });
  });
});

describe('silence', () => {
  const window = (seconds: number, rmsDbfs: number[], still = false): LevelWindow => ({
    frames: seconds * 48_000,
    levels: rmsDbfs.map((rms) => ({ rmsDbfs: rms, peakDbfs: rms + 3, clipped: false })),
    still,
  });

  it('is called after the time that the settings say, and ends at the first sound', () => {
    const isSilent = createSilenceWatch(48_000, { silentBelowDbfs: -90, silentAfterSeconds: 3 });
    expect([1, 1, 1].map((seconds) => isSilent(window(seconds, [-90])))).toEqual([false, false, true]);
    expect(isSilent(window(1, [-40]))).toBe(false);
    expect(isSilent(window(2, [-40], true))).toBe(false);
    expect(isSilent(window(1, [-40], true))).toBe(true);
  });

  it('is not called while one channel hears something', () => {
    const isSilent = createSilenceWatch(48_000, { silentBelowDbfs: -90, silentAfterSeconds: 1 });
    expect(isSilent(window(5, [-120, -60]))).toBe(false);
  });
});

describe('the synthetic dawn chorus', () => {
  it('is the same every time, audible, and not clipped', () => {
    const format: WavFormat = { rate: 48_000, channels: 2, bitsPerSample: 16 };
    const chorus = dawnChorus(format);
    expect(dawnChorus(format).equals(chorus)).toBe(true);
    expect(chorus.length % (format.rate * frameBytesOf(format))).toBe(0);
    const meter = createLevelMeter(format, -0.1);
    meter.add(chorus);
    for (const level of meter.take()?.levels ?? []) {
      expect(level.rmsDbfs).toBeGreaterThan(-50);
      expect(level.clipped).toBe(false);
    }
  });

  it('is repeated without a gap, from any position', () => {
    const loop = Buffer.from([0, 1, 2, 3, 4]);
    expect([...Buffer.concat(loopParts(loop, 13, 9))]).toEqual([3, 4, 0, 1, 2, 3, 4, 0, 1]);
    expect(loopParts(loop, 0, 0)).toEqual([]);
  });
});

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex');
}

/** One second of 1 kHz. */
function sine(format: WavFormat, amplitudes: number[]): Buffer {
  const bytes = format.bitsPerSample / 8;
  const fullScale = 2 ** (format.bitsPerSample - 1) - 1;
  const data = Buffer.alloc(format.rate * frameBytesOf(format));
  let place = 0;
  for (let frame = 0; frame < format.rate; frame += 1) {
    for (const amplitude of amplitudes) {
      const sample = Math.sin((2 * Math.PI * 1000 * frame) / format.rate) * amplitude;
      place = data.writeIntLE(Math.round(sample * fullScale), place, bytes);
    }
  }
  return data;
}
