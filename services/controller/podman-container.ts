/** A container in Podman's words: from our spec to the body of its creation, and from its state to ours. Pure. */
import type Dockerode from 'dockerode';
import { z } from 'zod';
import { LABEL, OWNER } from '../shared/contract.ts';
import type { ContainerSpec, ObservedContainer } from './world.ts';

/** What this engine is given instead of what the spec asks for, as it turned out that it refuses that. */
export interface Concessions {
  /** The lowest score that was taken; null: as low as any spec says. */
  oomScoreFloor: number | null;
  withoutMemory: boolean;
  withoutCpus: boolean;
  withoutPids: boolean;
  /** Name limits for files and processes, as the engine's own defaults are above what it may give. */
  ulimits: boolean;
}

export const noConcessions: Concessions = {
  oomScoreFloor: null,
  withoutMemory: false,
  withoutCpus: false,
  withoutPids: false,
  ulimits: false,
};

/** Within the hard limits of any host, and more than a service of ours opens. */
const MODEST_LIMIT = 4096;

/** Body of `POST /containers/create`. */
export function createBody(spec: ContainerSpec, concessions: Concessions): Dockerode.ContainerCreateOptions {
  return {
    name: spec.name,
    Image: spec.image,
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    Labels: spec.labels,
    StopTimeout: spec.stopTimeoutS,
    ...(spec.entrypoint === null ? {} : { Entrypoint: spec.entrypoint }),
    ...(spec.command === null ? {} : { Cmd: spec.command }),
    ...(spec.user === null ? {} : { User: spec.user }),
    ...(spec.ports.length > 0 && {
      ExposedPorts: Object.fromEntries(spec.ports.map(({ container }) => [`${container}/tcp`, {}])),
    }),
    HostConfig: {
      ...(spec.ports.length > 0 && { PortBindings: portBindings(spec) }),
      NetworkMode: spec.network,
      Binds: spec.binds.map(({ source, target, readOnly }) => `${source}:${target}:${readOnly ? 'ro' : 'rw'}`),
      Devices: spec.devices.map(({ path }) => ({
        PathOnHost: path,
        PathInContainer: path,
        CgroupPermissions: 'rw',
      })),
      CapDrop: ['ALL'],
      CapAdd: spec.capabilities,
      // SELinux would refuse a confined container both device nodes and bound folders (containers/podman#15930);
      // relabelling a disk full of recordings at each start is no way out. Elsewhere it means nothing.
      SecurityOpt: ['no-new-privileges', 'label=disable'],
      ReadonlyRootfs: spec.readOnlyRoot,
      Tmpfs: Object.fromEntries(
        Object.entries(spec.tmpfs).map(([target, sizeBytes]) => [
          target,
          `rw,nosuid,nodev,mode=1777,size=${sizeBytes}`,
        ]),
      ),
      RestartPolicy: { Name: 'no' },
      // Podman's default may be the journal, which knows no limit per container.
      LogConfig: { Type: 'k8s-file', Config: { 'max-size': `${spec.limits.logBytes}b` } },
      ...limits(spec, concessions),
    },
  };
}

/** One port of the container may be published at several of the host. */
function portBindings({ ports }: ContainerSpec): Dockerode.PortMap {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { address, port, container } of ports)
    bindings[`${container}/tcp`] = [
      ...(bindings[`${container}/tcp`] ?? []),
      { HostIp: address, HostPort: String(port) },
    ];
  return bindings;
}

function limits({ limits }: ContainerSpec, concessions: Concessions): Dockerode.HostConfig {
  return {
    OomScoreAdj: givenScore(limits.oomScoreAdj, concessions),
    ...(concessions.withoutMemory ? {} : { Memory: limits.memoryBytes }),
    ...(concessions.withoutCpus ? {} : { NanoCpus: Math.round(limits.cpus * 1e9) }),
    ...(concessions.withoutPids ? {} : { PidsLimit: limits.pids }),
    // Both or neither: naming one puts the other back to Podman's own, which is what was refused.
    ...(concessions.ulimits && {
      Ulimits: ['nofile', 'nproc'].map((name) => ({ Name: name, Soft: MODEST_LIMIT, Hard: MODEST_LIMIT })),
    }),
  };
}

export const givenScore = (wanted: number, { oomScoreFloor }: Concessions): number =>
  oomScoreFloor === null ? wanted : Math.max(wanted, oomScoreFloor);

/** One line of `GET /containers/json`. */
export const listedSchema = z.object({
  Id: z.string().min(1),
  Names: z.array(z.string()),
  ImageID: z.string(),
  State: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
});

/** What is read of `GET /containers/<id>/json`. */
export const inspectedSchema = z.object({
  Id: z.string(),
  State: z.object({ ExitCode: z.number().nullish(), OOMKilled: z.boolean().nullish() }),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish(), StopSignal: z.string().nullish() }),
  HostConfig: z.object({
    Memory: z.number().nullish(),
    NanoCpus: z.number().nullish(),
    CpuQuota: z.number().nullish(),
    PidsLimit: z.number().nullish(),
    OomScoreAdj: z.number().nullish(),
  }),
});
export type Inspected = z.infer<typeof inspectedSchema>;

const STATES = new Map<string, ObservedContainer['state']>([
  ['running', 'live'],
  ['paused', 'live'],
  ['exited', 'ended'],
  ['stopped', 'ended'],
  ['dead', 'ended'],
  ['created', 'created'],
  ['configured', 'created'],
  ['initialized', 'created'],
]);

/** A state that is not in the table is one that passes: removing, stopping, restarting. */
export const stateOf = (word: string): ObservedContainer['state'] => STATES.get(word) ?? 'moving';

/** With its prefix, as some answers give it and some do not. */
export const imageIdOf = (id: string): string => (id.startsWith('sha256:') ? id : `sha256:${id}`);

/** Docker's API puts a slash before names. */
export const plainName = (name: string): string => name.replace(/^\//, '');

/** Anything else is foreign and never touched, whatever an engine makes of a filter. */
export const isOurs = (labels: Record<string, string>, stationId: string | undefined): boolean =>
  labels[LABEL.owner] === OWNER && stationId !== undefined && labels[LABEL.station] === stationId;
