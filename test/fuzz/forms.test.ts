/** What browsers may post, damaged: taken as a value that is taken again as it is, or refused at its field in a sentence. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import formbody from '@fastify/formbody';
import fc from 'fast-check';
import fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { alertSettingsSchema, DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';
import { type CatalogueEntry, parseCatalogueYaml, parseServiceSettings } from '../../services/shared/catalogue.ts';
import {
  type DeviceSettings,
  parseDeviceSettings,
  parseProfileConfig,
  profileSlugSchema,
} from '../../services/shared/profile.ts';
import { browserName } from '../../services/web/browser-name.ts';
import { numberOrText } from '../../services/web/form-text.ts';
import { readSettingsForm, settingsForm } from '../../services/web/microphone-settings.ts';
import { passwordProblem } from '../../services/web/password.ts';
import { profileForm, readProfileForm, slugOf } from '../../services/web/profile-form.ts';
import { describeFailure, fieldsOf } from '../../services/web/requests.ts';
import { readServiceForm, serviceForm } from '../../services/web/service-settings.ts';
import {
  maskedAddress,
  readAlertsForm,
  readPlaceForm,
  readSwitchesForm,
  storedAlerts,
} from '../../services/web/settings-form.ts';
import { damagedForm, type Fields } from './form-samples.ts';
import { corpus, damagedJson, damagedText, fuzz, isSentence, isUnpolluted } from './fuzzing.ts';

/** Whatever is refused is told, and whoever reads it can see what was given and what is allowed. */
function expectTold(problems: ReadonlyMap<string, string>, fields: Fields): void {
  expect(problems.size).toBeGreaterThan(0);
  for (const [field, sentence] of problems) {
    expect(sentence).toSatisfy(isSentence);
    expect(sentence).toMatch(/allowed is|not a field of it/);
    // A number that somebody has typed is not told as another one, or as none.
    if ((fields[field] ?? '').trim() !== '') expect(sentence).not.toMatch(/: (null|nothing) was given/);
  }
  expect(isUnpolluted()).toBe(true);
}

const TYPES = [
  'application/x-www-form-urlencoded',
  'application/x-www-form-urlencoded; charset=utf-8',
  'application/json',
  'text/plain',
  'multipart/form-data; boundary=x',
  '',
];

describe('a form as it arrives', () => {
  let app: FastifyInstance;
  beforeAll(async () => {
    app = fastify({ bodyLimit: 256 * 1024 });
    await app.register(formbody, { bodyLimit: 256 * 1024 });
    app.setErrorHandler((error, _request, reply) => {
      const { statusCode, message } = describeFailure(error);
      return reply.code(statusCode).send({ message });
    });
    app.post('/', (request, reply) => reply.send({ fields: Object.entries(fieldsOf(request)) }));
    await app.ready();
  });
  afterAll(() => app.close());

  const bodies = damagedText([
    ...corpus('form-').map((text) => text.trim()),
    'a=1&a=2&a[]=3&a[b]=4&__proto__=5&constructor[prototype][polluted]=6',
    '%ZZ=%&=&&&=%00%F0%9F%A6%87&+=%2B',
  ]);

  const documents = damagedJson([
    { token: 'abc', name: ['a', 'b'], rate: 48_000, enabled: true, deep: { a: null }, none: null },
  ]).map((document) => JSON.stringify(document) ?? '');

  fuzz(
    'has text in its fields, each name once, or is refused in a sentence; nothing of it reaches what objects share',
    fc.oneof(
      { weight: 3, arbitrary: fc.tuple(bodies, fc.constantFrom(...TYPES)) },
      // Not what a form sends, and parsed all the same.
      fc.tuple(documents, fc.constant('application/json')),
    ),
    async ([payload, type]) => {
      const headers = type === '' ? {} : { 'content-type': type };
      const answer = await app.inject({ method: 'POST', url: '/', payload, headers });
      const body = answer.json();
      expect(isUnpolluted()).toBe(true);
      expect(answer.statusCode).toBeLessThan(500);
      if (answer.statusCode >= 400) {
        expect(body.message).toSatisfy(isSentence);
        return;
      }
      const names = body.fields.map(([name]: [string]) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const [, value] of body.fields) expect(typeof value).toBe('string');
    },
  );
});

describe('forms of the station', () => {
  fuzz('its name and place', damagedForm, (fields) => {
    const read = readPlaceForm(fields);
    if (!read.ok) return expectTold(read.problems, fields);
    const { station_name: name, position } = read.changes as {
      station_name: string;
      position: { latitude: number; longitude: number } | null;
    };
    expect(name).not.toMatch(/[\p{Cc}\p{Cs}]/u);
    if (position === null) return;
    expect(Math.abs(position.latitude)).toBeLessThanOrEqual(90);
    expect(Math.abs(position.longitude)).toBeLessThanOrEqual(180);
    const again = { name, latitude: String(position.latitude), longitude: String(position.longitude) };
    // Degrees so small that they are written with an exponent are no form of ours.
    if (!/e/.test(`${again.latitude}${again.longitude}`)) expect(readPlaceForm(again)).toEqual(read);
  });

  fuzz('its switches: each is on or off', damagedForm, (fields) => {
    expect(Object.values(readSwitchesForm(fields)).every((value) => typeof value === 'boolean')).toBe(true);
  });

  fuzz('whom it tells what: taken as the controller takes it', damagedForm, (fields) => {
    const stored = { ...DEFAULT_ALERT_SETTINGS, ntfyUrl: 'https://user:correcthorse@ntfy.example/topic' };
    const read = readAlertsForm(fields, stored);
    if (!read.ok) return expectTold(read.problems, fields);
    expect(alertSettingsSchema.parse(read.alerts)).toEqual(read.alerts);
    for (const address of [read.alerts.ntfyUrl, read.alerts.webhookUrl])
      if (address !== null) expect(maskedAddress(address)).not.toContain('correcthorse');
  });

  fuzz(
    'what is stored of that, however it was damaged, is told without what it holds',
    damagedJson([
      { ...DEFAULT_ALERT_SETTINGS, ntfyUrl: 'https://user:correcthorse@ntfy.example/topic' },
      { ...DEFAULT_ALERT_SETTINGS, webhookUrl: 'correcthorse', silentMinutes: 'correcthorse' },
      // Cut in the sentence about it, so that its quotation has no end.
      { ...DEFAULT_ALERT_SETTINGS, notRecordingMinutes: 'x'.repeat(100), webhookUrl: 'correcthorse' },
    ]),
    (stored) => {
      const { problem } = storedAlerts(stored);
      if (problem === null) return;
      expect(problem).toSatisfy(isSentence);
      expect(problem).not.toContain('correcthorse');
    },
  );

  fuzz('passwords and browsers', damagedText(['correct horse battery', 'Mozilla/5.0 (X11) Firefox/1']), (text) => {
    expect(passwordProblem(text) ?? 'A sentence.').toSatisfy(isSentence);
    expect(browserName(text).length).toBeLessThanOrEqual(100);
  });
});

describe('forms of what a station has', () => {
  fuzz('a microphone: what is taken is settings that the controller takes', damagedForm, (fields) => {
    const read = readSettingsForm(fields, ['generic', 'audiomoth']);
    if (!read.ok) {
      expectTold(read.form.problems, fields);
      for (const value of Object.values(read.form.values)) expect(typeof value).toBe('string');
      return;
    }
    const { name = '', profileSlug = null } = read.wish;
    const settings = read.wish.settings as DeviceSettings;
    expect(parseDeviceSettings(settings)).toEqual({ ok: true, value: settings });
    const { values } = settingsForm({ name, profileSlug, settings });
    expect(readSettingsForm(values, ['generic', 'audiomoth'])).toEqual(read);
  });

  fuzz('a profile: what is taken is shown and taken again as it is', damagedForm, (fields) => {
    const read = readProfileForm(fields);
    if (!read.ok) {
      expectTold(read.form.problems, fields);
      for (const value of Object.values(read.form.values)) expect(typeof value).toBe('string');
      return;
    }
    const { config, slug } = read.profile;
    expect(profileSlugSchema.safeParse(slug).success).toBe(true);
    expect(parseProfileConfig(config)).toEqual({ ok: true, value: config });
    const { values, problems } = profileForm(read.profile);
    expect(problems.size).toBe(0);
    expect(readProfileForm(values)).toEqual(read);
  });

  fuzz('the slug of a name is one, or nothing', damagedText(['Fledermaus für Süd', '—', 'ÄÖÜ '.repeat(40)]), (name) => {
    const slug = slugOf(name);
    if (slug !== '') expect(profileSlugSchema.safeParse(slug).success).toBe(true);
  });

  const FOLDER = resolve(import.meta.dirname, '../../profiles/services');
  const shipped = readdirSync(FOLDER).flatMap((file): CatalogueEntry[] => {
    const parsed = parseCatalogueYaml(readFileSync(join(FOLDER, file), 'utf8'), file);
    return parsed.ok ? [parsed.value] : [];
  });
  const entryWithAll = parseCatalogueYaml(corpus('catalogue-').join('\n'), 'catalogue-settings.yml');
  if (!entryWithAll.ok) throw new Error(entryWithAll.message);
  const catalogue = [...shipped, entryWithAll.value];

  fuzz('a service: what is taken is settings that its catalogue takes', damagedForm, (fields) => {
    for (const entry of catalogue) {
      const read = readServiceForm(entry, fields);
      if (!read.ok) {
        expectTold(read.form.problems, fields);
        continue;
      }
      expect(parseServiceSettings(entry, read.settings).ok).toBe(true);
      const { values, problems } = serviceForm(entry, read.settings);
      expect(problems.size).toBe(0);
      expect(readServiceForm(entry, Object.fromEntries(values))).toEqual(read);
    }
  });

  fuzz('what is stored of a service is shown, whatever it is', damagedJson([{ count: 3, share: 0.5 }]), (stored) => {
    for (const entry of catalogue) {
      const { values, problems } = serviceForm(entry, stored);
      for (const value of values.values()) expect(typeof value).toBe('string');
      for (const sentence of problems.values()) expect(sentence).toSatisfy(isSentence);
    }
    expect(isUnpolluted()).toBe(true);
  });

  fuzz(
    'what is stored of a profile is shown, whatever it is',
    damagedJson([{ audio: { rate: 48_000, channels: 1, format: 'native' }, match: { vid: '2752' } }]),
    (config) => {
      const words = { slug: 'mine', name: 'Mine', description: '', manufacturer: '', model: '' };
      const { values, problems } = profileForm({ ...words, config });
      for (const value of Object.values(values)) expect(typeof value).toBe('string');
      for (const sentence of problems.values()) expect(sentence).toSatisfy(isSentence);
    },
  );
});

fuzz(
  'a number is one that is finite, or it stays what was typed',
  damagedText(['6,5', '-0', '-13.25', ' 48000 ', '9'.repeat(400), '+1', '1e5', '0x10']),
  (typed) => {
    const read = numberOrText(typed);
    if (typeof read === 'string') expect(read).toBe(typed);
    else expect(Number.isFinite(read) && !Object.is(read, -0)).toBe(true);
  },
);
