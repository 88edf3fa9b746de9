/** A socket between the controller and the engine that can be away, come late, break, or take everything and answer nothing. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface EngineProxy {
  /** What `CONTAINER_SOCKET` names. */
  socketPath: string;
  /** There from now on, if it was not; what comes in is passed on to the engine. */
  open(): Promise<void>;
  /** As when the engine's service ends: no socket any more, every connection broken. */
  close(): Promise<void>;
  /** Connections are taken and nothing is answered, on those that are open neither. */
  hold(): void;
  /** What was held is answered from now on, late as it is. */
  release(): void;
}

/** Not there until `open`. `onConnection` may listen to what is asked: each request comes on a connection of its own. */
export function createEngineProxy(
  socketPath: string,
  enginePath: string,
  onConnection: (client: Socket) => void = () => {},
): EngineProxy {
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let held = false;

  const pass = (client: Socket): void => {
    const engine = connect(enginePath);
    onConnection(client);
    for (const [one, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
    if (held) for (const one of [client, engine]) one.pause();
  };

  const release = (): void => {
    held = false;
    for (const one of sockets) one.resume();
  };

  return {
    socketPath,
    async open() {
      release();
      if (server !== null) return;
      server = createServer(pass).listen(socketPath);
      await once(server, 'listening');
    },
    async close() {
      const ended = server;
      server = null;
      if (ended === null) return;
      const closed = once(ended, 'close');
      ended.close();
      for (const one of sockets) one.destroy();
      rmSync(socketPath, { force: true });
      await closed;
    },
    hold() {
      held = true;
      for (const one of sockets) one.pause();
    },
    release,
  };
}
