/**
 * Who asks, and may they? Every request passes here: a session for everything but what is public, a form made by this page
 * for everything that changes something, and headers that leave a browser no room for foreign scripts.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { VNode } from 'preact';
import { DatabaseAway, Refusal } from './database.ts';
import { formToken, isFormToken, newToken, type Owner, SESSION_DAYS } from './owner.ts';
import { type PageContext, renderDocument } from './pages/layout.tsx';
import { MessagePage } from './pages/message.tsx';
import { texts } from './texts.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The value of the session's cookie, of a browser that is signed in. */
    session: string | null;
    /** Asks again, for answers that take long: whether this browser is still signed in. Never throws. */
    isStillSignedIn(): Promise<boolean>;
  }
  interface FastifyContextConfig {
    /** Answered without a session. */
    isPublic?: boolean;
    /** Answers with something else than a page (events, a file): a refusal is a status without a page. */
    isData?: boolean;
  }
}

export const SESSION_COOKIE = 'silvasonic_session';
/** Until somebody is signed in, forms are tied to this one. */
export const FORM_COOKIE = 'silvasonic_form';

/** For anything that a person asked for and cannot have. */
export class PageError extends Error {
  readonly statusCode: number;
  readonly hint: string | undefined;
  constructor(statusCode: number, message: string, hint?: string) {
    super(message);
    this.statusCode = statusCode;
    this.hint = hint;
  }
}

const DAY_S = 86_400;

export interface Pages {
  contextOf(request: FastifyRequest): PageContext;
  /** Sends a page. */
  show(request: FastifyRequest, reply: FastifyReply, page: VNode, statusCode?: number): FastifyReply;
  /** To another page, which says what was done. */
  goTo(reply: FastifyReply, path: string, told?: keyof typeof texts.told): FastifyReply;
}

export interface PageIdentity {
  stationName(): string;
  assetsVersion: string;
}

export function createPages({ stationName, assetsVersion }: PageIdentity): Pages {
  return {
    contextOf: (request) => ({
      path: request.url.split('?')[0] ?? '/',
      formToken: formToken(request.session ?? request.cookies[FORM_COOKIE] ?? ''),
      stationName: stationName(),
      signedIn: request.session !== null,
      told: toldOf(request),
      assetsVersion,
    }),
    show: (_request, reply, page, statusCode = 200) =>
      reply.code(statusCode).type('text/html; charset=utf-8').send(renderDocument(page)),
    goTo(reply, path, told) {
      if (told === undefined) return reply.redirect(path, 303);
      const [address = '/', anchor] = path.split('#');
      const mark = address.includes('?') ? '&' : '?';
      return reply.redirect(`${address}${mark}told=${told}${anchor === undefined ? '' : `#${anchor}`}`, 303);
    },
  };
}

/** Only words of our own: an address must not be able to put others on the page. */
function toldOf(request: FastifyRequest): string | null {
  const query: unknown = request.query;
  const key: unknown = typeof query === 'object' && query !== null ? Reflect.get(query, 'told') : undefined;
  return typeof key === 'string' && Object.hasOwn(texts.told, key) ? texts.told[key as keyof typeof texts.told] : null;
}

/** Over plain HTTP on a LAN a `Secure` cookie would be dropped. */
function cookieOptions(request: FastifyRequest) {
  return { path: '/', httpOnly: true, sameSite: 'lax', secure: request.protocol === 'https' } as const;
}

export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, token: string): void {
  void reply.setCookie(SESSION_COOKIE, token, { ...cookieOptions(request), maxAge: SESSION_DAYS * DAY_S });
}

export function clearSessionCookie(request: FastifyRequest, reply: FastifyReply): void {
  void reply.clearCookie(SESSION_COOKIE, cookieOptions(request));
}

/** Before a form is shown to somebody who is not signed in: what its token hangs on. */
export function ensureFormCookie(request: FastifyRequest, reply: FastifyReply): void {
  if (request.cookies[FORM_COOKIE] !== undefined) return;
  const token = newToken();
  request.cookies[FORM_COOKIE] = token;
  void reply.setCookie(FORM_COOKIE, token, cookieOptions(request));
}

/** Installs the checks. Routes added later are behind them. */
export function guardRequests(app: FastifyInstance, owner: Owner, pages: Pages): void {
  app.decorateRequest('session', null);
  app.decorateRequest('isStillSignedIn', async function isStillSignedIn() {
    try {
      return this.session !== null && (await owner.isSignedIn(this.session));
    } catch {
      // Nothing is known while the database is away; nothing can be changed then either.
      return true;
    }
  });
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('cache-control', 'no-store');
    request.session = await sessionOf(request, owner);
    const { isPublic = false, isData = false } = request.routeOptions.config;
    if (isPublic || request.session !== null) return;
    if (isData || request.method !== 'GET') throw new PageError(401, texts.signIn.title);
    await reply.redirect((await owner.exists()) ? '/sign-in' : '/setup', 303);
  });
  app.addHook('preHandler', async (request) => {
    if (request.method === 'GET' || request.method === 'HEAD') return;
    if (!isSameOrigin(request) || !hasFormToken(request)) throw new PageError(403, texts.errors.forged);
  });
  app.setNotFoundHandler((request, reply) => {
    const page = MessagePage({
      context: pages.contextOf(request),
      message: texts.errors.notFound,
      hint: texts.errors.notFoundHint,
    });
    return pages.show(request, reply, page, 404);
  });
}

async function sessionOf(request: FastifyRequest, owner: Owner): Promise<string | null> {
  const token = request.cookies[SESSION_COOKIE];
  if (token === undefined || token.length > 100) return null;
  return (await owner.isSignedIn(token)) ? token : null;
}

/** Browsers name the page that a form came from; what names another than ours is refused. */
function isSameOrigin(request: FastifyRequest): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}

function hasFormToken(request: FastifyRequest): boolean {
  const secret = request.session ?? request.cookies[FORM_COOKIE];
  const given = fieldsOf(request).token;
  return secret !== undefined && given !== undefined && isFormToken(secret, given);
}

/** The fields of a form; of a field that came more than once, the last. */
export function fieldsOf(request: FastifyRequest): Readonly<Record<string, string | undefined>> {
  const body: unknown = request.body;
  if (typeof body !== 'object' || body === null) return {};
  const fields: Record<string, string | undefined> = Object.create(null);
  for (const [name, value] of Object.entries(body)) {
    const last: unknown = Array.isArray(value) ? value.at(-1) : value;
    if (typeof last === 'string') fields[name] = last;
  }
  return fields;
}

/** What failed, for the log and for a person. */
export interface Failure {
  statusCode: number;
  message: string;
  hint?: string | undefined;
  /** Worth a line in the log. */
  isOurs: boolean;
}

/** What of an error a person may see. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof PageError)
    return { statusCode: error.statusCode, message: error.message, hint: error.hint, isOurs: false };
  if (error instanceof Refusal) return { statusCode: 409, message: error.message, isOurs: false };
  if (error instanceof DatabaseAway) {
    return { statusCode: 503, message: texts.errors.away, hint: error.message, isOurs: false };
  }
  const statusCode = error instanceof Error ? Number(Reflect.get(error, 'statusCode')) : Number.NaN;
  if (statusCode === 413) return { statusCode, message: texts.errors.tooLarge, isOurs: false };
  if (statusCode >= 400 && statusCode < 500) return { statusCode, message: texts.errors.malformed, isOurs: false };
  return { statusCode: 500, message: texts.errors.internal, isOurs: true };
}
