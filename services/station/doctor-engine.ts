/** Judges the machine and its engine: what they are, who may use them, what is there. Pure. */
import { dirname } from 'node:path';
import type { DoctorFacts, EngineFacts, Finding, SocketFacts } from './doctor-facts.ts';
import { asRoot, install, isRootless, judge, shellWord, systemctl, wordsOf } from './doctor-words.ts';

const machine = wordsOf('Machine');
const engine = wordsOf('Engine');

const OLDEST_NODE = [20, 19] as const;
/** Older ones were never tried; what is known of 4.3 is worked around. */
const OLDEST_PODMAN = [4, 3] as const;

export function checkMachine(facts: DoctorFacts): Finding[] {
  return [architecture(facts), node(facts), selinux(facts)];
}

export function checkEngine(facts: DoctorFacts): Finding[] {
  const info = facts.engine.info;
  const found = [program(facts), socket(facts), ...rootless(facts)];
  if (info === null) return found;
  if (!info.ok) return [...found, engine.unknown('Podman', info.message)];
  return [...found, version(facts, info.value), images(facts, info.value), network(facts, info.value)];
}

function architecture({ machine: { architecture: given, raspberryPi, distribution } }: DoctorFacts): Finding {
  const title = 'Architecture';
  const name = raspberryPi ?? distribution.name;
  if (given === 'x64' || given === 'arm64') return machine.ok(title, `${name}, ${given}.`);
  return machine.problem(
    title,
    `${name} runs programs for ${given}, and there are images for x64 and arm64 only: put a 64-bit system on it ("Raspberry Pi OS (64-bit)" on a Raspberry Pi 3 or newer).`,
  );
}

function node(facts: DoctorFacts): Finding {
  const given = facts.machine.nodeVersion;
  if (isAtLeast(given, OLDEST_NODE)) return machine.ok('Node', `${given}.`);
  return machine.problem(
    'Node',
    `Node ${given} is too old: ${OLDEST_NODE.join('.')} or newer is needed for "npm start" (containers bring their own).`,
    asRoot(facts, 'npm install --global n'),
    asRoot(facts, 'n 24'),
  );
}

function selinux({ selinux: fact }: DoctorFacts): Finding {
  return judge(machine, 'SELinux', fact, (mode) =>
    mode === 'enforcing'
      ? machine.warning(
          'SELinux',
          'It is enforcing. Recorders run without a label, so they should get their microphone; this has not been tried. If one is refused, the first command shows what, the second one allows devices in containers.',
          'sudo ausearch -m avc -ts recent',
          'sudo setsebool -P container_use_devices on',
        )
      : machine.ok('SELinux', mode === 'off' ? 'Not in use.' : 'Permissive: it says much and forbids nothing.'),
  );
}

function program(facts: DoctorFacts): Finding {
  return judge(engine, 'Podman program', facts.engine.command, (text) => {
    if (text !== null) return engine.ok('Podman program', `${text}.`);
    return engine.problem('Podman program', 'Podman is not installed.', install(facts, 'podman'));
  });
}

function socket(facts: DoctorFacts): Finding {
  const title = "Podman's socket";
  const { sockets } = facts.engine;
  const configured = sockets.find((one) => one.configured);
  const answering = sockets.find(({ state }) => state === 'answers');
  if (configured !== undefined && configured.state !== 'answers') {
    const other = answering === undefined ? '' : ` Another engine answers at ${answering.path}.`;
    return engine.problem(title, `${whyNot(configured)}${other}`, ...socketCure(facts, configured));
  }
  if (answering !== undefined) return engine.ok(title, `An engine answers at ${answering.path}${rightsOf(answering)}.`);
  const worst = sockets.find(({ state }) => state !== 'absent') ?? sockets[0];
  if (worst === undefined) return engine.unknown(title, 'No socket was looked at.');
  return engine.problem(title, whyNot(worst), ...socketCure(facts, worst));
}

function rightsOf({ rights }: SocketFacts): string {
  return rights === null ? '' : ` (owner ${rights.uid}:${rights.gid}, rights ${rights.mode})`;
}

function whyNot(socket: SocketFacts): string {
  switch (socket.state) {
    case 'answers':
      return `An engine answers at ${socket.path}.`;
    case 'absent':
      return `No engine listens: there is no ${socket.path}. ("npm start" starts one of its own; the appliance and the units need this one.)`;
    case 'denied':
      return `This user may not open ${socket.path}${rightsOf(socket)}: ask as root, or use an engine of your own.`;
    case 'not a socket':
      return `${socket.path} is no socket. A container that was started before Podman's socket was there has made a folder of that name, and the socket cannot come while it stands.`;
    case 'refused':
      return `${socket.path} is there, and nobody listens on it: it was left by an engine that has ended.`;
    case 'silent':
      return `Somebody listens at ${socket.path} and does not answer.`;
    default:
      return socket.state satisfies never;
  }
}

function socketCure(facts: DoctorFacts, { state, path }: SocketFacts): string[] {
  const start = systemctl(facts, 'enable --now podman.socket');
  const withoutSystemd = `sh -c 'mkdir -p ${dirname(path)} && exec podman system service --time=0 unix://${path}' &`;
  const isOwn = isRootless(facts);
  const begin =
    facts.machine.systemd || facts.insideContainer ? start : isOwn ? withoutSystemd : asRoot(facts, withoutSystemd);
  switch (state) {
    case 'answers':
      return [];
    case 'absent':
      return [begin];
    case 'denied':
      return ['sudo npm run doctor', 'systemctl --user enable --now podman.socket'];
    case 'not a socket':
      return [asRoot(facts, `rmdir ${shellWord(path)}`), begin];
    case 'refused':
    case 'silent':
      return facts.machine.systemd || facts.insideContainer
        ? [systemctl(facts, 'restart podman.socket podman.service')]
        : [asRoot(facts, `rm ${shellWord(path)}`), begin];
    default:
      return state satisfies never;
  }
}

function version(facts: DoctorFacts, info: EngineFacts): Finding {
  const how = info.rootless ? 'without root' : 'as root';
  const said = `Podman ${info.version} (${info.runtime}), ${how}, cgroups v${info.cgroupVersion} by ${info.cgroupDriver}`;
  if (isAtLeast(info.version, OLDEST_PODMAN)) {
    const compose = isAtLeast(info.version, [4, 7])
      ? ''
      : ' "podman compose" comes with 4.7: the command is "podman-compose" here.';
    return engine.ok('Podman', `${said}.${compose}`);
  }
  return engine.warning(
    'Podman',
    `${said}: older than ${OLDEST_PODMAN.join('.')}, which is the oldest that was tried. Debian 12 has 4.3.`,
    install(facts, 'podman'),
  );
}

/** Without root, sound nodes are only reached by who owns them: groups are lost on the way into a container. */
function rootless(facts: DoctorFacts): Finding[] {
  if (!isRootless(facts)) return [];
  const { user, sound } = facts;
  const ids = judge(engine, 'Subordinate ids', facts.engine.subordinateIds, (given) =>
    given
      ? engine.ok('Subordinate ids', `${user.name} has some.`)
      : engine.problem(
          'Subordinate ids',
          `${user.name} has none, and containers without root need them.`,
          asRoot(facts, `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user.name}`),
          'podman system migrate',
        ),
  );
  const nodes = judge(engine, 'Sound devices without root', sound.nodes, (list) => {
    const title = 'Sound devices without root';
    const closed = list.filter(({ uid, mode }) => uid !== user.uid && !/[67]$/.test(mode));
    if (closed.length === 0) {
      const what = list.length === 0 ? 'No sound device is there to look at' : 'This user may open them';
      return engine.ok(title, `${what}.`);
    }
    const rule = `SUBSYSTEM=="sound", OWNER="${user.name}"`;
    return engine.problem(
      title,
      `${closed[0]?.path} belongs to another user (rights ${closed[0]?.mode}), and membership in a group does not reach into a container that is made through Podman's API: a rule of udev gives sound devices to ${user.name}.`,
      `echo '${rule}' | sudo tee /etc/udev/rules.d/70-silvasonic.rules`,
      'sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=sound',
    );
  });
  return [ids, nodes];
}

function images(facts: DoctorFacts, info: EngineFacts): Finding {
  return judge(engine, 'Images', info.images, (there) => {
    const ours = there.filter((name) => /(^|\/)silvasonic-/.test(name) && !name.endsWith(':last-good'));
    const wanted = facts.station.recorderImage;
    if (there.includes(wanted)) return engine.ok('Images', `${ours.join(', ')}.`);
    const build = 'podman build -t localhost/silvasonic-recorder -f services/recorder/Containerfile .';
    const cure = wanted.startsWith('localhost/silvasonic-recorder:')
      ? [info.rootless ? build : asRoot(facts, build)]
      : [info.rootless ? `podman pull ${wanted}` : asRoot(facts, `podman pull ${wanted}`)];
    const text = `${wanted} is not there, and without it nothing records. "npm start" and "podman compose up -d" build it.`;
    const isUsed = facts.disk.marked.ok && facts.disk.marked.value !== null;
    return isUsed ? engine.problem('Images', text, ...cure) : engine.warning('Images', text, ...cure);
  });
}

function network({ station }: DoctorFacts, info: EngineFacts): Finding {
  return judge(engine, 'Network', info.networks, (there) =>
    engine.ok(
      'Network',
      there.includes(station.network)
        ? `${station.network} is there.`
        : `${station.network} is not there yet: the controller makes it for the first service that needs it; recorders need none.`,
    ),
  );
}

/** `5.4.2` or `v24.1.0` against major and minor; what is no version is not old. */
export function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const found = /(\d+)\.(\d+)/.exec(version);
  if (found === null) return true;
  const [ownMajor, ownMinor] = [Number(found[1]), Number(found[2])];
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}
