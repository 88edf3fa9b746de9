/**
 * Cards are numbered anew while a recorder is being started: it hears its own microphone or nothing. The recorder as a
 * process with its cards out of files, and in its container, started by a controller that could not know.
 */
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { formatUsbDevice, RECORDER_EXIT, recorderStatusSchema, STATUS_FILE } from '../../services/shared/contract.ts';
import { sampleRecorderEnvironment } from '../unit/recorder-sample.ts';
import { type DerivedImages, derivedImages } from './derived-images.ts';
import { createEngineProxy, type EngineProxy } from './engine-proxy.ts';
import {
  makeRecorderPlace,
  type RecorderPlace,
  type RunningRecorder,
  recordedFiles,
  startRecorder,
  withoutHardware,
} from './recorder-process.ts';
import { environmentOf, untilRecording } from './recorder-views.ts';
import { containerOf } from './station-devices.ts';
import { stationEngine } from './station-engine.ts';
import { createTestStation, plainName, type TestStation } from './test-station.ts';
import { plainMicrophone } from './usb-devices.ts';
import { createUsbTree, type PluggedDevice, type UsbTree } from './usb-tree.ts';

/** What the recorder of this device is told that it is to hear. */
function usbDeviceOf({ spec, address }: PluggedDevice): string {
  return formatUsbDevice({ bus: 1, address: Number(address), vendorId: spec.vendorId, productId: spec.productId });
}

/** As sentences have it. */
const nameOf = (device: PluggedDevice): string => usbDeviceOf(device).replace(' ', ' (').concat(')');

describe('a recorder', () => {
  let place: RecorderPlace;
  let tree: UsbTree;
  let ash: PluggedDevice;
  let birch: PluggedDevice;
  let running: RunningRecorder[] = [];

  beforeEach(async () => {
    place = await makeRecorderPlace();
    tree = createUsbTree();
    [ash, birch] = [tree.plug(plainMicrophone({ serial: 'ash' })), tree.plug(plainMicrophone({ serial: 'birch' }))];
    tree.write('proc/asound/cards', 'as many as there are folders beside this file\n');
  });

  afterEach(async () => {
    for (const recorder of running) recorder.child.kill('SIGKILL');
    await Promise.all(running.map(({ ended }) => ended));
    running = [];
    tree.remove();
    await place.remove();
  });

  /** It opens this card and is to hear this device. */
  async function start(card: number, expected: PluggedDevice, path = '') {
    const environment = { ...sampleRecorderEnvironment(), ...(await withoutHardware(place)) };
    const recorder = startRecorder(place, {
      ...tree.environment(environment),
      PATH: `${path}:${environment.PATH}`,
      SILVASONIC_RECORDER_DEVICE: `hw:${card},0`,
      SILVASONIC_RECORDER_USB_DEVICE: usbDeviceOf(expected),
    });
    running.push(recorder);
    return recorder;
  }

  async function expectNothingKept(): Promise<void> {
    expect(await recordedFiles(place.workspacePath)).toEqual([]);
    expect(await readdir(join(place.workspacePath, '.buffer'))).toEqual([]);
  }

  /** A folder with an `arecord` before which the two cards change their numbers, as the kernel would. */
  function renumberingArecord(): string {
    const folder = join(place.runPath, 'bin');
    mkdirSync(folder, { recursive: true });
    const change = `mv card${ash.card} aside; mv card${birch.card} card${ash.card}; mv aside card${birch.card}`;
    const real = join(resolve('test/integration/recorder-image'), 'arecord');
    const script = `#!/bin/sh\nunset LD_PRELOAD\ncd '${tree.root}/proc/asound'; ${change}\nexec '${real}' "$@"\n`;
    writeFileSync(join(folder, 'arecord'), script);
    chmodSync(join(folder, 'arecord'), 0o755);
    return folder;
  }

  test('of the card that it is told records it', async () => {
    const recorder = await start(Number(birch.card), birch);
    await recorder.status(({ frames }) => frames > 0);
    recorder.child.kill('SIGTERM');
    const { code, errors } = await recorder.ended;
    expect(code).toBe(0);
    expect(errors).not.toContain('MicrophoneUnchecked');
    expect(await recordedFiles(place.workspacePath)).not.toEqual([]);
  });

  test('whose card is another microphone’s by now ends with 10, says both, and keeps nothing', async () => {
    const { code, errors } = await (await start(Number(birch.card), ash)).ended;
    expect(code).toBe(RECORDER_EXIT.microphoneGone);
    const last = JSON.parse(errors.trim().split('\n').at(-1) ?? '');
    expect(last).toMatchObject({ level: 'error', reason: 'AnotherMicrophone' });
    expect(last.msg).toContain(`hw:${birch.card},0`);
    for (const device of [ash, birch]) expect(last.msg).toContain(nameOf(device));
    await expectNothingKept();
  });

  test('whose card becomes another’s while it is being opened keeps nothing of what it already captured', async () => {
    const { code, errors } = await (await start(Number(ash.card), ash, renumberingArecord())).ended;
    expect(code).toBe(RECORDER_EXIT.microphoneGone);
    expect(errors).toContain('AnotherMicrophone');
    await expectNothingKept();
  });

  test('whose card is gone ends with 10', async () => {
    const number = Number(ash.card);
    const told = await start(number, ash);
    await told.status(({ frames }) => frames > 0);
    told.child.kill('SIGKILL');
    await told.ended;
    renameSync(join(tree.root, `proc/asound/card${number}`), join(tree.root, 'gone'));
    const { code, errors } = await (await start(number, ash)).ended;
    expect(code).toBe(RECORDER_EXIT.microphoneGone);
    expect(errors).toContain('there is no such card');
  });

  test('that cannot see any card records all the same, and says so', async () => {
    rmSync(join(tree.root, 'proc/asound'), { recursive: true });
    const recorder = await start(1, ash);
    await recorder.status(({ frames }) => frames > 0);
    recorder.child.kill('SIGTERM');
    const { code, errors } = await recorder.ended;
    expect(code).toBe(0);
    expect(errors).toContain('MicrophoneUnchecked');
  });
});

/** Where each recorder finds the cards of its machine: a copy, since it sees nothing of the host but its two folders. */
const MACHINE = 'machine';
const SEES_A_MACHINE = [`ENV LD_PRELOAD=libumockdev-preload.so.0 UMOCKDEV_DIR=/app/workspace/${MACHINE}`];

describe('a station whose hub is reset between the decision to start a recorder and its start', () => {
  let images: DerivedImages;
  let station: TestStation;
  let proxy: EngineProxy;
  /** What is asked of the engine and answered no more, nor anything after it. */
  let stopAt: RegExp | null = null;
  let stoppedAt = '';

  beforeAll(async () => {
    images = derivedImages(stationEngine());
    await images.build(SEES_A_MACHINE);
    station = await createTestStation({
      firstCard: 330,
      environment: { SILVASONIC_RECORDER_IMAGE: images.reference, SILVASONIC_RECONCILE_INTERVAL_S: '2' },
    });
    proxy = createEngineProxy(join(station.workspace, 'engine.sock'), station.engine.socketPath, listen);
    Object.assign(station.environment, { CONTAINER_SOCKET: proxy.socketPath });
    await proxy.open();
  });

  afterAll(async () => {
    await station?.remove();
    await proxy?.close();
    await images?.remove();
  });

  /** The engine gets what is asked; its answer waits. */
  function listen(client: Socket): void {
    client.on('data', (chunk: Buffer) => {
      const asked = chunk.toString('latin1').split('\r\n', 1)[0] ?? '';
      if (stopAt?.test(asked) !== true) return;
      stopAt = null;
      stoppedAt = asked;
      proxy.hold();
    });
  }

  async function untilAsked(what: RegExp, because: () => Promise<unknown> | unknown): Promise<void> {
    stoppedAt = '';
    stopAt = what;
    await because();
    await station.until(`the engine is asked ${what}`, () => stoppedAt !== '');
  }

  /** The recorders of these workspaces see the cards as they are now. */
  function show(...workspaces: string[]): void {
    for (const workspace of workspaces) {
      const asound = join(station.workspace, 'recorder', workspace, MACHINE, 'proc/asound');
      rmSync(asound, { recursive: true, force: true });
      cpSync(join(station.usb.root, 'proc/asound'), asound, { recursive: true });
      writeFileSync(join(asound, 'cards'), 'as many as there are folders beside this file\n');
    }
  }

  test('each microphone’s sound stays in its own folder', async () => {
    let [ash, birch] = ['ash', 'birch'].map((serial) => station.plug(plainMicrophone({ serial })));
    if (ash === undefined || birch === undefined) throw new Error('nothing was plugged in');
    await station.start();
    const [before, other] = [await untilRecording(station, ash), await untilRecording(station, birch)];
    const { workspace } = before.row;
    show(workspace, other.row.workspace);

    const name = plainName(before.container);
    await untilAsked(new RegExp(`^POST \\S*/containers/create\\?\\S*name=${name}`), () =>
      station.engine.podman('kill', before.container.Id),
    );
    const { spec, card, port } = ash;
    for (const device of [ash, birch]) station.usb.unplug(device);
    birch = station.plug(birch.spec, { port: birch.port });
    ash = station.plug(spec, { port });
    expect([birch.card, ash.card]).toEqual([card, Number(card) + 1]);
    show(workspace, other.row.workspace);

    const late = await containerOf(station, before.row.id);
    await untilAsked(new RegExp(`^POST \\S*/containers/${late.Id}/start`), () => proxy.release());
    expect(environmentOf(late).SILVASONIC_RECORDER_DEVICE).toBe(`hw:${birch.card},0`);
    expect(await station.engine.podman('wait', late.Id)).toBe(String(RECORDER_EXIT.microphoneGone));
    const status = recorderStatusSchema.parse(
      JSON.parse(readFileSync(join(station.runPath, workspace, STATUS_FILE), 'utf8')),
    );
    expect(status).toMatchObject({ state: 'stopping', reason: 'AnotherMicrophone', frames: 0 });
    expect(status.message).toContain(nameOf(birch));
    const files = readdirSync(join(station.workspace, 'recorder', workspace), { recursive: true, encoding: 'utf8' });
    expect(files.filter((file) => file.includes(`_${status.run}_`))).toEqual([]);

    proxy.release();
    const after = await untilRecording(station, ash, before);
    expect(environmentOf(after.container).SILVASONIC_RECORDER_USB_DEVICE).toBe(usbDeviceOf(ash));
    expect((await untilRecording(station, birch, other)).row.id).toBe(other.row.id);
    expect(after.row.id).toBe(before.row.id);
  });
});
