/**
 * Pages are sent packed to browsers that take it: a station hangs on a bad connection. Every page's form token is another
 * one, so that nobody can guess it from lengths.
 */
import { constants, createGzip, gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';

/** What gets smaller; sound and pictures don't. */
const WORTH_IT = /^(text\/(html|css|javascript|plain)|application\/(javascript|json)|image\/svg\+xml)\b/;
/** Below this, packing costs more than it saves. Bytes. */
const LEAST_BYTES = 1024;
const LEVEL = 6;

/** Whether a browser takes gzip, by what it sent as `accept-encoding`. */
export function takesGzip(acceptEncoding: string | undefined): boolean {
  return /(^|,)\s*gzip\s*(;\s*q=(1|0?\.\d*[1-9]\d*)[^,]*)?\s*(,|$)/i.test(acceptEncoding ?? '');
}

/** A packer that hands on at once what it is given, for a stream of events. */
export function createStreamPacker() {
  return createGzip({ level: LEVEL, flush: constants.Z_SYNC_FLUSH });
}

/** Packs whole answers; streams (files, sound, events) go out as they are. */
export function packAnswers(app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const type = reply.getHeader('content-type');
    if (typeof type !== 'string' || !WORTH_IT.test(type) || typeof payload !== 'string') return payload;
    void reply.header('vary', 'accept-encoding');
    if (!takesGzip(request.headers['accept-encoding']) || Buffer.byteLength(payload) < LEAST_BYTES) return payload;
    const packed = gzipSync(payload, { level: LEVEL });
    void reply.header('content-encoding', 'gzip').header('content-length', packed.length);
    return packed;
  });
}
