import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createLog, createStateLog, type LogLevel } from '../../services/controller/log.ts';
import { createClock } from '../../services/shared/clock.ts';
import { buildProgram, runProgram } from './child-program.ts';

let folder = '';
let text = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-log-'));
  text = '';
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function log(level: LogLevel = 'info') {
  return createLog({
    level,
    destination: {
      write: (line) => {
        text += line;
      },
    },
  });
}

const lines = (): unknown[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

describe('createLog', () => {
  it('loses lines on a full disk, and neither ends the process nor keeps it from ending', async () => {
    const program = await buildProgram(
      folder,
      `import { createLog } from './log.ts';
       const log = createLog({ level: 'info' });
       log.info({}, 'lost');
       setTimeout(() => log.info({}, 'lost too'), 200);
       setTimeout(() => { console.error('still here'); process.exit(7); }, 400);`,
    );
    const child = spawn('sh', ['-c', `exec "$0" "$1" > /dev/full`, process.execPath, program]);
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (said: string) => {
      words += said;
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [code] = await once(child, 'close');
    expect([code, words]).toEqual([7, 'still here\n']);
  });

  it('writes one JSON object per line: level, time, fields, message', () => {
    log().child({ subject: 'recorder:1' }).warn({ attempts: 2 }, 'It does not start.\nReally.');
    log().debug('too fine');
    expect(lines()).toEqual([
      {
        level: 'warn',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        subject: 'recorder:1',
        attempts: 2,
        msg: 'It does not start.\nReally.',
      },
    ]);
  });

  it('lets no secret through', () => {
    const error = Object.assign(new Error('connect postgres://silva:hunter2@database/x failed'), {
      code: 'ECONNREFUSED',
      parameters: ['hunter3'],
      cause: new Error('redis://:hunter4@redis:6379 too'),
    });
    log().error({ err: error, postgres: { password: 'hunter5' }, password: 'hunter6' }, 'http://a:hunter7@b/ is away');
    expect(text).not.toContain('hunter');
    expect(lines()).toMatchObject([
      {
        err: {
          type: 'Error',
          code: 'ECONNREFUSED',
          message: 'connect postgres://***@database/x failed',
          cause: { message: 'redis://***@redis:6379 too' },
        },
        postgres: { password: '***' },
        password: '***',
        msg: 'http://***@b/ is away',
      },
    ]);
  });

  it('survives a chain of causes that leads back to itself, and an error that is none', () => {
    const error = new Error('round');
    error.cause = error;
    log().error({ err: error }, 'x');
    log().error({ err: 'only text' }, 'y');
    expect(lines()).toMatchObject([{ err: { message: 'round' } }, { err: 'only text' }]);
  });

  const chatter = `
    import { createLog } from './log.ts';
    const log = createLog({ level: 'info' });
    for (let line = 0; line < 20_000; line += 1) log.info({ line }, 'x'.repeat(200));
    await new Promise((wake) => setTimeout(wake, 50));
    process.stderr.write('alive');
    if (process.argv[2] === 'stay') setInterval(() => {}, 1000);
  `;

  it('does not stop the process when nobody reads its output', async () => {
    const child = spawn(process.execPath, [await buildProgram(folder, chatter), 'stay']);
    child.stdout.pause();
    const [said] = await once(child.stderr, 'data');
    expect(String(said)).toBe('alive');
    child.kill('SIGKILL');
    await once(child, 'exit');
  });

  it('writes what it still holds when the process exits', async () => {
    const program = `
      import { createLog } from './log.ts';
      createLog({ level: 'info' }).info('the last words');
      process.exit(78);
    `;
    const { code, stdout } = await runProgram(await buildProgram(folder, program), []).ended;
    expect(code).toBe(78);
    expect(JSON.parse(stdout)).toMatchObject({ msg: 'the last words' });
  });
});

describe('the log of small services', () => {
  it('loses lines on a full disk, and nothing else: a recorder goes on', async () => {
    const program = await buildProgram(
      folder,
      `import { createLog } from '../shared/log.ts';
       createLog({ service: 'recorder' })('info', 'lost');
       console.log('still here');`,
    );
    const child = spawn('sh', ['-c', `exec "$0" "$1" 2> /dev/full`, process.execPath, program]);
    const [said] = await once(child.stdout, 'data');
    expect(String(said)).toBe('still here\n');
  });
});

describe('createStateLog', () => {
  it('writes a line per change of state, not per attempt', () => {
    const states = createStateLog(log());
    states.tell('redis', 'down', 'warn', 'Redis is away.');
    states.tell('redis', 'down', 'warn', 'Redis is away.');
    states.tell('database', 'up', 'info', 'The database answers.');
    states.tell('redis', 'up', 'info', 'Redis answers.');
    states.forget('database');
    states.tell('database', 'up', 'info', 'The database answers.');
    expect(lines()).toMatchObject([
      { level: 'warn', subject: 'redis', state: 'down', msg: 'Redis is away.' },
      { subject: 'database' },
      { level: 'info', subject: 'redis', state: 'up' },
      { subject: 'database' },
    ]);
  });
});

describe('createClock', () => {
  it('goes forward only, and calls back not before its time', async () => {
    const clock = createClock();
    const startMs = clock.nowMs();
    await new Promise<void>((wake) => clock.timer(30, wake));
    // Timers count whole milliseconds.
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(29);
  });

  it('does not call back when cancelled, nor at once when the wait is longer than a timer of Node', async () => {
    const clock = createClock();
    const called: string[] = [];
    const cancelled = clock.timer(1, () => called.push('cancelled'));
    const far = clock.timer(2 ** 31 + 5, () => called.push('far'));
    cancelled();
    await new Promise<void>((wake) => clock.timer(50, wake));
    expect(called).toEqual([]);
    far();
  });
});
