/** The network of services that the controller starts, made when the first of them needs it and it is not there. */
import { z } from 'zod';
import { LABEL, OWNER } from '../shared/contract.ts';
import { type Answer, type Api, whyNot } from './podman-api.ts';

const CREATE_DEADLINE_MS = 20_000;

/** Makes it, marked as ours; null: it is there now, by us or by somebody who was faster. Otherwise why not. */
export async function createNetwork(api: Api, name: string): Promise<string | null> {
  const answer: Answer<unknown> = await api.call({
    what: `create the network ${name}`,
    deadlineMs: CREATE_DEADLINE_MS,
    schema: z.unknown(),
    send: (docker, abortSignal) => {
      const options = { Name: name, Driver: 'bridge', Labels: { [LABEL.owner]: OWNER }, abortSignal };
      return docker.createNetwork(options);
    },
  });
  if (answer.kind === 'answer') return null;
  if (answer.kind === 'refused' && /already (exists|used)|already in use/i.test(answer.message)) return null;
  return `The network ${name} could not be made: ${whyNot(answer)}`;
}
