/**
 * The WAV files that a recorder writes, and live sound in their form: their header, made and read back. Format: RIFF/WAVE as in "Multimedia
 * Programming Interface and Data Specifications 1.0" (1991) and Microsoft's WAVEFORMATEXTENSIBLE.
 */
import type { SampleFormat } from './recording.ts';

/** How samples lie in a file: interleaved, little-endian, signed. */
export interface WavFormat {
  /** Frames per second. */
  rate: number;
  channels: number;
  bitsPerSample: 16 | 24 | 32;
}

/**
 * Bits of one sample in a file. S24_LE (24 bits in four bytes) is packed into three: files that declare 24 valid bits in
 * a 32-bit container are refused by SoX ("fmt with padded samples is not supported yet"),
 * and a quarter of each file would be zeros.
 */
export const FILE_BITS: Record<SampleFormat, 16 | 24 | 32> = { S16_LE: 16, S24_3LE: 24, S24_LE: 24, S32_LE: 32 };

/**
 * RIFF counts in 32 bits, but many readers in 31: a file stays within 2 GiB, with room for header and metadata. Bytes.
 */
export const MAX_DATA_BYTES = 2 ** 31 - 2 ** 20;
/** No header of ours is longer. Bytes. */
export const MAX_HEADER_BYTES = 68;

const ENDLESS = 0xffff_ffff;
const FORMAT_PCM = 1;
const FORMAT_EXTENSIBLE = 0xfffe;
/** KSDATAFORMAT_SUBTYPE_PCM as it lies in a file. */
const SUBTYPE_PCM = Buffer.from('0100000000001000800000aa00389b71', 'hex');
/** Speaker positions: mono is the centre, two are left and right, more are only "as they come". */
const CHANNEL_MASK: Record<number, number> = { 1: 0x4, 2: 0x3 };

/** Bytes that one frame (a sample of every channel) takes in a file. */
export function frameBytesOf(format: WavFormat): number {
  return (format.channels * format.bitsPerSample) / 8;
}

/** Bytes that the header of this format takes: 44, or 68 where the plain one would be ambiguous. */
export function headerBytesOf(format: WavFormat): number {
  return isExtensible(format) ? 68 : 44;
}

/** Bytes that the samples take in the file: an odd number is followed by one pad byte, which the data chunk does not count. */
export function paddedBytes(dataBytes: number): number {
  return dataBytes + (dataBytes % 2);
}

/**
 * The header of a file with `dataBytes` of samples, which so many bytes of further chunks follow. Throws RangeError
 * beyond `MAX_DATA_BYTES`.
 */
export function wavHeader(format: WavFormat, dataBytes: number, trailingBytes = 0): Buffer {
  if (dataBytes > MAX_DATA_BYTES) throw new RangeError(`a WAV file holds ${MAX_DATA_BYTES} bytes, not ${dataBytes}`);
  const extensible = isExtensible(format);
  const header = Buffer.alloc(headerBytesOf(format));
  const frameBytes = frameBytesOf(format);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(header.length - 8 + paddedBytes(dataBytes) + trailingBytes, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(extensible ? 40 : 16, 16);
  header.writeUInt16LE(extensible ? FORMAT_EXTENSIBLE : FORMAT_PCM, 20);
  header.writeUInt16LE(format.channels, 22);
  header.writeUInt32LE(format.rate, 24);
  header.writeUInt32LE(format.rate * frameBytes, 28);
  header.writeUInt16LE(frameBytes, 32);
  header.writeUInt16LE(format.bitsPerSample, 34);
  if (extensible) {
    header.writeUInt16LE(22, 36);
    header.writeUInt16LE(format.bitsPerSample, 38);
    header.writeUInt32LE(CHANNEL_MASK[format.channels] ?? 0, 40);
    SUBTYPE_PCM.copy(header, 44);
  }
  header.write('data', header.length - 8, 'latin1');
  header.writeUInt32LE(dataBytes, header.length - 4);
  return header;
}

/** The header of sound without an end: both lengths say "as long as it comes". */
export function endlessWavHeader(format: WavFormat): Buffer {
  const header = wavHeader(format, 0);
  header.writeUInt32LE(ENDLESS, 4);
  header.writeUInt32LE(ENDLESS, header.length - 4);
  return header;
}

/**
 * Reads the format out of the first bytes of a file that `wavHeader` began; null for any other file. The sizes are not
 * looked at: in a file that was never finished they are not true.
 */
export function readWavFormat(head: Buffer): WavFormat | null {
  if (head.length < 44) return null;
  const bitsPerSample = head.readUInt16LE(34);
  if (bitsPerSample !== 16 && bitsPerSample !== 24 && bitsPerSample !== 32) return null;
  const format: WavFormat = { rate: head.readUInt32LE(24), channels: head.readUInt16LE(22), bitsPerSample };
  if (format.channels < 1 || format.channels > 32 || format.rate > 1_000_000) return null;
  const expected = wavHeader(format, 0);
  if (head.length < expected.length) return null;
  const given = Buffer.from(head.subarray(0, expected.length));
  given.writeUInt32LE(expected.readUInt32LE(4), 4);
  given.writeUInt32LE(0, given.length - 4);
  return given.equals(expected) ? format : null;
}

/** What a header that `wavHeader` made says of sizes; the file is complete where they are true. Bytes. */
export function declaredSizes(head: Buffer, format: WavFormat): { fileBytes: number; dataBytes: number } {
  return { fileBytes: head.readUInt32LE(4) + 8, dataBytes: head.readUInt32LE(headerBytesOf(format) - 4) };
}

function isExtensible(format: WavFormat): boolean {
  return format.channels > 2 || format.bitsPerSample > 16;
}
