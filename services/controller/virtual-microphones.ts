/**
 * Microphones that are not there: a synthetic dawn chorus through the same recorder container, so that a station can
 * be tried, shown and tested without hardware. Pure.
 */
import { VIRTUAL_DEVICE } from '../shared/contract.ts';
import { VIRTUAL_PRODUCT_ID, VIRTUAL_VENDOR_ID } from '../shared/profile.ts';
import type { Microphone, Reading } from './world.ts';

/** How many: a fixed number, or `auto`: one while no real one has been seen. */
export type VirtualMicrophones = { kind: 'fixed'; count: number } | { kind: 'auto' };

export interface VirtualMemory {
  /** When this controller first looked, monotonic ms; null: not yet. */
  firstLookMs: number | null;
  plugged: boolean;
  /** A real one has recorded, or was there from the start: none is plugged in any more. */
  retired: boolean;
}

export const emptyVirtualMemory: VirtualMemory = { firstLookMs: null, plugged: false, retired: false };

/** How long `auto` waits for a real microphone. */
export const AUTO_WAIT_MS = 5000;

export interface VirtualInput {
  wanted: VirtualMicrophones;
  scan: Reading<Microphone[]>;
  /** One was there for the controller before this one: what records goes on. */
  wasPlugged: boolean;
  /** Some real microphone records. */
  realRecording: boolean;
  memory: VirtualMemory;
  nowMs: number;
}

/** The virtual microphones that are plugged in now, and when that may change by itself (monotonic ms). */
export function virtualMicrophones(input: VirtualInput): {
  microphones: Microphone[];
  memory: VirtualMemory;
  deadlineMs: number | null;
} {
  const { wanted, nowMs } = input;
  if (wanted.kind === 'fixed') {
    const microphones = Array.from({ length: wanted.count }, (_, index) => virtualMicrophone(index + 1));
    return { microphones, memory: input.memory, deadlineMs: null };
  }
  const firstLookMs = input.memory.firstLookMs ?? nowMs;
  const isPlugged = input.memory.firstLookMs === null ? input.wasPlugged : input.memory.plugged;
  const realThere = input.scan.ok && input.scan.value.some((microphone) => microphone.sound !== null);
  const retired = input.memory.retired || input.realRecording || (realThere && !isPlugged);
  const plugged = !retired && (isPlugged || nowMs - firstLookMs >= AUTO_WAIT_MS);
  return {
    microphones: plugged ? [virtualMicrophone(1)] : [],
    memory: { firstLookMs, plugged, retired },
    deadlineMs: plugged || retired ? null : firstLookMs + AUTO_WAIT_MS,
  };
}

function virtualMicrophone(number: number): Microphone {
  return {
    incarnation: `virtual/${number}#0#-#-`,
    portPath: `virtual/${number}`,
    vendorId: VIRTUAL_VENDOR_ID,
    productId: VIRTUAL_PRODUCT_ID,
    serial: `virtual-${number}`,
    product: `Virtual microphone ${number}`,
    manufacturer: 'Silvasonic',
    kind: 'plain',
    sound: {
      card: -1,
      device: 0,
      hw: VIRTUAL_DEVICE,
      usbDevice: '',
      nodes: [],
      capabilities: { offers: [{ format: 'S16_LE', channels: 1, rates: { kind: 'range', min: 8000, max: 384_000 } }] },
    },
    obstacle: null,
    virtual: true,
  };
}
