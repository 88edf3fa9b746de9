/**
 * Microphones plugged in and pulled out of a whole station: the real controller as a process, its USB out of files,
 * real containers in which the real `arecord` records.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LABEL, OWNER, RECORDER_ENV } from '../../services/shared/contract.ts';
import { framesOf, recordedFiles } from './recorder-process.ts';
import {
  configOf,
  containersOf,
  environmentOf,
  processStatus,
  pullOut,
  type Recording,
  recordShortFiles,
  replug,
  rowsOf,
  runOf,
  toneOf,
  untilMoreFiles,
  untilOffline,
  untilRecording,
  untilScanned,
} from './recorder-views.ts';
import { createTestStation, type DeviceColumns, type RunningController, type TestStation } from './test-station.ts';
import * as usb from './usb-devices.ts';
import type { PluggedDevice } from './usb-tree.ts';

const GRACE_S = 3;
const MEBIBYTE = 1024 ** 2;

describe('a station with microphones', () => {
  let station: TestStation;
  let controller: RunningController;
  /** Plugged in by the first test, and there until the last. */
  let audioMoth: PluggedDevice;

  beforeAll(async () => {
    station = await createTestStation({
      firstCard: 10,
      environment: { SILVASONIC_OFFLINE_GRACE_S: String(GRACE_S), SILVASONIC_RECORDER_MEMORY_LIMIT: '300m' },
    });
    for (const silent of [usb.speaker(), usb.keyboard()]) station.plug(silent);
    controller = await station.start();
  });

  afterAll(async () => {
    await station?.remove();
  });

  const rowOf = async (id: string): Promise<DeviceColumns | undefined> =>
    (await station.devices()).find((row) => row.id === id);

  test('plugged in: a row, the profile that knows it, and its own container that can do nothing but hear', async () => {
    audioMoth = station.plug(usb.audioMoth());
    const { row, container } = await untilRecording(station, audioMoth);
    expect(row).toMatchObject({
      id: '16d0-06f3-24F319055FDF2902',
      status: 'online',
      enrollment_status: 'enrolled',
      decided_by: 'auto',
      profile_slug: 'audiomoth-usb',
      serial: '24F319055FDF2902',
      serial_shared: false,
      generation: 1,
      observed_generation: 1,
    });

    const stationId = await station.stationId();
    const { workspace } = row;
    expect(container.Name).toBe(`silvasonic-${stationId.slice(0, 8)}-recorder-${workspace}`);
    const { card } = audioMoth;
    const environment = environmentOf(container);
    const given = Object.keys(environment).filter((name) => name.startsWith('SILVASONIC'));
    expect(given.sort()).toEqual(Object.values(RECORDER_ENV).sort());
    expect(environment).toMatchObject({
      [RECORDER_ENV.device]: `hw:${card},0`,
      [RECORDER_ENV.profileSlug]: 'audiomoth-usb',
      [RECORDER_ENV.instanceId]: `recorder-${workspace}`,
    });
    expect(configOf(container)).toMatchObject({
      rate: 384_000,
      channels: 1,
      format: 'S16_LE',
      segmentSeconds: 60,
      microphone: { deviceId: row.id, workspace, serial: '24F319055FDF2902' },
      station: { id: stationId },
    });
    expect(container.Config.Labels).toMatchObject({
      [LABEL.tier]: '2',
      [LABEL.owner]: OWNER,
      [LABEL.station]: stationId,
      [LABEL.service]: 'recorder',
      [LABEL.deviceId]: row.id,
      [LABEL.incarnation]: expect.stringContaining(`#${card}#`),
      [LABEL.profile]: 'audiomoth-usb',
      [LABEL.intent]: expect.stringMatching(/^[0-9a-f]{32}$/),
      [LABEL.template]: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
    expect(container.HostConfig).toMatchObject({
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      Privileged: false,
      CapAdd: [],
      RestartPolicy: { Name: 'no' },
      Memory: 300 * MEBIBYTE,
      NanoCpus: 1e9,
      PidsLimit: 64,
      LogConfig: { Type: 'k8s-file', Size: '10.49MB' },
    });
    const nodes = [`/dev/snd/controlC${card}`, `/dev/snd/pcmC${card}D0c`];
    expect(container.HostConfig.Devices).toEqual(
      nodes.map((path) => ({ PathOnHost: path, PathInContainer: path, CgroupPermissions: '' })),
    );
    const mounts = container.Mounts.map(({ Source, Destination, RW }) => [Destination, Source, RW]);
    expect(mounts.sort()).toEqual([
      ['/app/workspace', join(station.workspace, 'recorder', workspace), true],
      ['/run/silvasonic', join(station.runPath, workspace), true],
    ]);
  });

  test('what the kernel says of its process agrees: no capability, no way to gain one, no network', async () => {
    const { row, container } = await untilRecording(station, audioMoth);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
      expect([set, processStatus(container, set)]).toEqual([set, '0000000000000000']);
    }
    expect(processStatus(container, 'NoNewPrivs')).toBe('1');
    const network = readFileSync(`/proc/${container.State.Pid}/net/dev`, 'utf8');
    expect([...network.matchAll(/^\s*(\S+):/gm)].map(([, name]) => name)).toEqual(['lo']);
    // Where the host does not let it have the score, that is told, and it records all the same.
    const score = readFileSync(`/proc/${container.State.Pid}/oom_score_adj`, 'utf8').trim();
    const told = (await station.events()).some(({ reason }) => reason === 'OomScoreRefused');
    expect({ score: score === '-999', told }).toEqual({ score: !told, told });
    expect(row.message.includes('OOM score')).toBe(told);
  });

  test('arecord writes files of the right rate, format and channels', async () => {
    await station.sql`
      update microphone_profiles set config = jsonb_set(config, '{segmentSeconds}', '1') where slug = 'minidsp-umik-1'`;
    await station.nudge();
    const umik = station.plug(usb.umik1());
    const before = await untilRecording(station, audioMoth);
    await recordShortFiles(station, before.row.id);
    const { row, container } = await untilRecording(station, audioMoth, before);
    expect(configOf(container).segmentSeconds).toBe(1);
    expect(row.observed_generation).toBe(row.generation);
    const expected = { 'audiomoth-usb': [384_000, 1, 16], 'minidsp-umik-1': [48_000, 2, 24] };
    for (const device of [audioMoth, umik]) {
      const { row } = await untilRecording(station, device);
      const files = await untilMoreFiles(station, row.workspace, 2);
      const [rate, channels, bitsPerSample] = expected[row.profile_slug as keyof typeof expected];
      for (const file of files.slice(-2)) {
        expect(file.format).toEqual({ rate, channels, bitsPerSample });
        expect(framesOf(file)).toBe(rate);
        expect(toneOf(file).hertz).toBeCloseTo(1000, -1);
        expect(toneOf(file).peak).toBeCloseTo(0.1, 3);
        expect(file.segment.workspace).toBe(row.workspace);
      }
    }
    station.usb.unplug(umik);
  });

  test('one look in which it is missing changes nothing', async () => {
    const before = await untilRecording(station, audioMoth);
    await untilScanned(station, controller, () => station.usb.hide(audioMoth));
    await untilScanned(station, controller, () => station.usb.showAgain(audioMoth));
    expect(await rowOf(before.row.id)).toMatchObject({ status: 'online', phase: 'recording' });
    // Longer than the grace after it was missed.
    await untilMoreFiles(station, before.row.workspace, GRACE_S + 1);
    expect(runOf(await untilRecording(station, audioMoth))).toEqual(runOf(before));
    expect(await eventsOf(before.row.id)).not.toContain('NotPlugged');
  });

  test('replugged: another container at once, with the new card; the same identity, the same folder', async () => {
    const before = await untilRecording(station, audioMoth);
    const { card } = audioMoth;
    pullOut(station, audioMoth, before);
    // Takes the card that has become free.
    station.plug(usb.speaker(), { port: '9' });
    audioMoth = station.plug(usb.audioMoth(), { port: audioMoth.port });
    expect(audioMoth.card).not.toBe(card);
    const after = await untilRecording(station, audioMoth, before);
    expect(after.row).toMatchObject({ id: before.row.id, workspace: before.row.workspace });
    expect(after.container.HostConfig.Devices).toMatchObject([
      { PathOnHost: `/dev/snd/controlC${audioMoth.card}` },
      { PathOnHost: `/dev/snd/pcmC${audioMoth.card}D0c` },
    ]);
    const files = await untilMoreFiles(station, before.row.workspace, 1);
    expect(new Set(files.map((file) => file.segment.workspace))).toEqual(new Set([before.row.workspace]));
    expect(await rowsOf(station, before.row.product)).toHaveLength(1);
    // Nobody waited for the grace: it never counted as gone.
    expect(await eventsOf(before.row.id)).not.toContain('NotPlugged');
  });

  test('unplugged: offline after the grace, its container gone, its files whole and kept', async () => {
    const { row } = await untilRecording(station, audioMoth);
    await untilMoreFiles(station, row.workspace, 1);
    station.usb.unplug(audioMoth);
    expect((await untilOffline(station, row.id)).reason).toBe('NotPlugged');
    const folder = join(station.workspace, 'recorder', row.workspace);
    expect(readdirSync(join(folder, '.buffer'))).toEqual([]);
    const files = await recordedFiles(folder);
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) expect(file.samples.length).toBe(file.declaredBytes);
    audioMoth = station.plug(usb.audioMoth(), { port: audioMoth.port });
    expect((await untilRecording(station, audioMoth)).row.workspace).toBe(row.workspace);
  });

  test('pulled out: the recorder that ends by itself is not started again on nothing', async () => {
    const recording = await untilRecording(station, audioMoth);
    pullOut(station, audioMoth, recording);
    await station.until('the recorder has ended', async () =>
      (await containersOf(station, recording.row.id)).every(({ State }) => State.Status !== 'running'),
    );
    const runs: string[] = [];
    await station.until('it is offline', async () => {
      const running = await containersOf(station, recording.row.id);
      runs.push(...running.filter(({ State }) => State.Status === 'running').map(({ Id }) => Id));
      return (await rowOf(recording.row.id))?.phase === 'offline';
    });
    expect(runs).toEqual([]);
    audioMoth = station.plug(usb.audioMoth(), { port: audioMoth.port });
    await untilRecording(station, audioMoth);
  });

  test('a plug that comes and goes is backed off from, named, and recorded once it stays', async () => {
    let device = station.plug(usb.plainMicrophone({ product: 'Loose plug', serial: 'F1' }));
    let recording: Recording = await untilRecording(station, device);
    const { id } = recording.row;
    const seen = new Set([recording.container.Id]);
    for (let time = 2; time <= 4; time += 1) {
      device = replug(station, device, recording);
      recording = await untilRecording(station, device, recording);
      seen.add(recording.container.Id);
    }
    expect(seen.size).toBe(4);
    device = replug(station, device, recording);
    const row = await station.until('it is called flapping', async () =>
      // The recorder of the plug that was pulled may still be on its way out, and is told as long as it lives.
      (await station.devices()).find(
        (each) => each.id === id && each.reason === 'FlappingPlug' && each.phase === 'backoff',
      ),
    );
    expect(row.status).toBe('online');
    expect(row.message).toMatch(/cable, hub and power/);
    expect(await eventsOf(id)).toContain('FlappingPlug');
    await station.until('nothing of it runs', async () => (await containersOf(station, id)).length === 0);
    expect((await rowOf(id))?.phase).toBe('backoff');
    const after = await untilRecording(station, device);
    expect(after.row).toMatchObject({ id, workspace: recording.row.workspace });
    station.usb.unplug(device);
  });

  test('a webcam and a headset wait for a person, who may say yes', async () => {
    const webcam = station.plug(usb.webcam());
    station.plug(usb.headset());
    const told = await station.until('both are told', async () => {
      const rows = [...(await rowsOf(station, 'Webcam C270')), ...(await rowsOf(station, 'USB Headset'))];
      return rows.length === 2 && rows.every(({ phase }) => phase === 'pending') ? rows : null;
    });
    for (const row of told) {
      expect(row).toMatchObject({
        status: 'online',
        enrollment_status: 'pending',
        decided_by: null,
        profile_slug: null,
        suggested_profile: 'generic',
        reason: 'DecisionNeeded',
      });
      expect(row.message).toContain('suggested profile: generic');
    }
    // Who came after them is long since recorded.
    const later = station.plug(usb.plainMicrophone({ serial: 'later' }));
    const { row } = await untilRecording(station, later);
    station.usb.unplug(later);
    await untilOffline(station, row.id);
    for (const { id, workspace } of told) {
      expect(await containersOf(station, id)).toEqual([]);
      expect(existsSync(join(station.workspace, 'recorder', workspace))).toBe(false);
    }
    const [first] = told;
    await station.update(first?.id ?? '', { enrollment_status: 'enrolled', profile_slug: 'generic' });
    expect((await untilRecording(station, webcam)).row.decided_by).toBe('person');
    station.usb.unplug(webcam);
  });

  test('a card that comes after its device: told, and recorded as soon as it is there', async () => {
    const device = station.plug(usb.plainMicrophone({ product: 'Slow card', serial: 'S1' }), { sound: 'later' });
    const waiting = await station.until('it is told', async () => (await rowsOf(station, 'Slow card'))[0]);
    expect(waiting).toMatchObject({ status: 'online', enrollment_status: 'pending', decided_by: null });
    const told = await station.untilPhase('pending', waiting.id);
    expect(told.reason).toBe('WaitingForSound');
    expect(told.message).toMatch(/^Slow card is plugged in, but .*plug it in again/);
    station.addCard(device);
    const recording = await untilRecording(station, device);
    expect(recording.row).toMatchObject({ id: waiting.id, profile_slug: 'generic' });
    // The same for one that is known already.
    pullOut(station, device, recording);
    const again = station.plug(device.spec, { port: device.port, sound: 'later' });
    expect((await station.untilPhase('waiting', waiting.id)).reason).toBe('WaitingForSound');
    station.addCard(again);
    expect((await untilRecording(station, again)).row.id).toBe(waiting.id);
    station.usb.unplug(again);
  });

  test('what cannot be heard is never enrolled, and the sentence says what to do', async () => {
    const off = station.plug(usb.audioMothOff());
    station.plug(usb.petterssonM500());
    const sentences = {
      AudioMoth: { reason: 'SwitchedOff', message: /move it to DEFAULT or CUSTOM/ },
      M500: { reason: 'NoSoundCard', message: /use a microphone that is a USB sound card/ },
    };
    for (const [product, { reason, message }] of Object.entries(sentences)) {
      const row = await station.until(`${product} is told`, async () =>
        (await rowsOf(station, product)).find(({ phase }) => phase === 'pending'),
      );
      expect(row).toMatchObject({ enrollment_status: 'pending', suggested_profile: null, reason });
      expect(row.message).toMatch(message);
    }
    station.usb.unplug(off);
    const on = station.plug(usb.audioMoth('24F319055FDF0001', 250), { port: off.port });
    expect(configOf((await untilRecording(station, on)).container).rate).toBe(250_000);
    station.usb.unplug(on);
    const [pettersson] = await rowsOf(station, 'M500');
    expect(pettersson).toMatchObject({ enrollment_status: 'pending', decided_by: null });
    // Who insists is told the same.
    await station.update(pettersson?.id ?? '', { enrollment_status: 'enrolled', profile_slug: 'generic' });
    expect(await station.untilPhase('blocked', pettersson?.id)).toMatchObject({ reason: 'NoSoundCard' });
    expect(await containersOf(station, pettersson?.id ?? '')).toEqual([]);
  });

  test('speakers and keyboards, there all the time, are no devices', async () => {
    const products = (await station.devices()).map(({ product }) => product);
    expect(products).toContain('384kHz AudioMoth USB Microphone');
    for (const silent of [usb.speaker(), usb.keyboard()]) expect(products).not.toContain(silent.product);
  });

  async function eventsOf(id: string): Promise<string[]> {
    return (await station.events()).filter(({ subject }) => subject === `recorder:${id}`).map(({ reason }) => reason);
  }
});

describe('a station without hardware', () => {
  let station: TestStation;
  let controller: RunningController;

  beforeAll(async () => {
    station = await createTestStation({
      firstCard: 10,
      hasUsb: false,
      environment: { SILVASONIC_VIRTUAL_MICROPHONES: 'auto', SILVASONIC_OFFLINE_GRACE_S: '1' },
    });
    controller = await station.start();
  });

  afterAll(async () => {
    await station?.remove();
  });

  test('without USB a virtual microphone is recorded; a real one that comes with USB takes its place', async () => {
    const virtual = await station.untilPhase('recording');
    expect(virtual).toMatchObject({ id: '0000-0001-virtual-1', profile_slug: 'virtual', status: 'online' });
    const [container, ...others] = await station.containers();
    expect(others).toEqual([]);
    expect(container?.Config.Env).toContain(`${RECORDER_ENV.device}=virtual`);
    station.usb.bringUsb();
    const microphone = station.plug(usb.plainMicrophone());
    const { row } = await untilRecording(station, microphone);
    await untilOffline(station, virtual.id);
    expect((await station.containers()).map(({ Config }) => Config.Labels[LABEL.deviceId])).toEqual([row.id]);
    station.usb.unplug(microphone);
    await untilOffline(station, row.id);
  });

  test('so many as are asked for, beside real ones, and what they record are files', async () => {
    await controller.kill('SIGTERM');
    controller = await station.start({ SILVASONIC_VIRTUAL_MICROPHONES: '1' });
    const microphone = station.plug(usb.plainMicrophone());
    const virtual = await station.untilPhase('recording', '0000-0001-virtual-1');
    await untilRecording(station, microphone);
    expect(await station.containers()).toHaveLength(2);
    await recordShortFiles(station, virtual.id);
    const [file] = await untilMoreFiles(station, virtual.workspace, 1);
    expect(file?.format).toEqual({ rate: 48_000, channels: 1, bitsPerSample: 16 });
    await station.update(virtual.id, { enabled: false });
    await station.untilPhase('disabled', virtual.id);
    expect(await containersOf(station, virtual.id)).toEqual([]);
  });
});
