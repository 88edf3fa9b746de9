/** The first page: does it record? And everything that one wants to see at a glance, from no microphone to fifty. */
import type { VNode } from 'preact';
import { countRecording, type DevicePicture, type StationPicture } from '../station-picture.ts';
import type { EventRow, ServiceRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { Subject } from './events.tsx';
import { Badge, formatBytes, Page, type PageContext, PostForm, Time, Troubles } from './layout.tsx';
import { cardId, deviceName, MicrophoneCard, OnOff, PendingCard } from './microphone-card.tsx';

/** A part of a page that is sent anew when it changes: an element with this id. */
export interface Fragment {
  id: string;
  element: VNode;
}

interface DashboardProps {
  picture: StationPicture;
  context: PageContext;
}

export function DashboardPage({ picture, context }: DashboardProps): VNode {
  return (
    <Page context={context} title={texts.dashboard.title} live="/live?page=dashboard">
      {dashboardFragments({ picture, context })
        .filter(({ id }) => !id.startsWith('microphone-'))
        .map(({ element }) => element)}
    </Page>
  );
}

/** The page's parts from top to bottom, and each card by itself besides. */
export function dashboardFragments({ picture, context }: DashboardProps): Fragment[] {
  const groups = groupDevices(picture.devices);
  return [
    { id: 'summary', element: <Summary picture={picture} /> },
    { id: 'pending', element: <Pending devices={groups.pending} picture={picture} context={context} /> },
    { id: 'microphones', element: <Microphones devices={groups.present} context={context} /> },
    { id: 'services', element: <Services services={picture.services} context={context} /> },
    { id: 'absent', element: <Absent devices={groups.absent} context={context} /> },
    { id: 'recent', element: <Recent picture={picture} /> },
    ...groups.present.map((device) => ({
      id: cardId(device.row),
      element: <MicrophoneCard device={device} context={context} />,
    })),
  ];
}

function groupDevices(devices: readonly DevicePicture[]) {
  const isAbsent = ({ row }: DevicePicture) => row.status === 'offline' || row.enrollmentStatus === 'ignored';
  return {
    pending: devices.filter((device) => !isAbsent(device) && device.row.enrollmentStatus === 'pending'),
    present: devices.filter((device) => !isAbsent(device) && device.row.enrollmentStatus === 'enrolled'),
    absent: devices.filter(isAbsent),
  };
}

function Summary({ picture }: { picture: StationPicture }): VNode {
  const { recording, wanted } = countRecording(picture);
  const state = wanted === 0 ? 'idle' : recording === wanted ? 'good' : 'bad';
  return (
    <section id="summary" key="summary">
      <h1 class={`line ${state}`}>{texts.dashboard.line(recording, wanted)}</h1>
      <ul class="facts host">
        <li>{diskLine(picture)}</li>
        <li>{texts.dashboard.load(picture.host.average1m, picture.host.cpus)}</li>
        <li>
          {texts.dashboard.memory(
            formatBytes(picture.host.memoryFreeBytes),
            formatBytes(picture.host.memoryTotalBytes),
          )}
        </li>
      </ul>
      <Troubles picture={picture} />
    </section>
  );
}

function diskLine({ disk, processor }: StationPicture): string {
  if (disk === null) return texts.dashboard.diskUnknown;
  const line = texts.dashboard.disk(formatBytes(disk.freeBytes), formatBytes(disk.totalBytes));
  const days = processor?.disk?.fullInDays ?? null;
  return days === null ? line : `${line}, ${texts.dashboard.daysLeft(days)}`;
}

function Pending({
  devices,
  picture,
  context,
}: {
  devices: readonly DevicePicture[];
  picture: StationPicture;
  context: PageContext;
}): VNode {
  return (
    <section id="pending" key="pending" hidden={devices.length === 0} aria-labelledby="pending-title">
      <h2 id="pending-title">{texts.dashboard.waiting}</h2>
      <p class="hint">{texts.dashboard.waitingHint}</p>
      <div class="cards">
        {devices.map((device) => (
          <PendingCard key={device.row.id} device={device} profiles={picture.profiles} context={context} />
        ))}
      </div>
    </section>
  );
}

function Microphones({ devices, context }: { devices: readonly DevicePicture[]; context: PageContext }): VNode {
  return (
    <section id="microphones" key="microphones" aria-labelledby="microphones-title">
      <h2 id="microphones-title" class={devices.length === 0 ? 'unseen' : undefined}>
        {texts.dashboard.microphones}
      </h2>
      {devices.length === 0 ? (
        <div class="card empty">
          <h3>{texts.dashboard.empty.title}</h3>
          <ol>
            {texts.dashboard.empty.steps.map((step) => (
              <li key={step}>{step}</li>
            ))}
          </ol>
        </div>
      ) : (
        <div class="cards">
          {devices.map((device) => (
            <MicrophoneCard key={device.row.id} device={device} context={context} />
          ))}
        </div>
      )}
    </section>
  );
}

function Services({ services, context }: { services: readonly ServiceRow[]; context: PageContext }): VNode {
  return (
    <section id="services" key="services" hidden={services.length === 0} aria-labelledby="services-title">
      <h2 id="services-title">
        <a href="/services">{texts.dashboard.services}</a>
      </h2>
      <ul class="list">
        {services.map((service) => (
          <li key={service.name} class="row">
            <a href={`/services#${service.name}`}>{service.name}</a>
            <Badge phase={service.phase} />
            <span class="reason">{service.message}</span>
            <ServiceSwitch service={service} context={context} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** `page`: on the page of the services, to which it leads back. */
export function ServiceSwitch({
  service,
  context,
  page = false,
}: {
  service: ServiceRow;
  context: PageContext;
  page?: boolean;
}): VNode {
  const label = service.enabled ? texts.microphone.switchOff : texts.microphone.switchOn;
  return (
    <PostForm action={`/services/${service.name}/enabled`} context={context}>
      {page && <input type="hidden" name="from" value="page" />}
      <input type="hidden" name="enabled" value={service.enabled ? 'no' : 'yes'} />
      <button
        type="submit"
        class="switch"
        role="switch"
        aria-checked={service.enabled}
        aria-label={`${label}: ${service.name}`}
      >
        <span>{service.enabled ? texts.microphone.on : texts.microphone.off}</span>
      </button>
    </PostForm>
  );
}

function Absent({ devices, context }: { devices: readonly DevicePicture[]; context: PageContext }): VNode {
  return (
    <section id="absent" key="absent" hidden={devices.length === 0}>
      <details>
        <summary>{`${texts.dashboard.absent} (${devices.length})`}</summary>
        <ul class="list">
          {devices.map(({ row }) => (
            <li key={row.id} class="row">
              <a href={`/microphones/${row.workspace}`}>{deviceName(row)}</a>
              <Badge phase={row.phase} />
              <span class="reason">
                {row.message} {row.status === 'offline' && <Time at={row.lastSeen} ago />}
              </span>
              {row.enrollmentStatus === 'enrolled' && <OnOff row={row} context={context} />}
            </li>
          ))}
        </ul>
      </details>
    </section>
  );
}

const RECENT = 8;

function Recent({ picture }: { picture: StationPicture }): VNode {
  const { events } = picture;
  return (
    <section id="recent" key="recent" hidden={events.length === 0} aria-labelledby="recent-title">
      <h2 id="recent-title">{texts.dashboard.recent}</h2>
      <EventList events={events.slice(0, RECENT)} picture={picture} />
      <p>
        <a href="/events">{texts.dashboard.allEvents}</a>
      </p>
    </section>
  );
}

/** Events, one line each; with a picture of the station, each says whom it concerns. */
export function EventList({ events, picture }: { events: readonly EventRow[]; picture?: StationPicture }): VNode {
  return (
    <ul class="list events">
      {events.map((event) => (
        <li key={event.id} class={event.type}>
          <Time at={event.lastAt} />
          {picture !== undefined && <Subject subject={event.subject} picture={picture} />}
          <span class="reason">{event.message}</span>
          {event.count > 1 && <span class="count">{`×${event.count}`}</span>}
        </li>
      ))}
    </ul>
  );
}
