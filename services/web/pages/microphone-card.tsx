/** One card per microphone: what it does and why, what it hears, its last file; on and off. */
import type { VNode } from 'preact';
import type { RecorderStatus } from '../../shared/contract.ts';
import { GENERIC_PROFILE_SLUG, VIRTUAL_VENDOR_ID } from '../../shared/profile.ts';
import type { DevicePicture } from '../station-picture.ts';
import type { DeviceRow, ProfileRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { Badge, formatRate, type PageContext, PostForm, Time } from './layout.tsx';

export function deviceName(row: Pick<DeviceRow, 'name' | 'product'>): string {
  return row.name !== '' ? row.name : row.product !== '' ? row.product : texts.microphone.unnamed;
}

export function isVirtual(row: Pick<DeviceRow, 'vendorId'>): boolean {
  return row.vendorId === VIRTUAL_VENDOR_ID;
}

/** `48 kHz × 1 · S16_LE`, as it is recorded now; null: nothing is known of it. */
export function soundForm(status: RecorderStatus | null): string | null {
  if (status === null || status.rate === 0) return null;
  return `${formatRate(status.rate)} × ${status.channels} · ${status.format}`;
}

export function statusOf(device: DevicePicture): RecorderStatus | null {
  return device.status?.kind === 'read' ? device.status.value : null;
}

/** Identifier of a microphone's card in the document. */
export function cardId(row: Pick<DeviceRow, 'workspace'>): string {
  return `microphone-${row.workspace}`;
}

export function MicrophoneCard({ device, context }: { device: DevicePicture; context: PageContext }): VNode {
  const { row } = device;
  const address = `/microphones/${row.workspace}`;
  const status = statusOf(device);
  return (
    <article class="card microphone" id={cardId(row)} aria-labelledby={`${cardId(row)}-name`}>
      <header>
        <h3 id={`${cardId(row)}-name`}>
          <a href={address}>{deviceName(row)}</a>
        </h3>
        <Badge phase={row.phase} />
      </header>
      <Reason message={row.message} />
      {row.phase === 'recording' && <Levels workspace={row.workspace} channels={status?.channels ?? 1} />}
      <Facts device={device} status={status} />
      {status?.lastSegment != null && <LatestSpectrogram row={row} />}
      <footer class="row">
        <OnOff row={row} context={context} />
        <Effect device={device} context={context} />
      </footer>
    </article>
  );
}

/** The first sentence says how it is; what follows are remarks, in full on the microphone's own page. */
function Reason({ message }: { message: string }): VNode {
  const [first = message] = /^.*?[.!?](?=\s|$)/.exec(message) ?? [];
  const remarks = message.slice(first.length).trim();
  return (
    <p class="reason">
      {first}
      {remarks !== '' && <small class="remarks">{remarks}</small>}
    </p>
  );
}

/** dBFS. */
const METER = { min: -90, max: 0, high: -6 } as const;

/** Bars that the browser moves once a second; the numbers are for those who don't see them. */
export function Levels({ workspace, channels }: { workspace: string; channels: number }): VNode {
  return (
    <div class="levels" data-levels={workspace} data-keep>
      {Array.from({ length: channels }, (_, channel) => (
        <div key={channel} class="level">
          <meter
            aria-label={texts.microphone.levels(channel + 1)}
            min={METER.min}
            max={METER.max}
            high={METER.high}
            optimum={METER.min}
            value={METER.min}
          />
          <output>–</output>
        </div>
      ))}
      <p class="hearing" data-silent={texts.microphone.silent} data-clipped={texts.microphone.clipped} />
    </div>
  );
}

function Facts({ device, status }: { device: DevicePicture; status: RecorderStatus | null }): VNode {
  const form = soundForm(status);
  const seconds = device.row.settings.segmentSeconds ?? device.profile?.config?.segmentSeconds;
  return (
    <ul class="facts">
      {form !== null && <li>{form}</li>}
      {seconds !== undefined && <li>{texts.microphone.segment(seconds)}</li>}
      {device.profile !== null && <li>{device.profile.name}</li>}
      {isVirtual(device.row) && <li class="virtual">{texts.microphone.virtual}</li>}
      {status !== null && (status.lostFrames > 0 || status.overruns > 0) && (
        <li class="bad">{texts.microphone.lost(status.lostFrames)}</li>
      )}
      {status?.lastSegment != null && (
        <li>
          {texts.microphone.lastFile}{' '}
          <Time at={status.lastSegment.startedAt + lengthMs(status.lastSegment.frames, status.rate)} ago />
        </li>
      )}
    </ul>
  );
}

function lengthMs(frames: number, rate: number): number {
  return rate > 0 ? (frames / rate) * 1000 : 0;
}

/** The newest picture that the processor has made; the browser asks again when there is a new file. */
export function LatestSpectrogram({ row }: { row: DeviceRow }): VNode {
  return (
    <a href={`/microphones/${row.workspace}#recordings`} class="spectrogram" data-keep>
      <img
        src={`/microphones/${row.workspace}/spectrogram.png`}
        alt={texts.microphone.spectrogram(deviceName(row))}
        data-spectrogram={row.workspace}
        loading="lazy"
        width="1000"
        height="257"
      />
    </a>
  );
}

/** One button that says what it does; what it would interrupt is asked on the next page. `here`: on the microphone's own page. */
export function OnOff({ row, context, here = false }: { row: DeviceRow; context: PageContext; here?: boolean }): VNode {
  return (
    <PostForm action={`/microphones/${row.workspace}/enabled`} context={context}>
      {here && <input type="hidden" name="from" value="page" />}
      <input type="hidden" name="enabled" value={row.enabled ? 'no' : 'yes'} />
      <button
        type="submit"
        class="switch"
        role="switch"
        aria-checked={row.enabled}
        aria-label={`${row.enabled ? texts.microphone.switchOff : texts.microphone.switchOn}: ${deviceName(row)}`}
      >
        <span>{row.enabled ? texts.microphone.on : texts.microphone.off}</span>
      </button>
    </PostForm>
  );
}

export function Effect({ device, context }: { device: DevicePicture; context: PageContext }): VNode | null {
  if (!device.inEffect) return <span class="effect applying">{texts.microphone.applying}</span>;
  if (!device.updateWaiting) return null;
  return (
    <PostForm action={`/microphones/${device.row.workspace}/restart`} context={context}>
      <input type="hidden" name="why" value="update" />
      <span class="effect">{texts.microphone.updateWaiting}</span>{' '}
      <button type="submit" class="quiet">
        {texts.microphone.applyNow}
      </button>
    </PostForm>
  );
}

/** A new device that waits for a person: what is it? The suggestion stands on top. */
export function PendingCard({
  device,
  profiles,
  context,
}: {
  device: DevicePicture;
  profiles: readonly ProfileRow[];
  context: PageContext;
}): VNode {
  const { row } = device;
  return (
    <article class="card pending" id={cardId(row)} aria-labelledby={`${cardId(row)}-name`}>
      <header>
        <h3 id={`${cardId(row)}-name`}>
          <a href={`/microphones/${row.workspace}`}>{deviceName(row)}</a>
        </h3>
        <Badge phase={row.phase} />
      </header>
      <p class="reason">{row.message}</p>
      <PostForm action={`/microphones/${row.workspace}/enrolment`} context={context} class="row">
        <label>
          {texts.microphone.profile}{' '}
          <select name="profile">
            <ProfileOptions profiles={profiles} suggested={row.suggestedProfile ?? GENERIC_PROFILE_SLUG} />
          </select>
        </label>
        <button type="submit" name="decision" value="enroll">
          {texts.microphone.enroll}
        </button>
        <button type="submit" name="decision" value="ignore" class="quiet">
          {texts.microphone.ignore}
        </button>
      </PostForm>
    </article>
  );
}

/** The suggestion first. */
export function ProfileOptions({ profiles, suggested }: { profiles: readonly ProfileRow[]; suggested: string }): VNode {
  const ordered = [...profiles].sort((a, b) => Number(b.slug === suggested) - Number(a.slug === suggested));
  return (
    <>
      {ordered.map(({ slug, name }) => (
        <option key={slug} value={slug} selected={slug === suggested}>
          {slug === suggested ? `${name} (${texts.microphone.suggested})` : name}
        </option>
      ))}
    </>
  );
}
