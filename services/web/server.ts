/** The page put together: Fastify, its checks, and every route. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import helmet from '@fastify/helmet';
import staticFiles from '@fastify/static';
import fastify, { type FastifyInstance, type RouteOptions } from 'fastify';
import { errorText } from '../shared/log.ts';
import { createAttempts } from './attempts.ts';
import { packAnswers } from './compression.ts';
import { serveDashboard } from './dashboard-routes.ts';
import { serveHealth } from './health-routes.ts';
import { serveListening } from './listening.ts';
import { serveLive } from './live.ts';
import { serveMicrophonePage } from './microphone-page.ts';
import { serveMicrophones } from './microphone-routes.ts';
import { createOwner } from './owner.ts';
import { dashboardFragments } from './pages/dashboard.tsx';
import { MessagePage } from './pages/message.tsx';
import type { PagePorts, PageSettings } from './ports.ts';
import { serveRecordings } from './recordings-routes.ts';
import { createPages, describeFailure, guardRequests, type Pages } from './requests.ts';
import { createSetupCode } from './setup-code.ts';
import { serveSignIn } from './sign-in-routes.ts';
import { serveStationPages } from './station-pages.ts';
import { createStationWatch, type StationWatch } from './station-watch.ts';
import { createStatusFiles, type StatusFiles } from './status-files.ts';

export interface WebServer {
  port: number;
  /** The code for the first visit; null: the station has an owner, or the database does not say. */
  setupCode(): Promise<string | null>;
  /** All that is answered, and who is: everybody, or whoever is signed in. */
  routes: readonly { method: string; path: string; isPublic: boolean }[];
  close(): Promise<void>;
}

/** What every group of routes gets. */
export interface Page {
  app: FastifyInstance;
  ports: PagePorts;
  settings: PageSettings;
  pages: Pages;
  watch: StationWatch;
  files: StatusFiles;
}

/** A form of ours is far smaller. Bytes. */
const MOST_BODY_BYTES = 256 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
/** For answers under way when the page is stopped. */
const GOODBYE_MS = 1000;

/** Throws a sentence when the port cannot be opened. */
export async function startWeb(
  ports: PagePorts,
  settings: PageSettings,
  { port, host }: { port: number; host: string },
): Promise<WebServer> {
  const app = fastify({
    bodyLimit: MOST_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: 300 },
  });
  const files = createStatusFiles(settings, ports.clock);
  const watch = createStationWatch(ports, files);
  const owner = createOwner(ports.database, ports.clock);
  const attempts = createAttempts(ports.clock);
  const setupCode = createSetupCode(settings.webWorkspace);
  const pages = createPages({
    stationName: () => watch.last()?.settings.name ?? '',
    assetsVersion: assetsVersion(settings.assetsFolder),
  });
  const page: Page = { app, ports, settings, pages, watch, files };

  const routesOf = collectRoutes(app);
  await registerPlugins(app, settings);
  guardRequests(app, owner, pages);
  packAnswers(app);
  tellErrors(page);
  serveHealth(app, settings.version);
  serveSignIn(app, { pages, owner, setupCode, attempts, log: ports.log });
  serveDashboard(page);
  serveMicrophones(app, { ports, pages });
  const listening = serveListening(page);
  const recordings = serveRecordings(page);
  const stationPages = serveStationPages(page, { owner, attempts });
  const live = serveLive(app, pages, watch, {
    dashboard: (picture, context) => dashboardFragments({ picture, context }),
    microphone: serveMicrophonePage(page, { listening, recordings }),
    ...stationPages.live,
  });
  await listen(app, port, host);
  const address = app.server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    setupCode: async () => ((await owner.exists()) ? null : await setupCode.read()),
    routes: routesOf(),
    async close() {
      live.close();
      stationPages.close();
      listening.close();
      watch.stop();
      await closeWithin(app, ports.clock);
    },
  };
}

/** Of those that are registered from now on. */
function collectRoutes(app: FastifyInstance): () => WebServer['routes'] {
  const found: RouteOptions[] = [];
  app.addHook('onRoute', (route) => void found.push(route));
  return () =>
    found.flatMap(({ method, url, config }) =>
      [method].flat().map((one) => ({ method: one, path: url, isPublic: config?.isPublic === true })),
    );
}

async function registerPlugins(app: FastifyInstance, settings: PageSettings): Promise<void> {
  await app.register(cookie);
  await app.register(formbody, { bodyLimit: MOST_BODY_BYTES });
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'"],
        mediaSrc: ["'self'"],
        connectSrc: ["'self'"],
        formAction: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    // A station on a LAN speaks plain HTTP; a promise of HTTPS would lock its owner out.
    strictTransportSecurity: false,
    originAgentCluster: false,
    crossOriginOpenerPolicy: false,
    referrerPolicy: { policy: 'same-origin' },
  });
  await app.register(async (assets) => {
    assets.addHook('onRoute', (route) => {
      route.config = { ...route.config, isPublic: true, isData: true };
    });
    await assets.register(staticFiles, {
      root: settings.assetsFolder,
      prefix: '/assets/',
      index: false,
      decorateReply: false,
      cacheControl: false,
      setHeaders: (reply) => void reply.header('cache-control', 'public, max-age=31536000, immutable'),
    });
  });
}

function tellErrors({ app, ports, pages }: Page): void {
  app.setErrorHandler((error, request, reply) => {
    const failure = describeFailure(error);
    if (failure.isOurs) ports.log('error', `${request.method} ${request.routeOptions.url ?? '?'}: ${errorText(error)}`);
    if (request.routeOptions.config.isData)
      return reply.code(failure.statusCode).type('text/plain').send(failure.message);
    const page = MessagePage({ context: pages.contextOf(request), message: failure.message, hint: failure.hint });
    return pages.show(request, reply, page, failure.statusCode);
  });
}

async function listen(app: FastifyInstance, port: number, host: string): Promise<void> {
  try {
    await app.listen({ port, host });
  } catch (error) {
    await app.close();
    const code = error instanceof Error ? Reflect.get(error, 'code') : null;
    const why = {
      EADDRINUSE: `is taken by another program: stop it, or set SILVASONIC_WEB_PORT to a free port`,
      EACCES: `may not be opened by this user: set SILVASONIC_WEB_PORT to a port of 1024 or more`,
      EADDRNOTAVAIL: `cannot be opened, as this machine has no such address: set SILVASONIC_WEB_BIND to one that it has`,
    }[String(code)];
    throw new Error(`Port ${port} on ${host} ${why ?? `cannot be opened (${errorText(error)})`}.`, { cause: error });
  }
}

/** A phone that went out of reach takes neither its answer nor its leave: whoever stops a station does not wait for it. */
async function closeWithin(app: FastifyInstance, clock: PagePorts['clock']): Promise<void> {
  const cancel = clock.timer(GOODBYE_MS, () => app.server.closeAllConnections());
  await app.close().finally(cancel);
}

/** Changes when a file does. */
function assetsVersion(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(join(folder, name)));
  return hash.digest('hex').slice(0, 8);
}
