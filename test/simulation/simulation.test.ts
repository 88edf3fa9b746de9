/**
 * A few thousand worlds, by the command that anyone can run: `npm run simulate`. That they can fail is seen by `npm run
 * mutate`, which breaks the core and looks whether they notice.
 */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

const WORLDS = 3000;

function command(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['test/simulation/simulate.js', ...args], {
    encoding: 'utf8',
  });
  return { status, output: `${stdout}${stderr}` };
}

test('in any world nobody healthy is stopped, nothing forbidden runs on, and afterwards all is as wished', () => {
  const { status, output } = command('--seeds', String(WORLDS));
  expect(output).toContain(`${WORLDS} worlds in`);
  expect(status, output).toBe(0);
});

test('one seed is one world: told twice, its story is the same to the last word', () => {
  const [first, second] = [command('--seed', '16'), command('--seed', '16')];
  expect(first.output).toContain('Seed 16 holds.');
  expect(second).toEqual(first);
});
