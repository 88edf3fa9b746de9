/** FLAC files as far as their head goes (RFC 9639): what the stream is. */

export interface FlacStream {
  /** Frames per second. */
  rate: number;
  channels: number;
  bitsPerSample: number;
  frames: number;
}

/** "fLaC", one block's head, STREAMINFO. Bytes. */
export const FLAC_HEAD_BYTES = 4 + 4 + 34;
/** Where STREAMINFO has the rate, in the upper 20 bits of these 64. */
const PACKED_OFFSET = 18;
const RATE_SHIFT = 44n;
const STREAMINFO = 0;
const LAST_BLOCK = 0x80;

/** Out of the first `FLAC_HEAD_BYTES`; null: it does not begin as a FLAC file. No frames: it was never finished. */
export function readFlacHead(head: Buffer): FlacStream | null {
  const begins = head.length >= FLAC_HEAD_BYTES && head.toString('latin1', 0, 4) === 'fLaC';
  if (!begins || ((head[4] ?? 0) & ~LAST_BLOCK) !== STREAMINFO) return null;
  // 20 bits rate, 3 channels - 1, 5 bits per sample - 1, 36 frames (RFC 9639, 8.2).
  const packed = head.readBigUInt64BE(PACKED_OFFSET);
  return {
    rate: Number(packed >> RATE_SHIFT),
    channels: Number((packed >> 41n) & 7n) + 1,
    bitsPerSample: Number((packed >> 36n) & 31n) + 1,
    frames: Number(packed & 0xf_ffff_ffffn),
  };
}

/** The same head with another rate, at which players play it then. */
export function withFlacRate(head: Buffer, rate: number): Buffer {
  const changed = Buffer.from(head);
  const others = head.readBigUInt64BE(PACKED_OFFSET) & ((1n << RATE_SHIFT) - 1n);
  changed.writeBigUInt64BE((BigInt(rate) << RATE_SHIFT) | others, PACKED_OFFSET);
  return changed;
}
