/**
 * Server-sent events: a page's parts, all of them first and then what changes, and levels once a second. A browser that
 * lost the connection connects again by itself and gets all again.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import { renderToString } from 'preact-render-to-string';
import { createStreamPacker, takesGzip } from './compression.ts';
import type { Fragment } from './pages/dashboard.tsx';
import type { PageContext } from './pages/layout.tsx';
import { PageError, type Pages } from './requests.ts';
import type { StationPicture } from './station-picture.ts';
import type { StationWatch } from './station-watch.ts';
import { texts } from './texts.ts';

/** The parts of one page in this picture; null: what it shows is no longer there, so the page is loaded anew. */
export type LivePage = (
  picture: StationPicture,
  context: PageContext,
  query: Readonly<Record<string, string>>,
) => Fragment[] | null | Promise<Fragment[] | null>;

/** Browsers open six connections to one address at most, and a station has few visitors. */
const MOST_STREAMS = 40;
/** Silence makes proxies and phones hang up. */
const KEEP_ALIVE_MS = 15_000;
/** A browser that takes nothing is let go. */
const MOST_BEHIND_BYTES = 1024 * 1024;
const RETRY_MS = 2000;

export interface Stream {
  send(event: string, data: unknown): void;
  /** Called once when the browser is gone. */
  onClose(callback: () => void): void;
  close(): void;
}

/** Turns a reply into a stream of events, packed where the browser takes it; ended when its session is. */
export function openStream(reply: FastifyReply): Stream {
  const { raw, request } = reply;
  const packer = takesGzip(request.headers['accept-encoding']) ? createStreamPacker() : null;
  const target = packer ?? raw;
  const callbacks: (() => void)[] = [];
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value);
  if (packer !== null) raw.setHeader('content-encoding', 'gzip');
  raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
  packer?.on('error', () => raw.destroy()).pipe(raw);
  target.write(`retry: ${RETRY_MS}\n\n`);
  const alive = setInterval(async () => {
    const mayStay = await request.isStillSignedIn();
    if (!target.writable) return;
    if (mayStay) target.write(': \n\n');
    else target.end();
  }, KEEP_ALIVE_MS);
  const end = (): void => {
    clearInterval(alive);
    packer?.destroy();
    for (const callback of callbacks) callback();
  };
  raw.on('error', () => {});
  // Whoever hung up while we still asked who it was closes no second time.
  if (raw.destroyed) process.nextTick(end);
  else raw.once('close', end);
  return {
    send(event, data) {
      if (target.writableLength + raw.writableLength > MOST_BEHIND_BYTES) raw.destroy();
      else if (target.writable) target.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    },
    onClose: (callback) => void callbacks.push(callback),
    close: () => void target.end(),
  };
}

/** `GET /live?page=<name>` for each of `livePages`. */
export function serveLive(
  app: FastifyInstance,
  pages: Pages,
  watch: StationWatch,
  livePages: Readonly<Record<string, LivePage>>,
): { close(): void } {
  const streams = new Set<Stream>();
  // An endless answer has no head to ask for alone.
  const options = { exposeHeadRoute: false, config: { isData: true } };
  app.get<{ Querystring: Record<string, string> }>('/live', options, (request, reply) => {
    const { page: name = '' } = request.query;
    const parts = Object.hasOwn(livePages, name) ? livePages[name] : undefined;
    if (parts === undefined) throw new PageError(404, texts.errors.notFound);
    if (streams.size >= MOST_STREAMS) throw new PageError(503, texts.errors.tooLarge);
    const context = pages.contextOf(request);
    const stream = openStream(reply);
    streams.add(stream);
    const sendChanges = createChanges(stream, (picture) => parts(picture, context, request.query));
    const cancel = watch.follow(sendChanges);
    stream.onClose(() => {
      cancel();
      streams.delete(stream);
    });
  });
  return {
    close() {
      for (const stream of streams) stream.close();
    },
  };
}

/** Sends of each picture what differs from the one before. Of pictures that come while one is worked on, the last. */
function createChanges(
  stream: Stream,
  partsOf: (picture: StationPicture) => ReturnType<LivePage>,
): (picture: StationPicture) => void {
  const send = createPartSender(stream);
  let next: StationPicture | null = null;
  let working = false;
  const work = async (): Promise<void> => {
    working = true;
    for (let picture = next; picture !== null; picture = next) {
      next = null;
      try {
        send(await partsOf(picture));
        stream.send('levels', levelsOf(picture));
      } catch {
        // What was sent stays; the next picture comes within a second.
      }
    }
    working = false;
  };
  return (picture) => {
    next = picture;
    if (!working) void work();
  };
}

function createPartSender(stream: Stream): (parts: Fragment[] | null) => void {
  const sent = new Map<string, string>();
  let members = '';
  return (parts) => {
    if (parts === null) {
      stream.send('reload', null);
      return;
    }
    const cards = parts.filter(({ id }) => id.startsWith('microphone-'));
    const membersNow = cards.map(({ id }) => id).join(' ');
    for (const { id, element } of parts) {
      const html = renderToString(element);
      const isNew = sent.get(id) !== html;
      sent.set(id, html);
      // The list as a whole only when a card came or went; each card's changes go by themselves.
      if (isNew && (id !== 'microphones' || membersNow !== members)) stream.send('part', { id, html });
    }
    members = membersNow;
  };
}

/** By workspace. Levels in dBFS, `lastFile` a segment's name. */
function levelsOf(picture: StationPicture): Record<string, unknown> {
  const levels = picture.devices.flatMap(({ row, status }) => {
    if (row.phase !== 'recording' || status?.kind !== 'read') return [];
    const { levels: channels, silent, lastSegment } = status.value;
    const peaks = channels.map(({ rmsDbfs, clipped }) => ({ dbfs: Math.round(rmsDbfs * 10) / 10, clipped }));
    return [[row.workspace, { channels: peaks, silent, lastFile: lastSegment?.name ?? null }] as const];
  });
  return Object.fromEntries(levels);
}
