import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { wishes } from '../../services/controller/spec.ts';
import type { ServiceRow } from '../../services/controller/world.ts';
import { type CatalogueEntry, parseCatalogueYaml, parseServiceSettings } from '../../services/shared/catalogue.ts';
import { desiredState, STATION_ID, specInput } from './sample-world.ts';

const document = {
  name: 'birdnet',
  title: 'BirdNET-Go',
  description: 'Names birds.',
  image: 'docker.io/library/birdnet:1.2',
  limits: { memoryMebibytes: 512, cpus: 1, pids: 100 },
  recordings: 'read-only',
  settingsVariable: 'BIRDNET_SETTINGS',
  settings: {
    threshold: { title: 'Threshold', description: 'How sure.', type: 'number', default: 0.7, min: 0, max: 1 },
    language: { title: 'Language', description: 'Of names.', type: 'choice', default: 'en', choices: ['en', 'de'] },
  },
};

const parse = (changes: Record<string, unknown> = {}) =>
  parseCatalogueYaml(stringify({ ...document, ...changes }), 'birdnet.yml');

function entry(): CatalogueEntry {
  const parsed = parse();
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

describe('a file of the catalogue', () => {
  test('is read, with defaults that keep it out of harm', () => {
    expect(entry()).toMatchObject({ enabled: false, network: 'none', limits: { oomScoreAdj: 500, logMebibytes: 10 } });
  });

  test.each([
    [
      'an image that is not fully qualified',
      { image: 'birdnet:1' },
      'image: "birdnet:1" was given; allowed is a fully qualified image',
    ],
    ['an image without a tag', { image: 'docker.io/library/birdnet' }, 'fully qualified image with its tag'],
    ['a reserved name', { name: 'recorder' }, 'none of recorder, controller'],
    ['no limits', { limits: undefined }, 'limits: nothing was given'],
    ['no memory limit', { limits: { cpus: 1, pids: 1 } }, 'limits.memoryMebibytes: nothing was given'],
    [
      'a score that puts it before recorders',
      { limits: { ...document.limits, oomScoreAdj: -500 } },
      'limits.oomScoreAdj: -500 was given',
    ],
    ['mounts of its own', { mounts: ['/etc'] }, '"mounts" is not a field'],
    [
      'a default outside its range',
      { settings: { threshold: { ...document.settings.threshold, default: 7 } } },
      'a default is not allowed: threshold',
    ],
  ])('with %s is refused in a sentence', (_name, changes, words) => {
    const parsed = parse(changes);
    expect(parsed.ok).toBe(false);
    expect(parsed.ok ? '' : parsed.message).toContain(words);
    expect(parsed.ok ? '' : parsed.message).toMatch(/^birdnet\.yml: /);
  });

  test('of any shape never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.uint8Array()), (input) => {
        expect(parseCatalogueYaml(input, 'x.yml').ok).toBe(false);
      }),
    );
  });
});

describe('settings', () => {
  test('a person changes what is offered, within its bounds; the rest is as the catalogue says', () => {
    expect(parseServiceSettings(entry(), { language: 'de' })).toEqual({
      ok: true,
      value: { threshold: 0.7, language: 'de' },
    });
    for (const given of [{ threshold: 2 }, { language: 'fr' }, { image: 'x' }, [], null, 'x']) {
      expect(parseServiceSettings(entry(), given).ok).toBe(false);
    }
  });
});

test('its container: confined, limited, with the recordings as the catalogue says and nothing from the row', () => {
  const row: ServiceRow = {
    name: 'birdnet',
    enabled: true,
    settings: { threshold: 0.5 },
    restartToken: '',
    generation: 1,
    observedGeneration: 0,
    phase: 'disabled',
    reason: '',
    message: '',
  };
  const images = { 'docker.io/library/birdnet:1.2': 'sha256:b' };
  const [wish] = wishes(
    specInput({ rows: [], desired: desiredState({ services: [row] }), catalogue: [entry()], images }),
  );
  if (wish?.kind !== 'run') throw new Error('it should run');
  expect(wish.spec).toMatchObject({
    name: `silvasonic-${STATION_ID.slice(0, 8)}-birdnet`,
    network: 'none',
    capabilities: [],
    readOnlyRoot: true,
    devices: [],
    limits: { memoryBytes: 512 * 1024 * 1024, cpus: 1, pids: 100, oomScoreAdj: 500, logBytes: 10 * 1024 * 1024 },
    binds: [
      { source: '/srv/silvasonic/recorder', target: '/app/recordings', readOnly: true },
      { source: '/run/silvasonic/services/birdnet', target: '/run/silvasonic', readOnly: false },
    ],
  });
  expect(JSON.parse(wish.spec.env.BIRDNET_SETTINGS ?? '')).toEqual({ threshold: 0.5, language: 'en' });
});
