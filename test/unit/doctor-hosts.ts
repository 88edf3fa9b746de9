/** Machines that are not at hand, as the doctor would know them. Each differs from a good one in what makes it what it is. */
import type { Microphone } from '../../services/controller/world.ts';
import type { DiskFacts, DoctorFacts, EngineFacts, Fact, UsbFacts } from '../../services/station/doctor-facts.ts';

export const known = <T>(value: T): Fact<T> => ({ ok: true, value });
export const notKnown = (message = 'It cannot be found out: EACCES.') => ({ ok: false as const, message });

const GIGABYTE = 1e9;

const disk = (given: Partial<DiskFacts> = {}): DiskFacts => ({
  path: '/var/lib/silvasonic/recorder',
  mountPoint: '/var/lib/silvasonic',
  source: '/dev/sda1',
  kind: 'ext4',
  readOnly: false,
  freeBytes: 800 * GIGABYTE,
  totalBytes: 1000 * GIGABYTE,
  freeFiles: 60_000_000,
  totalFiles: 61_054_976,
  ...given,
});

export function withDisk(given: Partial<DiskFacts>): (facts: DoctorFacts) => void {
  return ({ disk: facts }) => {
    facts.recordings = known(disk(given));
  };
}

const engine = (given: Partial<EngineFacts> = {}): EngineFacts => ({
  version: '5.4.2',
  rootless: false,
  cgroupVersion: '2',
  cgroupDriver: 'systemd',
  memoryLimit: true,
  pidsLimit: true,
  cpuLimit: true,
  architecture: 'aarch64',
  runtime: 'crun',
  storageFolder: '/var/lib/containers/storage',
  images: known(['localhost/silvasonic-recorder:latest', 'localhost/silvasonic-controller:latest']),
  networks: known(['podman', 'silvasonic-net']),
  ...given,
});

export function microphone(given: Partial<Microphone> & { rate?: number; channels?: number } = {}): Microphone {
  const { rate = 384_000, channels = 1, ...rest } = given;
  return {
    incarnation: 'platform/usb/0/1.1#5#1#116:4,116:5',
    portPath: 'platform/usb/0/1.1',
    vendorId: '0869',
    productId: '0389',
    serial: null,
    product: 'Ultramic384K',
    manufacturer: 'Dodotronic',
    kind: 'plain',
    sound: {
      card: 1,
      device: 0,
      hw: 'hw:1,0',
      usbDevice: '001/005 0869:0389',
      nodes: [],
      capabilities: { offers: [{ format: 'S16_LE', channels, rates: { kind: 'list', values: [rate] } }] },
    },
    obstacle: null,
    virtual: false,
    ...rest,
  };
}

export const usbDevice = (given: Partial<UsbFacts>): UsbFacts => ({
  name: '1-1.1',
  speed: 12,
  vendorId: '0869',
  productId: '0389',
  address: 5,
  product: 'Ultramic384K',
  isHub: false,
  manyTranslators: false,
  ...given,
});

/** A machine with nothing to complain about: Debian 13 on a PC, Podman as root, a microphone, a station that runs. */
export function goodHost(change: (facts: DoctorFacts) => void = () => {}): DoctorFacts {
  const facts: DoctorFacts = {
    insideContainer: false,
    user: { name: 'root', uid: 0, groups: [0] },
    machine: {
      nodeVersion: 'v24.11.0',
      architecture: 'x64',
      raspberryPi: null,
      distribution: { id: 'debian', version: '13', name: 'Debian GNU/Linux 13 (trixie)' },
      systemd: true,
    },
    engine: {
      command: known('podman version 5.4.2'),
      sockets: [
        {
          path: '/run/podman/podman.sock',
          state: 'answers',
          rights: { uid: 0, gid: 0, mode: '0660' },
          configured: false,
        },
      ],
      info: known(engine()),
      subordinateIds: known(true),
    },
    limits: {
      host: known({
        systemd: true,
        cgroupsV1: false,
        mayRaiseLimits: true,
        openFiles: 1_048_576,
        processes: 63_000,
      }),
      kernelCommandLine: known('BOOT_IMAGE=/boot/vmlinuz-6.12.48+deb13-amd64 root=UUID=6d0c ro quiet'),
      commandLineFile: null,
      delegated: known(null),
    },
    disk: {
      recordings: known(disk()),
      run: known(disk({ path: '/run', mountPoint: '/run', source: 'tmpfs', kind: 'tmpfs' })),
      storage: known(disk({ path: '/var/lib/containers/storage', mountPoint: '/', freeBytes: 40 * GIGABYTE })),
      marker: known(true),
      marked: known(true),
    },
    clock: { year: 2026, synchronised: known(true), hardwareClock: known(true) },
    sound: {
      microphones: known([microphone()]),
      holders: [{ hw: 'hw:1,0', holder: 'arecord (process 812)' }],
      usb: known([usbDevice({})]),
      cards: known(['1 [Ultramic384K ]: USB-Audio - Ultramic384K']),
      nodes: known([{ path: '/dev/snd/pcmC1D0c', uid: 0, gid: 29, mode: '0660' }]),
    },
    power: { throttled: known(null), kernelLog: known([]) },
    starting: {
      units: [
        { name: 'podman.socket', state: known('enabled') },
        { name: 'podman-restart.service', state: known('enabled') },
        { name: 'silvasonic-controller.service', state: known('not-found') },
      ],
      linger: known(false),
    },
    selinux: known('off'),
    station: {
      workspacePath: '/var/lib/silvasonic',
      runPath: '/run/silvasonic',
      network: 'silvasonic-net',
      recorderImage: 'localhost/silvasonic-recorder:latest',
      problems: [],
      health: known({ status: 'ok', message: '1 of 1 recording.', dependencies: [] }),
      database: null,
    },
  };
  change(facts);
  return facts;
}

/** As it comes out of Raspberry Pi Imager: the memory cgroup off, no hardware clock, a supply that is too weak. */
export function raspberryPi(change: (facts: DoctorFacts) => void = () => {}): DoctorFacts {
  return goodHost((facts) => {
    facts.user = { name: 'pi', uid: 0, groups: [0] };
    facts.machine = {
      nodeVersion: 'v20.19.2',
      architecture: 'arm64',
      raspberryPi: 'Raspberry Pi 4 Model B Rev 1.4',
      distribution: { id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' },
      systemd: true,
    };
    facts.engine.info = known(engine({ version: '4.3.1', memoryLimit: false }));
    facts.limits.kernelCommandLine = known(
      'coherent_pool=1M 8250.nr_uarts=0 cgroup_disable=memory root=PARTUUID=9d1a-02 rootfstype=ext4 rootwait',
    );
    facts.limits.commandLineFile = '/boot/firmware/cmdline.txt';
    facts.disk.recordings = known(
      disk({ source: '/dev/mmcblk0p2', mountPoint: '/', freeBytes: 20 * GIGABYTE, totalBytes: 31 * GIGABYTE }),
    );
    facts.clock.hardwareClock = known(false);
    facts.power = {
      throttled: known(0x50000),
      kernelLog: known(['[  912.4] hwmon hwmon1: Undervoltage detected!']),
    };
    change(facts);
  });
}

/** Fedora Server, Podman of an ordinary user, SELinux enforcing, nothing prepared for it. */
export function rootlessFedora(change: (facts: DoctorFacts) => void = () => {}): DoctorFacts {
  return goodHost((facts) => {
    facts.user = { name: 'anna', uid: 1000, groups: [1000, 63] };
    facts.machine.distribution = { id: 'fedora', version: '42', name: 'Fedora Linux 42 (Server Edition)' };
    facts.engine.info = known(
      engine({ version: '5.6.1', rootless: true, storageFolder: '/home/anna/.local/share/containers/storage' }),
    );
    facts.engine.sockets = [
      {
        path: '/run/user/1000/podman/podman.sock',
        state: 'answers',
        rights: { uid: 1000, gid: 1000, mode: '0660' },
        configured: false,
      },
    ];
    facts.limits.host = known({
      systemd: true,
      cgroupsV1: false,
      mayRaiseLimits: false,
      openFiles: 524_288,
      processes: 61_000,
    });
    facts.limits.delegated = known(['memory', 'pids']);
    facts.selinux = known('enforcing');
    change(facts);
  });
}

/** Debian 12 as a service of systemd found it: Podman installed, its socket never started. */
export function bareDebian(change: (facts: DoctorFacts) => void = () => {}): DoctorFacts {
  return goodHost((facts) => {
    facts.machine.distribution = { id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' };
    facts.engine = {
      command: known('podman version 4.3.1'),
      sockets: [{ path: '/run/podman/podman.sock', state: 'absent', rights: null, configured: false }],
      info: null,
      subordinateIds: known(false),
    };
    facts.disk.storage = null;
    facts.disk.marker = known(false);
    facts.disk.marked = known(null);
    facts.starting.units = [
      { name: 'podman.socket', state: known('disabled') },
      { name: 'podman-restart.service', state: known('disabled') },
      { name: 'silvasonic-controller.service', state: known('not-found') },
    ];
    facts.station.health = known(null);
    change(facts);
  });
}
