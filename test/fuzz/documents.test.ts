/** Documents that people, releases, the database and other programs give us, damaged: refused with a sentence, or taken whole. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { readConfig } from '../../services/controller/config.ts';
import { formatLastGood, parseLastGood, wishFingerprint } from '../../services/controller/last-good.ts';
import { createDesiredParser, parseAnswer } from '../../services/controller/store-rows.ts';
import { fitJson } from '../../services/controller/store-text.ts';
import { readProcessorSettings } from '../../services/processor/config.ts';
import { readRecorderSettings } from '../../services/recorder/config.ts';
import { readRecorderConfig } from '../../services/recorder/config-json.ts';
import { alertSettingsSchema } from '../../services/shared/alerts.ts';
import { parseCatalogueYaml, parseServiceSettings } from '../../services/shared/catalogue.ts';
import {
  heartbeatSchema,
  processingSchema,
  processorConfigSchema,
  recorderConfigSchema,
  recorderStatusSchema,
} from '../../services/shared/contract.ts';
import { absolutePath, hostName, redisUrl, withoutCredentials } from '../../services/shared/environment.ts';
import { DOCUMENT_MAX_BYTES, readYaml } from '../../services/shared/parse.ts';
import {
  canonicalJson,
  parseDeviceSettings,
  parseProfileConfig,
  parseProfileYaml,
} from '../../services/shared/profile.ts';
import { desiredState } from '../unit/sample-world.ts';
import { corpus, damagedJson, damagedText, fuzz, isSentence, isShallow, isUnpolluted } from './fuzzing.ts';

const PROFILES = resolve(import.meta.dirname, '../../profiles');
const shipped = (folder: string): string[] =>
  readdirSync(join(PROFILES, folder)).map((name) => readFileSync(join(PROFILES, folder, name), 'utf8'));
const documents = (prefix: string): unknown[] => corpus(prefix).map((text) => JSON.parse(text));

/** Whatever a parser refuses, it says in a sentence. */
function expectOutcome(outcome: { ok: true } | { ok: false; message: string }): void {
  if (!outcome.ok) expect(outcome.message).toSatisfy(isSentence);
  expect(isUnpolluted()).toBe(true);
}

describe('YAML', () => {
  fuzz(
    'a profile: refused with a sentence that begins with its file, or taken',
    damagedText(shipped('microphones')),
    (text) => {
      const outcome = parseProfileYaml(text, 'mine.yml');
      expectOutcome(outcome);
      if (!outcome.ok) expect(outcome.message).toMatch(/^mine\.yml: /);
      else expect(parseProfileConfig(outcome.value.config)).toEqual({ ok: true, value: outcome.value.config });
    },
  );

  fuzz(
    'a service of the catalogue: likewise, and its own settings are allowed',
    damagedText(shipped('services')),
    (text) => {
      const outcome = parseCatalogueYaml(text, 'mine.yml');
      expectOutcome(outcome);
      if (!outcome.ok) expect(outcome.message).toMatch(/^mine\.yml: /);
      else expect(parseServiceSettings(outcome.value, {}).ok).toBe(true);
    },
  );

  fuzz(
    'documents that are made to take long, or much',
    fc.tuple(
      fc.constantFrom(
        '[',
        '{',
        '- ',
        '? ',
        '&a ',
        '*a ',
        '!!map ',
        'a: ',
        '"',
        "'",
        '|\n',
        '\n ',
        '# ',
        '---\n',
        '[a, ',
        '{a: ',
      ),
      fc.integer({ min: 1, max: DOCUMENT_MAX_BYTES }),
    ),
    ([piece, length]) => {
      const outcome = readYaml(piece.repeat(Math.ceil(length / piece.length)).slice(0, length));
      expectOutcome(outcome);
    },
    6,
  );

  fuzz('bytes that are no text', fc.uint8Array({ maxLength: 200 }), (bytes) => {
    expectOutcome(parseProfileYaml(bytes, 'mine.yml'));
  });
});

describe('JSON of a person', () => {
  const [row] = documents('rows') as { profiles: { config: unknown }[]; devices: { settings: unknown }[] }[];
  const configs = [row?.profiles[0]?.config];
  const settings = [
    row?.devices[0]?.settings,
    { archive: 'flac', channels: null, format: 'S24_3LE', segmentSeconds: 900 },
  ];

  fuzz(
    "a profile's config: what is refused is named by its field, what is taken has one hash",
    damagedJson(configs),
    (given) => {
      const outcome = parseProfileConfig(given);
      expectOutcome(outcome);
      if (!outcome.ok) {
        expect(outcome.fields.length).toBeGreaterThan(0);
        for (const { path, message } of outcome.fields)
          expect(message.startsWith(path === '' ? 'The profile' : path)).toBe(true);
        return;
      }
      const again = parseProfileConfig(JSON.parse(JSON.stringify(outcome.value)));
      expect(again.ok && canonicalJson(again.value)).toBe(canonicalJson(outcome.value));
    },
  );

  fuzz('settings of a device, of a service, of alerts', damagedJson(settings), (given) => {
    expectOutcome(parseDeviceSettings(given));
    for (const text of shipped('services')) {
      const entry = parseCatalogueYaml(text, 'service.yml');
      if (entry.ok) expectOutcome(parseServiceSettings(entry.value, given));
    }
    alertSettingsSchema.safeParse(given);
    expect(isUnpolluted()).toBe(true);
  });
});

describe('rows of the database', () => {
  const rows = documents('rows');
  /** As the reading statement tells them: the configuration and each row as text. */
  const asText = (given: unknown): unknown => {
    const { config, profiles, devices, services, ...others } = Object(given) as Record<string, unknown>;
    const texts = (some: unknown) => (Array.isArray(some) ? some.map((row) => JSON.stringify(row)) : some);
    const told = { profiles: texts(profiles), devices: texts(devices), services: texts(services) };
    return { ...others, ...told, config: JSON.stringify(Object(config)) };
  };

  fuzz(
    'what cannot be read is named and costs nothing but itself; only a station id that is none stops all',
    damagedJson(rows),
    (given) => {
      let answer: ReturnType<typeof parseAnswer>;
      try {
        answer = parseAnswer(asText(given));
      } catch {
        // Not the form of our own statement: a bug of ours, and thrown as one.
        return;
      }
      let state: ReturnType<ReturnType<typeof createDesiredParser>>;
      try {
        state = createDesiredParser()(answer);
      } catch (error) {
        expect(String(error)).toMatch(/station_id/);
        return;
      }
      expect(state.devices.length + state.profiles.length + state.services.length).toBeLessThanOrEqual(
        answer.devices.length + answer.profiles.length + answer.services.length,
      );
      const lost =
        answer.devices.length +
        answer.profiles.length +
        answer.services.length -
        (state.devices.length + state.profiles.length + state.services.length);
      expect(state.problems.length).toBeGreaterThanOrEqual(lost);
      for (const problem of state.problems) expect(problem).toSatisfy(isSentence);
      expect(isUnpolluted()).toBe(true);
      // What can be read can be kept, and comes back from the disk as the same wish.
      const kept = parseLastGood(formatLastGood(state));
      expect(kept.ok && wishFingerprint(kept.value)).toBe(wishFingerprint(state));
    },
  );

  fuzz(
    'text and JSON made fit for PostgreSQL: nothing else of it changes',
    damagedJson(rows).filter((given) => isShallow(given)),
    (given) => {
      const fitted = JSON.stringify(fitJson(given)) ?? '';
      expect(/\\u0000|\\ud[89a-f]/i.test(fitted.replaceAll('\\\\', ''))).toBe(false);
      expect(fitJson(fitJson(given))).toEqual(fitJson(given));
    },
  );
});

describe('the last good state', () => {
  const text = formatLastGood(desiredState());

  fuzz('a damaged file is refused with a sentence or comes back whole', damagedText([text], 200_000), (given) => {
    expectOutcome(parseLastGood(given));
  });

  fuzz(
    'a damaged document likewise; what is taken can be written and read again',
    damagedJson([JSON.parse(text)]),
    (given) => {
      const outcome = parseLastGood(JSON.stringify(given) ?? '');
      expectOutcome(outcome);
      if (!outcome.ok) return;
      expect(parseLastGood(formatLastGood(outcome.value))).toEqual(outcome);
      for (const { firstSeenAt, lastSeenAt } of outcome.value.devices)
        for (const moment of [firstSeenAt, lastSeenAt]) expect(Number.isNaN(new Date(moment).getTime())).toBe(false);
    },
  );
});

describe('what services tell each other', () => {
  fuzz(
    'status, heartbeat, processing: refused or taken, never more than was asked for',
    damagedJson([...documents('status'), ...documents('heartbeat'), ...documents('proc')]),
    (given) => {
      const status = recorderStatusSchema.safeParse(given);
      if (status.success) {
        expect(JSON.stringify(status.data).length).toBeLessThan(70_000);
        expect(Number.isFinite(status.data.frames)).toBe(true);
      }
      for (const schema of [heartbeatSchema, processingSchema, processorConfigSchema]) {
        const parsed = schema.safeParse(given);
        if (parsed.success) expect(schema.safeParse(parsed.data)).toEqual(parsed);
      }
      expect(isUnpolluted()).toBe(true);
    },
  );

  fuzz(
    "a recorder's configuration: checked by hand as by the schema",
    damagedJson(documents('recorder-config')),
    (given) => {
      // What a recorder is given went through JSON.
      const json: unknown = JSON.parse(JSON.stringify(given) ?? 'null');
      const byHand = readRecorderConfig(json);
      const bySchema = recorderConfigSchema.safeParse(json);
      if (byHand.ok) expect(bySchema).toEqual({ success: true, data: byHand.value });
      else for (const { field, allowed } of byHand.problems) expect(`${field} ${allowed}`.length).toBeGreaterThan(3);
      // The one rule that only the recorder has: the name of its folder.
      const isOnlyWorkspace = !byHand.ok && byHand.problems.every(({ field }) => field === 'microphone.workspace');
      if (bySchema.success && !byHand.ok) expect(isOnlyWorkspace).toBe(true);
    },
  );
});

describe('the environment', () => {
  const [sample = ''] = corpus('environment');
  const parse = (text: string): Record<string, string> =>
    Object.fromEntries(
      text
        .split('\n')
        .flatMap((line) =>
          line.includes('=') ? [[line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]] : [],
        ),
    );

  fuzz('of the controller: all that is wrong is told, a line each, without a secret', damagedText([sample]), (text) => {
    const environment = parse(text);
    const outcome = readConfig(environment, { insideContainer: false, packageFolder: '/opt/silvasonic' });
    expect(isUnpolluted()).toBe(true);
    if (outcome.ok) {
      for (const path of [outcome.value.workspacePath, outcome.value.hostRunPath])
        expect(path).toMatch(/^\/[^:]*[^/]$/);
      return;
    }
    for (const problem of outcome.problems) {
      expect(problem).toSatisfy(isSentence);
      expect(problem).toMatch(/^[A-Z_]+/);
      expect(problem).not.toMatch(/\n|correct ?horse/);
    }
  });

  fuzz(
    'of recorder and processor: one sentence for all',
    fc.tuple(
      damagedText(corpus('recorder-config')),
      damagedText(corpus('processor-config')),
      damagedText(['hw:1,0', 'virtual', '/app/workspace']),
    ),
    ([recorder, processor, text]) => {
      expectOutcome(
        readRecorderSettings({
          SILVASONIC_RECORDER_DEVICE: text,
          SILVASONIC_RECORDER_PROFILE_SLUG: 'audiomoth',
          SILVASONIC_RECORDER_CONFIG_JSON: recorder,
          SILVASONIC_INSTANCE_ID: 'one',
        }),
      );
      expectOutcome(
        readProcessorSettings({ SILVASONIC_PROCESSOR_CONFIG_JSON: processor, SILVASONIC_PROCESSOR_RUN: text }),
      );
    },
  );

  fuzz(
    'paths and hosts: what is taken is taken again as it is',
    damagedText(['/var/lib/silvasonic', 'database', '::1', '10.0.0.1']),
    (text) => {
      for (const schema of [absolutePath(), hostName]) {
        const parsed = schema.safeParse(text);
        if (parsed.success) expect(schema.safeParse(parsed.data)).toEqual(parsed);
      }
    },
  );

  fuzz(
    'addresses are shown without what is secret in them',
    damagedText(['redis://user:correcthorse@redis:6379/0?password=correcthorse', 'rediss://:correcthorse@[::1]/']),
    (address) => {
      if (!redisUrl.safeParse(address).success) return;
      const secret = /:\/\/[^/?#@]*:([a-z]{8,})@/.exec(address)?.[1];
      if (secret !== undefined && address.split(secret).length === 2)
        expect(withoutCredentials(address)).not.toContain(secret);
    },
  );
});
