/**
 * What the doctor knows of a machine, and what it says about it. Facts are gathered in one place and judged in another,
 * so that the same judgement can be tried on machines that are not at hand. Types only.
 */
import type { Microphone } from '../controller/world.ts';
import type { Parsed } from '../shared/parse.ts';
import type { HostFacts } from './engine-config.ts';

/** Something that was looked for. Not ok: it could not be found out, and why. */
export type Fact<T> = Parsed<T>;

export type State = 'ok' | 'warning' | 'problem' | 'unknown';

export const GROUPS = ['Machine', 'Engine', 'Limits', 'Disk', 'Microphones', 'Starting by itself', 'Station'] as const;
export type Group = (typeof GROUPS)[number];

/** One line of the report. `problem`: it keeps the station from recording, or soon will. */
export interface Finding {
  group: Group;
  /** What was looked at, for people: "Podman's socket". Unique. */
  title: string;
  state: State;
  /** One or two sentences. */
  message: string;
  /** Lines for a shell, exactly as they are typed on the host, in this order. Empty: nothing is to be done. */
  cure: string[];
}

/** One socket that an engine may listen on, as a connection to it turned out. */
export interface SocketFacts {
  path: string;
  /** `denied`: this user may not open it. `silent`: somebody listens and says nothing. */
  state: 'answers' | 'absent' | 'denied' | 'not a socket' | 'refused' | 'silent';
  /** Where the file can be seen: its owner, and its rights as four octal digits. */
  rights: { uid: number; gid: number; mode: string } | null;
  /** Named by a variable, so that it counts whatever else answers. */
  configured: boolean;
}

/** What an engine says of itself. */
export interface EngineFacts {
  version: string;
  rootless: boolean;
  cgroupVersion: string;
  cgroupDriver: string;
  memoryLimit: boolean;
  pidsLimit: boolean;
  cpuLimit: boolean;
  /** Of `x86_64`, `aarch64`, …. */
  architecture: string;
  runtime: string;
  /** Where images and containers lie, on the host. */
  storageFolder: string;
  images: Fact<string[]>;
  networks: Fact<string[]>;
}

export interface DiskFacts {
  path: string;
  /** Where the file system is mounted, on what, of which kind. */
  mountPoint: string;
  source: string;
  kind: string;
  readOnly: boolean;
  freeBytes: number;
  totalBytes: number;
  /** 0 in total: this file system does not count them. */
  freeFiles: number;
  totalFiles: number;
}

export interface UsbFacts {
  /** `1-1.4`. */
  name: string;
  /** Megabits a second: 1.5, 12, 480, 5000. */
  speed: number;
  vendorId: string;
  productId: string;
  address: number;
  product: string;
  isHub: boolean;
  /** A hub that gives each of its ports a translator of its own for slow devices (USB 2.0, 11.14). */
  manyTranslators: boolean;
}

export interface SoundNode {
  path: string;
  uid: number;
  gid: number;
  /** Octal digits: `0660`. */
  mode: string;
}

export interface DoctorFacts {
  insideContainer: boolean;
  user: { name: string; uid: number; groups: number[] };
  machine: {
    nodeVersion: string;
    /** As Node names it: x64, arm64, arm, …. */
    architecture: string;
    /** `Raspberry Pi 4 Model B Rev 1.4`; null: another machine. */
    raspberryPi: string | null;
    distribution: { id: string; version: string; name: string };
    systemd: boolean;
  };
  engine: {
    /** Text of `podman --version`; null: there is no such program. */
    command: Fact<string | null>;
    sockets: SocketFacts[];
    /** Of the first socket that answers; null: none does. */
    info: Fact<EngineFacts> | null;
    /** Whether subordinate ids are given to this user (`/etc/subuid`, `/etc/subgid`). */
    subordinateIds: Fact<boolean>;
  };
  limits: {
    /** Of this process. */
    host: Fact<HostFacts>;
    /** The kernel's own command line. */
    kernelCommandLine: Fact<string>;
    /** The file in which a Raspberry Pi keeps it. */
    commandLineFile: string | null;
    /** Controllers that systemd hands to this user; null: there is no such cgroup. */
    delegated: Fact<string[] | null>;
  };
  disk: {
    recordings: Fact<DiskFacts>;
    run: Fact<DiskFacts>;
    storage: Fact<DiskFacts> | null;
    /** Whether the marker file stands in the recordings' folder. */
    marker: Fact<boolean>;
    /** Whether a station has seen it there; null: no station has been here. */
    marked: Fact<boolean | null>;
  };
  clock: {
    year: number;
    synchronised: Fact<boolean>;
    /** A clock that goes on without power. */
    hardwareClock: Fact<boolean>;
  };
  sound: {
    microphones: Fact<Microphone[]>;
    /** Who has a microphone open, by its `hw:` name. */
    holders: { hw: string; holder: string }[];
    usb: Fact<UsbFacts[]>;
    /** Lines of `/proc/asound/cards`. */
    cards: Fact<string[]>;
    nodes: Fact<SoundNode[]>;
  };
  power: {
    /** The firmware's word of flags; null: this machine has none. */
    throttled: Fact<number | null>;
    /** Lines of the kernel's log about power and USB bandwidth. */
    kernelLog: Fact<string[]>;
  };
  starting: {
    /** What systemd says of a unit: enabled, disabled, generated, not-found, …. */
    units: { name: string; state: Fact<string> }[];
    linger: Fact<boolean>;
  };
  selinux: Fact<'enforcing' | 'permissive' | 'off'>;
  station: {
    workspacePath: string;
    runPath: string;
    network: string;
    recorderImage: string;
    /** Wrong variables, one line each. */
    problems: string[];
    /** What `/healthy` says; null: nobody answers there. */
    health: Fact<StationHealth | null>;
    /** Whether the database answers; null: none is configured here. */
    database: Fact<null> | null;
  };
}

export interface StationHealth {
  status: string;
  message: string;
  dependencies: { name: string; state: string; message: string }[];
}
