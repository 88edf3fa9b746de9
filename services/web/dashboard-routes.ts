/** The first page. */
import { DashboardPage } from './pages/dashboard.tsx';
import type { Page } from './server.ts';

export function serveDashboard({ app, pages, watch }: Page): void {
  app.get('/', async (request, reply) => {
    const picture = await watch.look();
    return pages.show(request, reply, DashboardPage({ picture, context: pages.contextOf(request) }));
  });
}
