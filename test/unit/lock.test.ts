import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquireLock, type HeldLock, waitForLock } from '../../services/controller/lock.ts';
import { createLog } from '../../services/controller/log.ts';
import { createClock } from '../../services/shared/clock.ts';
import { buildProgram, runProgram } from './child-program.ts';

const program = `
import { acquireLock } from './lock.ts';
const lock = await acquireLock(process.argv[2]);
process.stdout.write(lock.kind + '\\n');
setInterval(() => {}, 1000);
`;

let folder = '';
let file = '';
let lines: string[] = [];
const held: HeldLock[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-lock-'));
  file = join(folder, 'controller', 'lock');
  lines = [];
});
afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release();
  rmSync(folder, { recursive: true, force: true });
});

async function take(): Promise<HeldLock> {
  const lock = await acquireLock(file);
  if (lock.kind === 'taken') throw new Error(`taken by ${lock.holder}`);
  held.push(lock);
  return lock;
}

function options(signal?: AbortSignal) {
  const log = createLog({ level: 'info', destination: { write: (line) => lines.push(line) } });
  return { log, clock: createClock(), ...(signal && { signal }) };
}

/** Processes that have the lock file open, as the kernel knows them. */
function holders(): number[] {
  const found = execFileSync('sh', [
    '-c',
    `for f in /proc/[0-9]*/fd/*; do [ "$f" -ef '${file}' ] && echo "$f"; done; true`,
  ]);
  return (
    found
      .toString()
      .match(/(?<=proc\/)\d+/g)
      ?.map(Number) ?? []
  );
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error('It has not become true within 10 s.');
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

describe('the lock', () => {
  it('is held by one only, and the second learns who that is', async () => {
    const first = await take();
    const second = await acquireLock(file);
    expect(second).toEqual({ kind: 'taken', holder: expect.stringContaining(`process ${process.pid} on `) });
    await first.release();
    expect((await take()).kind).toBe('held');
  });

  it('is freed by the kernel when its holder is killed', async () => {
    const running = runProgram(await buildProgram(folder, program), [file]);
    await running.said('held');
    expect((await acquireLock(file)).kind).toBe('taken');
    running.child.kill('SIGKILL');
    const lock = await waitForLock(file, options());
    held.push(lock);
    expect(JSON.parse(readFileSync(file, 'utf8')).pid).toBe(process.pid);
  });

  it('is waited for, which is said once, and comes as soon as it is free', async () => {
    const first = await take();
    const waiting = waitForLock(file, options());
    // The first try has a process for a moment too: only after the sentence is it the one that waits.
    await until(() => lines.length === 1 && holders().length === 2);
    expect(lines[0]).toMatch(/Another controller works for this station \(process \d+ on .*\): waiting until it ends/);
    await first.release();
    held.push(await waiting);
    expect(lines).toHaveLength(1);
    expect((await acquireLock(file)).kind).toBe('taken');
  });

  it('can be given up while it is waited for', async () => {
    await take();
    const stop = new AbortController();
    const waiting = waitForLock(file, options(stop.signal));
    await until(() => holders().length === 2);
    stop.abort(new Error('asked to stop'));
    await expect(waiting).rejects.toThrow('asked to stop');
    await until(() => holders().length === 1);
  });

  it('tells its holder when it is lost', async () => {
    const lock = await take();
    const lost = new Promise<void>((tell) => lock.onLost(tell));
    for (const pid of holders()) process.kill(pid, 'SIGKILL');
    await lost;
    await new Promise<void>((tell) => lock.onLost(tell));
    expect((await take()).kind).toBe('held');
  });

  it('does not call a release a loss', async () => {
    let lost = false;
    const lock = await take();
    lock.onLost(() => {
      lost = true;
    });
    await lock.release();
    await lock.release();
    expect(holders()).toEqual([]);
    expect(lost).toBe(false);
  });

  it('stays with its holder when a Ctrl-C reaches the whole process group', async () => {
    const lock = await take();
    const [pid] = holders();
    // The fifth field of stat is the process group; the name before it may contain anything but ")".
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
    expect(fields[2]).toBe(String(pid));
    await lock.release();
  });

  it('does not confuse a file that cannot be locked with one that is taken', async () => {
    mkdirSync(file, { recursive: true });
    await expect(acquireLock(join(file, 'x', '..', '..', 'lock'))).rejects.toThrow(/cannot be (locked|written)/);
    writeFileSync(join(folder, 'plain'), '');
    await expect(acquireLock(join(folder, 'plain', 'lock'))).rejects.toThrow();
    expect(holders()).toEqual([]);
  });

  it('is held on a full disk too: the controller that makes room there must be able to start', async () => {
    mkdirSync(join(folder, 'controller'));
    symlinkSync('/dev/full', file);
    await take();
    expect(await acquireLock(file)).toEqual({ kind: 'taken', holder: null });
  });

  it('names nobody where the file says nothing', async () => {
    await take();
    writeFileSync(file, '{"pid":');
    expect(await acquireLock(file)).toEqual({ kind: 'taken', holder: null });
  });
});
