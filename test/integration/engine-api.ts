/**
 * What tests ask of an engine again and again while they wait: by its socket, since a `podman` process for each question
 * would be most of the work that this machine does.
 */
import { type RequestOptions, request } from 'node:http';
import { z } from 'zod';
import type { InspectedContainer } from './test-station.ts';

export interface HttpAnswer {
  httpStatus: number;
  body: string;
}

const ANSWER_DEADLINE_MS = 5000;
/** An engine that builds images and starts containers for many tests may take its time. */
const ENGINE_DEADLINE_MS = 30_000;
const LIBPOD = '/v4.0.0/libpod';

/** The answer, whatever its status. Throws where none comes in time. */
export function ask(options: RequestOptions, deadlineMs = ANSWER_DEADLINE_MS): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, timeout: deadlineMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ httpStatus: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    sent.on('timeout', () => sent.destroy(new Error(`No answer within ${deadlineMs / 1000} s.`)));
    sent.on('error', reject);
    sent.end();
  });
}

const listSchema = z.array(z.object({ Id: z.string() }));

/** Ids of all containers with this label (`key=value`), also of those that do not run. */
export async function idsWithLabel(socketPath: string, label: string): Promise<string[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [label] }));
  const path = `${LIBPOD}/containers/json?all=true&filters=${filters}`;
  const { httpStatus, body } = await ask({ socketPath, path }, ENGINE_DEADLINE_MS);
  if (httpStatus !== 200) throw new Error(`GET ${path}: ${httpStatus} ${body}`);
  return listSchema.parse(JSON.parse(body)).map(({ Id }) => Id);
}

/** What `podman inspect` says; null: there is no such container (any more). */
export async function inspectContainer(socketPath: string, id: string): Promise<InspectedContainer | null> {
  const path = `${LIBPOD}/containers/${id}/json`;
  const { httpStatus, body } = await ask({ socketPath, path }, ENGINE_DEADLINE_MS);
  // The second answer: it was removed while the engine looked at it.
  if (httpStatus === 404 || (httpStatus === 500 && body.includes('no such container'))) return null;
  if (httpStatus !== 200) throw new Error(`GET ${path}: ${httpStatus} ${body}`);
  return JSON.parse(body);
}
