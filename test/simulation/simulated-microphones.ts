/** The port of microphones over simulated USB: nothing is known before the first scans, nor is a change told while scans fail. */
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
  /** Whether a program has opened this microphone. */
  isHeld: (stick: Stick) => boolean;
}

/** Two scans that agree. */
const FIRST_SCANS_MS = 50;

export function createSimulatedMicrophones(
  usb: SimulatedUsb,
  { clock, onStart, isHeld }: SimulatedSourceOptions,
): MicrophoneSource {
  const sinceMs = clock.nowMs();
  let isScanned = false;
  let isStopped = false;
  const dependency = (state: DependencyState['state']): DependencyState => ({
    ...{ name: 'usb', state, message: '', sinceMs },
  });
  return {
    start(onChange) {
      const changed = (): void => {
        if (isScanned && !isStopped && !usb.usbFails) onChange();
      };
      onStart(changed);
      clock.timer(FIRST_SCANS_MS, () => {
        isScanned = true;
        changed();
      });
    },
    read: () =>
      isScanned
        ? scan(usb.sticks, usb.usbFails, clock.nowMs())
        : { ok: false, error: 'the first USB scan has not finished', startedAtMs: sinceMs },
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
