/**
 * A machine's USB and sound, as files: a tree in the form that `libumockdev-preload` puts in place of `/sys` and `/proc`
 * for a program. Writing into it while the program runs is plugging and unplugging. Everything that a program may meet
 * half-written is built aside and moved into place, in the order in which the kernel shows it.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { hub, streamText, type UsbDeviceSpec } from './usb-devices.ts';

export interface UsbTreeOptions {
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
  addCard(device: PluggedDevice): SoundNode[];
  removeCard(device: PluggedDevice): void;
  addHostController(): number;
  /** Another order of boot: every device is where it was, under other bus numbers, addresses and card numbers. */
  rebootInOtherOrder(): void;
  /** Makes `/sys/bus/usb` appear. */
  bringUsb(): void;
  /** Who holds a capture device, as `sub0/status` tells. null: nobody. */
  setHolder(device: PluggedDevice, pid: number | null): void;
  /** Puts a file of a device or card in place of what is there; path from the root of the tree. */
  write(path: string, content: string | Uint8Array): void;
  /** Nodes of all cards that are there now; for placeholders in the real `/dev/snd`. */
  nodes(): SoundNode[];
  remove(): void;
}

/** Where ALSA puts its nodes: 116, and 32 minors for each card. */
const SOUND_MAJOR = 116;
const MINOR = { cardStep: 32, playback: 16, capture: 24 } as const;

export function createUsbTree({ firstCard = 1, announces = true, hasUsb = true }: UsbTreeOptions = {}): UsbTree {
  const root = mkdtempSync(join(tmpdir(), 'silvasonic-usb-'));
  const files = createFiles(root);
  const devices = new Set<PluggedDevice>();
  /** PCI address of each host controller → number of its first bus. */
  let controllers: { pci: string; firstBus: number }[] = [];
  let usbPresent = false;
  let announcements = 1000;
  let nextAddress = 2;

  function announce(): void {
    announcements += 1;
    if (announces) files.write('sys/kernel/uevent_seqnum', `${announcements}\n`);
  }

  function controllerOf(index: number): { pci: string; firstBus: number } {
    const controller = controllers[index];
    if (controller === undefined) throw new Error(`there is no host controller ${index}; add it first`);
    return controller;
  }

  function place(controller: number, port: string): { name: string; path: string } {
    const { pci, firstBus } = controllerOf(controller);
    const ports = port.split('.');
    const chain = ports.map((_, index) => `${firstBus}-${ports.slice(0, index + 1).join('.')}`);
    return { name: chain.at(-1) ?? '', path: `sys/devices/pci0000:00/${pci}/usb${firstBus}/${chain.join('/')}` };
  }

  function showController(index: number): void {
    const { pci, firstBus } = controllerOf(index);
    for (const [offset, product] of ['0002', '0003'].entries()) {
      const bus = firstBus + offset;
      const path = `sys/devices/pci0000:00/${pci}/usb${bus}`;
      const names = { vendorId: '1d6b', productId: product, product: 'xHCI Host Controller', manufacturer: 'Linux' };
      const spec = { ...hub(), ...names, serial: pci };
      files.buildFolder(path, deviceFiles(spec, { bus, address: 1, devpath: '0', descriptors: spec.descriptors }));
      files.link(`sys/bus/usb/devices/usb${bus}`, path);
    }
    announce();
  }

  function show(device: PluggedDevice, descriptors: Uint8Array | null): void {
    const { name, path } = place(device.controller, device.port);
    device.address = nextAddress++;
    device.folder = name;
    const bus = controllerOf(device.controller).firstBus;
    const at = { bus, address: device.address, devpath: device.port, descriptors };
    files.buildFolder(path, { ...deviceFiles(device.spec, at), [`${name}:1.0/bInterfaceNumber`]: '00\n' });
    files.link(`sys/bus/usb/devices/${name}`, path);
    files.link(`sys/bus/usb/devices/${name}:1.0`, `${path}/${name}:1.0`);
    announce();
  }

  function hide(device: PluggedDevice): void {
    const { name, path } = place(device.controller, device.port);
    files.unlink(`sys/bus/usb/devices/${name}:1.0`);
    files.unlink(`sys/bus/usb/devices/${name}`);
    announce();
    files.removeFolder(path);
    device.folder = null;
    device.address = null;
  }

  const tree: UsbTree = {
    root,
    environment: (base = process.env) => ({
      ...base,
      UMOCKDEV_DIR: root,
      LD_PRELOAD: [base.LD_PRELOAD, 'libumockdev-preload.so.0'].filter(Boolean).join(':'),
    }),
    plug(spec, { port = nextFreePort(devices), controller = 0, sound = 'now', descriptors = spec.descriptors } = {}) {
      const parent = port.split('.').slice(0, -1).join('.');
      const isThere = (at: string) => [...devices].some((each) => each.controller === controller && each.port === at);
      if (parent !== '' && !isThere(parent)) tree.plug(hub(), { port: parent, controller });
      if (isThere(port)) throw new Error(`port ${port} is taken`);
      const device: PluggedDevice = { spec, controller, port, folder: null, address: null, card: null, nodes: [] };
      show(device, descriptors);
      devices.add(device);
      if (sound === 'now' && spec.sound !== null) tree.addCard(device);
      return device;
    },
    unplug(device) {
      for (const each of devices) {
        const hangsBelow = each.controller === device.controller && each.port.startsWith(`${device.port}.`);
        if (hangsBelow) tree.unplug(each);
      }
      if (device.card !== null) tree.removeCard(device);
      hide(device);
      devices.delete(device);
    },
    addCard(device) {
      const taken = new Set([...devices].map((each) => each.card));
      let card = firstCard;
      while (taken.has(card)) card += 1;
      device.card = card;
      device.nodes = showCard(files, device, card, place(device.controller, device.port));
      announce();
      return device.nodes;
    },
    removeCard(device) {
      const { name, path } = place(device.controller, device.port);
      for (const node of device.nodes) files.unlink(`sys/class/sound/${node.path.replace('/dev/snd/', '')}`);
      files.unlink(`sys/class/sound/card${device.card}`);
      files.removeFolder(`${path}/${name}:1.0/sound`);
      files.removeFolder(`proc/asound/card${device.card}`);
      device.card = null;
      device.nodes = [];
      announce();
    },
    addHostController() {
      const index = controllers.length;
      controllers.push({ pci: `0000:00:${(0x14 + index).toString(16)}.0`, firstBus: 2 * index + 1 });
      if (usbPresent) showController(index);
      return index;
    },
    rebootInOtherOrder() {
      const all = [...devices];
      for (const device of [...all].reverse()) if (device.folder !== null) tree.unplug(device);
      for (const { pci, firstBus } of controllers) {
        for (const bus of [firstBus, firstBus + 1]) {
          files.unlink(`sys/bus/usb/devices/usb${bus}`);
          files.removeFolder(`sys/devices/pci0000:00/${pci}/usb${bus}`);
        }
      }
      const count = controllers.length;
      controllers = controllers.map(({ pci }, index) => ({ pci, firstBus: 2 * (count - index) - 1 }));
      for (const index of controllers.keys()) showController(index);
      // Deepest last, so that hubs are there; otherwise the other way round than before.
      for (const device of all.reverse().sort((a, b) => a.port.split('.').length - b.port.split('.').length)) {
        show(device, device.spec.descriptors);
        devices.add(device);
        if (device.spec.sound !== null) tree.addCard(device);
      }
    },
    bringUsb() {
      usbPresent = true;
      files.makeFolder('sys/bus/usb/devices');
      files.makeFolder('sys/class/sound');
      for (const index of controllers.keys()) showController(index);
    },
    setHolder(device, pid) {
      const status = pid === null ? 'closed\n' : `state: RUNNING\nowner_pid   : ${pid}\ntrigger_time: 12.345\n`;
      files.write(`proc/asound/card${device.card}/pcm0c/sub0/status`, status);
    },
    write: files.write,
    nodes: () => [...devices].flatMap((device) => device.nodes),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };

  files.makeFolder('sys/kernel');
  files.makeFolder('proc/asound');
  tree.addHostController();
  announce();
  if (hasUsb) tree.bringUsb();
  return tree;
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

/** Makes a card's files in procfs and sysfs, and last the links by which it is found. */
function showCard(
  files: Files,
  { spec, address }: PluggedDevice,
  card: number,
  at: { name: string; path: string },
): SoundNode[] {
  const capture = (spec.sound?.capture.length ?? 0) > 0;
  const playback = (spec.sound?.playback.length ?? 0) > 0;
  const node = (name: string, offset: number): SoundNode => {
    return { path: `/dev/snd/${name}`, major: SOUND_MAJOR, minor: MINOR.cardStep * card + offset };
  };
  const nodes = [
    node(`controlC${card}`, 0),
    ...(capture ? [node(`pcmC${card}D0c`, MINOR.capture)] : []),
    ...(playback ? [node(`pcmC${card}D0p`, MINOR.playback)] : []),
  ];
  const bus = at.name.split('-')[0] ?? '';
  files.buildFolder(`proc/asound/card${card}`, {
    id: `${(spec.product ?? 'Device').replace(/[^A-Za-z0-9]/g, '').slice(-15)}\n`,
    usbid: `${spec.vendorId}:${spec.productId}\n`,
    usbbus: `${bus.padStart(3, '0')}/${String(address).padStart(3, '0')}\n`,
    stream0: streamText(spec, at.name),
    ...(capture && { 'pcm0c/sub0/status': 'closed\n' }),
    ...(playback && { 'pcm0p/sub0/status': 'closed\n' }),
  });
  const folder = `${at.path}/${at.name}:1.0/sound`;
  const names = nodes.map(({ path }) => path.replace('/dev/snd/', ''));
  files.buildFolder(folder, {
    [`card${card}/number`]: `${card}\n`,
    ...Object.fromEntries(
      nodes.map(({ major, minor }, index) => [`card${card}/${names[index]}/dev`, `${major}:${minor}\n`]),
    ),
  });
  files.link(`sys/class/sound/card${card}`, `${folder}/card${card}`);
  for (const name of names) files.link(`sys/class/sound/${name}`, `${folder}/card${card}/${name}`);
  return nodes;
}

// ----------------------------------------------------------------------------------------------- files of the tree

interface Files {
  write(path: string, content: string | Uint8Array): void;
  buildFolder(path: string, content: Record<string, string | Uint8Array>): void;
  makeFolder(path: string): void;
  removeFolder(path: string): void;
  link(path: string, target: string): void;
  unlink(path: string): void;
}

/** Changes to the tree that a program sees either not at all or whole. Paths are relative to its root. */
function createFiles(root: string): Files {
  const aside = join(root, '.aside');
  mkdirSync(aside);
  return {
    write(path, content) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(aside, 'file'), content);
      renameSync(join(aside, 'file'), join(root, path));
    },
    buildFolder(path, content) {
      const folder = join(aside, 'folder');
      for (const [name, value] of Object.entries(content)) {
        mkdirSync(dirname(join(folder, name)), { recursive: true });
        writeFileSync(join(folder, name), value);
      }
      mkdirSync(dirname(join(root, path)), { recursive: true });
      renameSync(folder, join(root, path));
    },
    makeFolder: (path) => void mkdirSync(join(root, path), { recursive: true }),
    removeFolder(path) {
      renameSync(join(root, path), join(aside, 'old'));
      rmSync(join(aside, 'old'), { recursive: true });
    },
    link(path, target) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      symlinkSync(relative(dirname(join(root, path)), join(root, target)), join(root, path));
    },
    unlink(path) {
      if (existsSync(dirname(join(root, path)))) unlinkSync(join(root, path));
    },
  };
}
