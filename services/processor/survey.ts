/**
 * What all devices have on disk, one line per device and day. A season's files are too many to be looked at all the time
 * or kept in memory: a day's folder is listed anew only when something in it came or went.
 */
import type { Processing } from '../shared/contract.ts';
import { type Folder, folderChange, removeEmptyFolder, withFolder } from '../shared/folders.ts';
import { errorText } from '../shared/log.ts';
import {
  diskBytesOf,
  hasFiles,
  listDays,
  listSegments,
  listWorkspaces,
  PROCESSED,
  RAW,
  type StoredSegment,
  segmentTitle,
} from '../shared/recordings.ts';
import { type DeviceRules, readDeviceRules, workOn } from './device.ts';
import type { DayOnDisk } from './retention.ts';

export interface SurveyedDay extends DayOnDisk {
  workspace: string;
  day: string;
  /** Recordings that lack something. */
  todo: number;
  /** Those of them that lack nothing but their archive form. */
  toArchive: number;
  /** Its folders in which nothing of ours is. */
  emptyFolders: readonly Place[];
}

type Place = typeof RAW | typeof PROCESSED;

export interface Survey {
  /** Looks again: at new days and the newest two of each device; `thorough`: at all. Throws when the root cannot be read. */
  look(root: Folder, thorough: boolean): Promise<void>;
  days(): readonly SurveyedDay[];
  rulesOf(workspace: string): DeviceRules;
  /** Devices whose folders the disk would not read, and why: what is known of them stays as it was. */
  unreadable(): ReadonlyMap<string, string>;
  /**
   * The newest recordings first, of the newest day on which something of this kind is to be done; doubtful ones last, and
   * they keep no older day waiting. Nor does a day that waits for copies keep archiving waiting.
   */
  nextToDo(root: Folder, kind: WorkKind): Promise<StoredSegment[]>;
  /** Nothing more is to be done for one recording of that day. */
  settled(stored: StoredSegment, day: string): void;
}

export interface SurveyOptions {
  defaults: Processing;
  /** True of a recording that is left as it is, by its title. */
  isLeft(title: string): boolean;
  /** True of one that failed before, and may fail again. */
  isDoubtful(title: string): boolean;
}

/** What can be done now: with little room, archiving alone. */
export type WorkKind = 'anything' | 'archiving';

interface KnownDay extends SurveyedDay {
  changes: FolderChanges;
}

/** State of a day's folders when they were last listed, nanoseconds; null: there is none. */
type FolderChanges = Map<Place, bigint | null>;

interface KnownDevice {
  rules: DeviceRules;
  days: Map<string, KnownDay>;
}

const RECENT_DAYS = 2;

export function createSurvey({ defaults, isLeft, isDoubtful }: SurveyOptions): Survey {
  const devices = new Map<string, KnownDevice>();
  const unreadable = new Map<string, string>();

  const lacks = (stored: StoredSegment, rules: DeviceRules): boolean => {
    const work = workOn(stored, rules);
    return (work.copies || work.archive) && !isLeft(segmentTitle(stored.segment));
  };

  async function lookAtDay(folder: Folder, name: string, device: KnownDevice, day: string, changes: FolderChanges) {
    const segments = await listSegments(folder, name, day);
    const onDisk = summary(segments);
    const isEmpty = new Map<Place, boolean>([
      [RAW, onDisk.recordingBytes === 0],
      [PROCESSED, onDisk.copyBytes === 0],
    ]);
    const emptyFolders = [...changes]
      .filter(([place, at]) => at !== null && isEmpty.get(place))
      .map(([place]) => place);
    device.days.set(day, { ...onDisk, workspace: name, day, changes, emptyFolders, todo: 0, toArchive: 0 });
    recount(device, day, segments);
  }

  function recount(device: KnownDevice, day: string, segments: readonly StoredSegment[]): void {
    const known = device.days.get(day);
    if (known === undefined) return;
    const lacking = segments.filter((stored) => lacks(stored, device.rules));
    known.todo = lacking.length;
    known.toArchive = lacking.filter((stored) => !workOn(stored, device.rules).copies).length;
  }

  /** What lacks something of this kind in a day's folders, the newest first. */
  async function lackingOn(root: Folder, kind: WorkKind, folders: readonly SurveyedDay[]): Promise<StoredSegment[]> {
    const found: StoredSegment[] = [];
    for (const { workspace, day } of folders) {
      const device = devices.get(workspace);
      const segments = await withFolder(root, [workspace], (folder) => listSegments(folder, workspace, day));
      if (device === undefined || segments === null) continue;
      recount(device, day, segments);
      const isWanted = (stored: StoredSegment) => kind === 'anything' || !workOn(stored, device.rules).copies;
      found.push(...segments.filter((stored) => lacks(stored, device.rules) && isWanted(stored)));
    }
    return found.sort((a, b) => b.segment.startedAt.getTime() - a.segment.startedAt.getTime());
  }

  async function lookAtDevice(root: Folder, name: string, thorough: boolean): Promise<void> {
    const there = await withFolder(root, [name], async (folder) => {
      const rules = await readDeviceRules(folder, defaults);
      const before = devices.get(name);
      const rulesChanged = before !== undefined && haveChanged(before.rules, rules);
      const device: KnownDevice = { rules, days: before?.days ?? new Map() };
      const days = (await listDays(folder)).sort().reverse();
      for (const day of [...device.days.keys()]) if (!days.includes(day)) device.days.delete(day);
      const isRecent = (day: string): boolean => days.indexOf(day) < RECENT_DAYS;
      const due = days.filter((day) => isRecent(day) || thorough || rulesChanged || !device.days.has(day));
      for (const [day, changes] of await changesOf(folder, due)) {
        // Two changes within one tick of the kernel's clock look like one: the newest days are listed now and then anyway.
        const isForced = rulesChanged || (thorough && isRecent(day));
        if (isForced || !isUnchanged(device.days.get(day)?.changes, changes))
          await lookAtDay(folder, name, device, day, changes);
      }
      devices.set(name, device);
      return true;
    });
    if (there === null) devices.delete(name);
  }

  return {
    async look(root, thorough) {
      const names = await listWorkspaces(root);
      for (const name of [...devices.keys()]) if (!names.includes(name)) devices.delete(name);
      unreadable.clear();
      for (const name of names) {
        try {
          await lookAtDevice(root, name, thorough);
        } catch (error) {
          unreadable.set(name, errorText(error));
        }
      }
    },
    days: () => [...devices.values()].flatMap((device) => [...device.days.values()]),
    rulesOf: (workspace) => devices.get(workspace)?.rules ?? { processing: defaults, removedUntilMs: null },
    unreadable: () => unreadable,
    async nextToDo(root, kind) {
      const waiting = [...devices.values()]
        .flatMap((device) => [...device.days.values()])
        .filter((day) => (kind === 'archiving' ? day.toArchive : day.todo) > 0);
      const doubtful: StoredSegment[] = [];
      const hasFailed = (stored: StoredSegment) => isDoubtful(segmentTitle(stored.segment));
      for (const day of [...new Set(waiting.map((one) => one.day))].sort().reverse()) {
        const folders = waiting.filter((one) => one.day === day);
        const found = await lackingOn(root, kind, folders);
        const promising = found.filter((stored) => !hasFailed(stored));
        doubtful.push(...found.filter(hasFailed));
        if (promising.length > 0) return [...promising, ...doubtful];
      }
      return doubtful;
    },
    settled(stored, day) {
      const device = devices.get(stored.segment.workspace);
      const known = device?.days.get(day);
      if (device === undefined || known === undefined) return;
      known.todo = Math.max(0, known.todo - 1);
      if (!workOn(stored, device.rules).copies) known.toArchive = Math.max(0, known.toArchive - 1);
    },
  };
}

/** Removes the folders of days on which nothing is left, up to the day before yesterday: recorders may be about to use others. */
export async function removeEmptyDays(root: Folder, days: readonly SurveyedDay[], nowMs: number): Promise<void> {
  const yesterday = new Date(nowMs - 24 * 3_600_000).toISOString().slice(0, 10);
  for (const { workspace, day, emptyFolders } of days) {
    if (day >= yesterday) continue;
    for (const place of emptyFolders) {
      await withFolder(root, [workspace, ...place], (folder) => removeEmptyFolder(folder, day));
    }
  }
}

/** When the folders of these days last changed, in the order of the days. */
async function changesOf(workspace: Folder, days: readonly string[]): Promise<Map<string, FolderChanges>> {
  const changes = new Map<string, FolderChanges>(days.map((day) => [day, new Map()]));
  for (const place of [RAW, PROCESSED]) {
    await withFolder(workspace, place, async (folder) => {
      for (const [day, known] of changes) known.set(place, await folderChange(folder, day));
    });
  }
  return changes;
}

/**
 * Whether finished recordings may lack something now. Copies that had to go are no such change, or every removal would be
 * followed by a look at a whole season.
 */
function haveChanged(before: DeviceRules, now: DeviceRules): boolean {
  const until = (rules: DeviceRules): number => rules.removedUntilMs ?? Number.NEGATIVE_INFINITY;
  return until(now) < until(before) || JSON.stringify(before.processing) !== JSON.stringify(now.processing);
}

function isUnchanged(known: FolderChanges | undefined, seen: FolderChanges): boolean {
  return known !== undefined && [RAW, PROCESSED].every((place) => known.get(place) === seen.get(place));
}

function summary(segments: readonly StoredSegment[]): DayOnDisk {
  const recorded = segments.filter((stored) => hasFiles(stored, 'recording'));
  return {
    firstMs: recorded[0]?.segment.startedAt.getTime() ?? null,
    recordingBytes: recorded.reduce((sum, stored) => sum + diskBytesOf(stored, 'recording'), 0),
    copyBytes: segments.reduce((sum, stored) => sum + diskBytesOf(stored, 'copies'), 0),
  };
}
