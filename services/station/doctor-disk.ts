/** Judges where recordings go, and what time it is: a recording with the wrong date is half lost. Pure. */
import type { DiskFacts, DoctorFacts, Finding } from './doctor-facts.ts';
import { asRoot, gigabytes, judge, shellWord, wordsOf } from './doctor-words.ts';

const disk = wordsOf('Disk');
const machine = wordsOf('Machine');

const FULL_BYTES = 1e9;
const SCARCE_PART = 0.1;
const FULL_FILES_PART = 0.01;
const SCARCE_FILES_PART = 0.05;
const STORAGE_BYTES = 2e9;
/** The year in which this was written: an earlier one is no time, but what a clock says that nobody set. */
const EARLIEST_YEAR = 2025;

/** Without rights, links and locks: what is written is not ours alone, and a power cut takes whole folders. */
const WITHOUT_RIGHTS = ['vfat', 'msdos', 'exfat', 'ntfs', 'ntfs3', 'fuseblk'];
/** Locks and syncing depend on somebody else's machine. */
const OVER_NETWORK = ['nfs', 'nfs4', 'cifs', 'smb3', 'fuse.sshfs', '9p'];
const IN_MEMORY = ['tmpfs', 'ramfs'];

export function checkDisk(facts: DoctorFacts): Finding[] {
  return [recordings(facts), files(facts), fileSystem(facts), marker(facts), ...storage(facts), run(facts)];
}

export function checkClock(facts: DoctorFacts): Finding[] {
  return [synchronised(facts), hardwareClock(facts)];
}

function recordings(facts: DoctorFacts): Finding {
  const title = 'Space for recordings';
  const {
    disk: { recordings: fact },
    station,
  } = facts;
  return judge(disk, title, fact, ({ path, freeBytes, totalBytes, readOnly, mountPoint }) => {
    const text = `${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} free at ${path}`;
    if (readOnly) {
      return disk.problem(
        title,
        `${mountPoint} is mounted read-only, as after an error of the disk: nothing can be recorded. Look what the kernel says of it before it is written again.`,
        asRoot(facts, 'dmesg --level=err,warn | tail -n 30'),
        asRoot(facts, `mount -o remount,rw ${shellWord(mountPoint)}`),
      );
    }
    const show = `du -xh --max-depth=2 ${shellWord(station.workspacePath)} | sort -h | tail`;
    if (freeBytes < FULL_BYTES) {
      return disk.problem(
        title,
        `${text}: too little to go on recording. See what takes it, and remove or move it.`,
        show,
      );
    }
    if (freeBytes < totalBytes * SCARCE_PART) return disk.warning(title, `${text}: it will be full soon.`, show);
    return disk.ok(title, `${text}.`);
  });
}

function files(facts: DoctorFacts): Finding {
  const title = 'Room for files';
  return judge(disk, title, facts.disk.recordings, ({ freeFiles, totalFiles, mountPoint }) => {
    if (totalFiles === 0) return disk.ok(title, 'This file system makes room as it is needed.');
    const text = `${freeFiles} of ${totalFiles} file entries (inodes) free`;
    const show = asRoot(facts, `du --inodes -x --max-depth=2 ${shellWord(mountPoint)} | sort -n | tail`);
    if (freeFiles < totalFiles * FULL_FILES_PART)
      return disk.problem(title, `${text}: soon no file can be made.`, show);
    if (freeFiles < totalFiles * SCARCE_FILES_PART) return disk.warning(title, `${text}.`, show);
    return disk.ok(title, `${text}.`);
  });
}

function fileSystem(facts: DoctorFacts): Finding {
  const title = 'File system of recordings';
  return judge(disk, title, facts.disk.recordings, ({ kind, mountPoint, source }) => {
    const text = `${kind} on ${source}, mounted at ${mountPoint}`;
    if (WITHOUT_RIGHTS.includes(kind)) {
      return disk.problem(
        title,
        `${text}: ${kind} knows no owners, rights and links, and loses files when power fails. Copy what is on it, then make an ext4 (this erases it).`,
        asRoot(facts, `umount ${shellWord(mountPoint)}`),
        asRoot(facts, `mkfs.ext4 -L recordings ${shellWord(source)}`),
      );
    }
    if (IN_MEMORY.includes(kind)) {
      return disk.problem(title, `${text}: it lies in memory, and everything on it is gone after a reboot.`);
    }
    if (OVER_NETWORK.includes(kind)) {
      return disk.warning(
        title,
        `${text}: recordings stop when the network or the server does. Record onto a local disk, and copy from there.`,
      );
    }
    if (source.startsWith('/dev/mmcblk') && facts.machine.raspberryPi !== null) {
      return disk.ok(title, `${text}: a memory card. A USB disk lasts longer under constant writing.`);
    }
    return disk.ok(title, `${text}.`);
  });
}

function marker(facts: DoctorFacts): Finding {
  const title = 'Mark of the station';
  const { marker: seen, marked, recordings: where } = facts.disk;
  if (!seen.ok) return disk.unknown(title, seen.message);
  if (seen.value) return disk.ok(title, 'It stands in the folder of recordings.');
  if (!marked.ok) return disk.unknown(title, marked.message);
  if (marked.value !== true) return disk.ok(title, 'No station has recorded here yet.');
  const folder = `${facts.station.workspacePath}/recorder`;
  const mountPoint = where.ok ? where.value.mountPoint : 'another disk';
  return disk.problem(
    title,
    `It was in ${folder} and is gone, and that lies on ${mountPoint} now: is the disk not mounted? Nothing is recorded until it is there again.`,
    `findmnt --target ${shellWord(folder)}`,
    asRoot(facts, 'mount --all'),
  );
}

function storage({ disk: { storage: fact } }: DoctorFacts): Finding[] {
  if (fact === null) return [];
  const title = 'Space for images';
  return [
    judge(disk, title, fact, ({ freeBytes, path }) =>
      freeBytes < STORAGE_BYTES
        ? disk.warning(
            title,
            `${gigabytes(freeBytes)} free at ${path}: too little for an update of the images. This removes those that no name leads to.`,
            'podman image prune --force',
          )
        : disk.ok(title, `${gigabytes(freeBytes)} free at ${path}.`),
    ),
  ];
}

function run(facts: DoctorFacts): Finding {
  const title = 'Folder for what is only of now';
  return judge(disk, title, facts.disk.run, ({ path, kind, source }: DiskFacts) =>
    IN_MEMORY.includes(kind)
      ? disk.ok(title, `${path} lies in memory.`)
      : disk.warning(
          title,
          `${path} lies on ${kind} (${source}), and each recorder writes there once a second: memory cards wear out. Mount memory there, or set SILVASONIC_RUN_PATH to a folder in memory.`,
          asRoot(facts, `mkdir -p ${shellWord(facts.station.runPath)}`),
          asRoot(facts, `mount -t tmpfs -o size=16m,mode=755 tmpfs ${shellWord(facts.station.runPath)}`),
        ),
  );
}

function synchronised(facts: DoctorFacts): Finding {
  const title = 'Clock';
  const { year, synchronised: fact } = facts.clock;
  const cure = asRoot(facts, 'timedatectl set-ntp true');
  if (year < EARLIEST_YEAR) {
    return machine.problem(
      title,
      `It says the year ${year}: nobody has set it since power came. Recordings bear that date.`,
      cure,
    );
  }
  return judge(machine, title, fact, (is) =>
    is
      ? machine.ok(title, 'Synchronised over the network.')
      : machine.warning(
          title,
          'Not synchronised: it drifts by seconds a day. Without a network, set it by hand or use a GPS receiver or a hardware clock.',
          cure,
        ),
  );
}

function hardwareClock(facts: DoctorFacts): Finding {
  const title = 'Hardware clock';
  return judge(machine, title, facts.clock.hardwareClock, (has) => {
    if (has) return machine.ok(title, 'There is one.');
    const text = 'There is none: after a power cut without network, recordings bear the time at which power went.';
    if (facts.machine.raspberryPi === null) return machine.warning(title, text);
    return machine.warning(
      title,
      `${text} A module with a DS3231 costs little; when it is plugged in, this line names it (a Raspberry Pi 5 has one and needs only the battery).`,
      `echo 'dtoverlay=i2c-rtc,ds3231' | sudo tee -a /boot/firmware/config.txt && sudo reboot`,
    );
  });
}
