/** The file that proves that the recordings' disk is mounted, and whose it is. */
import type { Explanation, Reading, StationConfig, Workspaces } from './world.ts';

export const noProblem: { problem: Explanation | null; marked: boolean } = { problem: null, marked: false };

/** Is the disk there that recordings belong on? A folder without its marker would fill the SD card underneath. */
export async function lookAtWorkspace(
  workspaces: Workspaces,
  marker: Reading<string | null>,
  stationId: string,
  config: StationConfig,
): Promise<typeof noProblem> {
  const trouble = (reason: string, message: string): typeof noProblem => ({
    problem: { reason, message },
    marked: false,
  });
  if (!marker.ok) return trouble('WorkspaceUnreadable', marker.error);
  if (marker.value === stationId) return config.workspaceMarked ? noProblem : { problem: null, marked: true };
  if (marker.value !== null) {
    return trouble(
      'WorkspaceOfAnother',
      `The recordings' folder belongs to station ${marker.value}, this is ${stationId}: mount this station's disk, or write ${stationId} into its marker file.`,
    );
  }
  if (config.workspaceMarked) {
    return trouble(
      'WorkspaceMissing',
      `The recordings' folder has lost its marker file: is its disk mounted? If the disk is new, write ${stationId} into .silvasonic-station in it.`,
    );
  }
  const written = await workspaces.writeMarker(stationId);
  return written.ok ? { problem: null, marked: true } : trouble('FolderUnwritable', written.error);
}
