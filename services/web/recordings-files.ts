/**
 * Files of recordings as browsers ask for them: in parts, again only when they changed, and slowed down for ears that don't
 * hear bats. A file is opened by its checked name and never through a link; what is sent is that open file and no other.
 */
import { once } from 'node:events';
import { ReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { pipeline, type Readable, Transform } from 'node:stream';
import send from '@fastify/send';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FLAC_HEAD_BYTES, readFlacHead } from '../shared/flac.ts';
import { type Folder, withFile, withFolder } from '../shared/folders.ts';
import { frameBytesOf, headerBytesOf, MAX_HEADER_BYTES, readWavFormat } from '../shared/wav.ts';
import { createFlacSlower } from './recordings-slow-flac.ts';

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
      // Of an open file this is the file itself, wherever its name leads by now.
      const place = `/proc/self/fd/${handle.fd}`;
      const slowed = file.slower === undefined ? null : await slowedForm(handle, file.slower);
      if (file.slower !== undefined && slowed === null) return null;
      // What has to be gone through from its beginning is sent whole.
      const acceptRanges = slowed?.kind !== 'frames';
      const options = { contentType: false, cacheControl: false, acceptRanges };
      const { statusCode, headers, stream } = await send(request.raw, place, options);
      if (stream instanceof ReadStream) await once(stream, 'open');
      const disposition = file.download ? 'attachment' : 'inline';
      void reply.code(statusCode).headers({
        ...headers,
        'cache-control': CACHE_CONTROL,
        'content-type': file.type,
        'content-disposition': `${disposition}; filename="${file.name}"`,
      });
      if (slowed === null || statusCode >= 300) return reply.send(stream);
      const changed = slowed.kind === 'head' ? withHead(stream, slowed.head, offsetOf(headers)) : slowed.change(stream);
      return reply.send(changed);
    }),
  );
}

/** `head`: the first bytes name the lower rate. `frames`: all the way through. */
type SlowedForm = { kind: 'head'; head: Buffer } | { kind: 'frames'; change(stream: Readable): Readable };

/** null: it is neither WAV nor FLAC as recorder and processor make them. */
async function slowedForm(file: FileHandle, times: number): Promise<SlowedForm | null> {
  const bytes = Buffer.alloc(Math.max(MAX_HEADER_BYTES, FLAC_HEAD_BYTES));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  const start = bytes.subarray(0, bytesRead);
  if (readFlacHead(start) !== null)
    return { kind: 'frames', change: (stream) => through(stream, createFlacSlower(times)) };
  const head = slowedHead(start, times);
  return head === null ? null : { kind: 'head', head };
}

/** The head of a WAV file with a lower rate, at which players play it; null: it is none of ours. */
export function slowedHead(head: Buffer, times: number): Buffer | null {
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
export function withHead(stream: Readable, head: Buffer, offset: number): Readable {
  let at = offset;
  const overlay = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const bytes = Buffer.from(chunk);
      if (at < head.length) head.copy(bytes, 0, at, Math.min(head.length, at + bytes.length));
      at += bytes.length;
      done(null, bytes);
    },
  });
  return through(stream, overlay);
}

/** Whoever hangs up ends both. */
function through(stream: Readable, change: Transform): Readable {
  pipeline(stream, change, () => {});
  return change;
}
