/** First visit, signing in and out. Guessing is slow, and a form works only in the browser that it was made for. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Log } from '../shared/log.ts';
import type { Attempts } from './attempts.ts';
import type { Owner } from './owner.ts';
import { SetupPage, type SetupProblems, SignInPage } from './pages/sign-in.tsx';
import { passwordProblem } from './password.ts';
import { clearSessionCookie, ensureFormCookie, fieldsOf, PageError, type Pages, setSessionCookie } from './requests.ts';
import type { SetupCode } from './setup-code.ts';
import { texts } from './texts.ts';

export interface SignInOptions {
  pages: Pages;
  owner: Owner;
  setupCode: SetupCode;
  attempts: Attempts;
  log: Log;
}

const PUBLIC = { config: { isPublic: true } };

export function serveSignIn(app: FastifyInstance, options: SignInOptions): void {
  const { pages, owner } = options;

  app.get('/sign-in', PUBLIC, async (request, reply) => {
    if (request.session !== null) return pages.goTo(reply, '/');
    if (!(await owner.exists())) return pages.goTo(reply, '/setup');
    ensureFormCookie(request, reply);
    return pages.show(request, reply, SignInPage({ context: pages.contextOf(request), problem: null }));
  });

  app.post('/sign-in', PUBLIC, async (request, reply) => {
    const password = fieldsOf(request).password ?? '';
    if (await tryOnce(options.attempts, request, () => owner.check(password))) {
      setSessionCookie(request, reply, await owner.signIn(request.headers['user-agent'] ?? ''));
      return pages.goTo(reply, '/');
    }
    options.log('warn', `A wrong password was given from ${request.ip}.`);
    const page = SignInPage({ context: pages.contextOf(request), problem: texts.signIn.wrong });
    return pages.show(request, reply, page, 403);
  });

  app.post('/sign-out', async (request, reply) => {
    if (request.session !== null) await owner.signOut(request.session);
    clearSessionCookie(request, reply);
    return pages.goTo(reply, '/sign-in', 'signedOut');
  });

  serveSetup(app, options);
}

function serveSetup(app: FastifyInstance, { pages, owner, setupCode, attempts, log }: SignInOptions): void {
  app.get('/setup', PUBLIC, async (request, reply) => {
    if (await owner.exists()) return pages.goTo(reply, '/sign-in');
    ensureFormCookie(request, reply);
    return pages.show(request, reply, SetupPage({ context: pages.contextOf(request), problems: {} }));
  });

  app.post('/setup', PUBLIC, async (request, reply) => {
    if (await owner.exists()) return pages.goTo(reply, '/sign-in');
    const { code = '', password = '', repeat = '' } = fieldsOf(request);
    const problems: SetupProblems = newPasswordProblems(password, repeat);
    if (!(await tryOnce(attempts, request, () => setupCode.matches(code)))) {
      log('warn', `A wrong setup code was given from ${request.ip}.`);
      problems.code = texts.setup.wrongCode;
    }
    if (Object.keys(problems).length > 0) {
      return pages.show(request, reply, SetupPage({ context: pages.contextOf(request), problems }), 422);
    }
    if (!(await owner.create(password))) return pages.goTo(reply, '/sign-in');
    await setupCode.remove();
    log('info', 'The station has an owner now.');
    setSessionCookie(request, reply, await owner.signIn(request.headers['user-agent'] ?? ''));
    return pages.goTo(reply, '/');
  });
}

/** What is wrong with a new password that was given twice. */
export function newPasswordProblems(password: string, repeat: string): Pick<SetupProblems, 'password' | 'repeat'> {
  const weak = passwordProblem(password);
  return {
    ...(weak !== null && { password: weak }),
    ...(password !== repeat && { repeat: texts.setup.notTheSame }),
  };
}

/**
 * Whether what was given is right. Throws a page's error while this address has to wait. It counts as wrong until it proves
 * right, so that many guesses at once are no more than one after the other.
 */
export async function tryOnce(
  attempts: Attempts,
  request: FastifyRequest,
  check: () => Promise<boolean>,
): Promise<boolean> {
  const seconds = attempts.waitSeconds(request.ip);
  if (seconds > 0) throw new PageError(429, texts.signIn.locked(seconds));
  attempts.failed(request.ip);
  const isRight = await check();
  if (isRight) attempts.succeeded(request.ip);
  return isRight;
}
