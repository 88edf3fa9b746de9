/** The sources of microphones of the tests keep the contract of the port. */
import { createSimulatedClock } from '../simulation/simulated-clock.ts';
import { createSimulatedMicrophones } from '../simulation/simulated-microphones.ts';
import { hwOf, isPluggedIn, plugIn, type Stick, seenAs } from '../simulation/simulated-usb.ts';
import { createManualClock, createWorld } from '../unit/in-memory-world.ts';
import { askedSource } from './asked-source.ts';
import { describeMicrophones, type MicrophonesHarness } from './microphones-contract.ts';
import { passing } from './passing-time.ts';

const SEVERAL_LOOKS_MS = 2000;

/** What somebody owns, and does with it; `changed` is called after each deed. */
function createHands(sticks: Stick[], changed: () => void) {
  const at = (port: number): Stick => {
    const stick = sticks.find((one) => one.port === port);
    if (stick === undefined) throw new Error(`Nothing is plugged in at port ${port}.`);
    return stick;
  };
  const change = (stick: Stick, to: Partial<Stick>): void => {
    Object.assign(stick, to);
    changed();
  };
  return {
    at,
    plug(port: number, serial: string | null, sound?: 'later') {
      const fresh: Stick = {
        ...{ model: 'umik', serial, port: null, stay: 0, seenStay: 0, card: 0, missed: false, cardLate: false },
      };
      // What was plugged in before is the same thing again, wherever it is plugged in now.
      const stick = sticks.find((one) => one.port === null && one.serial === serial) ?? fresh;
      if (stick === fresh) sticks.push(fresh);
      plugIn(stick, port, sticks);
      change(stick, { cardLate: sound === 'later' });
    },
    unplug: (port: number) => change(at(port), { port: null }),
    makeCard: (port: number) => change(at(port), { cardLate: false }),
    renumberCard: (port: number) => change(at(port), { card: at(port).card + 1 }),
    swapCards(one: number, other: number) {
      const [a, b] = [at(one), at(other)];
      [a.card, b.card] = [b.card, a.card];
      changed();
    },
    miss: (port: number) => change(at(port), { missed: true }),
    findAgain: (port: number) => change(at(port), { missed: false }),
  };
}

describeMicrophones('simulated', async (): Promise<MicrophonesHarness> => {
  const clock = createSimulatedClock();
  const usb = { sticks: [] as Stick[], usbFails: false };
  const held = new Set<Stick>();
  let changed = (): void => {};
  const source = createSimulatedMicrophones(usb, {
    clock: clock.view(() => true),
    onStart: (callback) => {
      changed = callback;
    },
    polledAtMs: clock.nowMs,
    isHeld: (stick) => held.has(stick),
  });
  const { at, ...hands } = createHands(usb.sticks, () => changed());
  const { until } = passing((byMs) => clock.advance(byMs));
  return {
    source: askedSource(source),
    ...hands,
    until,
    pass: () => clock.advance(SEVERAL_LOOKS_MS),
    breakScans: () => void Object.assign(usb, { usbFails: true }),
    mendScans() {
      usb.usbFails = false;
      changed();
    },
    hold: (port) => void held.add(at(port)),
    close: async () => source.stop(),
  };
});

describeMicrophones('in memory', async (): Promise<MicrophonesHarness> => {
  const clock = createManualClock();
  const { state, ports } = createWorld(clock);
  const sticks: Stick[] = [];
  const { at, ...hands } = createHands(sticks, () => {
    state.plugged = sticks.filter((stick) => isPluggedIn(stick) && !stick.missed).map(seenAs);
    ports.microphones.changed();
  });
  const { until } = passing((byMs) => clock.advance(byMs));
  return {
    source: askedSource(ports.microphones),
    ...hands,
    until,
    pass: () => clock.advance(SEVERAL_LOOKS_MS),
    breakScans: () => void Object.assign(state, { usbFails: true }),
    mendScans() {
      state.usbFails = false;
      ports.microphones.changed();
    },
    hold: (port) => void state.holders.set(hwOf(at(port)), 'pulseaudio (process 4711)'),
    close: async () => ports.microphones.stop(),
  };
});
