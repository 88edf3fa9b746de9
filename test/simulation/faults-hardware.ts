/** Plugs that come and go, and a USB that cannot be read. */
import { type Fault, lasting } from './fault.ts';
import { plugsChanged } from './invariants.ts';
import type { Random } from './random.ts';
import { note, type Run, seenAgain } from './run.ts';
import { isPluggedIn, type Model, plugIn, type Stick } from './simulated-usb.ts';

const PORTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const MOST_STICKS = 6;

function plugged(run: Run, what: string, ...sticks: Stick[]): void {
  for (const { model, serial, port, stay, card } of sticks)
    note(run, () => `  ${what} ${model} ${serial}: port ${port}, stay ${stay}, card ${card}`);
  plugsChanged(run);
  run.station.plugChanged();
}

function freePort(run: Run, random: Random): number {
  const taken = new Set(run.station.sticks.map(({ port }) => port));
  return random.pick(PORTS.filter((port) => !taken.has(port)));
}

/** ALSA makes the card a moment after USB shows the device; sometimes much later. */
function arrive(run: Run, random: Random, stick: Stick, port: number): void {
  plugIn(stick, port, run.station.sticks);
  stick.cardLate = random.chance(0.3);
  const { stay } = stick;
  if (!stick.cardLate) return;
  run.station.clock.after(random.pick([100, 900, 5000, 20_000]), () => {
    if (stick.stay !== stay) return;
    stick.cardLate = false;
    run.station.plugChanged();
  });
}

/** One of those that are plugged in, or are not. */
function pickStick(run: Run, random: Random, pluggedIn: boolean): Stick | null {
  const sticks = run.station.sticks.filter((stick) => isPluggedIn(stick) === pluggedIn);
  return sticks.length === 0 ? null : random.pick(sticks);
}

const onPlugged = (name: string, happen: (run: Run, random: Random, stick: Stick, port: number) => void): Fault => ({
  name,
  happen(run, random) {
    const stick = pickStick(run, random, true);
    if (stick === null || stick.port === null) return false;
    happen(run, random, stick, stick.port);
    return true;
  },
});

export const hardwareFaults: readonly Fault[] = [
  onPlugged('unplugged', (run, _random, stick) => {
    stick.port = null;
    plugged(run, 'unplugged', stick);
  }),
  {
    name: 'plugged in',
    happen(run, random) {
      const stick = pickStick(run, random, false);
      if (stick === null) return false;
      arrive(run, random, stick, freePort(run, random));
      plugged(run, 'plugged in', stick);
      return true;
    },
  },
  onPlugged('replugged', (run, random, stick, port) => {
    arrive(run, random, stick, port);
    plugged(run, 'replugged', stick);
  }),
  onPlugged('plug flaps', (run, random, stick, port) => {
    for (let time = 0; time < 6; time += 1)
      run.station.clock.after(time * 900, () => {
        if (stick.port !== port) return;
        arrive(run, random, stick, port);
        plugged(run, 'flapped', stick);
      });
  }),
  onPlugged('moved to another port', (run, random, stick) => {
    arrive(run, random, stick, freePort(run, random));
    plugged(run, 'moved', stick);
  }),
  {
    name: 'two swap their ports',
    happen(run, random) {
      const [a, b] = run.station.sticks.filter(isPluggedIn);
      if (a?.port == null || b?.port == null) return false;
      const [portOfA, portOfB] = [a.port, b.port];
      a.port = null;
      arrive(run, random, b, portOfA);
      arrive(run, random, a, portOfB);
      plugged(run, 'swapped', a, b);
      return true;
    },
  },
  {
    name: 'hub reset, all renumbered',
    happen(run, random) {
      const all = run.station.sticks.filter(isPluggedIn).map((stick) => ({ stick, port: stick.port ?? 0 }));
      if (all.length === 0) return false;
      for (const { stick } of all) stick.port = null;
      for (const { stick, port } of all.reverse()) arrive(run, random, stick, port);
      plugged(run, 'renumbered', ...all.map(({ stick }) => stick));
      return true;
    },
  },
  {
    name: 'a new microphone',
    happen(run, random) {
      const { sticks } = run.station;
      if (sticks.length >= MOST_STICKS) return false;
      const model = random.pick<Model>(['umik', 'rode', 'plain', 'webcam']);
      const serial = random.pick([null, 'A1', 'A1', 'B2', `N${sticks.length}`]);
      const stick: Stick = { model, serial, port: null, stay: 0, seenStay: 0, card: 0, missed: false, cardLate: false };
      sticks.push(stick);
      arrive(run, random, stick, freePort(run, random));
      plugged(run, 'new:', stick);
      return true;
    },
  },
  onPlugged('scans miss one', (run, random, stick) => {
    stick.missed = true;
    run.station.plugChanged();
    // Less than the grace: the same stay must be the same thing.
    run.station.clock.after(random.pick([50, 300, 2500]), () => {
      stick.missed = false;
      run.station.plugChanged();
    });
  }),
  lasting(
    'USB cannot be read',
    (run) => void Object.assign(run.station, { usbFails: true }),
    (run) => {
      run.station.usbFails = false;
      seenAgain(run);
      run.station.plugChanged();
    },
  ),
];
