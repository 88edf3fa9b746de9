/** The pages about the station itself put together: profiles, services, events, logs, settings, about. */
import { serveAbout } from './about-routes.ts';
import { serveEvents } from './event-routes.ts';
import type { LivePage } from './live.ts';
import { serveLogs } from './log-routes.ts';
import { serveProfiles } from './profile-routes.ts';
import type { Page } from './server.ts';
import { serveServices } from './service-routes.ts';
import { type SettingsOptions, serveSettings } from './settings-routes.ts';

export interface StationPages {
  live: Readonly<Record<string, LivePage>>;
  close(): void;
}

export function serveStationPages(page: Page, options: SettingsOptions): StationPages {
  serveProfiles(page);
  serveSettings(page, options);
  const logs = serveLogs(page);
  return {
    live: { services: serveServices(page), events: serveEvents(page), logs: logs.parts, about: serveAbout(page) },
    close: logs.close,
  };
}
