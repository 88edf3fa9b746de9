/**
 * FLAC files as far as their head goes (RFC 9639): what the stream is, and metadata put into it.
 */
import type { FileHandle } from 'node:fs/promises';
import { FLAC_HEAD_BYTES, type FlacStream, readFlacHead } from '../shared/flac.ts';
import { readFully, writeFully } from './file-bytes.ts';
import { BrokenRecording, type WavFile } from './wav-file.ts';

const STREAMINFO = 0;
const APPLICATION = 2;
const VORBIS_COMMENT = 4;
const LAST_BLOCK = 0x80;
/** A block's length has 24 bits. */
const MOST_BLOCK_BYTES = 0xff_ffff;
const COPY_BYTES = 256 * 1024;

/** Throws `BrokenRecording` when it is no FLAC file, or one that was never finished. */
export async function readFlacStream(file: FileHandle): Promise<FlacStream> {
  const stream = readFlacHead(await readFully(file, 0, FLAC_HEAD_BYTES));
  if (stream === null) throw new BrokenRecording('it does not begin as a FLAC file');
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
  const streamInfo = (await readFully(file, 0, FLAC_HEAD_BYTES)).subarray(8);
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
