import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { endPrograms, runProgram } from '../../services/station/run-program.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-program-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const shell = (script: string, timeoutMs = 30_000) =>
  runProgram('sh', ['-c', script], { cwd: folder, env: process.env, timeoutMs });
const written = (name: string) => vi.waitFor(() => expect(existsSync(join(folder, name))).toBe(true), 10_000);
const isAlive = (pid: string) => {
  const status = `/proc/${pid}/status`;
  return existsSync(status) && !/^State:\s+Z/m.test(readFileSync(status, 'utf8'));
};

it('answers with exit code and both streams, whatever the code', async () => {
  expect(await shell('echo out; echo err >&2; exit 3')).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' });
});

it('says which program is missing', async () => {
  await expect(runProgram('/nowhere/program', [], { timeoutMs: 1000 })).rejects.toThrow(/^\/nowhere\/program cannot/);
});

it('ends a program at its deadline and says so', async () => {
  const result = await shell('echo begun; exec sleep 100', 300);
  expect(result).toMatchObject({ code: -1, stdout: 'begun\n' });
  expect(result.stderr).toContain('not finished after 0.3 s');
});

it('ends what a program started before the program, which can then tidy up', async () => {
  const result = shell('sleep 100 & echo $! > child; wait; sleep 0.1; touch tidy');
  await written('child');
  await endPrograms();
  expect((await result).code).toBe(0);
  expect(existsSync(join(folder, 'tidy'))).toBe(true);
  expect(isAlive(readFileSync(join(folder, 'child'), 'utf8').trim())).toBe(false);
});

it('ends what ignores being asked to', async () => {
  const result = shell(`sh -c 'trap "" TERM; touch deaf; while :; do sleep 1; done'; touch tidy`);
  await written('deaf');
  await endPrograms();
  await result;
  expect(existsSync(join(folder, 'tidy'))).toBe(true);
});
