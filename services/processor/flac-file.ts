/**
 * FLAC files as far as their head goes (RFC 9639): what the stream is, and metadata put into it.
 */
import type { FileHandle } from 'node:fs/promises';
import { readFully, writeFully } from './file-bytes.ts';
import { BrokenRecording, type WavFile } from './wav-file.ts';

export interface FlacStream {
  /** Frames per second. */
  rate: number;
  channels: number;
  bitsPerSample: number;
  frames: number;
}

const STREAMINFO = 0;
const APPLICATION = 2;
const VORBIS_COMMENT = 4;
const LAST_BLOCK = 0x80;
/** A block's length has 24 bits. */
const MOST_BLOCK_BYTES = 0xff_ffff;
/** "fLaC", one block's head, STREAMINFO. */
const HEAD_BYTES = 4 + 4 + 34;
const COPY_BYTES = 256 * 1024;

/** Throws `BrokenRecording` when it is no FLAC file, or one that was never finished. */
export async function readFlacStream(file: FileHandle): Promise<FlacStream> {
  const head = await readFully(file, 0, HEAD_BYTES);
  const begins = head.length === HEAD_BYTES && head.toString('latin1', 0, 4) === 'fLaC';
  if (!begins || ((head[4] ?? 0) & ~LAST_BLOCK) !== STREAMINFO) {
    throw new BrokenRecording('it does not begin as a FLAC file');
  }
  // 20 bits rate, 3 channels - 1, 5 bits per sample - 1, 36 frames (RFC 9639, 8.2).
  const packed = head.readBigUInt64BE(18);
  const stream = {
    rate: Number(packed >> 44n),
    channels: Number((packed >> 41n) & 7n) + 1,
    bitsPerSample: Number((packed >> 36n) & 31n) + 1,
    frames: Number(packed & 0xf_ffff_ffffn),
  };
  if (stream.frames === 0 || stream.rate === 0) throw new BrokenRecording('it is a FLAC file that was never finished');
  return stream;
}

/**
 * Copies a FLAC file, giving it the metadata of the WAV file that it was made from: each chunk in an APPLICATION block
 * "riff", the way `flac --keep-foreign-metadata` keeps them, so that the WAV file can be made again to the byte; and
 * `comments` (name, value), which players show.
 */
export async function copyWithMetadata(
  from: FileHandle,
  to: FileHandle,
  wav: WavFile,
  comments: readonly (readonly [string, string])[],
): Promise<void> {
  const { streamInfo, audioOffset } = await readBlocks(from);
  const blocks = [
    ...wav.chunks.map((chunk) => block(APPLICATION, Buffer.concat([Buffer.from('riff'), chunk]))),
    block(VORBIS_COMMENT, vorbisComment(comments), true),
  ];
  const head = Buffer.concat([Buffer.from('fLaC'), block(STREAMINFO, streamInfo), ...blocks]);
  await writeFully(to, 0, head);
  const buffer = Buffer.alloc(COPY_BYTES);
  for (let offset = audioOffset, target = head.length; ; ) {
    const { bytesRead } = await from.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) return;
    await writeFully(to, target, buffer.subarray(0, bytesRead));
    offset += bytesRead;
    target += bytesRead;
  }
}

async function readBlocks(file: FileHandle): Promise<{ streamInfo: Buffer; audioOffset: number }> {
  const streamInfo = (await readFully(file, 0, HEAD_BYTES)).subarray(8);
  for (let offset = 4; ; ) {
    const head = await readFully(file, offset, 4);
    if (head.length < 4) throw new Error('the FLAC file that was just made ends too early');
    offset += 4 + head.readUIntBE(1, 3);
    if (((head[0] ?? 0) & LAST_BLOCK) !== 0) return { streamInfo, audioOffset: offset };
  }
}

function block(kind: number, content: Buffer, isLast = false): Buffer {
  if (content.length > MOST_BLOCK_BYTES) throw new BrokenRecording('a part beside its samples is too long for FLAC');
  const head = Buffer.alloc(4);
  head.writeUInt32BE(content.length);
  head[0] = kind | (isLast ? LAST_BLOCK : 0);
  return Buffer.concat([head, content]);
}

function vorbisComment(comments: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const count = Buffer.alloc(4);
  count.writeUInt32LE(comments.length);
  return Buffer.concat([text('Silvasonic'), count, ...comments.map(([name, value]) => text(`${name}=${value}`))]);
}
