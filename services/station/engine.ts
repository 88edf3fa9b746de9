/**
 * Podman's API for a station that nobody gave one: finds the one that already answers, or runs one of its own for as
 * long as the station runs. Containers are children of conmon, not of the API: they outlive it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import type { Log } from '../controller/log.ts';
import { writeEngineConfig } from './engine-config.ts';
import { type ProgramResult, runProgram } from './run-program.ts';

export interface EngineOptions {
  /** Where configuration is written; nothing outside of it is touched. */
  folder: string;
  socketPath: string;
  log: Log;
  /** A storage of its own; without, the user's usual one. Both or neither. */
  root?: string;
  runRoot?: string;
}

export interface OwnEngine {
  socketPath: string;
  /** Makes any `podman` command see the same containers, images and settings. */
  environment: Record<string, string>;
  /** Runs a `podman` command on the same storage; its result is an answer, whatever its exit code. */
  podman(args: readonly string[], timeoutMs?: number): Promise<ProgramResult>;
  /** Ends the API and waits until its process is gone. Containers stay as they are. */
  stop(): Promise<void>;
}

const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 10_000;
const COMMAND_DEADLINE_MS = 120_000;
const PING_DEADLINE_MS = 2000;
const PING_INTERVAL_MS = 20;
const RESTART_DELAYS_MS = [250, 1000, 5000, 30_000] as const;
/** An API that ran for this long was well: its next restart is immediate again. */
const WELL_AFTER_MS = 60_000;
const OUTPUT_TAIL_CHARS = 2000;

/** The socket of an engine that answers already: the system's for root, otherwise the user's; null: none does. */
export async function findRunningEngine(): Promise<string | null> {
  const runtimeFolder = process.env.XDG_RUNTIME_DIR;
  const candidates = [
    ...(process.getuid?.() === 0 ? ['/run/podman/podman.sock'] : []),
    ...(runtimeFolder === undefined ? [] : [join(runtimeFolder, 'podman/podman.sock')]),
  ];
  for (const candidate of candidates) if (await answers(candidate)) return candidate;
  return null;
}

/**
 * Starts Podman's API and waits until it answers; an API that ends by itself is started again. Throws when Podman is
 * missing, when another API answers on that socket already, or when none answers within 30 s, with what Podman said.
 */
export async function startEngine(options: EngineOptions): Promise<OwnEngine> {
  const { folder, socketPath, log } = options;
  if (await answers(socketPath)) {
    throw new Error(`An engine already answers at ${socketPath}: use that one, or end it first.`);
  }
  const environment = await writeEngineConfig(folder, ownStorage(options), await podmanVersion());
  await mkdir(dirname(socketPath), { recursive: true });
  const service = keepRunning({ socketPath, environment, log });
  try {
    await waitUntilAnswering(socketPath, service);
  } catch (cause) {
    await service.stop();
    throw cause;
  }
  log.info({ socketPath, environment }, 'Podman answers.');
  return {
    socketPath,
    environment,
    podman: (args, timeoutMs = COMMAND_DEADLINE_MS) =>
      runProgram('podman', args, { timeoutMs, env: { ...process.env, ...environment } }),
    stop: service.stop,
  };
}

function ownStorage({ root, runRoot }: EngineOptions): { root: string; runRoot: string } | null {
  if (root === undefined && runRoot === undefined) return null;
  if (root === undefined || runRoot === undefined) {
    throw new Error(
      `Only ${root === undefined ? 'runRoot' : 'root'} was given: give root and runRoot, or neither for the usual storage.`,
    );
  }
  return { root, runRoot };
}

async function podmanVersion(): Promise<{ major: number; minor: number }> {
  const result = await runProgram('podman', ['--version'], { timeoutMs: COMMAND_DEADLINE_MS });
  const found = /version (\d+)\.(\d+)/.exec(result.stdout);
  if (found === null) {
    throw new Error(
      `"podman --version" answered ${JSON.stringify((result.stdout || result.stderr).trim())} instead of a version: reinstall Podman.`,
    );
  }
  return { major: Number(found[1]), minor: Number(found[2]) };
}

interface Service {
  /** The end of what Podman wrote, for the person who has to find out why it does not start. */
  lastWords(): string;
  hasEnded(): boolean;
  stop(): Promise<void>;
}

interface ServiceOptions {
  socketPath: string;
  environment: Record<string, string>;
  log: Log;
}

/** Runs the API until `stop`: one that ends by itself is started again, sooner or later by how often that happens. */
function keepRunning(options: ServiceOptions): Service {
  const { socketPath, log } = options;
  let words = '';
  let failures = 0;
  let stopping = false;
  let restart: NodeJS.Timeout | undefined;
  let child = begin();

  function begin(): ChildProcess {
    const beganMs = performance.now();
    const process = spawnService(options);
    const listen = (text: string) => {
      words = (words + text).slice(-OUTPUT_TAIL_CHARS);
      log.debug({ text: text.trimEnd() }, 'Podman says:');
    };
    process.stdout?.setEncoding('utf8').on('data', listen);
    process.stderr?.setEncoding('utf8').on('data', listen);
    const ended = (how: string) => {
      if (stopping) return;
      failures = performance.now() - beganMs > WELL_AFTER_MS ? 0 : failures + 1;
      const delayMs = RESTART_DELAYS_MS[Math.min(failures, RESTART_DELAYS_MS.length) - 1] ?? 0;
      log.warn({ how, words: words.trim(), delayMs }, "Podman's API ended by itself; it is started again.");
      restart = setTimeout(() => {
        child = begin();
      }, delayMs);
    };
    process.once('error', (error) => {
      words = error.message;
    });
    process.once('close', (code, signal) => ended(signal ?? `exit code ${code}`));
    return process;
  }

  return {
    lastWords: () => words.trim(),
    hasEnded: () => hasEnded(child),
    async stop() {
      stopping = true;
      clearTimeout(restart);
      await end(child);
      await rm(socketPath, { force: true });
    },
  };
}

/**
 * In a process group of its own, so that Ctrl-C reaches the station alone, which ends the engine last. Where util-linux
 * offers it, the kernel ends the API should the station be killed.
 */
function spawnService({ socketPath, environment }: ServiceOptions): ChildProcess {
  const command = ['podman', 'system', 'service', '--time=0', `unix://${socketPath}`];
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
  const [program = 'podman', ...args] =
    setpriv === undefined ? command : [setpriv, '--pdeathsig', 'TERM', '--', ...command];
  return spawn(program, args, {
    env: { ...process.env, ...environment },
    // conmon leaves a file named "oom" in its working folder when a container is ended for lack of memory.
    cwd: dirname(socketPath),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
}

const hasEnded = (child: ChildProcess): boolean =>
  child.exitCode !== null || child.signalCode !== null || child.pid === undefined;

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
  child.kill('SIGTERM');
  await gone;
  clearTimeout(kill);
}

async function waitUntilAnswering(socketPath: string, service: Service): Promise<void> {
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  while (!(await answers(socketPath))) {
    const words = service.lastWords() === '' ? 'nothing' : JSON.stringify(service.lastWords());
    if (service.hasEnded()) {
      throw new Error(`Podman's API could not be started at ${socketPath}; Podman said ${words}.`);
    }
    if (performance.now() > deadlineMs) {
      throw new Error(
        `Podman's API did not answer at ${socketPath} within ${START_DEADLINE_MS / 1000} s; Podman said ${words}.`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, PING_INTERVAL_MS));
  }
}

/** Whether an engine answers there; a socket that accepts and says nothing does not. */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request(
      { socketPath, path: '/_ping', agent: false, signal: AbortSignal.timeout(PING_DEADLINE_MS) },
      (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      },
    );
    ping.once('error', () => resolve(false));
    ping.end();
  });
}
