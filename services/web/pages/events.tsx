/** What happened, the newest first, with whom it concerns. */
import type { VNode } from 'preact';
import type { StationPicture } from '../station-picture.ts';
import type { EventFilter, EventRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import type { Fragment } from './dashboard.tsx';
import { Page, type PageContext, Time, Troubles } from './layout.tsx';
import { deviceName } from './microphone-card.tsx';

export type EventsQuery = Omit<EventFilter, 'limit'>;

interface EventsProps {
  picture: StationPicture;
  query: EventsQuery;
  events: readonly EventRow[];
  /** There are older ones. */
  hasMore: boolean;
}

const t = texts.events;
const RECORDER = 'recorder:';
const SERVICE = 'service:';

export function EventsPage(props: EventsProps & { context: PageContext }): VNode {
  const { query, context } = props;
  const [troubles, happened] = eventFragments(props);
  // Older pages stand still: they would move away under one's eyes.
  const live = query.before === null ? { live: `/live?page=events&${addressOf(query)}` } : {};
  return (
    <Page context={context} title={t.title} {...live}>
      <h1>{t.title}</h1>
      {troubles?.element}
      <Filter {...props} />
      {happened?.element}
    </Page>
  );
}

export function eventFragments(props: EventsProps): Fragment[] {
  return [
    { id: 'troubles', element: <Troubles picture={props.picture} /> },
    { id: 'happened', element: <Happened {...props} /> },
  ];
}

function Filter({ picture, query }: EventsProps): VNode {
  const known = [
    ['station', texts.station],
    ...picture.devices.map(({ row }) => [`${RECORDER}${row.id}`, deviceName(row)]),
    ...picture.services.map(({ name }) => [`${SERVICE}${name}`, name]),
  ] as [string, string][];
  const { subject } = query;
  if (subject !== null && !known.some(([key]) => key === subject)) known.push([subject, subject]);
  return (
    <form method="get" action="/events" class="row filter">
      <label>
        {t.subject}{' '}
        <select name="subject">
          <option value="">{t.all}</option>
          {known.map(([key, name]) => (
            <option key={key} value={key} selected={key === subject}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        {t.type}{' '}
        <select name="type">
          <option value="">{t.all}</option>
          {(['warning', 'normal'] as const).map((type) => (
            <option key={type} value={type} selected={type === query.type}>
              {t.types[type]}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="quiet">
        {t.show}
      </button>
    </form>
  );
}

function Happened({ picture, query, events, hasMore }: EventsProps): VNode {
  const last = events.at(-1);
  return (
    <section id="happened" key="happened">
      {events.length === 0 ? (
        <p class="card">{query.before === null ? t.none : t.noOlder}</p>
      ) : (
        <ul class="list events told">
          {events.map((event) => (
            <EventLine key={event.id} event={event} picture={picture} />
          ))}
        </ul>
      )}
      <p class="row">
        {query.before !== null && (
          <a class="button quiet" href={`/events?${addressOf({ ...query, before: null })}`}>
            {t.newest}
          </a>
        )}
        {hasMore && last !== undefined && (
          <a
            class="button quiet"
            href={`/events?${addressOf({ ...query, before: { atMs: last.lastAt.getTime(), id: last.id } })}`}
          >
            {t.older}
          </a>
        )}
      </p>
    </section>
  );
}

function EventLine({ event, picture }: { event: EventRow; picture: StationPicture }): VNode {
  return (
    <li class={event.type}>
      <Time at={event.lastAt} />
      <Subject subject={event.subject} picture={picture} />
      {event.type === 'warning' && <span class="unseen">{t.types.warning}: </span>}
      <span class="reason">{event.message}</span>
      {event.count > 1 && (
        <span class="count">
          {`×${event.count}, ${t.first}`} <Time at={event.at} />
        </span>
      )}
    </li>
  );
}

/** Whom an event concerns: a link to where one sees how it fares. */
export function Subject({
  subject,
  picture,
}: {
  subject: string;
  picture: Pick<StationPicture, 'devices' | 'services'>;
}): VNode {
  const device = picture.devices.find(({ row }) => subject === `${RECORDER}${row.id}`);
  if (device !== undefined)
    return (
      <a class="subject" href={`/microphones/${device.row.workspace}`}>
        {deviceName(device.row)}
      </a>
    );
  const service = picture.services.find(({ name }) => subject === `${SERVICE}${name}`);
  if (service !== undefined)
    return (
      <a class="subject" href={`/services#${service.name}`}>
        {service.name}
      </a>
    );
  return <span class="subject">{subject === 'station' ? texts.station : subject}</span>;
}

function addressOf({ subject, type, before }: EventsQuery): string {
  const query = new URLSearchParams();
  if (subject !== null) query.set('subject', subject);
  if (type !== null) query.set('type', type);
  if (before !== null) query.set('before', `${before.atMs}-${before.id}`);
  return query.toString();
}
