/** What recorders and services say of themselves in their run folders: levels, frames, the last file, room on the disk. */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../shared/clock.ts';
import {
  isWorkspaceName,
  type ProcessorStatus,
  processorStatusSchema,
  type RecorderStatus,
  recorderStatusSchema,
  SERVICE_RUN_FOLDER,
  STATUS_FILE,
  STATUS_FILE_MAX_BYTES,
} from '../shared/contract.ts';
import { readHostileFile } from '../shared/hostile-file.ts';
import { errorText } from '../shared/log.ts';
import { withDeadline } from '../shared/postgres-session.ts';

/** `missing`: there is none, as before the first start. `unreadable`: nothing is known. */
export type StatusReading<T> =
  | { kind: 'read'; value: T }
  | { kind: 'missing' }
  | { kind: 'unreadable'; message: string };

export interface DiskSpace {
  freeBytes: number;
  totalBytes: number;
}

export interface StatusFiles {
  recorder(workspace: string): Promise<StatusReading<RecorderStatus>>;
  processor(): Promise<StatusReading<ProcessorStatus>>;
  /** Of the disk with the recordings; null: it could not be asked. */
  disk(): Promise<DiskSpace | null>;
}

const DEADLINE_MS = 2000;
/** As many as a recorder can be told to record. */
const MOST_CHANNELS = 32;
/** Beyond this there is no date. Unix milliseconds. */
const LATEST_MS = 8.64e15;

export function createStatusFiles(
  { runPath, recorderWorkspace }: { runPath: string; recorderWorkspace: string },
  clock: Clock,
): StatusFiles {
  const read = async <T>(
    place: { root: string; folder: string },
    parse: (value: unknown) => T | undefined,
  ): Promise<StatusReading<T>> => {
    try {
      const file = readHostileFile({ ...place, name: STATUS_FILE }, STATUS_FILE_MAX_BYTES);
      const content = await withDeadline(clock, DEADLINE_MS, file);
      if (content.kind === 'missing') return content;
      if (content.kind === 'unusable') return { kind: 'unreadable', message: content.why };
      const value = parse(JSON.parse(content.text));
      return value === undefined
        ? { kind: 'unreadable', message: 'it is not in the form that a recorder writes' }
        : { kind: 'read', value };
    } catch (error) {
      return { kind: 'unreadable', message: errorText(error) };
    }
  };
  return {
    async recorder(workspace) {
      if (!isWorkspaceName(workspace)) return { kind: 'missing' };
      return await read({ root: runPath, folder: workspace }, (value) => {
        const status = recorderStatusSchema.safeParse(value).data;
        return status !== undefined && canBeShown(status) ? status : undefined;
      });
    },
    processor: () =>
      read(
        { root: join(runPath, SERVICE_RUN_FOLDER), folder: 'processor' },
        (value) => processorStatusSchema.safeParse(value).data,
      ),
    async disk() {
      try {
        const disk = await withDeadline(clock, DEADLINE_MS, statfs(recorderWorkspace));
        return { freeBytes: disk.bavail * disk.bsize, totalBytes: disk.blocks * disk.bsize };
      } catch {
        return null;
      }
    },
  };
}

/** The file is a container's that hears. One of them must not keep the page from telling of all the others. */
function canBeShown({ channels, rate, lastSegment, gaps = [] }: RecorderStatus): boolean {
  const lastFrames = lastSegment?.frames ?? 0;
  const endedAt = (lastSegment?.startedAt ?? 0) + (rate > 0 ? (lastFrames / rate) * 1000 : 0);
  const moments = [lastSegment?.startedAt ?? 0, endedAt, ...gaps.map(({ at }) => at)];
  return channels <= MOST_CHANNELS && moments.every((at) => Math.abs(at) <= LATEST_MS);
}
