/**
 * Reads what a WAV file is (RIFF/WAVE, "Multimedia Programming Interface and Data Specifications 1.0", 1991; Microsoft's
 * WAVEFORMATEXTENSIBLE): where its samples lie, and the chunks beside them, which hold what is known about the recording.
 */
import type { FileHandle } from 'node:fs/promises';
import { readFully } from './file-bytes.ts';

export interface WavFile {
  /** Frames per second. */
  rate: number;
  channels: number;
  bitsPerSample: number;
  frames: number;
  dataOffset: number;
  dataBytes: number;
  /** Everything but the samples, in the file's order: the RIFF head, then each chunk, of the samples' the head alone. */
  chunks: Buffer[];
}

/** The recording itself is at fault: no later attempt can end better. */
export class BrokenRecording extends Error {}

const MOST_CHUNKS = 64;
/** Of one chunk that is kept. FLAC takes no longer ones (24 bits). */
const MOST_CHUNK_BYTES = 1024 * 1024;
const FORMAT_PCM = 1;
const FORMAT_EXTENSIBLE = 0xfffe;

/** Throws `BrokenRecording` with the reason, or what the file system throws. */
export async function readWavFile(file: FileHandle): Promise<WavFile> {
  const { size } = await file.stat();
  const riff = await readFully(file, 0, 12);
  if (riff.length < 12 || riff.toString('latin1', 0, 4) !== 'RIFF' || riff.toString('latin1', 8, 12) !== 'WAVE') {
    throw new BrokenRecording('it does not begin as a WAV file');
  }
  const chunks = [riff];
  let format: Pick<WavFile, 'rate' | 'channels' | 'bitsPerSample'> | null = null;
  let data: Pick<WavFile, 'dataOffset' | 'dataBytes'> | null = null;
  const end = Math.min(size, 8 + riff.readUInt32LE(4));
  for (let offset = 12; offset + 8 <= end && chunks.length < MOST_CHUNKS; ) {
    const head = await readFully(file, offset, 8);
    const id = head.toString('latin1', 0, 4);
    const length = head.readUInt32LE(4);
    if (offset + 8 + length > size) throw new BrokenRecording(`its end is missing: ${id.trim()} goes beyond the file`);
    if (id === 'data' && data === null) {
      data = { dataOffset: offset + 8, dataBytes: length };
      chunks.push(head);
    } else {
      if (length > MOST_CHUNK_BYTES) throw new BrokenRecording('a part beside its samples is too long');
      const chunk = await readFully(file, offset, 8 + length + (length % 2));
      if (id === 'fmt ') format = readFormat(chunk.subarray(8));
      chunks.push(chunk);
    }
    offset += 8 + length + (length % 2);
  }
  if (format === null || data === null) throw new BrokenRecording('it holds no samples');
  const frames = Math.floor(data.dataBytes / ((format.channels * format.bitsPerSample) / 8));
  if (frames === 0) throw new BrokenRecording('it holds no sound');
  return { ...format, ...data, frames, chunks };
}

/**
 * GUANO metadata (the text of its `guan` chunk) as a bat detector's files carry it; null: there is none. Control characters
 * but line breaks are left out, since the text goes into other files.
 */
export function guanoText(wav: Pick<WavFile, 'chunks'>): string | null {
  const chunk = wav.chunks.find((one) => one.toString('latin1', 0, 4) === 'guan');
  if (chunk === undefined) return null;
  const text = chunk.toString('utf8', 8, 8 + chunk.readUInt32LE(4));
  return [...text].filter((letter) => letter >= ' ' || letter === '\n').join('');
}

function readFormat(format: Buffer): Pick<WavFile, 'rate' | 'channels' | 'bitsPerSample'> {
  if (format.length < 16) throw new BrokenRecording('its format is cut off');
  const tag = format.readUInt16LE(0);
  const plain = tag === FORMAT_EXTENSIBLE && format.length >= 26 ? format.readUInt16LE(24) : tag;
  const channels = format.readUInt16LE(2);
  const rate = format.readUInt32LE(4);
  const bitsPerSample = format.readUInt16LE(14);
  if (plain !== FORMAT_PCM || ![16, 24, 32].includes(bitsPerSample)) {
    throw new BrokenRecording(`its samples are none that a recorder writes (format ${plain}, ${bitsPerSample} bits)`);
  }
  if (channels < 1 || channels > 32 || rate < 1 || rate > 1_000_000) {
    throw new BrokenRecording(`it claims ${channels} channels at ${rate} Hz`);
  }
  return { channels, rate, bitsPerSample };
}
