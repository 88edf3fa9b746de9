/**
 * The doors to live sound: for people that are signed in, where the station allows it, and for services with a token.
 * Who listens is counted, so that the page can say it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import {
  isWorkspaceName,
  LIVE_TOKENS_FILE,
  LIVE_TOKENS_MAX_BYTES,
  type LiveTokens,
  liveTokensSchema,
  mayHearLive,
} from '../shared/contract.ts';
import { readHostileFile } from '../shared/hostile-file.ts';
import { DatabaseAway } from './database.ts';
import { createLiveSound, type Listener, type LiveSound } from './live-sound.ts';
import type { Listeners } from './pages/microphone-state.tsx';
import { PageError } from './requests.ts';
import type { Page } from './server.ts';
import { readDevice } from './station-queries.ts';
import { texts } from './texts.ts';

export interface Listening {
  /** Who hears this microphone now, by way of this page. */
  of(workspace: string): Listeners;
  close(): void;
}

interface LiveRoute {
  Params: { file: string };
  Querystring: Record<string, unknown>;
}

/** Who listens to what, and how it ends. */
interface Hearing {
  workspace: string;
  /** Name of the service; null: a person. */
  service: string | null;
  stop(): void;
}

/** A station has few visitors, and each costs some hundredths of a core. */
const MOST_PEOPLE = 8;
/** The recorder takes eight, and the browsers together are one of them. */
const MOST_RAW_EACH = 6;
const RETRY_AFTER_S = 5;

export function serveListening(page: Page): Listening {
  const { app, ports, settings, files, watch } = page;
  const sound = createLiveSound({ runPath: settings.runPath, files }, ports.clock);
  const hearings = new Set<Hearing>();
  const people = () => [...hearings].filter(({ service }) => service === null);
  let cancelWatch: (() => void) | null = null;

  /** Off means off: for those, too, who listen already. */
  const keepWatch = (): void => {
    if (people().length === 0) {
      cancelWatch?.();
      cancelWatch = null;
      return;
    }
    cancelWatch ??= watch.follow((picture) => {
      if (!picture.settings.liveListening) for (const hearing of people()) hearing.stop();
    });
  };

  const play = async (
    reply: FastifyReply,
    who: Pick<Hearing, 'workspace' | 'service'>,
    start: Start,
  ): Promise<void> => {
    const hearing: Hearing = { ...who, stop: () => {} };
    hearings.add(hearing);
    keepWatch();
    const forget = (): void => {
      hearings.delete(hearing);
      keepWatch();
    };
    const opened = await openReply(reply, start).catch((error: unknown) => {
      forget();
      throw error;
    });
    if (opened === null) {
      forget();
      throw nothingToHear(reply);
    }
    // At once: what still waits to be sent is not to be heard either.
    hearing.stop = () => void reply.raw.destroy();
    reply.raw.once('close', forget);
    if (reply.raw.destroyed) forget();
  };

  // An endless answer has no head to ask for alone.
  const options = { exposeHeadRoute: false, config: { isData: true, isPublic: true } };
  app.get<LiveRoute>('/live/:file', options, async (request, reply) => {
    const [, workspace = '', ending = ''] = /^(.*)\.(wav|mp3)$/.exec(request.params.file) ?? [];
    const service = ending === 'wav' ? await serviceOf(request, settings.runPath) : null;
    if (service === null) await admitPerson(page, request, reply);
    if (ending === '' || !(await isOurs(page, workspace))) throw new PageError(404, texts.errors.notFound);
    const raw = [...hearings].filter((one) => one.workspace === workspace && one.service !== null).length;
    if (service === null ? people().length >= MOST_PEOPLE : raw >= MOST_RAW_EACH) throw nothingToHear(reply);
    const start = ending === 'mp3' ? mp3Start(page, sound, workspace) : wavStart(sound, workspace);
    await play(reply, { workspace, service }, start);
  });

  return {
    of: (workspace) => ({
      people: people().filter((one) => one.workspace === workspace).length,
      services: [...hearings].flatMap((one) =>
        one.workspace === workspace && one.service !== null ? [one.service] : [],
      ),
    }),
    close() {
      cancelWatch?.();
      for (const hearing of hearings) hearing.stop();
      sound.close();
    },
  };
}

/** Begins to send to a listener; null: nothing is recorded there now. What comes back ends it. */
interface Start {
  type: 'audio/mpeg' | 'audio/wav';
  begin(listener: Listener): Promise<(() => void) | null>;
}

function wavStart(sound: LiveSound, workspace: string): Start {
  return { type: 'audio/wav', begin: (listener) => sound.playWav(workspace, listener) };
}

function mp3Start({ watch }: Page, sound: LiveSound, workspace: string): Start {
  const device = watch.last()?.devices.find(({ row }) => row.workspace === workspace);
  const gainDb = device?.row.settings.gainDb ?? device?.profile?.config?.processed.gainDb ?? 0;
  return { type: 'audio/mpeg', begin: (listener) => sound.playMp3(workspace, gainDb, listener) };
}

/** The head goes out with the first bytes, so that until then a refusal can still be told. */
async function openReply(reply: FastifyReply, { type, begin }: Start): Promise<true | null> {
  const { raw } = reply;
  const headers = { ...reply.getHeaders(), 'content-type': type, 'cache-control': 'no-store' };
  const sendHead = (): void => {
    if (raw.headersSent) return;
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) raw.setHeader(name, value);
    raw.writeHead(200);
  };
  const end = await begin({
    write(bytes) {
      sendHead();
      raw.write(bytes);
    },
    behindBytes: () => raw.writableLength,
    end: () => raw.end(),
    drop: () => raw.destroy(),
  });
  if (end === null) return null;
  reply.hijack();
  sendHead();
  raw.flushHeaders();
  raw.on('error', () => {});
  if (raw.destroyed) end();
  else raw.once('close', end);
  return true;
}

function nothingToHear(reply: FastifyReply): PageError {
  void reply.header('retry-after', String(RETRY_AFTER_S));
  return new PageError(503, texts.listening.nothing);
}

/** A browser's session, and only where the station allows it. */
async function admitPerson({ watch }: Page, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (request.session === null) {
    void reply.header('www-authenticate', 'Bearer');
    throw new PageError(401, texts.listening.noToken);
  }
  const { settings } = await watch.look();
  if (!settings.liveListening) throw new PageError(403, texts.listening.off);
}

/** While the database is away a known folder is enough: services go on hearing. */
async function isOurs({ ports, watch }: Page, workspace: string): Promise<boolean> {
  if (!isWorkspaceName(workspace)) return false;
  try {
    return (await readDevice(ports.database, workspace)) !== null;
  } catch (error) {
    if (!(error instanceof DatabaseAway)) throw error;
    return watch.last()?.devices.some(({ row }) => row.workspace === workspace) ?? true;
  }
}

/** The service whose token came along; null: none that we know. */
async function serviceOf(request: FastifyRequest<LiveRoute>, runPath: string): Promise<string | null> {
  const { authorization } = request.headers;
  const bearer = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  const token = bearer ?? request.query.token;
  if (typeof token !== 'string' || token === '') return null;
  return mayHearLive(await readTokens(runPath), token);
}

/** What cannot be read lets nobody in. */
async function readTokens(runPath: string): Promise<LiveTokens> {
  const read = await readHostileFile({ root: runPath, name: LIVE_TOKENS_FILE }, LIVE_TOKENS_MAX_BYTES);
  if (read.kind !== 'text') return {};
  try {
    return liveTokensSchema.safeParse(JSON.parse(read.text)).data ?? {};
  } catch {
    return {};
  }
}
