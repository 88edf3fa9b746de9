/**
 * A controller in a container, and the host: what binds of other containers name are paths of the host, and only the
 * engine knows where this container's own mounts lie there. Pure.
 */
import { posix } from 'node:path';
import type { Parsed } from '../shared/parse.ts';
import type { ControllerConfig } from './config.ts';

export interface Mount {
  /** On the host. */
  source: string;
  /** In this container. */
  destination: string;
}

type Folders = Pick<
  ControllerConfig,
  'runPath' | 'hostRunPath' | 'hostRecorderWorkspace' | 'hostServicesFolder' | 'hostSecretsFolder'
>;

/** Where the run folder lies when it has no mount of its own: beside the engine's socket, as that lies in memory. */
const RUN_FOLDER = 'silvasonic';

/**
 * What this process may be called by the engine, the surest first: its own mark (filled where privileged), files that
 * the engine mounts from the container's folder, the control group, the host name that engines give.
 */
export function possibleContainerIds(texts: {
  containerenv: string;
  mountinfo: string;
  cgroup: string;
  hostname: string;
}): string[] {
  const mounted = texts.mountinfo
    .split('\n')
    .filter((line) => / \/(etc\/hostname|etc\/hosts|run\/\.containerenv) /.test(line));
  const found = [
    /^id="([0-9a-f]{64})"$/m.exec(texts.containerenv)?.[1],
    ...mounted.map((line) => /\/([0-9a-f]{64})\//.exec(line)?.[1]),
    /[/-]([0-9a-f]{64})\b/.exec(texts.cgroup)?.[1],
    /^[0-9a-f]{12}$/.exec(texts.hostname.trim())?.[0],
  ];
  return [...new Set(found.filter((id) => id !== undefined))];
}

/** The folders that other containers are given, by the mounts of this one; or a sentence with what is wrong. */
export function foldersByMounts(config: ControllerConfig, mounts: readonly Mount[]): Parsed<Folders> {
  // What lies in memory alone has no path on the host.
  const onHost = mounts.filter(({ source }) => /^\/\P{Cc}*$/u.test(source));
  const sourceOf = (path: string) => onHost.find(({ destination }) => destination === path)?.source;
  const wanted = {
    hostRecorderWorkspace: config.recorderWorkspace,
    hostServicesFolder: config.servicesFolder,
    hostSecretsFolder: config.secretsFolder,
  };
  const missing = Object.values(wanted).find((path) => sourceOf(path) === undefined);
  if (missing !== undefined) {
    return {
      ok: false,
      message: `${missing} is no mount of this container: mount a folder of the host there, as compose.yml does.`,
    };
  }
  const run = runFolder(config, sourceOf);
  if (run === null) {
    return {
      ok: false,
      message: `${config.runPath} is no mount of this container, nor is the folder of ${config.socketPath}: mount one of them, as compose.yml does.`,
    };
  }
  const learned = {
    hostRecorderWorkspace: sourceOf(wanted.hostRecorderWorkspace) ?? '',
    hostServicesFolder: sourceOf(wanted.hostServicesFolder) ?? '',
    hostSecretsFolder: sourceOf(wanted.hostSecretsFolder) ?? '',
    ...run,
  };
  return (
    mismatch('SILVASONIC_WORKSPACE_PATH', config.givenWorkspacePath, '/recorder', learned.hostRecorderWorkspace) ??
    mismatch('SILVASONIC_RUN_PATH', config.givenRunPath, '', learned.hostRunPath) ?? { ok: true, value: learned }
  );
}

function runFolder(
  config: ControllerConfig,
  sourceOf: (path: string) => string | undefined,
): Pick<Folders, 'runPath' | 'hostRunPath'> | null {
  const own = sourceOf(config.runPath);
  if (own !== undefined) return { runPath: config.runPath, hostRunPath: own };
  const socketFolder = posix.dirname(config.socketPath);
  const beside = sourceOf(socketFolder);
  if (beside === undefined) return null;
  return { runPath: posix.join(socketFolder, RUN_FOLDER), hostRunPath: posix.join(beside, RUN_FOLDER) };
}

/** Who names a folder and mounts another would look for recordings in the wrong one. */
function mismatch(variable: string, given: string | null, below: string, source: string): Parsed<never> | null {
  if (given === null || `${given}${below}` === source) return null;
  return {
    ok: false,
    message: `${variable}: "${given}" was given, but ${given}${below} is not what is mounted here, which is ${source} on the host; allowed: the folder of the mount, or nothing.`,
  };
}
