/** What kernel, sound system and devices say of microphones, damaged: read without a throw, bounded, and never taken for more. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import {
  parseDeviceNumber,
  parseOwnerPid,
  parseSoundNames,
  parseStream,
  parseUsbBus,
  usbFolderOfCard,
} from '../../services/controller/alsa.ts';
import { summarizeDescriptors } from '../../services/controller/usb-descriptors.ts';
import { cleanName, cleanSerial, portPath, usbPlace } from '../../services/controller/usb-identity.ts';
import { createArecordMessages } from '../../services/recorder/arecord-messages.ts';
import { describeHolder } from '../../services/recorder/holder.ts';
import { negotiate } from '../../services/shared/negotiate.ts';
import { type CaptureOffer, profileConfigSchema } from '../../services/shared/profile.ts';
import * as usb from '../integration/usb-devices.ts';
import { corpus, damagedBytes, damagedText, fuzz, hexBytes, isSentence } from './fuzzing.ts';

const DEVICES = [
  usb.umik1(),
  usb.audioMoth(),
  usb.headset(),
  usb.webcam(),
  usb.audioInterface(),
  usb.speaker(),
  usb.keyboard(),
];
const DESCRIPTORS = [...DEVICES.map(({ descriptors }) => descriptors), ...corpus('descriptors-').map(hexBytes)];
const STREAMS = [...corpus('stream0-'), ...DEVICES.map((device) => usb.streamText(device, 'usb-0000:00:14.0-2'))];

/** What everything behind may rely on. */
function expectGoodOffers(offers: readonly CaptureOffer[]): void {
  expect(offers.length).toBeLessThanOrEqual(64);
  for (const { format, channels, rates } of offers) {
    expect(format).toMatch(/^[\w -]{1,40}$/);
    expect(Number.isSafeInteger(channels) && channels > 0 && channels < 1000).toBe(true);
    const values = rates.kind === 'list' ? rates.values : [rates.min, rates.max];
    expect(values.length).toBeGreaterThan(0);
    expect(values.length).toBeLessThanOrEqual(100);
    for (const rate of values) expect(Number.isSafeInteger(rate) && rate > 0 && rate <= 99_999_999).toBe(true);
    if (rates.kind === 'range') expect(rates.min).toBeLessThanOrEqual(rates.max);
  }
}

describe('descriptors', () => {
  fuzz('the samples themselves are whole', fc.constantFrom(...DESCRIPTORS), (sample) => {
    expect(summarizeDescriptors(sample, null).wellFormed).toBe(true);
  });

  fuzz(
    'damaged ones are summarised all the same, and again as before',
    fc.tuple(damagedBytes(DESCRIPTORS), fc.option(fc.integer({ min: 0, max: 255 }))),
    ([bytes, configuration]) => {
      const before = Buffer.from(bytes);
      const summary = summarizeDescriptors(bytes, configuration);
      expectGoodOffers(summary.offers);
      // What streams sound has an audio interface; without one nothing is taken for a microphone.
      if (summary.capture || summary.playback) expect(summary.audio).toBe(true);
      expect(summarizeDescriptors(bytes, configuration)).toEqual(summary);
      expect(bytes.equals(before)).toBe(true);
    },
  );

  fuzz(
    'whatever is behind a byte that lies changes nothing of what stood before it',
    fc.tuple(fc.constantFrom(...DESCRIPTORS), fc.uint8Array({ maxLength: 200 })),
    ([sample, noise]) => {
      const cutOff = summarizeDescriptors(Buffer.concat([sample, Buffer.from([1]), noise]), null);
      expect({ ...cutOff, wellFormed: true }).toEqual({ ...summarizeDescriptors(sample, null), wellFormed: true });
      expect(cutOff.wellFormed).toBe(false);
    },
  );
});

describe('the sound system', () => {
  fuzz('stream files: offers are bounded and make sense', damagedText(STREAMS), (text) => {
    expectGoodOffers(parseStream(text));
  });

  fuzz(
    'what is offered can be negotiated: what is recorded is something that is offered',
    fc.tuple(damagedText(STREAMS), fc.integer({ min: 4000, max: 400_000 }), fc.integer({ min: 1, max: 8 })),
    ([text, rate, channels]) => {
      const offers = parseStream(text);
      const profile = { match: {}, audio: { rate, channels, format: 'native' } };
      const outcome = negotiate(profileConfigSchema.parse(profile), { offers }, {});
      const sentences = outcome.ok ? outcome.warnings.map(({ message }) => message) : [outcome.message];
      for (const sentence of sentences) expect(sentence.length).toBeLessThan(2000);
      if (!outcome.ok || offers.length === 0) return;
      const { audio } = outcome;
      const isOffered = offers.some(
        (offer) =>
          offer.format === audio.format &&
          offer.channels === audio.channels &&
          (offer.rates.kind === 'list'
            ? offer.rates.values.includes(audio.rate)
            : offer.rates.min <= audio.rate && audio.rate <= offer.rates.max),
      );
      expect(isOffered).toBe(true);
    },
  );

  fuzz(
    'names, numbers and owners',
    fc.tuple(
      fc.array(damagedText(['card1', 'controlC1', 'pcmC1D0c', 'pcmC12D3p', 'card12', 'timer'], 200), { maxLength: 40 }),
      damagedText(['001/004', '116:5', ...corpus('pcm-status')]),
    ),
    ([names, text]) => {
      for (const { card, captureDevices } of parseSoundNames(names)) {
        expect(card).toBeLessThan(1000);
        for (const device of captureDevices) expect(device).toBeLessThan(1000);
      }
      const bus = parseUsbBus(text);
      if (bus !== null) expect(Math.max(bus.bus, bus.address)).toBeLessThan(100_000);
      const node = parseDeviceNumber(text);
      if (node !== null) expect(Math.max(node.major, node.minor)).toBeLessThan(10_000_000);
      const pid = parseOwnerPid(text);
      if (pid !== null) expect(Number.isSafeInteger(pid) && pid > 0).toBe(true);
    },
  );

  describe('who holds a microphone', () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'silvasonic-fuzz-'));
      mkdirSync(join(folder, 'asound/card1/pcm0c/sub0'), { recursive: true });
      mkdirSync(join(folder, '4711'));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    fuzz(
      'is one sentence in one line, whatever the program calls itself',
      fc.tuple(damagedText(corpus('pcm-status')), damagedText(['arecord\n', 'pulseaudio\n', 'Web Content\n'], 64)),
      ([status, name]) => {
        writeFileSync(join(folder, 'asound/card1/pcm0c/sub0/status'), status);
        writeFileSync(join(folder, '4711/comm'), name);
        const sentence = describeHolder('hw:1,0', folder);
        expect(isSentence(sentence)).toBe(true);
        expect(sentence).not.toMatch(/\n|\p{Cc}/u);
        expect(sentence.length).toBeLessThan(200);
      },
    );
  });
});

describe('identity', () => {
  const PATHS = [
    '/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4.2',
    '/sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1/1-1.3',
    '/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/sound/card1',
  ];

  fuzz(
    'a place in sysfs is taken apart without a throw, and its port never leads elsewhere',
    damagedText(PATHS, 4096),
    (path) => {
      const folder = usbFolderOfCard(path);
      if (folder !== null) expect(folder).toMatch(/^\d+-\d+(\.\d+)*$/);
      const place = usbPlace(path);
      if (place === null) return;
      expect(place.ports).toMatch(/^\d+(\.\d+)*$/);
      expect(portPath(place, [])).toBeNull();
      expect(portPath(place, ['usb7', place.rootHub, 'power', 'usb10000'])?.endsWith(`/${place.ports}`)).toBe(true);
    },
  );

  const NAMES = [
    'Umik-1  Gain:  18dB',
    '384kHz AudioMoth USB Microphone',
    '0384_24F319055FDF2902',
    'ÄÖÜ 🎤',
    '000-0000',
  ];

  fuzz(
    'names and serials come out clean and bounded, and cleaning them again changes nothing',
    damagedText(NAMES),
    (text) => {
      const name = cleanName(text);
      expect(name.length).toBeLessThanOrEqual(200);
      expect(name).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]|^\s|\s$|\s\s/u);
      expect(cleanName(name)).toBe(name);
      for (const [vendorId, productId] of [
        ['16d0', '06f3'],
        ['2752', '0007'],
      ] as const) {
        const serial = cleanSerial(text, vendorId, productId);
        if (serial === null) continue;
        expect(serial.length).toBeLessThanOrEqual(128);
        expect(serial).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]|^\s|\s$/u);
        expect(serial).not.toBe('');
      }
    },
  );

  fuzz(
    'two long serials that differ stay apart',
    fc.tuple(fc.string({ minLength: 130, maxLength: 140 }), fc.string({ minLength: 1, maxLength: 5 })),
    ([long, more]) => {
      const [one, other] = [cleanSerial(long, '1', '2'), cleanSerial(`${long}${more}x`, '1', '2')];
      if (one !== null && long.trim() === long && !/\s\s/.test(long)) expect(one).not.toBe(other);
    },
  );
});

describe('arecord', () => {
  const request = { device: 'hw:1,0', rate: 48_000, channels: 1, format: 'S16_LE' } as const;

  fuzz(
    'whatever it says: numbers are numbers, and it ends for one reason in one sentence',
    fc.tuple(damagedText(corpus('arecord-')), fc.option(fc.integer({ min: 0, max: 255 }))),
    ([text, code]) => {
      const messages = createArecordMessages(request);
      for (const line of text.split('\n')) {
        const event = messages.line(line);
        if (event?.kind === 'buffer' || event?.kind === 'discarded')
          expect(Number.isSafeInteger(event.frames) && event.frames >= 0).toBe(true);
        if (event?.kind === 'overrun') expect(event.lostMs >= 0 && event.lostMs < 1e12).toBe(true);
        if (event?.kind === 'refused') expect(isSentence(event.end.message)).toBe(true);
      }
      const end = messages.end(code, code === null ? 'SIGKILL' : null);
      expect(end.reason).toMatch(/^[A-Z][A-Za-z]+$/);
      expect(end.message.length).toBeGreaterThan(0);
      expect(end.message.length).toBeLessThan(1000);
    },
  );
});
