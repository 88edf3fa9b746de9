/** The hand-written check of a recorder's configuration says the same as the schema that the controller writes by. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readRecorderConfig } from '../../services/recorder/config-json.ts';
import { isWorkspaceName, recorderConfigSchema } from '../../services/shared/contract.ts';
import { sampleRecorderConfig } from './recorder-sample.ts';

/** All objects of a document, with the path to each. */
function paths(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, child]) => paths(child, [...path, key]))];
}

/** A copy with something else at this path; undefined removes it. */
function withValue(document: unknown, [key, ...rest]: string[], value: unknown): unknown {
  if (key === undefined) return value;
  const copy: Record<string, unknown> = { ...(typeof document === 'object' ? document : {}) };
  const changed = withValue(copy[key], rest, value);
  if (changed === undefined) delete copy[key];
  else copy[key] = changed;
  return copy;
}

const sample = sampleRecorderConfig({
  station: { id: 'x', name: 'Meadow', position: { latitude: 51.5, longitude: -0.1 } },
});
const anyPath = fc.constantFrom(...paths(sample));
const anyValue = fc.oneof(
  fc.constantFrom(undefined, null, '', {}, [], 0, -1, 1.5, 900, 901, 4000, 1_000_000, 'flac', 'S32_LE', true),
  fc.constantFrom('oak-0a1b2c3d', '../etc', 'x'.repeat(64), 'x'.repeat(200), 'x'.repeat(201), 2 ** 53),
  fc.double(),
  fc.jsonValue(),
);

function agree(document: unknown): boolean {
  const json: unknown = JSON.parse(JSON.stringify(document) ?? 'null');
  const bySchema = recorderConfigSchema.safeParse(json);
  const expected = bySchema.success && isWorkspaceName(bySchema.data.microphone.workspace);
  const outcome = readRecorderConfig(json);
  if (outcome.ok) expect(outcome.value).toEqual(bySchema.data);
  expect(outcome.ok).toBe(expected);
  return outcome.ok;
}

describe('a configuration', () => {
  it('that is right is taken as it is, with and without a position', () => {
    expect(agree(sample)).toBe(true);
    expect(agree(sampleRecorderConfig())).toBe(true);
  });

  it('of any shape is judged as the schema judges it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => void agree(json)),
      { numRuns: 300 },
    );
  });

  it('with any field changed, removed or added is judged as the schema judges it', () => {
    let taken = 0;
    fc.assert(
      fc.property(anyPath, anyValue, (path, value) => {
        taken += agree(withValue(sample, path, value)) ? 1 : 0;
      }),
      { numRuns: 2000 },
    );
    expect(taken).toBeGreaterThan(20);
    for (const path of paths(sample)) expect(agree(withValue(sample, [...path, 'extra'], 1))).toBe(false);
  });

  it.each([
    [['watch', 'clipAtDbfs'], 5, 'watch.clipAtDbfs'],
    [['station', 'position', 'latitude'], 91, 'station.position.latitude'],
    [['microphone'], 'oak', 'microphone'],
    [['processed', 'loud'], 1, 'processed.loud'],
    [['__proto__'], 1, '__proto__'],
  ])('names the field that is wrong: %j = %j', (path, value, field) => {
    const text = JSON.stringify(sample).replace(/^\{/, path[0] === '__proto__' ? '{"__proto__":1,' : '{');
    const document = path[0] === '__proto__' ? JSON.parse(text) : withValue(sample, path, value);
    const outcome = readRecorderConfig(document);
    expect(outcome.ok ? [] : outcome.problems.map((problem) => problem.field)).toEqual([field]);
  });
});
