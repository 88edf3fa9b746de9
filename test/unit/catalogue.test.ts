import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { plan } from '../../services/controller/plan.ts';
import type { PlanInput } from '../../services/controller/plan-outcome.ts';
import { type SpecInput, wishes } from '../../services/controller/spec.ts';
import type { ServiceRow, Wish } from '../../services/controller/world.ts';
import { type CatalogueEntry, parseCatalogueYaml, parseServiceSettings } from '../../services/shared/catalogue.ts';
import { loadCatalogue } from '../../services/shared/seeds.ts';
import { desiredState, deviceRow, failed, planInput, reading, STATION_ID, specInput } from './sample-world.ts';

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
    ['a folder of the host', { folders: { data: '/run/podman' } }, 'folders.data: "/run/podman" was given'],
    [
      'a folder that leads elsewhere',
      { folders: { data: '/data/../proc' } },
      'folders.data: "/data/../proc" was given',
    ],
    ['a folder name that leads out', { folders: { '../x': '/data' } }, 'allowed is'],
    ["the page's port", { ports: [{ port: 8090, container: 80 }], network: 'station' }, 'neither 8090 nor 9100'],
    [
      'a port that only root may open',
      { ports: [{ port: 80, container: 80 }], network: 'station' },
      'a port from 1024',
    ],
    ['a port and no network', { ports: [{ port: 8080, container: 80 }] }, 'ports cannot be had without a network'],
    ['live sound and no network', { station: { liveSound: true } }, 'liveSound cannot be had without a network'],
    [
      'two ports that are one',
      {
        network: 'station',
        ports: [
          { port: 8080, container: 80 },
          { port: 8080, container: 81, address: '127.0.0.1' },
        ],
      },
      'The port 8080 is given twice',
    ],
    ['a variable that two settings want', { env: { BIRDNET_SETTINGS: 'x' } }, 'BIRDNET_SETTINGS is given twice'],
    ['a secret that leads out', { secrets: [{ name: '../shadow', description: 'x' }] }, 'secrets.0.name: "../shadow"'],
    ['a secret without a word', { secrets: [{ name: 'key' }] }, 'secrets.0.description: nothing was given'],
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

test('two services cannot have one port of the host: the second is left out, and named', () => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-catalogue-'));
  const file = (name: string, port: number) =>
    writeFileSync(
      join(folder, `${name}.yml`),
      stringify({ ...document, name, network: 'station', ports: [{ port, container: 80 }] }),
    );
  file('first', 8080);
  file('second', 8081);
  file('third', 8080);
  const { entries, problems } = loadCatalogue(folder);
  rmSync(folder, { recursive: true });
  expect(entries.map(({ name }) => name)).toEqual(['first', 'second']);
  expect(problems).toEqual(['third: port 8080 is already that of first; choose another one.']);
});

const SERVICE_ROW: ServiceRow = {
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

/** The wish for one service of this catalogue file, in a world that is else as it should be. */
function wishFor(changes: Record<string, unknown>, given: Partial<SpecInput> = {}): Wish {
  const parsed = parse(changes);
  if (!parsed.ok) throw new Error(parsed.message);
  const images = { 'docker.io/library/birdnet:1.2': 'sha256:b' };
  const all = wishes(
    specInput({ desired: desiredState({ services: [SERVICE_ROW] }), catalogue: [parsed.value], images, ...given }),
  );
  const wish = all.find(({ subject }) => subject === 'service:birdnet');
  if (wish === undefined) throw new Error('no wish');
  return wish;
}

function runWish(changes: Record<string, unknown>, given: Partial<SpecInput> = {}): Extract<Wish, { kind: 'run' }> {
  const wish = wishFor(changes, given);
  if (wish.kind !== 'run') throw new Error(wish.message);
  return wish;
}

test('settings, and where the station is, as variables of their own', () => {
  const settings = {
    threshold: { ...document.settings.threshold, variable: 'THRESHOLD' },
    loud: { title: 'Loud', description: 'Very.', type: 'boolean', default: true, variable: 'LOUD' },
  };
  const changes = { settings, station: { latitudeVariable: 'LAT', longitudeVariable: 'LON' } };
  const there = desiredState({ services: [SERVICE_ROW] });
  const position = { latitude: 52.5, longitude: -13 };
  const placed = runWish(changes, { desired: { ...there, config: { ...there.config, position } } });
  expect(placed.spec.env).toMatchObject({ THRESHOLD: '0.5', LOUD: 'true', LAT: '52.5', LON: '-13' });
  const nowhere = runWish(changes);
  expect(Object.keys(nowhere.spec.env)).not.toContain('LAT');
  expect(placed.intent).not.toBe(nowhere.intent);
});

test('its folders, ports and secrets are those of its own place alone, and root without rights is its user', () => {
  const changes = {
    network: 'station',
    folders: { data: '/data' },
    memoryFolders: { '/cache': 8 },
    ports: [{ port: 8080, container: 80, address: '127.0.0.1' }],
    secrets: [{ name: 'key', description: 'A key.' }],
  };
  const { spec } = runWish(changes, { secrets: new Map([['birdnet', reading({ key: '1-2-3' })]]) });
  expect(spec).toMatchObject({ network: 'silvasonic-net', user: '0:0', capabilities: [] });
  expect(spec.binds.slice(2)).toEqual([
    { source: '/srv/silvasonic/services/birdnet/data', target: '/data', readOnly: false },
    { source: '/srv/silvasonic/secrets/birdnet/key', target: '/run/secrets/key', readOnly: true },
  ]);
  expect(spec.ports).toEqual([{ address: '127.0.0.1', port: 8080, container: 80 }]);
  expect(spec.tmpfs).toMatchObject({ '/cache': 8 * 1024 * 1024 });
});

test('a secret that is missing, open to others or cannot be looked for: nothing is started, what runs goes on', () => {
  const changes = { secrets: [{ name: 'key', description: 'A key of yours.' }] };
  const wishWith = (secrets: SpecInput['secrets']) => wishFor(changes, { secrets });
  expect(wishWith(new Map([['birdnet', reading({ key: null })]]))).toMatchObject({
    kind: 'hold',
    phase: 'blocked',
    reason: 'SecretMissing',
    message:
      'Its secret key is missing: A key of yours. Put it there with "install -D -m 600 <your file> /srv/silvasonic/secrets/birdnet/key".',
  });
  expect(wishWith(new Map([['birdnet', reading({ key: 'open' as const })]])).reason).toBe('SecretOpen');
  expect(wishWith(new Map([['birdnet', reading({ key: 'foreign' as const })]])).reason).toBe('SecretForeign');
  expect(wishWith(new Map([['birdnet', failed('EIO')]]))).toMatchObject({ kind: 'hold', reason: 'SecretsUnreadable' });
  const before = runWish(changes, { secrets: new Map([['birdnet', reading({ key: '1' })]]) });
  const after = runWish(changes, { secrets: new Map([['birdnet', reading({ key: '2' })]]) });
  expect(after.intent).not.toBe(before.intent);
});

test("the page's port, moved onto that of a service: the service waits and says so", () => {
  const changes = { network: 'station', ports: [{ port: 8081, container: 80 }] };
  const input = specInput();
  const moved = { operator: { ...input.operator, takenPorts: [8081, 9100] } };
  expect(wishFor(changes, moved)).toMatchObject({ kind: 'hold', reason: 'PortTaken' });
});

test('microphones are told to who asks: which ones start it anew, how they fare does not', () => {
  const asked = { network: 'station', station: { microphones: 'restart', liveSound: true } };
  const row = deviceRow('2752-0007-000-0000', { phase: 'recording' });
  const [one, other] = [runWish(asked, { rows: [row] }), runWish(asked, { rows: [{ ...row, phase: 'stalled' }] })];
  expect(one.folders).toMatchObject({
    liveSound: true,
    microphones: {
      microphones: [
        {
          workspace: row.workspace,
          name: 'UMIK-1',
          rate: 48_000,
          channels: 2,
          recording: true,
          live: `http://host.containers.internal:8090/live/${row.workspace}.wav`,
        },
      ],
    },
  });
  expect(other.intent).toBe(one.intent);
  expect(other.folders).toMatchObject({ microphones: { microphones: [{ recording: false }] } });
  const deaf = runWish({ station: { microphones: 'told' } }, { rows: [row] });
  expect(deaf.folders).toMatchObject({ liveSound: false, microphones: { microphones: [{ live: null }] } });
  expect(runWish(asked, { rows: [{ ...row, enabled: false }] }).intent).not.toBe(one.intent);
  expect(JSON.stringify(one.folders)).not.toContain(row.serial);
  expect(runWish({}, { rows: [row] }).folders).toEqual({
    kind: 'service',
    name: 'birdnet',
    kept: [],
    microphones: null,
    liveSound: false,
  });
});

test('an image that is not here: fetched where there is a registry, and blocked where there is none', () => {
  const wish = runWish({}, { images: { 'docker.io/library/birdnet:1.2': null } });
  const outcomeWith = (pulls: PlanInput['pulls']) => plan(planInput({ wishes: [wish], pulls })).outcomes[0];
  const state = { kind: 'pulling' as const, message: 'Fetching the image x: pulling 45 % of 312 MB.' };
  expect(outcomeWith(new Map([[wish.spec.image, state]]))).toMatchObject({
    kind: 'wait',
    phase: 'pulling',
    reason: 'Pulling',
    message: state.message,
  });
  expect(outcomeWith(new Map([[wish.spec.image, { ...state, kind: 'waiting' }]]))).toMatchObject({
    phase: 'pulling',
    reason: 'RegistryUnreachable',
  });
  expect(outcomeWith(new Map())).toMatchObject({ kind: 'blocked', phase: 'blocked', reason: 'ImageMissing' });
});

test('its container: confined, limited, with the recordings as the catalogue says and nothing from the row', () => {
  const images = { 'docker.io/library/birdnet:1.2': 'sha256:b' };
  const [wish] = wishes(
    specInput({ rows: [], desired: desiredState({ services: [SERVICE_ROW] }), catalogue: [entry()], images }),
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
