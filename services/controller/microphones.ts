/**
 * USB microphones: polls what is plugged in, waits until two scans agree, and hands out the list. Polling instead of
 * udev events: a lost event would be a microphone that nobody records, a lost poll costs a quarter of a second.
 *
 * A poll that finds nothing new reads one file: the kernel numbers its announcements of devices (`uevent_seqnum`), and
 * while that number stands still nothing was plugged in or out. Only when it moves, and every few seconds besides, the
 * devices are enumerated; descriptors and sound files are read only of what is new.
 */
import { usb } from 'usb';
import { parseOwnerPid } from './alsa.ts';
import { listFolderIfPresent, readText, readTextIfPresent, resolveIfPresent } from './kernel-files.ts';
import type { Log } from './log.ts';
import {
  describeMicrophone,
  folderName,
  type KernelRoots,
  readStay,
  readUsbCards,
  type UsbDeviceSeen,
  type UsbStay,
} from './microphone-facts.ts';
import { cleanName } from './usb-identity.ts';
import type { Clock, DependencyState, Microphone, MicrophoneSource, Parsed, Reading } from './world.ts';

export interface MicrophoneSourceOptions {
  /** Between polls while nothing changes. */
  pollMs: number;
  clock: Clock;
  log: Pick<Log, 'info' | 'warn' | 'error'>;
  /** Where sysfs and procfs are mounted; `/sys` and `/proc` unless given. */
  sysRoot?: string;
  procRoot?: string;
}

/** Until the next look after a difference. */
const CONFIRM_MS = 50;
/** At least this often the devices are enumerated, whatever the kernel's number says. */
const FULL_SCAN_MS = 15_000;
/** An enumeration takes a millisecond; one that takes longer than this hangs. */
const SCAN_DEADLINE_MS = 5000;
/** So many scans without two that agree, and the last one counts: one flapping plug must not hide all others. */
const MAX_DISAGREEING_SCANS = 20;

/** One enumeration. Equal signatures: the same devices and sound nodes. */
interface Scan {
  /** null: this host has no USB. */
  devices: UsbDeviceSeen[] | null;
  soundNames: string[];
  /** null: the kernel does not tell it. */
  announcements: string | null;
  signature: string;
}

/** What an agreed scan comes to. */
interface List {
  microphones: Microphone[];
  /** Devices that could not be read, each with its sentence. */
  problems: string[];
  /** False: something was not there yet, or could not be read; look again though nothing changes. */
  complete: boolean;
}

/** What a look at USB found. `quiet`: nothing new and nothing to be read again, so the next look can wait. */
type Look = { quiet: boolean; scan: Scan | null; list: List | null };

/**
 * Watches USB. `read` fails until two scans agreed, and while scans fail; a host without USB has an empty list and the
 * dependency's state `absent`. `onChange` is called after each new list and when scanning works again. Nothing is ever
 * thrown out of a timer.
 */
export function createMicrophoneSource(options: MicrophoneSourceOptions): MicrophoneSource {
  const { pollMs, clock, log } = options;
  const look = createLook({ sysRoot: options.sysRoot ?? '/sys', procRoot: options.procRoot ?? '/proc' }, clock);
  let reading: Reading<Microphone[]> = {
    ok: false,
    error: 'the first USB scan has not finished',
    startedAtMs: clock.nowMs(),
  };
  let dependency: DependencyState = {
    name: 'usb',
    state: 'down',
    message: 'The first USB scan has not finished.',
    sinceMs: clock.nowMs(),
  };
  let told: List | null = null;
  let stopped = false;
  let cancelTimer = () => {};

  function setDependency(state: DependencyState['state'], message: string): void {
    if (dependency.state === state && dependency.message === message) return;
    const sinceMs = dependency.state === state ? dependency.sinceMs : clock.nowMs();
    dependency = { name: 'usb', state, message, sinceMs };
    log[state === 'down' ? 'warn' : 'info']({ dependency: 'usb', state }, message);
  }

  /** Takes over what a look found; true: the list is another one, or known again. */
  function accept({ scan, list }: Look, startedAtMs: number): boolean {
    if (list === null) return false;
    const wasKnown = reading.ok;
    reading = { ok: true, value: list.microphones, startedAtMs };
    if (wasKnown && list === told) return false;
    if (scan !== null) setDependency(scan.devices === null ? 'absent' : 'up', summary(scan, list));
    const isNews = !wasKnown || JSON.stringify(list.microphones) !== JSON.stringify(told?.microphones);
    told = list;
    return isNews;
  }

  async function poll(onChange: () => void): Promise<void> {
    const startedAtMs = clock.nowMs();
    let delayMs = pollMs;
    try {
      const found = await look(startedAtMs);
      if (stopped) return;
      if (!found.quiet) delayMs = CONFIRM_MS;
      if (accept(found, startedAtMs)) onChange();
    } catch (error) {
      if (stopped) return;
      const sentence = `USB cannot be scanned: ${error instanceof Error ? error.message : String(error)}.`;
      reading = { ok: false, error: sentence, startedAtMs };
      setDependency('down', sentence);
    }
    cancelTimer = clock.timer(delayMs, () => void poll(onChange));
  }

  return {
    start: (onChange) => void poll(guarded(onChange, log)),
    read: () => reading,
    holder: (sound) => nameHolder(microphoneHolder(sound.card, sound.device, options.procRoot)),
    dependency: () => dependency,
    stop() {
      stopped = true;
      cancelTimer();
    },
  };
}

/** A mistake of the one who is called must not look like a failed scan. */
function guarded(onChange: () => void, log: Pick<Log, 'error'>): () => void {
  return () => {
    try {
      onChange();
    } catch (err) {
      log.error({ err }, 'the change of the microphones could not be passed on');
    }
  };
}

function summary(scan: Scan, list: List): string {
  if (scan.devices === null) return 'This host has no USB; microphones are found as soon as it has.';
  const count = list.microphones.length;
  const microphones = count === 1 ? '1 microphone' : `${count} microphones`;
  return [`${microphones} among ${scan.devices.length} USB devices.`, ...list.problems].join(' ');
}

/**
 * Makes the function that looks once. It goes from the cheapest to the dearest: the kernel's number, an enumeration, the
 * files of what is new. Throws where USB cannot be enumerated; then two scans must agree anew.
 */
function createLook(roots: KernelRoots, clock: Clock): (startedAtMs: number) => Promise<Look> {
  const enumerate = createEnumeration(clock);
  const readList = createListReader(roots);
  let previous: Scan | null = null;
  let agreed: { signature: string; list: List } | null = null;
  let disagreeing = 0;
  let confirming = false;
  /** The kernel's number at which two scans agreed. null: enumerate. */
  let quietAt: string | null = null;
  let enumeratedAtMs = 0;

  async function enumerateAndCompare(startedAtMs: number): Promise<Look> {
    const scan = await readScan(roots, enumerate);
    enumeratedAtMs = startedAtMs;
    const agrees = scan.signature === previous?.signature;
    const standsStill = agrees && scan.announcements === previous?.announcements;
    disagreeing = agrees ? 0 : disagreeing + 1;
    previous = scan;
    if (!agrees && disagreeing < MAX_DISAGREEING_SCANS) {
      confirming = true;
      return { quiet: false, scan, list: null };
    }
    if (agreed?.signature !== scan.signature || !agreed.list.complete) {
      agreed = { signature: scan.signature, list: readList(scan) };
    }
    // An announcement without a difference is looked after once more: sysfs may follow it a moment later.
    const quiet = agrees && (standsStill || confirming);
    confirming = !quiet;
    if (standsStill && agreed.list.complete) quietAt = scan.announcements;
    return { quiet, scan, list: agreed.list };
  }

  return async (startedAtMs) => {
    try {
      const isDue = startedAtMs - enumeratedAtMs >= FULL_SCAN_MS;
      if (!isDue && quietAt !== null && agreed !== null && quietAt === readAnnouncements(roots)) {
        return { quiet: true, scan: null, list: agreed.list };
      }
      quietAt = null;
      return await enumerateAndCompare(startedAtMs);
    } catch (error) {
      quietAt = null;
      previous = null;
      throw error;
    }
  };
}

async function readScan(roots: KernelRoots, enumerate: () => Promise<UsbDeviceSeen[]>): Promise<Scan> {
  // Read first: what comes during the enumeration then makes another number.
  const announcements = readAnnouncements(roots);
  const hasUsb = listFolderIfPresent(`${roots.sysRoot}/bus/usb/devices`) !== null;
  const devices = hasUsb ? await enumerate() : null;
  const soundNames = (listFolderIfPresent(`${roots.sysRoot}/class/sound`) ?? []).filter((name) =>
    /^(card|controlC|pcmC)\d/.test(name),
  );
  const lines = devices?.map(keyOf).sort() ?? ['no USB'];
  // Drivers that start anew may change places: the same devices, the same cards, and each card of another device.
  const places = soundNames.map((name) =>
    name.startsWith('card') ? `${name} ${resolveIfPresent(`${roots.sysRoot}/class/sound/${name}`)}` : name,
  );
  return { devices, soundNames, announcements, signature: [...lines, ...places].join('\n') };
}

function readAnnouncements({ sysRoot }: KernelRoots): string | null {
  return readTextIfPresent(`${sysRoot}/kernel/uevent_seqnum`);
}

/** Names one stay of a device on a port: the kernel gives a new address at each plugging in. */
function keyOf(seen: UsbDeviceSeen): string {
  return `${folderName(seen)}#${seen.address}#${seen.vendorId}:${seen.productId}`;
}

/** Enumerates without opening a device, one call at a time; one that hangs is given up and no second one is begun. */
function createEnumeration(clock: Clock): () => Promise<UsbDeviceSeen[]> {
  let isRunning = false;
  return () => {
    if (isRunning) return Promise.reject(new Error('the enumeration of USB devices still hangs'));
    isRunning = true;
    return new Promise((resolve, reject) => {
      const cancel = clock.timer(SCAN_DEADLINE_MS, () => {
        reject(new Error(`the enumeration of USB devices gave no answer within ${SCAN_DEADLINE_MS / 1000} s`));
      });
      const settle = () => {
        isRunning = false;
        cancel();
      };
      usb.getDevices().then(
        (devices) => {
          settle();
          resolve(devices.map(toSeen));
        },
        (error: unknown) => {
          settle();
          reject(error);
        },
      );
    });
  };
}

type UsbDevice = Awaited<ReturnType<typeof usb.getDevices>>[number];

/** Only numbers are taken: the getters of the strings open the device where a string is missing. */
function toSeen(device: UsbDevice): UsbDeviceSeen {
  const hex4 = (id: number) => id.toString(16).padStart(4, '0');
  return {
    bus: Number(device.bus),
    address: device.address,
    ports: device.ports,
    vendorId: hex4(device.vendorId),
    productId: hex4(device.productId),
  };
}

/** Makes the function that turns a scan into microphones, and remembers what it has read of those that stay. */
function createListReader(roots: KernelRoots): (scan: Scan) => List {
  let stays = new Map<string, UsbStay>();
  let described = new Map<string, { card: string; microphone: Microphone | null }>();

  return ({ devices, soundNames }) => {
    const list: List = { microphones: [], problems: [], complete: true };
    const cards = readUsbCards(soundNames, devices ?? [], roots);
    const nextStays: typeof stays = new Map();
    const nextDescribed: typeof described = new Map();
    for (const seen of devices ?? []) {
      const key = keyOf(seen);
      const cardNames = cards.get(folderName(seen));
      const card = JSON.stringify(cardNames ?? null);
      let known = described.get(key);
      try {
        const stay = stays.get(key) ?? readStay(seen, roots);
        if (stay === null) {
          list.complete = false;
          continue;
        }
        if (stay.functions !== null) nextStays.set(key, stay);
        if (known?.card !== card) {
          const facts = describeMicrophone(stay, seen, cardNames, roots);
          if (!facts.ready) list.complete = false;
          known = { card: facts.ready ? card : 'read again', microphone: facts.microphone };
        }
      } catch (error) {
        // One device that cannot be read changes nothing for the others, and nothing of what was known of itself.
        list.complete = false;
        list.problems.push(
          `${folderName(seen)} cannot be read: ${error instanceof Error ? error.message : String(error)}.`,
        );
      }
      if (known === undefined) continue;
      nextDescribed.set(key, known);
      if (known.microphone !== null) list.microphones.push(known.microphone);
    }
    stays = nextStays;
    described = nextDescribed;
    list.microphones.sort((a, b) => (a.portPath < b.portPath ? -1 : 1));
    return list;
  };
}

/** Who has a microphone open. `command` null: a process that cannot be seen from here. */
export interface MicrophoneHolder {
  pid: number;
  command: string | null;
}

function nameHolder(holder: Parsed<MicrophoneHolder | null>): string | null {
  if (!holder.ok || holder.value === null) return null;
  const { pid, command } = holder.value;
  // It calls itself what it likes.
  return `${cleanName(command).slice(0, 40) || 'Another program'} (process ${pid})`;
}

/** Names who holds a capture device, as far as procfs tells. `value` null: nobody, or nobody that it names. */
export function microphoneHolder(card: number, device: number, procRoot = '/proc'): Parsed<MicrophoneHolder | null> {
  try {
    const pid = parseOwnerPid(readText(`${procRoot}/asound/card${card}/pcm${device}c/sub0/status`));
    if (pid === null) return { ok: true, value: null };
    return { ok: true, value: { pid, command: readTextIfPresent(`${procRoot}/${pid}/comm`) } };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ok: false, message: `Who holds hw:${card},${device} cannot be read: ${why}.` };
  }
}
