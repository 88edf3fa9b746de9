/** What a change of a profile costs: whose recording it interrupts; and how a profile differs from what came with the station. */
import { negotiate } from '../shared/negotiate.ts';
import {
  canonicalJson,
  capabilitiesSchema,
  captureHash,
  type ProfileConfig,
  type SeedProfile,
} from '../shared/profile.ts';
import { CONFIG_FIELDS } from './profile-form.ts';
import type { DevicePicture } from './station-picture.ts';
import type { ProfileRow } from './station-queries.ts';

/** Those that record now with this profile, and would begin a new file with the other config. */
export function interruptedBy(
  devices: readonly DevicePicture[],
  profile: ProfileRow,
  config: ProfileConfig,
  seed: SeedProfile | undefined,
): DevicePicture[] {
  const users = devices.filter(({ row }) => row.profileSlug === profile.slug && row.phase === 'recording');
  const shipped = profile.isSystem && seed !== undefined ? captureHash(seed.config) : null;
  return users.filter((device) => captured(device, profile.config, shipped) !== captured(device, config, shipped));
}

/**
 * What decides whether the controller replaces a recorder. What a release ships waits for the next restart, so while a
 * profile is as shipped only that counts.
 */
function captured({ row }: DevicePicture, config: ProfileConfig | null, shipped: string | null): string {
  if (config === null) return 'unreadable';
  if (shipped !== null && captureHash(config) === shipped) return 'as shipped';
  const capabilities = capabilitiesSchema.safeParse(row.capabilities).data ?? { offers: [] };
  const outcome = negotiate(config, capabilities, row.settings);
  if (!outcome.ok) return outcome.reason;
  const { audio, segmentSeconds } = outcome;
  return canonicalJson({ audio, segmentSeconds, watch: config.watch });
}

export interface Difference {
  /** A field's path. */
  field: string;
  here: string;
  shipped: string;
}

/** Field by field; empty: it is as it came. */
export function differences(profile: ProfileRow, seed: SeedProfile): Difference[] {
  const words = (['name', 'description', 'manufacturer', 'model'] as const).map((field) => ({
    field,
    here: profile[field],
    shipped: seed[field],
  }));
  const config = Object.keys(CONFIG_FIELDS).map((field) => ({
    field,
    here: profile.config === null ? '?' : valueAt(profile.config, field),
    shipped: valueAt(seed.config, field),
  }));
  return [...words, ...config].filter(({ here, shipped }) => here !== shipped);
}

function valueAt(config: ProfileConfig, path: string): string {
  let value: unknown = config;
  for (const key of path.split('.'))
    value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : null;
  return value === null || value === undefined ? '' : String(value);
}
