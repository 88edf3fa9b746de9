/** What this station is, how each of its parts fares, and what it is made of. */
import type { ComponentChildren, VNode } from 'preact';
import { z } from 'zod';
import type { DatabaseFacts } from '../about-queries.ts';
import type { StationPicture } from '../station-picture.ts';
import type { PageFacts } from '../support-bundle.ts';
import { texts } from '../texts.ts';
import type { Fragment } from './dashboard.tsx';
import { formatBytes, Page, type PageContext, Pairs, Time } from './layout.tsx';

export interface AboutProps {
  picture: StationPicture;
  /** null: it has not answered yet. */
  database: DatabaseFacts | null;
  page: PageFacts;
  /** Unix milliseconds. */
  nowMs: number;
}

const t = texts.about;

export function AboutPage(props: AboutProps & { context: PageContext }): VNode {
  return (
    <Page context={props.context} title={t.title} live="/live?page=about">
      <h1>{t.title}</h1>
      <div class="columns">
        <div>
          <Health {...props} />
        </div>
        <div>
          <Station {...props} />
          <Bundle />
          <Licences />
        </div>
      </div>
    </Page>
  );
}

export function aboutFragments(props: AboutProps): Fragment[] {
  return [
    { id: 'health', element: <Health {...props} /> },
    { id: 'station', element: <Station {...props} /> },
  ];
}

/** Good, not as it should be, or unknown: in colour, and in a word. */
type State = 'good' | 'bad' | 'unknown';

function Health(props: AboutProps): VNode {
  return (
    <section id="health" key="health" class="card" aria-labelledby="health-title">
      <h2 id="health-title">{t.health}</h2>
      <ul class="plain parts">
        <Controller {...props} />
        <Database {...props} />
        <Redis {...props} />
        <Processor {...props} />
        <OwnPage {...props} />
      </ul>
    </section>
  );
}

function Part({ name, state, children }: { name: string; state: State; children: ComponentChildren }): VNode {
  return (
    <li>
      <h3>
        {name} <span class={`badge part-${state}`}>{t.states[state]}</span>
      </h3>
      {children}
    </li>
  );
}

/** Of the heartbeat's details, what is shown; each may be missing in another release's. */
const detailsSchema = z.object({
  cycles: z.number().catch(0),
  cycleErrors: z.number().catch(0),
  slowestCycleMs: z.number().catch(0),
  dependencies: z.array(z.object({ name: z.string(), state: z.string(), message: z.string() })).catch([]),
});

function Controller({ picture, nowMs }: AboutProps): VNode {
  const beat = picture.heartbeats.get('controller');
  if (beat === undefined) return <SilentController picture={picture} />;
  const details = detailsSchema.parse(beat.details);
  const away = details.dependencies.filter(({ state }) => state === 'down');
  return (
    <Part name={t.controller} state={away.length === 0 ? 'good' : 'bad'}>
      <p>{beat.message}</p>
      {away.map(({ name, message }) => (
        <p key={name} class="notice warning">
          {message}
        </p>
      ))}
      <Pairs
        rows={[
          [t.version, beat.version],
          [t.runsFor, t.duration(beat.uptimeSeconds)],
          [t.cycles, t.cyclesOf(details.cycles, details.cycleErrors, details.slowestCycleMs)],
          [t.heartbeat, <Time at={Math.min(beat.at, nowMs)} ago />],
        ]}
      />
    </Part>
  );
}

/** Without Redis no heartbeat comes; what it last wrote is all that is known. */
function SilentController({ picture }: { picture: StationPicture }): VNode {
  const moments = [
    ...picture.devices.map(({ row }) => row.phaseSince),
    ...picture.services.map(({ phaseSince }) => phaseSince),
    ...picture.events.map(({ lastAt }) => lastAt),
  ].map((at) => at.getTime());
  return (
    <Part name={t.controller} state={picture.controllerSilent ? 'bad' : 'unknown'}>
      <p>
        {picture.controllerSilent
          ? t.noHeartbeat
          : picture.bus.state === 'up'
            ? t.notHeardYet
            : t.noHeartbeatWithoutRedis}
      </p>
      {moments.length > 0 && (
        <p>
          {t.lastWritten} <Time at={Math.max(...moments)} ago />
        </p>
      )}
    </Part>
  );
}

function Database({ picture, database }: AboutProps): VNode {
  const { databaseProblem } = picture;
  return (
    <Part name={t.database} state={databaseProblem === null ? 'good' : 'bad'}>
      {databaseProblem !== null && <p>{databaseProblem}</p>}
      {database !== null && (
        <Pairs
          rows={[
            [t.version, `PostgreSQL ${database.version}`],
            [t.size, formatBytes(database.sizeBytes)],
            [t.migrations, String(database.migrations)],
          ]}
        />
      )}
    </Part>
  );
}

function Redis({ picture: { bus } }: AboutProps): VNode {
  const state = { up: 'good', down: 'bad', absent: 'unknown' } as const;
  return (
    <Part name={t.redis} state={state[bus.state]}>
      <p>{bus.message}</p>
    </Part>
  );
}

function Processor({ picture }: AboutProps): VNode | null {
  const row = picture.services.find(({ name }) => name === 'processor');
  if (row === undefined) return null;
  const state = row.phase === 'running' ? 'good' : row.enabled ? 'bad' : 'unknown';
  return (
    <Part name={t.processor} state={state}>
      <p>{row.message}</p>
      <p>
        <a href="/services#processor">{texts.services.title}</a>
      </p>
    </Part>
  );
}

function OwnPage({ page }: AboutProps): VNode {
  return (
    <Part name={t.page} state="good">
      <Pairs
        rows={[
          [t.version, page.version],
          [t.node, page.node],
          [t.runsFor, t.duration(page.uptimeSeconds)],
          [t.memory, formatBytes(page.memoryBytes)],
        ]}
      />
    </Part>
  );
}

function Station({ picture }: AboutProps): VNode {
  const { settings, devices, host, disk } = picture;
  return (
    <section id="station" key="station" class="card" aria-labelledby="station-title">
      <h2 id="station-title">{t.station}</h2>
      <Pairs
        rows={[
          [t.name, settings.name === '' ? t.unnamed : settings.name],
          [t.id, <code>{settings.stationId ?? texts.general.unknown}</code>],
          [t.microphones, String(devices.length)],
          [t.load, t.loadOf(host.average1m, host.cpus)],
          [
            t.disk,
            disk === null
              ? texts.dashboard.diskUnknown
              : t.diskOf(formatBytes(disk.freeBytes), formatBytes(disk.totalBytes)),
          ],
        ]}
      />
    </section>
  );
}

function Bundle(): VNode {
  return (
    <section class="card" aria-labelledby="bundle-title">
      <h2 id="bundle-title">{t.bundle}</h2>
      <p>{t.bundleHint}</p>
      <a class="button" href="/about/bundle" download>
        {t.download}
      </a>
    </section>
  );
}

function Licences(): VNode {
  return (
    <section class="card" aria-labelledby="licences-title">
      <h2 id="licences-title">{t.licences}</h2>
      <p>{t.licence}</p>
      <ul class="plain">
        {t.parts.map((part) => (
          <li key={part}>{part}</li>
        ))}
      </ul>
    </section>
  );
}
