/** Does a recorder advance? What is told of it, and when, decides whether it is replaced. */
import { describe, expect, test } from 'vitest';
import { advance, currentOnly, isGood, isStalled, startWatch } from '../../services/controller/progress.ts';
import { failed, reading, status } from './sample-world.ts';

const STALL_MS = 30_000;

describe('a recorder that ran before we saw it', () => {
  const adopted = startWatch('c1', true, 0);

  test('is granted a full window from its first position on, however late that could be read', () => {
    const unreadable = advance(adopted, failed('EIO'), 1000);
    const first = advance(unreadable, reading(status(48_000)), 60_000);
    expect(isStalled(first, 60_000, STALL_MS)).toBe(false);
    expect(isStalled(advance(first, reading(status(48_000)), 89_999), 89_999, STALL_MS)).toBe(false);
    expect(isStalled(advance(first, reading(status(48_000)), 90_000), 90_000, STALL_MS)).toBe(true);
  });

  test('has not advanced by its first position, and has by the next', () => {
    const first = advance(adopted, reading(status(48_000)), 1000);
    expect(first.advancingSinceMs).toBeNull();
    expect(advance(first, reading(status(96_000)), 2000).advancingSinceMs).toBe(2000);
  });
});

describe('a recorder that we started', () => {
  const started = startWatch('c1', false, 0);

  test('advances with its first frames, not before', () => {
    expect(advance(started, reading(status(0)), 1000).advancingSinceMs).toBeNull();
    expect(advance(started, reading(status(1)), 1000).advancingSinceMs).toBe(1000);
  });

  test('without a status file, or with the same position, it does not advance; what cannot be read is not held against it', () => {
    const first = advance(started, reading(status(48_000)), 1000);
    expect(isStalled(advance(first, reading(null), 31_000), 31_000, STALL_MS)).toBe(true);
    expect(isStalled(advance(first, reading(status(48_000)), 31_000), 31_000, STALL_MS)).toBe(true);
    expect(isStalled(advance(first, failed('EIO'), 31_000), 31_000, STALL_MS)).toBe(false);
    expect(isStalled(advance(first, undefined, 31_000), 31_000, STALL_MS)).toBe(false);
  });

  test('what was read before a failure is still known after it', () => {
    const first = advance(started, reading(status(48_000)), 1000);
    const blind = advance(first, failed('EIO'), 2000);
    expect(blind).toEqual({ ...first, lastAdvanceMs: 2000 });
    expect(isStalled(advance(blind, reading(status(48_000)), 32_000), 32_000, STALL_MS)).toBe(true);
  });

  test('another run of the same length is an advance', () => {
    const first = advance(started, reading(status(48_000)), 1000);
    expect(advance(first, reading(status(48_000, { run: 'other' })), 2000).lastAdvanceMs).toBe(2000);
  });

  test('waits for room or hardware with a reason: no stall while it writes, and no advance either', () => {
    const waits = (at: number, given = {}) =>
      reading(status(0, { state: 'no_space', reason: 'NoSpace', at, ...given }));
    const first = advance(started, waits(1), 1000);
    const second = advance(first, waits(2), 40_000);
    expect([second.lastAdvanceMs, second.advancingSinceMs]).toEqual([40_000, null]);
    expect(advance(second, waits(2), 50_000).lastAdvanceMs).toBe(40_000);
    expect(advance(second, waits(3, { reason: '' }), 50_000).lastAdvanceMs).toBe(40_000);
    expect(advance(second, waits(3, { state: 'retrying' }), 50_000).lastAdvanceMs).toBe(50_000);
    expect(advance(second, waits(3, { state: 'starting' }), 50_000).lastAdvanceMs).toBe(40_000);
  });

  test('runs well once it has advanced for long enough', () => {
    const first = advance(started, reading(status(1)), 1000);
    expect(isGood(first, 60_000)).toBe(false);
    expect(isGood(advance(first, reading(status(2)), 60_999), 60_000)).toBe(false);
    expect(isGood(advance(first, reading(status(2)), 61_000), 60_000)).toBe(true);
    expect(isGood(started, 0)).toBe(false);
  });

  test('one without a status file to look at advances by living', () => {
    const first = advance(started, null, 1000);
    expect([first.lastAdvanceMs, first.advancingSinceMs]).toEqual([1000, 1000]);
    expect(isGood(advance(first, null, 61_000), 60_000)).toBe(true);
  });
});

test('what was read before this process was held up says nothing of now', () => {
  const watch = advance(startWatch('c1', false, 0), reading(status(48_000), 1000), 1000);
  const stood = reading(status(48_000), 1000);
  const told = (nowMs: number) => currentOnly(new Map([['c1', stood]]), nowMs).get('c1');
  expect(told(6000)).toBe(stood);
  expect(told(6001)).toEqual({ ok: false, error: expect.stringContaining('too long ago'), startedAtMs: 1000 });
  expect(isStalled(advance(watch, stood, 61_000), 61_000, STALL_MS)).toBe(true);
  expect(isStalled(advance(watch, told(61_000), 61_000), 61_000, STALL_MS)).toBe(false);
});
