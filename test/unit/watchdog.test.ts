import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { buildProgram, runProgram } from './child-program.ts';

const program = `
import { openSync, readSync, constants, writeSync } from 'node:fs';
import { createLog } from './log.ts';
import { startWatchdog } from './watchdog.ts';

const [way, fifo] = process.argv.slice(2);
const watchdog = startWatchdog({ limitMs: way === 'frozen' ? 2000 : 1000, log: createLog({ level: 'info' }) });
const beating = setInterval(() => watchdog.beat(), 50);
await new Promise((wake) => setTimeout(wake, 100));
writeSync(1, 'started\\n');

if (way === 'stop') {
  clearInterval(beating);
  await watchdog.stop();
  setTimeout(() => process.exit(3), 2500);
} else if (way === 'beat') {
  setTimeout(() => process.exit(3), 2500);
} else if (way === 'frozen') {
  clearInterval(beating);
  process.once('SIGUSR2', () => {
    watchdog.beat();
    process.exit(3);
  });
  writeSync(1, 'quiet\\n');
  setInterval(() => {}, 1000);
} else if (way === 'loop') {
  for (;;) {}
} else if (way === 'promises') {
  const again = () => Promise.resolve().then(again);
  again();
} else if (way === 'system call') {
  readSync(openSync(fifo, constants.O_RDWR), Buffer.alloc(1));
} else if (way === 'exit handler') {
  process.on('exit', () => { for (;;) {} });
  clearInterval(beating);
  setInterval(() => {}, 1000);
} else if (way === 'no beat') {
  clearInterval(beating);
  setInterval(() => {}, 1000);
}
`;

let folder = '';
let file = '';
let fifo = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-watchdog-'));
  file = await buildProgram(folder, program);
  fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.concurrent('the watchdog', () => {
  it.for(['no beat', 'loop', 'promises'])('ends the process with code 70: %s', async (way, { expect }) => {
    const { code, stderr } = await runProgram(file, [way, fifo]).ended;
    expect(code).toBe(70);
    expect(stderr).toContain('no cycle has finished for 1 s; the watchdog ends the process.');
  });

  it.for(['system call', 'exit handler'])('kills a process that cannot be interrupted: %s', async (way, { expect }) => {
    const { signal, stderr } = await runProgram(file, [way, fifo]).ended;
    expect(signal).toBe('SIGKILL');
    expect(stderr).toContain('the watchdog ends the process.');
  });

  it.for(['beat', 'stop'])('lets a process live: %s', async (way, { expect }) => {
    const { code, stderr } = await runProgram(file, [way, fifo]).ended;
    expect(code).toBe(3);
    expect(stderr).toBe('');
  });

  it('does not count the time in which the whole process was frozen', async ({ expect }) => {
    const running = runProgram(file, ['frozen', fifo]);
    await running.said('quiet');
    // The freeze must not fall into a nap of the thread in which a beat still came.
    await pause(500);
    running.child.kill('SIGSTOP');
    await pause(2500);
    running.child.kill('SIGCONT');
    // Time for the thread to judge, well below its limit.
    await pause(300);
    running.child.kill('SIGUSR2');
    expect(await running.ended).toMatchObject({ code: 3, signal: null });
  });
});

function pause(delayMs: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, delayMs));
}
