/**
 * Settles what is recorded: a profile's wishes, a person's overrides, and what the hardware offers. Pure. Better
 * recorded than not: a wish that the hardware cannot fulfil gives the nearest that it can, and a warning that says so.
 */
import { BYTES_PER_SAMPLE, type RecorderConfig, SAMPLE_FORMATS, type SampleFormat } from './contract.ts';
import type { Capabilities, CaptureOffer, DeviceSettings, NegotiatedAudio, ProfileConfig } from './profile.ts';

/** CamelCase word for programs, sentence for people. */
export interface NegotiationRemark {
  reason: string;
  message: string;
}

export type Negotiation =
  | ({
      ok: true;
      audio: NegotiatedAudio;
      warnings: NegotiationRemark[];
    } & Pick<RecorderConfig, 'segmentSeconds' | 'processed' | 'archive' | 'watch'>)
  | ({ ok: false } & NegotiationRemark);

/** What `native` aims at: the lowest rate that keeps all that people and birds hear. Frames per second. */
const NATIVE_RATE = 48_000;
/** Taken where neither profile nor hardware says anything. */
const FALLBACK: NegotiatedAudio = { rate: NATIVE_RATE, channels: 1, format: 'S16_LE' };
/** WAV counts its bytes in 32 bits, and many programs read them as signed. Bytes, with room for the header. */
const SEGMENT_MAX_BYTES = 2 ** 31 - 64 * 1024;
/** The bounds of `recorderConfigSchema`: what lies beyond cannot be recorded. */
const RATE_BOUNDS = { min: 4000, max: 1_000_000 } as const;
const MAX_CHANNELS = 32;
/** Rates in a sentence. A real microphone has fewer. */
const MOST_NAMED = 24;
/** Bits that a sample really holds; they order the formats where the one asked for is not offered. */
const BITS: Record<SampleFormat, number> = { S16_LE: 16, S24_3LE: 24, S24_LE: 24, S32_LE: 32 };

interface Wish {
  rate: number | 'native';
  channels: number | 'native';
  format: SampleFormat | 'native';
}

/** One thing that the hardware can do: an offer that we can write, with the rate of it that comes nearest. */
interface Candidate extends NegotiatedAudio {
  offer: UsableOffer;
}

interface UsableOffer extends CaptureOffer {
  format: SampleFormat;
}

/**
 * Decides what to record. `settings` (a person's, per device) win over `profile`. A rate, channel count or format that
 * is not offered gives the nearest at or above it, else the highest; the rate counts most, then the channels, then the
 * format. `native` is the nearest rate at or above 48 kHz, else the highest; and of what is offered there, the format
 * that stands first in `SAMPLE_FORMATS`, in the device's own order. Without capabilities the wishes are taken as they are.
 * Refused only where the hardware offers nothing that we can write.
 */
export function negotiate(profile: ProfileConfig, capabilities: Capabilities, settings: DeviceSettings): Negotiation {
  const wish: Wish = {
    rate: settings.rate ?? profile.audio.rate,
    channels: settings.channels ?? profile.audio.channels,
    format: settings.format ?? profile.audio.format,
  };
  const warnings: NegotiationRemark[] = [];
  const audio = capabilities.offers.length === 0 ? unseen(wish, warnings) : seen(wish, capabilities.offers, warnings);
  if (audio === null) return { ok: false, ...nothingUsable(capabilities.offers) };
  const highPassHz = settings.highPassHz ?? profile.processed.highPassHz;
  return {
    ok: true,
    audio,
    segmentSeconds: segmentLength(audio, settings.segmentSeconds ?? profile.segmentSeconds, warnings),
    processed: {
      gainDb: settings.gainDb ?? profile.processed.gainDb,
      highPassHz: highPass(audio, highPassHz, warnings),
    },
    archive: settings.archive ?? profile.archive,
    watch: profile.watch,
    warnings,
  };
}

function unseen(wish: Wish, warnings: NegotiationRemark[]): NegotiatedAudio {
  const audio: NegotiatedAudio = {
    rate: wish.rate === 'native' ? FALLBACK.rate : wish.rate,
    channels: wish.channels === 'native' ? FALLBACK.channels : wish.channels,
    format: wish.format === 'native' ? FALLBACK.format : wish.format,
  };
  if (wish.rate === 'native' || wish.channels === 'native' || wish.format === 'native') {
    const message = `What this microphone offers is not known; ${inWords(audio)} is tried. If it does not open, choose rate, channels and format yourself.`;
    warnings.push({ reason: 'CapabilitiesUnknown', message });
  }
  return audio;
}

function seen(wish: Wish, offers: CaptureOffer[], warnings: NegotiationRemark[]): NegotiatedAudio | null {
  const usable = offers.filter(isUsable);
  const candidates = usable.map((offer): Candidate => {
    return { offer, rate: bestRate(wish.rate, offer), channels: offer.channels, format: offer.format };
  });
  // Sorting is stable: among equals the device's own order remains.
  const [best] = candidates.sort((a, b) => compareTuples(distance(wish, a), distance(wish, b)));
  if (best === undefined) return null;
  warnings.push(...disappointments(wish, best, usable));
  return { rate: best.rate, channels: best.channels, format: best.format };
}

function isUsable(offer: CaptureOffer): offer is UsableOffer {
  const formats: readonly string[] = SAMPLE_FORMATS;
  const channelsFit = offer.channels >= 1 && offer.channels <= MAX_CHANNELS;
  return formats.includes(offer.format) && channelsFit && ratesWithinBounds(offer).length > 0;
}

/** A list's rates that we can record, or the two ends of a range cut to our bounds. Empty: none. */
function ratesWithinBounds({ rates }: CaptureOffer): number[] {
  if (rates.kind === 'list') return rates.values.filter((rate) => rate >= RATE_BOUNDS.min && rate <= RATE_BOUNDS.max);
  const min = Math.max(rates.min, RATE_BOUNDS.min);
  const max = Math.min(rates.max, RATE_BOUNDS.max);
  return min <= max ? [min, max] : [];
}

function bestRate(wish: Wish['rate'], offer: UsableOffer): number {
  const wanted = wish === 'native' ? NATIVE_RATE : wish;
  const rates = ratesWithinBounds(offer);
  if (offer.rates.kind === 'range') return Math.min(Math.max(wanted, Math.min(...rates)), Math.max(...rates));
  return rates.reduce((best, rate) => (shortfall(wanted, rate) < shortfall(wanted, best) ? rate : best));
}

/** How badly `offered` serves `wanted`: by how much it is above; anything below is worse than everything above. */
function shortfall(wanted: number, offered: number): number {
  return offered >= wanted ? offered - wanted : 1e9 + (wanted - offered);
}

function distance(wish: Wish, candidate: Candidate): number[] {
  return [
    shortfall(wish.rate === 'native' ? NATIVE_RATE : wish.rate, candidate.rate),
    wish.channels === 'native' ? 0 : shortfall(wish.channels, candidate.channels),
    wish.format === candidate.format || wish.format === 'native'
      ? 0
      : 1 + shortfall(BITS[wish.format], BITS[candidate.format]),
    SAMPLE_FORMATS.indexOf(candidate.format),
  ];
}

function compareTuples(a: number[], b: number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** One warning for each wish that was not fulfilled: what was asked, what is offered, what is recorded. */
function disappointments(wish: Wish, best: Candidate, usable: UsableOffer[]): NegotiationRemark[] {
  const remarks: NegotiationRemark[] = [];
  const atRate = usable.filter((offer) => hasRate(offer, best.rate));
  if (wish.rate !== 'native' && wish.rate !== best.rate) {
    remarks.push({
      reason: 'RateNotOffered',
      message: `${wish.rate} Hz was asked for, the microphone offers ${offeredRates(usable)}; it is recorded at ${best.rate} Hz.`,
    });
  }
  if (wish.channels !== 'native' && wish.channels !== best.channels) {
    const offered = [...new Set(atRate.map((offer) => offer.channels))].sort((a, b) => a - b).join(' or ');
    remarks.push({
      reason: 'ChannelsNotOffered',
      message: `${channelsInWords(wish.channels)} was asked for, the microphone offers ${offered} at ${best.rate} Hz; ${channelsInWords(best.channels)} is recorded.`,
    });
  }
  if (wish.format !== 'native' && wish.format !== best.format) {
    const fitting = atRate.filter((offer) => offer.channels === best.channels);
    const offered = [...new Set(fitting.map((offer) => offer.format))].join(' or ');
    remarks.push({
      reason: 'FormatNotOffered',
      message: `${wish.format} was asked for, the microphone offers ${offered} with ${channelsInWords(best.channels)} at ${best.rate} Hz; ${best.format} is recorded.`,
    });
  }
  return remarks;
}

function hasRate({ rates }: CaptureOffer, rate: number): boolean {
  return rates.kind === 'list' ? rates.values.includes(rate) : rate >= rates.min && rate <= rates.max;
}

function offeredRates(offers: CaptureOffer[]): string {
  const listed = new Set<number>();
  const ranges = new Set<string>();
  for (const { rates } of offers) {
    if (rates.kind === 'range') ranges.add(`${rates.min} to ${rates.max} Hz`);
    else for (const rate of rates.values) listed.add(rate);
  }
  const values = [...listed].sort((a, b) => a - b);
  const named = values.length > MOST_NAMED ? [...values.slice(0, MOST_NAMED), '…'] : values;
  return [...(values.length > 0 ? [`${named.join(', ')} Hz`] : []), ...[...ranges].slice(0, MOST_NAMED)].join(' or ');
}

function nothingUsable(offers: CaptureOffer[]): NegotiationRemark {
  const formats = [...new Set(offers.map((offer) => offer.format))].slice(0, 8).join(', ');
  const message = `The microphone offers ${formats} in ${offeredRates(offers.slice(0, 8))}, and none of it can be recorded: that takes ${SAMPLE_FORMATS.join(', ')} at ${RATE_BOUNDS.min} to ${RATE_BOUNDS.max} Hz with at most ${MAX_CHANNELS} channels. Use another microphone.`;
  return { reason: 'FormatUnsupported', message };
}

function segmentLength(audio: NegotiatedAudio, wanted: number, warnings: NegotiationRemark[]): number {
  const bytesPerSecond = audio.rate * audio.channels * BYTES_PER_SAMPLE[audio.format];
  const longest = Math.max(1, Math.floor(SEGMENT_MAX_BYTES / bytesPerSecond));
  if (wanted <= longest) return wanted;
  const message = `Files of ${wanted} s were asked for; with ${inWords(audio)} they would exceed the 2 GiB of a WAV file, so they are ${longest} s long.`;
  warnings.push({ reason: 'SegmentShortened', message });
  return longest;
}

function highPass(audio: NegotiatedAudio, wantedHz: number, warnings: NegotiationRemark[]): number {
  if (wantedHz < audio.rate / 2) return wantedHz;
  const message = `A high-pass at ${wantedHz} Hz was asked for; recorded at ${audio.rate} Hz nothing above ${audio.rate / 2} Hz is there, so it is left out.`;
  warnings.push({ reason: 'HighPassTooHigh', message });
  return 0;
}

function inWords(audio: NegotiatedAudio): string {
  return `${audio.rate} Hz, ${channelsInWords(audio.channels)}, ${audio.format}`;
}

function channelsInWords(count: number): string {
  return count === 1 ? '1 channel' : `${count} channels`;
}
