/**
 * Is a card still the microphone that this recorder is to hear? Looked up in `/proc/asound`, where ALSA says which USB
 * device each of its cards is of. Sound of another microphone under this one's name would be worse than a gap.
 */
import { existsSync, readFileSync } from 'node:fs';
import { RECORDER_EXIT, type UsbDevice } from '../shared/recording.ts';
import type { Log } from './log.ts';
import type { CaptureEnd } from './source.ts';

/** Null: as far as can be seen it is the right one. */
export type CardCheck = () => CaptureEnd | null;

/** What was asked for, and where it is looked up. */
export interface ExpectedCard {
  /** `hw:1,0`. */
  device: string;
  /** Null: nobody said which one, and any is right. */
  usbDevice: UsbDevice | null;
  log: Log;
  procPath?: string;
}

/**
 * A card that cannot be looked up is recorded rather than refused, and that is logged once: some engines hide
 * `/proc/asound`, and not every driver says which USB device its card is of.
 */
export function createCardCheck({ device, usbDevice, log, procPath = '/proc' }: ExpectedCard): CardCheck {
  const card = /^hw:(\d+),/.exec(device)?.[1];
  const expected = usbDevice;
  let told = false;
  if (expected === null || card === undefined) return () => null;
  return () => {
    const found = readCard(`${procPath}/asound`, card);
    if (found === 'no card') return another(device, expected, 'there is no such card');
    const { place, model } = found;
    if ((place ?? expected.place) !== expected.place || (model ?? expected.model) !== expected.model)
      return another(device, expected, `it is ${place ?? 'somewhere'} (${model ?? 'of an unknown kind'})`);
    if (place === null && !told) {
      told = true;
      const message = `Whether ${device} is the USB device ${nameOf(expected)} cannot be seen in /proc/asound: it is recorded as it is.`;
      log('warn', message, { reason: 'MicrophoneUnchecked' });
    }
    return null;
  };
}

/** Null: ALSA does not say, or it is hidden. */
function readCard(asoundPath: string, card: string): { place: string | null; model: string | null } | 'no card' {
  const folder = `${asoundPath}/card${card}`;
  // Where the list can be seen, a card without a folder is not there: whatever its number leads to is not ours.
  if (existsSync(`${asoundPath}/cards`) && !existsSync(folder)) return 'no card';
  return { place: read(`${folder}/usbbus`), model: read(`${folder}/usbid`) };
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

const nameOf = ({ place, model }: UsbDevice): string => `${place} (${model})`;

function another(device: string, expected: UsbDevice, found: string): CaptureEnd {
  const message = `The microphone is not ${device} any more: that was to be the USB device ${nameOf(expected)}, and ${found}. Nothing of it is kept; the controller looks where the microphone is now.`;
  return { exitCode: RECORDER_EXIT.microphoneGone, reason: 'AnotherMicrophone', message };
}
