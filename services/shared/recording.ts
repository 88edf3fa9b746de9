/**
 * The words of recording: how a recorder is told what to do, where it puts what, how it ends, and what its files are
 * called. Without any package, so that a recorder, of which one runs per microphone, stays small.
 */
import { hash } from 'node:crypto';

/** Environment of a recorder container ("profile injection"). */
export const RECORDER_ENV = {
  device: 'SILVASONIC_RECORDER_DEVICE',
  usbDevice: 'SILVASONIC_RECORDER_USB_DEVICE',
  profileSlug: 'SILVASONIC_RECORDER_PROFILE_SLUG',
  configJson: 'SILVASONIC_RECORDER_CONFIG_JSON',
  instanceId: 'SILVASONIC_INSTANCE_ID',
} as const;

/** Where a recorder finds its two folders inside its container. */
export const RECORDER_PATH = { workspace: '/app/workspace', run: '/run/silvasonic' } as const;

/** `SILVASONIC_RECORDER_DEVICE` of a virtual microphone: the synthetic source instead of `arecord`. */
export const VIRTUAL_DEVICE = 'virtual';

/**
 * The USB device whose sound card a recorder is to hear: card numbers are given anew whenever plugs move, so a number
 * alone may name another microphone by the time that it is opened. In the words of `/proc/asound/card<N>`.
 */
export interface UsbDevice {
  /** `usbbus`: bus and device number, `001/005`. */
  place: string;
  /** `usbid`: vendor and product, `2752:0007`. */
  model: string;
}

/** `SILVASONIC_RECORDER_USB_DEVICE`: place and model, `001/005 2752:0007`. `vendorId`, `productId`: four hex digits, lower case. */
export function formatUsbDevice(usb: { bus: number; address: number; vendorId: string; productId: string }): string {
  const three = (number: number): string => String(number).padStart(3, '0');
  return `${three(usb.bus)}/${three(usb.address)} ${usb.vendorId}:${usb.productId}`;
}

/** Parses it; null for any text that `formatUsbDevice` would not have made. */
export function parseUsbDevice(text: string): UsbDevice | null {
  const [, place, model] = /^(\d{3,5}\/\d{3,5}) ([0-9a-f]{4}:[0-9a-f]{4})$/.exec(text) ?? [];
  return place === undefined || model === undefined ? null : { place, model };
}

/** File in a device's run folder that holds the `RecorderStatus`. */
export const STATUS_FILE = 'status.json';

/**
 * Unix socket in a device's run folder: whoever connects hears the microphone from then on, as raw interleaved
 * little-endian PCM in the form of the files (rate and channels as in the status file, S24_LE packed into three bytes).
 */
export const LIVE_SOCKET = 'live.sock';

/** How a recorder ends. Any other code is a crash. */
export const RECORDER_EXIT = {
  askedToStop: 0,
  microphoneGone: 10,
  microphoneBusy: 11,
  noPermission: 12,
  formatRefused: 13,
  folderUnwritable: 14,
  badConfig: 64,
} as const;

/** ALSA sample formats that a recorder can write as WAV, best first where a device offers several. */
export const SAMPLE_FORMATS = ['S16_LE', 'S24_3LE', 'S24_LE', 'S32_LE'] as const;
export type SampleFormat = (typeof SAMPLE_FORMATS)[number];

/** Bytes that one sample of a format takes in ALSA's memory, and at most in our files (S24_LE is packed into three there). */
export const BYTES_PER_SAMPLE: Record<SampleFormat, number> = { S16_LE: 2, S24_3LE: 3, S24_LE: 4, S32_LE: 4 };

/** Why frames are in no file. */
export const GAP_CAUSES = ['overrun', 'restart', 'late', 'no_space', 'slow_disk', 'write_failed'] as const;
export type GapCause = (typeof GAP_CAUSES)[number];
/** A status file tells at most so many gaps, and so many steps of the clock. */
export const MAX_TOLD_GAPS = 16;

const WORKSPACE_PATTERN = /^[a-z0-9-]{1,40}-[0-9a-f]{8}$/;

/** True for a folder name as `workspaceName` makes it: nothing in it can lead out of its parent folder. */
export function isWorkspaceName(name: string): boolean {
  return WORKSPACE_PATTERN.test(name);
}

/**
 * Folder name of a device: readable words first, then 8 hex digits of SHA-256(id), so that it is unique and never
 * changes while the id does not. The words come from the product's name; anything but a-z, 0-9 becomes a dash.
 */
export function workspaceName(deviceId: string, product: string): string {
  const words = product
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '');
  return `${words === '' ? 'microphone' : words}-${workspaceDigest(deviceId)}`;
}

/** The eight hex digits that tie a workspace's name to its device id. */
export function workspaceDigest(deviceId: string): string {
  return hash('sha256', deviceId, 'hex').slice(0, 8);
}

/**
 * A segment's file name, `<workspace>_YYYYMMDD_HHMMSS_<run>_<seq>.wav` in UTC: the form that the field's tools read.
 * One that was saved after its recorder was killed or the power failed ends in `_salvaged.wav`.
 */
export interface SegmentName {
  workspace: string;
  /** UTC, whole seconds. */
  startedAt: Date;
  run: string;
  sequence: number;
  /** Absent: the recorder itself finished it. */
  salvaged?: true;
}

export function formatSegmentName(segment: SegmentName): string {
  const iso = segment.startedAt.toISOString();
  const day = iso.slice(0, 10).replaceAll('-', '');
  const time = iso.slice(11, 19).replaceAll(':', '');
  const sequence = String(segment.sequence).padStart(6, '0');
  const mark = segment.salvaged === true ? '_salvaged' : '';
  return `${segment.workspace}_${day}_${time}_${segment.run}_${sequence}${mark}.wav`;
}

const SEGMENT_PATTERN =
  /^(?<workspace>[a-z0-9-]{1,40}-[0-9a-f]{8})_(?<y>\d{4})(?<m>\d{2})(?<d>\d{2})_(?<H>\d{2})(?<M>\d{2})(?<S>\d{2})_(?<run>[0-9a-z]{1,16})_(?<sequence>\d{6,12})(?<salvaged>_salvaged)?\.wav$/;

/** Parses a segment's file name; null for any name that `formatSegmentName` would not have made. */
export function parseSegmentName(name: string): SegmentName | null {
  const part = SEGMENT_PATTERN.exec(name)?.groups;
  if (part === undefined) return null;
  const startedAt = new Date(`${part.y}-${part.m}-${part.d}T${part.H}:${part.M}:${part.S}Z`);
  if (Number.isNaN(startedAt.getTime())) return null;
  const segment: SegmentName = {
    workspace: `${part.workspace}`,
    startedAt,
    run: `${part.run}`,
    sequence: Number(part.sequence),
    ...(part.salvaged !== undefined && { salvaged: true as const }),
  };
  return formatSegmentName(segment) === name ? segment : null;
}
