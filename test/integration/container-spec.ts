/** A container of the tests' own image, as our controller would ask for one. */
import { randomUUID } from 'node:crypto';
import type { ContainerSpec, Limits } from '../../services/controller/world.ts';
import { LABEL, OWNER } from '../../services/shared/contract.ts';
import { TEST_IMAGE } from './engine.ts';

/** Runs until it is asked to stop, and goes at once. */
export const OBEDIENT = 'trap "exit 0" TERM; sleep 100000 & wait';
/** PID 1 without a handler: SIGTERM does nothing. */
export const STUBBORN = 'while :; do sleep 1; done';

export type SpecChanges = Partial<Omit<ContainerSpec, 'limits'>> & { script?: string; limits?: Partial<Limits> };

export function testSpec(
  stationId: string,
  { script = OBEDIENT, limits, ...changes }: SpecChanges = {},
): ContainerSpec {
  return {
    name: `silvasonic-${stationId.slice(0, 8)}-${randomUUID().slice(0, 8)}`,
    image: TEST_IMAGE,
    env: { TEST_SCRIPT: script },
    labels: { [LABEL.owner]: OWNER, [LABEL.station]: stationId },
    network: 'none',
    binds: [],
    devices: [],
    limits: {
      memoryBytes: 64 * 1024 * 1024,
      cpus: 0.5,
      pids: 32,
      oomScoreAdj: 0,
      logBytes: 1024 * 1024,
      ...limits,
    },
    capabilities: [],
    readOnlyRoot: true,
    tmpfs: { '/tmp': 1024 * 1024 },
    stopTimeoutS: 10,
    ports: [],
    entrypoint: null,
    command: null,
    user: null,
    ...changes,
  };
}
