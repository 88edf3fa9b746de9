/**
 * What is made of one recording: a copy at 48 kHz to listen to, a spectrogram to look at, an overview to draw. Each appears
 * complete or not at all, and only what is missing is made.
 */
import type { FileHandle } from 'node:fs/promises';
import {
  type DerivedEnding,
  formatDerivedName,
  formatSegmentName,
  type Overview,
  overviewSchema,
  type Processing,
  type SegmentName,
  segmentDay,
} from '../shared/contract.ts';
import type { FlacStream } from '../shared/flac.ts';
import { type Folder, readSmallFile, withFile, withFolder } from '../shared/folders.ts';
import { PROCESSED, RAW, type StoredSegment } from '../shared/recordings.ts';
import { readFully, writeFully } from './file-bytes.ts';
import { readFlacStream } from './flac-file.ts';
import { createOverviewBuilder } from './overview.ts';
import type { Sox } from './sox.ts';
import { BrokenRecording, guanoText, readWavFile, type WavFile } from './wav-file.ts';
import { makeFile } from './work-folder.ts';

/** Frames per second of the copy that people listen to. */
export const COPY_RATE = 48_000;
/** Pixels; the width at most, since SoX draws whole blocks of samples. A height of 2^n + 1 lets SoX use its quickest transform. */
export const PICTURE = { width: 1000, height: 257 } as const;

/** One recording as it is worked on. */
export interface RecordingTask {
  workspace: Folder;
  stored: StoredSegment;
  processing: Processing;
  sox: Sox;
}

/** What a recording is, in whichever form it is kept. */
export interface RecordedSound extends FlacStream {
  type: 'wav' | 'flac';
  /** GUANO text; null: none, or already among the comments of the FLAC file. */
  guano: string | null;
}

/** The order of making: what people wait for first. The overview last. */
const MAKING_ORDER: readonly DerivedEnding[] = ['png', 'flac', 'json'];
const OVERVIEW_MAX_BYTES = 64 * 1024;
/** Longer comments are left out of the copy; the recording has them. Characters. */
const MOST_COMMENT = 16_384;
const SHORTEST_DEADLINE_MS = 120_000;
/** The slowest machine under the heaviest load still does so much. */
const SLOWEST_BYTES_PER_MS = 100;

/** What is still to be made of it. */
export function missingCopies({ copies }: Pick<StoredSegment, 'copies'>): DerivedEnding[] {
  return MAKING_ORDER.filter((ending) => copies[ending] === null);
}

/**
 * Makes what is missing. Throws `BrokenRecording` when the recording is at fault, `SoxRefused` when SoX says so, any other
 * error when the machine is.
 */
export async function makeCopies(task: RecordingTask): Promise<void> {
  const { segment } = task.stored;
  const missing = missingCopies(task.stored);
  if (missing.length === 0) return;
  const found = await withRecording(task, async (recording, sound) => {
    for (const ending of missing) {
      const target = [...PROCESSED, segmentDay(segment)];
      await makeFile(task.workspace, target, formatDerivedName(segment, ending), (file) =>
        MAKERS[ending](task, recording, sound, file),
      );
    }
    return true;
  });
  if (found === null) throw new RecordingGone(`${formatSegmentName(segment)} is no longer there`);
}

/** Its owner, or retention, removed the recording meanwhile. */
export class RecordingGone extends Error {}

/** The overview that was made of it; null: there is none that we wrote. */
export async function readOverview(workspace: Folder, segment: SegmentName): Promise<Overview | null> {
  const text = await withFolder(workspace, [...PROCESSED, segmentDay(segment)], (folder) =>
    readSmallFile(folder, formatDerivedName(segment, 'json'), OVERVIEW_MAX_BYTES),
  );
  if (text === null) return null;
  try {
    return overviewSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Somebody else's text: as good as none.
    return null;
  }
}

/** Milliseconds that a pass over so much sound may take. */
export function deadlineFor(sound: FlacStream): number {
  const bytes = sound.frames * sound.channels * 4;
  return Math.ceil(SHORTEST_DEADLINE_MS + bytes / SLOWEST_BYTES_PER_MS);
}

async function withRecording<T>(
  { workspace, stored }: RecordingTask,
  work: (recording: FileHandle, sound: RecordedSound) => Promise<T>,
): Promise<T | null> {
  const { segment } = stored;
  return await withFolder(workspace, [...RAW, segmentDay(segment)], async (folder) => {
    if (stored.wav !== null) {
      return await withFile(folder, formatSegmentName(segment), async (file) =>
        work(file, asSound(await readWavFile(file))),
      );
    }
    return await withFile(folder, formatDerivedName(segment, 'flac'), async (file) =>
      work(file, { ...(await readFlacStream(file)), type: 'flac', guano: null }),
    );
  });
}

function asSound(wav: WavFile): RecordedSound {
  const { rate, channels, bitsPerSample, frames } = wav;
  return { rate, channels, bitsPerSample, frames, type: 'wav', guano: guanoText(wav) };
}

type Maker = (task: RecordingTask, recording: FileHandle, sound: RecordedSound, file: FileHandle) => Promise<void>;

const MAKERS: Record<DerivedEnding, Maker> = { flac: makeListeningCopy, png: makePicture, json: makeOverview };

async function makeListeningCopy(
  { processing, sox }: RecordingTask,
  recording: FileHandle,
  sound: RecordedSound,
  file: FileHandle,
): Promise<void> {
  const { gainDb } = processing;
  // Above half of a rate there is nothing to pass, and SoX refuses it.
  const highPassHz = Math.min(processing.highPassHz, 0.45 * Math.min(sound.rate, COPY_RATE));
  const comment =
    sound.guano === null || sound.guano.length > MOST_COMMENT ? [] : ['--comment', `GUANO=${sound.guano}`];
  const effects = [
    ...(highPassHz > 0 ? ['highpass', String(highPassHz)] : []),
    ...['rate', '-m', String(COPY_RATE)],
    ...(gainDb === 0 ? [] : ['gain', String(gainDb)]),
  ];
  const output = ['-b', '16', '-C', '5', ...comment, '-t', 'flac', '{1}'];
  await sox.run(['-t', sound.type, '{0}', ...output, ...effects], [recording, file], {
    deadlineMs: deadlineFor(sound),
  });
  const made = await readFlacStream(file);
  const expected = (sound.frames * COPY_RATE) / sound.rate;
  // SoX rounds where the rates don't divide.
  if (made.rate !== COPY_RATE || Math.abs(made.frames - expected) > 2) {
    throw new Error(`its copy came out with ${made.frames} frames at ${made.rate} Hz instead of ${expected}`);
  }
}

/** Without axes: whoever shows it knows rate and length from the overview, and can lay them over in any size. */
async function makePicture(
  { sox }: RecordingTask,
  recording: FileHandle,
  sound: RecordedSound,
  file: FileHandle,
): Promise<void> {
  const size = ['-x', String(PICTURE.width), '-y', String(PICTURE.height)];
  const effects = [...(sound.channels > 1 ? ['remix', '-'] : []), 'spectrogram', '-r', '-z', '100', ...size];
  await sox.run(['-t', sound.type, '{0}', '-n', ...effects, '-o', '{1}'], [recording, file], {
    deadlineMs: deadlineFor(sound),
  });
  const { size: bytes } = await file.stat();
  const head = await readFully(file, 0, 8);
  const end = await readFully(file, Math.max(0, bytes - 8), 8);
  if (head.toString('latin1', 1, 4) !== 'PNG' || end.toString('latin1', 0, 4) !== 'IEND') {
    throw new Error('its spectrogram came out incomplete');
  }
}

async function makeOverview(
  { sox }: RecordingTask,
  recording: FileHandle,
  sound: RecordedSound,
  file: FileHandle,
): Promise<void> {
  const builder = createOverviewBuilder(sound);
  const samples = ['--no-dither', '-t', sound.type, '{0}', '-t', 'raw', '-e', 'signed', '-b', '32', '-L', '-'];
  await sox.run(samples, [recording], { deadlineMs: deadlineFor(sound), onSound: builder.add });
  let overview: Overview;
  try {
    overview = builder.finish();
  } catch (error) {
    // The head promises what the sound does not hold.
    throw new BrokenRecording(error instanceof Error ? error.message : String(error));
  }
  await writeFully(file, 0, Buffer.from(`${JSON.stringify(overview)}\n`));
}
