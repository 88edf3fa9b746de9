/** Recordings by their names: days, gaps, heads that play slower, and what is none of ours. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseSegmentName, workspaceName } from '../../services/shared/contract.ts';
import { endlessWavHeader, readWavFormat, type WavFormat, wavHeader } from '../../services/shared/wav.ts';
import { minutesOf, secondsText } from '../../services/web/pages/recordings.tsx';
import { compareSegments, listDay, newestPicture, readSound, withWorkspace } from '../../services/web/recordings.ts';
import { createDaySummaries, joinSpans } from '../../services/web/recordings-days.ts';
import { slowedHead, withHead } from '../../services/web/recordings-files.ts';
import { waveformSvg } from '../../services/web/recordings-routes.ts';

const WORKSPACE = workspaceName('id', 'Mic');
const DAY = '2026-05-01';
const FORMAT: WavFormat = { rate: 1000, channels: 1, bitsPerSample: 16 };

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silvasonic-recordings-'));
  for (const place of ['raw', 'processed']) mkdirSync(folderOf(place), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const folderOf = (place: string, day = DAY) => join(root, WORKSPACE, 'data', place, day);
const named = (time: string, sequence: number, run = 'run1') =>
  `${WORKSPACE}_20260501_${time}_${run}_${String(sequence).padStart(6, '0')}`;
/** A recording of so many seconds. */
function record(title: string, seconds: number): void {
  const sound = Buffer.alloc(seconds * 2000);
  writeFileSync(join(folderOf('raw'), `${title}.wav`), Buffer.concat([wavHeader(FORMAT, sound.length), sound]));
}
const within = <T>(work: Parameters<typeof withWorkspace<T>>[2]) => withWorkspace(root, WORKSPACE, work);

describe('a day', () => {
  test('is summed up by names; only the last before a gap is opened', async () => {
    record(named('000000', 1), 10);
    // Never looked into: the next one says how long it is.
    writeFileSync(join(folderOf('raw'), `${named('000010', 2)}.wav`), 'x'.repeat(100));
    record(named('000020', 3), 7);
    // One number is missing before it: a file was lost, or removed.
    record(named('000100', 5), 5);
    record(named('120000', 6), 10);
    record(named('235955', 1, 'run2'), 10);
    const summary = await within((folder) => createDaySummaries()(folder, WORKSPACE, DAY));
    expect(summary).toMatchObject({
      count: 6,
      bytes: 5 * 44 + 100 + 2000 * 42,
      seconds: 52,
      covered: [
        { from: 0, to: 27 },
        { from: 60, to: 65 },
        { from: 43_200, to: 43_210 },
        { from: 86_395, to: 86_405 },
      ],
    });
  });

  test('is looked at again when its folder changed, and only then', async () => {
    const summaries = createDaySummaries();
    const count = () => within(async (folder) => (await summaries(folder, WORKSPACE, DAY)).count);
    record(named('000000', 1), 1);
    expect(await count()).toBe(1);
    const before = new Date('2026-05-01T12:00:00Z');
    utimesSync(folderOf('raw'), before, before);
    expect(await count()).toBe(1);
    record(named('000001', 2), 1);
    utimesSync(folderOf('raw'), before, before);
    // The folder says that nothing changed.
    expect(await count()).toBe(1);
    record(named('000002', 3), 1);
    expect(await count()).toBe(3);
  });

  test('holds nothing of others: microphones, days, names, links, folders', async () => {
    record(named('000000', 1), 1);
    const raw = folderOf('raw');
    for (const name of [
      `other-00000000_20260501_000000_run1_000001.wav`,
      `${WORKSPACE}_20260502_000000_run1_000001.wav`,
      `${named('000003', 3)}.WAV`,
      `${named('250000', 3)}.wav`,
      `.${named('000004', 3)}.wav`,
      `${named('000004', 3)}.png`,
    ])
      writeFileSync(join(raw, name), 'x');
    const entries = (await within((folder) => listDay(folder, WORKSPACE, DAY))) ?? [];
    expect(entries.map(({ segment }) => segment.sequence)).toEqual([1]);
    symlinkSync('/etc/hostname', join(raw, `${named('000009', 9)}.wav`));
    const linked = parseSegmentName(`${named('000009', 9)}.wav`);
    if (linked === null) throw new Error('not a name');
    expect(await within((folder) => readSound(folder, { segment: linked, raw: 'wav' }))).toBeNull();
  });

  test('counts a recording once while it is being archived, and knows copies without it', async () => {
    record(named('000000', 1), 1);
    writeFileSync(join(folderOf('raw'), `${named('000000', 1)}.flac`), 'x');
    writeFileSync(join(folderOf('processed'), `${named('000005', 2)}.png`), 'x');
    const entries = (await within((folder) => listDay(folder, WORKSPACE, DAY))) ?? [];
    expect(entries.map(({ raw, copies }) => [raw, [...copies]])).toEqual([
      ['wav', []],
      [null, ['png']],
    ]);
  });

  test('a workspace that is a link, or no name of one, is not opened', async () => {
    const other = workspaceName('other', 'Mic');
    symlinkSync(join(root, WORKSPACE), join(root, other));
    expect(await withWorkspace(root, other, async () => true)).toBeNull();
    for (const name of ['..', '.', '', 'x/y', `${WORKSPACE}/..`])
      expect(await withWorkspace(root, name, async () => true)).toBeNull();
  });
});

test('the newest picture is that of the newest recording, also of an earlier day, and never a stranger’s', async () => {
  expect(await within((folder) => newestPicture(folder, WORKSPACE))).toBeNull();
  for (const name of [named('100000', 5), named('090000', 900)])
    writeFileSync(join(folderOf('processed'), `${name}.png`), 'x');
  mkdirSync(folderOf('processed', '2026-05-02'));
  writeFileSync(join(folderOf('processed', '2026-05-02'), 'other-00000000_20260502_000000_run1_000001.png'), 'x');
  expect((await within((folder) => newestPicture(folder, WORKSPACE)))?.sequence).toBe(5);
  renameSync(join(folderOf('processed'), `${named('100000', 5)}.png`), join(root, 'aside'));
  expect((await within((folder) => newestPicture(folder, WORKSPACE)))?.sequence).toBe(900);
});

test('recordings of one second have an order of their own', () => {
  const names = [named('000000', 2), named('000000', 1), named('000000', 1, 'run0')];
  const segments = names.flatMap((name) => parseSegmentName(`${name}.wav`) ?? []);
  expect(segments.sort(compareSegments).map(({ run, sequence }) => `${run} ${sequence}`)).toEqual([
    'run0 1',
    'run1 1',
    'run1 2',
  ]);
});

test('spans that touch become one, in whichever order they come', () => {
  const spans = [
    { from: 100, to: 110 },
    { from: 0, to: 60 },
    { from: 61, to: 99.5 },
    { from: 130, to: 140 },
  ];
  expect(joinSpans(spans)).toEqual([
    { from: 0, to: 110 },
    { from: 130, to: 140 },
  ]);
});

test('drawn by the minute, the shortest sound still shows, and nothing goes beyond the day', () => {
  expect(
    minutesOf([
      { from: 0, to: 3600 },
      { from: 3600 * 5, to: 3600 * 5 + 2 },
      { from: 86_399, to: 86_500 },
    ]),
  ).toEqual([
    { from: 0, to: 60 },
    { from: 300, to: 301 },
    { from: 1439, to: 1440 },
  ]);
});

test('a scale counts on to the next minute', () => {
  const steps = [0, 0.25, 0.5, 0.75, 1];
  expect(steps.map((step) => secondsText(step * 239.8, 239.8))).toEqual(['0:00', '1:00', '2:00', '3:00', '4:00']);
});

describe('a head that plays slower', () => {
  test.each([16, 24, 32] as const)('of WAV with %d bits: a tenth of the rate, all else as it was', (bitsPerSample) => {
    const format: WavFormat = { rate: 384_000, channels: 2, bitsPerSample };
    const head = wavHeader(format, 1200);
    const slowed = slowedHead(Buffer.concat([head, Buffer.from('samples')]), 10);
    expect(slowed && readWavFormat(slowed)).toEqual({ ...format, rate: 38_400 });
    expect(slowed?.readUInt32LE(slowed.length - 4)).toBe(1200);
  });

  test('of nothing else', () => {
    for (const head of ['', 'RIFF', 'OggS'.repeat(30), 'fLaC']) expect(slowedHead(Buffer.from(head), 10)).toBeNull();
  });

  test.each([0, 1, 3, 4, 7, 12])('lies over whichever part is sent, from byte %d', async (offset) => {
    const file = Buffer.from('abcdefghijklmnopqrstuvwxyz');
    const chunks = [file.subarray(offset, offset + 2), file.subarray(offset + 2)];
    const sent = await buffer(withHead(Readable.from(chunks), Buffer.from('12345'), offset));
    expect(sent.toString()).toBe(`12345${file.toString().slice(5)}`.slice(offset));
  });
});

test('sound without an end says so in both of its lengths', () => {
  const header = endlessWavHeader({ rate: 384_000, channels: 1, bitsPerSample: 24 });
  expect([header.readUInt32LE(4), header.readUInt32LE(64)]).toEqual([0xffffffff, 0xffffffff]);
  expect(readWavFormat(header)).toEqual({ rate: 384_000, channels: 1, bitsPerSample: 24 });
});

test('a waveform is drawn from the overview, and from the shortest too', () => {
  const overview = { schema: 1 as const, rate: 1, channels: 1, frames: 2, usedBits: 16 };
  expect(waveformSvg({ ...overview, minimum: [-32_768, 0], maximum: [32_767, 0] })).toContain(
    'points="0,0.0 1,30.0 1,30.0 0,60.0"',
  );
  expect(waveformSvg({ ...overview, minimum: [], maximum: [] })).toContain('viewBox="0 0 1 60"');
});
