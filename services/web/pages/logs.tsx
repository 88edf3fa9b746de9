/** What recorders and services write, while one looks. The browser's script adds the lines. */
import type { VNode } from 'preact';
import type { StationPicture } from '../station-picture.ts';
import { texts } from '../texts.ts';
import type { Fragment } from './dashboard.tsx';
import { Page, type PageContext } from './layout.tsx';
import { deviceName } from './microphone-card.tsx';

const t = texts.logs;
/** Lines that stay in the document. */
const MOST_LINES = 1000;

export function LogsPage({ picture, context }: { picture: StationPicture; context: PageContext }): VNode {
  return (
    <Page context={context} title={t.title} live="/live?page=logs">
      <h1>{t.title}</h1>
      <p class="hint">{t.intro}</p>
      <Problem picture={picture} />
      <noscript>
        <p class="notice warning">{t.noScript}</p>
      </noscript>
      <div class="row logs-bar" data-needs-script hidden>
        <label>
          {t.of}{' '}
          <select id="log-of" autocomplete="off">
            <option value="">{t.all}</option>
            {sourcesOf(picture).map(([instance, name]) => (
              <option key={instance} value={instance}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          id="log-pause"
          class="quiet"
          aria-pressed="false"
          data-pause={t.pause}
          data-resume={t.resume}
        >
          {t.pause}
        </button>
        <button type="button" id="log-clear" class="quiet">
          {t.clear}
        </button>
        <span
          id="log-state"
          class="hint"
          role="status"
          data-waiting={t.waiting}
          data-lost={t.lost}
          data-left={t.left(MOST_LINES)}
        />
      </div>
      {/* Not a live region: a screen reader would read for ever. The script lets the keyboard scroll it. */}
      <section
        id="log-lines"
        class="log"
        role="log"
        aria-live="off"
        aria-label={t.lines}
        data-live="/logs/live"
        data-most={MOST_LINES}
      />
    </Page>
  );
}

export function logFragments(picture: StationPicture): Fragment[] {
  return [{ id: 'log-problem', element: <Problem picture={picture} /> }];
}

function Problem({ picture: { bus } }: { picture: StationPicture }): VNode {
  return (
    <div id="log-problem">{bus.state !== 'up' && <p class="notice warning">{t.withoutRedis(bus.message)}</p>}</div>
  );
}

/** Instances as log lines name them. */
function sourcesOf({ devices, services }: StationPicture): [string, string][] {
  return [
    ...devices.map(({ row }) => [`recorder-${row.workspace}`, deviceName(row)] as [string, string]),
    ...services.map(({ name }) => [name, name] as [string, string]),
  ];
}
