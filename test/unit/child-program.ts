/** Small programs for tests that need a process of their own: bundled as the services are, run by the same Node. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const CONTROLLER = resolve(import.meta.dirname, '../../services/controller');

/** Bundles TypeScript, whose imports start in `services/controller`, into `folder`; returns the file to run. */
export async function buildProgram(folder: string, source: string): Promise<string> {
  const outfile = join(folder, 'program.mjs');
  await build({
    stdin: { contents: source, resolveDir: CONTROLLER, loader: 'ts' },
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  return outfile;
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunningProgram {
  child: ChildProcess;
  /** Resolves once standard output contains `text`; throws if the program ends before. */
  said(text: string): Promise<void>;
  ended: Promise<Ended>;
}

export function runProgram(file: string, args: string[], user?: { uid: number; gid: number }): RunningProgram {
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...user });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = once(child, 'close').then(() => ({ code: child.exitCode, signal: child.signalCode, stdout, stderr }));
  return {
    child,
    ended,
    async said(text) {
      while (!stdout.includes(text)) {
        const over = await Promise.race([once(child.stdout, 'data').then(() => null), ended]);
        if (over !== null && !stdout.includes(text)) throw new Error(`The program ended: ${JSON.stringify(over)}`);
      }
    },
  };
}
