import fc from 'fast-check';
import { expect, test } from 'vitest';
import { summarizeDescriptors } from '../../services/controller/usb-descriptors.ts';
import { cleanName, cleanSerial, portPath, usbPlace } from '../../services/controller/usb-identity.ts';
import * as usb from '../integration/usb-devices.ts';

const nothing = {
  wellFormed: true,
  audio: false,
  capture: false,
  playback: false,
  video: false,
  strange: false,
  offers: [],
};

test.each([
  ['a plain microphone', usb.plainMicrophone(), { audio: true, capture: true }],
  ['a UMIK-1', usb.umik1(), { audio: true, capture: true }],
  ['an AudioMoth', usb.audioMoth(), { audio: true, capture: true }],
  ['a CM108 stick', usb.cm108(), { audio: true, capture: true, playback: true }],
  ['an asynchronous speaker with its feedback endpoint', usb.speaker(), { audio: true, playback: true }],
  ['a headset', usb.headset(), { audio: true, capture: true, playback: true }],
  ['a webcam', usb.webcam(), { audio: true, capture: true, video: true }],
  ['an interface with line inputs', usb.audioInterface(), { audio: true, capture: true, playback: true }],
  ['a keyboard', usb.keyboard(), {}],
  ['a hub', usb.hub(), { strange: true }],
  ['a Pettersson M500', usb.petterssonM500(), { strange: true }],
])('%s', (_name, spec, expected) => {
  const { offers: _offers, ...functions } = summarizeDescriptors(spec.descriptors, 1);
  const { offers: _none, ...rest } = nothing;
  expect(functions).toEqual({ ...rest, ...expected });
});

test('offers come from the format descriptors: lists, ranges, three bytes', () => {
  const offers = (spec: usb.UsbDeviceSpec) => summarizeDescriptors(spec.descriptors, null).offers;
  expect(offers(usb.umik1())).toEqual([{ format: 'S24_3LE', channels: 2, rates: { kind: 'list', values: [48_000] } }]);
  expect(offers(usb.audioMoth())).toEqual([
    { format: 'S16_LE', channels: 1, rates: { kind: 'list', values: [384_000] } },
  ]);
  const range = usb.buildDescriptors('1234', '5678', [
    {
      kind: 'capture',
      terminalType: 0x0201,
      streams: [{ format: 'S16_LE', channels: 1, rates: { min: 8000, max: 48_000 } }],
    },
  ]);
  expect(summarizeDescriptors(range, 1).offers).toEqual([
    { format: 'S16_LE', channels: 1, rates: { kind: 'range', min: 8000, max: 48_000 } },
  ]);
  expect(offers(usb.speaker())).toEqual([]);
});

test('a feedback endpoint by the older standard, without usage bits, makes no microphone of a speaker either', () => {
  const bytes = Uint8Array.from(usb.speaker().descriptors);
  const at = bytes.findIndex((value, index) => value === 9 && bytes[index + 1] === 5 && bytes[index + 2] === 0x8f);
  bytes[at + 3] = 0x01;
  expect(summarizeDescriptors(bytes, 1)).toMatchObject({ capture: false, playback: true });
});

test('only the active configuration counts', () => {
  const microphone = usb.plainMicrophone().descriptors;
  const webcam = usb.webcam().descriptors.slice(18);
  webcam[5] = 2;
  const both = Uint8Array.from([...microphone, ...webcam]);
  expect(summarizeDescriptors(both, 1)).toMatchObject({ capture: true, video: false });
  expect(summarizeDescriptors(both, 2)).toMatchObject({ capture: true, video: true });
  expect(summarizeDescriptors(both, null)).toMatchObject({ video: false });
  expect(summarizeDescriptors(both, 9)).toMatchObject({ video: false });
});

test('damaged descriptors: the terminals are believed, where the endpoints are lost', () => {
  const { descriptors } = usb.plainMicrophone();
  const terminalsOnly = descriptors.slice(0, descriptors.length - 20);
  terminalsOnly[terminalsOnly.length - 1] = 200;
  const damaged = Uint8Array.from([...descriptors.slice(0, 80), 200]);
  expect(summarizeDescriptors(damaged, 1)).toMatchObject({ wellFormed: false, capture: true });
  const speaker = Uint8Array.from([...usb.speaker().descriptors.slice(0, 80), 200]);
  expect(summarizeDescriptors(speaker, 1)).toMatchObject({ wellFormed: false, capture: false });
});

test('any bytes are summarised without an exception, and offers are always sound', () => {
  const devices = [usb.plainMicrophone(), usb.webcam(), usb.speaker(), usb.audioInterface()].map(
    (each) => each.descriptors,
  );
  const mutated = fc
    .tuple(fc.constantFrom(...devices), fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 12 }), fc.nat(400))
    .map(([bytes, changes, length]) => {
      const copy = Uint8Array.from(bytes);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy.slice(0, length);
    });
  const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 1000 }), mutated);
  fc.assert(
    fc.property(anyBytes, fc.option(fc.nat(255)), (bytes, configuration) => {
      const { offers } = summarizeDescriptors(bytes, configuration);
      expect(offers.length).toBeLessThanOrEqual(64);
      for (const { channels, rates } of offers) {
        expect(channels).toBeGreaterThan(0);
        if (rates.kind === 'range') expect(rates.min).toBeLessThanOrEqual(rates.max);
        else expect(Math.min(...rates.values)).toBeGreaterThan(0);
      }
    }),
    { numRuns: 2000 },
  );
});

test('the port has a name that is free of bus numbers', () => {
  const pathOf = (realPath: string, siblings: string[]) => {
    const place = usbPlace(realPath);
    return place === null ? null : portPath(place, siblings);
  };
  const pci = '/sys/devices/pci0000:00/0000:00:14.0';
  expect(pathOf(`${pci}/usb1/1-4`, ['power', 'usb1', 'usb2'])).toBe('pci0000:00/0000:00:14.0/0/4');
  expect(pathOf(`${pci}/usb10/10-4/10-4.2`, ['usb10', 'usb9', 'uevent'])).toBe('pci0000:00/0000:00:14.0/1/4.2');
  expect(pathOf('/sys/devices/platform/soc/20980000.usb/usb1/1-1', ['usb1'])).toBe('platform/soc/20980000.usb/0/1');
  expect(pathOf(`${pci}/usb3/3-1`, ['usb1'])).toBeNull();
  expect(usbPlace('/sys/devices/pci0000:00/0000:00:1f.3')).toBeNull();
  fc.assert(fc.property(fc.string(), (text) => void usbPlace(text)));
});

test('serials and names come clean, and stay what they are when cleaned again', () => {
  expect(cleanSerial('0384_24F319055FDF2902\n', '16d0', '06f3')).toBe('24F319055FDF2902');
  expect(cleanSerial('0384_24F319055FDF2902', '1234', '5678')).toBe('0384_24F319055FDF2902');
  expect(cleanSerial('0384_', '16d0', '06f3')).toBeNull();
  expect(cleanSerial(' \u0000\n', '1234', '5678')).toBeNull();
  expect(cleanSerial(null, '1234', '5678')).toBeNull();
  const [one, two] = ['a', 'b'].map((end) => cleanSerial('x'.repeat(200) + end, '1234', '5678'));
  expect(one).toHaveLength(109);
  expect(one).not.toBe(two);
  expect(cleanName(`a\tb\u001b[31m\u202e${'c'.repeat(300)}`)).toHaveLength(200);
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const serial = cleanSerial(text, '1234', '5678');
      if (serial !== null) {
        expect(serial.length).toBeLessThanOrEqual(128);
        expect(serial).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
        expect(cleanSerial(serial, '1234', '5678')).toBe(serial);
      }
      expect(cleanName(cleanName(text))).toBe(cleanName(text));
    }),
  );
});
