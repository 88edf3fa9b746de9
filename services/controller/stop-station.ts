/**
 * Stops a composed station as a whole, from a container beside it: first the controller, so that nobody starts anything
 * again, then what it started (recorders finish their files), then all others.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../shared/clock.ts';
import { LABEL, OWNER, WORKSPACE_MARKER_FILE } from '../shared/contract.ts';
import { readHostileFile } from '../shared/hostile-file.ts';
import type { ControllerConfig } from './config.ts';
import { waitForOwnContainer } from './in-container.ts';
import type { Log } from './log.ts';
import { type Api, createApi, whyNot } from './podman-api.ts';
import { isOurs, listedSchema, plainName } from './podman-container.ts';
import { listNeighbours, type Neighbour } from './podman-own.ts';
import { stopAndRemove } from './podman-remove.ts';

const CONTROLLER_SERVICE = 'controller';
/** As compose.yml gives them. */
const NEIGHBOUR_STOP_S = 30;
const RECORDER_STOP_S = 10;
const LOOK_DEADLINE_MS = 10_000;
/** The engine needs a little longer than the container. */
const STOP_SLACK_MS = 15_000;
const MARKER_MAX_BYTES = 200;

/** Answers with the sentences about what could not be stopped; none: everything is. `tell` hears of each step. */
export async function stopStation(
  config: ControllerConfig,
  { clock, log, tell }: { clock: Clock; log: Log; tell: (sentence: string) => void },
): Promise<string[]> {
  const api = createApi({ socketPath: config.socketPath, clock });
  const own = await waitForOwnContainer(api, log);
  if (!own.ok) return [own.message];
  const neighbours = await listNeighbours(api, own.value);
  if (!neighbours.ok) return [neighbours.message];
  const running = neighbours.value.filter((neighbour) => neighbour.running);
  const isController = ({ service }: Neighbour): boolean => service === CONTROLLER_SERVICE;
  const stop = (some: Neighbour[]) => Promise.all(some.map((one) => stopNeighbour(api, one, tell)));
  const problems = [
    ...(await stop(running.filter(isController))),
    ...(await stopOwned(api, config, tell)),
    ...(await stop(running.filter((one) => !isController(one)))),
  ];
  api.close();
  return problems.filter((problem) => problem !== null);
}

async function stopNeighbour(
  api: Api,
  { id, name }: Neighbour,
  tell: (sentence: string) => void,
): Promise<string | null> {
  const answer = await api.call({
    what: `stop ${name}`,
    deadlineMs: NEIGHBOUR_STOP_S * 1000 + STOP_SLACK_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => docker.getContainer(id).stop({ t: NEIGHBOUR_STOP_S, abortSignal }),
  });
  const stopped = answer.kind === 'answer' || (answer.kind === 'refused' && [304, 404].includes(answer.status));
  if (!stopped) return `${name} could not be stopped: ${whyNot(answer)}`;
  tell(`${name} has stopped.`);
  return null;
}

/** Recorders and services of this station: by owner and by the station's id, which stands in the workspace. */
async function stopOwned(
  api: Api,
  config: ControllerConfig,
  tell: (sentence: string) => void,
): Promise<(string | null)[]> {
  const marker = await readHostileFile(
    { root: config.recorderWorkspace, name: WORKSPACE_MARKER_FILE },
    MARKER_MAX_BYTES,
  );
  if (marker.kind === 'missing') return [];
  if (marker.kind === 'unusable')
    return [
      `Whose recorders to stop is not known: ${join(config.recorderWorkspace, WORKSPACE_MARKER_FILE)} cannot be read (${marker.why}).`,
    ];
  const stationId = marker.text.trim();
  const label = [`${LABEL.owner}=${OWNER}`, `${LABEL.station}=${stationId}`];
  const listed = await api.call({
    what: 'list the containers',
    deadlineMs: LOOK_DEADLINE_MS,
    schema: z.array(listedSchema),
    send: (docker, abortSignal) => docker.listContainers({ all: true, filters: { label }, abortSignal }),
  });
  if (listed.kind !== 'answer') return [whyNot(listed)];
  const owned = listed.value.filter(({ Labels }) => isOurs(Labels ?? {}, stationId));
  return await Promise.all(
    owned.map(async ({ Id, Names }) => {
      const name = plainName(Names[0] ?? Id.slice(0, 12));
      const outcome = await stopAndRemove(api, Id, RECORDER_STOP_S);
      if (outcome.kind !== 'done') return `${name} could not be stopped: ${outcome.message}`;
      tell(`${name} has stopped.`);
      return null;
    }),
  );
}
