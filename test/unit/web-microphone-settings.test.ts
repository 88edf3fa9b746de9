/** The form of a microphone's settings: empty is the profile's, wrong is said at its field, and what interrupts is known. */
import { describe, expect, test } from 'vitest';
import { interruptsRecording, readSettingsForm, settingsForm } from '../../services/web/microphone-settings.ts';

const PROFILES = ['generic', 'umik'];
const read = (fields: Record<string, string>) => readSettingsForm({ profile: 'generic', ...fields }, PROFILES);

test('empty fields override nothing', () => {
  expect(read({ rate: '', channels: ' ', format: '', name: '  ' })).toEqual({
    ok: true,
    wish: { name: '', profileSlug: 'generic', settings: {} },
  });
});

test('numbers come with comma or point; words stay words', () => {
  const outcome = read({
    rate: '96000',
    gainDb: '-3,5',
    highPassHz: '200.5',
    format: 'S24_3LE',
    archive: 'flac',
    name: ' Oak ',
  });
  expect(outcome).toMatchObject({
    ok: true,
    wish: {
      name: 'Oak',
      settings: { rate: 96_000, gainDb: -3.5, highPassHz: 200.5, format: 'S24_3LE', archive: 'flac' },
    },
  });
});

test.each([
  ['rate', '1', '1 was given'],
  ['rate', '48 kHz', '"48 kHz" was given'],
  ['channels', '1.5', '1.5 was given'],
  ['channels', '0x2', '"0x2" was given'],
  ['segmentSeconds', '5000', 'from 1 to 900'],
  ['format', 'MP3', '"MP3" was given'],
  ['archive', 'zip', 'wav or flac'],
  ['gainDb', '100', 'from -60 to 60'],
  ['highPassHz', '1e9', '"1e9" was given'],
  ['name', 'a\u0000b', 'printable'],
  ['name', 'x'.repeat(201), '1 to 200'],
  ['profile', 'none', 'none called'],
] as const)('%s %j is refused at its field, and stays in it', (field, value, told) => {
  const outcome = read({ [field]: value });
  if (outcome.ok) throw new Error('it was taken');
  expect([...outcome.form.problems.keys()]).toEqual([field]);
  expect(outcome.form.problems.get(field)).toContain(told);
  expect(outcome.form.values[field]).toBe(value);
});

test('the form shows what the row has', () => {
  const { values } = settingsForm({
    name: 'Oak',
    profileSlug: 'umik',
    settings: { rate: 48_000, gainDb: 0, format: null },
  });
  expect(values).toMatchObject({ name: 'Oak', profile: 'umik', rate: '48000', gainDb: '0', format: '', channels: '' });
});

describe('what interrupts', () => {
  const row = { profileSlug: 'generic', settings: { rate: 48_000, channels: null } };
  test.each([
    [{ profileSlug: 'umik' }, true],
    [{ profileSlug: 'generic', settings: { rate: 48_000 } }, false],
    [{ settings: { rate: 96_000 } }, true],
    [{ settings: {} }, true],
    [{ settings: { rate: 48_000, segmentSeconds: 10 } }, true],
    [{ settings: { rate: 48_000, gainDb: 10, highPassHz: 100, archive: 'flac' as const } }, false],
    [{ name: 'Oak' }, false],
  ])('%j: %s', (wish, expected) => expect(interruptsRecording(row, wish)).toBe(expected));
});
