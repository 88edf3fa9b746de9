/** What every source of microphones behind its port does: the same cases for the fakes and for the real one on emulated USB. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DependencyState, Microphone, Reading, SoundCard } from '../../services/controller/world.ts';

/** A source as it is asked across processes: the real one sees its emulated USB only in a process of its own. */
export interface AskedSource {
  start(): Promise<void>;
  read(): Promise<Asked>;
  holder(sound: SoundCard): Promise<string | null>;
  stop(): Promise<void>;
}

/** One answer, all of one moment. */
export interface Asked {
  reading: Reading<Microphone[]>;
  /** A number for each microphone of the reading: the same number, the same object. */
  identities: number[];
  /** How often `onChange` was called so far. */
  changes: number;
  dependency: Pick<DependencyState, 'state' | 'message'>;
}

/** A source that is not started yet, on a machine with nothing plugged in; and hands to plug. All are of one make. */
export interface MicrophonesHarness {
  source: AskedSource;
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
  /** Comes back when so much time has passed: several looks. */
  pass(): Promise<void>;
  plug(port: number, serial: string | null, sound?: 'later'): void;
  unplug(port: number): void;
  /** ALSA makes the card that came later. */
  makeCard(port: number): void;
  /** The card goes and comes with another number, while the device stays. */
  renumberCard(port: number): void;
  /** The cards of two devices go and come, each with the number that the other one had. */
  swapCards(port: number, other: number): void;
  /** The very same stay is not found for a while. */
  miss(port: number): void;
  findAgain(port: number): void;
  breakScans(): void;
  mendScans(): void;
  /** A program opens the microphone. */
  hold(port: number): void;
  close(): Promise<void>;
}

export function describeMicrophones(implementation: string, open: () => Promise<MicrophonesHarness>): void {
  describe(`the port of microphones: ${implementation}`, () => {
    let harness: MicrophonesHarness;
    beforeEach(async () => {
      harness = await open();
    });
    afterEach(() => harness?.close());
    const context = createContext(() => harness);
    describe('what is plugged in', () => describePlugs(context));
    describe('one stay', () => describeStays(context));
    describe('scans', () => describeScans(context));
  });
}

interface Context {
  harness(): MicrophonesHarness;
  ask(): Promise<Asked>;
  /** Started, and its first list is there. */
  start(): Promise<void>;
  /** The list when it fulfils this, in the order of the ports: in which order they are listed is nobody's business. */
  listed(what: string, fulfils: (list: readonly Microphone[]) => boolean): Promise<Microphone[]>;
  /** The only one there is, when it has its sound card. */
  recordable(): Promise<Microphone>;
  /** The two that there are, when both have theirs. */
  recordableBoth(): Promise<Microphone[]>;
}

function createContext(harness: () => MicrophonesHarness): Context {
  const ask = () => harness().source.read();
  const listed: Context['listed'] = async (what, fulfils) => {
    let found: Microphone[] = [];
    await harness().until(what, async () => {
      const { reading } = await ask();
      found = reading.ok ? [...reading.value].sort((a, b) => (a.portPath < b.portPath ? -1 : 1)) : [];
      return reading.ok && fulfils(found);
    });
    return found;
  };
  return {
    harness,
    ask,
    listed,
    async start() {
      await harness().source.start();
      await harness().until('the first list is there', async () => (await ask()).reading.ok);
    },
    async recordable() {
      const [only] = await listed('one can be recorded', (list) => list.length === 1 && list[0]?.sound !== null);
      if (only === undefined) throw new Error('There is none.');
      return only;
    },
    recordableBoth: () =>
      listed('both can be recorded', (list) => list.length === 2 && list.every(({ sound }) => sound !== null)),
  };
}

const portOf = ({ portPath }: Microphone): string => portPath.split('/').at(-1) ?? '';

function describePlugs({ harness, ask, start, listed, recordable, recordableBoth }: Context): void {
  test('one that is plugged in is described, and told', async () => {
    await start();
    const before = (await ask()).changes;
    harness().plug(4, '000-0000');
    const { sound, incarnation, ...facts } = await recordable();
    expect(facts).toEqual({
      portPath: 'pci0000:00/0000:00:14.0/0/4',
      ...{ vendorId: '2752', productId: '0007', serial: '000-0000', product: 'UMIK-1', manufacturer: 'miniDSP' },
      ...{ kind: 'plain', obstacle: null, virtual: false },
    });
    expect(sound).toEqual({
      ...{ card: expect.any(Number), device: 0, hw: `hw:${sound?.card},0` },
      usbDevice: expect.stringMatching(/^\d{3}\/\d{3} 2752:0007$/),
      nodes: [`/dev/snd/controlC${sound?.card}`, `/dev/snd/pcmC${sound?.card}D0c`].map((path) => ({
        ...{ path, major: 116, minor: expect.any(Number) },
      })),
      capabilities: { offers: expect.arrayContaining([expect.objectContaining({ channels: expect.any(Number) })]) },
    });
    expect(incarnation).not.toBe('');
    expect((await ask()).changes).toBeGreaterThan(before);
  });

  test('one that is unplugged is gone, and that is told', async () => {
    await start();
    harness().plug(1, 'A1');
    await recordable();
    const before = (await ask()).changes;
    harness().unplug(1);
    await listed('it is gone', (list) => list.length === 0);
    expect((await ask()).changes).toBeGreaterThan(before);
  });

  test('what was there before the source began is found too', async () => {
    harness().plug(1, 'A1');
    harness().plug(2, null);
    await start();
    const found = await listed('both are there', (list) => list.length === 2);
    expect(found.map(({ serial }) => serial)).toEqual(['A1', null]);
  });

  test('in whatever order they come and go, each is at its port', async () => {
    await start();
    for (const port of [3, 1, 2]) harness().plug(port, `N${port}`);
    const three = await listed('all are there', (list) => list.length === 3);
    expect(three.map((one) => [portOf(one), one.serial])).toEqual([
      ['1', 'N1'],
      ['2', 'N2'],
      ['3', 'N3'],
    ]);
    harness().unplug(1);
    const two = await listed('one is gone', (list) => list.length === 2);
    expect(two).toEqual(three.slice(1));
  });

  test('two of one make with one serial are two: another port, another incarnation, another card', async () => {
    await start();
    harness().plug(1, '000-0000');
    harness().plug(2, '000-0000');
    const twins = await recordableBoth();
    expect(twins.map(({ serial }) => serial)).toEqual(['000-0000', '000-0000']);
    for (const of of [
      portOf,
      ({ incarnation }: Microphone) => incarnation,
      ({ sound }: Microphone) => sound?.hw,
      ({ sound }: Microphone) => sound?.usbDevice,
    ])
      expect(new Set(twins.map(of)).size).toBe(2);
    harness().unplug(1);
    expect(await listed('one is gone', (list) => list.length === 1)).toEqual(twins.slice(1));
  });
}

function describeStays({ harness, ask, start, listed, recordable, recordableBoth }: Context): void {
  test('while nothing changes it is the same object, and nothing is told', async () => {
    await start();
    harness().plug(1, 'A1');
    await recordable();
    const before = await ask();
    await harness().pass();
    const after = await ask();
    expect(after.reading.ok && before.reading.ok && after.reading.value).toEqual(
      before.reading.ok && before.reading.value,
    );
    expect(after.identities).toEqual(before.identities);
    expect(after.changes).toBe(before.changes);
  });

  test('what happens to another one leaves it the same object', async () => {
    await start();
    harness().plug(1, 'A1');
    await recordable();
    const [identity] = (await ask()).identities;
    harness().plug(2, 'B2');
    await recordableBoth();
    expect((await ask()).identities).toContain(identity);
    harness().unplug(2);
    await listed('the other one is gone', (list) => list.length === 1);
    expect((await ask()).identities).toEqual([identity]);
  });

  test('a replug is another incarnation on the same port, and none comes back', async () => {
    await start();
    const seen: Microphone[] = [];
    for (const port of [1, 1, 2, 1]) {
      harness().plug(port, 'A1');
      const isNew = ({ incarnation }: Microphone): boolean => seen.every((one) => one.incarnation !== incarnation);
      const [found] = await listed(
        'a new stay can be recorded',
        (list) => list.length === 1 && list.every((one) => one.sound !== null && isNew(one)),
      );
      if (found !== undefined) seen.push(found);
      harness().unplug(port);
    }
    expect(seen.map(portOf)).toEqual(['1', '1', '2', '1']);
    expect(new Set(seen.map(({ sound }) => sound?.usbDevice)).size).toBe(seen.length);
  });

  test('a sound card that comes late: until then it waits, then it is told as another incarnation', async () => {
    await start();
    harness().plug(1, 'A1', 'later');
    const [waiting] = await listed('it is there', (list) => list.length === 1);
    expect(waiting).toMatchObject({ sound: null, obstacle: { reason: 'WaitingForSound', lasting: false } });
    const before = (await ask()).changes;
    harness().makeCard(1);
    const ready = await recordable();
    expect(ready).toMatchObject({ portPath: waiting?.portPath, serial: 'A1', obstacle: null });
    expect(ready.incarnation).not.toBe(waiting?.incarnation);
    expect((await ask()).changes).toBeGreaterThan(before);
  });

  test('a card that is numbered anew makes another incarnation: what was opened on the old one is dead', async () => {
    await start();
    harness().plug(1, 'A1');
    const before = await recordable();
    harness().renumberCard(1);
    const [after] = await listed('it has another card', ([one]) => one?.sound?.hw !== before.sound?.hw && !!one?.sound);
    expect(after?.portPath).toBe(before.portPath);
    expect(after?.incarnation).not.toBe(before.incarnation);
  });

  test('two cards that change places: each device has the other card, and is another incarnation', async () => {
    await start();
    harness().plug(1, 'A1');
    harness().plug(2, 'B2');
    const before = await recordableBoth();
    harness().swapCards(1, 2);
    const after = await listed('each has the other card', (list) =>
      list.every(({ sound }, index) => sound !== null && sound.hw === before[1 - index]?.sound?.hw),
    );
    expect(after.map(({ serial }) => serial)).toEqual(['A1', 'B2']);
    const incarnations = [...before, ...after].map(({ incarnation }) => incarnation);
    expect(new Set(incarnations).size).toBe(4);
  });

  test('one that was not found for a while is the same incarnation again', async () => {
    await start();
    harness().plug(1, 'A1');
    harness().plug(2, 'B2');
    const both = await recordableBoth();
    harness().miss(1);
    expect(await listed('it is missed', (list) => list.length === 1)).toEqual(both.slice(1));
    harness().findAgain(1);
    expect(
      await listed('it is found', (list) => list.length === 2 && list.every(({ sound }) => sound !== null)),
    ).toEqual(both);
  });

  test('who holds a microphone is named in a line; of one that nobody holds, nobody', async () => {
    await start();
    harness().plug(1, 'A1');
    harness().plug(2, 'B2');
    const both = await recordableBoth();
    const holders = () =>
      Promise.all(both.map(({ sound }) => (sound === null ? 'no card' : harness().source.holder(sound))));
    expect(await holders()).toEqual([null, null]);
    harness().hold(2);
    expect(await holders()).toEqual([null, expect.stringMatching(/^\S.*\(process \d+\)$/)]);
  });
}

function describeScans({ harness, ask, start, listed, recordable, recordableBoth }: Context): void {
  const SENTENCE = expect.stringMatching(/\S{3}/);

  test('before the first scans have agreed nothing is known: that is a failure, not an empty list', async () => {
    harness().plug(1, 'A1');
    const before = await ask();
    expect(before).toMatchObject({
      ...{ reading: { ok: false, error: SENTENCE }, changes: 0, dependency: { state: 'down' } },
    });
    await start();
    await recordable();
    expect((await ask()).changes).toBeGreaterThan(0);
    expect((await ask()).dependency.state).toBe('up');
  });

  test('a scan that fails is a failure, not an empty list; when it works again that is told, and all are as they were', async () => {
    await start();
    harness().plug(1, 'A1');
    harness().plug(2, 'B2');
    const both = await recordableBoth();
    const before = (await ask()).changes;
    harness().breakScans();
    await harness().until('the scan fails', async () => !(await ask()).reading.ok);
    await harness().pass();
    const failed = await ask();
    expect(failed).toMatchObject({ reading: { ok: false, error: SENTENCE }, dependency: { state: 'down' } });
    expect(failed.changes).toBe(before);
    harness().mendScans();
    expect(await listed('it works again', () => true)).toEqual(both);
    expect((await ask()).changes).toBeGreaterThan(before);
    expect((await ask()).dependency.state).toBe('up');
  });

  test('a replug while scans fail is not told, and found when they work again', async () => {
    await start();
    harness().plug(1, 'A1');
    const before = await recordable();
    harness().breakScans();
    await harness().until('the scan fails', async () => !(await ask()).reading.ok);
    const told = (await ask()).changes;
    harness().unplug(1);
    harness().plug(1, 'A1');
    await harness().pass();
    expect(await ask()).toMatchObject({ changes: told, reading: { ok: false } });
    harness().mendScans();
    await harness().until('it works again', async () => (await ask()).reading.ok);
    expect((await recordable()).incarnation).not.toBe(before.incarnation);
  });

  test('after the end nothing is told any more', async () => {
    await start();
    await harness().source.stop();
    const before = (await ask()).changes;
    harness().plug(1, 'A1');
    await harness().pass();
    expect((await ask()).changes).toBe(before);
  });
}
