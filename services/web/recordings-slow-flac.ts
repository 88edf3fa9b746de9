/**
 * FLAC that plays slower. The rate stands in the file's head and again in each frame (RFC 9639, 9.1), and players believe
 * the frames. So each frame gets the lower rate too, in as many bytes, and its two checksums anew; no sample changes.
 */
import { Transform, type TransformCallback } from 'node:stream';
import { FLAC_HEAD_BYTES, readFlacHead, withFlacRate } from '../shared/flac.ts';

/** Rates that a frame names by a code alone; it can as well say "as the file's head says". */
const CODED = new Set([8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000]);
/** Rate codes of a frame whose value follows: in kHz, Hz, and tens of Hz. */
const KILOHERTZ = 12;
const HERTZ = 13;
const TENS = 14;
const LAST_BLOCK = 0x80;
/** Neither a frame (the longest block of the most channels, uncompressed) nor what stands before the first is longer. */
const MOST_PENDING_BYTES = 4 * 1024 * 1024;
/** Sync, codes, the longest number, block size, rate, checksum. */
const MOST_FRAME_HEAD_BYTES = 16;

/** The rate nearest to a tenth (or whatever `times` says) that takes no more bytes in a frame than the file's own. */
export function slowedFlacRate(rate: number, times: number): number {
  if (CODED.has(rate)) return Math.round(rate / times);
  if (rate % 1000 === 0 && rate <= 255_000) return Math.max(1, Math.round(rate / times / 1000)) * 1000;
  return rate % 10 === 0 ? Math.round(rate / times / 10) * 10 : Math.round(rate / times);
}

/** Takes a FLAC file in whatever chunks and gives one of the same length. Ends with an error where it is none. */
export function createFlacSlower(times: number): Transform {
  let pending: Buffer = Buffer.alloc(0);
  let rate = 0;
  /** Of `pending`: what lies before belongs to a frame that began there and has no other frame in it. */
  let searched = 0;
  let frame: FrameHead | null = null;

  const begin = (stream: Transform): boolean => {
    if (pending.length < FLAC_HEAD_BYTES) return false;
    const head = readFlacHead(pending);
    if (head === null) throw new Error('it does not begin as a FLAC file');
    const audioOffset = audioOffsetOf(pending);
    if (audioOffset === null) return false;
    rate = slowedFlacRate(head.rate, times);
    stream.push(withFlacRate(pending.subarray(0, FLAC_HEAD_BYTES), rate));
    stream.push(pending.subarray(FLAC_HEAD_BYTES, audioOffset));
    pending = pending.subarray(audioOffset);
    return true;
  };

  const flush = (stream: Transform, end: number): void => {
    if (frame !== null) stream.push(slowedFrame(Buffer.from(pending.subarray(0, end)), frame, rate));
    else if (end > 0) stream.push(pending.subarray(0, end));
    pending = pending.subarray(end);
  };

  const work = (stream: Transform): void => {
    if (pending.length > MOST_PENDING_BYTES) throw new Error('its frames have no end');
    if (rate === 0 && !begin(stream)) return;
    for (;;) {
      const at = pending.indexOf(0xff, searched);
      if (at < 0 || at + MOST_FRAME_HEAD_BYTES > pending.length) {
        searched = at < 0 ? pending.length : at;
        break;
      }
      const next = readFrameHead(pending.subarray(at, at + MOST_FRAME_HEAD_BYTES));
      if (next !== null && (frame === null || next.number === frame.number + 1)) {
        flush(stream, at);
        frame = next;
        searched = next.length;
      } else searched = at + 1;
    }
  };

  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      pending = Buffer.concat([pending, chunk]);
      attempt(() => work(this), done);
    },
    flush(done) {
      attempt(() => {
        if (rate === 0) throw new Error('it ends before its sound begins');
        flush(this, pending.length);
      }, done);
    },
  });
}

function attempt(work: () => void, done: TransformCallback): void {
  try {
    work();
    done();
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)));
  }
}

/** null: not all of the metadata is there yet. */
function audioOffsetOf(bytes: Buffer): number | null {
  for (let offset = 4; offset + 4 <= bytes.length; ) {
    const isLast = ((bytes[offset] ?? 0) & LAST_BLOCK) !== 0;
    offset += 4 + bytes.readUIntBE(offset + 1, 3);
    if (isLast) return offset <= bytes.length ? offset : null;
  }
  return null;
}

interface FrameHead {
  /** They count from 0: what looks like a frame inside another has another number. */
  number: number;
  rateCode: number;
  /** Where the rate's own bytes are, if it has any. */
  rateOffset: number;
  /** With its checksum. */
  length: number;
}

/** null: no frame begins here. */
function readFrameHead(bytes: Buffer): FrameHead | null {
  const [sync = 0, more = 0, codes = 0, form = 0, first = 0] = bytes;
  // Frames of equal length only, as every encoder of ours makes them.
  if (sync !== 0xff || more !== 0xf8 || (form & 1) !== 0) return null;
  const [blockCode, rateCode] = [codes >> 4, codes & 0x0f];
  if (blockCode === 0 || rateCode === 15) return null;
  const numberBytes = first < 0x80 ? 1 : Math.clz32(~(first << 24));
  if (numberBytes > 7 || (first & 0xc0) === 0x80) return null;
  let number = numberBytes === 1 ? first : first & (0x7f >> numberBytes);
  for (let at = 1; at < numberBytes; at += 1) number = number * 64 + ((bytes[4 + at] ?? 0) & 0x3f);
  const rateOffset = 4 + numberBytes + (blockCode === 6 ? 1 : blockCode === 7 ? 2 : 0);
  const length = rateOffset + (rateCode === KILOHERTZ ? 1 : rateCode === HERTZ || rateCode === TENS ? 2 : 0) + 1;
  return crc8(bytes.subarray(0, length - 1)) === bytes[length - 1] ? { number, rateCode, rateOffset, length } : null;
}

function slowedFrame(frame: Buffer, { rateCode, rateOffset, length }: FrameHead, rate: number): Buffer {
  switch (rateCode) {
    case KILOHERTZ:
      frame.writeUInt8(rate / 1000, rateOffset);
      break;
    case HERTZ:
      frame.writeUInt16BE(rate, rateOffset);
      break;
    case TENS:
      frame.writeUInt16BE(rate / 10, rateOffset);
      break;
    default:
      // "As the file's head says".
      frame[2] = (frame[2] ?? 0) & 0xf0;
  }
  frame[length - 1] = crc8(frame.subarray(0, length - 1));
  frame.writeUInt16BE(crc16(frame.subarray(0, -2)), frame.length - 2);
  return frame;
}

const CRC8 = table(8, 0x07);
const CRC16 = table(16, 0x8005);

function table(bits: 8 | 16, polynomial: number): Uint16Array {
  const top = 1 << (bits - 1);
  return Uint16Array.from({ length: 256 }, (_, byte) => {
    let rest = byte << (bits - 8);
    for (let bit = 0; bit < 8; bit += 1) rest = (rest & top) === 0 ? rest << 1 : (rest << 1) ^ polynomial;
    return rest & (2 ** bits - 1);
  });
}

function crc8(bytes: Buffer): number {
  let rest = 0;
  for (const byte of bytes) rest = CRC8[rest ^ byte] ?? 0;
  return rest;
}

function crc16(bytes: Buffer): number {
  let rest = 0;
  for (let at = 0; at < bytes.length; at += 1)
    rest = ((rest << 8) & 0xffff) ^ (CRC16[(rest >> 8) ^ (bytes[at] ?? 0)] ?? 0);
  return rest;
}
