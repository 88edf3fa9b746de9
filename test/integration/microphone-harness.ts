/**
 * Starts the real microphone source in a process of its own, which sees a tree as its `/sys` and `/proc`. For one test
 * file: its hooks build the program once and clean up after each test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Microphone } from '../../services/controller/world.ts';
import type { WatcherLine } from './microphone-watcher.ts';
import { createUsbTree, type UsbTree, type UsbTreeOptions } from './usb-tree.ts';

export interface Watcher {
  process: ChildProcess;
  lines: WatcherLine[];
  /** The first line, from the ones after the last awaited, that fulfils the condition. */
  until(what: string, fulfils: (line: WatcherLine) => boolean): Promise<WatcherLine>;
  /** The line that says exactly these products are there, in whatever order. */
  untilPresent(...products: string[]): Promise<Microphone[]>;
  /** Where time passes by hand: what the poll that is due came to. */
  poll(): Promise<WatcherLine>;
}

const DEADLINE_MS = 15_000;
let folder: string;
let program: string;
const cleanUps: (() => void)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-watcher-'));
  program = join(folder, 'watcher.mjs');
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  const entryPoints = ['test/integration/microphone-watcher.ts'];
  await build({ entryPoints, outfile: program, bundle: true, platform: 'node', format: 'esm', packages: 'external' });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

/** A tree that is removed after the test. */
export function newTree(options?: UsbTreeOptions): UsbTree {
  const tree = createUsbTree(options);
  cleanUps.push(tree.remove);
  return tree;
}

/** Starts a watcher that is ended after the test; `by-hand`: time passes only by `poll`. */
export function watch(tree: UsbTree, ...args: 'by-hand'[]): Watcher {
  const child = spawn(process.execPath, [program, ...args], {
    env: tree.environment(),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cleanUps.push(() => child.kill('SIGKILL'));
  const lines: WatcherLine[] = [];
  let read = 0;
  let wake = () => {};
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text));
    wake();
  });
  const until: Watcher['until'] = async (what, fulfils) => {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const line = lines[read];
      if (line !== undefined) {
        read += 1;
        if (fulfils(line)) return line;
        continue;
      }
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Error(`not within ${DEADLINE_MS} ms: ${what}; last: ${JSON.stringify(lines.at(-1))}`);
      await new Promise<void>((done) => {
        const timer = setTimeout(done, leftMs);
        wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
  };
  const untilPresent: Watcher['untilPresent'] = async (...products) => {
    const wanted = JSON.stringify(products.sort());
    const names = (line: WatcherLine) => line.microphones?.map(({ product }) => product).sort();
    const line = await until(`present are ${wanted}`, (each) => JSON.stringify(names(each)) === wanted);
    return line.microphones ?? [];
  };
  const poll: Watcher['poll'] = () => {
    child.stdin.write('poll\n');
    return until('the poll', () => true);
  };
  return { process: child, lines, until, untilPresent, poll };
}
