/** Creates and starts a container, gives up the limits that this host refuses, and leaves nothing half made behind. */
import { z } from 'zod';
import { LABEL } from '../shared/contract.ts';
import type { Log } from './log.ts';
import { type Answer, type Api, noAnswer, whyNot } from './podman-api.ts';
import { type Concessions, createBody, inspectedSchema, isOurs, noConcessions } from './podman-container.ts';
import {
  concede,
  type HostInfo,
  infoSchema,
  isAboutTheHost,
  mergeConcessions,
  missingLimits,
} from './podman-limits.ts';
import { createNetwork } from './podman-network.ts';
import { explainRefusal, isNetworkMissing } from './podman-refusals.ts';
import { DEFAULT_SIGNAL, removeContainer, type StopSignals } from './podman-remove.ts';
import type { ActionOutcome, ContainerSpec } from './world.ts';

export interface Runner {
  run(spec: ContainerSpec, onStarted?: () => Promise<void>): Promise<ActionOutcome>;
  /** What was learned about the engine holds no longer: it may be another one now. */
  forget(): void;
}

const CREATE_DEADLINE_MS = 20_000;
const START_DEADLINE_MS = 30_000;
const LOOK_DEADLINE_MS = 5000;
const TIDY_DEADLINE_MS = 20_000;
/** Enough to give up every limit one by one. */
const MAX_ATTEMPTS = 6;

type Step<T> = { ok: true; value: T } | { ok: false; outcome: ActionOutcome };

/** @param signals where it notes how what it started is to be ended */
export function createRunner(api: Api, log: Log, signals: StopSignals): Runner {
  let learned: Concessions = noConcessions;
  let info: HostInfo | null = null;

  /** Once per engine; unknown while it does not answer. */
  const lookAtHost = async (): Promise<HostInfo | null> => {
    if (info !== null) return info;
    const answer = await api.call({
      what: 'say what it offers',
      deadlineMs: LOOK_DEADLINE_MS,
      schema: infoSchema,
      send: (docker, abortSignal) => {
        // It takes options that its declared type does not know of.
        const ask: (options: { abortSignal: AbortSignal }) => Promise<unknown> = docker.info;
        return ask.call(docker, { abortSignal });
      },
    });
    if (answer.kind === 'answer') info = answer.value;
    else log.debug({ error: whyNot(answer) }, 'The engine did not say which limits it offers.');
    return info;
  };

  const done = async (id: string, spec: ContainerSpec, concessions: Concessions): Promise<ActionOutcome> => {
    const [host, inspected] = await Promise.all([lookAtHost(), inspect(api, id)]);
    if (inspected.kind === 'answer') signals.set(id, inspected.value.Config.StopSignal || DEFAULT_SIGNAL);
    const started = { concessions, info: host, inspected: inspected.kind === 'answer' ? inspected.value : null };
    return { kind: 'done', containerId: id, refusedLimits: missingLimits(spec.limits, started) };
  };

  return {
    forget() {
      learned = noConcessions;
      info = null;
    },
    async run(spec, onStarted = async () => {}) {
      let concessions = learned;
      for (let attempt = 1; ; attempt += 1) {
        const created = await create(api, spec, concessions);
        if (!created.ok) return created.outcome;
        const started = await start(api, created.value, spec);
        if (started.kind === 'answer') {
          await onStarted();
          return await done(created.value, spec, concessions);
        }
        if (started.kind !== 'refused') return noAnswer(started);
        const left = await tidy(api, created.value);
        if (started.status === 404)
          return { kind: 'lookAgain', message: 'The container was removed before it started.' };
        const less = attempt < MAX_ATTEMPTS ? concede(started.message, spec, concessions) : null;
        if (less === null || left !== null) return withLeftover(explainRefusal('start', started, spec), left);
        log.info(
          { container: spec.name, error: started.message, less },
          'The host refused a limit: once more without.',
        );
        concessions = less;
        if (isAboutTheHost(started.message)) learned = mergeConcessions(learned, less);
      }
    },
  };
}

async function create(api: Api, spec: ContainerSpec, concessions: Concessions): Promise<Step<string>> {
  let answer = await attemptCreate(api, spec, concessions);
  if (answer.kind === 'refused' && isNetworkMissing(answer.message)) {
    const message = await createNetwork(api, spec.network);
    if (message !== null) return { ok: false, outcome: { kind: 'failed', reason: 'NetworkMissing', message } };
    answer = await attemptCreate(api, spec, concessions);
  }
  if (answer.kind === 'answer') return { ok: true, value: answer.value.id };
  if (answer.kind !== 'refused') return { ok: false, outcome: noAnswer(answer) };
  // Podman 4 answers 500 to a name that is taken, Docker and others 409.
  const nameTaken = answer.status === 409 || /already in use/i.test(answer.message);
  return { ok: false, outcome: nameTaken ? await lookAtHolder(api, spec) : explainRefusal('create', answer, spec) };
}

function attemptCreate(api: Api, spec: ContainerSpec, concessions: Concessions): Promise<Answer<{ id: string }>> {
  return api.call({
    what: `create ${spec.name}`,
    deadlineMs: CREATE_DEADLINE_MS,
    schema: z.object({ id: z.string().min(1) }),
    send: (docker, abortSignal) => docker.createContainer({ ...createBody(spec, concessions), abortSignal }),
  });
}

/** A refused start is tidied up; without an answer nobody knows what happened, and the next list will tell. */
async function start(api: Api, id: string, spec: ContainerSpec): Promise<Answer<unknown>> {
  const answer = await api.call({
    what: `start ${spec.name}`,
    deadlineMs: START_DEADLINE_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => docker.getContainer(id).start({ abortSignal }),
  });
  return answer.kind === 'refused' && answer.status === 304 ? { kind: 'answer', value: null } : answer;
}

/** Whose is the name? Ours: the reading that led here was out of date. Anybody else's is never touched. */
async function lookAtHolder(api: Api, spec: ContainerSpec): Promise<ActionOutcome> {
  const holder = await inspect(api, spec.name);
  if (holder.kind === 'answer') {
    if (isOurs(holder.value.Config.Labels ?? {}, spec.labels[LABEL.station]))
      return { kind: 'lookAgain', message: `There is a container ${spec.name} of this station already.` };
    return {
      kind: 'blocked',
      reason: 'NameTaken',
      message: `A container that is not this station's holds the name ${spec.name}: rename it ("podman rename ${spec.name} <other>") or remove it.`,
    };
  }
  if (holder.kind === 'refused' && holder.status === 404) {
    // A leftover of a crash in Podman's storage: it holds the name and is in no list.
    return {
      kind: 'failed',
      reason: 'NameTaken',
      message: `Podman says that the name ${spec.name} is in use and shows no such container: remove what is left of it with "podman rm --force ${spec.name}".`,
    };
  }
  return { kind: 'unknown', message: whyNot(holder) };
}

function inspect(api: Api, idOrName: string) {
  return api.call({
    what: `describe ${idOrName}`,
    deadlineMs: LOOK_DEADLINE_MS,
    schema: inspectedSchema,
    send: (docker, abortSignal) => docker.getContainer(idOrName).inspect({ abortSignal }),
  });
}

/** Removes what could not be started; answers why that failed, null when nothing is left. */
async function tidy(api: Api, id: string): Promise<string | null> {
  const answer = await removeContainer(api, id, TIDY_DEADLINE_MS);
  return answer.kind === 'answer' || (answer.kind === 'refused' && answer.status === 404) ? null : whyNot(answer);
}

function withLeftover(outcome: ActionOutcome, left: string | null): ActionOutcome {
  if (left === null || outcome.kind === 'done') return outcome;
  return { ...outcome, message: `${outcome.message} It could not be removed again either: ${left}` };
}
