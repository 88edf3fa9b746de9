/** Images that are fetched: how often a registry is asked for one. */
import { expect, test } from 'vitest';
import { createImagePulls } from '../../services/controller/image-pulls.ts';
import type { Engine } from '../../services/controller/world.ts';
import { createInMemoryRegistry, createPull } from './in-memory-registry.ts';
import { createManualClock, quietLog } from './in-memory-world.ts';

const REFERENCE = 'registry.example/helper:1';

/** An engine that files what it fetched where `keep` puts it, and when it asked its registry, in seconds. */
function fetching(keep: (images: Set<string>, reference: string) => void) {
  const clock = createManualClock();
  const registry = createInMemoryRegistry();
  registry.images.set(REFERENCE, { id: 'sha256:helper', bytes: 20_000_000 });
  const images = new Set<string>();
  const askedAt: number[] = [];
  const pull = createPull(registry, {
    sleep: (delayMs) => new Promise((resolve) => void clock.timer(delayMs, resolve)),
    isAway: () => false,
    isHanging: () => false,
    keep: (reference) => keep(images, reference),
  });
  const engine = {
    pull: (...given: Parameters<Engine['pull']>) => {
      askedAt.push(clock.nowMs() / 1000);
      return pull(...given);
    },
  } as Engine;
  const pulls = createImagePulls({ clock, engine, log: quietLog, onChange: () => look() });
  const look = (): void => pulls.want(images.has(REFERENCE) ? [] : [REFERENCE]);
  look();
  return { clock, registry, images, askedAt, pulls, look };
}

test('one that is found after it was fetched is not asked for again', async () => {
  const { clock, images, askedAt, pulls, look } = fetching((kept, reference) => kept.add(reference));
  await clock.advance(3_600_000);
  expect([...images]).toEqual([REFERENCE]);
  expect(askedAt).toEqual([0]);
  expect(pulls.states().size).toBe(0);
  // Cleared away by somebody, it is fetched at once.
  images.clear();
  look();
  expect(askedAt).toEqual([0, 3600]);
});

test('one that an engine files under another name is asked for later and later, not on and on', async () => {
  const { clock, askedAt, pulls } = fetching((kept) => kept.add('other.example/helper:1'));
  await clock.advance(3_600_000);
  const gaps = askedAt.slice(1).map((at, index) => at - (askedAt[index] ?? 0));
  expect(gaps.map((gap) => Math.round(gap - 2))).toEqual(
    [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600].slice(0, gaps.length),
  );
  expect(gaps.length).toBeGreaterThan(8);
  expect(pulls.states().get(REFERENCE)?.message).toContain('it is looked for');
});

test('one whose registry is away is asked for later and later, and says so', async () => {
  const { clock, registry, askedAt, pulls } = fetching((kept, reference) => kept.add(reference));
  registry.away = true;
  await clock.advance(200_000);
  expect(pulls.states().get(REFERENCE)).toMatchObject({ kind: 'waiting' });
  expect(pulls.states().get(REFERENCE)?.message).toContain('connection refused. It is tried again by itself.');
  expect(askedAt.map(Math.floor)).toEqual([0, 5, 15, 35, 75, 155]);
});
