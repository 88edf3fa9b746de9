/**
 * From a USB device to a `Microphone`: reads what sysfs and procfs say of one device and its sound card. Reads small
 * kernel files and opens no device. Node numbers come from sysfs, never from `/dev`: in a container that is a snapshot.
 */
import { formatUsbDevice } from '../shared/contract.ts';
import type { Capabilities } from '../shared/profile.ts';
import {
  type CardNames,
  parseDeviceNumber,
  parseSoundNames,
  parseStream,
  parseUsbBus,
  usbFolderOfCard,
} from './alsa.ts';
import { listFolderIfPresent, readBytes, readText, readTextIfPresent, resolveIfPresent } from './kernel-files.ts';
import { summarizeDescriptors, type UsbFunctions } from './usb-descriptors.ts';
import { cleanName, cleanSerial, portPath, usbPlace } from './usb-identity.ts';
import type { DeviceNode, Microphone, SoundCard } from './world.ts';

/** Where sysfs and procfs are mounted. */
export interface KernelRoots {
  sysRoot: string;
  procRoot: string;
}

/** A USB device as one enumeration lists it. */
export interface UsbDeviceSeen {
  bus: number;
  address: number;
  ports: number[];
  /** Four hexadecimal digits, lower case. */
  vendorId: string;
  productId: string;
}

/** What stays the same as long as a device stays plugged in; read once. */
export interface UsbStay {
  portPath: string;
  vendorId: string;
  productId: string;
  serial: string | null;
  product: string;
  manufacturer: string;
  /** null: the descriptors could not be read. */
  functions: UsbFunctions | null;
}

/** What became of reading a device. `gone`: it left meanwhile. `ready` false: read it again, something is still to come. */
export type MicrophoneFacts = { kind: 'gone' } | { kind: 'read'; microphone: Microphone | null; ready: boolean };

/** Devices that a station is asked about again and again although they cannot record as they are. */
const KNOWN_OBSTACLES: Record<string, { reason: string; message: string }> = {
  '287d:0146': {
    reason: 'NoSoundCard',
    message:
      'The Pettersson M500 (500 kHz) makes no sound card of itself and works only with its maker’s own programs, so it cannot be recorded here; use a microphone that is a USB sound card, for example the M500-384.',
  },
  '10c4:0002': {
    reason: 'SwitchedOff',
    message:
      'The switch of this AudioMoth is at USB/OFF, where it hears nothing; move it to DEFAULT or CUSTOM (it needs the USB microphone firmware).',
  },
};

/** Name of a device's folder in `/sys/bus/usb/devices`: `1-4.2`. */
export function folderName(seen: UsbDeviceSeen): string {
  return `${seen.bus}-${seen.ports.join('.')}`;
}

/** Reads what does not change while the device is plugged in. null: it is gone. Throws where the kernel refuses. */
export function readStay(seen: UsbDeviceSeen, { sysRoot }: KernelRoots): UsbStay | null {
  const realPath = resolveIfPresent(`${sysRoot}/bus/usb/devices/${folderName(seen)}`);
  if (realPath === null) return null;
  const place = usbPlace(realPath);
  const siblings = place === null ? null : listFolderIfPresent(place.controllerPath);
  const port = place === null || siblings === null ? null : portPath(place, siblings);
  if (port === null) throw new Error(`${realPath} is not below a USB root hub, so its port has no name`);
  return {
    portPath: port,
    vendorId: seen.vendorId,
    productId: seen.productId,
    serial: cleanSerial(readTextIfPresent(`${realPath}/serial`), seen.vendorId, seen.productId),
    product: cleanName(readTextIfPresent(`${realPath}/product`)),
    manufacturer: cleanName(readTextIfPresent(`${realPath}/manufacturer`)),
    functions: readFunctions(realPath),
  };
}

function readFunctions(realPath: string): UsbFunctions | null {
  const configuration = Number.parseInt(readTextIfPresent(`${realPath}/bConfigurationValue`) ?? '', 10);
  let bytes: Uint8Array;
  try {
    bytes = readBytes(`${realPath}/descriptors`);
  } catch {
    // null says "not readable": the device then counts by what ALSA says of it, and never as a plain microphone.
    return null;
  }
  return summarizeDescriptors(bytes, Number.isNaN(configuration) ? null : configuration);
}

/**
 * Sound cards of USB devices that can capture, by `folderName` of the device. Where a device has several cards, the
 * first counts. Throws where the kernel refuses.
 */
export function readUsbCards(soundNames: string[], usb: UsbDeviceSeen[], roots: KernelRoots): Map<string, CardNames> {
  const cards = new Map<string, CardNames>();
  for (const card of parseSoundNames(soundNames)) {
    if (card.captureDevices.length === 0) continue;
    const folder = readUsbFolder(card.card, usb, roots);
    if (folder !== null && !cards.has(folder)) cards.set(folder, card);
  }
  return cards;
}

function readUsbFolder(card: number, usb: UsbDeviceSeen[], { sysRoot, procRoot }: KernelRoots): string | null {
  const realPath = resolveIfPresent(`${sysRoot}/class/sound/card${card}`);
  const folder = realPath === null ? null : usbFolderOfCard(realPath);
  if (folder !== null) return folder;
  const place = parseUsbBus(readTextIfPresent(`${procRoot}/asound/card${card}/usbbus`) ?? '');
  const seen = usb.find((each) => each.bus === place?.bus && each.address === place.address);
  return seen === undefined ? null : folderName(seen);
}

/**
 * Puts a device and its card together. `microphone` null: it captures nothing. Throws where the kernel refuses a read
 * for any other reason than that the file is not there (yet).
 */
export function describeMicrophone(
  stay: UsbStay,
  seen: UsbDeviceSeen,
  card: CardNames | undefined,
  roots: KernelRoots,
): Extract<MicrophoneFacts, { kind: 'read' }> {
  const { functions } = stay;
  const known = KNOWN_OBSTACLES[`${stay.vendorId}:${stay.productId}`];
  const captures = functions?.capture === true || card !== undefined;
  const described = functions !== null;
  if (!captures && known === undefined) return { kind: 'read', microphone: null, ready: described };

  const sound = card === undefined ? null : readSound(card, seen, functions, roots);
  const waiting = card !== undefined && sound === null;
  const isPlain = functions?.capture === true && !functions.playback && !functions.video && !functions.strange;
  const nodes = sound === null ? '-' : sound.nodes.map((node) => `${node.major}:${node.minor}`).join(',');
  return {
    kind: 'read',
    ready: described && !waiting,
    microphone: {
      incarnation: `${stay.portPath}#${seen.address}#${sound?.card ?? '-'}#${nodes}`,
      portPath: stay.portPath,
      vendorId: stay.vendorId,
      productId: stay.productId,
      serial: stay.serial,
      product: stay.product,
      manufacturer: stay.manufacturer,
      kind: isPlain ? 'plain' : 'composite',
      sound,
      obstacle: sound === null ? obstacleOf(stay, known) : null,
      virtual: false,
    },
  };
}

function obstacleOf(stay: UsbStay, known: { reason: string; message: string } | undefined): Microphone['obstacle'] {
  if (known !== undefined) return { ...known, lasting: true };
  const name = stay.product === '' ? `The device ${stay.vendorId}:${stay.productId}` : stay.product;
  const message = `${name} is plugged in, but the system has made no sound card of it yet; if this lasts, plug it in again, into another port or a hub with its own power supply.`;
  return { reason: 'WaitingForSound', message, lasting: false };
}

/** The first capturing device of a card. null: some of its files are not there yet. */
function readSound(
  { card, captureDevices }: CardNames,
  seen: UsbDeviceSeen,
  functions: UsbFunctions | null,
  roots: KernelRoots,
): SoundCard | null {
  const [device] = captureDevices;
  if (device === undefined) return null;
  const control = readNode(`controlC${card}`, roots);
  const capture = readNode(`pcmC${card}D${device}c`, roots);
  if (control === null || capture === null) return null;
  const capabilities = readCapabilities(card, device, functions, roots);
  const usbDevice = formatUsbDevice(seen);
  return { card, device, hw: `hw:${card},${device}`, usbDevice, nodes: [control, capture], capabilities };
}

function readNode(name: string, { sysRoot }: KernelRoots): DeviceNode | null {
  const text = readTextIfPresent(`${sysRoot}/class/sound/${name}/dev`);
  const number = text === null ? null : parseDeviceNumber(text);
  return number === null ? null : { path: `/dev/snd/${name}`, ...number };
}

/**
 * ALSA's own list; where it cannot be had (`/proc/asound` is hidden in many containers), what the descriptors tell.
 * No offers says "not known", so a failed read is not mistaken for a device that offers nothing.
 */
function readCapabilities(
  card: number,
  device: number,
  functions: UsbFunctions | null,
  { procRoot }: KernelRoots,
): Capabilities {
  const fallback = { offers: functions?.offers ?? [] };
  try {
    const offers = parseStream(readText(`${procRoot}/asound/card${card}/stream${device}`));
    return offers.length > 0 ? { offers } : fallback;
  } catch {
    return fallback;
  }
}
