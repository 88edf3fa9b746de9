/** Retention on a real disk: over a simulated year, with strange files, with links. */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createProcessor, type Processor } from '../../services/processor/processor.ts';
import {
  formatSegmentName,
  parseDerivedName,
  parseSegmentName,
  processorConfigSchema,
  type SegmentName,
} from '../../services/shared/contract.ts';
import {
  copyFiles,
  filesOf,
  makeProcessorPlace,
  OAK,
  POND,
  type ProcessorPlace,
  put,
  rawFile,
} from '../unit/processor-place.ts';

const DAY_MS = 24 * 3_600_000;
const BLOCK = 4096;
const NOW = Date.parse('2026-06-15T12:00:00Z');

/** A file's name, and none of ours on that day. */
function isPlantable(name: string): boolean {
  const segment = parseSegmentName(name) ?? parseDerivedName(name)?.segment;
  const isOurs = segment?.workspace === OAK && segment.startedAt.toISOString().startsWith('2026-01-01');
  return !['.', '..'].includes(name) && Buffer.byteLength(name) < 200 && !isOurs;
}

describe('on a disk', () => {
  let place: ProcessorPlace;
  let nowMs: number;
  let bootedMs: number;
  let totalBytes: number;
  let written: Set<string>;
  beforeEach(() => {
    written = new Set();
    place = makeProcessorPlace();
    nowMs = NOW;
    bootedMs = NOW - 3_600_000;
    totalBytes = 1000 * BLOCK;
  });
  afterEach(() => place.remove());

  /** Every file takes one block; the disk is as full as there are files. */
  const freeBytes = () => {
    for (const file of written) if (!existsSync(join(place.recordingsPath, file))) written.delete(file);
    return Math.max(0, totalBytes - written.size * BLOCK);
  };
  const fill = (file: string, content = 'x'.repeat(BLOCK)) => {
    put(place, file, content);
    written.add(file);
  };
  const start = (retention: 'keep' | 'overwrite', reserveBytes: number): Processor =>
    createProcessor({
      recordingsPath: place.recordingsPath,
      config: processorConfigSchema.parse({ reserveBytes, reservePercent: 0, retention }),
      sox: { run: () => Promise.reject(new Error('there is nothing to be made')) },
      log: () => {},
      now: () => nowMs,
      bootedAt: () => bootedMs,
      diskSpace: async () => ({ freeBytes: freeBytes(), totalBytes }),
      stop: new AbortController().signal,
    });
  /** A recording with its copies. */
  const record = (workspace: string, atMs: number, sequence: number, withCopies = true): SegmentName => {
    const segment = { workspace, startedAt: new Date(atMs), run: 'run1', sequence };
    for (const file of [rawFile(segment), ...(withCopies ? copyFiles(segment) : [])]) fill(file);
    return segment;
  };
  const recordings = () =>
    [...written].filter((file) => file.endsWith('.wav') && existsSync(join(place.recordingsPath, file))).length;

  it('overwriting for a year: the reserve is kept each day, the newest stay, empty days go', async () => {
    const unknown = [
      `${OAK}/data/raw/2026-06-16/notes.wav`,
      `${OAK}/data/raw/2026-06-16/${OAK}_20260616_000000_run1_000001.wav.bak`,
      `${OAK}/data/processed/2026-06-16/holiday.png`,
      `not a workspace/data/raw/2026-06-16/${OAK}_20260616_000000_run1_000001.wav`,
    ];
    for (const file of unknown) fill(file);
    totalBytes = 120 * BLOCK;
    const processor = start('overwrite', 20 * BLOCK);
    for (let day = 1; day <= 365; day += 1) {
      nowMs = NOW + day * DAY_MS;
      for (const workspace of [OAK, POND]) {
        record(workspace, nowMs - 4 * 3_600_000, day);
      }
      await processor.step();
      expect(freeBytes()).toBeGreaterThanOrEqual(20 * BLOCK);
      expect(processor.status().state).not.toBe('full');
    }
    expect(filesOf(place)).toEqual(expect.arrayContaining(unknown));
    const kept = [
      ...new Set(
        filesOf(place)
          .filter((file) => !unknown.includes(file))
          .map((file) => file.split('/')[3] ?? ''),
      ),
    ]
      .filter((day) => day.startsWith('20'))
      .sort();
    // Without a gap, up to the last day.
    expect(kept.at(-1)).toBe(new Date(nowMs - 4 * 3_600_000).toISOString().slice(0, 10));
    expect(kept.length).toBe(1 + (Date.parse(`${kept.at(-1)}`) - Date.parse(`${kept[0]}`)) / DAY_MS);
    expect(recordings()).toBeGreaterThan(60);
    // The pictures of the last day are there.
    expect(filesOf(place).filter((file) => file.endsWith('.png')).length).toBeGreaterThanOrEqual(2);
    expect(readdirSync(join(place.recordingsPath, POND, 'data/raw')).sort()).toEqual(kept);
  });

  it('keeping for a year: no recording ever goes, and the day on which it is full was told before', async () => {
    totalBytes = 200 * BLOCK;
    const processor = start('keep', 20 * BLOCK);
    const told = new Map<number, number>();
    let fullOn: number | null = null;
    let recorded = 0;
    for (let day = 1; day <= 365; day += 1) {
      nowMs = NOW + day * DAY_MS;
      // Below the reserve of the recorder nothing is recorded.
      if (freeBytes() > 10 * BLOCK) {
        record(OAK, nowMs - 4 * 3_600_000, day, ['starting', 'idle'].includes(processor.status().state));
        recorded += 1;
      }
      await processor.step();
      const { state, disk, reason, message } = processor.status();
      if (disk?.fullInDays != null && fullOn === null) told.set(day, disk.fullInDays);
      if (disk?.fullInDays != null && disk.fullInDays < 14 && state !== 'full') expect(reason).toBe('FullSoon');
      if (state === 'full') {
        fullOn ??= day;
        expect(message).toContain('let the oldest be overwritten');
      }
      expect(recordings()).toBe(recorded);
    }
    if (fullOn === null) throw new Error('it never was full');
    for (const [day, inDays] of told) {
      // One recording a day is as coarse as it gets: of a week, one may be counted too many.
      if (day > 7) expect(Math.abs(day + inDays - fullOn)).toBeLessThanOrEqual(5 + inDays / 6);
    }
    expect(told.size).toBeGreaterThan(90);
    expect(filesOf(place).filter((file) => file.includes('/processed/2'))).toEqual([]);
  });

  it('after a reboot at which the clock fell back by years: what was recorded before goes, not the night since', async () => {
    const before = [1, 2, 3].map((number) => record(OAK, NOW - (4 - number) * DAY_MS, number));
    bootedMs = Date.parse('2018-01-01T00:00:00Z');
    const night = [0, 2, 4, 6, 8].map((hour) => record(OAK, bootedMs + hour * 3_600_000, 10 + hour));
    nowMs = bootedMs + 10 * 3_600_000;
    totalBytes = 40 * BLOCK;
    // Two recordings' worth of room is missing.
    await start('overwrite', 9 * BLOCK).step();
    const left = filesOf(place);
    expect(left).toEqual(expect.arrayContaining(night.flatMap((segment) => [rawFile(segment), ...copyFiles(segment)])));
    expect(before.filter((segment) => left.includes(rawFile(segment)))).toEqual(before.slice(-1));

    // More is missing than the last of them takes: copies of what is gone go, too, before the night itself.
    await start('overwrite', 17 * BLOCK).step();
    const rest = filesOf(place);
    expect(
      before.flatMap((segment) => [rawFile(segment), ...copyFiles(segment)]).filter((file) => rest.includes(file)),
    ).toEqual([]);
    expect(rest).toEqual(expect.arrayContaining(night.map(rawFile)));
    // Copies are tried of what is recorded from now on: this one, which holds no sound, is found broken.
    const next = start('overwrite', 0);
    record(OAK, nowMs, 30, false);
    await next.step();
    expect(next.status().brokenCount).toBe(1);
  });

  it('what began before the clock was set is not taken for the oldest', async () => {
    const old = [1, 2, 3].map((number) => record(OAK, NOW - (4 - number) * DAY_MS, number, false));
    const sinceBoot = record(OAK, 20_000, 4, false);
    const set = record(OAK, NOW - 600_000, 5, false);
    totalBytes = 10 * BLOCK;
    // Two files' worth of room is missing.
    await start('overwrite', 6 * BLOCK).step();
    expect(filesOf(place)).toEqual([old[2], sinceBoot, set].flatMap((one) => (one ? [rawFile(one)] : [])).sort());
  });

  it('copies that had to go are not made again, by the next run neither', async () => {
    totalBytes = 40 * BLOCK;
    const old = record(OAK, NOW - 3 * DAY_MS, 1);
    const young = record(OAK, NOW - 2 * DAY_MS, 2);
    for (let number = 0; number < 23; number += 1) fill(`filler/${number}`);
    await start('keep', 10 * BLOCK).step();
    expect(filesOf(place)).toEqual(expect.arrayContaining([rawFile(old), rawFile(young), ...copyFiles(young)]));
    expect(filesOf(place)).not.toContain(copyFiles(old)[0]);
    rmSync(join(place.recordingsPath, 'filler'), { recursive: true });
    const next = start('keep', 10 * BLOCK);
    await next.step();
    expect(next.status()).toMatchObject({ state: 'idle', backlog: 0, brokenCount: 0 });
  });

  it('removes nothing through a link, and no folder that holds something else', async () => {
    totalBytes = 20 * BLOCK;
    const outside = record(POND, NOW - 30 * DAY_MS, 1);
    const segment = { ...outside, workspace: OAK };
    mkdirSync(join(place.recordingsPath, OAK, 'data'), { recursive: true });
    const elsewhere = join(place.path, 'elsewhere');
    mkdirSync(join(elsewhere, '2026-05-16'), { recursive: true });
    put(place, `../elsewhere/2026-05-16/${formatSegmentName(segment)}`, 'x'.repeat(BLOCK));
    symlinkSync(elsewhere, join(place.recordingsPath, OAK, 'data', 'raw'));
    put(place, `${POND}/data/raw/2026-05-16/read me.txt`, 'x');
    await start('overwrite', 19 * BLOCK).step();
    expect(existsSync(join(elsewhere, '2026-05-16', formatSegmentName(segment)))).toBe(true);
    expect(existsSync(join(place.recordingsPath, rawFile(outside)))).toBe(false);
    expect(existsSync(join(place.recordingsPath, POND, 'data/raw/2026-05-16/read me.txt'))).toBe(true);
    expect(existsSync(join(place.recordingsPath, POND, 'data/processed/2026-05-16'))).toBe(false);
  });

  it('whatever lies there, only files of ours go (any names)', async () => {
    const word = fc.string({ minLength: 1, maxLength: 40 }).map((text) => text.replace(/[/\0]/g, '_'));
    const strange = fc.oneof(
      word,
      word.map((text) => `${OAK}_20260101_000000_run1_00000${text}.wav`),
      fc.constantFrom(
        `${POND}_20260101_000000_run1_000001.wav`,
        `${OAK}_20260102_000000_run1_000001.wav`,
        `${OAK}_20260101_000000_run1_000001.wav.tmp`,
        `${OAK}_20260101_000000_run1_000001.WAV`,
        `${OAK}_20260101_990000_run1_000001.wav`,
        `.${OAK}_20260101_000000_run1_000001.png`,
        `${OAK}_20260101_000000_run1_000001.flac.txt`,
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(strange.filter(isPlantable)),
        fc.constantFrom('raw', 'processed'),
        async (strangeNames, kind) => {
          rmSync(join(place.recordingsPath, OAK), { recursive: true, force: true });
          const ours = record(OAK, Date.parse('2026-01-01T00:00:00Z'), 1);
          const planted = strangeNames.map((name) => `${OAK}/data/${kind}/2026-01-01/${name}`);
          for (const file of planted) fill(file);
          totalBytes = BLOCK;
          await start('overwrite', 1000 * BLOCK).step();
          const left = filesOf(place).filter((file) => !file.endsWith('.removed-until'));
          expect(left).toEqual([...new Set(planted)].sort());
          expect(left).not.toContain(rawFile(ours));
        },
      ),
      { numRuns: 40 },
    );
  });
});
