/** What the doctor says of machines that are not at hand: what is wrong, and the very command that mends it. */
import { describe, expect, test } from 'vitest';
import { examine, exitCode } from '../../services/station/doctor-checks.ts';
import type { DoctorFacts, Finding } from '../../services/station/doctor-facts.ts';
import { GROUPS } from '../../services/station/doctor-facts.ts';
import { mountOf } from '../../services/station/doctor-look.ts';
import { formatJson, formatReport, summary } from '../../services/station/doctor-report.ts';
import {
  bareDebian,
  goodHost,
  known,
  microphone,
  notKnown,
  raspberryPi,
  rootlessFedora,
  usbDevice,
  withDisk,
} from './doctor-hosts.ts';

/** The finding about something; the test fails where there is none. */
function find(facts: DoctorFacts, title: string): Finding {
  const findings = examine(facts);
  const found = findings.find((finding) => finding.title === title);
  if (found === undefined)
    throw new Error(`No finding "${title}" among ${findings.map((one) => one.title).join(', ')}`);
  return found;
}

const notOk = (facts: DoctorFacts): string[] =>
  examine(facts)
    .filter(({ state }) => state !== 'ok')
    .map(({ state, title }) => `${state}: ${title}`);

describe('a good machine', () => {
  test('has nothing to complain about, and ends with 0', () => {
    expect(notOk(goodHost())).toEqual([]);
    expect(exitCode(examine(goodHost()))).toBe(0);
    expect(summary(examine(goodHost()))).toBe('Everything is in order.');
  });

  test.each([goodHost(), raspberryPi(), rootlessFedora(), bareDebian()])('every finding is whole: %#', (facts) => {
    const findings = examine(facts);
    expect(new Set(findings.map(({ title }) => title)).size).toBe(findings.length);
    for (const { message, cure, state, group } of findings) {
      expect(message).toMatch(/[.)]$/);
      expect(message).not.toMatch(/undefined|NaN|\[object/);
      expect(GROUPS).toContain(group);
      if (state === 'ok') expect(cure).toEqual([]);
      for (const command of cure) expect(command).not.toMatch(/undefined|\n|\$\{/);
    }
  });
});

describe('Raspberry Pi OS as it comes', () => {
  test('what it lacks is told, and nothing of it keeps it from recording', () => {
    expect(notOk(raspberryPi())).toEqual([
      'warning: Hardware clock',
      'warning: Power supply',
      'warning: Memory limits',
    ]);
    expect(exitCode(examine(raspberryPi()))).toBe(0);
  });

  test('the memory cgroup: the words, the file, the command', () => {
    const { message, cure } = find(raspberryPi(), 'Memory limits');
    expect(message).toContain('"cgroup_enable=memory cgroup_memory=1"');
    expect(message).toContain('/boot/firmware/cmdline.txt');
    expect(cure).toEqual([
      "sudo sed -i '1 s/$/ cgroup_enable=memory cgroup_memory=1/' /boot/firmware/cmdline.txt",
      'sudo reboot',
    ]);
  });

  test('it is found without an engine that could be asked', () => {
    const facts = raspberryPi((pi) => {
      pi.engine.info = null;
    });
    expect(find(facts, 'Memory limits')).toMatchObject({ state: 'warning' });
  });

  test('a voltage that is too low now is a problem; one that was, a warning; none, nothing', () => {
    const power = (word: number, lines: string[] = []) =>
      find(
        raspberryPi((pi) => {
          pi.power = { throttled: known(word), kernelLog: known(lines) };
        }),
        'Power supply',
      ).state;
    expect(power(0x50005)).toBe('problem');
    expect(power(0x50000)).toBe('warning');
    expect(power(0, ['[9.1] Under-voltage detected! (0x00050005)'])).toBe('warning');
    expect(power(0)).toBe('ok');
  });

  test('a 32-bit system is refused', () => {
    const facts = raspberryPi((pi) => {
      pi.machine.architecture = 'arm';
    });
    expect(find(facts, 'Architecture')).toMatchObject({ state: 'problem' });
  });
});

describe('Fedora, Podman without root', () => {
  test('sound devices that belong to root: a rule of udev for this user', () => {
    const { state, cure } = find(rootlessFedora(), 'Sound devices without root');
    expect(state).toBe('problem');
    expect(cure[0]).toBe(`echo 'SUBSYSTEM=="sound", OWNER="anna"' | sudo tee /etc/udev/rules.d/70-silvasonic.rules`);
    const owned = rootlessFedora((facts) => {
      facts.sound.nodes = known([{ path: '/dev/snd/pcmC1D0c', uid: 1000, gid: 63, mode: '0660' }]);
    });
    expect(find(owned, 'Sound devices without root').state).toBe('ok');
  });

  test('controllers that are not handed down, by name', () => {
    const { message, cure } = find(rootlessFedora(), 'Delegation');
    expect(message).toContain('does not hand down cpu,');
    expect(cure.join('\n')).toContain('/etc/systemd/system/user@.service.d/delegate.conf');
    const all = rootlessFedora((facts) => {
      facts.limits.delegated = known(['cpuset', 'cpu', 'io', 'memory', 'pids']);
    });
    expect(find(all, 'Delegation').state).toBe('ok');
  });

  test('limits that are taken and ignored: cgroups v1, and no session of systemd', () => {
    for (const [version, driver, words] of [
      ['1', 'cgroupfs', 'cgroups v2'],
      ['2', 'cgroupfs', 'session of systemd'],
    ] as const) {
      const facts = rootlessFedora((fedora) => {
        if (!fedora.engine.info?.ok) throw new Error('There is no engine.');
        fedora.engine.info.value.cgroupVersion = version;
        fedora.engine.info.value.cgroupDriver = driver;
      });
      expect(find(facts, 'Delegation')).toMatchObject({ state: 'warning', message: expect.stringContaining(words) });
    }
  });

  test('without linger, nothing outlives the logout', () => {
    expect(find(rootlessFedora(), 'Linger')).toMatchObject({
      state: 'problem',
      cure: ['sudo loginctl enable-linger anna'],
    });
  });

  test('SELinux, subordinate ids, restart units of the user', () => {
    expect(find(rootlessFedora(), 'SELinux')).toMatchObject({ state: 'warning' });
    const facts = rootlessFedora((fedora) => {
      fedora.engine.subordinateIds = known(false);
      fedora.starting.units = fedora.starting.units.map((unit) => ({ ...unit, state: known('disabled') }));
    });
    expect(find(facts, 'Subordinate ids').cure[0]).toContain('usermod --add-subuids');
    expect(find(facts, 'podman.socket').cure).toEqual(['systemctl --user enable --now podman.socket']);
    expect(find(facts, 'podman-restart.service').cure).toEqual(['systemctl --user enable podman-restart.service']);
  });
});

describe('Debian 12, nothing started', () => {
  test('the socket is the one problem', () => {
    expect(notOk(bareDebian()).filter((line) => line.startsWith('problem'))).toEqual(["problem: Podman's socket"]);
    expect(find(bareDebian(), "Podman's socket").cure).toEqual(['systemctl enable --now podman.socket']);
    expect(exitCode(examine(bareDebian()))).toBe(1);
  });

  test('no Podman at all: how this distribution installs it', () => {
    const without = (id: string) =>
      find(
        bareDebian((facts) => {
          facts.engine.command = known(null);
          facts.machine.distribution.id = id;
        }),
        'Podman program',
      );
    expect(without('debian')).toMatchObject({ state: 'problem', cure: ['apt-get install -y podman'] });
    expect(without('fedora').cure).toEqual(['dnf install -y podman']);
    expect(without('arch').cure).toEqual(['pacman -S --noconfirm podman']);
  });

  test('without root, what it needs is told before there is an engine', () => {
    const facts = bareDebian((debian) => {
      debian.user = { name: 'anna', uid: 1000, groups: [1000] };
    });
    expect(find(facts, 'Subordinate ids')).toMatchObject({
      state: 'problem',
      cure: [expect.any(String), 'podman system migrate'],
    });
    expect(find(facts, 'Sound devices without root').state).toBe('problem');
    expect(find(facts, "Podman's socket").cure).toEqual(['systemctl --user enable --now podman.socket']);
  });

  test.each([
    ['not a socket', ['rmdir /run/podman/podman.sock', 'systemctl enable --now podman.socket']],
    ['refused', ['systemctl restart podman.socket podman.service']],
    ['silent', ['systemctl restart podman.socket podman.service']],
  ] as const)('a socket that is %s', (state, cure) => {
    const facts = bareDebian((debian) => {
      debian.engine.sockets = [{ path: '/run/podman/podman.sock', state, rights: null, configured: false }];
    });
    expect(find(facts, "Podman's socket")).toMatchObject({ state: 'problem', cure });
  });

  test('a configured socket counts, whatever else answers', () => {
    const facts = goodHost((host) => {
      host.engine.sockets.push({ path: '/srv/podman.sock', state: 'denied', rights: null, configured: true });
    });
    expect(find(facts, "Podman's socket")).toMatchObject({
      state: 'problem',
      message: expect.stringContaining('Another engine answers at /run/podman/podman.sock'),
    });
  });

  test('Podman 4.3 has no "podman compose": said, not complained about', () => {
    expect(find(raspberryPi(), 'Podman')).toMatchObject({
      state: 'ok',
      message: expect.stringContaining('podman-compose'),
    });
  });
});

describe('a disk', () => {
  test.each([
    ['Space for recordings', 'problem', { freeBytes: 5e8 }],
    ['Space for recordings', 'warning', { freeBytes: 50e9 }],
    ['Space for recordings', 'problem', { readOnly: true }],
    ['Room for files', 'problem', { freeFiles: 100 }],
    ['Room for files', 'warning', { freeFiles: 2_000_000 }],
    ['Room for files', 'ok', { freeFiles: 0, totalFiles: 0 }],
    ['File system of recordings', 'problem', { kind: 'vfat', source: '/dev/sda1' }],
    ['File system of recordings', 'problem', { kind: 'tmpfs' }],
    ['File system of recordings', 'warning', { kind: 'nfs4' }],
    ['File system of recordings', 'ok', { kind: 'btrfs' }],
  ] as const)('%s: %s for %j', (title, state, given) => {
    expect(find(goodHost(withDisk(given)), title).state).toBe(state);
  });

  test('a marker that has been there and is gone: not mounted? One that never was: nothing', () => {
    const gone = goodHost((facts) => {
      facts.disk.marker = known(false);
    });
    expect(find(gone, 'Mark of the station')).toMatchObject({
      state: 'problem',
      cure: ['findmnt --target /var/lib/silvasonic/recorder', 'mount --all'],
    });
    gone.disk.marked = known(null);
    expect(find(gone, 'Mark of the station').state).toBe('ok');
    gone.disk.marked = notKnown();
    expect(find(gone, 'Mark of the station').state).toBe('unknown');
  });

  test('what recorders say each second is not written to a card', () => {
    const facts = goodHost((host) => {
      host.disk.run = host.disk.recordings;
    });
    expect(find(facts, 'Folder for what is only of now')).toMatchObject({ state: 'warning' });
  });

  test('the deepest mount counts, with blanks in its name', () => {
    const mounts = [
      '/dev/root / ext4 rw,noatime 0 0',
      'tmpfs /run tmpfs rw,nosuid 0 0',
      '/dev/sda1 /media/my\\040disk vfat ro,relatime 0 0',
      '/dev/sda2 /media/my exfat rw 0 0',
    ].join('\n');
    expect(mountOf('/media/my disk/recorder', mounts)).toEqual({
      source: '/dev/sda1',
      mountPoint: '/media/my disk',
      kind: 'vfat',
      readOnly: true,
    });
    expect(mountOf('/runner', mounts)?.mountPoint).toBe('/');
  });
});

describe('the clock', () => {
  test('a year before this was written, a clock that drifts, one that stands still without power', () => {
    const facts = goodHost((host) => {
      host.clock = { year: 1970, synchronised: known(false), hardwareClock: known(true) };
    });
    expect(find(facts, 'Clock')).toMatchObject({ state: 'problem', cure: ['timedatectl set-ntp true'] });
    facts.clock.year = 2026;
    expect(find(facts, 'Clock').state).toBe('warning');
    expect(find(raspberryPi(), 'Hardware clock').cure.join()).toContain('dtoverlay=i2c-rtc,ds3231');
  });
});

describe('microphones', () => {
  const hub = usbDevice({ name: '1-1', isHub: true, speed: 480, vendorId: '2109', productId: '3431', address: 2 });
  const twins = (change: (facts: DoctorFacts) => void = () => {}) =>
    goodHost((facts) => {
      const second = microphone({ incarnation: 'platform/usb/0/1.2#6#2#116:6,116:7', portPath: 'platform/usb/0/1.2' });
      facts.sound.microphones = known([microphone(), second]);
      facts.sound.usb = known([hub, usbDevice({}), usbDevice({ name: '1-1.2', address: 6 })]);
      change(facts);
    });

  test('two at 384 kHz on a hub with one translator do not fit', () => {
    expect(find(twins(), 'Hub 1-1')).toMatchObject({
      state: 'warning',
      message: expect.stringContaining('12.3 Mbit/s'),
    });
  });

  test('they do behind a hub with one for each port, at high speed, and with one in another port', () => {
    const titles = (facts: DoctorFacts) => examine(facts).map(({ title }) => title);
    for (const change of [
      (facts: DoctorFacts) => {
        facts.sound.usb = known([
          { ...hub, manyTranslators: true },
          usbDevice({}),
          usbDevice({ name: '1-1.2', address: 6 }),
        ]);
      },
      (facts: DoctorFacts) => {
        facts.sound.usb = known([hub, usbDevice({ speed: 480 }), usbDevice({ name: '1-1.2', address: 6, speed: 480 })]);
      },
      (facts: DoctorFacts) => {
        facts.sound.usb = known([hub, usbDevice({}), usbDevice({ name: '1-2', address: 6 })]);
      },
    ]) {
      expect(titles(twins(change))).not.toContain('Hub 1-1');
    }
  });

  test('what the kernel said of bandwidth', () => {
    const facts = goodHost((host) => {
      host.power.kernelLog = known(['usb 1-1.2: cannot submit urb 0, error -28: not enough bandwidth']);
    });
    expect(find(facts, 'USB bandwidth')).toMatchObject({ state: 'warning' });
  });

  test('held by a sound server; held by our recorder; hindered', () => {
    const one = (change: (facts: DoctorFacts) => void) => find(goodHost(change), '1. Ultramic384K');
    expect(one(() => {})).toMatchObject({ state: 'ok', message: expect.stringContaining('up to 384 kHz × 1 S16_LE') });
    expect(
      one((facts) => {
        facts.sound.holders = [{ hw: 'hw:1,0', holder: 'pipewire (process 7)' }];
      }),
    ).toMatchObject({ state: 'warning', message: expect.stringContaining('pipewire (process 7) has it open') });
    expect(
      one((facts) => {
        const obstacle = { reason: 'SwitchedOff', message: 'Its switch is at OFF.', lasting: true };
        facts.sound.microphones = known([microphone({ obstacle, sound: null })]);
      }),
    ).toMatchObject({ state: 'warning', message: expect.stringContaining('Its switch is at OFF.') });
  });

  test('a microphone and no sound card: the driver', () => {
    const facts = goodHost((host) => {
      host.sound.cards = known([]);
    });
    expect(find(facts, 'Sound cards')).toMatchObject({ state: 'problem', cure: ['modprobe snd-usb-audio'] });
  });

  test('what cannot be read is not taken for none', () => {
    const facts = goodHost((host) => {
      host.sound.microphones = notKnown('USB cannot be scanned: EIO.');
    });
    expect(find(facts, 'USB microphones')).toMatchObject({ state: 'unknown', message: 'USB cannot be scanned: EIO.' });
  });
});

describe('images, limits, station', () => {
  test('a recorder image that is missing: a problem only where a station has recorded', () => {
    const facts = goodHost((host) => {
      if (host.engine.info?.ok) host.engine.info.value.images = known([]);
    });
    expect(find(facts, 'Images')).toMatchObject({
      state: 'problem',
      cure: ['podman build -t localhost/silvasonic-recorder -f services/recorder/Containerfile .'],
    });
    facts.disk.marked = known(null);
    expect(find(facts, 'Images').state).toBe('warning');
  });

  test('limits that no container can be given here: the lines for containers.conf', () => {
    const facts = goodHost((host) => {
      host.limits.host = known({
        systemd: false,
        cgroupsV1: true,
        mayRaiseLimits: false,
        openFiles: 20_000,
        processes: 32_768,
      });
    });
    expect(find(facts, 'Open files').cure.at(-1)).toContain('"nofile=20000:20000", "nproc=32768:32768"');
    expect(find(facts, 'Protection when memory runs out')).toMatchObject({ state: 'warning' });
  });

  test('units that are installed need no podman-restart.service', () => {
    const facts = goodHost((host) => {
      host.starting.units = [
        { name: 'podman.socket', state: known('enabled') },
        { name: 'podman-restart.service', state: known('disabled') },
        { name: 'silvasonic-controller.service', state: known('generated') },
      ];
    });
    expect(notOk(facts)).toEqual([]);
  });

  test('what the controller says of itself, and what is configured wrongly', () => {
    const facts = goodHost((host) => {
      host.station.health = known({
        status: 'degraded',
        message: '1 of 2 recording.',
        dependencies: [
          { name: 'redis', state: 'down', message: 'Redis is away.' },
          { name: 'usb', state: 'up', message: 'Fine.' },
        ],
      });
      host.station.database = notKnown('The database at database:5432 is not running: nothing listens there.');
      host.station.problems = ['LOG_LEVEL: "loud" was given; allowed: debug, info, warn or error (default info).'];
    });
    expect(find(facts, 'Controller')).toMatchObject({
      state: 'warning',
      message: 'It says "degraded". 1 of 2 recording. redis: Redis is away.',
    });
    expect(find(facts, 'Database').state).toBe('problem');
    expect(find(facts, 'Configuration').state).toBe('problem');
  });
});

describe('the report', () => {
  const findings: Finding[] = [
    { group: 'Machine', title: 'Node', state: 'ok', message: 'v24.', cure: [] },
    {
      group: 'Engine',
      title: 'Podman\u001b[2J',
      state: 'problem',
      message: `It is away. ${'word '.repeat(40)}`.trim(),
      cure: [`a command ${'x'.repeat(150)}`],
    },
  ];

  test('grouped, with words beside the signs; commands are never broken; colours only when asked for', () => {
    const text = formatReport(findings, { colours: false, columns: 60 });
    expect(text).toContain('Machine\n  ✓ ok  Node\n      v24.\n\nEngine\n  ✗ problem  Podman');
    expect(text).toContain(`      $ a command ${'x'.repeat(150)}\n`);
    expect(text).toMatch(/1 problem; 1 ok\.\n$/);
    expect(text).not.toContain('\u001b');
    for (const line of text.split('\n').filter((one) => !one.includes('$')))
      expect(line.length).toBeLessThanOrEqual(60);
    expect(formatReport(findings, { colours: true, columns: 60 })).toContain('\u001b[31m✗ problem\u001b[0m');
  });

  test('JSON is the findings as they are', () => {
    expect(JSON.parse(formatJson(findings))).toEqual({ schema: 1, ok: false, findings });
    expect(JSON.parse(formatJson(findings.slice(0, 1)))).toMatchObject({ ok: true });
  });
});
