/** Judges whether containers can be kept within limits, and recorders be protected. Pure. */
import type { DoctorFacts, EngineFacts, Finding } from './doctor-facts.ts';
import { asRoot, isRootless, judge, shellWord, wordsOf } from './doctor-words.ts';

const limits = wordsOf('Limits');

/** What a Raspberry Pi's line must have; anywhere else the boot loader's. */
const MEMORY_WORDS = 'cgroup_enable=memory cgroup_memory=1';
const NEEDED_CONTROLLERS = ['cpu', 'memory', 'pids'];
/** What Podman asks for where it is told nothing. */
const PODMAN_OPEN_FILES = 1_048_576;
const FEW_OPEN_FILES = 1024;

export function checkLimits(facts: DoctorFacts): Finding[] {
  const info = facts.engine.info?.ok ? facts.engine.info.value : null;
  return [
    memory(facts, info),
    ...(info === null ? [] : [others(info)]),
    ...(isRootless(facts) ? [delegation(facts, info)] : []),
    oomScore(facts),
    openFiles(facts),
  ];
}

function memory(facts: DoctorFacts, info: EngineFacts | null): Finding {
  const title = 'Memory limits';
  const { kernelCommandLine, commandLineFile } = facts.limits;
  const isOff = kernelCommandLine.ok && /\bcgroup_disable=\S*memory/.test(kernelCommandLine.value);
  const isAsked = kernelCommandLine.ok && /\bcgroup_enable=memory\b/.test(kernelCommandLine.value);
  if (info?.memoryLimit === true) return limits.ok(title, 'Podman can set them.');
  if (info === null && !(isOff && !isAsked)) {
    return limits.unknown(title, 'No engine answers that could be asked.');
  }
  if (isRootless(facts) && !isOff) {
    return limits.warning(
      title,
      'Podman cannot set them for this user: the memory controller is not handed down (see "Delegation").',
    );
  }
  const reason = 'recording goes on without them, and one that grows can take the memory of all';
  if (commandLineFile !== null) {
    return limits.warning(
      title,
      `The kernel was started without the memory cgroup, as Raspberry Pi OS does; ${reason}. Add "${MEMORY_WORDS}" to the one line in ${commandLineFile}, and reboot.`,
      `sudo sed -i '1 s/$/ ${MEMORY_WORDS}/' ${shellWord(commandLineFile)}`,
      'sudo reboot',
    );
  }
  return limits.warning(
    title,
    `Podman cannot set them: the kernel keeps no memory cgroup; ${reason}. Add "cgroup_enable=memory" to the kernel's command line, and reboot.`,
    `sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&cgroup_enable=memory /' /etc/default/grub && sudo update-grub`,
    'sudo reboot',
  );
}

function others(info: EngineFacts): Finding {
  const missing = [...(info.cpuLimit ? [] : ['CPUs']), ...(info.pidsLimit ? [] : ['processes'])];
  if (missing.length === 0) return limits.ok('CPU and process limits', 'Podman can set them.');
  const cure = info.rootless
    ? 'The controllers are not handed down (see "Delegation").'
    : 'Use a kernel with CONFIG_CFS_BANDWIDTH and CONFIG_CGROUP_PIDS, such as your distribution’s own.';
  return limits.warning(
    'CPU and process limits',
    `Podman cannot limit ${missing.join(' and ')} here. ${cure} Recording goes on without.`,
  );
}

/** Without root, limits count only where systemd hands controllers down to the user. */
function delegation(facts: DoctorFacts, info: EngineFacts | null): Finding {
  const title = 'Delegation';
  if (info?.cgroupVersion === '1') {
    return limits.warning(
      title,
      'Without root, limits need cgroups v2, and this machine has v1: they are taken and ignored.',
      `sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub && sudo update-grub`,
      'sudo reboot',
    );
  }
  if (info !== null && info.cgroupDriver !== 'systemd') {
    return limits.warning(
      title,
      'Without root and without a session of systemd, limits are taken and ignored: log in directly (not by "su"), let the user linger, and Podman uses systemd.',
      `sudo loginctl enable-linger ${facts.user.name}`,
    );
  }
  return judge(limits, title, facts.limits.delegated, (given) => {
    if (given === null) return limits.unknown(title, 'systemd has made no cgroup for this user.');
    const missing = NEEDED_CONTROLLERS.filter((name) => !given.includes(name));
    if (missing.length === 0) return limits.ok(title, `systemd hands down ${given.join(', ')}.`);
    return limits.warning(
      title,
      `systemd does not hand down ${missing.join(', ')}, so these limits are ignored. Log in again afterwards.`,
      'sudo mkdir -p /etc/systemd/system/user@.service.d',
      `printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf`,
      'sudo systemctl daemon-reload',
    );
  });
}

function oomScore(facts: DoctorFacts): Finding {
  const title = 'Protection when memory runs out';
  if (isRootless(facts)) {
    return limits.warning(
      title,
      'Without root, Podman may not give recorders a negative OOM score: they are ended as early as anything else. An engine that runs as root may.',
      'sudo systemctl enable --now podman.socket',
    );
  }
  return judge(limits, title, facts.limits.host, ({ mayRaiseLimits }) =>
    mayRaiseLimits
      ? limits.ok(title, 'Recorders can be given an OOM score of -999.')
      : limits.warning(
          title,
          'The capability CAP_SYS_RESOURCE is missing, so recorders cannot be given an OOM score of -999. It is there where systemd starts Podman on the machine itself, and not within many containers and virtual machines.',
          ...(facts.machine.systemd ? [asRoot(facts, 'systemctl enable --now podman.socket')] : []),
        ),
  );
}

function openFiles(facts: DoctorFacts): Finding {
  const title = 'Open files';
  return judge(limits, title, facts.limits.host, ({ openFiles: most, processes, mayRaiseLimits }) => {
    if (most <= FEW_OPEN_FILES) {
      return limits.warning(
        title,
        `At most ${most} per process: few for an engine with many containers. Log in again afterwards.`,
        `printf '* hard nofile 65536\\nroot hard nofile 65536\\n' | ${asRoot(facts, 'tee /etc/security/limits.d/silvasonic.conf')}`,
      );
    }
    if (isRootless(facts) || mayRaiseLimits || most >= PODMAN_OPEN_FILES) {
      return limits.ok(title, `At most ${most} per process.`);
    }
    const conf = `[containers]\\ndefault_ulimits = ["nofile=${most}:${most}", "nproc=${processes}:${processes}"]\\n`;
    return limits.warning(
      title,
      `At most ${most} per process, and Podman asks for ${PODMAN_OPEN_FILES}: containers start only where containers.conf names lower limits. "npm start" tells its own engine; another one needs these lines.`,
      asRoot(facts, 'mkdir -p /etc/containers/containers.conf.d'),
      `printf '${conf}' | ${asRoot(facts, 'tee /etc/containers/containers.conf.d/silvasonic.conf')}`,
    );
  });
}
