/** The pages about the station itself put together: services, events, logs. */
import { serveEvents } from './event-routes.ts';
import type { LivePage } from './live.ts';
import { serveLogs } from './log-routes.ts';
import type { Page } from './server.ts';
import { serveServices } from './service-routes.ts';

export interface StationPages {
  live: Readonly<Record<string, LivePage>>;
  close(): void;
}

export function serveStationPages(page: Page): StationPages {
  const logs = serveLogs(page);
  return {
    live: { services: serveServices(page), events: serveEvents(page), logs: logs.parts },
    close: logs.close,
  };
}
