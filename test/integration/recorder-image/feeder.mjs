// The sound of a microphone that does not exist, like hardware: in real time, into a ring of the buffer's size, whether
// anybody reads or not; what comes when the ring is full is lost. arecord reads it through a FIFO.
//   node feeder.mjs <fifo> <arecord's pid> <control file> <control file> <arecord's arguments>
// First it prints further arguments, a line of them: the ring's size and its period. What it does can be changed while it runs: see README.md.
import { constants, openSync, readFileSync, writeSync } from 'node:fs';

const BYTES = { S16_LE: 2, S24_3LE: 3, S24_LE: 4, S32_LE: 4 };
const TICK_MS = 4;
const CONTROL_INTERVAL_MS = 100;
const TONE_HZ = 1000;
const TONE_AMPLITUDE = 0.1;
/**
 * Of the sixteen pages of a FIFO. A period is written, and read by ALSA, whole or not at all: shorter reads would make
 * it repeat what it read before. A write of so many pages finds room for all or for none; one within a page (PIPE_BUF)
 * is whole by definition.
 */
const PAGE_BYTES = 4096;
const PERIOD_PAGES = [8, 4, 2, 1];
const PERIODS_PER_SECOND = 20;
/** What a USB microphone's driver grants at most (sound/usb/pcm.c: buffer_bytes_max). */
const USB_BUFFER_BYTES = 1024 * 1024;

const [fifo, pid, runControl, workspaceControl, ...args] = process.argv.slice(2);
feed(fifo, Number(pid), [runControl, workspaceControl], requestOf(args));

function requestOf(args) {
  const value = (option) => args[args.indexOf(option) + 1];
  const asked = args.find((word) => word.startsWith('--buffer-time='))?.slice('--buffer-time='.length);
  const format = value('-f');
  const channels = Number(value('-c'));
  const frameBytes = channels * BYTES[format];
  return {
    rate: Number(value('-r')),
    channels,
    bytes: BYTES[format],
    format,
    frameBytes,
    askedUs: Number(asked ?? 5e5),
  };
}

/** As large as asked for, or as USB grants, or as `MICROPHONE_BUFFER_MS` says. */
function bufferFrames({ rate, frameBytes, askedUs }) {
  const given = process.env.MICROPHONE_BUFFER_MS;
  if (given !== undefined) return Math.floor((Number(given) / 1000) * rate);
  return Math.min(Math.floor((askedUs / 1_000_000) * rate), Math.floor(USB_BUFFER_BYTES / frameBytes));
}

function periodFrames({ rate, frameBytes }) {
  const fits = (pages) =>
    (pages * PAGE_BYTES) % frameBytes === 0 && (pages * PAGE_BYTES) / frameBytes <= rate / PERIODS_PER_SECOND;
  return Math.floor(((PERIOD_PAGES.find(fits) ?? 1) * PAGE_BYTES) / frameBytes);
}

function feed(fifo, pid, controlPaths, request) {
  const { rate, frameBytes } = request;
  const ring = bufferFrames(request);
  const period = periodFrames(request);
  const bufferUs = Math.floor((ring / rate) * 1_000_000);
  writeSync(1, `--buffer-time=${bufferUs} --period-size=${period}\n`);
  const sounds = { tone: toneOf(request), silent: silenceOf, counter: counterOf(request) };
  const output = openWhenRead(fifo, pid);
  let startedAt = performance.now();
  /** Frames captured since then, and of these, how many were taken out of the ring (or lost). */
  let captured = 0;
  let taken = 0;
  /** The ring was full: what is in it is lost too. */
  let overrun = false;
  let control = readControl(controlPaths, 'tone');
  let controlReadAt = startedAt;

  /** One period from this frame on. False: nobody has read what is in the FIFO. */
  function send(from) {
    return write(output, (sounds[control] ?? sounds.tone)(from, period, frameBytes), pid);
  }

  function drain() {
    while (captured - taken >= period) {
      if (overrun ? !goOn() : !send(taken)) {
        overrun ||= captured - period - taken > ring;
        return;
      }
      if (!overrun) taken += period;
      overrun = false;
    }
  }

  /** As ALSA does: once somebody reads again, the ring is emptied, and it goes on with what is heard by then. */
  function goOn() {
    const lost = captured - period - taken;
    if (!send(captured - period)) return false;
    taken = captured;
    const beyond = (((lost - ring) / rate) * 1000).toFixed(3);
    const avail = `  delay       : 0\n  avail       : ${ring}\n  avail_max   : ${ring}\n`;
    writeSync(2, `overrun!!! (at least ${beyond} ms long)\nStatus:\n  state       : XRUN\n${avail}`);
    return true;
  }

  const tick = () => {
    const now = performance.now();
    if (now - controlReadAt >= CONTROL_INTERVAL_MS) {
      control = readControl(controlPaths, control);
      controlReadAt = now;
      if (!isAlive(pid)) process.exit(0);
    }
    if (control === 'exit' || control === 'unplug') return endArecord(control, pid);
    if (control === 'stall') startedAt = now - (captured / rate) * 1000;
    captured = Math.floor(((now - startedAt) / 1000) * rate);
    drain();
    setTimeout(tick, TICK_MS);
  };
  tick();
}

/** Its end of the FIFO, from the moment at which arecord has opened the other: a device starts when it is read. */
function openWhenRead(fifo, pid) {
  for (;;) {
    try {
      return openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (error.code !== 'ENXIO') throw error;
      if (!isAlive(pid)) process.exit(0);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** One second of it, at a whole number of Hz, so that its repetition has no seam. */
function toneOf({ rate, channels, bytes, format, frameBytes }) {
  const tone = Buffer.alloc(rate * frameBytes);
  const fullScale = 2 ** (format.startsWith('S24') ? 23 : bytes * 8 - 1) - 1;
  for (let frame = 0, place = 0; frame < rate; frame += 1) {
    const sample = Math.round(Math.sin((2 * Math.PI * TONE_HZ * frame) / rate) * TONE_AMPLITUDE * fullScale);
    for (let channel = 0; channel < channels; channel += 1, place += bytes) tone.writeIntLE(sample, place, bytes);
  }
  return (from, frames) => {
    const begin = (from % rate) * frameBytes;
    const part = tone.subarray(begin, begin + frames * frameBytes);
    const missing = frames * frameBytes - part.length;
    return missing === 0 ? part : Buffer.concat([part, tone.subarray(0, missing)]);
  };
}

function silenceOf(_from, frames, frameBytes) {
  return Buffer.alloc(frames * frameBytes);
}

/** Every sample is one more than the sample before it, modulo what its bytes hold. */
function counterOf({ channels, bytes }) {
  return (from, frames, frameBytes) => {
    const data = Buffer.alloc(frames * frameBytes);
    for (let sample = from * channels, place = 0; place < data.length; sample += 1, place += bytes) {
      data[place] = sample;
      data[place + 1] = sample / 2 ** 8;
      if (bytes > 2) data[place + 2] = sample / 2 ** 16;
      if (bytes > 3) data[place + 3] = sample / 2 ** 24;
    }
    return data;
  };
}

/** False: the FIFO is full. */
function write(output, data, pid) {
  try {
    writeSync(output, data);
    return true;
  } catch (error) {
    if (error.code === 'EAGAIN') return false;
    // arecord has ended, or is about to.
    if (error.code === 'EPIPE' || !isAlive(pid)) process.exit(0);
    throw error;
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
