/** Services of the catalogue: what they are, how they fare, on and off, their settings. Each change is one of its row, and a nudge. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { newRestartToken } from './device-queries.ts';
import { meantFields } from './form-text.ts';
import type { LivePage } from './live.ts';
import { ServicesPage, serviceFragments } from './pages/services.tsx';
import { fieldsOf, PageError } from './requests.ts';
import type { Page } from './server.ts';
import { readService, type ServiceWish, writeService } from './service-queries.ts';
import { readServiceForm, type ServiceForm, serviceForm } from './service-settings.ts';
import type { ServiceRow } from './station-queries.ts';
import { texts } from './texts.ts';

interface ServiceRoute {
  Params: { name: string };
}

/** Serves the page; what comes back are its live parts. */
export function serveServices({ app, ports, pages, watch, settings: { catalogue } }: Page): LivePage {
  const show = async (
    request: FastifyRequest,
    reply: FastifyReply,
    wrong?: { name: string; form: ServiceForm },
  ): Promise<FastifyReply> => {
    const picture = await watch.look();
    const props = { picture, catalogue, context: pages.contextOf(request), host: request.hostname, wrong };
    return pages.show(request, reply, ServicesPage(props), wrong === undefined ? 200 : 422);
  };

  const change = async (
    reply: FastifyReply,
    { name, wish, to, told }: { name: string; wish: ServiceWish; to: string; told: keyof typeof texts.told },
  ): Promise<FastifyReply> => {
    if (!(await writeService(ports.database, name, wish))) throw new PageError(404, texts.services.none);
    await ports.bus.nudge();
    return pages.goTo(reply, to, told);
  };

  app.get('/services', (request, reply) => show(request, reply));

  app.post<ServiceRoute>('/services/:name/enabled', async (request, reply) => {
    const fields = fieldsOf(request);
    const enabled = fields.enabled === 'yes';
    const { name } = await existing(request.params.name);
    const to = fields.from === 'page' ? `/services#${name}` : '/';
    return await change(reply, { name, wish: { enabled }, to, told: enabled ? 'switchedOn' : 'switchedOff' });
  });

  app.post<ServiceRoute>('/services/:name/restart', async (request, reply) => {
    const { name } = await existing(request.params.name);
    const to = `/services#${name}`;
    return await change(reply, { name, wish: { restartToken: newRestartToken() }, to, told: 'restarted' });
  });

  app.post<ServiceRoute>('/services/:name/settings', async (request, reply) => {
    const { name, settings } = await existing(request.params.name);
    const fields = fieldsOf(request);
    const entry = catalogue.find((one) => one.name === name);
    const to = `/services#${name}`;
    if (fields.reset === 'yes') return await change(reply, { name, wish: { settings: {} }, to, told: 'reset' });
    if (entry === undefined) throw new PageError(409, texts.services.notInCatalogue(name));
    const stored = Object.fromEntries(serviceForm(entry, settings).values);
    const read = readServiceForm(entry, meantFields(fields, stored));
    if (!read.ok) return await show(request, reply, { name, form: read.form });
    return await change(reply, { name, wish: { settings: read.settings }, to, told: 'saved' });
  });

  /** With the name as the database has it: only such a one may stand in an address that we send. PostgreSQL takes no NUL. */
  const existing = async (given: string): Promise<ServiceRow> => {
    const row = given.length > 60 || given.includes('\0') ? null : await readService(ports.database, given);
    if (row === null) throw new PageError(404, texts.services.none);
    return row;
  };

  return (picture, context) => serviceFragments({ picture, catalogue, context });
}
