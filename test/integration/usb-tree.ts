/**
 * A machine's USB and sound, as files: a tree in the form that `libumockdev-preload` puts in place of `/sys` and `/proc`
 * for a program. Writing into it while the program runs is plugging and unplugging. Everything that a program may meet
 * half-written is built aside and moved into place, in the order in which the kernel shows it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createTreeFiles, type TreeFiles } from './tree-files.ts';
import { hub, streamText, type UsbDeviceSpec } from './usb-devices.ts';

export interface UsbTreeOptions {
  /** An empty folder to make the tree in; a new one where none is given. */
  root?: string;
  /** Number of the first sound card; tests that make nodes in the real `/dev/snd` side by side need different ones. */
  firstCard?: number;
  /** Does the kernel number its announcements (`uevent_seqnum`)? */
  announces?: boolean;
  /** Is there USB at all? Otherwise `bringUsb` makes it appear. */
  hasUsb?: boolean;
}

export interface PlugOptions {
  /** Port by port, `4.2`; hubs on the way are plugged in where they are missing. */
  port?: string;
  /** Which host controller: 0, or what `addHostController` returned. */
  controller?: number;
  /** When ALSA makes its card: with the device, or only at `addCard`. */
  sound?: 'now' | 'later';
  /** Otherwise as the device has them. null: there is no such file. */
  descriptors?: Uint8Array | null;
}

export interface SoundNode {
  /** On a real machine. */
  path: string;
  major: number;
  minor: number;
}

export interface PluggedDevice {
  spec: UsbDeviceSpec;
  controller: number;
  port: string;
  /** Both null when unplugged. */
  folder: string | null;
  address: number | null;
  card: number | null;
  /** Of its card: control, capture, playback. */
  nodes: SoundNode[];
}

export interface UsbTree {
  /** What `UMOCKDEV_DIR` names. */
  root: string;
  /** Environment of a program that is to see this tree; `base` is what it has besides. */
  environment(base?: NodeJS.ProcessEnv): NodeJS.ProcessEnv;
  plug(spec: UsbDeviceSpec, options?: PlugOptions): PluggedDevice;
  unplug(device: PluggedDevice): void;
  /** Of all that is plugged in now and has one. */
  serials(): string[];
  /** The very same stay on its port is not shown for a while: neither the device nor its card. */
  hide(device: PluggedDevice): void;
  showAgain(device: PluggedDevice): void;
  addCard(device: PluggedDevice): SoundNode[];
  removeCard(device: PluggedDevice): void;
  addHostController(): number;
  /** Another order of boot: every device is where it was, under other bus numbers, addresses and card numbers. */
  rebootInOtherOrder(): void;
  /** Makes `/sys/bus/usb` appear. */
  bringUsb(): void;
  /** Who holds a capture device, as `sub0/status` tells. null: nobody. */
  setHolder(device: PluggedDevice, pid: number | null): void;
  /** Puts a file in place of what is there; path from the root of the tree. The kernel announces nothing of it. */
  write(path: string, content: string | Uint8Array): void;
  /** Nodes of all cards that are there now; for placeholders in the real `/dev/snd`. */
  nodes(): SoundNode[];
  remove(): void;
}

/** Where ALSA puts its nodes: 116, and 32 minors for each card. */
const SOUND_MAJOR = 116;
const MINOR = { cardStep: 32, playback: 16, capture: 24 } as const;

/** What the machine is like just now. */
interface Machine {
  files: TreeFiles;
  devices: Set<PluggedDevice>;
  /** PCI address of each host controller, and the number of its first bus. */
  controllers: { pci: string; firstBus: number }[];
  usbPresent: boolean;
  firstCard: number;
  nextAddress: number;
  /** null: this kernel does not number its announcements. */
  announcements: number | null;
}

/** Makes a machine with one host controller and nothing plugged in. */
export function createUsbTree({
  root = mkdtempSync(join(tmpdir(), 'silvasonic-usb-')),
  firstCard = 1,
  announces = true,
  hasUsb = true,
}: UsbTreeOptions = {}): UsbTree {
  const files = createTreeFiles(root);
  const devices = new Set<PluggedDevice>();
  const announcements = announces ? 1000 : null;
  const machine: Machine = {
    files,
    devices,
    controllers: [],
    usbPresent: false,
    firstCard,
    nextAddress: 2,
    announcements,
  };
  files.makeFolder('sys/kernel');
  files.makeFolder('proc/asound');
  addHostController(machine);
  announce(machine);
  if (hasUsb) bringUsb(machine);
  return {
    root,
    environment: (base = process.env) => ({
      ...base,
      UMOCKDEV_DIR: root,
      LD_PRELOAD: [base.LD_PRELOAD, 'libumockdev-preload.so.0'].filter(Boolean).join(':'),
    }),
    plug: (spec, options = {}) => plug(machine, spec, options),
    unplug: (device) => unplug(machine, device),
    serials: () =>
      [...devices].flatMap(({ folder, spec }) => (folder === null || spec.serial === null ? [] : [spec.serial])),
    hide: (device) => hide(machine, device),
    showAgain: (device) => showAgain(machine, device),
    addCard: (device) => addCard(machine, device),
    removeCard: (device) => removeCard(machine, device),
    addHostController: () => addHostController(machine),
    rebootInOtherOrder: () => rebootInOtherOrder(machine),
    bringUsb: () => bringUsb(machine),
    setHolder(device, pid) {
      const status = pid === null ? 'closed\n' : `state: RUNNING\nowner_pid   : ${pid}\ntrigger_time: 12.345\n`;
      files.write(`proc/asound/card${device.card}/pcm0c/sub0/status`, status);
    },
    write: files.write,
    nodes: () => [...devices].flatMap((device) => device.nodes),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

function announce(machine: Machine): void {
  if (machine.announcements === null) return;
  machine.announcements += 1;
  machine.files.write('sys/kernel/uevent_seqnum', `${machine.announcements}\n`);
}

// ----------------------------------------------------------------------------------------------------------- buses

function controllerOf(machine: Machine, index: number): { pci: string; firstBus: number } {
  const controller = machine.controllers[index];
  if (controller === undefined) throw new Error(`there is no host controller ${index}; add it first`);
  return controller;
}

/** Name and path of the folder of what is plugged in there. */
function placeOf(
  machine: Machine,
  { controller, port }: { controller: number; port: string },
): { name: string; path: string } {
  const { pci, firstBus } = controllerOf(machine, controller);
  const ports = port.split('.');
  const chain = ports.map((_, index) => `${firstBus}-${ports.slice(0, index + 1).join('.')}`);
  return { name: chain.at(-1) ?? '', path: `sys/devices/pci0000:00/${pci}/usb${firstBus}/${chain.join('/')}` };
}

function addHostController(machine: Machine): number {
  const index = machine.controllers.length;
  machine.controllers.push({ pci: `0000:00:${(0x14 + index).toString(16)}.0`, firstBus: 2 * index + 1 });
  if (machine.usbPresent) showController(machine, index);
  return index;
}

function bringUsb(machine: Machine): void {
  machine.usbPresent = true;
  machine.files.makeFolder('sys/bus/usb/devices');
  machine.files.makeFolder('sys/class/sound');
  for (const index of machine.controllers.keys()) showController(machine, index);
}

/** As xHCI shows itself: one root hub for USB 2, the next for USB 3. */
function showController(machine: Machine, index: number): void {
  const { pci, firstBus } = controllerOf(machine, index);
  for (const [offset, productId] of ['0002', '0003'].entries()) {
    const bus = firstBus + offset;
    const path = `sys/devices/pci0000:00/${pci}/usb${bus}`;
    const names = { vendorId: '1d6b', productId, product: 'xHCI Host Controller', manufacturer: 'Linux', serial: pci };
    const spec = { ...hub(), ...names };
    machine.files.buildFolder(
      path,
      deviceFiles(spec, { bus, address: 1, devpath: '0', descriptors: spec.descriptors }),
    );
    machine.files.link(`sys/bus/usb/devices/usb${bus}`, path);
  }
  announce(machine);
}

function rebootInOtherOrder(machine: Machine): void {
  const { files, devices } = machine;
  const all = [...devices];
  for (const device of [...all].reverse()) if (device.folder !== null) unplug(machine, device);
  for (const { pci, firstBus } of machine.controllers) {
    for (const bus of [firstBus, firstBus + 1]) {
      files.unlink(`sys/bus/usb/devices/usb${bus}`);
      files.removeFolder(`sys/devices/pci0000:00/${pci}/usb${bus}`);
    }
  }
  const count = machine.controllers.length;
  machine.controllers = machine.controllers.map(({ pci }, index) => ({ pci, firstBus: 2 * (count - index) - 1 }));
  for (const index of machine.controllers.keys()) showController(machine, index);
  // Hubs before what hangs on them; otherwise the other way round than before.
  const depth = ({ port }: PluggedDevice) => port.split('.').length;
  for (const device of all.reverse().sort((a, b) => depth(a) - depth(b))) {
    showDevice(machine, device, device.spec.descriptors);
    devices.add(device);
    if (device.spec.sound !== null) addCard(machine, device);
  }
}

// --------------------------------------------------------------------------------------------------------- devices

function plug(machine: Machine, spec: UsbDeviceSpec, options: PlugOptions): PluggedDevice {
  const { controller = 0, sound = 'now', descriptors = spec.descriptors } = options;
  const port = options.port ?? nextFreePort(machine.devices);
  const isThere = (at: string) =>
    [...machine.devices].some((each) => each.controller === controller && each.port === at);
  const parent = port.split('.').slice(0, -1).join('.');
  if (parent !== '' && !isThere(parent)) plug(machine, hub(), { port: parent, controller });
  if (isThere(port)) throw new Error(`port ${port} is taken`);
  const device: PluggedDevice = { spec, controller, port, folder: null, address: null, card: null, nodes: [] };
  showDevice(machine, device, descriptors);
  machine.devices.add(device);
  if (sound === 'now' && spec.sound !== null) addCard(machine, device);
  return device;
}

function unplug(machine: Machine, device: PluggedDevice): void {
  for (const each of machine.devices) {
    const hangsBelow = each.controller === device.controller && each.port.startsWith(`${device.port}.`);
    if (hangsBelow) unplug(machine, each);
  }
  if (device.card !== null) removeCard(machine, device);
  const { name, path } = placeOf(machine, device);
  machine.files.unlink(`sys/bus/usb/devices/${name}:1.0`);
  machine.files.unlink(`sys/bus/usb/devices/${name}`);
  announce(machine);
  machine.files.removeFolder(path);
  device.folder = null;
  device.address = null;
  machine.devices.delete(device);
}

function showDevice(machine: Machine, device: PluggedDevice, descriptors: Uint8Array | null): void {
  const { files } = machine;
  const { name, path } = placeOf(machine, device);
  device.address = machine.nextAddress++;
  device.folder = name;
  const bus = controllerOf(machine, device.controller).firstBus;
  const at = { bus, address: device.address, devpath: device.port, descriptors };
  files.buildFolder(path, { ...deviceFiles(device.spec, at), [`${name}:1.0/bInterfaceNumber`]: '00\n' });
  files.link(`sys/bus/usb/devices/${name}`, path);
  files.link(`sys/bus/usb/devices/${name}:1.0`, `${path}/${name}:1.0`);
  announce(machine);
}

/** By its links in sysfs only: a program that enumerates finds neither the device nor its card. */
function hide(machine: Machine, device: PluggedDevice): void {
  for (const [link] of linksOf(machine, device).reverse()) machine.files.unlink(link);
  announce(machine);
}

function showAgain(machine: Machine, device: PluggedDevice): void {
  for (const [link, target] of linksOf(machine, device)) machine.files.link(link, target);
  announce(machine);
}

/** Links by which a device and its card are found, and where they lead; the device's own first. */
function linksOf(machine: Machine, device: PluggedDevice): [link: string, target: string][] {
  const { name, path } = placeOf(machine, device);
  const card = `card${device.card}`;
  const nodes = device.nodes.map((node) => `${card}/${basename(node.path)}`);
  const sound = device.card === null ? [] : [card, ...nodes];
  return [
    [`sys/bus/usb/devices/${name}`, path],
    [`sys/bus/usb/devices/${name}:1.0`, `${path}/${name}:1.0`],
    ...sound.map((each): [string, string] => [
      `sys/class/sound/${basename(each)}`,
      `${path}/${name}:1.0/sound/${each}`,
    ]),
  ];
}

function nextFreePort(devices: Set<PluggedDevice>): string {
  const taken = new Set([...devices].filter((each) => each.controller === 0).map((each) => each.port));
  let port = 1;
  while (taken.has(`${port}`)) port += 1;
  return `${port}`;
}

/** A device's attributes as the kernel writes them: with a newline at the end, strings only where there are some. */
function deviceFiles(
  spec: UsbDeviceSpec,
  at: { bus: number; address: number; devpath: string; descriptors: Uint8Array | null },
): Record<string, string | Uint8Array> {
  const text: Record<string, string | null> = {
    busnum: `${at.bus}`,
    devnum: `${at.address}`,
    devpath: at.devpath,
    idVendor: spec.vendorId,
    idProduct: spec.productId,
    bcdDevice: '0100',
    bDeviceClass: spec.deviceClass,
    bDeviceSubClass: '00',
    bDeviceProtocol: '00',
    bConfigurationValue: '1',
    bNumConfigurations: '1',
    version: ' 2.00',
    speed: '12',
    product: spec.product,
    manufacturer: spec.manufacturer,
    serial: spec.serial,
  };
  const files: Record<string, string | Uint8Array> = {};
  for (const [name, value] of Object.entries(text)) if (value !== null) files[name] = `${value}\n`;
  if (at.descriptors !== null) files.descriptors = at.descriptors;
  return files;
}

// ----------------------------------------------------------------------------------------------------------- sound

/** Makes a card's files in procfs and sysfs, and last the links by which it is found. */
function addCard(machine: Machine, device: PluggedDevice): SoundNode[] {
  const { files, firstCard } = machine;
  const taken = new Set([...machine.devices].map((each) => each.card));
  let card = firstCard;
  while (taken.has(card)) card += 1;
  const { name, path } = placeOf(machine, device);
  const nodes = nodesOf(device.spec, card);
  const names = nodes.map((node) => node.path.replace('/dev/snd/', ''));
  files.buildFolder(`proc/asound/card${card}`, procFiles(device, name));
  const folder = `${path}/${name}:1.0/sound`;
  files.buildFolder(folder, {
    [`card${card}/number`]: `${card}\n`,
    ...Object.fromEntries(nodes.map(({ major, minor }, at) => [`card${card}/${names[at]}/dev`, `${major}:${minor}\n`])),
  });
  files.link(`sys/class/sound/card${card}`, `${folder}/card${card}`);
  for (const each of names) files.link(`sys/class/sound/${each}`, `${folder}/card${card}/${each}`);
  device.card = card;
  device.nodes = nodes;
  announce(machine);
  return nodes;
}

function removeCard(machine: Machine, device: PluggedDevice): void {
  const { files } = machine;
  const { name, path } = placeOf(machine, device);
  for (const node of device.nodes) files.unlink(`sys/class/sound/${node.path.replace('/dev/snd/', '')}`);
  files.unlink(`sys/class/sound/card${device.card}`);
  files.removeFolder(`${path}/${name}:1.0/sound`);
  files.removeFolder(`proc/asound/card${device.card}`);
  device.card = null;
  device.nodes = [];
  announce(machine);
}

function nodesOf({ sound }: UsbDeviceSpec, card: number): SoundNode[] {
  const node = (name: string, offset: number): SoundNode => {
    return { path: `/dev/snd/${name}`, major: SOUND_MAJOR, minor: MINOR.cardStep * card + offset };
  };
  return [
    node(`controlC${card}`, 0),
    ...(sound !== null && sound.capture.length > 0 ? [node(`pcmC${card}D0c`, MINOR.capture)] : []),
    ...(sound !== null && sound.playback.length > 0 ? [node(`pcmC${card}D0p`, MINOR.playback)] : []),
  ];
}

function procFiles({ spec, address }: PluggedDevice, folder: string): Record<string, string> {
  const bus = folder.split('-')[0] ?? '';
  return {
    id: `${(spec.product ?? 'Device').replace(/[^A-Za-z0-9]/g, '').slice(-15)}\n`,
    usbid: `${spec.vendorId}:${spec.productId}\n`,
    usbbus: `${bus.padStart(3, '0')}/${String(address).padStart(3, '0')}\n`,
    stream0: streamText(spec, folder),
    ...(spec.sound !== null && spec.sound.capture.length > 0 && { 'pcm0c/sub0/status': 'closed\n' }),
    ...(spec.sound !== null && spec.sound.playback.length > 0 && { 'pcm0p/sub0/status': 'closed\n' }),
  };
}
