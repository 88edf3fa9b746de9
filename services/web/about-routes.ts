/** What this station is and how each of its parts fares; and a bundle of all that for whoever helps. */

import { type DatabaseFacts, readDatabaseFacts } from './about-queries.ts';
import type { LivePage } from './live.ts';
import { AboutPage, aboutFragments } from './pages/about.tsx';
import type { Page } from './server.ts';
import { readEvents } from './station-queries.ts';
import { supportBundle } from './support-bundle.ts';

const MOST_EVENTS = 1000;

/** Serves the page; what comes back are its live parts. */
export function serveAbout({ app, ports, pages, watch, settings }: Page): LivePage {
  const own = () => ({
    version: settings.version,
    node: process.versions.node,
    uptimeSeconds: Math.floor(process.uptime()),
    memoryBytes: process.memoryUsage.rss(),
  });
  let known: DatabaseFacts | null = null;
  const askDatabase = async (): Promise<DatabaseFacts | null> => {
    try {
      known = await readDatabaseFacts(ports.database);
    } catch {
      // That it is away stands in the picture; what it said last is still shown.
    }
    return known;
  };

  app.get('/about', async (request, reply) => {
    const [picture, database] = await Promise.all([watch.look(), askDatabase()]);
    const nowMs = ports.clock.wallMs();
    const context = pages.contextOf(request);
    return pages.show(request, reply, AboutPage({ picture, database, page: own(), nowMs, context }));
  });

  app.get('/about/bundle', { config: { isData: true } }, async (_request, reply) => {
    const picture = await watch.look();
    const filter = { subject: null, type: null, before: null, limit: MOST_EVENTS };
    const [database, events] = await Promise.all([askDatabase(), readEvents(ports.database, filter)]);
    const at = new Date(ports.clock.wallMs());
    const bundle = supportBundle({ picture, events, database, page: own(), catalogue: settings.catalogue, at });
    const station = picture.settings.stationId?.slice(0, 8) ?? 'station';
    const name = `silvasonic-${station}-${at.toISOString().slice(0, 10)}.json`;
    return reply
      .header('content-disposition', `attachment; filename="${name}"`)
      .type('application/json; charset=utf-8')
      .send(`${JSON.stringify(bundle, null, 1)}\n`);
  });

  return (picture) => aboutFragments({ picture, database: known, page: own(), nowMs: ports.clock.wallMs() });
}
