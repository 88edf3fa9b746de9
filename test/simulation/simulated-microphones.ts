/**
 * The port of microphones over simulated USB. Nothing is known before the first scans, and what has changed is known when it
 * was polled and seen twice: until then the list is that of before.
 */
import type { Clock, DependencyState, MicrophoneSource } from '../../services/controller/world.ts';
import { hwOf, isPluggedIn, type Stick, scan } from './simulated-usb.ts';

export interface SimulatedUsb {
  readonly sticks: readonly Stick[];
  readonly usbFails: boolean;
}

export interface SimulatedSourceOptions {
  clock: Clock;
  /** Gets what is to be called when something was plugged, unplugged or mended. */
  onStart: (changed: () => void) => void;
  /** When it was last polled while nothing changed. Polls of a frozen process wait as well. */
  polledAtMs: () => number;
  /** Whether a program has opened this microphone. */
  isHeld: (stick: Stick) => boolean;
}

/** Until two scans agree: the first at once, or at the next poll. */
const FIRST_SCANS_MS = 50;
const NEXT_SCANS_MS = 300;

export function createSimulatedMicrophones(
  usb: SimulatedUsb,
  { clock, onStart, polledAtMs, isHeld }: SimulatedSourceOptions,
): MicrophoneSource {
  const sinceMs = clock.nowMs();
  let isScanned = false;
  let reading: ReturnType<MicrophoneSource['read']> = {
    ok: false,
    error: 'the first USB scan has not finished',
    startedAtMs: sinceMs,
  };
  /** The last poll found another list than that of before: which of both is right, the next ones tell. */
  let disagrees = false;
  let isStopped = false;
  const dependency = (state: DependencyState['state']): DependencyState => ({
    ...{ name: 'usb', state, message: '', sinceMs },
  });
  return {
    start(onChange) {
      const look = (): void => {
        isScanned = true;
        disagrees = false;
        if (isStopped || usb.usbFails) return;
        reading = scan(usb.sticks, false, clock.nowMs());
        onChange();
      };
      onStart(() => {
        disagrees = true;
        clock.timer(NEXT_SCANS_MS, look);
      });
      clock.timer(FIRST_SCANS_MS, look);
    },
    read() {
      // It fails until a look has come to its end again.
      if (isScanned && usb.usbFails) reading = scan(usb.sticks, true, clock.nowMs());
      if (reading.ok && !disagrees && polledAtMs() > reading.startedAtMs)
        reading = { ...reading, startedAtMs: polledAtMs() };
      return reading;
    },
    holder(sound) {
      const stick = usb.sticks.find((one) => isPluggedIn(one) && hwOf(one) === sound.hw);
      return stick !== undefined && isHeld(stick) ? 'pulseaudio (process 4711)' : null;
    },
    dependency: () => dependency(isScanned && !usb.usbFails ? 'up' : 'down'),
    stop() {
      isStopped = true;
    },
  };
}
