/** What is remembered of an earlier cycle must be what would be worked out anew: whatever changes, one at a time. */
import { describe, expect, test } from 'vitest';
import { type SpecInput, wishes } from '../../services/controller/spec.ts';
import type { DeviceRow } from '../../services/controller/world.ts';
import { catalogueEntrySchema } from '../../services/shared/catalogue.ts';
import { desiredState, deviceRow, failed, microphone, profileRow, reading, specInput } from './sample-world.ts';

const ID = '2752-0007-000-0000';
const ENTRY = catalogueEntrySchema.parse({
  name: 'helper',
  title: 'Helper',
  description: 'Helps.',
  image: 'localhost/silvasonic-helper:latest',
  limits: { memoryMebibytes: 128, cpus: 0.5, pids: 32 },
  network: 'station',
  secrets: [{ name: 'key', description: 'The key.' }],
});
/** Others that stand before it in the catalogue; the second and third are told of microphones, each in its way. */
const OTHERS = [
  { name: 'first', station: {} },
  { name: 'told', station: { microphones: 'told' } },
  { name: 'listening', station: { liveSound: true }, ports: [{ port: 8001, container: 80 }] },
].map((given) =>
  catalogueEntrySchema.parse({
    ...given,
    title: 'Other',
    description: 'Is there.',
    image: 'localhost/silvasonic-other:latest',
    limits: { memoryMebibytes: 128, cpus: 0.5, pids: 32 },
    network: 'station',
  }),
);

// All of it is made anew when the tests are run again: wishes are remembered by what they were made from.
describe('wishes', () => {
  const SERVICE = {
    name: 'helper',
    enabled: true,
    settings: {},
    restartToken: '',
    generation: 1,
    observedGeneration: 0,
    phase: 'disabled' as const,
    reason: '',
    message: '',
  };
  const row = deviceRow(ID);
  const base = specInput({
    rows: [row],
    desired: desiredState({
      devices: [row],
      services: [SERVICE, ...OTHERS.map(({ name }) => ({ ...SERVICE, name }))],
    }),
    catalogue: [...OTHERS, ENTRY],
    images: { [ENTRY.image]: 'sha256:helper' },
    secrets: new Map([['helper', reading({ key: 'v1' })]]),
  });

  const columns: Partial<DeviceRow>[] = [
    { phase: 'recording', reason: 'Recording', message: 'Recording.', observedGeneration: 1, lastSeenAt: 5 },
    { generation: 2 },
    { name: 'Pond' },
    { serial: 'other' },
    { manufacturer: 'Other' },
    { product: 'Other' },
    { capabilities: { offers: [] } },
    { enabled: false },
    { enrollmentStatus: 'ignored' },
    { enrollmentStatus: 'pending', suggestedProfile: 'other' },
    { profileSlug: null },
    { settings: { ok: true, value: { segmentSeconds: 30 } } },
    { settings: { ok: false, message: 'Wrong.' } },
    { restartToken: 'again' },
    { workspace: 'another-folder' },
  ];

  const changes: [string, Partial<SpecInput>][] = [
    ['nothing', {}],
    ...columns.map((change): [string, Partial<SpecInput>] => [
      `the row: ${JSON.stringify(change)}`,
      { rows: [{ ...row, ...change }] },
    ]),
    ['another stay', { present: new Map([[ID, microphone({ incarnation: 'other' })]]) }],
    ['not there', { present: new Map() }],
    ['not known', { present: new Map(), unknown: new Set([ID]) }],
    ['missed', { missing: new Set([ID]) }],
    ['flapping', { flapping: new Map([[ID, { count: 5, untilMs: 99_000 }]]) }],
    ['flapping for longer', { flapping: new Map([[ID, { count: 6, untilMs: 120_000 }]]) }],
    ['held by somebody', { holders: new Map([[ID, 'pulseaudio']]) }],
    ['another image', { recorderImage: { ...base.recorderImage, id: 'sha256:b' } }],
    ['another tag', { recorderImage: { ...base.recorderImage, reference: 'localhost/other:latest', id: null } }],
    ['another operator', { operator: { ...base.operator, recorderCpus: 2, network: 'other-net' } }],
    ['other seeds', { seedHashes: new Map([['umik-1', 'abc']]) }],
    ['no room', { workspaceProblem: { reason: 'WorkspaceMissing', message: 'It is gone.' } }],
    [
      'another profile',
      { desired: { ...base.desired, profiles: [profileRow('umik-1', {}, { manufacturer: 'Other' })] } },
    ],
    [
      'another name of the station',
      { desired: { ...base.desired, config: { ...base.desired.config, name: 'Meadow' } } },
    ],
    ['no entry', { catalogue: [] }],
    ['another entry', { catalogue: [{ ...ENTRY, env: { OTHER: '1' } }] }],
    [
      'one that is told of microphones',
      { catalogue: [{ ...ENTRY, station: { ...ENTRY.station, microphones: 'restart' } }] },
    ],
    ['another image of the service', { images: { [ENTRY.image]: 'sha256:helper2' } }],
    ['no image of the service', { images: {} }],
    ['another secret', { secrets: new Map([['helper', reading({ key: 'v2' })]]) }],
    ['no secret', { secrets: new Map([['helper', reading({ key: null })]]) }],
    ['an open secret', { secrets: new Map([['helper', reading({ key: 'open' })]]) }],
    ['nobody looked for secrets', { secrets: new Map() }],
  ];

  describe('after every change', () => {
    for (const [before, earlier] of changes)
      test(`of "${before}", wishes are what they would be without a memory`, () => {
        for (const [, change] of changes) {
          wishes({ ...base, ...earlier });
          const input = { ...base, ...change };
          expect(wishes(input)).toEqual(wishes(structuredClone(input)));
        }
      });
  });

  test('what has not changed is the very same wish', () => {
    const before = wishes(base);
    const again = wishes({ ...base, images: { ...base.images } });
    const same = again.flatMap((wish, index) => (wish === before[index] ? [wish.subject] : []));
    expect(same).toEqual([`recorder:${ID}`, 'service:helper', 'service:first']);
  });

  test('a row that only fares otherwise is wished the same, and told of as it is now', () => {
    const [before] = wishes(base);
    const told = { ...row, phase: 'stalled' as const };
    const [after] = wishes({ ...base, rows: [told] });
    expect(after?.told).toBe(told);
    expect(after?.kind === 'run' && before?.kind === 'run' && after.spec === before.spec).toBe(true);
  });

  describe('a service and its secrets', () => {
    const wishedWith = (given: Partial<SpecInput>) =>
      wishes({ ...base, ...given }).find(({ subject }) => subject === 'service:helper');
    const wished = (key: string | null) => wishedWith({ secrets: new Map([['helper', reading({ key })]]) });

    test('there: it runs, with the file; without or readable for others: blocked, and the sentence says what to do', () => {
      expect(wished('v1')).toMatchObject({ kind: 'run' });
      expect(wished(null)).toMatchObject({ kind: 'hold', phase: 'blocked', reason: 'SecretMissing' });
      expect(wished('open')).toMatchObject({ kind: 'hold', phase: 'blocked', reason: 'SecretOpen' });
      expect(wished('open')?.message).toContain('chmod 600');
      expect(wished('foreign')).toMatchObject({ kind: 'hold', phase: 'blocked', reason: 'SecretForeign' });
      expect(wished('foreign')?.message).toContain('chown');
      const unread = { phase: 'blocked', reason: 'SecretsUnreadable' };
      expect(wishedWith({ secrets: new Map() })).toMatchObject(unread);
      expect(wishedWith({ secrets: new Map([['helper', failed('EIO: the disk')]]) })).toMatchObject({
        ...unread,
        message: 'EIO: the disk',
      });
    });

    test('without the disk: what works with recordings is blocked, what does not runs', () => {
      const workspaceProblem = { reason: 'WorkspaceMissing', message: 'It is gone.' };
      const working = (recordings: 'none' | 'read-only') =>
        wishedWith({ workspaceProblem, catalogue: [{ ...ENTRY, recordings }] });
      expect(working('read-only')).toMatchObject({ kind: 'hold', phase: 'blocked', ...workspaceProblem });
      expect(working('none')).toMatchObject({ kind: 'run' });
    });

    test('a port that the station itself uses: blocked, with the place where another one is written', () => {
      const taken = { ...ENTRY, ports: [{ port: 8090, container: 80, address: '0.0.0.0' }] };
      expect(wishedWith({ catalogue: [taken] })).toMatchObject({ kind: 'hold', phase: 'blocked', reason: 'PortTaken' });
      expect(wishedWith({ catalogue: [taken] })?.message).toContain('helper.yml');
      const free = { ...ENTRY, ports: [{ port: 8091, container: 80, address: '0.0.0.0' }] };
      expect(wishedWith({ catalogue: [free] })).toMatchObject({ kind: 'run' });
    });
  });
});
