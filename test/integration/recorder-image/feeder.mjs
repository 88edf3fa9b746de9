// The sound of a microphone that does not exist, in real time, in whole periods, into a FIFO that arecord reads.
//   node feeder.mjs --period <arecord's arguments>                  prints the period in frames
//   node feeder.mjs --feed <fifo> <period> <arecord's pid> <control file> <control file> <arecord's arguments>
// What it does can be changed while it runs: see README.md.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

const BYTES = { S16_LE: 2, S24_3LE: 3, S24_LE: 4, S32_LE: 4 };
const CONTROL_INTERVAL_MS = 100;
const TONE_HZ = 1000;
const TONE_AMPLITUDE = 0.1;
/** Half of what a FIFO holds, so that a whole period fits in even while the one before is being read. */
const LARGEST_PERIOD_BYTES = 32 * 1024;

const [mode, ...rest] = process.argv.slice(2);
if (mode === '--period') {
  process.stdout.write(`${periodFrames(requestOf(rest))}\n`);
} else {
  const [fifo, period, pid, runControl, workspaceControl, ...args] = rest;
  feed(fifo, Number(period), Number(pid), [runControl, workspaceControl], requestOf(args));
}

function requestOf(args) {
  const value = (option) => args[args.indexOf(option) + 1];
  const format = value('-f');
  return { rate: Number(value('-r')), channels: Number(value('-c')), bytes: BYTES[format], format };
}

/** A twentieth of a second, or less where that is too much for a FIFO. */
function periodFrames({ rate, channels, bytes }) {
  return Math.min(Math.floor(rate / 20), Math.floor(LARGEST_PERIOD_BYTES / (channels * bytes)));
}

function feed(fifo, period, pid, controlPaths, request) {
  // Returns once arecord has opened the other end. It must never be closed before arecord ends: at the end of its
  // file, arecord goes on without pause.
  const output = openSync(fifo, 'w');
  const frameBytes = request.channels * request.bytes;
  const tone = toneOf(request);
  const silence = Buffer.alloc(period * frameBytes);
  let startedAt = performance.now();
  let delivered = 0;
  let position = 0;
  let control = readControl(controlPaths, 'tone');
  let controlReadAt = startedAt;

  const tick = () => {
    const now = performance.now();
    if (now - controlReadAt >= CONTROL_INTERVAL_MS) {
      control = readControl(controlPaths, control);
      controlReadAt = now;
    }
    if (control === 'exit' || control === 'unplug') return endArecord(control, pid);
    if (!isAlive(pid)) process.exit(0);
    if (control === 'stall') {
      startedAt = now;
      delivered = 0;
    }
    while ((now - startedAt) / 1000 >= (delivered + period) / request.rate) {
      if (!write(output, control === 'silent' ? silence : slice(tone, position * frameBytes, silence.length))) return;
      position = (position + period) % request.rate;
      delivered += period;
    }
    setTimeout(tick, Math.max(1, ((delivered + period) / request.rate) * 1000 - (performance.now() - startedAt)));
  };
  tick();
}

/** One second of it, at a whole number of Hz, so that its repetition has no seam. */
function toneOf({ rate, channels, bytes, format }) {
  const tone = Buffer.alloc(rate * channels * bytes);
  const fullScale = 2 ** (format.startsWith('S24') ? 23 : bytes * 8 - 1) - 1;
  for (let frame = 0, place = 0; frame < rate; frame += 1) {
    const sample = Math.round(Math.sin((2 * Math.PI * TONE_HZ * frame) / rate) * TONE_AMPLITUDE * fullScale);
    for (let channel = 0; channel < channels; channel += 1, place += bytes) tone.writeIntLE(sample, place, bytes);
  }
  return tone;
}

function slice(loop, from, length) {
  const part = loop.subarray(from, from + length);
  return part.length === length ? part : Buffer.concat([part, loop.subarray(0, length - part.length)]);
}

/** False: arecord is gone. */
function write(output, period) {
  try {
    writeSync(output, period);
    return true;
  } catch (error) {
    if (error.code !== 'EPIPE') throw error;
    closeSync(output);
    return false;
  }
}

/** The word in the first control file that there is; one that is half written changes nothing. */
function readControl(paths, previous) {
  for (const path of paths) {
    try {
      return JSON.parse(readFileSync(path, 'utf8')).mode ?? previous;
    } catch (error) {
      if (error.code !== 'ENOENT' && !(error instanceof SyntaxError)) throw error;
      if (error instanceof SyntaxError) return previous;
    }
  }
  return 'tone';
}

function endArecord(how, pid) {
  // What arecord says when its card is pulled out.
  if (how === 'unplug') writeSync(2, 'arecord: pcm_read:2221: read error: No such device\n');
  process.kill(pid, 'SIGKILL');
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
    return false;
  }
}
