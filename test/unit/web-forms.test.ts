/** What people type into the page's forms, and what becomes of it. */
import { describe, expect, test } from 'vitest';
import { DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';
import { catalogueEntrySchema } from '../../services/shared/catalogue.ts';
import { profileConfigSchema } from '../../services/shared/profile.ts';
import { browserName } from '../../services/web/browser-name.ts';
import { takesGzip } from '../../services/web/compression.ts';
import { profileForm, readProfileForm, slugOf } from '../../services/web/profile-form.ts';
import { readServiceForm, serviceForm } from '../../services/web/service-settings.ts';
import {
  maskedAddress,
  readAlertsForm,
  readPlaceForm,
  readSwitchesForm,
  storedAlerts,
} from '../../services/web/settings-form.ts';

describe('a profile', () => {
  const config = profileConfigSchema.parse({
    match: { vid: '16d0', pid: '0abc', priority: 3 },
    audio: { rate: 384_000, channels: 'native', format: 'S16_LE' },
    segmentSeconds: 30,
    archive: 'flac',
    processed: { gainDb: 6.5, highPassHz: 200 },
  });
  const stored = { slug: 'bat', name: 'Bat', description: '', manufacturer: 'Maker', model: '', config };

  test('filled in and sent back unchanged, is the same', () => {
    const { values, problems } = profileForm(stored);
    expect(problems.size).toBe(0);
    expect(readProfileForm(values)).toEqual({ ok: true, profile: stored });
  });

  test('with numbers as people write them', () => {
    const { values } = profileForm(stored);
    const read = readProfileForm({ ...values, 'processed.gainDb': ' 6,5 ', 'audio.rate': '48000' });
    expect(read.ok && read.profile.config).toMatchObject({ processed: { gainDb: 6.5 }, audio: { rate: 48_000 } });
  });

  test('what is left empty has its default; the slug is made of the name', () => {
    const fields = {
      name: 'Fledermaus für Süd',
      'audio.rate': 'native',
      'audio.channels': '1',
      'audio.format': 'native',
    };
    const read = readProfileForm(fields);
    expect(read.ok && read.profile).toMatchObject({
      slug: 'fledermaus-fur-sud',
      config: { segmentSeconds: 60, archive: 'wav', match: { vid: null } },
    });
    expect(slugOf('???')).toBe('');
  });

  test('what is wrong stands at its field, and what was typed stays', () => {
    const { values } = profileForm(stored);
    const read = readProfileForm({
      ...values,
      name: '',
      segmentSeconds: '5000',
      'audio.rate': 'fast',
      'match.pid': '',
      'watch.clipAtDbfs': '3',
    });
    if (read.ok) throw new Error('it was taken');
    expect([...read.form.problems.keys()].sort()).toEqual([
      'audio.rate',
      'match.vid',
      'name',
      'segmentSeconds',
      'watch.clipAtDbfs',
    ]);
    expect(read.form.problems.get('segmentSeconds')).toBe(
      'segmentSeconds: 5000 was given; allowed is a whole number of seconds from 1 to 900.',
    );
    expect(read.form.values['audio.rate']).toBe('fast');
  });

  test.each([null, 'text', [], { audio: 7 }, { audio: { rate: { deep: [] } } }, { audio: null, unknown: 1 }])(
    'stored unreadable (%j), it is shown as far as it goes, with what is wrong',
    (broken) => {
      const { values, problems } = profileForm({ ...stored, config: broken });
      expect(problems.size).toBeGreaterThan(0);
      expect(Object.values(values).every((value) => typeof value === 'string')).toBe(true);
    },
  );
});

describe('settings of a service', () => {
  const setting = (type: string, standard: unknown, more = {}) => ({
    title: 'Title',
    description: 'Text',
    type,
    default: standard,
    ...more,
  });
  const entry = catalogueEntrySchema.parse({
    name: 'sample',
    title: 'Sample',
    description: 'Text',
    image: 'localhost/sample:latest',
    limits: { memoryMebibytes: 64, cpus: 1, pids: 10 },
    settings: {
      count: setting('integer', 3, { min: 1, max: 9 }),
      share: setting('number', 0.5, { min: 0, max: 1 }),
      loud: setting('boolean', false),
      mode: setting('choice', 'keep', { choices: ['keep', 'drop'] }),
      path: setting('text', 'silvasonic'),
    },
  });

  test('only what differs from the catalogue is stored; text may be empty on purpose', () => {
    const fields = { count: '3', share: '0,25', loud: 'true', mode: 'keep', path: '' };
    expect(readServiceForm(entry, fields)).toEqual({ ok: true, settings: { share: 0.25, loud: true, path: '' } });
    expect(readServiceForm(entry, { count: ' ', share: '', loud: 'false', mode: 'keep', path: 'silvasonic' })).toEqual({
      ok: true,
      settings: {},
    });
  });

  test('what is wrong stands at its field, and what was typed stays', () => {
    const read = readServiceForm(entry, { count: '99', share: 'half', loud: 'perhaps', mode: 'burn', path: 'x' });
    if (read.ok) throw new Error('it was taken');
    expect([...read.form.problems.keys()]).toEqual(['count', 'share', 'loud', 'mode']);
    expect(read.form.problems.get('count')).toContain('99 was given; allowed is');
    expect(read.form.values.get('share')).toBe('half');
  });

  test('stored ones that cannot be used are shown with what is wrong', () => {
    const { values, problems } = serviceForm(entry, { count: 'many', gone: 1 });
    expect(values.get('count')).toBe('many');
    expect(problems.get('count')).toContain('"many" was given');
    expect(problems.get('')).toContain('"gone" is not a field of it');
  });
});

describe('settings of the station', () => {
  test('a place with commas; none; half a place is refused', () => {
    expect(readPlaceForm({ name: ' Wood ', latitude: '52,5', longitude: '-13.25' })).toEqual({
      ok: true,
      changes: { station_name: 'Wood', position: { latitude: 52.5, longitude: -13.25 } },
    });
    expect(readPlaceForm({ name: '', latitude: ' ', longitude: '' })).toEqual({
      ok: true,
      changes: { station_name: '', position: null },
    });
    const half = readPlaceForm({ name: 'x', latitude: '', longitude: '13' });
    expect(half.ok ? [] : [...half.problems.keys()]).toEqual(['latitude']);
    const wrong = readPlaceForm({ name: 'x'.repeat(201), latitude: '91', longitude: 'east' });
    expect(wrong.ok ? [] : [...wrong.problems.keys()]).toEqual(['name', 'latitude', 'longitude']);
  });

  test('a switch that was not sent is off', () => {
    expect(readSwitchesForm({ autoUpdate: 'yes', liveListening: 'maybe' })).toEqual({
      auto_enrollment: false,
      auto_update: true,
      live_listening: false,
    });
  });

  const kept = { ...DEFAULT_ALERT_SETTINGS, ntfyUrl: 'https://u:p@ntfy.example/topic', testToken: 'last' };

  test('addresses left empty stay, others replace, a cross removes', () => {
    const read = (fields: Record<string, string>) => {
      const outcome = readAlertsForm(fields, kept);
      return outcome.ok ? outcome.alerts : [...outcome.problems.keys()];
    };
    expect(read({})).toEqual(kept);
    expect(read({ ntfyUrl: 'https://other.example/x', silentMinutes: '5' })).toEqual({
      ...kept,
      ntfyUrl: 'https://other.example/x',
      silentMinutes: 5,
    });
    expect(read({ ntfyUrlRemove: 'yes' })).toEqual({ ...kept, ntfyUrl: null });
    expect(read({ webhookUrl: 'ftp://x', silentMinutes: '0', diskFullDays: 'week' })).toEqual([
      'webhookUrl',
      'silentMinutes',
      'diskFullDays',
    ]);
  });

  test('what is stored unreadable counts as the defaults, and is told without what it holds', () => {
    const { alerts, problem } = storedAlerts({ ntfyUrl: 'not an address but a secret', diskFullDays: 7 });
    expect(alerts).toEqual(DEFAULT_ALERT_SETTINGS);
    expect(problem).toContain('ntfyUrl');
    expect(problem).not.toContain('secret');
    expect(maskedAddress('https://u:p@ntfy.example/topic?key=1')).toBe('https://ntfy.example/…');
    expect(maskedAddress('secret')).toBe('…');
  });
});

test.each([
  [
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
    'Chrome on Linux',
  ],
  ['Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0', 'Firefox on Android'],
  [
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 Safari/604.1',
    'Safari on iPhone',
  ],
  ['curl/8.5', 'curl/8.5'],
])('%s is %s', (userAgent, name) => {
  expect(browserName(userAgent)).toBe(name);
});

test.each([
  ['gzip', true],
  ['gzip, deflate, br', true],
  ['br;q=1.0, gzip;q=0.8', true],
  ['gzip;q=0', false],
  ['gzip;q=0.0, br', false],
  ['br', false],
  [undefined, false],
  ['x-gzip-not', false],
])('accept-encoding %s: packed %s', (header, packed) => {
  expect(takesGzip(header)).toBe(packed);
});
