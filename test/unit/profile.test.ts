import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  captureHash,
  matchProfile,
  type ProfileConfig,
  parseDeviceSettings,
  parseProfileConfig,
  parseProfileYaml,
} from '../../services/shared/profile.ts';

const GOOD = `slug: my-microphone
name: My microphone
description: Found in a drawer.
manufacturer: Somebody
model: M1
match: { vid: '16d0', pid: '06f3' }
audio: { rate: 96000, channels: 1, format: S16_LE }
`;

function config(match: Partial<ProfileConfig['match']>): ProfileConfig {
  const parsed = parseProfileConfig({ match, audio: { rate: 'native', channels: 'native', format: 'native' } });
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

function messageOf(text: string | Uint8Array): string {
  const parsed = parseProfileYaml(text, 'my.yml');
  if (parsed.ok) throw new Error('was accepted');
  return parsed.message;
}

test('a profile file is read, and what it leaves out has its default', () => {
  const parsed = parseProfileYaml(Buffer.from(GOOD), 'my.yml');
  expect(parsed).toEqual({
    ok: true,
    value: {
      slug: 'my-microphone',
      name: 'My microphone',
      description: 'Found in a drawer.',
      manufacturer: 'Somebody',
      model: 'M1',
      config: {
        match: { vid: '16d0', pid: '06f3', name: null, priority: 0 },
        audio: { rate: 96_000, channels: 1, format: 'S16_LE' },
        segmentSeconds: 60,
        processed: { gainDb: 0, highPassHz: 0 },
        archive: 'wav',
        watch: { silentBelowDbfs: -90, silentAfterSeconds: 5, clipAtDbfs: -0.1 },
      },
    },
  });
});

test('a refusal names the file, the field, what was given and what is allowed', () => {
  expect(messageOf(GOOD.replace('96000', '12'))).toBe(
    'my.yml: audio.rate: 12 was given; allowed is native, or a whole number of frames per second from 4000 to 1000000.',
  );
  expect(messageOf(GOOD.replace('96000', 'fast'))).toContain(
    'audio.rate: "fast" was given; allowed is native, or a whole',
  );
  expect(messageOf(GOOD.replace("'06f3'", '389'))).toMatch(/^my\.yml: match\.pid: 389 was given; .*in quotes/);
  expect(messageOf(GOOD.replace('name: My', 'nome: My'))).toContain('"nome" is not a field of it');
  expect(messageOf(GOOD.replace('my-microphone', 'My Microphone'))).toContain('slug: "My Microphone" was given');
  expect(messageOf(GOOD.replace('My microphone', '"a\\0b"'))).toContain('printable');
  expect(messageOf(GOOD.replace('name: My microphone\n', ''))).toContain('name: nothing was given');
});

test('each refused field is listed by its path', () => {
  const parsed = parseProfileConfig({
    match: { pid: '0001' },
    audio: { rate: 1, channels: 0, format: 'MP3' },
    archive: 3,
  });
  expect(parsed.ok ? [] : parsed.fields.map(({ path }) => path).sort()).toEqual([
    'archive',
    'audio.channels',
    'audio.format',
    'audio.rate',
    'match',
  ]);
  expect(parseDeviceSettings({ rate: 48_000, gainDb: null })).toMatchObject({ ok: true });
  expect(parseDeviceSettings({ device: '/dev/sda' })).toMatchObject({ ok: false });
});

test('a vendor alone, or a product without its vendor, matches too much to be allowed', () => {
  const audio = { rate: 'native', channels: 'native', format: 'native' };
  expect(parseProfileConfig({ match: { vid: '16d0' }, audio }).ok).toBe(false);
  expect(parseProfileConfig({ match: { pid: '16d0', name: 'x' }, audio }).ok).toBe(false);
  expect(parseProfileConfig({ match: { vid: '16d0', name: 'x' }, audio }).ok).toBe(true);
  expect(parseProfileConfig({ match: {}, audio }).ok).toBe(true);
});

test.each([
  ['nothing', '', 'is empty'],
  ['a comment', '# nothing\n', 'is empty'],
  ['a key twice', `${GOOD}slug: another\n`, 'unique'],
  ['two documents', `${GOOD}---\n${GOOD}`, 'multiple documents'],
  ['an alias', 'a: &a [1]\nb: *a\n', 'Alias'],
  [
    'aliases that unfold',
    `a: &a [x,x,x,x,x]\n${'bcdefghij'.replace(/./g, (key) => {
      const before = String.fromCharCode(key.charCodeAt(0) - 1);
      return `${key}: &${key} [${Array(9).fill(`*${before}`).join(',')}]\n`;
    })}`,
    'Alias',
  ],
  ['a tag', '!!js/function x', 'YAML'],
  ['bottomless nesting', '['.repeat(60_000), 'nested'],
  // It ended the whole process once: V8 had no stack left for the library's next regular expression.
  ['bottomless groups', '{'.repeat(65_536), 'nested'],
  ['bottomless lists', '- '.repeat(30_000), 'nested'],
  ['thousands of mistakes, told by the first', '&a '.repeat(20_000), 'at line 1, column 4'],
  ['more than is allowed', `${GOOD}#${' '.repeat(70_000)}`, 'at most 65536'],
  ['a list', '- 1\n- 2\n', 'was given'],
  ['a prototype', `${GOOD}__proto__: { x: 1 }\n`, '__proto__'],
])('refused with a sentence: %s', (_name, text, expected) => {
  expect(messageOf(text)).toContain(expected);
});

test('a sentence stays one that can be read, however many keys there are and however long they are', () => {
  const many = Array.from({ length: 200 }, (_, index) => `key${index}: 1\n`).join('');
  expect(messageOf(`${GOOD}${many}`)).toMatch(/"key0".*and 190 more is not a field/);
  expect(messageOf(`${GOOD}${'k'.repeat(1000)}: 1\n`).length).toBeLessThan(300);
});

test('bytes that are not UTF-8 are refused', () => {
  expect(messageOf(Uint8Array.from([0x61, 0x3a, 0xff, 0xfe]))).toContain('not UTF-8');
});

test('no bytes and no value make a parser throw', () => {
  const pieces = fc.constantFrom(
    ...GOOD.split(/(?<=\n)|(?<=: )/),
    '&a ',
    '*a',
    '<<: ',
    '!!x ',
    '{',
    '[',
    '? ',
    '- ',
    '|\n',
    '\t',
    '"',
  );
  const anyYaml = fc.oneof(
    fc.string(),
    fc.array(pieces, { maxLength: 40 }).map((each) => each.join('')),
  );
  fc.assert(
    fc.property(anyYaml, fc.uint8Array(), fc.anything(), (text, bytes, value) => {
      for (const parsed of [
        parseProfileYaml(text, 'f'),
        parseProfileYaml(bytes, 'f'),
        parseProfileConfig(value),
        parseDeviceSettings(value),
      ]) {
        if (!parsed.ok) expect(parsed.message).not.toBe('');
      }
    }),
    { numRuns: 1000 },
  );
});

test('equal configs hash equally in whatever order their keys stand, others differently', () => {
  const one = config({ vid: '16d0', pid: '06f3' });
  const turned = parseProfileConfig(Object.fromEntries(Object.entries(one).reverse()));
  expect(turned.ok && captureHash(turned.value)).toBe(captureHash(one));
  expect(captureHash({ ...one, segmentSeconds: 61 })).not.toBe(captureHash(one));
  expect(captureHash({ ...one, archive: 'flac' })).toBe(captureHash(one));
  expect(captureHash(one)).toBe('2b3146912487f26d96ebc5a41a36dc6cb9acc07e073e371b19d7eefb2c482bdf');
});

test('ids beat names, a name beside the ids beats none, then the priority decides, and equals are ambiguous', () => {
  const microphone = { vendorId: '0d8c', productId: '013c', product: 'USB PnP Sound Device' };
  const profiles = {
    byName: { slug: 'by-name', config: config({ name: 'pnp*device' }) },
    byVendor: { slug: 'by-vendor', config: config({ vid: '0d8c', name: 'pnp' }) },
    byIds: { slug: 'by-ids', config: config({ vid: '0d8c', pid: '013c' }) },
    byAll: { slug: 'by-all', config: config({ vid: '0d8c', pid: '013c', name: 'USB PNP' }) },
    otherName: { slug: 'other-name', config: config({ vid: '0d8c', pid: '013c', name: 'Snowball', priority: 9 }) },
    generic: { slug: 'generic', config: config({}) },
  };
  const { byName, byVendor, byIds, byAll, otherName, generic } = profiles;
  expect(matchProfile(microphone, [generic, byName, byVendor, byIds, byAll, otherName])).toEqual({
    kind: 'exact',
    slug: 'by-all',
  });
  expect(matchProfile(microphone, [byName, byIds])).toEqual({ kind: 'exact', slug: 'by-ids' });
  expect(matchProfile(microphone, [byName, byVendor])).toEqual({ kind: 'named', slug: 'by-vendor' });
  expect(matchProfile(microphone, [generic, byName])).toEqual({ kind: 'named', slug: 'by-name' });
  expect(matchProfile(microphone, [generic, otherName])).toEqual({ kind: 'none' });
  expect(matchProfile(microphone, [byIds, { ...byIds, slug: 'again' }])).toEqual({
    kind: 'ambiguous',
    slugs: ['again', 'by-ids'],
  });
  const preferred = { slug: 'preferred', config: config({ vid: '0d8c', pid: '013c', priority: 1 }) };
  expect(matchProfile(microphone, [byIds, preferred, { ...byIds, slug: 'again' }])).toEqual({
    kind: 'exact',
    slug: 'preferred',
  });
});

test('a pattern that would keep a regular expression busy for years is matched at once', () => {
  const pattern = 'a*'.repeat(49);
  const microphone = { vendorId: '1234', productId: '5678', product: 'a'.repeat(48) };
  expect(matchProfile(microphone, [{ slug: 'x', config: config({ name: `${pattern}b` }) }])).toEqual({ kind: 'none' });
});
