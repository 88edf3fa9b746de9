/**
 * The archive form of a recording: FLAC instead of WAV, with not a sample nor a word of its metadata lost. The WAV file goes
 * only after the FLAC file on disk was decoded and found equal.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { formatDerivedName, formatSegmentName, segmentDay } from '../shared/contract.ts';
import { fileFact, removeFile, withFile, withFolder, withFreshFile } from '../shared/folders.ts';
import { RAW } from '../shared/recordings.ts';
import { deadlineFor, type RecordingTask, readOverview } from './copies.ts';
import { copyWithMetadata, readFlacStream } from './flac-file.ts';
import type { Sox } from './sox.ts';
import { guanoText, readWavFile, type WavFile } from './wav-file.ts';
import { makeFile, UNTAGGED_ENDING } from './work-folder.ts';

/** `kept`: it stays WAV, since FLAC cannot hold it whole; `why` is for people. */
export type ArchiveOutcome = { kind: 'archived' } | { kind: 'kept'; why: string };

/** FLAC as SoX writes it. */
const MOST_BITS = 24;
const MOST_CHANNELS = 8;
const MOST_RATE = 655_350;
const READ_BYTES = 256 * 1024;

/**
 * Puts FLAC in the place of WAV. Goes on where a run was killed: with both files there, the FLAC file is compared and the
 * WAV file removed. Throws `BrokenRecording`, `SoxRefused`, or what the machine is to blame for.
 */
export async function archiveRecording(task: RecordingTask): Promise<ArchiveOutcome> {
  const { workspace, stored } = task;
  const target = [...RAW, segmentDay(stored.segment)];
  const wavName = formatSegmentName(stored.segment);
  const flacName = formatDerivedName(stored.segment, 'flac');
  const outcome = await withFolder(workspace, target, (folder) =>
    withFile(folder, wavName, async (recording): Promise<ArchiveOutcome> => {
      const wav = await readWavFile(recording);
      const why = await whyNot(task, wav);
      if (why !== null) return { kind: 'kept', why };
      if ((await fileFact(folder, flacName)) === null) {
        await makeFile(workspace, target, flacName, (file, work) =>
          withFreshFile(work, `${flacName}${UNTAGGED_ENDING}`, async (untagged) => {
            try {
              await encode(task.sox, recording, wav, untagged);
              await copyWithMetadata(untagged, file, wav, commentsOf(wav));
              await keepTimes(recording, file);
              if (!(await holdsSame(task.sox, file, recording, wav)))
                throw new Error('its FLAC form came out different');
            } finally {
              await removeFile(work, `${flacName}${UNTAGGED_ENDING}`);
            }
          }),
        );
      } else {
        const same = await withFile(folder, flacName, (file) => holdsSame(task.sox, file, recording, wav));
        if (same !== true) return { kind: 'kept', why: `${flacName} beside it holds other sound` };
      }
      await removeFile(folder, wavName);
      await folder.handle.sync();
      return { kind: 'archived' };
    }),
  );
  return outcome ?? { kind: 'kept', why: 'it is no longer there' };
}

async function whyNot({ workspace, stored }: RecordingTask, wav: WavFile): Promise<string | null> {
  if (wav.channels > MOST_CHANNELS) return `FLAC holds ${MOST_CHANNELS} channels, not ${wav.channels}`;
  if (wav.rate > MOST_RATE) return `FLAC holds ${MOST_RATE} Hz, not ${wav.rate}`;
  if (wav.bitsPerSample <= MOST_BITS) return null;
  // Many microphones send 24 bits in 32; only what really uses more cannot be held.
  const overview = await readOverview(workspace, stored.segment);
  if (overview === null) return 'its overview is missing, which tells how many bits it uses';
  return overview.usedBits <= MOST_BITS ? null : `FLAC holds ${MOST_BITS} bits, and it uses ${overview.usedBits}`;
}

async function encode(sox: Sox, recording: FileHandle, wav: WavFile, file: FileHandle): Promise<void> {
  const bits = String(Math.min(wav.bitsPerSample, MOST_BITS));
  const output = ['-b', bits, '-C', '5', '-t', 'flac', '{1}'];
  await sox.run(['--no-dither', '-t', 'wav', '{0}', ...output], [recording, file], { deadlineMs: deadlineFor(wav) });
}

/** GUANO as text for players that show comments; the chunks themselves are kept besides. */
function commentsOf(wav: WavFile): (readonly [string, string])[] {
  const guano = guanoText(wav);
  return guano === null ? [] : [['GUANO', guano]];
}

/** The time of a recording's file tells many tools when it was made. */
async function keepTimes(from: FileHandle, to: FileHandle): Promise<void> {
  const { atime, mtime } = await from.stat();
  await to.utimes(atime, mtime);
}

/**
 * Whether decoding gives the very bytes of the WAV file, which are read here without SoX, so that no error of its reader can
 * hide one of its writer.
 */
async function holdsSame(sox: Sox, file: FileHandle, recording: FileHandle, wav: WavFile): Promise<boolean> {
  const stream = await readFlacStream(file);
  if (stream.frames !== wav.frames || stream.channels !== wav.channels || stream.rate !== wav.rate) return false;
  const decoded = createHash('sha256');
  const samples = ['-t', 'raw', '-e', 'signed', '-b', String(wav.bitsPerSample), '-L', '-'];
  await sox.run(['--no-dither', '-t', 'flac', '{0}', ...samples], [file], {
    deadlineMs: deadlineFor(wav),
    onSound: (bytes) => decoded.update(bytes),
  });
  const recorded = createHash('sha256');
  const buffer = Buffer.alloc(READ_BYTES);
  // A trailing part of a frame is no sound.
  const end = wav.dataOffset + wav.frames * wav.channels * (wav.bitsPerSample / 8);
  for (let offset = wav.dataOffset; offset < end; ) {
    const { bytesRead } = await recording.read(buffer, 0, Math.min(buffer.length, end - offset), offset);
    if (bytesRead === 0) return false;
    recorded.update(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
  return decoded.digest().equals(recorded.digest());
}
