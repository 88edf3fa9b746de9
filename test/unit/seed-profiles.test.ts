import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { negotiate } from '../../services/shared/negotiate.ts';
import { GENERIC_PROFILE_SLUG, matchProfile, VIRTUAL_PROFILE_SLUG } from '../../services/shared/profile.ts';
import { loadSeedProfiles } from '../../services/shared/seeds.ts';
import * as usb from '../integration/usb-devices.ts';

const SEEDS = 'profiles/microphones';
const good = (slug: string) => `slug: ${slug}
name: A microphone
description: For a test.
manufacturer: Somebody
model: M1
match: { name: ${slug} }
audio: { rate: native, channels: native, format: native }
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-seeds-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('every profile that comes with the release is good, and bears the name of its file', () => {
  const { profiles, problems } = loadSeedProfiles(SEEDS);
  expect(problems).toEqual([]);
  const files = readdirSync(SEEDS).map((name) => name.replace(/\.yml$/, ''));
  expect(profiles.map(({ slug }) => slug).sort()).toEqual(files.sort());
  expect(files).toEqual(expect.arrayContaining([GENERIC_PROFILE_SLUG, VIRTUAL_PROFILE_SLUG, 'minidsp-umik-1']));
});

test.each([
  ['16d0', '06f3', '384kHz AudioMoth USB Microphone', { kind: 'exact', slug: 'audiomoth-usb' }],
  ['16d0', '06f3', '48kHz AudioMoth USB Microphone', { kind: 'exact', slug: 'audiomoth-usb' }],
  ['0869', '0389', 'UltraMic 384K EVO', { kind: 'exact', slug: 'dodotronic-ultramic-384k-evo' }],
  ['0869', '0308', 'UltraMic 192K 16 bit', { kind: 'exact', slug: 'dodotronic-ultramic-192k' }],
  ['0869', '0309', 'UltraMic 250K 16 bit r4', { kind: 'named', slug: 'dodotronic-ultramic-250k' }],
  ['287d', '0150', 'Pettersson u384', { kind: 'named', slug: 'pettersson-m500-384' }],
  ['19f7', '0003', 'RODE NT-USB', { kind: 'exact', slug: 'rode-nt-usb' }],
  ['1397', '0507', 'UMC202HD 192k', { kind: 'exact', slug: 'behringer-umc202hd' }],
  ['1397', '0508', 'UMC204HD 192k', { kind: 'exact', slug: 'behringer-umc204hd' }],
  ['1235', '8006', 'Scarlett 2i2 USB', { kind: 'exact', slug: 'focusrite-scarlett-2i2-1st' }],
  ['1235', '8210', 'Scarlett 2i2 USB', { kind: 'exact', slug: 'focusrite-scarlett-2i2-3rd' }],
  ['1235', '8211', 'Scarlett Solo USB', { kind: 'exact', slug: 'focusrite-scarlett-solo-3rd' }],
  ['0d8c', '013c', 'USB PnP Sound Device', { kind: 'exact', slug: 'c-media-cm108' }],
  ['0d8c', '0014', 'USB PnP Sound Device', { kind: 'exact', slug: 'c-media-cm108-0014' }],
  ['0d8c', '013c', 'Some Headset', { kind: 'none' }],
  ['08bb', '2902', 'USB Audio CODEC', { kind: 'exact', slug: 'ti-pcm2902' }],
  ['08bb', '2902', 'M-Track', { kind: 'none' }],
  ['041e', '324d', 'Sound Blaster Play! 3', { kind: 'exact', slug: 'sound-blaster-play-3' }],
  ['31b2', '0011', 'BY-LM40', { kind: 'exact', slug: 'boya-by-lm40' }],
  ['31b2', '0011', 'Another Product', { kind: 'none' }],
  ['0d8c', '0005', 'Blue Snowball', { kind: 'exact', slug: 'blue-snowball' }],
  ['2752', '0007', 'UMIK-1', { kind: 'exact', slug: 'minidsp-umik-1' }],
  ['0000', '0001', 'Virtual microphone', { kind: 'exact', slug: VIRTUAL_PROFILE_SLUG }],
  ['1234', '5678', 'Field Microphone', { kind: 'none' }],
])('%s:%s %s', (vendorId, productId, product, expected) => {
  expect(matchProfile({ vendorId, productId, product }, loadSeedProfiles(SEEDS).profiles)).toEqual(expected);
});

test('known microphones record by their profile as it is, without a warning', () => {
  const { profiles } = loadSeedProfiles(SEEDS);
  for (const spec of [usb.umik1(), usb.cm108(), usb.audioMoth(), usb.audioInterface(), usb.plainMicrophone()]) {
    const match = matchProfile({ ...spec, product: spec.product ?? '' }, profiles);
    const slug = match.kind === 'exact' ? match.slug : GENERIC_PROFILE_SLUG;
    const profile = profiles.find((each) => each.slug === slug);
    if (profile === undefined) throw new Error(`there is no profile ${slug}`);
    const offers = (spec.sound?.capture ?? []).map(({ format, channels, rates }) => {
      const offered = Array.isArray(rates)
        ? { kind: 'list' as const, values: rates }
        : { kind: 'range' as const, ...rates };
      return { format, channels, rates: offered };
    });
    expect(negotiate(profile.config, { offers }, {})).toMatchObject({ ok: true, warnings: [] });
  }
});

test('what cannot be used is named, and the rest goes on', () => {
  const put = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
  put('a-good.yml', good('one'));
  put('b-same-slug.yaml', good('one'));
  put('c-empty.yml', '');
  put('d-huge.yml', `${good('huge')}#${'x'.repeat(100_000)}`);
  put('e-bytes.yml', Uint8Array.from([0xff, 0xfe, 0x00]));
  put('f-aliases.yml', 'a: &a [1]\nb: [*a, *a]\n');
  put('outside.txt', good('outside'));
  symlinkSync(join(folder, 'outside.txt'), join(folder, 'g-link.yml'));
  symlinkSync('/nowhere', join(folder, 'h-broken-link.yml'));
  execFileSync('mkfifo', [join(folder, 'i-fifo.yml')]);
  mkdirSync(join(folder, 'j-folder.yml'));
  put('z-good.yml', good('two'));

  const { profiles, problems } = loadSeedProfiles(folder);
  expect(profiles.map(({ slug }) => slug)).toEqual(['one', 'two']);
  expect(problems).toEqual([
    expect.stringMatching(/^b-same-slug\.yaml: slug one is already used by a-good\.yml/),
    expect.stringMatching(/^c-empty\.yml: is empty/),
    expect.stringMatching(/^d-huge\.yml: .*at most 65536/),
    expect.stringMatching(/^e-bytes\.yml: is not UTF-8/),
    expect.stringMatching(/^f-aliases\.yml: .*Alias/),
    expect.stringMatching(/^g-link\.yml: is a link/),
    expect.stringMatching(/^h-broken-link\.yml: is a link/),
    expect.stringMatching(/^i-fifo\.yml: is not a regular file/),
    expect.stringMatching(/^j-folder\.yml: is not a regular file/),
  ]);
});

test('a folder that is not there is a problem with a name', () => {
  const { profiles, problems } = loadSeedProfiles(join(folder, 'missing'));
  expect(profiles).toEqual([]);
  expect(problems).toEqual([expect.stringContaining('missing cannot be read')]);
});
