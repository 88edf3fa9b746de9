/** Whose card a recorder opens: what it is told, how it looks that up, and what becomes of sound of another. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createArecordSource } from '../../services/recorder/arecord.ts';
import { createCardCheck } from '../../services/recorder/card.ts';
import { readRecorderSettings } from '../../services/recorder/config.ts';
import type { CaptureEnd } from '../../services/recorder/source.ts';
import { formatUsbDevice, parseUsbDevice, RECORDER_EXIT } from '../../services/shared/recording.ts';
import { sampleRecorderEnvironment } from './recorder-sample.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-card-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the USB device that a recorder is told', () => {
  test('is written as ALSA writes it, and read back', () => {
    const usb = { bus: 1, address: 5, vendorId: '2752', productId: '0007' };
    expect(formatUsbDevice(usb)).toBe('001/005 2752:0007');
    expect(parseUsbDevice('001/005 2752:0007')).toEqual({ place: '001/005', model: '2752:0007' });
    const number = fc.integer({ min: 1, max: 65_535 });
    const id = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16).padStart(4, '0'));
    fc.assert(
      fc.property(number, number, id, id, (bus, address, vendorId, productId) => {
        expect(parseUsbDevice(formatUsbDevice({ bus, address, vendorId, productId }))?.model).toBe(
          `${vendorId}:${productId}`,
        );
      }),
    );
  });

  test.each([
    '1/5 2752:0007',
    '001/005',
    '001/005 2752:7',
    '001/005 2752:000G',
    '001/005 2752:0007 x',
    '001/005\n2752:0007',
  ])('is refused as %j, with what is allowed', (text) => {
    const outcome = readRecorderSettings({ ...sampleRecorderEnvironment(), SILVASONIC_RECORDER_USB_DEVICE: text });
    expect(outcome).toMatchObject({
      ok: false,
      message: expect.stringContaining('SILVASONIC_RECORDER_USB_DEVICE was given'),
    });
    expect(outcome).toMatchObject({ message: expect.stringContaining('as 001/005 2752:0007, or nothing') });
  });

  test.each([undefined, ''])('may be missing (%j), as from an earlier controller', (text) => {
    const outcome = readRecorderSettings({ ...sampleRecorderEnvironment(), SILVASONIC_RECORDER_USB_DEVICE: text });
    expect(outcome).toMatchObject({ ok: true, value: { usbDevice: null } });
  });
});

/** A card's files below `folder`; null: there is none. */
function card(number: number, usbbus: string | null, usbid: string | null): void {
  const path = join(folder, 'asound', `card${number}`);
  mkdirSync(path, { recursive: true });
  if (usbbus !== null) writeFileSync(join(path, 'usbbus'), `${usbbus}\n`);
  if (usbid !== null) writeFileSync(join(path, 'usbid'), `${usbid}\n`);
}

const EXPECTED = { place: '001/005', model: '2752:0007' };

function look(usbDevice: typeof EXPECTED | null = EXPECTED, device = 'hw:1,0') {
  const log: string[] = [];
  const check = createCardCheck({
    device,
    usbDevice,
    procPath: folder,
    log: (level, text) => log.push(`${level}: ${text}`),
  });
  return { check, log };
}

describe('a card', () => {
  beforeEach(() => {
    mkdirSync(join(folder, 'asound'));
    writeFileSync(join(folder, 'asound/cards'), ' 1 [U1]: USB-Audio - UMIK-1\n');
  });

  test('of the device that is expected is right', () => {
    card(1, '001/005', '2752:0007');
    const { check, log } = look();
    expect([check(), log]).toEqual([null, []]);
  });

  test.each([
    ['001/006', '2752:0007', '001/006 (2752:0007)'],
    ['002/005', '2752:0007', '002/005 (2752:0007)'],
    ['001/005', '16d0:06f3', '001/005 (16d0:06f3)'],
    ['001/006', null, '001/006 (of an unknown kind)'],
    [null, '16d0:06f3', 'somewhere (16d0:06f3)'],
  ])('of %s %s is another one, and both are named', (usbbus, usbid, found) => {
    card(1, usbbus, usbid);
    const end = look().check();
    expect(end).toMatchObject({ exitCode: RECORDER_EXIT.microphoneGone, reason: 'AnotherMicrophone' });
    expect(end?.message).toContain('hw:1,0');
    expect(end?.message).toContain('001/005 (2752:0007)');
    expect(end?.message).toContain(found);
  });

  test('that is not there any more is not the one', () => {
    card(2, '001/005', '2752:0007');
    expect(look().check()).toMatchObject({ exitCode: 10, message: expect.stringContaining('there is no such card') });
  });

  test('is looked up anew each time', () => {
    card(1, '001/005', '2752:0007');
    const { check } = look();
    expect(check()).toBeNull();
    card(1, '001/009', '2752:0007');
    expect(check()?.reason).toBe('AnotherMicrophone');
  });

  test('that says nothing of a USB device is recorded, and that is told once', () => {
    card(1, null, null);
    const { check, log } = look();
    expect([check(), check()]).toEqual([null, null]);
    expect(log).toEqual([expect.stringMatching(/^warn: .*001\/005 \(2752:0007\) cannot be seen/)]);
  });

  test('is any where nobody said which, and where there is none', () => {
    card(1, '001/006', '16d0:06f3');
    for (const { check, log } of [look(null), look(EXPECTED, 'virtual')]) expect([check(), log]).toEqual([null, []]);
  });
});

test('a hidden /proc/asound costs no recording', () => {
  const { check, log } = look();
  expect(check()).toBeNull();
  expect(log).toHaveLength(1);
});

describe('the source', () => {
  const request = { device: 'hw:1,0', rate: 48_000, channels: 1, format: 'S16_LE' } as const;
  const wrong: CaptureEnd = {
    exitCode: RECORDER_EXIT.microphoneGone,
    reason: 'AnotherMicrophone',
    message: 'Another.',
  };

  /** What it tells with these answers of the check, and an `arecord` that delivers at once and without end. */
  async function tell(answers: (CaptureEnd | null)[]): Promise<{ frames: number; end: CaptureEnd }> {
    writeFileSync(join(folder, 'arecord'), '#!/bin/sh\nexec cat /dev/zero\n');
    chmodSync(join(folder, 'arecord'), 0o755);
    let frames = 0;
    const source = createArecordSource(request, {
      childEnvironment: { PATH: `${folder}:${process.env.PATH}` },
      checkCard: () => answers.shift() ?? null,
    });
    const end = await new Promise<CaptureEnd>((resolve) => {
      source.start({
        opened: () => {},
        frames: (data) => {
          frames += data.length;
          resolve({ exitCode: 0, reason: 'Frames', message: '' });
        },
        lost: () => {},
        retrying: () => {},
        ended: resolve,
      });
    });
    await source.stop();
    return { frames, end };
  }

  test.each([
    ['before it is opened', [wrong]],
    ['once it is open', [null, wrong]],
  ])('of another card %s tells of no frame, only why it ends', async (_when, answers) => {
    expect(await tell(answers)).toEqual({ frames: 0, end: wrong });
  });

  test('of the right card tells of frames', async () => {
    const { frames, end } = await tell([null, null]);
    expect(end.reason).toBe('Frames');
    expect(frames).toBeGreaterThan(0);
  });
});
