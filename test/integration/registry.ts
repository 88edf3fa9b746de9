/**
 * A registry of the tests' own: what of the distribution protocol a pull needs, over plain HTTP on loopback, with blobs as
 * slow as a test wants them. An engine that is to pull from it has to be started with `configuration` in its environment.
 */
import { once } from 'node:events';
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { freePort } from './test-station.ts';

export interface Registry {
  /** `127.0.0.1:<port>` */
  host: string;
  /** Environment of an engine that trusts it. */
  configuration: Record<string, string>;
  /** Serves a folder as `podman save --format oci-dir` makes it as `<name>:<tag>`. */
  add(name: string, tag: string, folder: string): void;
  /** Bytes of a blob that are sent at once, and the pause between them. null: as fast as it goes. */
  slow: { bytes: number; pauseMs: number } | null;
  /** Paths that were asked for. */
  requests: string[];
  start(): Promise<void>;
  /** Away, as after a pulled cable: every connection is refused. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

const indexSchema = z.object({ manifests: z.array(z.object({ digest: z.string(), mediaType: z.string() })).min(1) });

export async function createRegistry(): Promise<Registry> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-registry-'));
  const host = `127.0.0.1:${port}`;
  const conf = join(folder, 'registries.conf');
  writeFileSync(conf, `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  const images = new Map<string, string>();
  let server: Server | null = null;

  const answer = (path: string, response: ServerResponse): void => {
    registry.requests.push(path);
    if (path === '/v2/') {
      response.end('{}');
      return;
    }
    const [, name = '', kind = '', reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([A-Za-z0-9:._-]+)$/.exec(path) ?? [];
    const image = [...images].find(([key]) => key.startsWith(`${name}:`))?.[1];
    if (image === undefined) {
      notFound(response);
      return;
    }
    const index = indexSchema.parse(JSON.parse(readFileSync(join(image, 'index.json'), 'utf8'))).manifests[0];
    const isTag = kind === 'manifests' && !reference.startsWith('sha256:');
    if (isTag && !images.has(`${name}:${reference}`)) {
      notFound(response);
      return;
    }
    const digest = reference.startsWith('sha256:') ? reference : (index?.digest ?? '');
    const file = join(image, 'blobs', digest.replace(':', '/'));
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) {
      notFound(response);
      return;
    }
    response.setHeader('content-length', size);
    response.setHeader('docker-content-digest', digest);
    response.setHeader('content-type', kind === 'manifests' ? (index?.mediaType ?? '') : 'application/octet-stream');
    void send(file, response, kind === 'blobs' ? registry.slow : null);
  };

  const registry: Registry = {
    host,
    configuration: { CONTAINERS_REGISTRIES_CONF: conf },
    slow: null,
    requests: [],
    add: (name, tag, image) => void images.set(`${name}:${tag}`, image),
    async start() {
      server = createServer((request, response) => answer((request.url ?? '').split('?')[0] ?? '', response));
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    async stop() {
      const ending = server;
      server = null;
      if (ending === null) return;
      ending.closeAllConnections();
      await new Promise((resolve) => ending.close(resolve));
    },
    async remove() {
      await registry.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await registry.start();
  return registry;
}

async function send(file: string, response: ServerResponse, slow: Registry['slow']): Promise<void> {
  const stream = createReadStream(file, slow === null ? {} : { highWaterMark: slow.bytes });
  for await (const chunk of stream) {
    if (response.destroyed) break;
    response.write(chunk);
    if (slow !== null) await new Promise((resolve) => setTimeout(resolve, slow.pauseMs));
  }
  response.end();
}

function notFound(response: ServerResponse): void {
  response.statusCode = 404;
  response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
}
