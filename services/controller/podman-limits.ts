/**
 * What a host does not allow, and what becomes of it. A limit that is refused never costs a recording: the container runs
 * without it, and a person is told what to change. Pure.
 */
import { z } from 'zod';
import { type Concessions, givenScore, type Inspected } from './podman-container.ts';
import type { ContainerSpec, Explanation, Limits } from './world.ts';

/** What is read of `GET /info`. */
export const infoSchema = z.object({
  MemoryLimit: z.boolean(),
  CpuCfsQuota: z.boolean(),
  PidsLimit: z.boolean(),
  SecurityOptions: z.array(z.string()).nullish(),
  CgroupVersion: z.string().nullish(),
  CgroupDriver: z.string().nullish(),
});
export type HostInfo = z.infer<typeof infoSchema>;

/**
 * Scores to fall back to, lowest first. 0 is refused too where the engine itself has a higher one, as below a user's
 * systemd: 100 for the manager, 200 for its services (systemd-system.conf(5), DefaultOOMScoreAdjust).
 */
const FALLBACK_OOM_SCORES = [0, 100, 200];

const isRootless = (info: HostInfo | null): boolean =>
  info?.SecurityOptions?.some((option) => option.includes('rootless')) ?? false;

/**
 * What to give up so that a start which failed with this message may succeed; null: the limits are not to blame. Runtimes
 * word it differently, from `can't get final child's PID from pipe` (runc below 1.2, OOM score) to
 * `the requested cgroup controller is not available` (crun).
 */
export function concede(message: string, spec: ContainerSpec, given: Concessions): Concessions | null {
  if (/rlimit/i.test(message)) return given.ulimits ? null : { ...given, ulimits: true };
  if (/oom[_ ]?score|final child's PID from pipe/i.test(message)) {
    const current = givenScore(spec.limits.oomScoreAdj, given);
    const next = FALLBACK_OOM_SCORES.find((score) => score > current);
    return next === undefined ? null : { ...given, oomScoreFloor: next };
  }
  if (!/cgroup|controller|memory\.|memory limit|cpu\.|pids\./i.test(message)) return null;
  const named = {
    withoutMemory: /controller [`"']?memory|memory(\.| limit| cgroup)/i.test(message),
    withoutCpus: /controller [`"']?cpu\b|cpu\.|cpu quota/i.test(message),
    withoutPids: /controller [`"']?pids|pids\.|pids limit/i.test(message),
  };
  const nothingNamed = !named.withoutMemory && !named.withoutCpus && !named.withoutPids;
  const next = {
    ...given,
    withoutMemory: given.withoutMemory || named.withoutMemory || nothingNamed,
    withoutCpus: given.withoutCpus || named.withoutCpus || nothingNamed,
    withoutPids: given.withoutPids || named.withoutPids || nothingNamed,
  };
  const gained = (['withoutMemory', 'withoutCpus', 'withoutPids'] as const).some((key) => next[key] !== given[key]);
  return gained ? next : null;
}

/** Whether a refusal is about the host, and so holds for the next container too, and not about the size of one limit. */
export const isAboutTheHost = (message: string): boolean => !/current usage/i.test(message);

/** The lesser of two: what either gave up is given up. */
export function mergeConcessions(a: Concessions, b: Concessions): Concessions {
  const floors = [a.oomScoreFloor, b.oomScoreFloor].filter((score) => score !== null);
  return {
    oomScoreFloor: floors.length === 0 ? null : Math.max(...floors),
    withoutMemory: a.withoutMemory || b.withoutMemory,
    withoutCpus: a.withoutCpus || b.withoutCpus,
    withoutPids: a.withoutPids || b.withoutPids,
    ulimits: a.ulimits || b.ulimits,
  };
}

export interface StartedWith {
  concessions: Concessions;
  /** What the engine says it gave; null: it could not be asked. */
  inspected: Inspected | null;
  info: HostInfo | null;
}

/** One explanation for each limit that the container runs without, with what would bring it back. */
export function missingLimits(limits: Limits, started: StartedWith): Explanation[] {
  return [oomScore(limits, started), memory(limits, started), cpus(limits, started), pids(limits, started)].filter(
    (explanation) => explanation !== null,
  );
}

function oomScore({ oomScoreAdj }: Limits, { concessions, inspected, info }: StartedWith): Explanation | null {
  const given = givenScore(oomScoreAdj, concessions);
  const refused = given !== oomScoreAdj;
  const actual = inspected?.HostConfig.OomScoreAdj ?? given;
  if (!refused && actual === oomScoreAdj) return null;
  const cure = isRootless(info)
    ? 'run Podman as root ("systemctl enable --now podman.socket")'
    : 'give Podman the capability CAP_SYS_RESOURCE';
  return {
    reason: refused ? 'OomScoreRefused' : 'OomScoreIgnored',
    message: `It runs with the OOM score ${actual} instead of ${oomScoreAdj}, which Podman may not set here, so it is less protected when memory runs out: ${cure}.`,
  };
}

function memory({ memoryBytes }: Limits, started: StartedWith): Explanation | null {
  const mebibytes = Math.round(memoryBytes / 1024 ** 2);
  return missing(started, {
    name: 'MemoryLimit',
    refused: started.concessions.withoutMemory,
    offered: started.info?.MemoryLimit,
    applied: same(started.inspected?.HostConfig.Memory, memoryBytes),
    sentence: `It runs without its memory limit of ${mebibytes} MiB`,
    cure: 'have the kernel keep the memory cgroup (on a Raspberry Pi add "cgroup_enable=memory cgroup_memory=1" to the line in /boot/firmware/cmdline.txt and reboot), or set a limit above what it needs to start',
  });
}

function cpus({ cpus }: Limits, started: StartedWith): Explanation | null {
  const host = started.inspected?.HostConfig;
  const nanoCpus = Math.round(cpus * 1e9);
  return missing(started, {
    name: 'CpuLimit',
    refused: started.concessions.withoutCpus,
    offered: started.info?.CpuCfsQuota,
    applied: host === undefined ? undefined : host.NanoCpus === nanoCpus || (host.CpuQuota ?? 0) > 0,
    sentence: `It runs without its limit of ${cpus} CPU`,
    cure: 'use a kernel with CONFIG_CFS_BANDWIDTH',
  });
}

function pids({ pids }: Limits, started: StartedWith): Explanation | null {
  return missing(started, {
    name: 'PidsLimit',
    refused: started.concessions.withoutPids,
    offered: started.info?.PidsLimit,
    applied: same(started.inspected?.HostConfig.PidsLimit, pids),
    sentence: `It runs without its limit of ${pids} processes`,
    cure: 'use a kernel with CONFIG_CGROUP_PIDS',
  });
}

/** Undefined: unknown. */
const same = (told: number | null | undefined, wanted: number): boolean | undefined =>
  told === undefined ? undefined : told === wanted;

interface Limit {
  name: string;
  refused: boolean;
  /** Whether the host knows such a limit at all; undefined: unknown. */
  offered: boolean | undefined;
  /** Whether the engine says that it set it; undefined: unknown. */
  applied: boolean | undefined;
  sentence: string;
  cure: string;
}

function missing(
  { info }: StartedWith,
  { name, refused, offered, applied, sentence, cure }: Limit,
): Explanation | null {
  const disregarded = disregardsLimits(info);
  if (!refused && offered !== false && applied !== false && disregarded === null) return null;
  return {
    reason: `${name}${refused ? 'Refused' : 'Ignored'}`,
    message: `${sentence}, which Podman ${refused ? 'refuses' : 'ignores'} here: ${disregarded ?? cure}.`,
  };
}

/**
 * Rootless limits need a cgroup that systemd delegated; without one they are accepted and ignored
 * (containers/podman#21575). Answers the cure; null: limits count.
 */
function disregardsLimits(info: HostInfo | null): string | null {
  if (!isRootless(info)) return null;
  if (info?.CgroupVersion === '1') {
    return 'boot with "systemd.unified_cgroup_hierarchy=1", or run Podman as root';
  }
  return info?.CgroupDriver === 'systemd' ? null : 'run Podman as root, or in a systemd user session';
}
