import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BYTES_PER_SAMPLE, recorderConfigSchema, SAMPLE_FORMATS } from '../../services/shared/contract.ts';
import { type Negotiation, negotiate } from '../../services/shared/negotiate.ts';
import { type CaptureOffer, type ProfileConfig, parseProfileConfig } from '../../services/shared/profile.ts';

type Audio = ProfileConfig['audio'];

function profile(audio: Partial<Audio> = {}, rest: Record<string, unknown> = {}): ProfileConfig {
  const parsed = parseProfileConfig({
    match: {},
    audio: { rate: 'native', channels: 'native', format: 'native', ...audio },
    ...rest,
  });
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

function offer(format: string, channels: number, ...values: number[]): CaptureOffer {
  return { format, channels, rates: { kind: 'list', values } };
}

function settled(result: Negotiation): Extract<Negotiation, { ok: true }> {
  if (!result.ok) throw new Error(result.message);
  return result;
}

const umik = [offer('S24_3LE', 2, 48_000)];

test.each([
  ['the only thing there is', umik, { rate: 48_000, channels: 2, format: 'S24_3LE' }],
  [
    'the nearest rate at or above 48 kHz',
    [offer('S16_LE', 1, 16_000, 44_100, 96_000, 192_000)],
    { rate: 96_000, channels: 1, format: 'S16_LE' },
  ],
  [
    'the highest, where all are lower',
    [offer('S16_LE', 1, 8000, 44_100, 16_000)],
    { rate: 44_100, channels: 1, format: 'S16_LE' },
  ],
  [
    'the only rate of an ultrasound microphone',
    [offer('S16_LE', 1, 384_000)],
    { rate: 384_000, channels: 1, format: 'S16_LE' },
  ],
  [
    '48 kHz within a range',
    [{ format: 'S16_LE', channels: 2, rates: { kind: 'range', min: 8000, max: 96_000 } }],
    { rate: 48_000, channels: 2, format: 'S16_LE' },
  ],
  [
    'the upper end of a low range',
    [{ format: 'S16_LE', channels: 2, rates: { kind: 'range', min: 5000, max: 22_050 } }],
    { rate: 22_050, channels: 2, format: 'S16_LE' },
  ],
  [
    'a format that we can write',
    [offer('DSD_U32_BE', 2, 48_000), offer('S32_LE', 2, 48_000)],
    { rate: 48_000, channels: 2, format: 'S32_LE' },
  ],
  [
    'the device’s own order',
    [offer('S16_LE', 2, 48_000), offer('S16_LE', 1, 48_000)],
    { rate: 48_000, channels: 2, format: 'S16_LE' },
  ],
] as [string, CaptureOffer[], object][])('native takes %s, without a warning', (_name, offers, expected) => {
  const result = settled(negotiate(profile(), { offers }, {}));
  expect(result.audio).toEqual(expected);
  expect(result.warnings).toEqual([]);
});

test('what is not offered gives the nearest, and a sentence that says so', () => {
  const wished = profile({ rate: 384_000, channels: 1, format: 'S16_LE' });
  const result = settled(negotiate(wished, { offers: umik }, {}));
  expect(result.audio).toEqual({ rate: 48_000, channels: 2, format: 'S24_3LE' });
  expect(result.warnings).toEqual([
    {
      reason: 'RateNotOffered',
      message: '384000 Hz was asked for, the microphone offers 48000 Hz; it is recorded at 48000 Hz.',
    },
    {
      reason: 'ChannelsNotOffered',
      message: '1 channel was asked for, the microphone offers 2 at 48000 Hz; 2 channels is recorded.',
    },
    {
      reason: 'FormatNotOffered',
      message: 'S16_LE was asked for, the microphone offers S24_3LE with 2 channels at 48000 Hz; S24_3LE is recorded.',
    },
  ]);
});

test('a rate that is not offered goes to the next one above, not to the closest below', () => {
  const offers = [offer('S16_LE', 1, 44_100, 96_000)];
  expect(settled(negotiate(profile({ rate: 48_000 }), { offers }, {})).audio.rate).toBe(96_000);
});

test('the rate counts more than channels and format', () => {
  const offers = [offer('S16_LE', 2, 48_000), offer('S32_LE', 1, 192_000)];
  const result = settled(negotiate(profile({ rate: 192_000, channels: 2, format: 'S16_LE' }), { offers }, {}));
  expect(result.audio).toEqual({ rate: 192_000, channels: 1, format: 'S32_LE' });
  expect(result.warnings.map(({ reason }) => reason)).toEqual(['ChannelsNotOffered', 'FormatNotOffered']);
});

test('a person’s settings win over the profile', () => {
  const offers = [offer('S16_LE', 1, 48_000, 96_000), offer('S24_3LE', 2, 48_000, 96_000)];
  const result = settled(
    negotiate(
      profile({ rate: 48_000, channels: 1, format: 'S16_LE' }, { segmentSeconds: 30 }),
      { offers },
      {
        rate: 96_000,
        channels: 2,
        format: 'S24_3LE',
        segmentSeconds: 10,
        gainDb: 6,
        highPassHz: 200,
        archive: 'flac',
      },
    ),
  );
  expect(result).toMatchObject({
    audio: { rate: 96_000, channels: 2, format: 'S24_3LE' },
    segmentSeconds: 10,
    processed: { gainDb: 6, highPassHz: 200 },
    archive: 'flac',
    warnings: [],
  });
  const cleared = settled(negotiate(profile({ rate: 48_000 }), { offers }, { rate: null, gainDb: null }));
  expect(cleared.audio.rate).toBe(48_000);
});

test('without capabilities the profile is taken at its word; native becomes 48 kHz mono and says so', () => {
  const explicit = settled(negotiate(profile({ rate: 250_000, channels: 1, format: 'S16_LE' }), { offers: [] }, {}));
  expect(explicit).toMatchObject({ audio: { rate: 250_000, channels: 1, format: 'S16_LE' }, warnings: [] });
  const native = settled(negotiate(profile(), { offers: [] }, {}));
  expect(native.audio).toEqual({ rate: 48_000, channels: 1, format: 'S16_LE' });
  expect(native.warnings.map(({ reason }) => reason)).toEqual(['CapabilitiesUnknown']);
});

test('only what we cannot write is refused, with a sentence', () => {
  const result = negotiate(profile(), { offers: [offer('DSD_U32_BE', 2, 88_200), offer('S16_LE', 64, 48_000)] }, {});
  expect(result).toMatchObject({ ok: false, reason: 'FormatUnsupported' });
  expect(result.ok ? '' : result.message).toContain('DSD_U32_BE');
});

test('a file beyond 2 GiB is shortened, and a high-pass above all sound is left out', () => {
  const offers = [offer('S32_LE', 8, 384_000)];
  const result = settled(
    negotiate(profile({}, { segmentSeconds: 900, processed: { highPassHz: 200_000 } }), { offers }, {}),
  );
  expect(result.segmentSeconds).toBe(174);
  expect(result.processed.highPassHz).toBe(0);
  expect(result.warnings.map(({ reason }) => reason)).toEqual(['SegmentShortened', 'HighPassTooHigh']);
});

const anyOffer: fc.Arbitrary<CaptureOffer> = fc.record({
  format: fc.constantFrom(...SAMPLE_FORMATS, 'DSD_U8', 'S8', 'FLOAT_LE'),
  channels: fc.integer({ min: 1, max: 40 }),
  rates: fc.oneof(
    fc.record({
      kind: fc.constant('list' as const),
      values: fc.array(fc.integer({ min: 1, max: 2_000_000 }), { minLength: 1, maxLength: 6 }),
    }),
    fc
      .tuple(fc.integer({ min: 1, max: 2_000_000 }), fc.nat(500_000))
      .map(([min, span]) => ({ kind: 'range' as const, min, max: min + span })),
  ),
});
const rate = fc.integer({ min: 4000, max: 1_000_000 });
const channels = fc.integer({ min: 1, max: 32 });
const format = fc.constantFrom(...SAMPLE_FORMATS);
const anyAudio = fc.record({
  rate: fc.oneof(rate, fc.constant('native' as const)),
  channels: fc.oneof(channels, fc.constant('native' as const)),
  format: fc.oneof(format, fc.constant('native' as const)),
});

test('whatever is offered: the outcome is one that the hardware offers whole, fits a recorder, and warns of each change', () => {
  fc.assert(
    fc.property(
      anyAudio,
      fc.array(anyOffer, { maxLength: 6 }),
      fc.integer({ min: 1, max: 900 }),
      (audio, offers, segmentSeconds) => {
        const result = negotiate(profile(audio, { segmentSeconds }), { offers }, {});
        if (!result.ok) {
          expect(offers.length).toBeGreaterThan(0);
          return;
        }
        const got = result.audio;
        const { rate: rateSchema, channels: channelsSchema, format: formatSchema } = recorderConfigSchema.shape;
        expect(
          [rateSchema, channelsSchema, formatSchema].map(
            (schema, index) => schema.safeParse([got.rate, got.channels, got.format][index]).success,
          ),
        ).toEqual([true, true, true]);
        const fits = ({ rates }: CaptureOffer) =>
          rates.kind === 'list' ? rates.values.includes(got.rate) : got.rate >= rates.min && got.rate <= rates.max;
        if (offers.length > 0) {
          expect(
            offers.some((each) => each.format === got.format && each.channels === got.channels && fits(each)),
          ).toBe(true);
        }
        const changed = (['rate', 'channels', 'format'] as const).filter(
          (key) => audio[key] !== 'native' && audio[key] !== got[key],
        );
        expect(result.warnings.filter(({ reason }) => reason.endsWith('NotOffered'))).toHaveLength(changed.length);
        expect(result.segmentSeconds * got.rate * got.channels * BYTES_PER_SAMPLE[got.format]).toBeLessThan(2 ** 31);
      },
    ),
    { numRuns: 2000 },
  );
});
