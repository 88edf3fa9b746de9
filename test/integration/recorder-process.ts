/** Runs the real recorder as a process of its own, outside any container, and reads what it leaves on disk. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import {
  parseSegmentName,
  type RecorderStatus,
  recorderStatusSchema,
  type SegmentName,
  STATUS_FILE,
} from '../../services/shared/contract.ts';
import { frameBytesOf, headerBytesOf, paddedBytes, readWavFormat, type WavFormat } from '../../services/shared/wav.ts';

/** Folders of one recorder, with the recorder bundled beside them. */
export interface RecorderPlace {
  bundlePath: string;
  workspacePath: string;
  runPath: string;
  remove(): Promise<void>;
}

export async function makeRecorderPlace(): Promise<RecorderPlace> {
  const path = await mkdtemp(join(tmpdir(), 'silvasonic-recorder-'));
  const bundlePath = join(path, 'recorder.mjs');
  await build({
    entryPoints: ['services/recorder/main.ts'],
    outfile: bundlePath,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
  });
  return {
    bundlePath,
    workspacePath: join(path, 'workspace'),
    runPath: join(path, 'run'),
    remove: () => rm(path, { recursive: true, force: true }),
  };
}

export interface RunningRecorder {
  child: ChildProcess;
  /** Exit code, and all that it wrote to standard error. */
  ended: Promise<{ code: number | null; errors: string }>;
  /** Its status once `condition` holds. Rejects after 15 s (or `seconds`), and when it ends before. */
  status(condition: (status: RecorderStatus) => boolean, seconds?: number): Promise<RecorderStatus>;
}

/**
 * `environment` goes on top of ours and of the two folders; undefined removes a variable. `under`: a program and its
 * arguments that runs it.
 */
export function startRecorder(
  place: RecorderPlace,
  environment: Record<string, string | undefined>,
  under: string[] = [],
): RunningRecorder {
  const [program = process.execPath, ...args] = [...under, process.execPath, place.bundlePath];
  const child = spawn(program, args, {
    env: {
      ...process.env,
      SILVASONIC_RECORDER_WORKSPACE: place.workspacePath,
      SILVASONIC_RECORDER_RUN: place.runPath,
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = new Promise<{ code: number | null; errors: string }>((resolveEnd) => {
    child.once('close', (code) => resolveEnd({ code, errors }));
  });
  return {
    child,
    ended,
    async status(condition, seconds = 15) {
      const deadline = performance.now() + seconds * 1000;
      for (;;) {
        const status = await lastStatus(place);
        if (status !== null && condition(status)) return status;
        if (child.exitCode !== null || performance.now() > deadline) {
          throw new Error(`the status never came about; last: ${JSON.stringify(status)}; log: ${errors}`);
        }
        await new Promise((next) => setTimeout(next, 20));
      }
    },
  };
}

/** null: there is no status file yet. */
export async function lastStatus({ runPath }: RecorderPlace): Promise<RecorderStatus | null> {
  const path = join(runPath, STATUS_FILE);
  if (!existsSync(path)) return null;
  return recorderStatusSchema.parse(JSON.parse(await readFile(path, 'utf8')));
}

export interface RecordedFile {
  name: string;
  segment: SegmentName;
  /** The folder that it lies in. */
  day: string;
  format: WavFormat;
  /** What the header says is there. */
  declaredBytes: number;
  /** With the pad byte, where there is one. */
  samples: Buffer;
  /** The chunks after the samples, by their names. */
  chunks: Map<string, Buffer>;
  /** The GUANO fields. */
  guano: Map<string, string>;
  path: string;
}

/** All finished files of a workspace in the order of their numbers. Throws for a file that is no WAV file of ours. */
export async function recordedFiles(workspacePath: string): Promise<RecordedFile[]> {
  const files: RecordedFile[] = [];
  const rawPath = join(workspacePath, 'data', 'raw');
  for (const day of await readdir(rawPath)) {
    for (const name of await readdir(join(rawPath, day))) {
      const bytes = await readFile(join(rawPath, day, name));
      const segment = parseSegmentName(name);
      const format = readWavFormat(bytes.subarray(0, 68));
      if (segment === null || format === null) throw new Error(`${day}/${name} is not a recording`);
      const headerBytes = headerBytesOf(format);
      const declaredBytes = bytes.readUInt32LE(headerBytes - 4);
      const end = headerBytes + paddedBytes(declaredBytes);
      const samples = bytes.subarray(headerBytes, end);
      files.push({
        path: join(rawPath, day, name),
        name,
        segment,
        day,
        format,
        declaredBytes,
        samples,
        ...after(bytes, end),
      });
    }
  }
  return files.sort((a, b) => a.segment.sequence - b.segment.sequence);
}

/** By the rules of RIFF (even places, sizes that add up) and of GUANO (UTF-8, one key once, version and time stamp). */
function after(bytes: Buffer, from: number): Pick<RecordedFile, 'chunks' | 'guano'> {
  if (bytes.readUInt32LE(4) + 8 !== bytes.length) throw new Error('the RIFF size is not that of the file');
  const chunks = new Map<string, Buffer>();
  for (let place = from; place < bytes.length; ) {
    const size = bytes.readUInt32LE(place + 4);
    if (place + 8 + size > bytes.length) throw new Error('a chunk reaches beyond the end of its file');
    chunks.set(bytes.toString('latin1', place, place + 4), bytes.subarray(place + 8, place + 8 + size));
    place += 8 + size + (size % 2);
  }
  const guano = new Map<string, string>();
  const text = new TextDecoder('utf-8', { fatal: true }).decode(chunks.get('guan') ?? Buffer.alloc(0));
  for (const line of text.split('\n').filter((one) => one.trim() !== '')) {
    const colon = line.indexOf(':');
    const key = line.slice(0, colon).trim();
    if (colon < 1 || guano.has(key)) throw new Error(`not a GUANO field: ${line}`);
    guano.set(key, line.slice(colon + 1).trim());
  }
  return { chunks, guano };
}

/** Whole frames that the header says are there. */
export function framesOf(file: RecordedFile | undefined): number {
  if (file === undefined) throw new Error('there is no such recording');
  return file.declaredBytes / frameBytesOf(file.format);
}

/** Environment in which `arecord` is the real one and `hw:` is the microphone of `recorder-image`. */
export async function withoutHardware(place: RecorderPlace): Promise<Record<string, string>> {
  const imagePath = resolve('test/integration/recorder-image');
  await mkdir(place.runPath, { recursive: true });
  const alsaPath = join(place.runPath, 'alsa.conf');
  await writeFile(alsaPath, `</usr/share/alsa/alsa.conf>\n<${join(imagePath, 'asound.conf')}>\n`);
  return {
    SILVASONIC_RECORDER_DEVICE: 'hw:1,0',
    PATH: `${imagePath}:${process.env.PATH}`,
    ALSA_CONFIG_PATH: alsaPath,
    MICROPHONE_FEEDER: join(imagePath, 'feeder.mjs'),
    MICROPHONE_FIFO: join(place.runPath, 'microphone.fifo'),
  };
}

/** Tells the microphone that does not exist what to do: a word of `recorder-image/README.md`. */
export async function controlMicrophone(place: RecorderPlace, mode: string): Promise<void> {
  await writeFile(join(place.runPath, 'feeder.json'), JSON.stringify({ mode }));
}
