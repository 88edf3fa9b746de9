/** Whom a change of a profile interrupts, and what differs from how it came. */
import { describe, expect, test } from 'vitest';
import { type ProfileConfig, profileConfigSchema, type SeedProfile } from '../../services/shared/profile.ts';
import { differences, interruptedBy } from '../../services/web/profile-impact.ts';
import type { DevicePicture } from '../../services/web/station-picture.ts';
import type { DeviceRow, ProfileRow } from '../../services/web/station-queries.ts';

const config = (given: object = {}): ProfileConfig =>
  profileConfigSchema.parse({ match: {}, audio: { rate: 'native', channels: 'native', format: 'native' }, ...given });
const profile = (given: Partial<ProfileRow> = {}): ProfileRow => ({
  slug: 'kind',
  name: 'Kind',
  description: '',
  manufacturer: '',
  model: '',
  isSystem: false,
  seedHash: null,
  config: config(),
  problem: null,
  ...given,
});
const seed = (given: Partial<SeedProfile> = {}): SeedProfile => ({
  slug: 'kind',
  name: 'Kind',
  description: '',
  manufacturer: '',
  model: '',
  config: config(),
  ...given,
});

function device(given: Partial<DeviceRow> = {}): DevicePicture {
  const moment = new Date(0);
  const row: DeviceRow = {
    id: 'usb-1',
    name: 'One',
    vendorId: '2752',
    productId: '0007',
    serial: null,
    serialShared: false,
    portPath: '1-1',
    product: 'One',
    manufacturer: '',
    capabilities: { offers: [{ format: 'S16_LE', channels: 2, rates: { kind: 'list', values: [48_000, 96_000] } }] },
    status: 'online',
    enabled: true,
    enrollmentStatus: 'enrolled',
    decidedBy: 'auto',
    profileSlug: 'kind',
    suggestedProfile: null,
    settings: {},
    settingsProblem: null,
    restartToken: '',
    workspace: 'one-00000000',
    firstSeen: moment,
    lastSeen: moment,
    phase: 'recording',
    generation: 1,
    observedGeneration: 1,
    reason: '',
    message: '',
    phaseSince: moment,
    ...given,
  };
  return { row, profile: null, status: null, inEffect: true, updateWaiting: false };
}

const interrupts = (
  to: ProfileConfig,
  given: { from?: ProfileRow; device?: Partial<DeviceRow>; seed?: SeedProfile } = {},
) => interruptedBy([device(given.device)], given.from ?? profile(), to, given.seed).length === 1;

describe('a change of a profile', () => {
  test.each([
    ['rate', { audio: { rate: 96_000, channels: 'native', format: 'native' } }, true],
    ['length', { segmentSeconds: 30 }, true],
    ['silence', { watch: { silentAfterSeconds: 9 } }, true],
    ['the same rate by number', { audio: { rate: 48_000, channels: 2, format: 'S16_LE' } }, false],
    ['gain', { processed: { gainDb: 6 } }, false],
    ['archive', { archive: 'flac' }, false],
    ['match', { match: { vid: '0001', pid: '0002' } }, false],
  ])('of %s', (_name, change, expected) => {
    expect(interrupts(config(change))).toBe(expected);
  });

  test('costs nothing where nobody records with it, or its owner said otherwise', () => {
    const shorter = config({ segmentSeconds: 30 });
    expect(interrupts(shorter, { device: { phase: 'waiting' } })).toBe(false);
    expect(interrupts(shorter, { device: { profileSlug: 'other' } })).toBe(false);
    expect(interrupts(shorter, { device: { settings: { segmentSeconds: 10 } } })).toBe(false);
  });

  test('from what a release ships and back again is one, also where the sound would stay the same', () => {
    const from = profile({ isSystem: true });
    const byNumber = config({ audio: { rate: 48_000, channels: 2, format: 'S16_LE' } });
    expect(interrupts(byNumber, { from, seed: seed() })).toBe(true);
    expect(interrupts(config(), { from: profile({ isSystem: true, config: byNumber }), seed: seed() })).toBe(true);
    expect(interrupts(config({ archive: 'flac' }), { from, seed: seed() })).toBe(false);
  });

  test('of one that could not be read', () => {
    expect(interrupts(config(), { from: profile({ config: null, problem: 'broken' }) })).toBe(true);
  });
});

test('differences are told field by field', () => {
  expect(differences(profile(), seed())).toEqual([]);
  const changed = profile({ name: 'Mine', config: config({ processed: { gainDb: 6 }, match: { name: 'x' } }) });
  expect(differences(changed, seed())).toEqual([
    { field: 'name', here: 'Mine', shipped: 'Kind' },
    { field: 'match.name', here: 'x', shipped: '' },
    { field: 'processed.gainDb', here: '6', shipped: '0' },
  ]);
  expect(differences(profile({ config: null, problem: 'broken' }), seed()).length).toBeGreaterThan(5);
});
