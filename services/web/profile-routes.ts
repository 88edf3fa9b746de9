/** Profiles: list, view, duplicate, create, edit, reset, remove. What would interrupt a recording is asked first. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { profileSlugSchema, type SeedProfile } from '../shared/profile.ts';
import { meantFields } from './form-text.ts';
import { ConfirmPage } from './pages/message.tsx';
import { deviceName } from './pages/microphone-card.tsx';
import { ProfilePage } from './pages/profile.tsx';
import { ProfileFormPage } from './pages/profile-form.tsx';
import { ProfilesPage } from './pages/profiles.tsx';
import { type ProfileForm, profileForm, readProfileForm, slugOf } from './profile-form.ts';
import { interruptedBy } from './profile-impact.ts';
import { createProfile, readStoredConfig, removeProfile, writeProfile } from './profile-queries.ts';
import { fieldsOf, PageError } from './requests.ts';
import type { Page } from './server.ts';
import type { StationPicture } from './station-picture.ts';
import type { ProfileRow } from './station-queries.ts';
import { texts } from './texts.ts';

interface ProfileRoute {
  Params: { slug: string };
}

interface Found {
  picture: StationPicture;
  profile: ProfileRow;
}

/** The page of a new profile; no slug can be like this one. */
const NEW = '/profiles-new';

export function serveProfiles(page: Page): void {
  const { app, pages, watch, settings } = page;

  app.get('/profiles', async (request, reply) => {
    const props = { picture: await watch.look(), seeds: settings.seedProfiles };
    return pages.show(request, reply, ProfilesPage({ ...props, context: pages.contextOf(request) }));
  });

  app.get<ProfileRoute>('/profiles/:slug', async (request, reply) => {
    const { picture, profile } = await find(page, request.params.slug);
    const props = { picture, profile, seed: settings.seedProfiles.get(profile.slug) };
    return pages.show(request, reply, ProfilePage({ ...props, context: pages.contextOf(request) }));
  });

  serveNew(page);
  serveEdit(page);
  serveReset(page);
  serveRemove(page);
}

function serveNew({ app, ports, pages, watch }: Page): void {
  const show = (request: FastifyRequest, reply: FastifyReply, form: ProfileForm, statusCode: number): FastifyReply => {
    const props = { form, slug: null, users: [], isReadable: true, context: pages.contextOf(request) };
    return pages.show(request, reply, ProfileFormPage(props), statusCode);
  };

  app.get<{ Querystring: { from?: string } }>(NEW, async (request, reply) => {
    const { profiles } = await watch.look();
    const from = profiles.find(({ slug }) => slug === request.query.from);
    return show(request, reply, from === undefined ? emptyForm() : copyOf(from, profiles), 200);
  });

  app.post(NEW, async (request, reply) => {
    const fields = fieldsOf(request);
    const read = readProfileForm(fields);
    if (!read.ok) return show(request, reply, read.form, 422);
    const { profile } = read;
    if (await createProfile(ports.database, profile)) {
      await ports.bus.nudge();
      return pages.goTo(reply, `/profiles/${profile.slug}`, 'saved');
    }
    const { values } = profileForm(profile);
    const problems = new Map([['slug', texts.profiles.slugTaken(profile.slug)]]);
    return show(request, reply, { values, problems }, 422);
  });
}

function serveEdit(page: Page): void {
  const { app, ports, pages } = page;
  const show = (
    request: FastifyRequest,
    reply: FastifyReply,
    { picture, profile }: Found,
    { form, stored }: { form: ProfileForm; stored: ProfileForm },
    statusCode: number,
  ): FastifyReply => {
    const users = picture.devices.filter(({ row }) => row.profileSlug === profile.slug);
    const isReadable = profile.config !== null;
    const shown = { form, stored: stored.values, slug: profile.slug, users, isReadable };
    const props = { ...shown, context: pages.contextOf(request) };
    return pages.show(request, reply, ProfileFormPage(props), statusCode);
  };

  const storedForm = async ({ profile }: Found): Promise<ProfileForm> => {
    const stored = await readStoredConfig(ports.database, profile.slug);
    return profileForm({ ...profile, config: stored?.config });
  };

  app.get<ProfileRoute>('/profiles/:slug/edit', async (request, reply) => {
    const found = await find(page, request.params.slug);
    const stored = await storedForm(found);
    return show(request, reply, found, { form: stored, stored }, 200);
  });

  app.post<ProfileRoute>('/profiles/:slug/edit', async (request, reply) => {
    const found = await find(page, request.params.slug);
    // Recordings name it by its slug, so that stays.
    const stored = await storedForm(found);
    const meant = meantFields(fieldsOf(request), stored.values);
    const read = readProfileForm({ ...meant, slug: found.profile.slug });
    if (!read.ok) return show(request, reply, found, { form: read.form, stored }, 422);
    return await write(page, request, reply, found, { profile: read.profile, told: 'saved' });
  });
}

function serveReset(page: Page): void {
  page.app.post<ProfileRoute>('/profiles/:slug/reset', async (request, reply) => {
    const found = await find(page, request.params.slug);
    const seed = page.settings.seedProfiles.get(found.profile.slug);
    if (seed === undefined || !found.profile.isSystem) throw new PageError(409, texts.profiles.noSeed);
    return await write(page, request, reply, found, { profile: seed, told: 'reset' });
  });
}

function serveRemove({ app, ports, pages }: Page): void {
  app.post<ProfileRoute>('/profiles/:slug/delete', async (request, reply) => {
    const { slug } = request.params;
    if (!isSlug(slug) || !(await removeProfile(ports.database, slug))) throw noSuchProfile();
    await ports.bus.nudge();
    return pages.goTo(reply, '/profiles', 'removed');
  });
}

/** Asks first where a recording would be interrupted. */
async function write(
  { ports, pages, settings }: Page,
  request: FastifyRequest,
  reply: FastifyReply,
  { picture, profile: before }: Found,
  { profile, told }: { profile: SeedProfile; told: 'saved' | 'reset' },
): Promise<FastifyReply> {
  const { token: _token, confirmed, ...fields } = fieldsOf(request);
  const address = `/profiles/${before.slug}`;
  const cost = interruptedBy(picture.devices, before, profile.config, settings.seedProfiles.get(before.slug));
  if (cost.length > 0 && confirmed !== 'yes') {
    const page = ConfirmPage({
      context: pages.contextOf(request),
      action: `${address}/${told === 'saved' ? 'edit' : 'reset'}`,
      fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value ?? ''])),
      submit: told === 'saved' ? texts.profiles.confirmSave(before.name) : texts.profiles.confirmReset(before.name),
      cost: texts.profiles.cost(cost.map(({ row }) => deviceName(row))),
      backTo: address,
    });
    return pages.show(request, reply, page);
  }
  if (!(await writeProfile(ports.database, profile))) throw noSuchProfile();
  await ports.bus.nudge();
  return pages.goTo(reply, address, told);
}

async function find({ watch }: Page, slug: string): Promise<Found> {
  const picture = isSlug(slug) ? await watch.look() : null;
  const profile = picture?.profiles.find((one) => one.slug === slug);
  if (picture === null || profile === undefined) throw noSuchProfile();
  return { picture, profile };
}

function isSlug(slug: string): boolean {
  return profileSlugSchema.safeParse(slug).success;
}

function noSuchProfile(): PageError {
  return new PageError(404, texts.errors.notFound, texts.errors.notFoundHint);
}

function emptyForm(): ProfileForm {
  const config = { audio: { rate: 'native', channels: 'native', format: 'native' } };
  const { values } = profileForm({ slug: '', name: '', description: '', manufacturer: '', model: '', config });
  return { values, problems: new Map() };
}

/** It recognises nothing until somebody says what: two that match the same are ambiguous. */
function copyOf(from: ProfileRow, profiles: readonly ProfileRow[]): ProfileForm {
  const name = texts.profiles.copyOf(from.name).slice(0, 100);
  const wanted = slugOf(name).slice(0, 55);
  const isTaken = (slug: string) => profiles.some((one) => one.slug === slug);
  const numbered = Array.from({ length: profiles.length + 1 }, (_, index) => `${wanted}-${index + 2}`);
  const slug = [wanted, ...numbered].find((one) => !isTaken(one)) ?? wanted;
  const config = from.config === null ? {} : { ...from.config, match: { priority: from.config.match.priority } };
  const { values } = profileForm({ ...from, slug, name, config });
  return { values, problems: new Map() };
}
