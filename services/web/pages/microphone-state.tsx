/** The parts of a microphone's page that move by themselves: what it does and why, how it fares, what it is, what happened. */
import type { ComponentChildren, VNode } from 'preact';
import type { RecorderStatus } from '../../shared/contract.ts';
import { capabilitiesSchema, GENERIC_PROFILE_SLUG } from '../../shared/profile.ts';
import type { DevicePicture, StationPicture } from '../station-picture.ts';
import type { DeviceRow, EventRow, ProfileRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { EventList, type Fragment } from './dashboard.tsx';
import { Badge, formatBytes, formatRate, type PageContext, Pairs, PostForm, Time, Troubles } from './layout.tsx';
import { ListeningSection } from './listening.tsx';
import {
  deviceName,
  Effect,
  isVirtual,
  LatestSpectrogram,
  Levels,
  OnOff,
  ProfileOptions,
  soundForm,
  statusOf,
} from './microphone-card.tsx';

/** Who hears one microphone by way of this page. */
export interface Listeners {
  people: number;
  /** Names of services. */
  services: readonly string[];
}

export interface MicrophoneView {
  /** Of the whole station. */
  picture: StationPicture;
  device: DevicePicture;
  profiles: readonly ProfileRow[];
  /** Its own, the newest first. */
  events: readonly EventRow[];
  flaps: number;
  listeners: Listeners;
  /** By the station's settings. */
  mayListen: boolean;
  context: PageContext;
}

const t = texts.microphonePage;

/** In the page's order. */
export function microphoneFragments(view: MicrophoneView): Fragment[] {
  return [
    { id: 'troubles', element: <Troubles picture={view.picture} /> },
    { id: 'state', element: <State {...view} /> },
    { id: 'listen', element: <ListeningSection row={view.device.row} isAllowed={view.mayListen} /> },
    { id: 'wellbeing', element: <Wellbeing {...view} /> },
    { id: 'happened', element: <Happened {...view} /> },
    { id: 'device', element: <Device {...view} /> },
    { id: 'leave', element: <Leave {...view} /> },
  ];
}

function State({ device, profiles, context }: MicrophoneView): VNode {
  const { row } = device;
  const status = statusOf(device);
  const form = soundForm(status);
  return (
    <section id="state" key="state" class="card" aria-labelledby="name">
      <header>
        <h1 id="name">{deviceName(row)}</h1>
        <Badge phase={row.phase} />
      </header>
      <p class="reason">{row.message}</p>
      <ul class="facts">
        <li>
          {texts.microphone.since} <Time at={row.phaseSince} />
        </li>
        {form !== null && <li>{form}</li>}
        {device.profile !== null && <li>{device.profile.name}</li>}
        {isVirtual(row) && <li class="virtual">{texts.microphone.virtual}</li>}
      </ul>
      {row.phase === 'recording' && <Levels workspace={row.workspace} channels={status?.channels ?? 1} />}
      {row.enrollmentStatus === 'pending' && <Decision row={row} profiles={profiles} context={context} />}
      {row.enrollmentStatus === 'enrolled' && (
        <footer class="row">
          <OnOff row={row} context={context} here />
          {row.phase === 'recording' && (
            <PostForm action={`/microphones/${row.workspace}/restart`} context={context}>
              <button type="submit" class="quiet">
                {texts.microphone.restart}
              </button>
            </PostForm>
          )}
          {device.inEffect && !device.updateWaiting && row.phase === 'recording' && (
            <span class="effect">{texts.microphone.inEffect}</span>
          )}
          <Effect device={device} context={context} />
        </footer>
      )}
      {(status?.lastSegment ?? null) !== null && <LatestSpectrogram row={row} />}
    </section>
  );
}

function Decision({
  row,
  profiles,
  context,
}: {
  row: DeviceRow;
  profiles: readonly ProfileRow[];
  context: PageContext;
}): VNode {
  return (
    <PostForm action={`/microphones/${row.workspace}/enrolment`} context={context} class="row">
      <label>
        {texts.microphone.profile}{' '}
        <select name="profile">
          <ProfileOptions profiles={profiles} suggested={row.suggestedProfile ?? GENERIC_PROFILE_SLUG} />
        </select>
      </label>
      <button type="submit" name="decision" value="enroll">
        {row.enrollmentStatus === 'ignored' ? t.takeIn : texts.microphone.enroll}
      </button>
    </PostForm>
  );
}

function Wellbeing({ device, flaps, listeners }: MicrophoneView): VNode {
  const status = statusOf(device);
  const heard = [...(listeners.people > 0 ? [t.people(listeners.people)] : []), ...listeners.services];
  return (
    <section id="wellbeing" key="wellbeing" class="card" aria-labelledby="wellbeing-title">
      <h2 id="wellbeing-title">{t.wellbeing}</h2>
      {status === null ? (
        <p class="hint">{t.recorderSilent}</p>
      ) : (
        <>
          <Pairs rows={[...runFacts(status), [t.facts.listening, heard.length === 0 ? t.nobody : heard.join(', ')]]} />
          <Gaps status={status} />
        </>
      )}
      <Pairs rows={[[t.facts.flaps, <span class={flaps > 0 ? 'bad' : undefined}>{t.flaps(flaps)}</span>]]} />
    </section>
  );
}

function runFacts(status: RecorderStatus): (readonly [string, ComponentChildren])[] {
  const { rate, frames, lostFrames, overruns, restarts, clock, bufferSeconds, disk } = status;
  const lostSeconds = rate > 0 ? lostFrames / rate : 0;
  return [
    [t.facts.recorded, rate > 0 ? <Length seconds={inSteps(frames / rate)} /> : texts.general.unknown],
    [
      t.facts.lost,
      <span class={lostFrames > 0 ? 'bad' : undefined}>
        {lostFrames === 0
          ? texts.microphone.lost(0)
          : `${texts.microphone.lost(lostFrames)}, ${t.seconds(lostSeconds)}`}
      </span>,
    ],
    [t.facts.overruns, String(overruns)],
    ...(restarts === undefined ? [] : [[t.facts.restarts, String(restarts)] as const]),
    ...(clock === undefined ? [] : [[t.facts.clock, clockInWords(clock)] as const]),
    ...(bufferSeconds == null ? [] : [[t.facts.buffer, t.seconds(bufferSeconds)] as const]),
    ...(disk === undefined ? [] : [[t.facts.queued, queuedInWords(status, disk.queuedBytes)] as const]),
  ];
}

/** A second or two always wait. */
const USUAL_SECONDS = 3;
const MOST_SAMPLE_BYTES = 4;

function queuedInWords({ rate, channels }: RecorderStatus, bytes: number): VNode {
  const isUsual = bytes <= rate * channels * MOST_SAMPLE_BYTES * USUAL_SECONDS;
  return <span class={isUsual ? undefined : 'bad'}>{isUsual ? t.nothingWaits : formatBytes(bytes)}</span>;
}

function clockInWords({ synchronised, steps }: NonNullable<RecorderStatus['clock']>): VNode {
  const word = synchronised === null ? t.clockUnknown : synchronised ? t.clockSet : t.clockNotSet;
  const all = steps.length === 0 ? word : `${word}, ${t.clockSteps(steps.length)}`;
  return <span class={synchronised === false ? 'bad' : undefined}>{all}</span>;
}

/** Hours and minutes, or seconds. */
export function Length({ seconds }: { seconds: number }): VNode {
  const whole = Math.round(seconds);
  if (seconds < 100) return <>{t.seconds(seconds)}</>;
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours > 0) return <>{`${hours} h ${minutes} min`}</>;
  return <>{whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`}</>;
}

/** What grows all the time is told by the minute: each change goes over a field's connection. Seconds. */
function inSteps(seconds: number): number {
  return seconds < 60 ? Math.floor(seconds / 10) * 10 : Math.floor(seconds / 60) * 60;
}

function Gaps({ status }: { status: RecorderStatus }): VNode | null {
  const gaps = [...(status.gaps ?? [])].reverse();
  if (gaps.length === 0) return null;
  return (
    <details id="gaps">
      <summary>{`${t.facts.gaps} (${gaps.length})`}</summary>
      <ul class="list events">
        {gaps.map((gap) => (
          <li key={gap.at} class="warning">
            <Time at={gap.at} />
            <span class="reason">{t.gap(status.rate > 0 ? gap.frames / status.rate : 0, t.causes[gap.cause])}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Happened({ device, events }: MicrophoneView): VNode {
  return (
    <section id="happened" key="happened" aria-labelledby="happened-title">
      <h2 id="happened-title">{t.events}</h2>
      {events.length === 0 ? <p class="hint">{t.noEvents}</p> : <EventList events={events} />}
      <p>
        <a href={`/events?subject=${encodeURIComponent(`recorder:${device.row.id}`)}`}>{t.allEvents}</a>
      </p>
    </section>
  );
}

function Device({ device: { row } }: MicrophoneView): VNode {
  const id = t.identity;
  const serial =
    row.serial === null ? id.serialNone : row.serialShared ? `${row.serial} (${id.serialShared})` : row.serial;
  return (
    <section id="device" key="device" class="card" aria-labelledby="device-title">
      <h2 id="device-title">{t.device}</h2>
      <Pairs
        rows={[
          [
            id.product,
            [row.manufacturer, row.product].filter((word) => word !== '').join(' · ') || texts.general.unknown,
          ],
          [id.ids, <code>{`${row.vendorId}:${row.productId}`}</code>],
          [id.serial, <code>{serial}</code>],
          [id.port, <code>{row.portPath}</code>],
          [id.workspace, <code>{row.workspace}</code>],
          [id.firstSeen, <Time at={row.firstSeen} />],
          [id.lastSeen, row.status === 'online' ? id.pluggedIn : <Time at={row.lastSeen} />],
        ]}
      />
      <h3>{t.offers}</h3>
      <Offers capabilities={row.capabilities} />
    </section>
  );
}

function Offers({ capabilities }: { capabilities: unknown }): VNode {
  const parsed = capabilitiesSchema.safeParse(capabilities);
  const offers = parsed.success ? parsed.data.offers : [];
  if (offers.length === 0) return <p class="hint">{t.offersUnknown}</p>;
  return (
    <ul class="offers">
      {offers.map(({ format, channels, rates }) => {
        const words =
          rates.kind === 'range'
            ? t.rateRange(formatRate(rates.min), formatRate(rates.max))
            : rates.values.map(formatRate).join(', ');
        return <li key={`${format} ${channels} ${words}`}>{t.offer(format, channels, words)}</li>;
      })}
    </ul>
  );
}

function Leave({ device: { row }, profiles, context }: MicrophoneView): VNode {
  return (
    <section id="leave" key="leave" class="card" aria-labelledby="leave-title">
      <h2 id="leave-title">{t.leave}</h2>
      {row.enrollmentStatus === 'ignored' ? (
        <Decision row={row} profiles={profiles} context={context} />
      ) : (
        <PostForm action={`/microphones/${row.workspace}/enrolment`} context={context}>
          <button type="submit" name="decision" value="ignore" class="quiet">
            {texts.microphone.ignore}
          </button>
          <p class="hint">{t.ignoreHint}</p>
        </PostForm>
      )}
      {row.status === 'offline' ? (
        <PostForm action={`/microphones/${row.workspace}/forget`} context={context}>
          <button type="submit" class="danger">
            {t.forget}
          </button>
          <p class="hint">{t.forgetHint}</p>
        </PostForm>
      ) : (
        <p class="hint">{t.forgetLater}</p>
      )}
    </section>
  );
}
