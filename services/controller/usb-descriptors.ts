/**
 * What a USB device can do, read from the raw bytes of its descriptors (`/sys/bus/usb/devices/<name>/descriptors`):
 * does it capture sound, play it, film, or something that we don't know. Pure: bytes in, summary out; never throws.
 *
 * Sources: USB 2.0 chapter 9 (descriptors, endpoint attributes), USB Audio Device Class 1.0 and 2.0 with their
 * terminal-type and format supplements.
 */
import type { CaptureOffer } from '../shared/profile.ts';

export interface UsbFunctions {
  /** False: the bytes end early or contradict themselves, so what is missing below proves nothing. */
  wellFormed: boolean;
  /** It has an interface of the audio class. */
  audio: boolean;
  /** It sends sound to us. */
  capture: boolean;
  /** It takes sound from us: speaker, headphones. */
  playback: boolean;
  video: boolean;
  /** Interfaces that are neither audio nor known to be harmless beside it (keys, firmware update). */
  strange: boolean;
  /** Ways to capture as the descriptors tell them. USB Audio 2 tells no rates there, so it has none here. */
  offers: CaptureOffer[];
}

const DESCRIPTOR = { device: 0x01, configuration: 0x02, interface: 0x04, endpoint: 0x05, classSpecific: 0x24 } as const;
const CLASS = { audio: 0x01, hid: 0x03, video: 0x0e, applicationSpecific: 0xfe } as const;
const AUDIO_SUBCLASS = { control: 0x01, streaming: 0x02 } as const;
const FIRMWARE_UPDATE_SUBCLASS = 0x01;
/** `bInterfaceProtocol` of USB Audio 1; 0x20 and 0x30 are versions 2 and 3. */
const AUDIO_PROTOCOL_1 = 0x00;
const CONTROL_SUBTYPE = { inputTerminal: 0x02, outputTerminal: 0x03 } as const;
const STREAMING_SUBTYPE = { general: 0x01, formatType: 0x02 } as const;
const TERMINAL_USB_STREAMING = 0x0101;
const FORMAT_PCM = 0x0001;
const MAX_OFFERS = 64;

interface AlternateSetting {
  interfaceClass: number;
  subclass: number;
  protocol: number;
  /** Direction of the first isochronous endpoint that carries sound. */
  stream: 'capture' | 'playback' | null;
  formatTag: number | null;
  format: { channels: number; bytesPerSample: number; rates: CaptureOffer['rates'] } | null;
}

interface Contents {
  alternates: AlternateSetting[];
  /** An input terminal that is a microphone or a line, and an output terminal towards USB. */
  hears: boolean;
  toUsb: boolean;
  wellFormed: boolean;
}

/**
 * Summarises a device's descriptors. Of several configurations the one numbered `activeConfiguration` counts, or the
 * first where that is null or absent.
 *
 * An isochronous endpoint decides what is capture and what is playback. Terminal types are believed only where the
 * bytes are damaged: audio interfaces name their inputs as they like.
 */
export function summarizeDescriptors(bytes: Uint8Array, activeConfiguration: number | null): UsbFunctions {
  const contents = readContents(bytes, activeConfiguration);
  const { alternates } = contents;
  const has = (interfaceClass: number) => alternates.some((alternate) => alternate.interfaceClass === interfaceClass);
  const streams = (direction: 'capture' | 'playback') => alternates.some((alternate) => alternate.stream === direction);
  return {
    wellFormed: contents.wellFormed,
    audio: has(CLASS.audio),
    capture: streams('capture') || (!contents.wellFormed && contents.hears && contents.toUsb),
    playback: streams('playback'),
    video: has(CLASS.video),
    strange: alternates.some((alternate) => !isKnownInterface(alternate)),
    offers: offersOf(alternates),
  };
}

function isKnownInterface({ interfaceClass, subclass }: AlternateSetting): boolean {
  if (interfaceClass === CLASS.applicationSpecific) return subclass === FIRMWARE_UPDATE_SUBCLASS;
  return interfaceClass === CLASS.audio || interfaceClass === CLASS.hid || interfaceClass === CLASS.video;
}

function readContents(bytes: Uint8Array, activeConfiguration: number | null): Contents {
  const { descriptors, wellFormed } = splitDescriptors(bytes);
  const numbers = descriptors.filter((each) => each[1] === DESCRIPTOR.configuration).map((each) => byte(each, 5));
  const wanted =
    activeConfiguration !== null && numbers.includes(activeConfiguration) ? activeConfiguration : numbers[0];
  const contents: Contents = { alternates: [], hears: false, toUsb: false, wellFormed };
  let configuration: number | undefined;
  let current: AlternateSetting | null = null;
  for (const descriptor of descriptors) {
    if (descriptor[1] === DESCRIPTOR.configuration) configuration = byte(descriptor, 5);
    if (configuration !== wanted) continue;
    switch (descriptor[1]) {
      case DESCRIPTOR.interface:
        current = newAlternate(descriptor);
        contents.alternates.push(current);
        break;
      case DESCRIPTOR.classSpecific:
        if (current !== null) readClassSpecific(descriptor, current, contents);
        break;
      case DESCRIPTOR.endpoint:
        if (current !== null) readEndpoint(descriptor, current);
        break;
    }
  }
  return contents;
}

/** Cuts the bytes into descriptors. A length that is impossible ends it: nothing after it can be trusted. */
function splitDescriptors(bytes: Uint8Array): { descriptors: Uint8Array[]; wellFormed: boolean } {
  const descriptors: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = byte(bytes, at);
    if (length < 2 || at + length > bytes.length) return { descriptors, wellFormed: false };
    descriptors.push(bytes.subarray(at, at + length));
    at += length;
  }
  const startsRight = descriptors[0]?.[1] === DESCRIPTOR.device && descriptors[1]?.[1] === DESCRIPTOR.configuration;
  return { descriptors, wellFormed: startsRight };
}

function newAlternate(descriptor: Uint8Array): AlternateSetting {
  return {
    interfaceClass: byte(descriptor, 5),
    subclass: byte(descriptor, 6),
    protocol: byte(descriptor, 7),
    stream: null,
    formatTag: null,
    format: null,
  };
}

function readClassSpecific(descriptor: Uint8Array, current: AlternateSetting, contents: Contents): void {
  if (current.interfaceClass !== CLASS.audio) return;
  const subtype = byte(descriptor, 2);
  if (current.subclass === AUDIO_SUBCLASS.control) {
    const terminalType = word(descriptor, 4);
    const family = terminalType >> 8;
    // 0x02xx microphones, 0x04xx headsets and telephones' handsets, 0x06xx line inputs and the like.
    if (subtype === CONTROL_SUBTYPE.inputTerminal && [0x02, 0x04, 0x06].includes(family)) contents.hears = true;
    if (subtype === CONTROL_SUBTYPE.outputTerminal && terminalType === TERMINAL_USB_STREAMING) contents.toUsb = true;
  }
  if (current.subclass === AUDIO_SUBCLASS.streaming && current.protocol === AUDIO_PROTOCOL_1) {
    if (subtype === STREAMING_SUBTYPE.general) current.formatTag = word(descriptor, 5);
    if (subtype === STREAMING_SUBTYPE.formatType) current.format = readFormatType(descriptor);
  }
}

/** UAC1 format type I: channels, bytes per sample, then a range (count 0) or a list of rates of three bytes each. */
function readFormatType(descriptor: Uint8Array): AlternateSetting['format'] {
  const channels = byte(descriptor, 4);
  const count = byte(descriptor, 7);
  const stored = count === 0 ? 2 : count;
  if (byte(descriptor, 3) !== 0x01 || channels === 0 || descriptor.length < 8 + 3 * stored) return null;
  const values = Array.from({ length: stored }, (_, index) => triple(descriptor, 8 + 3 * index));
  const [min, max] = values;
  const isRange = count === 0 && min !== undefined && max !== undefined;
  if (values.includes(0) || (isRange && min > max)) return null;
  const rates: CaptureOffer['rates'] = isRange ? { kind: 'range', min, max } : { kind: 'list', values };
  return { channels, bytesPerSample: byte(descriptor, 5), rates };
}

/**
 * Isochronous endpoints carry the sound. One whose usage is "feedback", or that is the second of its setting, only
 * paces a speaker: an asynchronous speaker has such an IN endpoint and is no microphone for that.
 */
function readEndpoint(descriptor: Uint8Array, current: AlternateSetting): void {
  if (current.interfaceClass !== CLASS.audio || current.subclass !== AUDIO_SUBCLASS.streaming) return;
  const attributes = byte(descriptor, 3);
  const isIsochronous = (attributes & 0x03) === 0x01;
  const isFeedback = (attributes & 0x30) === 0x10;
  const isEmpty = word(descriptor, 4) === 0;
  if (!isIsochronous || isFeedback || isEmpty || current.stream !== null) return;
  current.stream = (byte(descriptor, 2) & 0x80) !== 0 ? 'capture' : 'playback';
}

function offersOf(alternates: AlternateSetting[]): CaptureOffer[] {
  const offers: CaptureOffer[] = [];
  for (const { stream, format, formatTag } of alternates) {
    if (stream !== 'capture' || format === null || formatTag !== FORMAT_PCM || offers.length >= MAX_OFFERS) continue;
    offers.push({ format: alsaFormat(format.bytesPerSample), channels: format.channels, rates: format.rates });
  }
  return offers;
}

/** As ALSA names them: it calls any sample in four bytes `S32_LE`, also one of 24 bits. */
function alsaFormat(bytesPerSample: number): string {
  switch (bytesPerSample) {
    case 1:
      return 'S8';
    case 2:
      return 'S16_LE';
    case 3:
      return 'S24_3LE';
    case 4:
      return 'S32_LE';
    default:
      return `${bytesPerSample}-byte samples`;
  }
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function word(bytes: Uint8Array, at: number): number {
  return byte(bytes, at) | (byte(bytes, at + 1) << 8);
}

function triple(bytes: Uint8Array, at: number): number {
  return word(bytes, at) | (byte(bytes, at + 2) << 16);
}
