/** The station's own settings: its name and place, how it behaves, whom it tells what, its password, who is signed in. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CONFIG_KEY } from '../shared/schema.ts';
import type { Attempts } from './attempts.ts';
import { DatabaseAway } from './database.ts';
import { newRestartToken } from './device-queries.ts';
import { meantFields } from './form-text.ts';
import { digestOf, type Owner } from './owner.ts';
import { ConfirmPage } from './pages/message.tsx';
import { deviceName } from './pages/microphone-card.tsx';
import { type SettingsForms, SettingsPage } from './pages/settings.tsx';
import { fieldsOf, PageError } from './requests.ts';
import type { Page } from './server.ts';
import { readBrowsers } from './session-queries.ts';
import {
  limitsForm,
  placeForm,
  readAlertsForm,
  readPlaceForm,
  readSwitchesForm,
  storedAlerts,
  switchesForm,
} from './settings-form.ts';
import { newPasswordProblems, tryOnce } from './sign-in-routes.ts';
import type { StationPicture } from './station-picture.ts';
import { writeStationSettings } from './station-queries.ts';
import { texts } from './texts.ts';

export interface SettingsOptions {
  owner: Owner;
  attempts: Attempts;
}

type Show = (request: FastifyRequest, reply: FastifyReply, wrong?: Partial<SettingsForms>) => Promise<FastifyReply>;
type Save = (
  reply: FastifyReply,
  changes: Record<string, unknown>,
  to: string,
  told?: keyof typeof texts.told,
) => Promise<FastifyReply>;

export function serveSettings(page: Page, options: SettingsOptions): void {
  const { app, ports, pages, watch, settings } = page;

  const show: Show = async (request, reply, wrong) => {
    const [picture, browsers] = await Promise.all([watch.look(), readBrowsers(ports.database)]);
    const current = request.session === null ? '' : digestOf(request.session);
    const props = { picture, browsers, current, catalogue: settings.catalogue, wrong: wrong ?? {} };
    const shown = SettingsPage({ ...props, context: pages.contextOf(request) });
    return pages.show(request, reply, shown, wrong === undefined ? 200 : 422);
  };

  const save: Save = async (reply, changes, to, told = 'saved') => {
    await writeStationSettings(ports.database, changes);
    await ports.bus.nudge();
    return pages.goTo(reply, `/settings${to}`, told);
  };

  app.get('/settings', (request, reply) => show(request, reply));

  app.post('/settings/place', async (request, reply) => {
    const fields = meantFields(fieldsOf(request), placeForm((await lookFreshly(page)).settings));
    const read = readPlaceForm(fields);
    if (!read.ok) return await show(request, reply, { place: { fields, problems: read.problems } });
    return await save(reply, read.changes, '');
  });

  serveSwitches(page, save);
  serveAlerts(page, show, save);
  servePassword(page, options, show);
}

function serveSwitches(page: Page, save: Save): void {
  const { app, pages } = page;
  app.post('/settings/switches', async (request, reply) => {
    const fields = fieldsOf(request);
    const { devices, settings } = await lookFreshly(page);
    const changes = readSwitchesForm(meantFields(fields, switchesForm(settings)));
    const waiting = devices.filter(({ row, updateWaiting }) => updateWaiting && row.phase === 'recording');
    const begins = changes[CONFIG_KEY.autoUpdate] === true && !settings.autoUpdate && waiting.length > 0;
    if (!begins || fields.confirmed === 'yes') return await save(reply, changes, '#switches');
    const { token: _token, ...kept } = fields;
    const question = ConfirmPage({
      context: pages.contextOf(request),
      action: request.url,
      fields: Object.fromEntries(Object.entries(kept).map(([name, value]) => [name, value ?? ''])),
      submit: texts.settings.confirmAutoUpdate,
      cost: texts.settings.autoUpdateCost(waiting.map(({ row }) => deviceName(row))),
      backTo: '/settings#switches',
    });
    return pages.show(request, reply, question);
  });
}

/** What a form is put together with must be what is stored now: of a database that is away, older rows would come back. */
async function lookFreshly({ watch }: Page): Promise<StationPicture> {
  const picture = await watch.look();
  if (picture.databaseProblem !== null) throw new DatabaseAway(picture.databaseProblem);
  return picture;
}

function serveAlerts(page: Page, show: Show, save: Save): void {
  const { app } = page;
  app.post('/settings/alerts', async (request, reply) => {
    const { alerts: stored } = storedAlerts((await lookFreshly(page)).settings.alerts);
    const fields = meantFields(fieldsOf(request), limitsForm(stored));
    const read = readAlertsForm(fields, stored);
    if (!read.ok) return await show(request, reply, { alerts: { fields, problems: read.problems } });
    return await save(reply, { [CONFIG_KEY.alerts]: read.alerts }, '#alerts');
  });

  app.post('/settings/alerts/test', async (_request, reply) => {
    const { alerts } = storedAlerts((await lookFreshly(page)).settings.alerts);
    if (alerts.ntfyUrl === null && alerts.webhookUrl === null) throw new PageError(409, texts.settings.testNobody);
    const changes = { [CONFIG_KEY.alerts]: { ...alerts, testToken: newRestartToken() } };
    return await save(reply, changes, '#alerts', 'testAsked');
  });
}

function servePassword({ app, ports, pages }: Page, { owner, attempts }: SettingsOptions, show: Show): void {
  app.post('/settings/password', async (request, reply) => {
    const { old = '', password = '', repeat = '' } = fieldsOf(request);
    const problems: SettingsForms['password'] = newPasswordProblems(password, repeat);
    if (!(await tryOnce(attempts, request, () => owner.check(old)))) {
      ports.log('warn', `A wrong password was given from ${request.ip}, to set a new one.`);
      problems.old = texts.signIn.wrong;
    }
    if (Object.keys(problems).length > 0) return await show(request, reply, { password: problems });
    await owner.changePassword(password, request.session ?? '');
    ports.log('info', 'The password was changed.');
    return pages.goTo(reply, '/settings#password-form', 'passwordChanged');
  });

  app.post('/settings/browsers', async (request, reply) => {
    await owner.signOutOthers(request.session ?? '');
    return pages.goTo(reply, '/settings#browsers', 'othersSignedOut');
  });
}
