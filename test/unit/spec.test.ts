import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SpecInput, wishes } from '../../services/controller/spec.ts';
import type { Wish } from '../../services/controller/world.ts';
import { LABEL, recorderConfigSchema, workspaceName } from '../../services/shared/contract.ts';
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
      SILVASONIC_RECORDER_PROFILE_SLUG: 'umik-1',
      SILVASONIC_INSTANCE_ID: `recorder-${workspaceName(ID, 'UMIK-1')}`,
    });
    expect(recorderConfigSchema.parse(JSON.parse(json ?? ''))).toMatchObject({
      rate: 48_000,
      channels: 2,
      format: 'S24_3LE',
    });
    expect(spec).toMatchObject({
      name: `silvasonic-0f0e0d0c-recorder-${workspaceName(ID, 'UMIK-1')}`,
      image: 'localhost/silvasonic-recorder:latest',
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
      intent: 'cb4021b5a48186779c367eceb43a0962',
      template: '007493d6cc88426ac21e86a5a9c17461',
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
  });

  test('an image that cannot be looked up: nothing is said of the template', () => {
    expect(
      running({ recorderImage: { reference: 'localhost/silvasonic-recorder:latest', id: null } }).template,
    ).toBeNull();
  });

  test('capabilities that cannot be read this time are the remembered ones', () => {
    const deaf = microphone();
    const sound = deaf.sound === null ? null : { ...deaf.sound, capabilities: { offers: [] } };
    expect(running({ present: new Map([[ID, { ...deaf, sound }]]) }).intent).toBe(base.intent);
  });
});

describe('nothing runs without a reason', () => {
  const row = deviceRow(ID);
  test.each([
    ['not plugged in', { present: new Map() }, 'off', 'offline', 'NotPlugged'],
    ['ignored', { rows: [{ ...row, enrollmentStatus: 'ignored' as const }] }, 'off', 'ignored', 'Ignored'],
    ['pending', { rows: [{ ...row, enrollmentStatus: 'pending' as const }] }, 'off', 'pending', 'DecisionNeeded'],
    ['switched off', { rows: [{ ...row, enabled: false }] }, 'off', 'disabled', 'SwitchedOff'],
    ['no profile', { rows: [{ ...row, profileSlug: null }] }, 'off', 'pending', 'NoProfile'],
    ['USB unread', { presenceKnown: false, present: new Map() }, 'hold', 'waiting', 'UsbUnknown'],
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
    ['an unknown profile', { rows: [{ ...row, profileSlug: 'gone' }] }, 'hold', 'blocked', 'ProfileMissing'],
  ])('%s', (_name, given, kind, phase, reason) => {
    expect(wish(given)).toMatchObject({ kind, phase, reason });
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

  test('two devices never share container or folder', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 50 }), { minLength: 2, maxLength: 8 }), (ids) => {
        const rows = ids.map((id) => deviceRow(id));
        const wished = wishes(specInput({ rows, present: new Map(ids.map((id) => [id, microphone()])) }));
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
});
