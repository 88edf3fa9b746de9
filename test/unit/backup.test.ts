/** What a backup holds, and what a restore would change: decided from two contents, before anything is written. */
import { describe, expect, test } from 'vitest';
import { toBackup } from '../../services/station/backup-database.ts';
import { type Backup, type BackupDevice, formatBackup, parseBackup } from '../../services/station/backup-document.ts';
import { type Content, planRestore } from '../../services/station/backup-plan.ts';

const STATION = '5d1e7c3a-93f0-4a53-9f0e-0a1b2c3d4e5f';
const MADE = new Date('2026-11-21T08:45:00Z');
const CONFIG = { match: {}, audio: { rate: 'native', channels: 'native', format: 'native' } };

const device = (given: Partial<BackupDevice> = {}): BackupDevice => ({
  id: '2752-0007-1',
  workspace: 'umik-1-00000000',
  name: 'Oak',
  enabled: true,
  enrollmentStatus: 'enrolled',
  decidedBy: 'person',
  profileSlug: 'mine',
  settings: { gainDb: 6 },
  vendorId: '2752',
  productId: '0007',
  serial: '1',
  serialShared: false,
  portPath: 'pci0000:00/0000:00:14.0/0/4',
  product: 'UMIK-1',
  manufacturer: 'miniDSP',
  capabilities: { offers: [] },
  firstSeen: '2026-05-01T10:00:00+00:00',
  lastSeen: '2026-11-01T10:00:00+00:00',
  ...given,
});

const content = (given: Partial<Content> = {}): Content => ({
  stationId: STATION,
  config: { station_id: STATION, station_name: 'Wood', workspace_marked: true },
  profiles: [
    { slug: 'generic', name: 'Generic', description: '', manufacturer: '', model: '', isSystem: true, config: CONFIG },
    { slug: 'mine', name: 'Mine', description: '', manufacturer: '', model: '', isSystem: false, config: CONFIG },
  ],
  devices: [device()],
  services: [{ name: 'processor', enabled: true, settings: {} }],
  ...given,
});

const backup = (given: Partial<Content> = {}): Backup =>
  toBackup({ ...content(given), untouched: ['generic'] }, MADE, '0.1.0');
const linesOf = (now: Content, wanted: Content): string[] => planRestore(now, wanted).changes.map(({ line }) => line);

describe('a backup', () => {
  test('reads back as it was written', () => {
    const parsed = parseBackup(formatBackup(backup()));
    expect(parsed).toEqual({ ok: true, value: backup() });
  });

  test('has no profile that the release brings, nothing of the controller’s own, no address of alerts', () => {
    const alerts = {
      ntfyUrl: 'https://user:secret@ntfy.example/wood',
      webhookUrl: null,
      silentMinutes: 30,
      testToken: 'x',
    };
    const made = backup({ config: { ...content().config, alerts } });
    expect(made.profiles.map(({ slug }) => slug)).toEqual(['mine']);
    expect(made.config).toEqual({ station_name: 'Wood', alerts: { silentMinutes: 30 } });
    expect(formatBackup(made)).not.toContain('secret');
  });

  test.each([
    ['half a file', '{"kind": "silva', 'is not JSON'],
    ['something else', '{"kind": "other"}', 'is no backup of Silvasonic'],
    ['nothing', 'null', 'is no backup of Silvasonic'],
    ['one of a later release', JSON.stringify({ ...backup(), schema: 2 }), 'install a newer release'],
    ['a wrong value', JSON.stringify({ ...backup(), devices: [{ ...device(), enabled: 'yes' }] }), 'devices.0.enabled'],
    ['a key too many', JSON.stringify({ ...backup(), owner: {} }), 'owner'],
  ])('%s is refused, with a sentence', (_, text, words) => {
    expect(parseBackup(text)).toMatchObject({ ok: false, message: expect.stringContaining(words) });
  });
});

describe('a restore', () => {
  test('into the same station changes nothing', () => {
    expect(planRestore(content(), backup())).toEqual({ changes: [], notes: [] });
  });

  test('says each change in a line', () => {
    const now = content({
      config: { ...content().config, station_name: 'Meadow' },
      profiles: content().profiles.slice(0, 1),
      devices: [device({ name: 'Elm', enabled: false, profileSlug: 'generic' })],
      services: [{ name: 'processor', enabled: false, settings: {} }],
    });
    expect(linesOf(now, backup())).toEqual([
      'setting station_name: "Meadow" → "Wood"',
      'profile "Mine" (mine): new',
      'device "Oak": name "Elm" → "Oak"; enabled false → true; profileSlug "generic" → "mine"',
      'service processor: enabled false → true',
    ]);
  });

  test('what the hardware says of a known device is not the backup’s to say', () => {
    const moved = content({ devices: [device({ portPath: 'elsewhere', serialShared: true })] });
    expect(linesOf(moved, backup())).toEqual([]);
  });

  test('an empty database takes the station’s id; another station keeps its own', () => {
    const empty = content({ stationId: null, config: {}, devices: [], services: [], profiles: [] });
    expect(linesOf(empty, backup())[0]).toBe(`setting station_id: "${STATION}"`);
    const other = content({ stationId: STATION.replace('5d', '6d') });
    const plan = planRestore(other, backup());
    expect(plan.changes).toEqual([]);
    expect(plan.notes[0]).toContain('keeps its own id');
  });

  test('what a backup does not hold of alerts is no difference, and in no line', () => {
    const alerts = { ntfyUrl: 'https://me:secret@ntfy.example/w', webhookUrl: null, silentMinutes: 60, testToken: 'x' };
    const now = content({ config: { ...content().config, alerts } });
    expect(linesOf(now, backup(now))).toEqual([]);
    const other = backup({ config: { ...content().config, alerts: { ...alerts, silentMinutes: 30 } } });
    expect(planRestore(now, other).changes).toMatchObject([{ value: { ...alerts, silentMinutes: 30 } }]);
    expect(linesOf(now, other)).toEqual(['setting alerts: {"silentMinutes":60} → {"silentMinutes":30}']);
  });

  test('addresses of alerts that are there stay', () => {
    const alerts = { ntfyUrl: 'https://ntfy.example/wood', silentMinutes: 60 };
    const now = content({ config: { ...content().config, alerts } });
    const wanted = backup({ config: { ...content().config, alerts: { ...alerts, silentMinutes: 30 } } });
    expect(planRestore(now, wanted).changes).toMatchObject([{ value: { ...alerts, silentMinutes: 30 } }]);
  });

  test('what cannot be read or leads nowhere is left out and named; the rest is restored', () => {
    const wanted = backup({
      profiles: [
        { ...backup().profiles[0], slug: 'odd', name: 'Odd', config: { audio: 1 } } as Backup['profiles'][number],
      ],
      devices: [device({ name: 'New', profileSlug: 'nowhere', settings: { rate: 'fast' } })],
    });
    const { changes, notes } = planRestore(content(), wanted);
    expect(notes.map((note) => note.slice(0, 24))).toEqual([
      'Profile "Odd" (odd) is l',
      'The settings of "New" ar',
      'The profile nowhere of "',
    ]);
    expect(changes).toMatchObject([
      { kind: 'device', device: { name: 'New', profileSlug: 'mine', settings: { gainDb: 6 } } },
    ]);
  });
});
