import { renameSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newTree, watch } from './microphone-harness.ts';
import type { WatcherLine } from './microphone-watcher.ts';
import * as usb from './usb-devices.ts';

/** What each poll says in short: products (or "failed"), times the list changed, and when the next poll is due. */
function inShort({ microphones, changes, nextPollMs }: WatcherLine): string {
  const products = microphones === null ? 'failed' : microphones.map(({ product }) => product).join('+') || 'none';
  return `${products} ${changes} ${nextPollMs}`;
}

test('only what two scans agree on counts, and a difference is looked at again after 50 ms', async () => {
  const tree = newTree();
  tree.plug(usb.plainMicrophone({ product: 'A' }));
  const watcher = watch(tree, 'by-hand');
  const polls = async (count: number) => {
    const lines: string[] = [];
    while (lines.length < count) lines.push(inShort(await watcher.poll()));
    return lines;
  };
  expect(await polls(3)).toEqual(['failed 0 50', 'A 1 100', 'A 1 100']);
  const other = tree.plug(usb.plainMicrophone({ product: 'B' }));
  expect(await polls(3)).toEqual(['A 1 50', 'A+B 2 100', 'A+B 2 100']);

  // There for one scan only: nobody hears of it.
  const brief = tree.plug(usb.plainMicrophone({ product: 'C' }));
  expect(await polls(1)).toEqual(['A+B 2 50']);
  tree.unplug(brief);
  expect(await polls(3)).toEqual(['A+B 2 50', 'A+B 2 100', 'A+B 2 100']);

  // Gone for one scan only, by a reading that missed it: it has never been away.
  const link = join(tree.root, `sys/bus/usb/devices/${other.folder}`);
  const aside = join(tree.root, 'aside');
  renameSync(link, aside);
  tree.write('sys/kernel/uevent_seqnum', '1\n');
  expect(await polls(1)).toEqual(['A+B 2 50']);
  renameSync(aside, link);
  expect(await polls(2)).toEqual(['A+B 2 50', 'A+B 2 100']);
});

test('a plug that never rests does not hide the others for ever', async () => {
  const tree = newTree();
  const watcher = watch(tree, 'by-hand');
  for (let poll = 0; poll < 3; poll += 1) await watcher.poll();
  const steady = tree.plug(usb.plainMicrophone({ product: 'steady' }), { port: '1' });
  let products: string[] = [];
  let polls = 0;
  for (; polls < 100 && !products.includes('steady'); polls += 1) {
    const flapping = tree.plug(usb.plainMicrophone({ product: 'flapping' }), { port: '2' });
    products = (await watcher.poll()).microphones?.map(({ product }) => product) ?? [];
    tree.unplug(flapping);
  }
  expect(products).toContain('steady');
  expect(polls).toBeGreaterThan(2);
  expect(steady.folder).not.toBeNull();
});

test('after a failed scan two must agree anew', async () => {
  const tree = newTree();
  tree.plug(usb.plainMicrophone({ product: 'A' }));
  const watcher = watch(tree, 'by-hand');
  for (let poll = 0; poll < 3; poll += 1) await watcher.poll();
  // A loop of links is an error other than "there is none".
  const announcements = join(tree.root, 'sys/kernel/uevent_seqnum');
  unlinkSync(announcements);
  symlinkSync('uevent_seqnum', announcements);
  expect(inShort(await watcher.poll())).toBe('failed 1 100');
  unlinkSync(announcements);
  tree.write('sys/kernel/uevent_seqnum', '5\n');
  expect(inShort(await watcher.poll())).toBe('failed 1 50');
  expect(inShort(await watcher.poll())).toBe('A 2 100');
});

test('cards that change places are seen, though all devices and all names are the same', async () => {
  const tree = newTree();
  const devices = ['A', 'B'].map((product) => tree.plug(usb.plainMicrophone({ product })));
  const watcher = watch(tree, 'by-hand');
  const cards = async () =>
    Object.fromEntries((await watcher.poll()).microphones?.map(({ product, sound }) => [product, sound?.hw]) ?? []);
  for (let poll = 0; poll < 3; poll += 1) await watcher.poll();
  expect(await cards()).toEqual({ A: 'hw:1,0', B: 'hw:2,0' });
  // As after a reset in which their drivers start anew: nothing was plugged out.
  for (const device of devices) tree.removeCard(device);
  for (const device of devices.toReversed()) tree.addCard(device);
  await cards();
  expect(await cards()).toEqual({ A: 'hw:2,0', B: 'hw:1,0' });
});
