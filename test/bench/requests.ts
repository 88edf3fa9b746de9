/** What the controller asks of its engine, as somebody sees it who sits between the two. */
import type { Socket } from 'node:net';

export interface Request {
  /** Monotonic milliseconds, as of `performance.now()`. */
  atMs: number;
  method: string;
  path: string;
  body: string;
}

export interface Requests {
  /** To be called for each connection; a request has one of its own. */
  listen(client: Socket): void;
  all(): readonly Request[];
  /** The first one after this moment; waits for it. */
  firstAfter(atMs: number): Promise<Request>;
}

const DEADLINE_MS = 10_000;

export function tapRequests(): Requests {
  const all: Request[] = [];
  const waiting = new Set<() => void>();
  return {
    listen(client) {
      let request: Request | null = null;
      client.on('data', (chunk: Buffer) => {
        const text = chunk.toString('utf8');
        if (request !== null) {
          request.body += text;
          return;
        }
        const [head = '', ...rest] = text.split('\r\n\r\n');
        const [method = '', path = ''] = head.split(' ');
        request = { atMs: performance.now(), method, path, body: rest.join('\r\n\r\n') };
        all.push(request);
        for (const look of [...waiting]) look();
      });
    },
    all: () => all,
    firstAfter: (atMs) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = all.find((request) => request.atMs >= atMs);
          if (found === undefined) return;
          clearTimeout(deadline);
          waiting.delete(look);
          resolve(found);
        };
        const deadline = setTimeout(() => {
          waiting.delete(look);
          reject(new Error(`The controller asked nothing of its engine within ${DEADLINE_MS / 1000} s.`));
        }, DEADLINE_MS);
        waiting.add(look);
        look();
      }),
  };
}
