/** What a person does with a microphone. Each is a change of its row and a nudge; the controller does the rest. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isWorkspaceName } from '../shared/contract.ts';
import { profileSlugSchema } from '../shared/profile.ts';
import { type DeviceWish, forgetDevice, newRestartToken, writeDevice } from './device-queries.ts';
import { ConfirmPage } from './pages/message.tsx';
import { deviceName } from './pages/microphone-card.tsx';
import type { PagePorts } from './ports.ts';
import { fieldsOf, PageError, type Pages } from './requests.ts';
import { type DeviceRow, readDevice } from './station-queries.ts';
import { texts } from './texts.ts';

export interface MicrophoneOptions {
  ports: PagePorts;
  pages: Pages;
}

export interface DeviceRoute {
  Params: { workspace: string };
}

export interface Change {
  wish: DeviceWish;
  told: keyof typeof texts.told;
  /** Ends or interrupts a recording: asked first. */
  interrupts?: { submit: string; cost: string };
  /** Where to go afterwards; the microphone's page unless said otherwise. */
  to?: string;
}

export function serveMicrophones(app: FastifyInstance, options: MicrophoneOptions): void {
  const change = createChange(options);

  app.post<DeviceRoute>('/microphones/:workspace/enabled', (request, reply) =>
    change(request, reply, (row) => {
      const fields = fieldsOf(request);
      const enabled = fields.enabled === 'yes';
      const name = deviceName(row);
      return {
        wish: { enabled },
        told: enabled ? 'switchedOn' : 'switchedOff',
        ...(fields.from !== 'page' && { to: '/' }),
        ...(!enabled && {
          interrupts: { submit: texts.confirm.switchOff(name), cost: texts.confirm.endsRecording(name) },
        }),
      };
    }),
  );

  app.post<DeviceRoute>('/microphones/:workspace/enrolment', (request, reply) =>
    change(request, reply, (row) => enrolment(row, fieldsOf(request))),
  );

  app.post<DeviceRoute>('/microphones/:workspace/restart', (request, reply) =>
    change(request, reply, (row) => {
      const name = deviceName(row);
      const submit = fieldsOf(request).why === 'update' ? texts.confirm.applyNow(name) : texts.confirm.restart(name);
      return {
        wish: { restartToken: newRestartToken() },
        told: 'restarted',
        interrupts: { submit, cost: texts.confirm.costsRecording(name) },
      };
    }),
  );

  app.post<DeviceRoute>('/microphones/:workspace/forget', (request, reply) => forget(options, request, reply));
}

/** The database refuses it of a device that is plugged in. */
async function forget(
  { ports, pages }: MicrophoneOptions,
  request: FastifyRequest<DeviceRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const row = await findDevice(ports, request.params.workspace);
  if (row.status === 'online') throw new PageError(409, texts.microphonePage.forgetLater);
  if (fieldsOf(request).confirmed !== 'yes') {
    const page = ConfirmPage({
      context: pages.contextOf(request),
      action: request.url,
      fields: {},
      submit: texts.confirm.forget(deviceName(row)),
      cost: texts.confirm.forgetCost,
      backTo: `/microphones/${row.workspace}`,
    });
    return pages.show(request, reply, page);
  }
  if (!(await forgetDevice(ports.database, row.id))) throw noSuchDevice();
  await ports.bus.nudge();
  return pages.goTo(reply, '/', 'forgotten');
}

function enrolment(row: DeviceRow, fields: Readonly<Record<string, string | undefined>>): Change {
  if (fields.decision === 'ignore') {
    const name = deviceName(row);
    return {
      wish: { enrollmentStatus: 'ignored' },
      told: 'ignored',
      to: '/',
      interrupts: { submit: texts.confirm.ignore(name), cost: texts.confirm.endsRecording(name) },
    };
  }
  const profile = profileSlugSchema.safeParse(fields.profile);
  if (fields.decision !== 'enroll' || !profile.success) throw new PageError(422, texts.errors.malformed);
  return { wish: { enrollmentStatus: 'enrolled', profileSlug: profile.data }, told: 'enrolled', to: '/' };
}

/** Finds the device, asks first where it records, writes, nudges. */
export function createChange({ ports, pages }: MicrophoneOptions) {
  return async (
    request: FastifyRequest<DeviceRoute>,
    reply: FastifyReply,
    decide: (row: DeviceRow) => Change,
  ): Promise<FastifyReply> => {
    const row = await findDevice(ports, request.params.workspace);
    const { wish, told, interrupts, to } = decide(row);
    const fields = fieldsOf(request);
    if (interrupts !== undefined && row.phase === 'recording' && fields.confirmed !== 'yes') {
      const page = ConfirmPage({
        context: pages.contextOf(request),
        action: request.url,
        fields: withoutOwn(fields),
        backTo: `/microphones/${row.workspace}`,
        ...interrupts,
      });
      return pages.show(request, reply, page);
    }
    if (!(await writeDevice(ports.database, row.id, wish))) throw noSuchDevice();
    await ports.bus.nudge();
    return pages.goTo(reply, to ?? `/microphones/${row.workspace}`, told);
  };
}

/** Throws a page's error when there is none. */
export async function findDevice(ports: PagePorts, workspace: string): Promise<DeviceRow> {
  const row = isWorkspaceName(workspace) ? await readDevice(ports.database, workspace) : null;
  if (row === null) throw noSuchDevice();
  return row;
}

function noSuchDevice(): PageError {
  return new PageError(404, texts.errors.notFound, texts.errors.notFoundHint);
}

function withoutOwn(fields: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(fields).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && entry[0] !== 'token' && entry[0] !== 'confirmed',
  );
  return Object.fromEntries(kept);
}
