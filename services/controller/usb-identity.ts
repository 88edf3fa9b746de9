/**
 * How a USB microphone is told from others: where it is plugged in, and the strings that it gives of itself, cleaned.
 * Pure.
 */
import { createHash } from 'node:crypto';

const SERIAL_MAX_LENGTH = 128;
const SERIAL_KEPT_LENGTH = 100;
const NAME_MAX_LENGTH = 200;
const AUDIOMOTH = { vendorId: '16d0', productId: '06f3' } as const;

/** Where a USB device folder lies in sysfs, taken apart. */
export interface UsbPlace {
  /** Real path of the host controller's folder, `/sys/devices/pci0000:00/0000:00:14.0`. */
  controllerPath: string;
  /** `usb1`: the root hub's folder in it, numbered in the order of boot. */
  rootHub: string;
  /** `4.2`: port by port. */
  ports: string;
}

/** Takes the real path of a USB device folder apart (`…/0000:00:14.0/usb1/1-4/1-4.2`). null: not of that form. */
export function usbPlace(realPath: string): UsbPlace | null {
  const match = /^(?<controllerPath>\/.*)\/(?<rootHub>usb\d+)(?:\/[^/]+)*\/\d+-(?<ports>\d+(?:\.\d+)*)$/.exec(
    realPath,
  )?.groups;
  if (match?.controllerPath === undefined || match.rootHub === undefined || match.ports === undefined) return null;
  return { controllerPath: match.controllerPath, rootHub: match.rootHub, ports: match.ports };
}

/**
 * The port in a form that survives a reboot: controller, which of its root hubs (by order, not by bus number), ports;
 * `pci0000:00/0000:00:14.0/0/4.2`. `siblings` are the names in the controller's folder. null: the root hub is not among them.
 */
export function portPath(place: UsbPlace, siblings: string[]): string | null {
  const rootHubs = siblings
    .filter((name) => /^usb\d+$/.test(name))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  const ordinal = rootHubs.indexOf(place.rootHub);
  if (ordinal < 0) return null;
  const controller = place.controllerPath.replace(/^.*?\/devices\//, '');
  return `${controller}/${ordinal}/${place.ports}`;
}

/** A name that a device gives: printable, white space single, at most 200 characters. Empty where it gives none. */
export function cleanName(text: string | null): string {
  return cut(printable(text ?? '', ' '), NAME_MAX_LENGTH).trim();
}

/**
 * A device's serial: printable, at most 128 characters (a longer one keeps its first 100 and the digest of the whole,
 * so that two long ones stay apart). AudioMoth puts its sample rate before it (`0384_…`), which changes with its
 * settings and is cut off. null: none.
 */
export function cleanSerial(text: string | null, vendorId: string, productId: string): string | null {
  let serial = printable(text ?? '', '');
  if (vendorId === AUDIOMOTH.vendorId && productId === AUDIOMOTH.productId)
    serial = serial.replace(/^\d{4}_/, '').trim();
  if (serial === '') return null;
  if (serial.length <= SERIAL_MAX_LENGTH) return serial;
  const digest = createHash('sha256').update(serial).digest('hex').slice(0, 8);
  return `${cut(serial, SERIAL_KEPT_LENGTH)}-${digest}`;
}

/**
 * Without control characters, invisible ones and broken ones: names are shown in a page, in logs and on terminals, and
 * PostgreSQL takes no NUL. Only classes that no later Unicode changes: a serial must stay what it is.
 */
function printable(text: string, replacement: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu, replacement)
    .replace(/\s+/g, ' ')
    .trim();
}

/** The first `length` characters, without half of one at the end. */
function cut(text: string, length: number): string {
  return text.slice(0, length).replace(/\p{Cs}$/u, '');
}
