/**
 * What a person sees while a machine is made ready: sentences, progress with elapsed time, one question; and the log
 * file that takes the long output of the commands run meanwhile.
 */
'use strict';

const { spawn } = require('node:child_process');
const { appendFileSync, createWriteStream, mkdirSync } = require('node:fs');
const { dirname } = require('node:path');
const { createInterface } = require('node:readline');

const TAIL_LINES = 20;
const KILL_GRACE_MS = 10_000;

/** Something that its reader can mend: `message` is one sentence with the cure, `details` what a command said. */
class Problem extends Error {
  constructor(message, details = '', cause = undefined) {
    super(message, { cause });
    this.name = 'Problem';
    this.details = details;
  }
}

/** Ended because somebody asked for it. `exitCode` is 128 + the signal's number. */
class Interrupted extends Error {
  constructor(signal) {
    super(`Stopped by ${signal}.`);
    this.name = 'Interrupted';
    this.exitCode = signal === 'SIGINT' ? 130 : 143;
  }
}

/**
 * A terminal that shows steps. On a real one, the running step's line counts its seconds; elsewhere (a log, CI) each
 * step is one line at its begin and one at its end.
 * @param {{output?: NodeJS.WriteStream, logPath: string | null}} options
 */
function createTerminal({ output = process.stdout, logPath }) {
  const startedAt = process.hrtime.bigint();
  const elapsed = () => `${String(Math.round(Number(process.hrtime.bigint() - startedAt) / 1e9)).padStart(4)} s`;
  const note = (text) => {
    if (logPath === null) return;
    mkdirSync(dirname(logPath), { recursive: true });
    appendFileSync(logPath, `${new Date().toISOString()} ${text}\n`);
  };
  const say = (text) => {
    output.write(`[${elapsed()}] ${text}\n`);
    note(text);
  };
  const begin = (title) => {
    say(`${title} …`);
    if (!output.isTTY) return { end: (result) => say(`${title}: ${result}`) };
    const stepStartedAt = process.hrtime.bigint();
    const seconds = () => Math.round(Number(process.hrtime.bigint() - stepStartedAt) / 1e9);
    const tick = setInterval(() => output.write(`\r[${elapsed()}] ${title} … ${seconds()} s`), 1000);
    return {
      end: (result) => {
        clearInterval(tick);
        output.write('\r\u001b[K');
        say(`${title}: ${result}`);
      },
    };
  };
  return { say, note, begin, logPath };
}

/**
 * Asks a yes/no question; Enter means `byDefault`. No terminal to ask on means yes: nobody is there to answer. Who
 * must not take that for an answer looks first.
 */
function confirm(question, { yes, byDefault = true, input = process.stdin, output = process.stdout }) {
  if (yes || !input.isTTY || !output.isTTY) return Promise.resolve(true);
  return new Promise((resolve) => {
    const reader = createInterface({ input, output });
    let answered = false;
    reader.question(`${question} ${byDefault ? '[Y/n]' : '[y/N]'} `, (answer) => {
      answered = true;
      reader.close();
      const text = answer.trim();
      resolve(text === '' ? byDefault : /^(y|yes)$/i.test(text));
    });
    reader.on('close', () => {
      if (!answered) resolve(false);
    });
  });
}

/** Ends a child that is past its deadline, politely and then for certain. */
function endAfterDeadline(child, timeoutMs, onDeadline) {
  let kill;
  const deadline = setTimeout(() => {
    onDeadline();
    child.kill('SIGTERM');
    kill = setTimeout(() => child.kill('SIGKILL'), KILL_GRACE_MS);
  }, timeoutMs);
  child.once('close', () => {
    clearTimeout(deadline);
    clearTimeout(kill);
  });
}

/**
 * Runs one long command as a step: its output goes to the log, its last lines into the Problem when it fails.
 * @param {ReturnType<typeof createTerminal>} terminal
 * @param {{title: string, command: string, args: string[], env?: object, cwd?: string, timeoutMs: number,
 *   sentence: (output: string) => string}} step `sentence` words the failure, given the command's whole output.
 * @throws {Problem} when it ends with another code than 0, cannot be started, or is past its deadline
 * @throws {Interrupted} when this process is asked to stop meanwhile
 */
function runStep(terminal, step) {
  const progress = terminal.begin(step.title);
  terminal.note(`$ ${[step.command, ...step.args].join(' ')}`);
  return new Promise((resolve, reject) => {
    const env = step.env ?? process.env;
    const child = spawn(step.command, step.args, { cwd: step.cwd, env, stdio: ['inherit', 'pipe', 'pipe'] });
    const log = terminal.logPath === null ? null : createWriteStream(terminal.logPath, { flags: 'a' });
    let text = '';
    let why = null;
    const take = (chunk) => {
      text = (text + chunk).slice(-200_000);
      log?.write(chunk);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const stop = (signal) => {
      why = new Interrupted(signal);
      child.kill(signal);
    };
    process.once('SIGINT', stop).once('SIGTERM', stop);
    endAfterDeadline(child, step.timeoutMs, () => {
      text += `\nStopped: not finished after ${step.timeoutMs / 1000} s.`;
    });
    child.once('error', (error) => {
      text += `\n${error.message}`;
    });
    child.once('close', (code) => {
      process.off('SIGINT', stop).off('SIGTERM', stop);
      const finish = () => {
        const ok = code === 0 && why === null;
        progress.end(ok ? 'done' : 'failed');
        if (ok) resolve(text);
        else reject(why ?? new Problem(step.sentence(text), tail(text)));
      };
      // What comes after is to find the log complete.
      if (log === null) finish();
      else log.end(finish);
    });
  });
}

/** The last lines of a command's output, for a person who wants to know more than the sentence. */
function tail(text) {
  return text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}

module.exports = { Problem, Interrupted, createTerminal, confirm, runStep, tail };
