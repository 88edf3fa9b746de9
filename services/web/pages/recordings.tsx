/** Recordings of one microphone: the days with their gaps, and one day with picture and player for each. */
import type { VNode } from 'preact';
import { formatDerivedName } from '../../shared/contract.ts';
import { segmentTitle } from '../../shared/recordings.ts';
import { type DayEntry, type RecordedSound, rawPlace } from '../recordings.ts';
import type { DaySummary, Span } from '../recordings-days.ts';
import { texts } from '../texts.ts';
import { formatBytes, formatRate, Page, type PageContext, Time } from './layout.tsx';
import { Length } from './microphone-state.tsx';

const t = texts.recordings;
const DAY_S = 86_400;
const MINUTE_S = 60;
const MINUTES = DAY_S / MINUTE_S;

/** The newest days, on the microphone's own page. */
export function RecordingsSection({ workspace, days }: { workspace: string; days: readonly DaySummary[] }): VNode {
  return (
    <section id="recordings" aria-labelledby="recordings-title">
      <h2 id="recordings-title">
        <a href={`/microphones/${workspace}/recordings`}>{t.title}</a>
      </h2>
      {days.length === 0 ? <p class="hint">{t.none}</p> : <Days workspace={workspace} days={days} />}
    </section>
  );
}

/** The way to the recordings of microphones that nobody knows any more. */
export function AllPage({
  context,
  workspaces,
}: {
  context: PageContext;
  /** `name` null: it was forgotten. */
  workspaces: readonly { workspace: string; name: string | null; lastDay: string | null }[];
}): VNode {
  return (
    <Page context={context} title={t.title}>
      <h1>{t.title}</h1>
      {workspaces.length === 0 && <p>{t.none}</p>}
      <ul class="list" hidden={workspaces.length === 0}>
        {workspaces.map(({ workspace, name, lastDay }) => (
          <li key={workspace} class="row">
            <a href={`/microphones/${workspace}/recordings`}>{name ?? workspace}</a>
            <span class="hint">
              {t.until(lastDay ?? '')}
              {name === null && `, ${t.forgotten}`}
            </span>
          </li>
        ))}
      </ul>
    </Page>
  );
}

export interface DaysPageProps {
  context: PageContext;
  /** Of the microphone. */
  name: string;
  workspace: string;
  days: readonly DaySummary[];
  /** The last day of the page after this; null: there is none. */
  earlier: string | null;
  /** False: this page does not begin with the newest day. */
  isNewest: boolean;
}

export function DaysPage({ context, name, workspace, days, earlier, isNewest }: DaysPageProps): VNode {
  const address = `/microphones/${workspace}/recordings`;
  return (
    <Page context={context} title={t.titleOf(name)}>
      <p class="up row">
        {name !== workspace && <a href={`/microphones/${workspace}`}>{t.back}</a>}
        <a href="/recordings">{t.all}</a>
      </p>
      <h1>{t.titleOf(name)}</h1>
      <p class="hint">{t.utc}</p>
      {days.length === 0 ? <p>{t.none}</p> : <Days workspace={workspace} days={days} />}
      <p class="row">
        {!isNewest && <a href={address}>{t.newerDays}</a>}
        {earlier !== null && <a href={`${address}?before=${earlier}`}>{t.earlierDays}</a>}
      </p>
    </Page>
  );
}

function Days({ workspace, days }: { workspace: string; days: readonly DaySummary[] }): VNode {
  return (
    <ul class="list days">
      {days.map((summary) => (
        <li key={summary.day}>
          <p class="row">
            <a href={`/microphones/${workspace}/recordings/${summary.day}`}>{summary.day}</a>
            <span class="hint">{inShort(summary)}</span>
          </p>
          <Coverage summary={summary} />
        </li>
      ))}
    </ul>
  );
}

function inShort({ count, seconds, bytes }: DaySummary): string {
  return count === 0 ? t.copiesOnly : t.summary(count, lengthText(seconds), formatBytes(bytes));
}

function lengthText(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / MINUTE_S);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 24 hours from left to right, filled where there is sound: gaps are seen at a glance. */
function Coverage({ summary }: { summary: DaySummary }): VNode {
  const begin = Date.parse(`${summary.day}T00:00:00Z`);
  return (
    <figure class="coverage">
      <svg
        viewBox={`0 0 ${MINUTES} 12`}
        preserveAspectRatio="none"
        role="img"
        aria-label={t.covered(lengthText(summary.seconds))}
      >
        {minutesOf(summary.covered).map(({ from, to }) => (
          <rect key={from} x={from} y="0" width={to - from} height="12" />
        ))}
      </svg>
      <ol class="ticks" aria-hidden="true">
        {[0, 6, 12, 18, 24].map((hour) => (
          <li key={hour}>
            <Hour at={begin + hour * 3_600_000} />
          </li>
        ))}
      </ol>
    </figure>
  );
}

function Hour({ at }: { at: number }): VNode {
  const iso = new Date(at).toISOString();
  return (
    <time dateTime={iso} data-time="hour">
      {iso.slice(11, 16)}
    </time>
  );
}

/** Whole minutes: the width of a day on most screens. What is shorter than half of one still shows. */
export function minutesOf(spans: readonly Span[]): Span[] {
  const rounded: Span[] = [];
  for (const span of spans) {
    const from = Math.min(MINUTES - 1, Math.round(span.from / MINUTE_S));
    const to = Math.min(MINUTES, Math.max(from + 1, Math.round(span.to / MINUTE_S)));
    const last = rounded.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else rounded.push({ from, to });
  }
  return rounded;
}

/** A recording with what was read of it. */
export interface ShownEntry extends DayEntry {
  sound: RecordedSound | null;
}

export interface DayPageProps {
  context: PageContext;
  name: string;
  workspace: string;
  summary: DaySummary;
  /** The newest first. */
  entries: readonly ShownEntry[];
  /** Hours (UTC) with a recording. */
  hours: readonly number[];
  /** Title of the recording before which the next page begins; null: there is none. */
  earlier: string | null;
  isNewest: boolean;
}

export function DayPage({ context, name, workspace, summary, entries, hours, earlier, isNewest }: DayPageProps): VNode {
  const address = `/microphones/${workspace}/recordings`;
  return (
    <Page context={context} title={t.of(name, summary.day)}>
      <p class="up row">
        {name !== workspace && <a href={`/microphones/${workspace}`}>{t.back}</a>}
        <a href={address}>{t.days}</a>
      </p>
      <h1>{t.of(name, summary.day)}</h1>
      <p class="hint">{inShort(summary)}</p>
      <Coverage summary={summary} />
      <nav aria-label={t.hours}>
        <ul class="hours">
          {hours.map((hour) => (
            <li key={hour}>
              <a href={`${address}/${summary.day}?hour=${hour}`}>
                <Hour at={Date.parse(`${summary.day}T00:00:00Z`) + hour * 3_600_000} />
              </a>
            </li>
          ))}
        </ul>
      </nav>
      {entries.length === 0 && <p>{t.noneThen}</p>}
      <div class="recordings">
        {entries.map((entry) => (
          <Recording key={segmentTitle(entry.segment)} entry={entry} workspace={workspace} />
        ))}
      </div>
      <p class="row">
        {!isNewest && <a href={`${address}/${summary.day}`}>{t.newest}</a>}
        {earlier !== null && <a href={`${address}/${summary.day}?before=${earlier}`}>{t.earlier}</a>}
      </p>
    </Page>
  );
}

/** Browsers play nothing below 3000 frames per second. */
const SLOWER = 10;
const LOWEST_RATE = 3000;

function Recording({ entry, workspace }: { entry: ShownEntry; workspace: string }): VNode {
  const { segment, sound, copies } = entry;
  const title = segmentTitle(segment);
  const time = `${segment.startedAt.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  const raw = rawPlace(entry);
  const folder = `/microphones/${workspace}`;
  const copy = copies.has('flac') ? `${folder}/copies/${formatDerivedName(segment, 'flac')}` : null;
  const player = copy ?? (raw === null ? null : `${folder}/raw/${raw.name}`);
  return (
    <article class="card recording" id={title} aria-labelledby={`${title}-time`}>
      <header>
        <h2 id={`${title}-time`}>
          <Time at={segment.startedAt} />
        </h2>
      </header>
      <ul class="facts">
        {sound !== null && (
          <>
            <li>
              <Length seconds={sound.seconds} />
            </li>
            <li>{`${formatRate(sound.rate)} × ${sound.channels}`}</li>
            <li>{t.bits(sound.bitsPerSample)}</li>
          </>
        )}
        {segment.salvaged === true && <li class="bad">{t.salvaged}</li>}
      </ul>
      {copies.size === 0 && <p class="hint">{t.noCopies}</p>}
      {copies.has('png') && <Sonogram entry={entry} folder={folder} time={time} />}
      {player !== null && <audio controls preload="none" src={player} aria-label={t.play(time)} />}
      {raw !== null && sound !== null && sound.rate / SLOWER >= LOWEST_RATE && (
        <details>
          <summary>{t.slow}</summary>
          <p class="hint">{t.slowHint}</p>
          <audio controls preload="none" src={`${folder}/slow/${raw.name}`} aria-label={t.slowPlay(time)} />
        </details>
      )}
      <ul class="facts downloads" aria-label={t.download}>
        {raw !== null && (
          <li>
            <a href={`${folder}/raw/${raw.name}?download`} download>
              {t.raw(raw.name.endsWith('.wav') ? 'WAV' : 'FLAC', formatBytes(sound?.bytes ?? 0))}
            </a>
          </li>
        )}
        {copy !== null && (
          <li>
            <a href={`${copy}?download`} download>
              {t.copy}
            </a>
          </li>
        )}
      </ul>
    </article>
  );
}

/** The picture has no axes, so that they can be text: equal steps of frequency at its side, of time below. */
const STEPS = [0, 0.25, 0.5, 0.75, 1] as const;

function Sonogram({ entry, folder, time }: { entry: ShownEntry; folder: string; time: string }): VNode {
  const { segment, sound, copies } = entry;
  return (
    <figure class="sonogram">
      {sound !== null && (
        <ol class="frequencies" aria-hidden="true">
          {[...STEPS].reverse().map((step) => (
            <li key={step}>{t.frequency((step * sound.rate) / 2)}</li>
          ))}
        </ol>
      )}
      <div class="picture" data-seek>
        <img
          src={`${folder}/copies/${formatDerivedName(segment, 'png')}`}
          alt={t.sonogram(time)}
          loading="lazy"
          width="1000"
          height="257"
        />
      </div>
      {copies.has('json') && (
        <img
          class="waveform"
          src={`${folder}/waveform/${segmentTitle(segment)}.svg`}
          alt=""
          loading="lazy"
          width="1000"
          height="60"
        />
      )}
      {sound !== null && (
        <ol class="ticks" aria-hidden="true">
          {STEPS.map((step) => (
            <li key={step}>{secondsText(step * sound.seconds, sound.seconds)}</li>
          ))}
        </ol>
      )}
    </figure>
  );
}

/** A moment of a recording of `all` seconds, as its scale has it. */
export function secondsText(seconds: number, all: number): string {
  if (all < 20) return `${Number(seconds.toFixed(1))} s`;
  if (all <= 120) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
