/**
 * A dawn chorus out of nothing but sweeps: what a spectrogram of a wood in May looks like, and of its bats where the
 * sampling rate reaches that high. The same every time.
 */

/** One voice: syllables that glide from pitch to pitch, sung as phrases that return all through the recording. */
interface Voice {
  /** Pitches that a syllable passes through, evenly spaced in time. Hz. */
  hz: readonly number[];
  syllableSeconds: number;
  /** From the start of one syllable to the next. */
  everySeconds: number;
  syllables: number;
  /** Factor on the pitch from one syllable to the next. */
  drift: number;
  /** Phrases per half minute; they are evenly spread, the first at `offset` (0 to 1). */
  phrases: number;
  offset: number;
  amplitude: number;
  /** Share of the octave above. */
  overtone: number;
  /** Fast trembling of the pitch: how often per second, and by which share. */
  vibrato: { hz: number; share: number };
  /** Attack and decay of a syllable: 1 is a bell, larger a click at its start. */
  edge: number;
}

const STEADY = { hz: 0, share: 0 };

const BIRDS: readonly Voice[] = [
  // Like a blackbird: slow flutes with an overtone.
  bird({
    hz: [1900, 2500, 2100],
    syllableSeconds: 0.34,
    everySeconds: 0.42,
    syllables: 3,
    offset: 0.02,
    amplitude: 0.14,
    overtone: 0.12,
  }),
  bird({
    hz: [2600, 1700, 1750],
    syllableSeconds: 0.4,
    everySeconds: 0.55,
    syllables: 2,
    phrases: 3,
    offset: 0.1,
    amplitude: 0.12,
    overtone: 0.1,
  }),
  // Like a chaffinch: a run downwards with a flourish.
  bird({
    hz: [5600, 3900],
    syllableSeconds: 0.07,
    everySeconds: 0.11,
    syllables: 12,
    drift: 0.955,
    offset: 0.17,
    amplitude: 0.1,
  }),
  // Like a great tit: two notes, over and over.
  bird({
    hz: [6100, 6000],
    syllableSeconds: 0.12,
    everySeconds: 0.34,
    syllables: 6,
    phrases: 3,
    offset: 0.3,
    amplitude: 0.07,
  }),
  bird({
    hz: [3900, 3850],
    syllableSeconds: 0.15,
    everySeconds: 0.34,
    syllables: 6,
    phrases: 3,
    offset: 0.306,
    amplitude: 0.07,
  }),
  // Like a wren: a rattle.
  bird({
    hz: [7200, 4600],
    syllableSeconds: 0.032,
    everySeconds: 0.05,
    syllables: 34,
    phrases: 2,
    offset: 0.43,
    amplitude: 0.09,
  }),
  // Like a robin: high, thin, trembling.
  bird({
    hz: [7600, 5200, 6800, 3400],
    syllableSeconds: 0.5,
    everySeconds: 0.62,
    syllables: 3,
    phrases: 3,
    offset: 0.55,
    amplitude: 0.06,
    vibrato: { hz: 24, share: 0.045 },
  }),
  // Like a cuckoo, far away.
  bird({
    hz: [700, 690],
    syllableSeconds: 0.2,
    everySeconds: 1.3,
    syllables: 3,
    phrases: 2,
    offset: 0.62,
    amplitude: 0.06,
    overtone: 0.2,
  }),
  bird({
    hz: [570, 560],
    syllableSeconds: 0.28,
    everySeconds: 1.3,
    syllables: 3,
    phrases: 2,
    offset: 0.633,
    amplitude: 0.06,
    overtone: 0.2,
  }),
  // Like a goldcrest: at the upper end of what people hear.
  bird({
    hz: [7900, 8600, 7700],
    syllableSeconds: 0.09,
    everySeconds: 0.13,
    syllables: 14,
    phrases: 2,
    offset: 0.78,
    amplitude: 0.035,
  }),
];

const BATS: readonly Voice[] = [
  // Like a pipistrelle passing: steep sweeps that level off.
  bat({
    hz: [92_000, 58_000, 48_000, 45_500],
    syllableSeconds: 0.006,
    everySeconds: 0.086,
    syllables: 16,
    phrases: 2,
    offset: 0.05,
    amplitude: 0.1,
  }),
  // … and catching something.
  bat({
    hz: [60_000, 34_000],
    syllableSeconds: 0.0018,
    everySeconds: 0.0075,
    syllables: 30,
    drift: 0.99,
    phrases: 1,
    offset: 0.31,
    amplitude: 0.06,
  }),
  // Like a noctule: lower, longer, nearly level, two by two.
  bat({
    hz: [27_500, 23_500, 22_800],
    syllableSeconds: 0.014,
    everySeconds: 0.26,
    syllables: 7,
    phrases: 1,
    offset: 0.45,
    amplitude: 0.1,
  }),
  bat({
    hz: [20_500, 19_600],
    syllableSeconds: 0.019,
    everySeconds: 0.26,
    syllables: 6,
    phrases: 1,
    offset: 0.475,
    amplitude: 0.09,
  }),
  // Like a horseshoe bat: one pitch with a hook at both ends.
  bat({
    hz: [72_000, 81_500, 81_500, 81_500, 81_500, 68_000],
    syllableSeconds: 0.045,
    everySeconds: 0.095,
    syllables: 9,
    phrases: 1,
    offset: 0.8,
    amplitude: 0.05,
  }),
];

/** Wind in the leaves: white, and deeper where it is summed up. Amplitudes. */
const NOISE_AMPLITUDE = 0.0012;
const WIND_AMPLITUDE = 0.004;
const WIND_HZ = 220;
/** Below it a microphone is not one for bats. */
const LEAST_RATE_OF_BATS = 192_000;
const FULL_SECONDS = 30;
/** Above this share of the rate a tone would fold back. */
const HIGHEST_SHARE = 0.47;

/** Samples from -1 to 1, `seconds` of them, whose end joins their beginning. */
export function singDawnChorus(rate: number, seconds: number): Float32Array {
  const sound = new Float32Array(Math.floor(seconds * rate));
  addWind(sound, rate);
  for (const voice of rate >= LEAST_RATE_OF_BATS ? [...BIRDS, ...BATS] : BIRDS) {
    if (Math.max(...voice.hz) <= rate * HIGHEST_SHARE) addVoice(sound, rate, voice);
  }
  return sound;
}

/** A linear congruential generator (constants of Numerical Recipes): the same noise every time. */
function addWind(sound: Float32Array, rate: number): void {
  const keep = Math.exp((-2 * Math.PI * WIND_HZ) / rate);
  // What a low pass leaves of white noise is weaker the higher the rate.
  const gain = WIND_AMPLITUDE * Math.sqrt((1 - keep) / (1 + keep)) ** -1 * (1 - keep);
  let state = 20_240_501;
  let low = 0;
  for (let index = 0; index < sound.length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    const noise = state / 2 ** 31;
    low = low * keep + noise;
    sound[index] = noise * NOISE_AMPLITUDE + low * gain;
  }
}

function addVoice(sound: Float32Array, rate: number, voice: Voice): void {
  const phrases = Math.max(1, Math.round((voice.phrases * sound.length) / rate / FULL_SECONDS));
  for (let phrase = 0; phrase < phrases; phrase += 1) {
    const phraseStart = Math.floor(sound.length * (voice.offset + phrase / phrases));
    let pitch = 1;
    for (let syllable = 0; syllable < voice.syllables; syllable += 1) {
      // A phrase swells and fades: its singer turns, or flies past.
      const swell = 0.35 + 0.65 * Math.sin((Math.PI * (syllable + 0.5)) / voice.syllables);
      const start = phraseStart + Math.floor(syllable * voice.everySeconds * rate);
      addSyllable(sound, rate, voice, start, pitch, voice.amplitude * swell);
      pitch *= voice.drift;
    }
  }
}

/** Wraps around the end, so that the repetition has no seam. */
function addSyllable(
  sound: Float32Array,
  rate: number,
  voice: Voice,
  start: number,
  pitch: number,
  amplitude: number,
): void {
  const length = Math.floor(voice.syllableSeconds * rate);
  const { hz, vibrato, overtone, edge } = voice;
  let phase = 0;
  for (let index = 0; index < length; index += 1) {
    const progress = index / length;
    const tremble = 1 + vibrato.share * Math.sin((2 * Math.PI * vibrato.hz * index) / rate);
    phase += (2 * Math.PI * pitchAt(hz, progress) * pitch * tremble) / rate;
    const envelope = Math.sin(Math.PI * progress ** (1 / edge)) ** 2 * amplitude;
    const place = (start + index) % sound.length;
    const tone = Math.sin(phase) + (overtone === 0 ? 0 : overtone * Math.sin(2 * phase));
    sound[place] = (sound[place] ?? 0) + tone * envelope;
  }
}

/** Between the pitches of a syllable the glide is even. */
function pitchAt(hz: readonly number[], progress: number): number {
  const place = progress * (hz.length - 1);
  const index = Math.min(hz.length - 2, Math.floor(place));
  const from = hz[index] ?? 0;
  const to = hz[index + 1] ?? from;
  return from + (to - from) * (place - index);
}

type VoiceWords = Omit<Voice, 'drift' | 'phrases' | 'overtone' | 'vibrato' | 'edge'> & Partial<Voice>;

function bird(words: VoiceWords): Voice {
  return { drift: 1, phrases: 4, overtone: 0, vibrato: STEADY, edge: 1, ...words };
}

function bat(words: VoiceWords): Voice {
  return { drift: 1, phrases: 1, overtone: 0, vibrato: STEADY, edge: 1.4, ...words };
}
