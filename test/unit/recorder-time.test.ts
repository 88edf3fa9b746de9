/** A recorder's time: the line of captured frames, the two clocks, and what is lost. */
import { describe, expect, it } from 'vitest';
import { createWallClock } from '../../services/recorder/clock.ts';
import { createLosses } from '../../services/recorder/losses.ts';
import type { Gap } from '../../services/recorder/metadata.ts';
import { createTimeline, type Timeline } from '../../services/recorder/timeline.ts';

const RATE = 48_000;
const PERIOD = 2400;
const PERIOD_MS = 50;

/** Delivers whole periods from `fromMs` on for so long, each up to `jitterMs` late. Returns all that was found lost. */
function deliver(timeline: Timeline, fromMs: number, forMs: number, jitterMs = 0): number {
  let lost = 0;
  for (let index = 1; index * PERIOD_MS <= forMs; index += 1) {
    const lateMs = (index * 7919) % (jitterMs + 1);
    lost += timeline.advance(PERIOD, fromMs + index * PERIOD_MS + lateMs);
  }
  return lost;
}

describe('the line of captured frames', () => {
  it('says when each frame was captured, however late it was read', () => {
    const timeline = createTimeline(RATE);
    expect(deliver(timeline, 1000, 10_000, 40)).toBe(0);
    expect(timeline.timeOf(0)).toBeCloseTo(1000, 3);
    expect(timeline.timeOf(480_000)).toBeCloseTo(11_000, 3);
  });

  it('loses nothing where a pause is followed by all that was captured meanwhile', () => {
    const timeline = createTimeline(RATE);
    deliver(timeline, 0, 5000);
    // 8 s of silence, then all of it within 100 ms.
    for (let index = 0; index < 160; index += 1) expect(timeline.advance(PERIOD, 13_000 + index / 2)).toBe(0);
    expect(deliver(timeline, 13_000, 10_000, 30)).toBe(0);
    expect(timeline.timeOf(13 * RATE)).toBeCloseTo(13_000, 3);
  });

  it('says so too while what was captured in a pause is being read, and while a loss is not judged yet', () => {
    const paused = createTimeline(RATE);
    deliver(paused, 0, 5000);
    // In small pieces, as a pipe passes them on.
    for (let index = 1; index <= 800; index += 1) {
      paused.advance(PERIOD / 5, 13_000 + index / 10);
      // A file that began with this very frame bears its time.
      expect(paused.timeOf(5 * RATE + (index * PERIOD) / 5)).toBeCloseTo(5000 + (index * PERIOD_MS) / 5, 3);
    }
    const lossy = createTimeline(RATE);
    deliver(lossy, 0, 5000);
    deliver(lossy, 8000, 500, 30);
    expect(Math.abs(lossy.timeOf(5.5 * RATE) - 8500)).toBeLessThan(30);
  });

  it('counts what never came, once, and goes on from there', () => {
    const timeline = createTimeline(RATE);
    deliver(timeline, 0, 5000);
    expect(deliver(timeline, 8000, 20_000, 30)).toBe(3 * RATE);
    expect(timeline.timeOf(5 * RATE)).toBeCloseTo(8000, 3);
  });

  it('does not count again what the source told itself', () => {
    const timeline = createTimeline(RATE);
    deliver(timeline, 0, 5000);
    timeline.announce(3 * RATE - 17);
    expect(deliver(timeline, 8000, 20_000, 30)).toBe(0);
    expect(timeline.timeOf(5 * RATE)).toBeCloseTo(8000, 3);
  });

  it('does not count again overruns that follow each other closely', () => {
    const timeline = createTimeline(RATE);
    deliver(timeline, 0, 5000);
    timeline.announce(RATE);
    let lost = deliver(timeline, 6000, 1500, 10);
    timeline.announce(RATE / 5);
    lost += deliver(timeline, 7700, 20_000, 10);
    expect(lost).toBe(0);
    // And what comes to be missing later is not taken for theirs.
    expect(deliver(timeline, 30_700, 10_000, 10)).toBe(3 * RATE);
  });

  it('loses nothing where a busy machine takes long to read what was captured in a pause', () => {
    const timeline = createTimeline(RATE);
    deliver(timeline, 0, 5000);
    // 15 s of silence; what was captured meanwhile, and while it is read, comes four times as fast as it was captured.
    for (let index = 1; index <= 400; index += 1) expect(timeline.advance(PERIOD, 20_000 + index * 12.5)).toBe(0);
    expect(deliver(timeline, 25_000, 10_000, 30)).toBe(0);
    expect(timeline.timeOf(25 * RATE)).toBeCloseTo(25_000, 3);
  });

  it.each([0.9995, 1.0005])('follows a microphone whose clock is off (%f), and calls nothing lost', (factor) => {
    const timeline = createTimeline(RATE);
    let lost = 0;
    for (let index = 1; index <= 20 * 3600; index += 1) lost += timeline.advance(PERIOD, index * PERIOD_MS * factor);
    expect(lost).toBe(0);
    expect(timeline.timeOf(3600 * RATE)).toBeCloseTo(3_600_000 * factor, -2);
  });
});

describe('the wall clock', () => {
  it('is asked at each boundary how far it is from the monotonic one; steps of more than a second are told', () => {
    let realMs = 1_700_000_000_000;
    let monotonicMs = 5000;
    const clock = createWallClock(
      () => realMs,
      () => monotonicMs,
    );
    expect(clock.at(4000)).toBe(1_699_999_999_000);
    expect(clock.look()).toBeNull();
    for (const seconds of [3600, -3600, 365 * 86_400]) {
      realMs += 1000 + seconds * 1000;
      monotonicMs += 1000;
      expect(clock.look()).toEqual({ at: realMs, seconds });
      expect(clock.look()).toBeNull();
      expect(clock.at(monotonicMs)).toBe(realMs);
    }
    realMs += 900;
    expect(clock.look()).toBeNull();
  });
});

describe('losses', () => {
  const losses = () => {
    const status = { lostFrames: 0, gaps: [] as Gap[] };
    const noted: Gap[] = [];
    return {
      status,
      noted,
      ...createLosses(
        status,
        (gap) => noted.push(gap),
        () => 77,
      ),
    };
  };

  it('are counted at once, and a stretch of dropped frames is one gap, told to the segment that follows', () => {
    const { status, noted, drop, endDrop, add } = losses();
    drop('no_space', 10);
    drop('no_space', 5);
    expect(status).toEqual({ lostFrames: 15, gaps: [{ at: 77, frames: 15, cause: 'no_space' }] });
    expect(noted).toEqual([]);
    endDrop();
    endDrop();
    add('overrun', 3);
    expect(noted).toEqual(status.gaps);
    expect(status.lostFrames).toBe(18);
  });

  it('of a long night do not make the status grow', () => {
    const { status, add } = losses();
    for (let index = 0; index < 100; index += 1) add('late', index);
    expect(status.gaps).toHaveLength(16);
    expect(status.gaps.at(-1)?.frames).toBe(99);
    expect(status.lostFrames).toBe(4950);
  });
});
