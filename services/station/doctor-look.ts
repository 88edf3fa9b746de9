/** How the doctor looks: files below a root, programs and sockets, each with a deadline. Nothing here throws. */
import { stat } from 'node:fs/promises';
import { request } from 'node:http';
import type { z } from 'zod';
import { readTextIfPresent } from '../controller/kernel-files.ts';
import type { DiskFacts, Fact, SocketFacts } from './doctor-facts.ts';
import { type ProgramResult, runProgram } from './run-program.ts';

export interface Look {
  /** Text of a small file of the kernel or the system; null: there is none. */
  text(path: string): Fact<string | null>;
  /** A program's result; not ok where it cannot be started. */
  run(program: string, ...args: string[]): Promise<Fact<ProgramResult>>;
  /** What stands before each path. */
  root: string;
  environment: NodeJS.ProcessEnv;
}

/** Where programs of administrators lie, which an ordinary user's PATH does not name. */
const MORE_FOLDERS = '/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin';
const PROGRAM_DEADLINE_MS = 5000;
const ASK_DEADLINE_MS = 3000;
/** Asking a Podman on a memory card for all of its images takes a while. */
const ENGINE_DEADLINE_MS = 10_000;
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;

/** `root` empty: this machine. */
export function createLook(environment: NodeJS.ProcessEnv, root = ''): Look {
  const env = { ...environment, LC_ALL: 'C', PATH: `${environment.PATH ?? ''}:${MORE_FOLDERS}` };
  return {
    root,
    environment,
    text: (path) => attempt(() => readTextIfPresent(`${root}${path}`)),
    async run(program, ...args) {
      try {
        return { ok: true, value: await runProgram(program, args, { timeoutMs: PROGRAM_DEADLINE_MS, env }) };
      } catch {
        return failed(`There is no program "${program}" here that could tell.`);
      }
    },
  };
}

export function failed(message: string): { ok: false; message: string } {
  return { ok: false, message };
}

/** What work came to; what it threw becomes the reason. */
export function attempt<T>(work: () => T): Fact<T> {
  try {
    return { ok: true, value: work() };
  } catch (error) {
    return failed(`It cannot be found out: ${messageOf(error)}.`);
  }
}

/** As `attempt`, given up after `deadlineMs`. */
export async function attemptWithin<T>(deadlineMs: number, work: () => Promise<T>): Promise<Fact<T>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs / 1000} s`)), deadlineMs);
  });
  try {
    return { ok: true, value: await Promise.race([work(), late]) };
  } catch (error) {
    return failed(`It cannot be found out: ${messageOf(error)}.`);
  } finally {
    clearTimeout(timer);
  }
}

/** Passes the reason on, or works with the value. (Were it named "then", the whole module would pass for a promise.) */
export function andThen<T, U>(fact: Fact<T>, how: (value: T) => Fact<U> | U): Fact<U> {
  if (!fact.ok) return fact;
  const result = how(fact.value);
  return isFact(result) ? result : { ok: true, value: result };
}

function isFact<U>(value: Fact<U> | U): value is Fact<U> {
  return typeof value === 'object' && value !== null && 'ok' in value && typeof value.ok === 'boolean';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Where to ask: a Unix socket, or a port. */
export type Place = { socketPath: string } | { host: string; port: number };

/** The JSON that answers a GET, whatever its status. Throws the connection's error, or one for another form. */
export function askJson<T>(place: Place, path: string, schema: z.ZodType<T>): Promise<T> {
  const deadlineMs = 'socketPath' in place ? ENGINE_DEADLINE_MS : ASK_DEADLINE_MS;
  return ask(place, path, deadlineMs).then(({ text }) => schema.parse(JSON.parse(text)));
}

function ask(place: Place, path: string, deadlineMs: number): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ ...place, path, agent: false, signal: AbortSignal.timeout(deadlineMs) }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if (text.length > ANSWER_MAX_BYTES) call.destroy(new Error('the answer does not end'));
      });
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.once('error', reject);
    });
    call.once('error', reject);
    call.end();
  });
}

/** Whether an engine answers at a socket, and why not. */
export async function lookAtSocket(path: string, configured: boolean): Promise<SocketFacts> {
  const file = await attemptWithin(ASK_DEADLINE_MS, () => stat(path));
  const rights = file.ok
    ? { uid: file.value.uid, gid: file.value.gid, mode: (file.value.mode & 0o7777).toString(8).padStart(4, '0') }
    : null;
  const facts = { path, rights, configured };
  if (file.ok && !file.value.isSocket()) return { ...facts, state: 'not a socket' };
  try {
    const { status } = await ask({ socketPath: path }, '/_ping', ASK_DEADLINE_MS);
    return { ...facts, state: status === 200 ? 'answers' : 'silent' };
  } catch (error) {
    return { ...facts, state: socketState(error) };
  }
}

function socketState(error: unknown): SocketFacts['state'] {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'absent';
  if (code === 'EACCES' || code === 'EPERM') return 'denied';
  if (code === 'ECONNREFUSED') return 'refused';
  return 'silent';
}

/** The mount that a path lies on, from the text of `/proc/self/mounts`; of several at one place, the last counts. */
export function mountOf(
  path: string,
  mounts: string,
): Pick<DiskFacts, 'mountPoint' | 'source' | 'kind' | 'readOnly'> | null {
  const found = mounts
    .split('\n')
    .map((line) => line.split(' ').map(unescapeMount))
    .filter(([, point]) => point !== undefined && (point === '/' || path === point || path.startsWith(`${point}/`)))
    .map(([source = '', mountPoint = '', kind = '', options = '']) => ({
      source,
      mountPoint,
      kind,
      readOnly: options.split(',').includes('ro'),
    }));
  return found.reduce<(typeof found)[number] | null>(
    (best, one) => (best === null || one.mountPoint.length >= best.mountPoint.length ? one : best),
    null,
  );
}

/** Blanks and others are written as octal digits (fstab(5)). */
function unescapeMount(word: string): string {
  return word.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
