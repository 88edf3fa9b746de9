/**
 * Microphone profiles: what a microphone is recognised by and how it is recorded. Their one parser (YAML seeds, the
 * database's jsonb, the page's form), and `negotiate`, which settles profile, hardware and a person's overrides.
 */
import { z } from 'zod';
import { SAMPLE_FORMATS, type SampleFormat } from './contract.ts';

const hex4 = z.string().regex(/^[0-9a-f]{4}$/, 'four hexadecimal digits in lower case, as `lsusb` prints them');

export const profileConfigSchema = z.strictObject({
  match: z.strictObject({
    vid: hex4.nullable().default(null),
    pid: hex4.nullable().default(null),
    /** Part of the product's name, compared without regard to case; `*` stands for anything. */
    name: z.string().min(1).max(100).nullable().default(null),
    /** The higher wins among equal matches. */
    priority: z.int().min(-100).max(100).default(0),
  }),
  audio: z.strictObject({
    /** `native`: what the hardware offers, the nearest rate at or above 48 kHz. */
    rate: z.union([z.literal('native'), z.int().min(4000).max(1_000_000)]),
    channels: z.union([z.literal('native'), z.int().min(1).max(32)]),
    format: z.union([z.literal('native'), z.enum(SAMPLE_FORMATS)]),
  }),
  segmentSeconds: z.int().min(1).max(900).default(60),
  processed: z
    .strictObject({
      gainDb: z.number().min(-60).max(60).default(0),
      highPassHz: z.number().min(0).max(200_000).default(0),
    })
    .default({ gainDb: 0, highPassHz: 0 }),
  archive: z.enum(['wav', 'flac']).default('wav'),
  watch: z
    .strictObject({
      silentBelowDbfs: z.number().min(-200).max(0).default(-90),
      silentAfterSeconds: z.number().min(1).max(3600).default(5),
      clipAtDbfs: z.number().min(-60).max(0).default(-0.1),
    })
    .default({ silentBelowDbfs: -90, silentAfterSeconds: 5, clipAtDbfs: -0.1 }),
});
export type ProfileConfig = z.infer<typeof profileConfigSchema>;

/** What a person may override on one device; null or absent = as the profile says. */
export const deviceSettingsSchema = z.strictObject({
  rate: z.int().min(4000).max(1_000_000).nullish(),
  channels: z.int().min(1).max(32).nullish(),
  format: z.enum(SAMPLE_FORMATS).nullish(),
  segmentSeconds: z.int().min(1).max(900).nullish(),
  gainDb: z.number().min(-60).max(60).nullish(),
  highPassHz: z.number().min(0).max(200_000).nullish(),
  archive: z.enum(['wav', 'flac']).nullish(),
});
export type DeviceSettings = z.infer<typeof deviceSettingsSchema>;

/** One way in which the hardware offers to capture (one altsetting of ALSA's `stream0`). Rates in frames per second. */
export interface CaptureOffer {
  /** ALSA's own name, perhaps one that we cannot write. */
  format: string;
  channels: number;
  rates: { kind: 'list'; values: number[] } | { kind: 'range'; min: number; max: number };
}

/** What a device can capture. Empty: nothing is known, so the profile is taken at its word. */
export interface Capabilities {
  offers: CaptureOffer[];
}

/** What is recorded in the end. */
export interface NegotiatedAudio {
  rate: number;
  channels: number;
  format: SampleFormat;
}
