/** Recordings as pages and files. Every name is parsed, and each path built again from its parts. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  type DerivedEnding,
  formatDerivedName,
  formatSegmentName,
  isWorkspaceName,
  type Overview,
  parseDerivedName,
  parseSegmentName,
  type SegmentName,
  segmentDay,
} from '../shared/contract.ts';
import { type Folder, withFolder, withRoot } from '../shared/folders.ts';
import { isDayName, listWorkspaces, PROCESSED, RAW, segmentTitle } from '../shared/recordings.ts';
import type { DeviceRoute } from './microphone-routes.ts';
import { deviceName } from './pages/microphone-card.tsx';
import { AllPage, DayPage, DaysPage } from './pages/recordings.tsx';
import {
  type DayEntry,
  listDay,
  listDayNames,
  newestPicture,
  readOverview,
  readSound,
  withWorkspace,
} from './recordings.ts';
import { createDaySummaries, type DaySummaries, type DaySummary } from './recordings-days.ts';
import { type SoundFile, sendFile } from './recordings-files.ts';
import { PageError } from './requests.ts';
import type { Page } from './server.ts';
import { readDevice } from './station-queries.ts';
import { texts } from './texts.ts';

export interface Recordings {
  /** The newest days, for the microphone's own page. */
  newestDays(workspace: string): Promise<DaySummary[]>;
}

interface DaysRoute extends DeviceRoute {
  Querystring: { before?: unknown };
}
interface DayRoute {
  Params: { workspace: string; day: string };
  Querystring: { before?: unknown; hour?: unknown };
}
interface FileRoute {
  Params: { workspace: string; file: string };
  Querystring: { download?: unknown };
}

const DAYS_BESIDE = 7;
const DAYS_PER_PAGE = 31;
/** One after the other, each has a picture and a player. */
const ENTRIES_PER_PAGE = 48;
const SLOWER = 10;
const TYPES: Record<'wav' | DerivedEnding, string> = {
  wav: 'audio/wav',
  flac: 'audio/flac',
  png: 'image/png',
  json: 'application/json',
};

export function serveRecordings(page: Page): Recordings {
  const { app, settings } = page;
  const summaries = createDaySummaries();
  const within = <T>(workspace: string, work: (folder: Folder) => Promise<T>): Promise<T | null> =>
    withWorkspace(settings.recorderWorkspace, workspace, work);

  app.get<DaysRoute>('/microphones/:workspace/recordings', (request, reply) =>
    showDays(page, summaries, request, reply),
  );
  app.get<DayRoute>('/microphones/:workspace/recordings/:day', (request, reply) =>
    showDay(page, summaries, request, reply),
  );
  app.get('/recordings', (request, reply) => showAll(page, request, reply));
  serveFiles(app, within);

  return {
    newestDays: async (workspace) =>
      (await within(workspace, async (folder) => {
        const days = (await listDayNames(folder)).slice(0, DAYS_BESIDE);
        return await summariesOf(summaries, folder, workspace, days);
      })) ?? [],
  };
}

type Within = <T>(workspace: string, work: (folder: Folder) => Promise<T>) => Promise<T | null>;

function serveFiles(app: FastifyInstance, within: Within): void {
  const options = { config: { isData: true } };
  const sendFrom = async (
    request: FastifyRequest<FileRoute>,
    reply: FastifyReply,
    file: Omit<SoundFile, 'download'> | null,
  ): Promise<FastifyReply> => {
    const download = request.query.download !== undefined;
    const sent =
      file === null
        ? null
        : await within(request.params.workspace, (folder) => sendFile(request, reply, folder, { ...file, download }));
    if (sent === null) throw gone();
    return sent;
  };

  app.get<FileRoute>('/microphones/:workspace/raw/:file', options, (request, reply) =>
    sendFrom(request, reply, rawFile(request.params)),
  );
  app.get<FileRoute>('/microphones/:workspace/slow/:file', options, (request, reply) => {
    const file = rawFile(request.params);
    return sendFrom(request, reply, file === null ? null : { ...file, slower: SLOWER });
  });
  app.get<FileRoute>('/microphones/:workspace/copies/:file', options, (request, reply) => {
    const derived = parseDerivedName(request.params.file);
    const isTheirs = derived?.segment.workspace === request.params.workspace;
    return sendFrom(request, reply, derived !== null && isTheirs ? copyFile(derived.segment, derived.ending) : null);
  });
  app.get<FileRoute>('/microphones/:workspace/spectrogram.png', options, async (request, reply) => {
    const { workspace } = request.params;
    const newest = await within(workspace, (folder) => newestPicture(folder, workspace));
    return await sendFrom(request, reply, newest === null ? null : copyFile(newest, 'png'));
  });
  app.get<FileRoute>('/microphones/:workspace/waveform/:file', options, async (request, reply) => {
    const { workspace, file } = request.params;
    const segment = file.endsWith('.svg') ? parseSegmentName(`${file.slice(0, -'svg'.length)}wav`) : null;
    if (segment === null || segment.workspace !== workspace) throw gone();
    const overview = await within(workspace, (folder) => readOverview(folder, segment));
    if (overview === null) throw gone();
    return reply.header('cache-control', 'private, max-age=600').type('image/svg+xml').send(waveformSvg(overview));
  });
}

function gone(): PageError {
  return new PageError(404, texts.recordings.gone);
}

/** null: not a name of a recording of this microphone. */
function rawFile({ workspace, file }: FileRoute['Params']): Omit<SoundFile, 'download'> | null {
  const wav = parseSegmentName(file);
  const archived = wav === null ? parseDerivedName(file) : null;
  const segment = wav ?? (archived?.ending === 'flac' ? archived.segment : null);
  if (segment === null || segment.workspace !== workspace) return null;
  const name = wav === null ? formatDerivedName(segment, 'flac') : formatSegmentName(segment);
  return { folder: [...RAW, segmentDay(segment)], name, type: TYPES[wav === null ? 'flac' : 'wav'] };
}

function copyFile(segment: SegmentName, ending: DerivedEnding): Omit<SoundFile, 'download'> {
  const folder = [...PROCESSED, segmentDay(segment)];
  return { folder, name: formatDerivedName(segment, ending), type: TYPES[ending] };
}

/** Drawn in a tone that is seen on light and dark ground. */
export function waveformSvg({ minimum, maximum }: Overview): string {
  const top = maximum.map((value, at) => `${at},${heightOf(value)}`);
  const bottom = minimum.map((value, at) => `${at},${heightOf(value)}`).reverse();
  const width = Math.max(1, maximum.length - 1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} 60" preserveAspectRatio="none"><polygon fill="#3a9d6e" stroke="#3a9d6e" stroke-width="0.7" points="${[...top, ...bottom].join(' ')}"/></svg>`;
}

function heightOf(value: number): string {
  return (30 - (value / 32_768) * 30).toFixed(1);
}

// ---------------------------------------------------------------------------------------------------------- pages

/** Of a microphone that was forgotten the folder's name: its recordings stayed. */
async function nameOf({ ports }: Page, workspace: string): Promise<string> {
  if (!isWorkspaceName(workspace)) throw gone();
  const row = await readDevice(ports.database, workspace);
  return row === null ? workspace : deviceName(row);
}

/** Every microphone that ever recorded, those too that were forgotten. */
async function showAll(page: Page, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { devices } = await page.watch.look();
  const names = new Map(devices.map(({ row }) => [row.workspace, deviceName(row)]));
  const workspaces = await withRoot(page.settings.recorderWorkspace, async (root) => {
    const found: { workspace: string; name: string | null; lastDay: string | null }[] = [];
    for (const workspace of await listWorkspaces(root)) {
      const days = await withFolder(root, [workspace], listDayNames);
      found.push({ workspace, name: names.get(workspace) ?? null, lastDay: days?.[0] ?? null });
    }
    return found;
  });
  const shown = workspaces.filter(({ lastDay }) => lastDay !== null);
  return page.pages.show(request, reply, AllPage({ context: page.pages.contextOf(request), workspaces: shown }));
}

async function showDays(
  page: Page,
  summaries: DaySummaries,
  request: FastifyRequest<DaysRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { workspace } = request.params;
  const { before } = request.query;
  const name = await nameOf(page, workspace);
  const found = await withWorkspace(page.settings.recorderWorkspace, workspace, async (folder) => {
    const all = await listDayNames(folder);
    const wanted = typeof before === 'string' && isDayName(before) ? all.filter((day) => day < before) : all;
    const shown = wanted.slice(0, DAYS_PER_PAGE);
    const days = await summariesOf(summaries, folder, workspace, shown);
    const last = shown.at(-1) ?? null;
    return { days, earlier: wanted.length > shown.length ? last : null, isNewest: shown[0] === all[0] };
  });
  const none = { days: [], earlier: null, isNewest: true };
  const props = { context: page.pages.contextOf(request), name, workspace, ...(found ?? none) };
  return page.pages.show(request, reply, DaysPage(props));
}

async function showDay(
  page: Page,
  summaries: DaySummaries,
  request: FastifyRequest<DayRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { workspace, day } = request.params;
  if (!isDayName(day)) throw gone();
  const name = await nameOf(page, workspace);
  const found = await withWorkspace(page.settings.recorderWorkspace, workspace, async (folder) => {
    const all = (await listDay(folder, workspace, day)).reverse();
    const wanted = all.filter(isWanted(request.query));
    const shown = wanted.slice(0, ENTRIES_PER_PAGE);
    const last = shown.at(-1);
    return {
      summary: await summaries(folder, workspace, day),
      entries: await Promise.all(shown.map(async (entry) => ({ ...entry, sound: await readSound(folder, entry) }))),
      hours: [...new Set(all.map(({ segment }) => segment.startedAt.getUTCHours()))].sort((a, b) => a - b),
      earlier: last !== undefined && wanted.length > shown.length ? segmentTitle(last.segment) : null,
      isNewest: shown[0] === all[0],
    };
  });
  if (found === null || (found.entries.length === 0 && found.isNewest)) throw gone();
  const props = { context: page.pages.contextOf(request), name, workspace, ...found };
  return page.pages.show(request, reply, DayPage(props));
}

/** Up to the end of an hour (UTC), or those older than one recording. */
function isWanted({ before, hour }: DayRoute['Querystring']): (entry: DayEntry) => boolean {
  const from = typeof before === 'string' ? parseSegmentName(`${before}.wav`) : null;
  if (from !== null && typeof before === 'string')
    return ({ segment }) => {
      const difference = segment.startedAt.getTime() - from.startedAt.getTime();
      return difference < 0 || (difference === 0 && segmentTitle(segment) < before);
    };
  const last = typeof hour === 'string' && /^\d{1,2}$/.test(hour) ? Number(hour) : 23;
  return ({ segment }) => segment.startedAt.getUTCHours() <= last;
}

/** One day after the other: a phone waits for one page, and a disk does one thing at a time. */
async function summariesOf(
  summaries: DaySummaries,
  folder: Folder,
  workspace: string,
  days: readonly string[],
): Promise<DaySummary[]> {
  const done: DaySummary[] = [];
  for (const day of days) done.push(await summaries(folder, workspace, day));
  return done;
}
