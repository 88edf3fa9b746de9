/** FLAC slowed for ears: every way in which a frame names its rate, checked by the reference decoder. */
import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createFlacSlower } from '../../services/web/recordings-slow-flac.ts';
import { samplesOf, soundFacts } from '../integration/processor-process.ts';

const run = promisify(execFile);
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-slow-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  [48_000, 24, 2, 4800],
  [44_100, 16, 2, 4410],
  [96_000, 16, 1, 9600],
  [250_000, 24, 1, 25_000],
  [128_000, 16, 1, 13_000],
  [384_000, 16, 1, 38_400],
  [312_500, 16, 1, 31_250],
  [47_999, 16, 1, 4800],
])(
  '%d Hz, %d bits, %d channels are played at %d Hz, the same samples in as many bytes',
  async (rate, bits, channels, slowed) => {
    const [given, made] = [join(folder, 'given.flac'), join(folder, 'made.flac')];
    const form = ['-r', String(rate), '-b', String(bits), '-c', String(channels)];
    await run('sox', ['-n', ...form, given, 'synth', '2', 'whitenoise', 'synth', '2', 'sine', 'mix', '1000']);
    await pipeline(createReadStream(given, { highWaterMark: 5003 }), createFlacSlower(10), createWriteStream(made));
    expect(statSync(made).size).toBe(statSync(given).size);
    await run('flac', ['--test', '--silent', '--warnings-as-errors', made]);
    expect((await soundFacts(made)).rate).toBe(slowed);
    expect(await samplesOf(made)).toEqual(await samplesOf(given));
  },
);

test('what is no FLAC file ends with an error instead of going on for ever', async () => {
  const text = join(import.meta.dirname, '../../package-lock.json');
  const out = createWriteStream(join(folder, 'none.flac'));
  await expect(pipeline(createReadStream(text), createFlacSlower(10), out)).rejects.toThrow();
});
