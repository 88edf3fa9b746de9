/** This container among others: what the engine says of it, and of those that were brought up together with it. */
import { z } from 'zod';
import type { Parsed } from '../shared/parse.ts';
import type { Mount } from './own-mounts.ts';
import { type Answer, type Api, whyNot } from './podman-api.ts';

export interface OwnContainer {
  id: string;
  mounts: Mount[];
  /** What compose calls this folder's containers; null: nobody composed them. */
  project: string | null;
}

export interface Neighbour {
  id: string;
  name: string;
  /** Its name in compose.yml. */
  service: string;
  running: boolean;
}

/** docker-compose and podman-compose both set these. */
const PROJECT_LABEL = 'com.docker.compose.project';
const SERVICE_LABEL = 'com.docker.compose.service';
const LOOK_DEADLINE_MS = 10_000;
const START_DEADLINE_MS = 30_000;

const ownSchema = z.object({
  Id: z.string().min(1),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }),
  Mounts: z.array(z.object({ Source: z.string().default(''), Destination: z.string() })),
});
const listSchema = z.array(
  z.object({
    Id: z.string().min(1),
    Names: z.array(z.string()),
    State: z.string(),
    Labels: z.record(z.string(), z.string()).nullish(),
  }),
);
const policySchema = z.object({ HostConfig: z.object({ RestartPolicy: z.object({ Name: z.string() }) }) });

/** The first of these ids that the engine knows. `retry`: it did not answer, and may later. */
export async function describeOwnContainer(
  api: Api,
  ids: readonly string[],
): Promise<Parsed<OwnContainer> & { retry?: boolean }> {
  for (const id of ids) {
    const answer = await inspect(api, id, ownSchema);
    if (answer.kind === 'answer') return { ok: true, value: toOwn(answer.value) };
    if (answer.kind !== 'refused' || answer.status !== 404) return { ok: false, retry: true, message: whyNot(answer) };
  }
  const tried = ids.map((id) => id.slice(0, 12)).join(', ') || 'nothing';
  return {
    ok: false,
    message: `This container is not one of the engine that it is to work with (it may be ${tried}): mount the socket of the engine that runs it.`,
  };
}

/** Containers of the same project, without this one. */
export async function listNeighbours(api: Api, own: OwnContainer): Promise<Parsed<Neighbour[]>> {
  if (own.project === null) return { ok: true, value: [] };
  const label = [`${PROJECT_LABEL}=${own.project}`];
  const answer = await api.call({
    what: 'list the containers',
    deadlineMs: LOOK_DEADLINE_MS,
    schema: listSchema,
    send: (docker, abortSignal) => docker.listContainers({ all: true, filters: { label }, abortSignal }),
  });
  if (answer.kind !== 'answer') return { ok: false, message: whyNot(answer) };
  const others = answer.value.filter(({ Id, Labels }) => Id !== own.id && Labels?.[PROJECT_LABEL] === own.project);
  return {
    ok: true,
    value: others.map(({ Id, Names, State, Labels }) => ({
      id: Id,
      name: (Names[0] ?? Id.slice(0, 12)).replace(/^\//, ''),
      service: Labels?.[SERVICE_LABEL] ?? '',
      running: State === 'running',
    })),
  };
}

/**
 * Starts every neighbour that should always run and does not. Answers one sentence for each that was started or could
 * not be.
 */
export async function startNeighbours(api: Api, own: OwnContainer): Promise<string[]> {
  const neighbours = await listNeighbours(api, own);
  if (!neighbours.ok) return [`Who else should run cannot be said: ${neighbours.message}`];
  const resting = neighbours.value.filter(({ running }) => !running);
  const sentences = await Promise.all(resting.map(async ({ id, name }) => startIfWanted(api, id, name)));
  return sentences.filter((sentence) => sentence !== null);
}

async function startIfWanted(api: Api, id: string, name: string): Promise<string | null> {
  const policy = await inspect(api, id, policySchema);
  if (policy.kind !== 'answer') return `${name} cannot be looked at: ${whyNot(policy)}`;
  if (policy.value.HostConfig.RestartPolicy.Name !== 'always') return null;
  const answer = await api.call({
    what: `start ${name}`,
    deadlineMs: START_DEADLINE_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => docker.getContainer(id).start({ abortSignal }),
  });
  const runs = answer.kind === 'answer' || (answer.kind === 'refused' && answer.status === 304);
  return runs ? `${name} was started.` : `${name} could not be started: ${whyNot(answer)}`;
}

function inspect<T>(api: Api, id: string, schema: z.ZodType<T>): Promise<Answer<T>> {
  return api.call({
    what: `describe container ${id.slice(0, 12)}`,
    deadlineMs: LOOK_DEADLINE_MS,
    schema,
    send: (docker, abortSignal) => docker.getContainer(id).inspect({ abortSignal }),
  });
}

function toOwn({ Id, Config, Mounts }: z.infer<typeof ownSchema>): OwnContainer {
  return {
    id: Id,
    mounts: Mounts.map(({ Source, Destination }) => ({ source: Source, destination: Destination })),
    project: Config.Labels?.[PROJECT_LABEL] ?? null,
  };
}
