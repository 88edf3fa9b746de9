/**
 * USB devices as the bytes and texts that a kernel shows of them: descriptors (USB 2.0 chapter 9, USB Audio 1.0) and
 * ALSA's `stream0`. One function per device that tests plug in.
 */

export interface UsbDeviceSpec {
  vendorId: string;
  productId: string;
  product: string | null;
  manufacturer: string | null;
  serial: string | null;
  descriptors: Uint8Array;
  /** `bDeviceClass`: 0 = each interface says its own. */
  deviceClass: string;
  /** null: ALSA makes no card of it. */
  sound: { capture: StreamSpec[]; playback: StreamSpec[] } | null;
}

/** One altsetting of a stream. */
export interface StreamSpec {
  format: 'S16_LE' | 'S24_3LE' | 'S32_LE';
  channels: number;
  /** A list, or the two ends of a range. Frames per second. */
  rates: number[] | { min: number; max: number };
}

export type InterfaceSpec =
  | { kind: 'capture'; terminalType: number; streams: StreamSpec[] }
  /** `feedback`: an asynchronous speaker has an IN endpoint by which it paces its host. */
  | { kind: 'playback'; terminalType: number; streams: StreamSpec[]; feedback: boolean }
  | { kind: 'video' }
  | { kind: 'hid' }
  | { kind: 'firmwareUpdate' }
  | { kind: 'vendor' }
  | { kind: 'hub' };

const MICROPHONE = 0x0201;
const HEADSET = 0x0402;
const LINE = 0x0603;
const SPEAKER = 0x0301;

const BYTES: Record<StreamSpec['format'], number> = { S16_LE: 2, S24_3LE: 3, S32_LE: 4 };
const mono48: StreamSpec = { format: 'S16_LE', channels: 1, rates: [44_100, 48_000] };
const stereo48: StreamSpec = { format: 'S16_LE', channels: 2, rates: [44_100, 48_000] };

/** Names and ids; everything else has a default. */
type Changes = Partial<Pick<UsbDeviceSpec, 'vendorId' | 'productId' | 'product' | 'manufacturer' | 'serial'>>;

/** A microphone of no known make: captures and nothing else. */
export function plainMicrophone(changes: Changes = {}): UsbDeviceSpec {
  const names = {
    vendorId: '1234',
    productId: '5678',
    product: 'Field Microphone',
    manufacturer: 'Somebody',
    serial: 'A1',
  };
  return device({ ...names, ...changes }, [{ kind: 'capture', terminalType: MICROPHONE, streams: [mono48] }]);
}

/** 24 bits in three bytes at 48 kHz and nothing else; the same serial on every unit. */
export function umik1(changes: Changes = {}): UsbDeviceSpec {
  const names = { vendorId: '2752', productId: '0007', product: 'UMIK-1', manufacturer: 'miniDSP', serial: '000-0000' };
  const stream: StreamSpec = { format: 'S24_3LE', channels: 2, rates: [48_000] };
  return device({ ...names, ...changes }, [
    { kind: 'capture', terminalType: MICROPHONE, streams: [stream] },
    { kind: 'hid' },
  ]);
}

/** Stick with headphone output and keys, without a serial number. */
export function cm108(changes: Changes = {}): UsbDeviceSpec {
  const names = {
    vendorId: '0d8c',
    productId: '013c',
    product: 'USB PnP Sound Device',
    manufacturer: 'C-Media',
    serial: null,
  };
  return device({ ...names, ...changes }, [
    { kind: 'playback', terminalType: SPEAKER, streams: [stereo48], feedback: false },
    { kind: 'capture', terminalType: MICROPHONE, streams: [mono48] },
    { kind: 'hid' },
  ]);
}

/** AudioMoth with the USB microphone firmware: one rate, which is part of name and serial. */
export function audioMoth(uid = '24F319055FDF2902', rateKhz = 384): UsbDeviceSpec {
  const names = {
    vendorId: '16d0',
    productId: '06f3',
    product: `${rateKhz}kHz AudioMoth USB Microphone`,
    manufacturer: 'openacousticdevices.info',
    serial: `${String(rateKhz).padStart(4, '0')}_${uid}`,
  };
  const stream: StreamSpec = { format: 'S16_LE', channels: 1, rates: [rateKhz * 1000] };
  return device(names, [{ kind: 'capture', terminalType: MICROPHONE, streams: [stream] }, { kind: 'hid' }]);
}

/** AudioMoth with its switch at USB/OFF: it can be set up, it hears nothing. */
export function audioMothOff(): UsbDeviceSpec {
  const names = { vendorId: '10c4', productId: '0002', product: 'AudioMoth', manufacturer: 'openacousticdevices.info' };
  return device({ ...names, serial: null }, [{ kind: 'hid' }]);
}

/** Speaks with its maker's programs only. */
export function petterssonM500(): UsbDeviceSpec {
  const names = { vendorId: '287d', productId: '0146', product: 'M500', manufacturer: 'Pettersson Elektronik' };
  return device({ ...names, serial: '101' }, [{ kind: 'vendor' }]);
}

/** Asynchronous speaker: its IN endpoint only paces the host. */
export function speaker(): UsbDeviceSpec {
  const names = { vendorId: '046d', productId: '0a4d', product: 'USB Speaker', manufacturer: 'Logitech', serial: null };
  return device(names, [
    { kind: 'playback', terminalType: SPEAKER, streams: [stereo48], feedback: true },
    { kind: 'hid' },
  ]);
}

export function headset(changes: Changes = {}): UsbDeviceSpec {
  const names = {
    vendorId: '0b0e',
    productId: '0412',
    product: 'USB Headset',
    manufacturer: 'Jabra',
    serial: '501AA5',
  };
  return device({ ...names, ...changes }, [
    { kind: 'capture', terminalType: HEADSET, streams: [mono48] },
    { kind: 'playback', terminalType: HEADSET, streams: [stereo48], feedback: false },
    { kind: 'hid' },
  ]);
}

export function webcam(changes: Changes = {}): UsbDeviceSpec {
  const names = {
    vendorId: '046d',
    productId: '0825',
    product: 'Webcam C270',
    manufacturer: 'Logitech',
    serial: '8A63',
  };
  const stream: StreamSpec = { format: 'S16_LE', channels: 1, rates: [16_000, 24_000, 48_000] };
  return device({ ...names, ...changes }, [
    { kind: 'video' },
    { kind: 'capture', terminalType: MICROPHONE, streams: [stream] },
  ]);
}

/** Interface with line inputs, outputs, and a choice of formats. */
export function audioInterface(changes: Changes = {}): UsbDeviceSpec {
  const names = {
    vendorId: '1397',
    productId: '0507',
    product: 'UMC202HD 192k',
    manufacturer: 'BEHRINGER',
    serial: null,
  };
  const rates = [44_100, 48_000, 88_200, 96_000, 176_400, 192_000];
  const streams: StreamSpec[] = [{ format: 'S32_LE', channels: 2, rates }];
  return device({ ...names, ...changes }, [
    { kind: 'playback', terminalType: SPEAKER, streams, feedback: true },
    { kind: 'capture', terminalType: LINE, streams },
    { kind: 'firmwareUpdate' },
  ]);
}

export function keyboard(): UsbDeviceSpec {
  const names = {
    vendorId: '046d',
    productId: 'c31c',
    product: 'USB Keyboard',
    manufacturer: 'Logitech',
    serial: null,
  };
  return device(names, [{ kind: 'hid' }]);
}

export function hub(): UsbDeviceSpec {
  const names = {
    vendorId: '05e3',
    productId: '0610',
    product: 'USB2.1 Hub',
    manufacturer: 'GenesysLogic',
    serial: null,
  };
  return { ...device(names, [{ kind: 'hub' }]), deviceClass: '09' };
}

function device(names: Required<Changes>, interfaces: InterfaceSpec[]): UsbDeviceSpec {
  const capture = interfaces.flatMap((each) => (each.kind === 'capture' ? each.streams : []));
  const playback = interfaces.flatMap((each) => (each.kind === 'playback' ? each.streams : []));
  return {
    ...names,
    deviceClass: '00',
    descriptors: buildDescriptors(names.vendorId, names.productId, interfaces),
    sound: capture.length + playback.length > 0 ? { capture, playback } : null,
  };
}

// ----------------------------------------------------------------------------------------------------- descriptors

const word = (value: number) => [value & 0xff, value >> 8];
const triple = (value: number) => [value & 0xff, (value >> 8) & 0xff, value >> 16];
const interfaceOf = (number: number, alternate: number, endpoints: number, classes: [number, number, number]) => [
  ...[9, 0x04, number, alternate, endpoints, ...classes, 0],
];

/** The bytes of `/sys/bus/usb/devices/<name>/descriptors`: the device, then its one configuration. */
export function buildDescriptors(vendorId: string, productId: string, interfaces: InterfaceSpec[]): Uint8Array {
  const vendor = word(Number.parseInt(vendorId, 16));
  const product = word(Number.parseInt(productId, 16));
  const body: number[] = [];
  let number = 0;
  const audio = interfaces.filter((each) => each.kind === 'capture' || each.kind === 'playback');
  if (audio.length > 0) {
    body.push(...audioControl(number, audio));
    number += 1;
  }
  for (const [index, each] of audio.entries()) {
    body.push(...audioStreaming(number, index, each));
    number += 1;
  }
  for (const each of interfaces) {
    const bytes = otherInterface(number, each);
    body.push(...bytes);
    if (bytes.length > 0) number += each.kind === 'video' ? 2 : 1;
  }
  const device = [18, 0x01, 0x00, 0x02, 0, 0, 0, 64, ...vendor, ...product, 0x00, 0x01, 1, 2, 3, 1];
  const configuration = [9, 0x02, ...word(9 + body.length), number, 1, 0, 0x80, 50];
  return Uint8Array.from([...device, ...configuration, ...body]);
}

type AudioSpec = Extract<InterfaceSpec, { terminalType: number }>;

/** One interface that describes the way from each input terminal to its output terminal. */
function audioControl(number: number, audio: AudioSpec[]): number[] {
  const units = audio.flatMap((each, index) => {
    const [input, output] = each.kind === 'capture' ? [each.terminalType, 0x0101] : [0x0101, each.terminalType];
    const channels = each.streams[0]?.channels ?? 1;
    const ids = { input: 3 * index + 1, feature: 3 * index + 2, output: 3 * index + 3 };
    return [
      ...[12, 0x24, 0x02, ids.input, ...word(input), 0, channels, ...word(channels === 2 ? 3 : 0), 0, 0],
      ...[9, 0x24, 0x06, ids.feature, ids.input, 1, 0x03, 0, 0],
      ...[9, 0x24, 0x03, ids.output, ...word(output), 0, ids.feature, 0],
    ];
  });
  const streaming = audio.map((_, index) => number + 1 + index);
  const header = [8 + streaming.length, 0x24, 0x01, 0x00, 0x01];
  header.push(...word(8 + streaming.length + units.length), streaming.length, ...streaming);
  return [...interfaceOf(number, 0, 0, [1, 1, 0]), ...header, ...units];
}

function audioStreaming(number: number, index: number, spec: AudioSpec): number[] {
  const bytes = interfaceOf(number, 0, 0, [1, 2, 0]);
  for (const [setting, stream] of spec.streams.entries()) {
    const hasFeedback = spec.kind === 'playback' && spec.feedback;
    const rates = Array.isArray(stream.rates) ? stream.rates : [stream.rates.min, stream.rates.max];
    const rateCount = Array.isArray(stream.rates) ? stream.rates.length : 0;
    const sampleBytes = BYTES[stream.format];
    const packetBytes = Math.min(1023, Math.ceil((Math.max(...rates) / 1000) * stream.channels * sampleBytes));
    const endpoint = spec.kind === 'capture' ? 0x81 + index : 0x01 + index;
    const link = spec.kind === 'capture' ? 3 * index + 3 : 3 * index + 1;
    bytes.push(
      ...interfaceOf(number, setting + 1, hasFeedback ? 2 : 1, [1, 2, 0]),
      ...[7, 0x24, 0x01, link, 1, 0x01, 0x00],
      ...[8 + 3 * rates.length, 0x24, 0x02, 0x01, stream.channels, sampleBytes, sampleBytes * 8, rateCount],
      ...rates.flatMap(triple),
      ...[9, 0x05, endpoint, hasFeedback ? 0x05 : 0x0d, ...word(packetBytes), 1, 0, hasFeedback ? 0x8f : 0],
      ...[7, 0x25, 0x01, 0x01, 0, 0, 0],
    );
    if (hasFeedback) bytes.push(9, 0x05, 0x8f, 0x11, 3, 0, 1, 5, 0);
  }
  return bytes;
}

function otherInterface(number: number, spec: InterfaceSpec): number[] {
  switch (spec.kind) {
    case 'hid':
      return [
        ...interfaceOf(number, 0, 1, [3, 0, 0]),
        9,
        0x21,
        0x10,
        0x01,
        0,
        1,
        0x22,
        0x32,
        0,
        7,
        5,
        0x87,
        3,
        16,
        0,
        10,
      ];
    case 'video':
      return [
        ...interfaceOf(number, 0, 0, [0x0e, 1, 0]),
        ...interfaceOf(number + 1, 0, 0, [0x0e, 2, 0]),
        ...interfaceOf(number + 1, 1, 1, [0x0e, 2, 0]),
        ...[7, 0x05, 0x8a, 0x05, ...word(1020), 1],
      ];
    case 'firmwareUpdate':
      return [...interfaceOf(number, 0, 0, [0xfe, 1, 1]), 9, 0x21, 0x0d, 250, 0, 64, 0, 0x10, 0x01];
    case 'vendor':
      return [...interfaceOf(number, 0, 1, [0xff, 0, 0]), 7, 0x05, 0x82, 0x02, 0x00, 0x02, 0];
    case 'hub':
      return [...interfaceOf(number, 0, 1, [9, 0, 0]), 7, 0x05, 0x81, 0x03, 1, 0, 12];
    case 'capture':
    case 'playback':
      return [];
  }
}

// ------------------------------------------------------------------------------------------------------------ ALSA

/** The text of `/proc/asound/card<N>/stream0`. */
export function streamText(spec: UsbDeviceSpec, place: string): string {
  const { capture, playback } = spec.sound ?? { capture: [], playback: [] };
  const sections = [
    ...(playback.length > 0
      ? ['Playback:\n  Status: Stop', ...playback.map((each, at) => altset(each, at, 'OUT'))]
      : []),
    ...(playback.length > 0 && capture.length > 0 ? [''] : []),
    ...(capture.length > 0 ? ['Capture:\n  Status: Stop', ...capture.map((each, at) => altset(each, at, 'IN'))] : []),
  ];
  return `${spec.manufacturer} ${spec.product} at usb-${place}, full speed : USB Audio\n\n${sections.join('\n')}\n`;
}

function altset({ format, channels, rates }: StreamSpec, index: number, direction: 'IN' | 'OUT'): string {
  const written = Array.isArray(rates) ? rates.join(', ') : `${rates.min} - ${rates.max} (continuous)`;
  return [
    `  Interface ${direction === 'IN' ? 2 : 1}`,
    `    Altset ${index + 1}`,
    `    Format: ${format}`,
    `    Channels: ${channels}`,
    `    Endpoint: 0x${direction === 'IN' ? '82 (2 IN)' : '01 (1 OUT)'} (ASYNC)`,
    `    Rates: ${written}`,
    `    Bits: ${format === 'S16_LE' ? 16 : 24}`,
    `    Channel map: ${channels === 2 ? 'FL FR' : 'MONO'}`,
  ].join('\n');
}
