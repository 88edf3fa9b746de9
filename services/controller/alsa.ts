/**
 * What ALSA says in `/proc/asound` and `/sys/class/sound`, parsed. Pure: text in, data out; nothing here reads a file
 * or throws. Forms: the kernel's `sound/usb/proc.c`, `sound/core/pcm.c`, `sound/core/init.c`.
 */
import type { CaptureOffer } from '../shared/profile.ts';

/** A card as `/sys/class/sound` lists it: its number and the PCM devices that capture, in ascending order. */
export interface CardNames {
  card: number;
  captureDevices: number[];
}

const MAX_OFFERS = 64;
const MAX_RATES = 64;

/** Cards among the names in `/sys/class/sound` (`card1`, `controlC1`, `pcmC1D0c`, …), by number. */
export function parseSoundNames(names: string[]): CardNames[] {
  const cards = new Map<number, CardNames>();
  for (const name of names) {
    const card = /^card(\d{1,3})$/.exec(name)?.[1];
    if (card !== undefined) cards.set(Number(card), { card: Number(card), captureDevices: [] });
  }
  for (const name of names) {
    const match = /^pcmC(\d{1,3})D(\d{1,3})c$/.exec(name);
    if (match !== null) cards.get(Number(match[1]))?.captureDevices.push(Number(match[2]));
  }
  for (const card of cards.values()) card.captureDevices.sort((a, b) => a - b);
  return [...cards.values()].sort((a, b) => a.card - b.card);
}

/**
 * Name of the USB device folder (`1-4.2`) that a card's real path in sysfs lies in; null: not a USB card.
 * Example: `/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/sound/card1`.
 */
export function usbFolderOfCard(realPath: string): string | null {
  const folders = realPath.split('/').filter((part) => /^\d+-\d+(\.\d+)*$/.test(part));
  return folders.at(-1) ?? null;
}

/** `usbbus` of a card, `BBB/DDD`: bus number and device number. null: not of that form. */
export function parseUsbBus(text: string): { bus: number; address: number } | null {
  const match = /^(\d{1,5})\/(\d{1,5})$/.exec(text.trim());
  return match === null ? null : { bus: Number(match[1]), address: Number(match[2]) };
}

/** `dev` of a node, `116:5`. null: not of that form. */
export function parseDeviceNumber(text: string): { major: number; minor: number } | null {
  const match = /^(\d{1,7}):(\d{1,7})$/.exec(text.trim());
  return match === null ? null : { major: Number(match[1]), minor: Number(match[2]) };
}

/** Process that holds a PCM, from its `sub0/status`; null: closed, or held by nobody that is named. */
export function parseOwnerPid(status: string): number | null {
  const pid = /^owner_pid\s*:\s*(\d{1,10})\s*$/m.exec(status)?.[1];
  return pid === undefined || Number(pid) === 0 ? null : Number(pid);
}

/**
 * Ways to capture, from a USB card's `stream<N>`: each altsetting of the section `Capture:` with its format (or
 * formats), channels and rates. What is incomplete is left out.
 */
export function parseStream(text: string): CaptureOffer[] {
  const offers: CaptureOffer[] = [];
  for (const altset of captureAltsets(text)) {
    const rates = parseRates(altset.get('Rates') ?? '');
    const channels = /^\d{1,3}$/.exec(altset.get('Channels') ?? '')?.[0];
    if (rates === null || channels === undefined || Number(channels) === 0) continue;
    for (const format of (altset.get('Format') ?? '').split(' ')) {
      const isName = /^[A-Z][A-Z0-9_]{1,23}$/.test(format);
      if (isName && offers.length < MAX_OFFERS) offers.push({ format, channels: Number(channels), rates });
    }
  }
  return offers;
}

/** The `Name: value` lines of each altsetting below `Capture:`. What an open stream adds is written `Name = value`. */
function captureAltsets(text: string): Map<string, string>[] {
  const altsets: Map<string, string>[] = [];
  let inCapture = false;
  let current: Map<string, string> | null = null;
  for (const line of text.split('\n')) {
    const section = /^(\w+):\s*$/.exec(line)?.[1];
    if (section !== undefined) {
      inCapture = section === 'Capture';
      current = null;
    } else if (inCapture && /^\s+Altset \d+\s*$/.test(line)) {
      current = new Map();
      altsets.push(current);
    } else if (/^\s+Interface \d+\s*$/.test(line)) {
      current = null;
    } else if (current !== null) {
      const colon = line.indexOf(':');
      if (colon > 0) current.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
    }
  }
  return altsets;
}

/** `48000`, `44100, 48000`, or `8000 - 48000 (continuous)`. */
function parseRates(text: string): CaptureOffer['rates'] | null {
  const range = /^(\d{1,8}) - (\d{1,8}) \(continuous\)$/.exec(text);
  if (range !== null) {
    const [min, max] = [Number(range[1]), Number(range[2])];
    return min > 0 && min <= max ? { kind: 'range', min, max } : null;
  }
  const parts = text.split(',').map((part) => part.trim());
  if (!parts.every((part) => /^\d{1,8}$/.test(part))) return null;
  const values = [...new Set(parts.map(Number))].filter((rate) => rate > 0).sort((a, b) => a - b);
  return values.length === 0 ? null : { kind: 'list', values: values.slice(0, MAX_RATES) };
}
