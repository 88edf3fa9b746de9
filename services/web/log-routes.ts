/**
 * Log lines as they come, by server-sent events, and only while somebody looks: the controller reads no container's log
 * for nobody.
 */
import type { LogLine } from '../shared/contract.ts';
import { type LivePage, openStream, type Stream } from './live.ts';
import { LogsPage, logFragments } from './pages/logs.tsx';
import { PageError } from './requests.ts';
import type { Page } from './server.ts';
import { texts } from './texts.ts';

const MOST_STREAMS = 10;
/** Lines are sent together: a browser paints once, and a phone's radio wakes once. */
const GATHER_MS = 250;
/** Beyond this in one go, the oldest are left out; how many is said. */
const MOST_AT_ONCE = 500;

export interface Logs {
  parts: LivePage;
  close(): void;
}

export function serveLogs({ app, ports, pages, watch }: Page): Logs {
  const streams = new Set<Stream>();

  app.get('/logs', async (request, reply) => {
    const picture = await watch.look();
    return pages.show(request, reply, LogsPage({ picture, context: pages.contextOf(request) }));
  });

  // An endless answer has no head to ask for alone.
  app.get('/logs/live', { exposeHeadRoute: false, config: { isData: true } }, (_request, reply) => {
    if (streams.size >= MOST_STREAMS) throw new PageError(503, texts.logs.tooMany);
    const stream = openStream(reply);
    streams.add(stream);
    let waiting: LogLine[] = [];
    let left = 0;
    const cancelLines = ports.bus.onLog((line) => {
      waiting.push(line);
      if (waiting.length <= MOST_AT_ONCE) return;
      waiting.shift();
      left += 1;
    });
    const timer = setInterval(() => {
      if (waiting.length === 0) return;
      const lines = waiting.map(({ instance, at, stream: from, text }) => ({ instance, at, from, text }));
      const notice = { instance: 'web', at: ports.clock.wallMs(), from: 'stderr', text: texts.logs.leftOut(left) };
      stream.send('lines', { lines: left > 0 ? [notice, ...lines] : lines });
      waiting = [];
      left = 0;
    }, GATHER_MS);
    stream.onClose(() => {
      clearInterval(timer);
      cancelLines();
      streams.delete(stream);
    });
  });

  return {
    parts: (picture) => logFragments(picture),
    close() {
      for (const stream of streams) stream.close();
    },
  };
}
