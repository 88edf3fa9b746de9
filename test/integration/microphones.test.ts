import { symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Microphone } from '../../services/controller/world.ts';
import { newTree, watch } from './microphone-harness.ts';
import * as usb from './usb-devices.ts';

function only(microphones: Microphone[]): Microphone {
  const [microphone] = microphones;
  if (microphone === undefined || microphones.length !== 1) throw new Error(`${microphones.length} microphones, not 1`);
  return microphone;
}

test('a microphone comes, is described completely, and goes', async () => {
  const tree = newTree();
  const watcher = watch(tree);
  const first = await watcher.until('a first line', () => true);
  expect(first).toMatchObject({ microphones: null, error: 'the first USB scan has not finished' });
  expect(first.dependency.state).toBe('down');
  expect((await watcher.until('an empty list', (line) => line.error === null)).microphones).toEqual([]);

  const device = tree.plug(usb.umik1(), { port: '4' });
  const complete = await watcher.until('it has its card', (line) => line.microphones?.[0]?.sound?.card === 1);
  expect(only(complete.microphones ?? [])).toEqual({
    incarnation: `pci0000:00/0000:00:14.0/0/4#${device.address}#1#116:32,116:56`,
    portPath: 'pci0000:00/0000:00:14.0/0/4',
    vendorId: '2752',
    productId: '0007',
    serial: '000-0000',
    product: 'UMIK-1',
    manufacturer: 'miniDSP',
    kind: 'plain',
    sound: {
      card: 1,
      device: 0,
      hw: 'hw:1,0',
      usbDevice: `001/${String(device.address).padStart(3, '0')} 2752:0007`,
      nodes: [
        { path: '/dev/snd/controlC1', major: 116, minor: 32 },
        { path: '/dev/snd/pcmC1D0c', major: 116, minor: 56 },
      ],
      capabilities: { offers: [{ format: 'S24_3LE', channels: 2, rates: { kind: 'list', values: [48_000] } }] },
    },
    obstacle: null,
    virtual: false,
  });

  tree.unplug(device);
  const gone = await watcher.until('it is gone', (line) => line.microphones?.length === 0);
  expect(gone.changes).toBeGreaterThanOrEqual(3);
});

test('microphones are told from speakers, keyboards, hubs, webcams and headsets', async () => {
  const tree = newTree();
  for (const spec of [usb.speaker(), usb.keyboard(), usb.hub()]) tree.plug(spec);
  for (const spec of [
    usb.plainMicrophone(),
    usb.audioMoth(),
    usb.cm108(),
    usb.headset(),
    usb.webcam(),
    usb.audioInterface(),
  ]) {
    tree.plug(spec);
  }
  const microphones = await watch(tree).untilPresent(
    'Field Microphone',
    '384kHz AudioMoth USB Microphone',
    'USB PnP Sound Device',
    'USB Headset',
    'Webcam C270',
    'UMC202HD 192k',
  );
  expect(Object.fromEntries(microphones.map(({ product, kind }) => [product, kind]))).toEqual({
    'Field Microphone': 'plain',
    '384kHz AudioMoth USB Microphone': 'plain',
    'USB PnP Sound Device': 'composite',
    'USB Headset': 'composite',
    'Webcam C270': 'composite',
    'UMC202HD 192k': 'composite',
  });
  const serials = Object.fromEntries(microphones.map(({ product, serial }) => [product, serial]));
  expect(serials['384kHz AudioMoth USB Microphone']).toBe('24F319055FDF2902');
  expect(serials['USB PnP Sound Device']).toBeNull();
  expect(microphones.every(({ sound }) => sound !== null)).toBe(true);
});

test('a device whose card comes late waits, then records; a card that goes makes it wait again', async () => {
  const tree = newTree();
  const watcher = watch(tree);
  const device = tree.plug(usb.plainMicrophone(), { sound: 'later' });
  const waiting = only(await watcher.untilPresent('Field Microphone'));
  expect(waiting.sound).toBeNull();
  expect(waiting.obstacle).toMatchObject({ reason: 'WaitingForSound', lasting: false });
  expect(waiting.incarnation).toMatch(/#-#-$/);

  tree.addCard(device);
  const ready = await watcher.until('the card is there', (line) => line.microphones?.[0]?.sound?.card === 1);
  expect(ready.microphones?.[0]?.obstacle).toBeNull();

  tree.removeCard(device);
  await watcher.until('the card is gone', (line) => line.microphones?.[0]?.sound === null);
});

test('what cannot record for good says what to do', async () => {
  const tree = newTree();
  tree.plug(usb.petterssonM500());
  tree.plug(usb.audioMothOff());
  const microphones = await watch(tree).untilPresent('M500', 'AudioMoth');
  const obstacles = Object.fromEntries(microphones.map(({ product, obstacle }) => [product, obstacle]));
  expect(obstacles.M500).toMatchObject({ reason: 'NoSoundCard', lasting: true });
  expect(obstacles.AudioMoth).toMatchObject({ reason: 'SwitchedOff', lasting: true });
  expect(obstacles.AudioMoth?.message).toContain('switch');
  expect(microphones.every(({ sound, kind }) => sound === null && kind === 'composite')).toBe(true);
});

test('a replug makes another incarnation on the same port, however short it was', async () => {
  const tree = newTree();
  const watcher = watch(tree);
  const device = tree.plug(usb.plainMicrophone(), { port: '2' });
  const before = only(await watcher.untilPresent('Field Microphone'));
  tree.unplug(device);
  const again = tree.plug(usb.plainMicrophone(), { port: '2' });
  const isNewStay = ({ incarnation, sound }: Microphone) =>
    incarnation.includes(`#${again.address}#`) && sound !== null;
  const { microphones } = await watcher.until('the new stay', (line) => line.microphones?.some(isNewStay) ?? false);
  const after = only(microphones ?? []);
  expect(after.portPath).toBe(before.portPath);
  expect(after.incarnation).not.toBe(before.incarnation);
});

test('ports keep their names when buses, addresses and cards are numbered otherwise', async () => {
  const tree = newTree();
  tree.addHostController();
  tree.plug(usb.plainMicrophone({ product: 'one' }), { port: '1' });
  tree.plug(usb.plainMicrophone({ product: 'two' }), { port: '4.2' });
  tree.plug(usb.plainMicrophone({ product: 'three' }), { port: '1', controller: 1 });
  tree.plug(usb.plainMicrophone({ product: 'four' }), { port: '4.2.3' });
  const ports = (microphones: Microphone[]) =>
    Object.fromEntries(microphones.map(({ product, portPath }) => [product, portPath]));
  const before = await watch(tree).untilPresent('one', 'two', 'three', 'four');
  expect(ports(before)).toEqual({
    one: 'pci0000:00/0000:00:14.0/0/1',
    two: 'pci0000:00/0000:00:14.0/0/4.2',
    three: 'pci0000:00/0000:00:15.0/0/1',
    four: 'pci0000:00/0000:00:14.0/0/4.2.3',
  });
  tree.rebootInOtherOrder();
  const after = await watch(tree).untilPresent('one', 'two', 'three', 'four');
  expect(ports(after)).toEqual(ports(before));
  const cards = (microphones: Microphone[]) => microphones.map(({ product, sound }) => [product, sound?.card]);
  expect(cards(after)).not.toEqual(cards(before));
});

test('unplugging a hub takes along what hangs on it', async () => {
  const tree = newTree();
  const watcher = watch(tree);
  const hub = tree.plug(usb.hub(), { port: '3' });
  tree.plug(usb.plainMicrophone({ product: 'on the hub' }), { port: '3.1' });
  tree.plug(usb.plainMicrophone({ product: 'beside it' }), { port: '2' });
  await watcher.untilPresent('on the hub', 'beside it');
  tree.unplug(hub);
  await watcher.untilPresent('beside it');
});

test('garbage instead of descriptors, or none: what ALSA shows is listed, for a person to decide', async () => {
  const tree = newTree();
  const garbage = Uint8Array.from({ length: 300 }, (_, index) => (index * 37) % 256);
  tree.plug(usb.plainMicrophone({ product: 'garbage' }), { descriptors: garbage });
  tree.plug(usb.plainMicrophone({ product: 'empty' }), { descriptors: new Uint8Array() });
  tree.plug(usb.plainMicrophone({ product: 'absent' }), { descriptors: null });
  tree.plug(usb.plainMicrophone({ product: 'too long' }), { descriptors: new Uint8Array(200_000).fill(9) });
  tree.plug(usb.keyboard(), { descriptors: garbage });
  const microphones = await watch(tree).untilPresent('garbage', 'empty', 'absent', 'too long');
  expect(microphones.every(({ kind, sound }) => kind === 'composite' && sound !== null)).toBe(true);
});

test('strings come clean, and a missing stream0 leaves the descriptors', async () => {
  const tree = newTree();
  const device = tree.plug(
    usb.plainMicrophone({ product: ' A\u0007\tmic\u202e ', serial: `\u0001${'x'.repeat(300)}` }),
  );
  tree.write(`proc/asound/card${device.card}/stream0`, 'nothing that anybody understands\n');
  const microphone = only(await watch(tree).untilPresent('A mic'));
  expect(microphone.serial).toMatch(/^x{100}-[0-9a-f]{8}$/);
  expect(microphone.sound?.capabilities).toEqual({
    offers: [{ format: 'S16_LE', channels: 1, rates: { kind: 'list', values: [44_100, 48_000] } }],
  });
});

test('a host without USB is no failure, and USB that comes later is noticed', async () => {
  const tree = newTree({ hasUsb: false });
  const watcher = watch(tree);
  const absent = await watcher.until('no USB', (line) => line.microphones?.length === 0);
  expect(absent.dependency.state).toBe('absent');
  tree.bringUsb();
  tree.plug(usb.plainMicrophone());
  await watcher.untilPresent('Field Microphone');
  expect(watcher.lines.at(-1)?.dependency).toEqual({ state: 'up', message: '1 microphone among 1 USB devices.' });
});

test('a scan that fails is told as a failure, and the list comes back by itself', async () => {
  const tree = newTree();
  tree.plug(usb.plainMicrophone());
  const watcher = watch(tree);
  await watcher.untilPresent('Field Microphone');
  // A loop of links is an error other than "there is none".
  const blocker = join(tree.root, 'sys/class/sound/card7');
  symlinkSync('card7', blocker);
  tree.write('sys/class/sound/pcmC7D0c', '');
  tree.write('sys/kernel/uevent_seqnum', '1\n');
  const failed = await watcher.until('the failure', (line) => line.microphones === null);
  expect(failed.error).toContain('USB cannot be scanned');
  expect(failed.dependency.state).toBe('down');
  unlinkSync(blocker);
  await watcher.untilPresent('Field Microphone');
});

test('one device that cannot be read hides no other, and is named', async () => {
  const tree = newTree();
  tree.plug(usb.plainMicrophone({ product: 'good' }));
  const bad = tree.plug(usb.plainMicrophone({ product: 'bad' }));
  tree.write(`sys/bus/usb/devices/${bad.folder}/serial`, 'x'.repeat(100_000));
  const watcher = watch(tree);
  await watcher.untilPresent('good');
  expect(watcher.lines.at(-1)?.dependency.message).toContain(`${bad.folder} cannot be read`);
  tree.write(`sys/bus/usb/devices/${bad.folder}/serial`, 'mended\n');
  await watcher.untilPresent('good', 'bad');
});

test('a kernel that does not number its announcements is watched all the same', async () => {
  const tree = newTree({ announces: false });
  const watcher = watch(tree);
  const device = tree.plug(usb.plainMicrophone());
  await watcher.untilPresent('Field Microphone');
  tree.unplug(device);
  await watcher.untilPresent();
});

test('who holds a microphone is named', async () => {
  const tree = newTree();
  const device = tree.plug(usb.plainMicrophone());
  const watcher = watch(tree);
  await watcher.until('nobody', (line) => line.holders[0] === 'nobody');
  tree.setHolder(device, watcher.process.pid ?? 0);
  await watcher.until('itself', (line) => line.holders[0] === `${watcher.process.pid} node`);
  tree.setHolder(device, 4_000_000);
  await watcher.until('one that cannot be seen', (line) => line.holders[0] === '4000000 null');
});
