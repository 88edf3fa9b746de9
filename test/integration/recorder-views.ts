/** What tests ask of a station's recorders again and again: which container, what it was given, what it wrote. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LABEL, RECORDER_ENV, type RecorderConfig, recorderConfigSchema } from '../../services/shared/contract.ts';
import { type RecordedFile, recordedFiles } from './recorder-process.ts';
import type { DeviceColumns, InspectedContainer, RunningController, TestStation } from './test-station.ts';
import type { PluggedDevice } from './usb-tree.ts';

/** A device that is being recorded: its row, and its one container. */
export interface Recording {
  row: DeviceColumns;
  container: InspectedContainer;
}

/** Containers of one device, in whatever state. */
export async function containersOf(station: TestStation, id: string): Promise<InspectedContainer[]> {
  return (await station.containers()).filter((container) => container.Config.Labels[LABEL.deviceId] === id);
}

/** The rows of a product's devices. */
export async function rowsOf(station: TestStation, product: string): Promise<DeviceColumns[]> {
  return (await station.devices()).filter((row) => row.product === product);
}

/** Waits until the device on this port records, in exactly one container, which runs: another one than `before`. */
export async function untilRecording(
  station: TestStation,
  device: PluggedDevice,
  before?: Recording,
): Promise<Recording> {
  const { product } = device.spec;
  return await station.until(`${product} on port ${device.port} is recorded as hw:${device.card},0`, async () => {
    const row = (await station.devices()).find(
      (each) => each.port_path === portPathOf(device) && each.status === 'online' && each.phase === 'recording',
    );
    if (row === undefined) return null;
    const [container, ...others] = await containersOf(station, row.id);
    const runs = container?.State.Status === 'running' && others.length === 0;
    // The row is told after the fact: it may still speak of the container before.
    const isNew = runs && container.Id !== before?.container.Id;
    return isNew && environmentOf(container)[RECORDER_ENV.device] === `hw:${device.card},0` ? { row, container } : null;
  });
}

export async function untilOffline(station: TestStation, id: string): Promise<DeviceColumns> {
  return await station.until(`${id} is offline and has no container`, async () => {
    const row = (await station.devices()).find((each) => each.id === id);
    const isOff = row?.status === 'offline' && row.phase === 'offline';
    return isOff && (await containersOf(station, id)).length === 0 ? row : null;
  });
}

/** As the controller writes it: whatever number the bus has. */
export function portPathOf({ controller, port }: PluggedDevice): string {
  return `pci0000:00/0000:00:${(0x14 + controller).toString(16)}.0/0/${port}`;
}

export function environmentOf(container: InspectedContainer): Record<string, string> {
  return Object.fromEntries(
    container.Config.Env.map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]),
  );
}

export function configOf(container: InspectedContainer): RecorderConfig {
  return recorderConfigSchema.parse(JSON.parse(environmentOf(container)[RECORDER_ENV.configJson] ?? ''));
}

/** What makes it this very run of this very container. */
export function runOf({ container }: Recording): Record<string, unknown> {
  return { id: container.Id, startedAt: container.State.StartedAt, pid: container.State.Pid };
}

/** Waits for finished files besides those that are there now; answers all of them, in the order of their making. */
export async function untilMoreFiles(station: TestStation, workspace: string, count: number): Promise<RecordedFile[]> {
  const before = station.segments(workspace).length;
  await station.until(
    `${count} more files in ${workspace}`,
    () => station.segments(workspace).length >= before + count,
  );
  const files = await recordedFiles(join(station.workspace, 'recorder', workspace));
  return files.sort((a, b) => a.segment.startedAt.getTime() - b.segment.startedAt.getTime());
}

/** A person's choice for one device: files that a test need not wait for. */
export async function recordShortFiles(station: TestStation, id: string): Promise<void> {
  await station.update(id, { settings: station.sql.json({ segmentSeconds: 1 }) });
}

/** Pulls the plug of a microphone that is being recorded: `arecord` loses it at the same moment. */
export function pullOut(station: TestStation, device: PluggedDevice, { row }: Recording): void {
  writeFileSync(join(station.runPath, row.workspace, 'feeder.json'), '{"mode":"unplug"}');
  station.usb.unplug(device);
}

/** Pulls and plugs in again at once: another address, another card where `card` is not free any more. */
export function replug(station: TestStation, device: PluggedDevice, recording: Recording): PluggedDevice {
  const { spec, port, controller } = device;
  pullOut(station, device, recording);
  return station.plug(spec, { port, controller });
}

/** Waits until the controller has taken note of another list of USB devices after `change` happened. */
export async function untilScanned(
  station: TestStation,
  controller: RunningController,
  change: () => void,
): Promise<void> {
  const scans = () => controller.log.filter((line) => /microphones? among \d+ USB/.test(String(line.msg))).length;
  const before = scans();
  change();
  await station.until('the change was seen', () => scans() > before);
}

/** The tone of the microphone that does not exist, as a file holds it: how often a second, how loud (full scale is 1). */
export function toneOf({ samples, declaredBytes, format }: RecordedFile): { hertz: number; peak: number } {
  const bytes = format.bitsPerSample / 8;
  const frameBytes = bytes * format.channels;
  const frames = declaredBytes / frameBytes;
  let crossings = 0;
  let peak = 0;
  let previous = 0;
  for (let frame = 0; frame < frames; frame += 1) {
    const sample = samples.readIntLE(frame * frameBytes, bytes);
    if (previous < 0 && sample >= 0) crossings += 1;
    peak = Math.max(peak, Math.abs(sample));
    previous = sample;
  }
  return { hertz: (crossings * format.rate) / frames, peak: peak / 2 ** (format.bitsPerSample - 1) };
}

/** One line of `/proc/<pid>/status` of the container's first process. */
export function processStatus(container: InspectedContainer, field: string): string {
  const text = readFileSync(`/proc/${container.State.Pid}/status`, 'utf8');
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? `no ${field} in ${text}`;
}
