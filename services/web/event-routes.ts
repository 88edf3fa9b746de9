/** What happened: by subject and type, page after page, the newest live. */
import { z } from 'zod';
import type { LivePage } from './live.ts';
import { EventsPage, type EventsQuery, eventFragments } from './pages/events.tsx';
import type { Page } from './server.ts';
import { type EventRow, readEvents } from './station-queries.ts';

const SHOWN = 50;
/** Later than anything that PostgreSQL can write as a date of JavaScript. */
const LATEST_MS = 8.64e15;

const querySchema = z.object({
  subject: z.string().max(300).optional().catch(undefined),
  type: z.enum(['normal', 'warning']).optional().catch(undefined),
  /** `<Unix milliseconds>-<id>` of the last event of the page before. */
  before: z
    .string()
    .regex(/^\d{1,16}-\d{1,15}$/)
    .optional()
    .catch(undefined),
});

/** Serves the page; what comes back are its live parts. */
export function serveEvents({ app, ports, pages, watch }: Page): LivePage {
  const read = async (query: EventsQuery): Promise<EventRow[]> =>
    await readEvents(ports.database, { ...query, limit: SHOWN + 1 });

  app.get('/events', async (request, reply) => {
    const query = queryOf(request.query);
    const [picture, found] = await Promise.all([watch.look(), read(query)]);
    const props = { picture, query, events: found.slice(0, SHOWN), hasMore: found.length > SHOWN };
    return pages.show(request, reply, EventsPage({ ...props, context: pages.contextOf(request) }));
  });

  /** Read again when the station's rows were, and once for all who look at the same. */
  const readings = new WeakMap<readonly EventRow[], Map<string, Promise<EventRow[]>>>();

  return async (picture, _context, given) => {
    const query = { ...queryOf(given), before: null };
    const known = readings.get(picture.events) ?? new Map<string, Promise<EventRow[]>>();
    readings.set(picture.events, known);
    const key = JSON.stringify(query);
    const reading = known.get(key) ?? read(query);
    known.set(key, reading);
    const found = await reading.catch((error: unknown) => {
      if (picture.databaseProblem === null) throw error;
      return null;
    });
    // What stands there stays; why it does not go on is told.
    if (found === null) return eventFragments({ picture, query, events: [], hasMore: false }).slice(0, 1);
    return eventFragments({ picture, query, events: found.slice(0, SHOWN), hasMore: found.length > SHOWN });
  };
}

function queryOf(given: unknown): EventsQuery {
  const { subject, type, before } = querySchema.parse(given ?? {});
  const [atMs, id] = (before ?? '').split('-').map(Number);
  const isPlace = atMs !== undefined && id !== undefined && atMs <= LATEST_MS;
  return {
    subject: subject === undefined || subject === '' ? null : subject.replaceAll('\0', ''),
    type: type ?? null,
    before: isPlace ? { atMs, id } : null,
  };
}
