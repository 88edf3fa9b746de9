/** A real Redis of the tests' own: free port, nothing kept on disk; it can be ended, started again and frozen. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { runProgram } from '../../services/station/run-program.ts';

export interface RedisFixture {
  url: string;
  /** Answers what redis-cli prints for a command. */
  command(...words: string[]): Promise<string>;
  publish(channel: string, message: string): Promise<void>;
  /** What is published on a channel from now on; the array grows. */
  listen(channel: string): Promise<string[]>;
  /** Ends the server; its connections break. */
  halt(): Promise<void>;
  /** Starts it again on the same port, empty. */
  resume(): Promise<void>;
  /** It accepts connections and answers nothing, until `thaw`. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

const START_DEADLINE_MS = 10_000;

export async function startRedis(): Promise<RedisFixture> {
  const port = await freePort();
  const listeners: ChildProcess[] = [];
  let server = await start(port);
  const halt = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    command: (...words) => send(port, words),
    async publish(channel, message) {
      await send(port, ['PUBLISH', channel, message]);
    },
    listen: (channel) => listen(port, channel, listeners),
    halt,
    async resume() {
      server = await start(port);
    },
    freeze: () => void server.kill('SIGSTOP'),
    thaw: () => void server.kill('SIGCONT'),
    async stop() {
      for (const listener of listeners) listener.kill();
      await halt();
    },
  };
}

async function start(port: number): Promise<ChildProcess> {
  const server = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
    { stdio: 'ignore' },
  );
  const failed = new Promise<never>((_resolve, reject) => {
    server.once('error', (cause) => reject(new Error('redis-server cannot be started: install it.', { cause })));
  });
  await Promise.race([failed, waitUntilAnswering(port, server)]);
  return server;
}

async function waitUntilAnswering(port: number, server: ChildProcess): Promise<void> {
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  for (;;) {
    const answer = await send(port, ['PING']).catch(() => '');
    if (answer === 'PONG') return;
    if (server.exitCode !== null || performance.now() > deadlineMs)
      throw new Error(`redis-server does not answer on port ${port} (exit code ${server.exitCode}).`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function send(port: number, words: string[]): Promise<string> {
  const result = await runProgram('redis-cli', ['-p', String(port), '--raw', ...words], {
    timeoutMs: START_DEADLINE_MS,
  });
  if (result.code !== 0) throw new Error(`redis-cli ${words.join(' ')}: ${result.stderr || result.stdout}`);
  return result.stdout.trim();
}

/** redis-cli prints three lines for the subscription and three for each message: kind, channel, content. */
async function listen(port: number, channel: string, listeners: ChildProcess[]): Promise<string[]> {
  const client = spawn('redis-cli', ['-p', String(port), '--raw', 'SUBSCRIBE', channel], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  listeners.push(client);
  const heard: string[] = [];
  const lines = createInterface({ input: client.stdout });
  await new Promise<void>((resolve) => {
    let count = 0;
    lines.on('line', (line) => {
      count += 1;
      if (count === 3) resolve();
      else if (count > 3 && count % 3 === 0) heard.push(line);
    });
  });
  return heard;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('The system gave no port.');
  return address.port;
}
