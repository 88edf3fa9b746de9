/** Gathers what the doctor knows of the machine: files of the kernel, programs of the system. */
import { readdirSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { listFolderIfPresent } from '../controller/kernel-files.ts';
import type { DiskFacts, DoctorFacts, Fact, SoundNode, UsbFacts } from './doctor-facts.ts';
import { andThen, attempt, attemptWithin, failed, type Look, mountOf } from './doctor-look.ts';
import { RESTART_UNIT, SOCKET_UNIT, STATION_UNIT } from './doctor-starting.ts';
import { readHostFacts } from './engine-config.ts';

const DISK_DEADLINE_MS = 5000;
const ON_HOST_ONLY = 'It can be seen on the host only: run "npm run doctor" there.';
const THROTTLED_FILE = '/sys/devices/platform/soc/soc:firmware/get_throttled';
const COMMAND_LINE_FILES = ['/boot/firmware/cmdline.txt', '/boot/cmdline.txt'];

export function gatherMachine(look: Look): DoctorFacts['machine'] {
  const textOf = (path: string): string => {
    const read = look.text(path);
    return read.ok ? (read.value ?? '') : '';
  };
  const release = textOf('/etc/os-release');
  const value = (key: string): string => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(release)?.[1] ?? '';
  const model = textOf('/proc/device-tree/model').replaceAll('\0', '').trim();
  return {
    nodeVersion: process.version,
    architecture: process.arch,
    raspberryPi: model.startsWith('Raspberry Pi') ? model : null,
    distribution: { id: value('ID'), version: value('VERSION_ID'), name: value('PRETTY_NAME') || 'Linux' },
    systemd: exists(look, '/run/systemd/system'),
  };
}

function exists(look: Look, path: string): boolean {
  const found = attempt(() => statSync(`${look.root}${path}`, { throwIfNoEntry: false }) !== undefined);
  return found.ok && found.value;
}

export async function gatherLimits(
  look: Look,
  { uid, raspberryPi }: { uid: number; raspberryPi: string | null },
): Promise<DoctorFacts['limits']> {
  const found = COMMAND_LINE_FILES.find((path) => exists(look, path)) ?? '/boot/firmware/cmdline.txt';
  const user = `/sys/fs/cgroup/user.slice/user-${uid}.slice/user@${uid}.service/cgroup.controllers`;
  return {
    host: await attemptWithin(DISK_DEADLINE_MS, () => readHostFacts(look.root)),
    kernelCommandLine: andThen(look.text('/proc/cmdline'), (text) => text ?? failed('There is no /proc/cmdline.')),
    commandLineFile: raspberryPi === null ? null : found,
    delegated: andThen(look.text(user), (text) => ({
      ok: true,
      value: text === null ? null : text.split(/\s+/).filter((word) => word !== ''),
    })),
  };
}

/** The file system that a path lies on, or would: of the nearest folder above it that is there. */
export async function lookAtDisk(look: Look, path: string): Promise<Fact<DiskFacts>> {
  const mounts = look.text('/proc/self/mounts');
  if (!mounts.ok) return mounts;
  return await attemptWithin(DISK_DEADLINE_MS, async () => {
    let folder = path;
    while (folder !== '/' && !exists(look, folder)) folder = dirname(folder);
    const mount = mountOf(folder, mounts.value ?? '');
    if (mount === null) throw new Error(`no mount is known for ${folder}`);
    const { bavail, bsize, blocks, ffree, files } = await statfs(`${look.root}${folder}`);
    return {
      path: folder,
      ...mount,
      freeBytes: bavail * bsize,
      totalBytes: blocks * bsize,
      freeFiles: ffree,
      totalFiles: files,
    };
  });
}

export async function gatherClock(look: Look, insideContainer: boolean): Promise<DoctorFacts['clock']> {
  return {
    year: new Date().getFullYear(),
    synchronised: insideContainer ? failed(ON_HOST_ONLY) : await isSynchronised(look),
    hardwareClock: attempt(() => (listFolderIfPresent(`${look.root}/sys/class/rtc`) ?? []).length > 0),
  };
}

async function isSynchronised(look: Look): Promise<Fact<boolean>> {
  if (exists(look, '/run/systemd/timesync/synchronized')) return { ok: true, value: true };
  const asked = await look.run('timedatectl', 'show', '--property=NTPSynchronized', '--value');
  return andThen(asked, ({ code, stdout }) =>
    code === 0 && /^(yes|no)$/.test(stdout.trim())
      ? { ok: true, value: stdout.trim() === 'yes' }
      : failed('timedatectl gives no answer here, as without systemd or in a container.'),
  );
}

export function gatherUsb(look: Look): Fact<UsbFacts[]> {
  const folder = '/sys/bus/usb/devices';
  return attempt(() => {
    const names = listFolderIfPresent(`${look.root}${folder}`) ?? [];
    return names
      .filter((name) => /^\d+-\d+(\.\d+)*$/.test(name))
      .map((name) => {
        const read = (file: string): string => {
          const text = look.text(`${folder}/${name}/${file}`);
          return text.ok ? (text.value ?? '') : '';
        };
        return {
          name,
          speed: Number(read('speed')),
          vendorId: read('idVendor'),
          productId: read('idProduct'),
          address: Number(read('devnum')),
          product: read('product'),
          isHub: read('bDeviceClass') === '09',
          // bDeviceProtocol of a hub at high speed: 1 one translator, 2 one for each port.
          manyTranslators: read('bDeviceProtocol') === '02',
        };
      });
  });
}

/** `0 [Device]: USB-Audio - UMIK-1`, one line for each card. */
export function gatherCards(look: Look): Fact<string[]> {
  return andThen(look.text('/proc/asound/cards'), (text) =>
    text === null
      ? failed('There is no /proc/asound: the kernel has no sound, or this container hides it.')
      : text.split('\n').flatMap((line) => /^\s*(\d+ \[.*)$/.exec(line)?.[1]?.replaceAll(/\s+/g, ' ') ?? []),
  );
}

export function gatherNodes(look: Look, insideContainer: boolean): Fact<SoundNode[]> {
  if (insideContainer) return failed(ON_HOST_ONLY);
  const folder = `${look.root}/dev/snd`;
  if (!exists(look, '/dev/snd')) return { ok: true, value: [] };
  return attempt(() =>
    readdirSync(folder)
      .filter((name) => /^(controlC\d+|pcmC\d+D\d+c)$/.test(name))
      .sort()
      .map((name) => {
        const { uid, gid, mode } = statSync(`${folder}/${name}`);
        return { path: `/dev/snd/${name}`, uid, gid, mode: (mode & 0o7777).toString(8).padStart(4, '0') };
      }),
  );
}

export async function gatherPower(look: Look, raspberryPi: string | null): Promise<DoctorFacts['power']> {
  const log = await look.run('dmesg');
  return {
    throttled: await readThrottled(look, raspberryPi),
    kernelLog: andThen(log, ({ code, stdout, stderr }) =>
      code === 0
        ? stdout.split('\n').filter((line) => /under-?voltage|not enough bandwidth|error -28\b/i.test(line))
        : failed(`The kernel's log cannot be read (${stderr.trim()}): ask as root.`),
    ),
  };
}

async function readThrottled(look: Look, raspberryPi: string | null): Promise<Fact<number | null>> {
  const file = look.text(THROTTLED_FILE);
  if (file.ok && file.value !== null) return { ok: true, value: Number.parseInt(file.value, 16) };
  if (raspberryPi === null) return { ok: true, value: null };
  return andThen(await look.run('vcgencmd', 'get_throttled'), ({ stdout, stderr }) => {
    const word = /throttled=0x([0-9a-f]+)/i.exec(stdout)?.[1];
    return word === undefined
      ? failed(`"vcgencmd get_throttled" said: ${(stderr || stdout).trim()}`)
      : { ok: true, value: Number.parseInt(word, 16) };
  });
}

export async function gatherStarting(
  look: Look,
  { insideContainer, uid, userName }: { insideContainer: boolean; uid: number; userName: string },
): Promise<DoctorFacts['starting']> {
  const names = [SOCKET_UNIT, RESTART_UNIT, STATION_UNIT];
  const ask = async (name: string): Promise<Fact<string>> => {
    if (insideContainer) return failed(ON_HOST_ONLY);
    const asked = await look.run('systemctl', ...(uid === 0 ? [] : ['--user']), 'is-enabled', name);
    return andThen(asked, ({ stdout, stderr }) => {
      const word = stdout.trim().split('\n').at(-1) ?? '';
      if (word !== '') return word;
      return /not found|No such file/i.test(stderr) ? 'not-found' : failed(`systemctl said: ${stderr.trim()}`);
    });
  };
  return {
    units: await Promise.all(names.map(async (name) => ({ name, state: await ask(name) }))),
    linger: insideContainer ? failed(ON_HOST_ONLY) : attempt(() => exists(look, `/var/lib/systemd/linger/${userName}`)),
  };
}

export function gatherSelinux(look: Look): DoctorFacts['selinux'] {
  return andThen(look.text('/sys/fs/selinux/enforce'), (text) => ({
    ok: true,
    value: text === null ? ('off' as const) : text === '1' ? ('enforcing' as const) : ('permissive' as const),
  }));
}
