/** Microphones that somebody owns, and what a scan tells of those that are plugged in. */
import type { Microphone, Reading } from '../../services/controller/world.ts';
import { VIRTUAL_VENDOR_ID } from '../../services/shared/profile.ts';
import { microphone } from '../unit/sample-world.ts';

/** What it is: two kinds that a profile knows, one that none knows, and one that may be a webcam. */
export type Model = 'umik' | 'rode' | 'plain' | 'webcam';

export interface Stick {
  model: Model;
  serial: string | null;
  /** Where it is plugged in; null: nowhere. */
  port: number | null;
  /** Number of this stay, as the kernel counts devices. */
  stay: number;
  /** The stay that a scan last told of. */
  seenStay: number;
  /** As the kernel gives them out: the lowest that is free. */
  card: number;
  /** Not seen by the next scan though it is there. */
  missed: boolean;
  /** ALSA has not made its card yet. */
  cardLate: boolean;
}

const MODELS: Record<Model, Pick<Microphone, 'vendorId' | 'productId' | 'product' | 'manufacturer' | 'kind'>> = {
  umik: { vendorId: '2752', productId: '0007', product: 'UMIK-1', manufacturer: 'miniDSP', kind: 'plain' },
  rode: { vendorId: '19f7', productId: '0015', product: 'AI-Micro', manufacturer: 'Rode', kind: 'plain' },
  plain: { vendorId: '0d8c', productId: '0014', product: 'USB Audio', manufacturer: '', kind: 'plain' },
  webcam: { vendorId: '046d', productId: '0825', product: 'Webcam', manufacturer: 'Logi', kind: 'composite' },
};

/** What a recorder of a virtual microphone hears: on no port, and nobody can pull it out. */
export const VIRTUAL: Stick = {
  model: 'plain',
  serial: null,
  port: 0,
  stay: 0,
  seenStay: 0,
  card: -1,
  missed: false,
  cardLate: false,
};
export const isVirtual = (row: { vendorId: string }): boolean => row.vendorId === VIRTUAL_VENDOR_ID;

export const isPluggedIn = (stick: Stick): boolean => stick.port !== null;
/** Asked for at every look at every row: the texts are made once. */
const PORT_PATHS = Array.from({ length: 32 }, (_, port) => `pci0000:00/0000:00:14.0/0/${port}`);
export const portPathOf = ({ port }: Stick): string => PORT_PATHS[port ?? -1] ?? 'nowhere';
export const hwOf = ({ card }: Stick): string => `hw:${card},0`;

/** Is it the device that a row remembers, by what it says of itself? */
export function bears(stick: Stick, row: { vendorId: string; productId: string; serial: string | null }): boolean {
  const { vendorId, productId } = MODELS[stick.model];
  return row.vendorId === vendorId && row.productId === productId && row.serial === stick.serial;
}

/** Of one stay the same object in every scan, as the real source keeps what it has read. */
const known = new WeakMap<Stick, { key: string; microphone: Microphone }>();

/** The microphone that a stick is while it is plugged in. */
export function seenAs(stick: Stick): Microphone {
  const key = `${stick.port}#${stick.stay}#${stick.card}#${stick.cardLate}`;
  const before = known.get(stick);
  if (before?.key === key) return before.microphone;
  const seen = look(stick);
  known.set(stick, { key, microphone: seen });
  return seen;
}

function look(stick: Stick): Microphone {
  const { stay, card, serial } = stick;
  const { vendorId, productId } = MODELS[stick.model];
  const usbDevice = `001/${String(stay).padStart(3, '0')} ${vendorId}:${productId}`;
  const portPath = portPathOf(stick);
  const minor = 4 + card * 2;
  const nodes = [
    { path: `/dev/snd/controlC${card}`, major: 116, minor },
    { path: `/dev/snd/pcmC${card}D0c`, major: 116, minor: minor + 1 },
  ];
  const sample = microphone();
  const incarnation = `${portPath}#${stay}#${card}#116:${minor},116:${minor + 1}`;
  const there: Microphone = { ...sample, ...MODELS[stick.model], portPath, serial, incarnation };
  if (there.sound === null) throw new Error('The sample microphone has lost its sound.');
  if (!stick.cardLate) return { ...there, sound: { ...there.sound, card, hw: hwOf(stick), usbDevice, nodes } };
  const obstacle = { reason: 'WaitingForSound', message: 'Waiting for the sound system.', lasting: false };
  return { ...there, incarnation: `${portPath}#${stay}#-#-`, sound: null, obstacle };
}

export function scan(sticks: readonly Stick[], fails: boolean, startedAtMs: number): Reading<Microphone[]> {
  if (fails) return { ok: false, error: 'EIO', startedAtMs };
  return {
    ok: true,
    value: sticks
      .filter((stick) => isPluggedIn(stick) && !stick.missed)
      .map((stick) => {
        stick.seenStay = stick.stay;
        return seenAs(stick);
      }),
    startedAtMs,
  };
}

/** A new stay on a port: another device number, and the lowest card that nobody has. */
export function plugIn(stick: Stick, port: number, sticks: readonly Stick[]): void {
  const taken = new Set(sticks.filter((other) => other !== stick && isPluggedIn(other)).map(({ card }) => card));
  let card = 1;
  while (taken.has(card)) card += 1;
  Object.assign(stick, { port, card, stay: 1 + Math.max(0, ...sticks.map(({ stay }) => stay)) });
}
