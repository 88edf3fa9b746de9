/** Runs the real processor as a process of its own, outside any container, and reads what it made with programs of others. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { type ProcessorStatus, processorStatusSchema, STATUS_FILE } from '../../services/shared/contract.ts';
import type { ProcessorPlace } from '../unit/processor-place.ts';

const run = promisify(execFile);
const MOST_OUTPUT = 256 * 1024 * 1024;

/** The processor in one file, in the place's folder. */
export async function bundleProcessor(place: ProcessorPlace): Promise<string> {
  const outfile = join(place.path, 'processor.mjs');
  await build({
    entryPoints: ['services/processor/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
  });
  return outfile;
}

export interface RunningProcessor {
  child: ChildProcess;
  ended: Promise<{ code: number | null; signal: string | null; errors: string }>;
  /** Its status once `condition` holds. Rejects after a minute, and when it ends before. */
  status(condition: (status: ProcessorStatus) => boolean): Promise<ProcessorStatus>;
}

export function startProcessor(
  place: ProcessorPlace,
  bundle: string,
  environment: Record<string, string | undefined> = {},
): RunningProcessor {
  const child = spawn(process.execPath, [bundle], {
    env: {
      ...process.env,
      SILVASONIC_PROCESSOR_RECORDINGS: place.recordingsPath,
      SILVASONIC_PROCESSOR_RUN: place.runPath,
      SILVASONIC_PROCESSOR_CONFIG_JSON: JSON.stringify({ reserveBytes: 0, reservePercent: 0 }),
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = new Promise<{ code: number | null; signal: string | null; errors: string }>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, errors }));
  });
  return {
    child,
    ended,
    async status(condition) {
      const deadline = Date.now() + 60_000;
      for (;;) {
        const status = await processorStatus(place);
        if (status !== null && condition(status)) return status;
        if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
          throw new Error(`the status never came about; last: ${JSON.stringify(status)}; log: ${errors}`);
        }
        await new Promise((next) => setTimeout(next, 50));
      }
    },
  };
}

/** null: there is no status file yet. */
async function processorStatus({ runPath }: ProcessorPlace): Promise<ProcessorStatus | null> {
  const path = join(runPath, STATUS_FILE);
  if (!existsSync(path)) return null;
  return processorStatusSchema.parse(JSON.parse(await readFile(path, 'utf8')));
}

/** The samples of a file as signed 32-bit numbers, interleaved, by SoX. Rejects for a file that is not whole. */
export async function samplesOf(path: string): Promise<Int32Array> {
  const argumentList = ['-V1', '--no-dither', path, '-t', 'raw', '-e', 'signed', '-b', '32', '-L', '-'];
  const { stdout, stderr } = await run('sox', argumentList, { encoding: 'buffer', maxBuffer: MOST_OUTPUT });
  if (stderr.length > 0) throw new Error(stderr.toString());
  return new Int32Array(new Uint8Array(stdout).buffer);
}

/** What `soxi` says of a file. */
export async function soundFacts(
  path: string,
): Promise<{ rate: number; channels: number; frames: number; bits: number }> {
  const ask = async (option: string) => Number((await run('soxi', [option, path])).stdout);
  const [rate, channels, frames, bits] = [await ask('-r'), await ask('-c'), await ask('-s'), await ask('-b')];
  return { rate, channels, frames, bits };
}

/** The WAV file from which a FLAC file was made, to the byte, by the reference decoder, which writes it to `target`. */
export async function restoredWav(path: string, target: string): Promise<Buffer> {
  await run('flac', ['--decode', '--silent', '--keep-foreign-metadata', '-o', target, path]);
  return await readFile(target);
}

/** Width and height. Throws for a file that is no whole PNG. */
export function pictureSize(png: Buffer): { width: number; height: number } {
  if (png.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n') throw new Error('this is no PNG file');
  let last = '';
  for (let offset = 8; offset + 12 <= png.length; offset += 12 + png.readUInt32BE(offset)) {
    last = png.toString('latin1', offset + 4, offset + 8);
  }
  if (last !== 'IEND') throw new Error('this PNG file is not whole');
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20) };
}
