/**
 * The container engine: Podman through its Docker-compatible API. It lists, runs and removes this station's containers
 * and nobody else's. Why which call is made as it is: see the notes on Podman at each.
 */
import type Dockerode from 'dockerode';
import { z } from 'zod';
import { LABEL, OWNER } from '../shared/contract.ts';
import { createStateLog, type Log } from './log.ts';
import { type Answer, type Api, createApi, noAnswer, whyNot } from './podman-api.ts';
import { imageIdOf, inspectedSchema, isOurs, listedSchema, plainName, stateOf } from './podman-container.ts';
import { followEvents } from './podman-events.ts';
import { createLogFollower } from './podman-logs.ts';
import { pullImage } from './podman-pull.ts';
import { type StopSignals, stopAndRemove } from './podman-remove.ts';
import { createRunner } from './podman-run.ts';
import type { ActionOutcome, Clock, DependencyState, Engine, ImageIds, ObservedContainer, Reading } from './world.ts';

export interface PodmanOptions {
  /** Unix socket of the API; it may appear later, go away and come back. */
  socketPath: string;
  clock: Clock;
  log: Log;
}

const READ_DEADLINE_MS = 5000;
const TAG_DEADLINE_MS = 10_000;

/** Connects when first asked. No method throws: a failed reading is told as one, and so is a failed action. */
export function createPodman({ socketPath, clock, log }: PodmanOptions): Engine {
  const api = createApi({ socketPath, clock });
  const signals: StopSignals = new Map();
  const runner = createRunner(api, log, signals);
  const followLog = createLogFollower(api, clock);
  const state = createState(clock, log, socketPath);
  let stopWatching = (): void => {};

  const reading = async <T>(read: (deadlineMs: number) => Promise<Answer<T>>): Promise<Reading<T>> => {
    const startedAtMs = clock.nowMs();
    const answer = await read(READ_DEADLINE_MS);
    if (answer.kind === 'answer') {
      state.told(null);
      return { ok: true, value: answer.value, startedAtMs };
    }
    const error = whyNot(answer);
    state.told(error);
    return { ok: false, error, startedAtMs };
  };

  return {
    async list(stationId) {
      const listed = await reading((deadlineMs) => list(api, stationId, clock.nowMs() + deadlineMs, clock));
      // What has ended is asked nothing any more.
      if (listed.ok) for (const { id, state } of listed.value) if (state === 'ended') signals.delete(id);
      return listed;
    },
    images: (references) => reading((deadlineMs) => lookUpImages(api, references, deadlineMs)),
    run: runner.run,
    remove: (containerId, stopTimeoutS) => stopAndRemove(api, containerId, stopTimeoutS, signals),
    tag: (imageId, reference) => tag(api, imageId, reference),
    pull: (reference, onProgress, signal) => pullImage({ api, clock, reference, onProgress, signal }),
    followLog: (containerId, sinceMs, onLine, onEnd) => followLog({ containerId, sinceMs, onLine, onEnd }),
    watch(stationId, onEvent) {
      stopWatching();
      stopWatching = followEvents({
        api,
        clock,
        stationId,
        onEvent,
        onState(error) {
          // A new connection may lead to another engine, or to a host that was mended.
          if (error === null) {
            runner.forget();
            signals.clear();
          }
          state.told(error);
        },
      });
    },
    dependency: state.dependency,
    async stop() {
      stopWatching();
      api.close();
    },
  };
}

/** Up or down and since when; one line in the log for each change. */
function createState(clock: Clock, log: Log, socketPath: string) {
  const stateLog = createStateLog(log.child({ socketPath }));
  let current: DependencyState = {
    name: 'engine',
    state: 'down',
    message: 'It has not been asked yet.',
    sinceMs: clock.nowMs(),
  };
  return {
    told(error: string | null): void {
      const state = error === null ? 'up' : 'down';
      const message = error ?? 'Podman answers.';
      const sinceMs = state === current.state ? current.sinceMs : clock.nowMs();
      current = { ...current, state, message, sinceMs };
      stateLog.tell('engine', state, state === 'up' ? 'info' : 'warn', message);
    },
    dependency: (): DependencyState => current,
  };
}

async function list(
  api: Api,
  stationId: string,
  deadlineAtMs: number,
  clock: Clock,
): Promise<Answer<ObservedContainer[]>> {
  const label = [`${LABEL.owner}=${OWNER}`, `${LABEL.station}=${stationId}`];
  const listed = await api.call({
    what: 'list the containers',
    deadlineMs: deadlineAtMs - clock.nowMs(),
    schema: z.array(listedSchema),
    send: (docker, abortSignal) => docker.listContainers({ all: true, filters: { label }, abortSignal }),
  });
  if (listed.kind !== 'answer') return listed;
  // What remains of the deadline; should nothing remain, the question fails at once.
  const remainingMs = Math.max(0, deadlineAtMs - clock.nowMs());
  const ours = listed.value.filter((container) => isOurs(container.Labels ?? {}, stationId));
  const answers = await Promise.all(ours.map((container) => observe(api, container, remainingMs)));
  const containers: ObservedContainer[] = [];
  for (const answer of answers) {
    if (answer.kind === 'answer') containers.push(...answer.value);
    // Removed while we looked: it is gone, and that is known.
    else if (answer.kind !== 'refused' || answer.status !== 404) return answer;
  }
  return { kind: 'answer', value: containers };
}

/** Only one that has ended needs a second question: how? */
async function observe(
  api: Api,
  listed: z.infer<typeof listedSchema>,
  deadlineMs: number,
): Promise<Answer<ObservedContainer[]>> {
  const container: ObservedContainer = {
    id: listed.Id,
    name: plainName(listed.Names[0] ?? ''),
    imageId: imageIdOf(listed.ImageID),
    state: stateOf(listed.State),
    exitCode: null,
    oomKilled: false,
    labels: listed.Labels ?? {},
  };
  if (container.state !== 'ended') return { kind: 'answer', value: [container] };
  const inspected = await api.call({
    what: `say how ${container.name} ended`,
    deadlineMs,
    schema: inspectedSchema,
    send: (docker, abortSignal) => docker.getContainer(listed.Id).inspect({ abortSignal }),
  });
  if (inspected.kind !== 'answer') return inspected;
  const { ExitCode, OOMKilled } = inspected.value.State;
  return {
    kind: 'answer',
    value: [{ ...container, exitCode: ExitCode ?? null, oomKilled: OOMKilled ?? false }],
  };
}

async function lookUpImages(api: Api, references: string[], deadlineMs: number): Promise<Answer<ImageIds>> {
  const lookUp = async (reference: string): Promise<Answer<string | null>> => {
    const answer = await api.call({
      what: `look up the image ${reference}`,
      deadlineMs,
      schema: z.object({ Id: z.string().min(1) }),
      send: (docker, abortSignal) => inspectImage(docker, reference, abortSignal),
    });
    if (answer.kind === 'answer') return { kind: 'answer', value: imageIdOf(answer.value.Id) };
    return answer.kind === 'refused' && answer.status === 404 ? { kind: 'answer', value: null } : answer;
  };
  const answers = await Promise.all(references.map(async (reference) => [reference, await lookUp(reference)] as const));
  const ids: ImageIds = {};
  for (const [reference, answer] of answers) {
    if (answer.kind !== 'answer') return answer;
    ids[reference] = answer.value;
  }
  return { kind: 'answer', value: ids };
}

/** dockerode's own takes no signal: at an engine that hangs each of its sockets would stay for ever. */
function inspectImage(docker: Dockerode, reference: string, abortSignal: AbortSignal): Promise<unknown> {
  const request = {
    path: `/images/${reference}/json`,
    method: 'GET',
    abortSignal,
    statusCodes: { 200: true, 404: 'no such image', 500: 'server error' },
  };
  return new Promise((resolve, reject) => {
    docker.modem.dial(request, (error: unknown, data: unknown) => (error ? reject(error) : resolve(data)));
  });
}

/** `reference` is repository and tag. The old image keeps its other tags. */
async function tag(api: Api, imageId: string, reference: string): Promise<ActionOutcome> {
  const colon = reference.lastIndexOf(':');
  const target = { repo: reference.slice(0, colon), tag: reference.slice(colon + 1) };
  const answer = await api.call({
    what: `tag an image as ${reference}`,
    deadlineMs: TAG_DEADLINE_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => {
      const options = { ...target, abortSignal };
      return docker.getImage(imageId).tag(options);
    },
  });
  if (answer.kind === 'answer') return { kind: 'done', containerId: null, refusedLimits: [] };
  if (answer.kind !== 'refused') return noAnswer(answer);
  if (answer.status === 404) return { kind: 'lookAgain', message: `The image ${imageId} is gone.` };
  return {
    kind: 'failed',
    reason: 'TagFailed',
    message: `Podman could not tag ${imageId} as ${reference} (HTTP ${answer.status}): ${answer.message}`,
  };
}
