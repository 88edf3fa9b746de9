/** One microphone's page, its live parts, and the form of its settings. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isWorkspaceName } from '../shared/contract.ts';
import { countFlaps } from './device-queries.ts';
import { meantFields } from './form-text.ts';
import type { Listening } from './listening.ts';
import type { LivePage } from './live.ts';
import { createChange, type DeviceRoute, findDevice } from './microphone-routes.ts';
import { interruptsRecording, readSettingsForm, type SettingsForm, settingsForm } from './microphone-settings.ts';
import type { PageContext } from './pages/layout.tsx';
import { MicrophonePage } from './pages/microphone.tsx';
import { deviceName } from './pages/microphone-card.tsx';
import { type MicrophoneView, microphoneFragments } from './pages/microphone-state.tsx';
import { RecordingsSection } from './pages/recordings.tsx';
import type { PagePorts } from './ports.ts';
import type { Recordings } from './recordings-routes.ts';
import { fieldsOf } from './requests.ts';
import type { Page } from './server.ts';
import type { StationPicture } from './station-picture.ts';
import { type EventRow, readEvents } from './station-queries.ts';
import { texts } from './texts.ts';

const EVENTS_SHOWN = 12;

/** Serves the page; what comes back are its live parts. */
export function serveMicrophonePage(
  page: Page,
  { listening, recordings }: { listening: Listening; recordings: Recordings },
): LivePage {
  const { app, ports, pages, watch } = page;
  const historyOf = createHistories(ports);
  const change = createChange(page);

  const viewOf = async (
    picture: StationPicture,
    workspace: string,
    context: PageContext,
  ): Promise<MicrophoneView | null> => {
    const device = picture.devices.find(({ row }) => row.workspace === workspace);
    if (device === undefined) return null;
    const history = await historyOf(picture, device.row.id);
    return {
      picture,
      device,
      profiles: picture.profiles,
      ...history,
      listeners: listening.of(workspace),
      mayListen: picture.settings.liveListening,
      context,
    };
  };

  const show = async (
    request: FastifyRequest<DeviceRoute>,
    reply: FastifyReply,
    form?: SettingsForm,
  ): Promise<FastifyReply> => {
    const row = await findDevice(ports, request.params.workspace);
    const view = await viewOf(await watch.look(), row.workspace, pages.contextOf(request));
    if (view === null) {
      reply.callNotFound();
      return reply;
    }
    const props = {
      view,
      form: form ?? settingsForm(row),
      recordings: RecordingsSection({ workspace: row.workspace, days: await recordings.newestDays(row.workspace) }),
    };
    return pages.show(request, reply, MicrophonePage(props), form === undefined ? 200 : 422);
  };

  app.get<DeviceRoute>('/microphones/:workspace', (request, reply) => show(request, reply));

  app.post<DeviceRoute>('/microphones/:workspace/settings', async (request, reply) => {
    const fields = fieldsOf(request);
    if (fields.reset === 'yes')
      return await change(request, reply, (row) => withQuestion(row, { settings: {} }, 'asProfile'));
    const { profiles } = await watch.look();
    const slugs = profiles.map(({ slug }) => slug);
    const stored = settingsForm(await findDevice(ports, request.params.workspace)).values;
    const read = readSettingsForm(meantFields(fields, stored), slugs);
    if (!read.ok) return await show(request, reply, read.form);
    return await change(request, reply, (row) => withQuestion(row, read.wish, 'saved'));
  });

  return async (picture, context, { workspace = '' }) => {
    if (!isWorkspaceName(workspace)) return null;
    const view = await viewOf(picture, workspace, context);
    return view === null ? null : microphoneFragments(view);
  };
}

function withQuestion(
  row: Parameters<Parameters<ReturnType<typeof createChange>>[2]>[0],
  wish: Parameters<typeof interruptsRecording>[1],
  told: 'saved' | 'asProfile',
) {
  const name = deviceName(row);
  const question = { submit: texts.confirm.change(name), cost: texts.confirm.costsRecording(name) };
  return { wish, told, ...(interruptsRecording(row, wish) && { interrupts: question }) };
}

interface History {
  events: readonly EventRow[];
  flaps: number;
}

/** What the database says of one device's past: read again when the station's rows were, and for all who look at once. */
function createHistories({ database }: PagePorts): (picture: StationPicture, id: string) => Promise<History> {
  const readings = new WeakMap<readonly EventRow[], Map<string, Promise<History>>>();
  const last = new Map<string, History>();
  const read = async (id: string): Promise<History> => {
    const filter = { subject: `recorder:${id}`, type: null, before: null, limit: EVENTS_SHOWN };
    try {
      const [events, flaps] = await Promise.all([readEvents(database, filter), countFlaps(database, id)]);
      last.set(id, { events, flaps });
    } catch (error) {
      // What it said last stays on the page, which tells that the database is away.
      if (!last.has(id)) throw error;
    }
    return last.get(id) ?? { events: [], flaps: 0 };
  };
  return (picture, id) => {
    const known = readings.get(picture.events) ?? new Map<string, Promise<History>>();
    readings.set(picture.events, known);
    const reading = known.get(id) ?? read(id);
    known.set(id, reading);
    return reading;
  };
}
