/** How busy and how full the machine is that the station runs on: what heartbeats tell. */
import { statfs } from 'node:fs/promises';
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os';

export interface HostLoad {
  load: { average1m: number; cpus: number; memoryFreeBytes: number; memoryTotalBytes: number };
  /** Of the disk that recordings fill; null where it cannot be told. */
  disk: { freeBytes: number; totalBytes: number } | null;
}

/** `folder`: one on the disk that recordings fill. Never throws. */
export async function readHostLoad(folder: string): Promise<HostLoad> {
  return {
    load: {
      average1m: loadavg()[0] ?? 0,
      cpus: availableParallelism(),
      memoryFreeBytes: freemem(),
      memoryTotalBytes: totalmem(),
    },
    disk: await diskOf(folder),
  };
}

async function diskOf(folder: string): Promise<HostLoad['disk']> {
  try {
    const disk = await statfs(folder);
    return { freeBytes: disk.bavail * disk.bsize, totalBytes: disk.blocks * disk.bsize };
  } catch {
    return null;
  }
}
