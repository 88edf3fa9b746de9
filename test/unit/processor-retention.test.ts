/** Retention as arithmetic: what goes, what stays, and when the disk is full. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesToFree,
  chooseRemovals,
  type DiskSpace,
  forecast,
  removalStages,
  reserveOf,
} from '../../services/processor/retention.ts';
import { formatSegmentName } from '../../services/shared/contract.ts';
import { hasFiles, type StoredSegment, segmentTitle } from '../../services/shared/recordings.ts';
import { OAK, POND } from './processor-place.ts';

const DAY_MS = 24 * 3_600_000;
const NOW = Date.parse('2026-06-15T12:00:00Z');
const CLOCK = { nowMs: NOW, bootedMs: NOW - 2 * DAY_MS };

describe('the reserve', () => {
  const rule = { reserveBytes: 2000, reservePercent: 10, retention: 'keep' as const };

  it('is bytes or a share of the disk, whichever is more', () => {
    expect(reserveOf(rule, 10_000)).toBe(2000);
    expect(reserveOf(rule, 100_000)).toBe(10_000);
  });

  it('is restored with a margin, once it is touched', () => {
    expect(bytesToFree(rule, { freeBytes: 2000, totalBytes: 10_000 })).toBe(0);
    expect(bytesToFree(rule, { freeBytes: 1999, totalBytes: 10_000 })).toBe(2200 - 1999);
  });
});

describe('what goes (any files, any need)', () => {
  const files = fc.record({ bytes: fc.nat(10_000), diskBytes: fc.nat(10_000) });
  const around = fc.date({ min: new Date(NOW - 5 * DAY_MS), max: new Date(NOW + 2 * DAY_MS), noInvalidDate: true });
  const any = fc.date({ min: new Date(0), max: new Date('2099-12-31'), noInvalidDate: true });
  const stored = fc.record({
    segment: fc.record({
      workspace: fc.constantFrom(OAK, POND),
      startedAt: fc.oneof(around, any),
      run: fc.constant('r'),
      sequence: fc.nat(9),
    }),
    wav: fc.option(files),
    archive: fc.option(files),
    copies: fc.record({ flac: fc.option(files), png: fc.option(files), json: fc.option(files) }),
  });
  const sample = fc.tuple(
    fc.array(stored, { maxLength: 40 }),
    fc.constantFrom('keep' as const, 'overwrite' as const),
    fc.nat(200_000),
  );
  const removalsOf = (segments: StoredSegment[], retention: 'keep' | 'overwrite', need: number) =>
    removalStages(retention, CLOCK).map((stage) => ({ stage, chosen: chooseRemovals(segments, stage, need) }));

  it('never is a recording where recordings are kept, nor one of the last hour', () => {
    fc.assert(
      fc.property(sample, ([segments, retention, need]) => {
        for (const { stage, chosen } of removalsOf(segments, retention, need)) {
          if (stage.kind !== 'recording') continue;
          expect(retention).toBe('overwrite');
          const times = chosen.map(({ segment }) => segment.startedAt.getTime());
          expect(times.filter((atMs) => atMs > NOW - 3_600_000 && atMs <= NOW)).toEqual([]);
        }
      }),
    );
  });

  it('is the oldest: whatever stays is not older than what goes', () => {
    fc.assert(
      fc.property(sample, ([segments, retention, need]) => {
        for (const { stage, chosen } of removalsOf(segments, retention, need)) {
          const last = Math.max(...chosen.map(({ segment }) => segment.startedAt.getTime()));
          const stays = segments.filter(
            (one) =>
              hasFiles(one, stage.kind) && !chosen.includes(one) && one.segment.startedAt.getTime() >= stage.fromMs,
          );
          for (const { segment } of stays) expect(segment.startedAt.getTime()).toBeGreaterThanOrEqual(last);
        }
      }),
    );
  });

  it('is each recording in its turn, those since this boot last (any clock)', () => {
    const clock = fc.record({ nowMs: any, upMs: fc.nat(400 * DAY_MS) });
    fc.assert(
      fc.property(any, clock, (date, { nowMs, upMs }) => {
        const [atMs, now] = [date.getTime(), nowMs.getTime()];
        const stages = removalStages('overwrite', { nowMs: now, bootedMs: now - upMs });
        const turns = stages.filter(({ kind }) => kind === 'recording');
        const own = turns.filter(({ fromMs, beforeMs }) => atMs >= fromMs && atMs < beforeMs);
        const isSpared = atMs >= now - 3_600_000 && atMs < now + DAY_MS;
        expect(own).toHaveLength(isSpared ? 0 : 1);
        const isSinceBoot = atMs >= now - upMs && atMs < now - 3_600_000;
        if (isSinceBoot) expect(own).toEqual(turns.slice(-1));
      }),
    );
  });

  it('is no more than needed: without the last one it would not be enough', () => {
    fc.assert(
      fc.property(sample, ([segments, retention, need]) => {
        for (const { stage, chosen } of removalsOf(segments, retention, need)) {
          const bytes = chosen.slice(0, -1).flatMap((one) => {
            const all = stage.kind === 'recording' ? [one.wav, one.archive] : Object.values(one.copies);
            return all.map((file) => file?.diskBytes ?? 0);
          });
          expect(chosen.length === 0 || bytes.reduce((a, b) => a + b, 0) < need).toBe(true);
        }
      }),
    );
  });
});

describe('the forecast', () => {
  const rule = { reserveBytes: 1000, reservePercent: 0, retention: 'keep' as const };
  const disk: DiskSpace = { freeBytes: 9000, totalBytes: 100_000 };
  const day = (age: number, recordingBytes: number, copyBytes = 0) => ({
    firstMs: NOW - age * DAY_MS,
    recordingBytes,
    copyBytes,
  });

  it('goes by the recordings of the last week; copies make room for them', () => {
    const days = [day(30, 1_000_000), day(2, 1000, 500), day(1, 1000, 500)];
    expect(forecast(rule, disk, days, NOW)).toEqual({ growthBytesPerDay: 1000, fullInDays: 9 });
  });

  it('is unknown in the first hour, and nothing is foretold where the oldest are overwritten', () => {
    expect(forecast(rule, disk, [day(0.01, 1000)], NOW)).toEqual({ growthBytesPerDay: null, fullInDays: null });
    expect(forecast(rule, disk, [], NOW).fullInDays).toBeNull();
    expect(forecast({ ...rule, retention: 'overwrite' }, disk, [day(1, 1000)], NOW).fullInDays).toBeNull();
  });

  it('counts the silence before the first recording of a day that is not the first', () => {
    const evenings = [8, 7, 6, 5, 4, 3, 2, 1].map((age) => day(age - 0.4, 1000));
    // Seven evenings, the first of them on a day that began seven and a half days ago.
    const { growthBytesPerDay } = forecast(rule, disk, evenings, NOW);
    expect(growthBytesPerDay).toBeCloseTo(7000 / 7.5, 5);
  });

  it('leaves out what a wrong clock dated into the future', () => {
    expect(forecast(rule, disk, [day(-300, 9_999_999), day(1, 1000)], NOW).growthBytesPerDay).toBe(1000);
  });
});

it('titles name a recording without its ending', () => {
  const segment = { workspace: OAK, startedAt: new Date(NOW), run: 'r', sequence: 1 };
  expect(`${segmentTitle(segment)}.wav`).toBe(formatSegmentName(segment));
});
