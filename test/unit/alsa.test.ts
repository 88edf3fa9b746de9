import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  parseDeviceNumber,
  parseOwnerPid,
  parseSoundNames,
  parseStream,
  parseUsbBus,
  usbFolderOfCard,
} from '../../services/controller/alsa.ts';
import * as usb from '../integration/usb-devices.ts';

/** A stick while it records: playback first, both altsets, and the lines that an open stream adds. */
const RUNNING = `C-Media Electronics Inc. USB PnP Sound Device at usb-0000:00:14.0-2, full speed : USB Audio

Playback:
  Status: Stop
  Interface 1
    Altset 1
    Format: S16_LE
    Channels: 2
    Endpoint: 0x01 (1 OUT) (ADAPTIVE)
    Rates: 8000 - 48000 (continuous)
    Bits: 16
    Channel map: FL FR

Capture:
  Status: Running
    Interface = 2
    Altset = 1
    Packet Size = 100
    Momentary freq = 48000 Hz (0x30.0000)
  Interface 2
    Altset 1
    Format: S16_LE
    Channels: 1
    Endpoint: 0x82 (2 IN) (ASYNC)
    Rates: 44100, 48000
    Bits: 16
    Channel map: MONO
  Interface 2
    Altset 2
    Format: S24_3LE S32_LE
    Channels: 2
    Endpoint: 0x82 (2 IN) (ASYNC)
    Rates: 96000 - 192000 (continuous)
    Data packet interval: 125 us
    Sync Endpoint: 0x81 (1 IN)
    Sync EP Interface: 2
`;

test('the capture section of stream0 is read altset by altset, whatever the stream does just now', () => {
  expect(parseStream(RUNNING)).toEqual([
    { format: 'S16_LE', channels: 1, rates: { kind: 'list', values: [44_100, 48_000] } },
    { format: 'S24_3LE', channels: 2, rates: { kind: 'range', min: 96_000, max: 192_000 } },
    { format: 'S32_LE', channels: 2, rates: { kind: 'range', min: 96_000, max: 192_000 } },
  ]);
});

test('playback alone offers nothing, and neither does what is incomplete', () => {
  expect(parseStream(usb.streamText(usb.speaker(), '1-1'))).toEqual([]);
  expect(parseStream('')).toEqual([]);
  expect(parseStream('Capture:\n  Interface 1\n    Altset 1\n    Format: S16_LE\n    Channels: 1\n')).toEqual([]);
  expect(parseStream('Capture:\n    Altset 1\n    Format: S16_LE\n    Channels: 0\n    Rates: 48000\n')).toEqual([]);
  expect(
    parseStream('Capture:\n    Altset 1\n    Format: S16_LE\n    Channels: 1\n    Rates: 9 - 8 (continuous)\n'),
  ).toEqual([]);
});

test('cards are found with their capture devices', () => {
  const names = [
    'card1',
    'controlC1',
    'pcmC1D1c',
    'pcmC1D0c',
    'pcmC1D0p',
    'card10',
    'pcmC10D0p',
    'timer',
    'seq',
    'pcmC3D0c',
  ];
  expect(parseSoundNames(names)).toEqual([
    { card: 1, captureDevices: [0, 1] },
    { card: 10, captureDevices: [] },
  ]);
});

test('a card belongs to the deepest USB device on its path', () => {
  const root = '/sys/devices/pci0000:00/0000:00:14.0/usb1';
  expect(usbFolderOfCard(`${root}/1-4/1-4.2/1-4.2:1.0/sound/card1`)).toBe('1-4.2');
  expect(usbFolderOfCard(`${root}/1-4/1-4:1.0/sound/card1`)).toBe('1-4');
  expect(usbFolderOfCard('/sys/devices/pci0000:00/0000:00:1f.3/sound/card0')).toBeNull();
});

test('small numbers', () => {
  expect(parseUsbBus('001/012\n')).toEqual({ bus: 1, address: 12 });
  expect(parseUsbBus('1-4')).toBeNull();
  expect(parseDeviceNumber('116:5\n')).toEqual({ major: 116, minor: 5 });
  expect(parseDeviceNumber('116')).toBeNull();
  expect(parseOwnerPid('state: RUNNING\nowner_pid   : 1234\ntrigger_time: 5.1\n')).toBe(1234);
  expect(parseOwnerPid('closed\n')).toBeNull();
  expect(parseOwnerPid('owner_pid   : 0\n')).toBeNull();
});

test('what the device tells and what ALSA makes of it agree', () => {
  for (const spec of [usb.plainMicrophone(), usb.umik1(), usb.webcam(), usb.audioMoth(), usb.audioInterface()]) {
    const expected = spec.sound?.capture.map(({ format, channels, rates }) => {
      return {
        format,
        channels,
        rates: Array.isArray(rates) ? { kind: 'list', values: rates } : { kind: 'range', ...rates },
      };
    });
    expect(parseStream(usb.streamText(spec, '1-1'))).toEqual(expected);
  }
});

test('no text makes a parser throw or an offer unsound', () => {
  const lines = fc.constantFrom(
    ...[
      'Capture:',
      'Playback:',
      '  Interface 1',
      '    Altset 1',
      '    Format: S16_LE',
      '    Format: \u0000',
      '    Channels: 1',
    ],
    ...[
      '    Channels: 99999',
      '    Rates: 48000',
      '    Rates: 0',
      '    Rates: 1 - 2 (continuous)',
      '    Rates:',
      ': : :',
    ],
  );
  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(lines, { maxLength: 60 }).map((each) => each.join('\n')),
  );
  fc.assert(
    fc.property(anyText, fc.array(fc.string()), (text, names) => {
      for (const { channels, rates, format } of parseStream(text)) {
        expect(channels).toBeGreaterThan(0);
        expect(format).not.toBe('');
        expect(rates.kind === 'range' ? rates.min : Math.min(...rates.values)).toBeGreaterThan(0);
      }
      parseUsbBus(text);
      parseDeviceNumber(text);
      parseOwnerPid(text);
      usbFolderOfCard(text);
      parseSoundNames([...names, text]);
    }),
    { numRuns: 1000 },
  );
});
