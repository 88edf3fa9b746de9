/**
 * Who is who on a whole station: twins, sticks without a serial, other ports, reboots, and devices that give nonsense of
 * themselves. A recording must never change hands.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { isWorkspaceName, LABEL } from '../../services/shared/contract.ts';
import {
  configOf,
  containersOf,
  pullOut,
  type Recording,
  recordShortFiles,
  replug,
  rowsOf,
  runOf,
  untilMoreFiles,
  untilOffline,
  untilRecording,
} from './recorder-views.ts';
import { createTestStation, type RunningController, type TestStation } from './test-station.ts';
import * as usb from './usb-devices.ts';
import type { PluggedDevice } from './usb-tree.ts';

let station: TestStation;
let controller: RunningController;
const SECOND_CONTROLLER = 1;

beforeAll(async () => {
  station = await createTestStation({ firstCard: 20, environment: { SILVASONIC_OFFLINE_GRACE_S: '1' } });
  expect(station.usb.addHostController()).toBe(SECOND_CONTROLLER);
  controller = await station.start();
});

afterAll(async () => {
  await station?.remove();
});

/** Each test leaves an empty bus; the rows stay, as they do for ever. */
let plugged: PluggedDevice[] = [];

afterEach(async () => {
  for (const device of plugged) if (device.folder !== null) station.usb.unplug(device);
  plugged = [];
  await station.until('nothing runs any more', async () => (await station.containers()).length === 0);
  await station.until('all are offline', async () =>
    (await station.devices()).every(({ status }) => status === 'offline'),
  );
});

const plug: TestStation['plug'] = (spec, options) => {
  const device = station.plug(spec, options);
  plugged.push(device);
  return device;
};

/** Pulls the plug of one that records, and waits until everybody knows. */
async function takeAway(device: PluggedDevice, recording: Recording): Promise<void> {
  pullOut(station, device, recording);
  await untilOffline(station, recording.row.id);
}

/** Recorded anew, as the device that it was. */
async function untilBack(device: PluggedDevice, before: Recording): Promise<Recording> {
  const after = await untilRecording(station, device, before);
  expect([after.row.id, after.row.workspace]).toEqual([before.row.id, before.row.workspace]);
  return after;
}

async function expectUntouched(device: PluggedDevice, before: Recording): Promise<void> {
  const now = await untilRecording(station, device);
  expect([now.row.id, runOf(now)]).toEqual([before.row.id, runOf(before)]);
}

describe('two that give the same serial', () => {
  test('come and go in every order while the other records, whose container never changes', async () => {
    const spec = usb.umik1();
    // Neither the order of ids nor that of ports is the order of their coming.
    const [portA, portB] = [{ port: '2.1' }, { port: '1' }];
    let a = plug(spec, portA);
    let recordingA = await untilRecording(station, a);
    expect(recordingA.row).toMatchObject({ id: '2752-0007-000-0000', serial_shared: false });
    let b = plug(spec, portB);
    let recordingB = await untilRecording(station, b);
    expect(recordingB.row.id).toMatch(/^2752-0007-port1-[0-9a-f]{8}$/);
    expect(recordingB.row.workspace).not.toBe(recordingA.row.workspace);
    expect((await rowsOf(station, 'UMIK-1')).map((row) => row.serial_shared)).toEqual([true, true]);
    await expectUntouched(a, recordingA);

    // The first goes and comes back.
    await takeAway(a, recordingA);
    a = plug(spec, portA);
    recordingA = await untilBack(a, recordingA);
    await expectUntouched(b, recordingB);
    // The second does, too fast for anybody to be gone meanwhile.
    b = replug(station, b, recordingB);
    plugged.push(b);
    recordingB = await untilBack(b, recordingB);
    await expectUntouched(a, recordingA);
    // Both do; the second is there first, alone for a while.
    await Promise.all([takeAway(a, recordingA), takeAway(b, recordingB)]);
    b = plug(spec, portB);
    recordingB = await untilBack(b, recordingB);
    a = plug(spec, portA);
    recordingA = await untilBack(a, recordingA);
    await expectUntouched(b, recordingB);
    // Both at once.
    pullOut(station, a, recordingA);
    pullOut(station, b, recordingB);
    [b, a] = [plug(spec, portB), plug(spec, portA)];
    await Promise.all([untilBack(a, recordingA), untilBack(b, recordingB)]);
    expect(await rowsOf(station, 'UMIK-1')).toHaveLength(2);
  });

  test('a twin that is never seen beside the first is taken for it; when both are there, who records keeps its name', async () => {
    const spec = usb.umik1({ serial: '1', product: 'UMIK-1 twin' });
    const first = plug(spec, { port: '3' });
    const before = await untilRecording(station, first);
    await takeAway(first, before);
    const second = plug(spec, { port: '4' });
    const taken = await untilRecording(station, second, before);
    expect(taken.row.id).toBe(before.row.id);
    const back = plug(spec, { port: '3' });
    const other = await untilRecording(station, back);
    expect(other.row.id).toMatch(/-port3-/);
    expect(runOf(await untilRecording(station, second))).toEqual(runOf(taken));
    expect((await rowsOf(station, 'UMIK-1 twin')).map((row) => row.serial_shared)).toEqual([true, true]);
  });

  test('unplugged here and plugged in there within a moment: it waits until it is sure, and is the same device', async () => {
    const spec = usb.plainMicrophone({ product: 'Wanderer', serial: 'W1' });
    const here = plug(spec, { port: '3' });
    const before = await untilRecording(station, here);
    await recordShortFiles(station, before.row.id);
    const short = await untilRecording(station, here, before);
    await untilMoreFiles(station, before.row.workspace, 1);
    pullOut(station, here, short);
    const there = plug(spec, { port: '4.4' });
    const after = await untilRecording(station, there, short);
    expect(after.row).toMatchObject({ id: before.row.id, workspace: before.row.workspace });
    expect(configOf(after.container).segmentSeconds).toBe(1);
    expect(await rowsOf(station, 'Wanderer')).toHaveLength(1);
  });
});

describe('others that are easily mistaken', () => {
  test('serials that end in the same four characters are two devices', async () => {
    const [one, two] = [
      plug(usb.audioMoth('24F319055FDF2902')),
      plug(usb.audioMoth('24E144036037 2902'.replace(' ', ''))),
    ];
    const recordings = [await untilRecording(station, one), await untilRecording(station, two)];
    expect(recordings.map(({ row }) => row.id).sort()).toEqual([
      '16d0-06f3-24E1440360372902',
      '16d0-06f3-24F319055FDF2902',
    ]);
    expect(new Set(recordings.map(({ row }) => row.workspace)).size).toBe(2);
    expect(new Set(recordings.map(({ container }) => container.Name)).size).toBe(2);
  });

  test('two sticks without a serial belong to their ports', async () => {
    const [portA, portB] = [{ port: '2.1' }, { port: '1' }];
    let [a, b] = [plug(usb.cm108(), portA), plug(usb.cm108(), portB)];
    const [recordingA, recordingB] = [await untilRecording(station, a), await untilRecording(station, b)];
    expect(recordingA.row.id).not.toBe(recordingB.row.id);
    for (const { row } of [recordingA, recordingB]) {
      expect(row).toMatchObject({ profile_slug: 'c-media-cm108', serial: null });
    }
    await Promise.all([takeAway(a, recordingA), takeAway(b, recordingB)]);
    a = plug(usb.cm108(), portA);
    await untilBack(a, recordingA);
    b = plug(usb.cm108(), portB);
    await untilBack(b, recordingB);
    expect(await rowsOf(station, 'USB PnP Sound Device')).toHaveLength(2);
  });

  test('after a reboot all numbers are others, and everybody is who it was', async () => {
    const specs = [usb.umik1(), usb.umik1(), usb.cm108(), usb.audioMoth(), usb.plainMicrophone({ serial: null })];
    // The first two are twins that are known already, by their ports.
    const places = [
      { port: '2.1' },
      { port: '1' },
      { port: '1', controller: SECOND_CONTROLLER },
      { port: '3' },
      { port: '2.2', controller: SECOND_CONTROLLER },
    ];
    const devices = specs.map((spec, index) => plug(spec, places[index]));
    const before: Recording[] = [];
    for (const device of devices) before.push(await untilRecording(station, device));
    const cards = devices.map(({ card }) => card);
    const rows = (await station.devices()).length;
    const folders = readdirSync(join(station.workspace, 'recorder')).sort();

    await controller.kill('SIGKILL');
    await station.engine.podman('kill', ...before.map(({ container }) => container.Id));
    station.rebootInOtherOrder();
    expect(devices.map(({ card }) => card)).not.toEqual(cards);
    controller = await station.start();

    for (const [index, device] of devices.entries()) {
      const earlier = before[index];
      if (earlier === undefined) throw new Error(`${device.spec.product} was not recorded before`);
      await untilBack(device, earlier);
    }
    expect(await station.devices()).toHaveLength(rows);
    expect(readdirSync(join(station.workspace, 'recorder')).sort()).toEqual(folders);
  });
});

describe('devices that give nonsense of themselves', () => {
  const dangerous = /[^A-Za-z0-9._-]/;

  test('a serial of two kilobytes with line breaks and ways out of the folder', async () => {
    const serial = `../../../etc/passwd\n$(reboot)\n${'x/../'.repeat(400)}`;
    const one = plug(usb.plainMicrophone({ product: '../../outside', serial: `${serial}1` }));
    const two = plug(usb.plainMicrophone({ product: '../../outside', serial: `${serial}2` }));
    const recordings = [await untilRecording(station, one), await untilRecording(station, two)];
    const distinct = new Set<string>();
    for (const { row, container } of recordings) {
      expect(row.id).not.toMatch(dangerous);
      expect(row.id).not.toContain('..');
      expect(row.serial?.length).toBeLessThanOrEqual(128);
      expect(row.workspace).toMatch(/^outside-[0-9a-f]{8}$/);
      expect(container.Config.Labels[LABEL.deviceId]).toBe(row.id);
      expect(existsSync(join(station.workspace, 'recorder', row.workspace, '.buffer'))).toBe(true);
      distinct.add(row.id).add(row.workspace);
    }
    expect(distinct.size).toBe(4);
    // Nothing came to lie anywhere else.
    const names = {
      workspaces: recordings.map(({ row }) => row.workspace).sort(),
      station: ['controller', 'recorder'],
    };
    const made = (folder: string) => readdirSync(folder).filter((name) => !name.startsWith('.'));
    expect(made(station.runPath).sort()).toEqual(expect.arrayContaining(names.workspaces));
    expect(made(station.workspace).sort()).toEqual(names.station);
    const foreign = [...made(station.runPath), ...made(join(station.workspace, 'recorder'))].filter(
      (name) => !isWorkspaceName(name),
    );
    expect(foreign).toEqual([]);
  });

  test('names that are HTML, emoji, another alphabet or commands are names, and their folders are plain', async () => {
    const folders = {
      '<img src=x onerror=alert(1)>': /^img-src-x-onerror-alert-1-[0-9a-f]{8}$/,
      '🦇🦇 \u202eonuf\u202c': /^onuf-[0-9a-f]{8}$/,
      'Микрофон 麦克风': /^microphone-[0-9a-f]{8}$/,
      '"; drop table devices; -- $(id)`': /^drop-table-devices-id-[0-9a-f]{8}$/,
    };
    const devices = Object.keys(folders).map((product) =>
      plug(usb.plainMicrophone({ product, manufacturer: product, serial: product })),
    );
    for (const [index, [product, folder]] of Object.entries(folders).entries()) {
      const device = devices[index];
      if (device === undefined) throw new Error(`${product} was not plugged in`);
      const first = await untilRecording(station, device);
      expect(first.row.product).toBe(product.replace(/[\u202e\u202c]/g, ''));
      expect(first.row.name).toBe(first.row.product);
      expect(first.row.id).not.toMatch(dangerous);
      expect(first.row.workspace).toMatch(folder);
      expect(configOf(first.container).microphone.name).toBe(first.row.name);
      await recordShortFiles(station, first.row.id);
    }
    for (const product of Object.keys(folders)) {
      const [row] = await rowsOf(station, product.replace(/[\u202e\u202c]/g, ''));
      const [file] = await untilMoreFiles(station, row?.workspace ?? '', 1);
      expect(file?.name.startsWith(`${row?.workspace}_`)).toBe(true);
    }
  });

  test('garbage for descriptors: who is known is recorded, of others a person is asked; nobody else suffers', async () => {
    const descriptors = Uint8Array.from({ length: 300 }, (_, index) => (index * 37) % 256);
    const stranger = plug(usb.plainMicrophone({ product: 'Stranger' }), { descriptors });
    const known = plug(usb.audioMoth('24F319055FDF0002'), { descriptors });
    const none = plug(usb.plainMicrophone({ product: 'Without descriptors', serial: 'N1' }), { descriptors: null });
    const neighbour = plug(usb.plainMicrophone({ product: 'Neighbour', serial: 'N2' }));
    await untilRecording(station, known);
    await untilRecording(station, neighbour);
    for (const device of [stranger, none]) {
      const [row] = await rowsOf(station, device.spec.product ?? '');
      expect(row).toMatchObject({ phase: 'pending', reason: 'DecisionNeeded', suggested_profile: 'generic' });
      expect(await containersOf(station, row?.id ?? '')).toEqual([]);
    }
  });
});
