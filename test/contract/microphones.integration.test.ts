/** The real source of microphones, on emulated USB, keeps the contract of the port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll } from 'vitest';
import { until } from '../integration/store-fixture.ts';
import * as usb from '../integration/usb-devices.ts';
import { createUsbTree, type PluggedDevice, type UsbTree } from '../integration/usb-tree.ts';
import { type AskedSource, describeMicrophones, type MicrophonesHarness } from './microphones-contract.ts';
import type { Question } from './microphones-program.ts';

let folder: string;
let program: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-contract-'));
  program = join(folder, 'program.mjs');
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  const entryPoints = ['test/contract/microphones-program.ts'];
  await build({ entryPoints, outfile: program, bundle: true, platform: 'node', format: 'esm', packages: 'external' });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Longer than several looks of the program, and than its second one after each difference. */
const SEVERAL_LOOKS_MS = 400;

describeMicrophones('emulated USB', async (): Promise<MicrophonesHarness> => {
  const tree = createUsbTree();
  const child = spawn(process.execPath, [program], { env: tree.environment(), stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const devices = new Map<number, PluggedDevice>();
  const deviceAt = (port: number): PluggedDevice => {
    const device = devices.get(port);
    if (device === undefined) throw new Error(`Nothing is plugged in at port ${port}.`);
    return device;
  };
  /** One question after the other: each has one line for an answer. */
  let last: Promise<unknown> = Promise.resolve();
  const ask = (question: Question) => {
    const answered = last.then(async () => {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error('The source has ended.');
      return JSON.parse(value);
    });
    last = answered;
    return answered;
  };
  const source: AskedSource = {
    start: () => ask({ ask: 'start' }),
    read: () => ask({ ask: 'read' }),
    holder: (sound) => ask({ ask: 'holder', sound }),
    stop: () => ask({ ask: 'stop' }),
  };
  const blockage = createBlockage(tree);
  return {
    source,
    until: async (what, holds) => void (await until(what, async () => ((await holds()) ? true : null))),
    pass: () => delay(SEVERAL_LOOKS_MS),
    plug: (port, serial, sound) =>
      void devices.set(port, tree.plug(usb.umik1({ serial }), { port: `${port}`, ...(sound && { sound }) })),
    unplug: (port) => tree.unplug(deviceAt(port)),
    makeCard: (port) => void tree.addCard(deviceAt(port)),
    renumberCard(port) {
      tree.removeCard(deviceAt(port));
      // It takes the number that has become free.
      tree.plug(usb.speaker());
      tree.addCard(deviceAt(port));
    },
    swapCards(one, other) {
      for (const port of [one, other]) tree.removeCard(deviceAt(port));
      // Each takes the lowest number that is free.
      for (const port of [other, one]) tree.addCard(deviceAt(port));
    },
    miss: (port) => tree.hide(deviceAt(port)),
    findAgain: (port) => tree.showAgain(deviceAt(port)),
    breakScans: blockage.put,
    mendScans: blockage.takeAway,
    hold: (port) => tree.setHolder(deviceAt(port), process.pid),
    async close() {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
      tree.remove();
    },
  };
});

/** A sound card that is a loop of links is an error other than "there is none". */
function createBlockage(tree: UsbTree): { put(): void; takeAway(): void } {
  const card = join(tree.root, 'sys/class/sound/card7');
  const capture = join(tree.root, 'sys/class/sound/pcmC7D0c');
  return {
    put() {
      symlinkSync('card7', card);
      tree.write('sys/class/sound/pcmC7D0c', '');
      tree.write('sys/kernel/uevent_seqnum', '1\n');
    },
    takeAway() {
      unlinkSync(card);
      unlinkSync(capture);
      tree.write('sys/kernel/uevent_seqnum', '2\n');
    },
  };
}
