/** Parts of the store that need no database: text made fit, delays, sentences, rows. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeFailure, SchemaNewerError } from '../../services/controller/store-failure.ts';
import { createProber, probeDelayMs } from '../../services/controller/store-prober.ts';
import { createDesiredParser } from '../../services/controller/store-rows.ts';
import { fitJson, fitText } from '../../services/controller/store-text.ts';
import type { Clock } from '../../services/controller/world.ts';
import { DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';

describe('text', () => {
  test('of any kind becomes what PostgreSQL takes, and stays so', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat({ max: 50 }), (text, limit) => {
        const fitted = fitText(text, limit);
        expect(fitted.length).toBeLessThanOrEqual(limit);
        expect(fitted).not.toContain('\0');
        expect(Buffer.from(fitted).toString()).toBe(fitted);
        expect(fitText(fitted, limit)).toBe(fitted);
      }),
    );
  });

  test('that is fit already is not changed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => fitText(text, text.length) === text.replaceAll('\0', '')),
    );
  });

  test('within JSON, keys too', () => {
    const given = { 'a\0': ['b\0', { c: '\ud800' }, 1, null, true] };
    expect(fitJson(given)).toEqual({ a: ['b', { c: '\ufffd' }, 1, null, true] });
  });
});

describe('the prober', () => {
  test('tries often in the first second, and at last every 30 s', () => {
    const delays = Array.from({ length: 14 }, (_, index) => probeDelayMs(index + 1));
    expect(delays.slice(0, 6)).toEqual([250, 250, 250, 250, 500, 1000]);
    expect(delays.at(-1)).toBe(30_000);
    expect(probeDelayMs(10_000)).toBe(30_000);
  });

  /** Time that passes only when asked, timer by timer. */
  function manualClock(): Clock & { next(): Promise<void>; due: { delayMs: number; callback: () => void }[] } {
    const due: { delayMs: number; callback: () => void }[] = [];
    return {
      due,
      nowMs: () => 0,
      wallMs: () => 0,
      timer(delayMs, callback) {
        const entry = { delayMs, callback };
        due.push(entry);
        return () => void due.splice(due.indexOf(entry), 1);
      },
      async next() {
        due.shift()?.callback();
        await new Promise((resolve) => setImmediate(resolve));
      },
    };
  }

  test('rests after a success, and can be started again by whoever hears of it', async () => {
    const clock = manualClock();
    const answers = [false, true, false, true];
    let successes = 0;
    const prober = createProber(
      clock,
      async () => answers.shift() ?? false,
      () => {
        successes += 1;
        if (successes === 1) prober.start();
      },
    );
    prober.start();
    prober.start();
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.due).toHaveLength(1);
    await clock.next();
    await clock.next();
    expect([successes, clock.due.length, answers.length]).toEqual([2, 0, 0]);
  });

  test('does nothing any more when it was stopped', async () => {
    const clock = manualClock();
    const prober = createProber(
      clock,
      async () => false,
      () => {},
    );
    prober.start();
    await new Promise((resolve) => setImmediate(resolve));
    prober.stop();
    prober.start();
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.due).toEqual([]);
  });
});

describe('sentences', () => {
  const connection = { host: 'database', port: 5432, user: 'silvasonic', password: 'secret', database: 'field' };

  test.each([
    [
      Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
      /^The database at database:5432 is not running/,
    ],
    [new AggregateError([Object.assign(new Error('x'), { code: 'ECONNREFUSED' })]), /is not running/],
    [
      new Error('Failed query: select 1', { cause: Object.assign(new Error('x'), { code: 'ENOTFOUND' }) }),
      /does not resolve/,
    ],
    [new SchemaNewerError(Date.UTC(2031, 1, 3), Date.UTC(2030, 1, 3)), /^SchemaNewer: .*2031-02-03.*2030-02-03/],
    ['thrown text', /cannot be used: thrown text/],
  ])('%s', (error, sentence) => {
    expect(describeFailure(error, connection)).toMatch(sentence);
    expect(describeFailure(error, connection)).not.toContain('secret');
  });
});

describe('rows', () => {
  const GOOD_SERVICE = JSON.stringify({
    ...{ name: 'p', enabled: true, settings: {}, restart_token: '', generation: 1, observed_generation: 0 },
    ...{ phase: 'running', reason: '', message: '' },
  });
  const read = createDesiredParser();
  const nothing = { schema_at: 1, config: '{}', profiles: [], devices: [], services: [] };
  const configOf = (config: unknown) => ({ ...nothing, config: JSON.stringify(config) });

  test('an unreadable station id is never taken for none', () => {
    expect(() => read(configOf({ station_id: 'x' }))).toThrow(/station_id is "x"; allowed is a UUID/);
    expect(() => read(configOf({ station_id: null }))).toThrow(/station_id is null/);
    expect(read(nothing).stationId).toBeNull();
  });

  test('a key of the configuration with a wrong value is named and has its default; keys of others are not ours', () => {
    const config = {
      auto_enrollment: 'no',
      position: { latitude: 91, longitude: 0 },
      retention: 7,
      station_name: 'Meadow',
    };
    const state = read(configOf(config));
    expect(state.config).toEqual({
      name: 'Meadow',
      position: null,
      autoEnrollment: true,
      autoUpdate: false,
      workspaceMarked: false,
      alerts: DEFAULT_ALERT_SETTINGS,
    });
    expect(state.problems).toHaveLength(2);
    expect(state.problems.join()).toMatch(/auto_enrollment is "no"; allowed is true or false/);
  });

  test('rows of any form at all never throw and never take others with them', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), (values) => {
        const rows = values.map((value) => JSON.stringify(value));
        const services = [...rows, GOOD_SERVICE];
        const state = read({ ...nothing, profiles: rows, devices: rows, services });
        expect(state.services).toHaveLength(1);
        expect(state.problems).toHaveLength(rows.length * 3);
      }),
    );
  });

  test('what is told in the same words is the very same object, and told wrongly it is told of again', () => {
    const row = { ...JSON.parse(GOOD_SERVICE), name: 'q' };
    const first = read({ ...nothing, services: [GOOD_SERVICE, JSON.stringify(row), '{}'] });
    const second = read({ ...nothing, services: [JSON.stringify({ ...row, enabled: false }), GOOD_SERVICE, '{}'] });
    expect(second.config).toBe(first.config);
    expect(second.services[1]).toBe(first.services[0]);
    expect([first, second].map(({ services }) => services.find(({ name }) => name === 'q')?.enabled)).toEqual([
      true,
      false,
    ]);
    expect(second.problems).toEqual(first.problems);
    expect(first.problems).toHaveLength(1);
  });
});
