/** The recordings of one microphone, by the names in its folders: which there are, what is in them, the newest picture. */
import {
  type DerivedEnding,
  formatDerivedName,
  formatSegmentName,
  isWorkspaceName,
  type Overview,
  overviewSchema,
  parseDerivedName,
  parseSegmentName,
  type SegmentName,
  segmentDay,
} from '../shared/contract.ts';
import { FLAC_HEAD_BYTES, readFlacHead } from '../shared/flac.ts';
import { type Folder, fileFact, namesIn, readSmallFile, withFile, withFolder, withRoot } from '../shared/folders.ts';
import { listDays, PROCESSED, RAW, segmentTitle } from '../shared/recordings.ts';
import { frameBytesOf, headerBytesOf, MAX_HEADER_BYTES, readWavFormat } from '../shared/wav.ts';

/** One recording, as far as names tell. */
export interface DayEntry {
  segment: SegmentName;
  /** The form that it is kept in; null: only copies are left of it. */
  raw: 'wav' | 'flac' | null;
  copies: ReadonlySet<DerivedEnding>;
}

/** What is in a recording. */
export interface RecordedSound {
  /** Frames per second. */
  rate: number;
  channels: number;
  bitsPerSample: number;
  seconds: number;
  bytes: number;
}

/** An overview of a thousand stretches is a fifth of this. */
const OVERVIEW_MAX_BYTES = 64 * 1024;
/** A day without any picture is skipped, but not for ever: this is asked for again with each new file. */
const DAYS_WITHOUT_PICTURE = 3;

/** In the root of all recordings; null: there is no such folder. Throws what the file system throws. */
export async function withWorkspace<T>(
  recorderWorkspace: string,
  name: string,
  work: (workspace: Folder) => Promise<T>,
): Promise<T | null> {
  if (!isWorkspaceName(name)) return null;
  return await withRoot(recorderWorkspace, (root) => withFolder(root, [name], work));
}

/** Newest first, `YYYY-MM-DD` (UTC). */
export async function listDayNames(workspace: Folder): Promise<string[]> {
  return (await listDays(workspace)).sort().reverse();
}

/** All of one day, oldest first, without a look at any file: a day may have 1440 and more. */
export async function listDay(workspace: Folder, name: string, day: string): Promise<DayEntry[]> {
  const found = new Map<string, DayEntry & { copies: Set<DerivedEnding> }>();
  const entryOf = (segment: SegmentName) => {
    const title = segmentTitle(segment);
    const entry = found.get(title) ?? { segment, raw: null, copies: new Set<DerivedEnding>() };
    found.set(title, entry);
    return entry;
  };
  const belongs = (segment: SegmentName | undefined): segment is SegmentName =>
    segment !== undefined && segment.workspace === name && segmentDay(segment) === day;
  await withFolder(workspace, [...RAW, day], async (folder) => {
    for await (const file of namesIn(folder)) {
      const recorded = parseSegmentName(file) ?? undefined;
      const archived = recorded === undefined ? parseDerivedName(file) : null;
      // Both are there between two steps of archiving: the WAV file is the original until it goes.
      if (belongs(recorded)) entryOf(recorded).raw = 'wav';
      else if (archived?.ending === 'flac' && belongs(archived.segment)) entryOf(archived.segment).raw ??= 'flac';
    }
  });
  await withFolder(workspace, [...PROCESSED, day], async (folder) => {
    for await (const file of namesIn(folder)) {
      const derived = parseDerivedName(file);
      if (derived !== null && belongs(derived.segment)) entryOf(derived.segment).copies.add(derived.ending);
    }
  });
  return [...found.values()].sort((a, b) => compareSegments(a.segment, b.segment));
}

/** Oldest first; two of the same second by their run and number. */
export function compareSegments(a: SegmentName, b: SegmentName): number {
  const difference = a.startedAt.getTime() - b.startedAt.getTime();
  if (difference !== 0) return difference;
  return segmentTitle(a) < segmentTitle(b) ? -1 : 1;
}

/** Where a recording lies in its workspace; null: only copies are left of it. */
export function rawPlace({
  segment,
  raw,
}: Pick<DayEntry, 'segment' | 'raw'>): { folder: string[]; name: string } | null {
  if (raw === null) return null;
  const name = raw === 'wav' ? formatSegmentName(segment) : formatDerivedName(segment, 'flac');
  return { folder: [...RAW, segmentDay(segment)], name };
}

/** null: it is not there any more, or none that a recorder or processor made. */
export async function readSound(
  workspace: Folder,
  entry: Pick<DayEntry, 'segment' | 'raw'>,
): Promise<RecordedSound | null> {
  const place = rawPlace(entry);
  if (place === null) return null;
  return await withFolder(workspace, place.folder, async (folder) => {
    const fact = await fileFact(folder, place.name);
    const head = await readHead(folder, place.name);
    if (fact === null || head === null) return null;
    return entry.raw === 'wav' ? wavSound(head, fact.bytes) : flacSound(head, fact.bytes);
  });
}

/** The first bytes of a file, enough to know what is in it. */
async function readHead(folder: Folder, name: string): Promise<Buffer | null> {
  return await withFile(folder, name, async (file) => {
    const head = Buffer.alloc(Math.max(MAX_HEADER_BYTES, FLAC_HEAD_BYTES));
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead);
  });
}

function wavSound(head: Buffer, bytes: number): RecordedSound | null {
  const format = readWavFormat(head);
  if (format === null) return null;
  const dataBytes = head.readUInt32LE(headerBytesOf(format) - 4);
  return { ...format, bytes, seconds: dataBytes / frameBytesOf(format) / format.rate };
}

function flacSound(head: Buffer, bytes: number): RecordedSound | null {
  const stream = readFlacHead(head);
  if (stream === null || stream.rate === 0) return null;
  const { rate, channels, bitsPerSample, frames } = stream;
  return { rate, channels, bitsPerSample, bytes, seconds: frames / rate };
}

/** null: none was made yet, or what is there is none of ours. */
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

/** The newest recording of which there is a spectrogram; null: there is none yet. */
export async function newestPicture(workspace: Folder, name: string): Promise<SegmentName | null> {
  for (const day of (await listDayNames(workspace)).slice(0, DAYS_WITHOUT_PICTURE)) {
    let newest: SegmentName | null = null;
    await withFolder(workspace, [...PROCESSED, day], async (folder) => {
      for await (const file of namesIn(folder)) {
        const derived = parseDerivedName(file);
        if (derived?.ending !== 'png' || derived.segment.workspace !== name || segmentDay(derived.segment) !== day)
          continue;
        if (newest === null || compareSegments(newest, derived.segment) < 0) newest = derived.segment;
      }
    });
    if (newest !== null) return newest;
  }
  return null;
}
