/**
 * Files of recordings as browsers ask for them: in parts, again only when they changed, and slowed down for ears that don't
 * hear bats. A file is opened by its checked name and never through a link; what is sent is that open file and no other.
 */
import { once } from 'node:events';
import { ReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { type Readable, Transform } from 'node:stream';
import send from '@fastify/send';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FLAC_HEAD_BYTES, readFlacHead, withFlacRate } from '../shared/flac.ts';
import { type Folder, withFile, withFolder } from '../shared/folders.ts';
import { frameBytesOf, headerBytesOf, MAX_HEADER_BYTES, readWavFormat } from '../shared/wav.ts';

export interface SoundFile {
  /** Below the workspace. */
  folder: readonly string[];
  name: string;
  /** Of the content. */
  type: string;
  /** As a file to keep instead of something to show. */
  download: boolean;
  /** How many times slower it is to be played; absent: as it is. */
  slower?: number;
}

/** Finished files never change, but retention removes them and the processor may make them again. */
const CACHE_CONTROL = 'private, max-age=600';

/** null: there is no such file. Sends the whole or the part that was asked for. */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  workspace: Folder,
  file: SoundFile,
): Promise<FastifyReply | null> {
  return await withFolder(workspace, file.folder, (folder) =>
    withFile(folder, file.name, async (handle) => {
      const head = file.slower === undefined ? null : await slowHead(handle, file.slower);
      if (file.slower !== undefined && head === null) return null;
      // Of an open file this is the file itself, wherever its name leads by now.
      const place = `/proc/self/fd/${handle.fd}`;
      const { statusCode, headers, stream } = await send(request.raw, place, {
        contentType: false,
        cacheControl: false,
      });
      if (stream instanceof ReadStream) await once(stream, 'open');
      const disposition = file.download ? 'attachment' : 'inline';
      void reply.code(statusCode).headers({
        ...headers,
        'cache-control': CACHE_CONTROL,
        'content-type': file.type,
        'content-disposition': `${disposition}; filename="${file.name}"`,
      });
      return reply.send(head === null ? stream : withHead(stream, head, offsetOf(headers)));
    }),
  );
}

/** The head that makes players play a recording slower: it names a lower rate. null: it is none of ours. */
async function slowHead(file: FileHandle, times: number): Promise<Buffer | null> {
  const bytes = Buffer.alloc(Math.max(MAX_HEADER_BYTES, FLAC_HEAD_BYTES));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return slowedHead(bytes.subarray(0, bytesRead), times);
}

/** null: it is neither WAV nor FLAC as recorder and processor make them. */
export function slowedHead(head: Buffer, times: number): Buffer | null {
  const flac = readFlacHead(head);
  if (flac !== null) return withFlacRate(head.subarray(0, FLAC_HEAD_BYTES), Math.round(flac.rate / times));
  const wav = readWavFormat(head);
  if (wav === null) return null;
  const slowed = Buffer.from(head.subarray(0, headerBytesOf(wav)));
  const rate = Math.round(wav.rate / times);
  slowed.writeUInt32LE(rate, 24);
  slowed.writeUInt32LE(rate * frameBytesOf(wav), 28);
  return slowed;
}

/** Where in the file the sent part begins. */
function offsetOf(headers: Readonly<Record<string, string>>): number {
  const range = headers['Content-Range'] ?? headers['content-range'];
  return Number(/^bytes (\d+)-/.exec(range ?? '')?.[1] ?? 0);
}

/** Puts `head` over the file's first bytes, whichever part of them is sent. */
export function withHead(stream: Readable, head: Buffer, offset: number): Transform {
  let at = offset;
  const overlay = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const bytes = Buffer.from(chunk);
      if (at < head.length) head.copy(bytes, 0, at, Math.min(head.length, at + bytes.length));
      at += bytes.length;
      done(null, bytes);
    },
  });
  stream.once('error', (error) => overlay.destroy(error));
  overlay.once('close', () => stream.destroy());
  return stream.pipe(overlay);
}
