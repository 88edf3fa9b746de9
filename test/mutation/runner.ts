/**
 * What unit tests import instead of `vitest` while mutants are tried: the same words and the same assertions, but the tests
 * can be run again and again in one process, one by one.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  customMatchers,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
} from '@vitest/expect';

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

type Body = (...given: unknown[]) => unknown;
interface Case {
  name: string;
  run: () => unknown;
}

const suites: { name: string; body: () => void }[] = [];
let collecting: Case[] | null = null;
let path: string[] = [];

export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  Reflect.get(globalThis, ASYMMETRIC_MATCHERS_OBJECT),
  customMatchers,
);

/** At the top of a file: kept, and gone through anew for every run, so that what it prepares is prepared by the mutant. */
export function describe(name: string, body: () => void): void {
  if (collecting === null) suites.push({ name, body });
  else {
    path.push(name);
    body();
    path.pop();
  }
}

export const test = Object.assign(
  (name: string, body: Body): void => {
    const add = (): void => void collecting?.push({ name: [...path, name].join(' › '), run: () => body() });
    if (collecting === null) suites.push({ name: '', body: add });
    else add();
  },
  {
    each:
      (table: readonly unknown[]) =>
      (name: string, body: Body): void => {
        for (const [index, row] of table.entries())
          test(`${name} #${index}`, () => (Array.isArray(row) ? body(...row) : body(row)));
      },
  },
);

/** Every test of every file that was imported. Preparing them may already fail: then that is the only test. */
export function collect(): Case[] {
  const cases: Case[] = [];
  collecting = cases;
  try {
    for (const { name, body } of suites) {
      path = name === '' ? [] : [name];
      body();
    }
  } catch (cause) {
    return [{ name: 'what the tests prepare', run: () => Promise.reject(cause) }];
  } finally {
    collecting = null;
    path = [];
  }
  return cases;
}
