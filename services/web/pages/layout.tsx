/** What all pages have around them, and the small parts that they share. */
import type { ComponentChildren, VNode } from 'preact';
import { renderToString } from 'preact-render-to-string';
import { SEEN } from '../form-text.ts';
import type { StationPicture } from '../station-picture.ts';
import { texts } from '../texts.ts';

/** What a page knows of the request that it answers. */
export interface PageContext {
  /** Of the address, to mark where we are. */
  path: string;
  /** Hidden in every form. */
  formToken: string;
  stationName: string;
  signedIn: boolean;
  /** What has just been done; null: nothing. */
  told: string | null;
  /** Changes with every build, so that browsers don't keep an old style. */
  assetsVersion: string;
}

export interface PageProps {
  context: PageContext;
  title: string;
  /** Address of the server-sent events for this page; absent: it stands still. */
  live?: string;
  children: ComponentChildren;
}

const LINKS = [
  ['/', texts.navigation.dashboard],
  ['/recordings', texts.navigation.recordings],
  ['/services', texts.navigation.services],
  ['/profiles', texts.navigation.profiles],
  ['/events', texts.navigation.events],
  ['/logs', texts.navigation.logs],
  ['/settings', texts.navigation.settings],
  ['/about', texts.navigation.about],
] as const;

/** The whole document. */
export function Page({ context, title, live, children }: PageProps): VNode {
  const station = context.stationName === '' ? texts.product : context.stationName;
  return (
    <html lang={texts.language}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{`${title} · ${station}`}</title>
        <link rel="icon" href="/assets/icon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href={`/assets/style.css?${context.assetsVersion}`} />
        <script type="module" src={`/assets/page.js?${context.assetsVersion}`} />
      </head>
      <body data-live={live}>
        <a class="skip" href="#content">
          {texts.skipToContent}
        </a>
        <header class="top">
          <a class="brand" href="/">
            <img src="/assets/icon.svg" alt="" width="28" height="28" />
            <span>{station}</span>
          </a>
          {context.signedIn && <Navigation context={context} />}
        </header>
        <p id="connection" class="notice warning" role="status" hidden>
          {texts.connection.lost}
        </p>
        <main id="content" tabIndex={-1}>
          {context.told !== null && (
            <p class="notice told" role="status">
              {context.told}
            </p>
          )}
          {children}
        </main>
      </body>
    </html>
  );
}

function Navigation({ context }: { context: PageContext }): VNode {
  return (
    <>
      <nav aria-label={texts.navigation.label}>
        <ul>
          {LINKS.map(([href, label]) => (
            <li key={href}>
              <a href={href} aria-current={isCurrent(context.path, href) ? 'page' : undefined}>
                {label}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <PostForm action="/sign-out" context={context} class="sign-out">
        <button type="submit" class="quiet">
          {texts.navigation.signOut}
        </button>
      </PostForm>
    </>
  );
}

function isCurrent(path: string, href: string): boolean {
  return href === '/' ? path === '/' || path.startsWith('/microphones') : path.startsWith(href);
}

/**
 * A form that changes something: it carries the token that proves where it was made. `seen`: what is stored now, of a form
 * that shows it, so that what was changed elsewhere until it is sent is not undone (`meantFields`).
 */
export function PostForm({
  action,
  context,
  class: className,
  seen,
  children,
}: {
  action: string;
  context: PageContext;
  class?: string;
  seen?: Readonly<Record<string, string>> | undefined;
  children: ComponentChildren;
}): VNode {
  return (
    <form method="post" action={action} class={className}>
      <input type="hidden" name="token" value={context.formToken} />
      {seen !== undefined && <input type="hidden" name={SEEN} value={JSON.stringify(seen)} />}
      {children}
    </form>
  );
}

/** A moment. The browser shows it in its own zone; `ago`: how long it is ago. `at` is Unix milliseconds or a date. */
export function Time({ at, ago = false }: { at: number | Date; ago?: boolean }): VNode {
  const iso = new Date(at).toISOString();
  return (
    <time dateTime={iso} data-time={ago ? 'ago' : 'moment'}>
      {`${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`}
    </time>
  );
}

/** A state in one word, coloured; the word says it too. */
export function Badge({ phase }: { phase: keyof typeof texts.phases }): VNode {
  return <span class={`badge ${phase}`}>{texts.phases[phase]}</span>;
}

/** One labelled field with its hint and what is wrong with it. */
export function Field({
  id,
  label,
  hint,
  problem,
  children,
}: {
  id: string;
  label: string;
  hint?: string | undefined;
  problem?: string | undefined;
  children: ComponentChildren;
}): VNode {
  return (
    <div class={problem === undefined ? 'field' : 'field wrong'}>
      <label for={id}>{label}</label>
      {children}
      {hint !== undefined && (
        <small id={`${id}-hint`} class="hint">
          {hint}
        </small>
      )}
      {problem !== undefined && (
        <small id={`${id}-problem`} class="problem" role="alert">
          {problem}
        </small>
      )}
    </div>
  );
}

/** Why what a page shows may no longer be true, or not take effect: above whatever moves. */
export function Troubles({
  picture: { databaseProblem, controllerSilent, bus },
}: {
  picture: Pick<StationPicture, 'databaseProblem' | 'controllerSilent' | 'bus'>;
}): VNode {
  return (
    <div id="troubles" key="troubles">
      {databaseProblem !== null && (
        <p class="notice bad" role="alert">
          {texts.dashboard.withoutDatabase(databaseProblem)}
        </p>
      )}
      {controllerSilent && (
        <p class="notice bad" role="alert">
          {texts.dashboard.withoutController}
        </p>
      )}
      {bus.state === 'down' && <p class="notice warning">{texts.dashboard.withoutRedis(bus.message)}</p>}
    </div>
  );
}

/** Names and what is to be said of each. */
export function Pairs({ rows }: { rows: readonly (readonly [string, ComponentChildren])[] }): VNode {
  return (
    <dl class="pairs">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The document as it is sent. */
export function renderDocument(page: VNode): string {
  return `<!doctype html>${renderToString(page)}`;
}

/** `1.5 GB`: decimal, as disks are sold. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const exponent = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** exponent;
  return `${value >= 100 || exponent === 0 ? Math.round(value) : value.toFixed(1)} ${units[exponent]}`;
}

/** `48 kHz`, `44.1 kHz`. */
export function formatRate(rate: number): string {
  return `${Number((rate / 1000).toFixed(3))} kHz`;
}
