import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SpecInput, wishes } from '../../services/controller/spec.ts';
import type { Microphone, Wish } from '../../services/controller/world.ts';
import { LABEL, recorderConfigSchema, workspaceName } from '../../services/shared/contract.ts';
import { captureHash } from '../../services/shared/profile.ts';
import { deviceRow, microphone, profileConfig, specInput } from './sample-world.ts';

const ID = '2752-0007-000-0000';

function wish(given: Partial<SpecInput> = {}): Wish {
  const [first] = wishes(specInput(given));
  if (first === undefined) throw new Error('no wish');
  return first;
}

function running(given: Partial<SpecInput> = {}): Extract<Wish, { kind: 'run' }> {
  const wished = wish(given);
  if (wished.kind !== 'run') throw new Error(`not run: ${wished.reason}`);
  return wished;
}

describe('a recorder', () => {
  test('is exactly this container', () => {
    const { spec } = running();
    const { SILVASONIC_RECORDER_CONFIG_JSON: json, ...env } = spec.env;
    expect(env).toEqual({
      SILVASONIC_RECORDER_DEVICE: 'hw:1,0',
      SILVASONIC_RECORDER_USB_DEVICE: '001/007 2752:0007',
      SILVASONIC_RECORDER_PROFILE_SLUG: 'umik-1',
      SILVASONIC_INSTANCE_ID: `recorder-${workspaceName(ID, 'UMIK-1')}`,
    });
    expect(recorderConfigSchema.parse(JSON.parse(json ?? ''))).toMatchObject({
      rate: 48_000,
      channels: 2,
      format: 'S24_3LE',
      reserveBytes: 512 * 1024 * 1024,
      microphone: { deviceId: ID, name: 'UMIK-1', manufacturer: 'miniDSP', model: 'UMIK-1', serial: '000-0000' },
    });
    expect(spec).toMatchObject({
      ports: [],
      entrypoint: null,
      command: null,
      user: null,
      name: `silvasonic-0f0e0d0c-recorder-${workspaceName(ID, 'UMIK-1')}`,
      image: 'sha256:aaaa',
      network: 'none',
      capabilities: [],
      readOnlyRoot: true,
      limits: { memoryBytes: 512 * 1024 * 1024, cpus: 1, pids: 64, oomScoreAdj: -999, logBytes: 10 * 1024 * 1024 },
      binds: [
        {
          source: `/srv/silvasonic/recorder/${workspaceName(ID, 'UMIK-1')}`,
          target: '/app/workspace',
          readOnly: false,
        },
        { source: `/run/silvasonic/${workspaceName(ID, 'UMIK-1')}`, target: '/run/silvasonic', readOnly: false },
      ],
      devices: [{ path: '/dev/snd/controlC1' }, { path: '/dev/snd/pcmC1D0c' }],
    });
    expect(Object.keys(spec.labels).sort()).toEqual(Object.values(LABEL).sort());
  });

  /** An upgrade that changes these recreates every recorder of every station: only ever on purpose. */
  test('has golden hashes', () => {
    const { intent, template } = running();
    expect({ intent, template }).toEqual({
      intent: 'a7e2d7f2e0eb6fd68ee444ddf5e2fcf2',
      template: 'a7e03843b525716703213d98112b51b6',
    });
  });
});

describe('what replaces a running recorder, and what waits', () => {
  const base = running();
  const row = deviceRow(ID);
  test.each([
    ['restart token', { rows: [{ ...row, restartToken: 'x' }] }],
    ['segment length', { rows: [{ ...row, settings: { ok: true as const, value: { segmentSeconds: 30 } } }] }],
    ['a replug', { present: new Map([[ID, microphone({ incarnation: 'other' })]]) }],
    ['memory limit', { operator: { ...specInput().operator, recorderMemoryBytes: 1 } }],
  ])('%s: another intent', (_name, given) => {
    expect(running(given).intent).not.toBe(base.intent);
  });

  test.each([
    ['a nicer name', { rows: [{ ...row, name: 'By the pond' }] }],
    [
      'the station moved',
      {
        desired: {
          ...specInput().desired,
          config: { ...specInput().desired.config, position: { latitude: 1, longitude: 2 } },
        },
      },
    ],
    ['gain of the copies', { rows: [{ ...row, settings: { ok: true as const, value: { gainDb: 6 } } }] }],
  ])('%s: nothing differs', (_name, given) => {
    expect([running(given).intent, running(given).template]).toEqual([base.intent, base.template]);
  });

  test('another image: only the template', () => {
    const released = running({ recorderImage: { reference: 'localhost/silvasonic-recorder:latest', id: 'sha256:b' } });
    expect(released.intent).toBe(base.intent);
    expect(released.template).not.toBe(base.template);
    // What it is made of is what its template tells of, whatever the tag means by the time that it is made.
    expect(released.spec.image).toBe('sha256:b');
  });

  test('an image that cannot be looked up: nothing is said of the template', () => {
    const { template, spec } = running({ recorderImage: { reference: 'localhost/other:latest', id: null } });
    expect([template, spec.image]).toEqual([null, 'localhost/other:latest']);
    expect(Object.keys(spec.labels)).not.toContain(LABEL.template);
  });

  test('capabilities that cannot be read this time are the remembered ones', () => {
    const deaf = microphone();
    const sound = deaf.sound === null ? null : { ...deaf.sound, capabilities: { offers: [] } };
    expect(running({ present: new Map([[ID, { ...deaf, sound }]]) }).intent).toBe(base.intent);
  });
});

describe('a release that changes a profile', () => {
  const profile = (rate: number, isSystem = true) => ({
    slug: 'umik-1',
    name: 'UMIK-1',
    description: '',
    manufacturer: '',
    model: '',
    isSystem,
    config: { ok: true as const, value: profileConfig({ audio: { rate, channels: 'native', format: 'native' } }) },
  });
  const rates = { kind: 'list' as const, values: [48_000, 96_000] };
  const offers = ['S16_LE', 'S32_LE'].flatMap((format) => [1, 2].map((channels) => ({ format, channels, rates })));
  const sound = microphone().sound;
  const present = new Map([
    [ID, microphone({ sound: sound === null ? null : { ...sound, capabilities: { offers } } })],
  ]);
  const shippedWith = (rate: number, isSystem = true) =>
    running({
      present,
      desired: { ...specInput().desired, profiles: [profile(rate, isSystem)] },
      seedHashes: new Map([['umik-1', captureHash(profile(rate).config.value)]]),
    });

  test('waits for the next restart, as an image does', () => {
    const [before, after] = [shippedWith(48_000), shippedWith(96_000)];
    expect(after.intent).toBe(before.intent);
    expect(after.template).not.toBe(before.template);
  });

  test.each([[{ rate: 96_000 }], [{ channels: 2 }], [{ format: 'S32_LE' as const }], [{ segmentSeconds: 30 }]])(
    "a person's own choice for one microphone (%o) does not wait",
    (value) => {
      const [before, chosen] = [{}, value].map((settings) =>
        running({
          present,
          rows: [deviceRow(ID, { settings: { ok: true, value: settings } })],
          desired: { ...specInput().desired, profiles: [profile(48_000)] },
          seedHashes: new Map([['umik-1', captureHash(profile(48_000).config.value)]]),
        }),
      );
      expect(chosen?.intent).not.toBe(before?.intent);
    },
  );

  test("a person's edit of it, or of a profile of one's own, does not wait", () => {
    const edited = running({
      present,
      desired: { ...specInput().desired, profiles: [profile(96_000)] },
      seedHashes: new Map([['umik-1', captureHash(profile(48_000).config.value)]]),
    });
    expect(edited.intent).not.toBe(shippedWith(48_000).intent);
    expect(shippedWith(96_000, false).intent).not.toBe(shippedWith(48_000, false).intent);
  });
});

test('gain, high-pass and archive of a shipped profile, edited, interrupt nothing', () => {
  const shipped = profileConfig();
  const runningWith = (config: typeof shipped) => {
    const [first] = specInput().desired.profiles;
    if (first === undefined) throw new Error('no profile in the sample');
    const profile = { ...first, isSystem: true, config: { ok: true as const, value: config } };
    const desired = { ...specInput().desired, profiles: [profile] };
    return running({ desired, seedHashes: new Map([[first.slug, captureHash(shipped)]]) });
  };
  const edited = runningWith({ ...shipped, archive: 'flac', processed: { gainDb: 12, highPassHz: 200 } });
  expect(edited.intent).toBe(runningWith(shipped).intent);
  expect(edited.template).toBe(runningWith(shipped).template);
  expect(runningWith({ ...shipped, segmentSeconds: 30 }).intent).not.toBe(edited.intent);
});

describe('nothing runs without a reason', () => {
  const row = deviceRow(ID);
  const heard = (given: Partial<Microphone>) => new Map([[ID, microphone(given)]]);
  const late = { reason: 'CardLate', message: 'It will come.', lasting: false };
  const deaf = { reason: 'NoCapture', message: 'It captures nothing.', lasting: true };
  const { sound } = microphone();
  if (sound === null) throw new Error('the sample has no sound');
  const offers = [{ format: 'A_LAW', channels: 1, rates: { kind: 'list' as const, values: [48_000] } }];
  const odd = { ...sound, capabilities: { offers } };
  test.each([
    ['not plugged in', { present: new Map() }, 'off', 'offline', 'NotPlugged'],
    ['ignored', { rows: [{ ...row, enrollmentStatus: 'ignored' as const }] }, 'off', 'ignored', 'Ignored'],
    ['pending', { rows: [{ ...row, enrollmentStatus: 'pending' as const }] }, 'off', 'pending', 'DecisionNeeded'],
    ['switched off', { rows: [{ ...row, enabled: false }] }, 'off', 'disabled', 'SwitchedOff'],
    ['no profile', { rows: [{ ...row, profileSlug: null }] }, 'off', 'pending', 'NoProfile'],
    ['USB unread', { unknown: new Set([ID]), present: new Map() }, 'hold', 'waiting', 'UsbUnknown'],
    ['flapping', { flapping: new Map([[ID, { count: 5, untilMs: 9 }]]) }, 'hold', 'backoff', 'FlappingPlug'],
    [
      'no disk',
      { workspaceProblem: { reason: 'WorkspaceMissing', message: 'mount it' } },
      'hold',
      'blocked',
      'WorkspaceMissing',
    ],
    [
      'a folder that is not its own',
      { rows: [{ ...row, workspace: 'evil-00000000' }] },
      'hold',
      'blocked',
      'WorkspaceNameWrong',
    ],
    [
      'broken settings',
      { rows: [{ ...row, settings: { ok: false as const, message: 'x' } }] },
      'hold',
      'blocked',
      'SettingsInvalid',
    ],
    ['no sound card yet', { present: heard({ sound: null }) }, 'hold', 'waiting', 'WaitingForSound'],
    ['a card that is late', { present: heard({ sound: null, obstacle: late }) }, 'hold', 'waiting', 'CardLate'],
    ['nothing to hear with', { present: heard({ sound: null, obstacle: deaf }) }, 'hold', 'blocked', 'NoCapture'],
    [
      'switched off, USB unread',
      { unknown: new Set([ID]), present: new Map(), rows: [{ ...row, enabled: false }] },
      'off',
      'disabled',
      'SwitchedOff',
    ],
    ['nothing offered that can be written', { present: heard({ sound: odd }) }, 'hold', 'blocked', 'FormatUnsupported'],
    ['an unknown profile', { rows: [{ ...row, profileSlug: 'gone' }] }, 'hold', 'blocked', 'ProfileMissing'],
  ])('%s', (_name, given, kind, phase, reason) => {
    expect(wish(given)).toMatchObject({ kind, phase, reason });
  });

  test('one about which nobody decided says what stands in the way, or what would fit', () => {
    const told = (suggestedProfile: string | null, given: Partial<Microphone> = {}) =>
      wish({ rows: [{ ...row, enrollmentStatus: 'pending', suggestedProfile }], present: heard(given) });
    expect(told('umik-1').message).toContain('suggested profile: umik-1');
    expect(told(null).message).toContain('no profile matches');
    expect(told(null, { sound: null, obstacle: deaf })).toMatchObject({ phase: 'pending', reason: 'NoCapture' });
  });

  test('a folder name of any length is told in few words', () => {
    const { message } = wish({ rows: [{ ...row, workspace: 'x'.repeat(5000) }] });
    expect(message.length).toBeLessThan(400);
  });

  test('a container exists exactly when the rule says so', () => {
    fc.assert(
      fc.property(
        fc.record({
          present: fc.boolean(),
          enabled: fc.boolean(),
          enrollmentStatus: fc.constantFrom('pending' as const, 'enrolled' as const, 'ignored' as const),
          profileSlug: fc.constantFrom(null, 'umik-1'),
        }),
        ({ present, ...columns }) => {
          const wished = wish({
            rows: [deviceRow(ID, columns)],
            present: new Map(present ? [[ID, microphone()]] : []),
          });
          const rule =
            present && columns.enabled && columns.enrollmentStatus === 'enrolled' && columns.profileSlug !== null;
          expect(wished.kind === 'run').toBe(rule);
        },
      ),
    );
  });
});

describe('for any names and serials', () => {
  test('every container has its limits, and nothing leads out of its folders', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), fc.string({ unit: 'binary' }), (id, product, name) => {
        const row = deviceRow(id, { name, product, workspace: workspaceName(id, product) });
        const { spec } = running({ rows: [row], present: new Map([[id, microphone({ product })]]) });
        for (const limit of Object.values(spec.limits)) expect(Number.isFinite(limit)).toBe(true);
        expect(spec.name).toMatch(/^[a-z0-9-]{1,80}$/);
        for (const { source } of spec.binds)
          expect(source).toMatch(/^\/(srv\/silvasonic\/recorder|run\/silvasonic)\/[a-z0-9-]+$/);
        expect(recorderConfigSchema.safeParse(JSON.parse(spec.env.SILVASONIC_RECORDER_CONFIG_JSON ?? '')).success).toBe(
          id.length <= 200,
        );
      }),
    );
  });

  test('however long names are: the recorder takes its configuration', () => {
    const long = 'x'.repeat(5000);
    const row = deviceRow(ID, { name: long, manufacturer: long, product: long, serial: long });
    const config = { ...specInput().desired.config, name: long };
    for (const given of [{}, { manufacturer: long, model: long }]) {
      const profiles = specInput().desired.profiles.map((profile) => ({ ...profile, ...given }));
      const { spec } = running({
        rows: [{ ...row, workspace: workspaceName(ID, 'x') }],
        desired: { ...specInput().desired, config, profiles },
      });
      expect(recorderConfigSchema.safeParse(JSON.parse(spec.env.SILVASONIC_RECORDER_CONFIG_JSON ?? '')).success).toBe(
        true,
      );
    }
  });

  test('what the profile calls the microphone stands in its files rather than what the hardware does', () => {
    const profiles = specInput().desired.profiles.map((profile) => ({
      ...profile,
      manufacturer: 'Maker',
      model: 'M1',
    }));
    const { spec } = running({ desired: { ...specInput().desired, profiles } });
    expect(JSON.parse(spec.env.SILVASONIC_RECORDER_CONFIG_JSON ?? '')).toMatchObject({
      microphone: { manufacturer: 'Maker', model: 'M1' },
    });
  });

  test('the order of the rows decides nothing', () => {
    const rows = ['b', 'a', 'c'].map((id) => deviceRow(id));
    const subjects = [rows, [...rows].reverse()].map((some) => wishes(specInput({ rows: some })).map((w) => w.subject));
    expect(subjects).toEqual([0, 1].map(() => ['recorder:a', 'recorder:b', 'recorder:c']));
  });

  test('two devices never share container or folder', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 50 }), { minLength: 2, maxLength: 8 }), (ids) => {
        const rows = ids.map((id) => deviceRow(id));
        const wished = wishes(
          specInput({ rows, present: new Map(ids.map((id) => [id, microphone({ portPath: id })])) }),
        );
        const names = wished.map((one) => (one.kind === 'run' ? one.spec.name : ''));
        expect(new Set(names).size).toBe(ids.length);
      }),
    );
  });
});

test('an explicit rate that the hardware has not is recorded nearest, with a sentence', () => {
  const profiles = specInput().desired.profiles.map((profile) => ({
    ...profile,
    config: {
      ok: true as const,
      value: profileConfig({ audio: { rate: 384_000, channels: 'native', format: 'native' } }),
    },
  }));
  const wished = running({ desired: { ...specInput().desired, profiles } });
  expect(JSON.parse(wished.spec.env.SILVASONIC_RECORDER_CONFIG_JSON ?? '')).toMatchObject({ rate: 48_000 });
  expect(wished.message).toMatch(/384000|384 kHz|384,000/);
  expect(wished.reason).toMatch(/^[A-Z]/);
  expect(running()).toMatchObject({ reason: '', message: '' });
});
