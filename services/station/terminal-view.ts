/** What the terminal shows of a station while it runs: pure text, one line per microphone, readable at 80 columns. */
import type { DeviceRow } from '../controller/world.ts';
import type { RecorderStatus } from '../shared/contract.ts';

export interface StationView {
  /** "1 of 1 recording" */
  line: string;
  devices: readonly DeviceRow[];
  /** Latest status files, by workspace. */
  statuses: ReadonlyMap<string, RecorderStatus>;
  /** Folder that holds the devices' workspaces. */
  recordingsFolder: string;
}

const MARKS: Record<string, string> = {
  recording: '●',
  starting: '◐',
  waiting: '◌',
  stalled: '✗',
  blocked: '✗',
  backoff: '✗',
};
const BAR_WIDTH = 16;
/** What is shown at the left end of the level bar. dBFS. */
const BAR_FLOOR_DBFS = -80;

/** The whole picture. Names may be anything: control characters never reach the terminal. */
export function renderStation(view: StationView): string[] {
  const lines = [view.line];
  for (const row of [...view.devices].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const status = view.statuses.get(row.workspace);
    lines.push(
      `  ${MARKS[row.phase] ?? '○'} ${printable(row.name)}  ${row.phase}${status === undefined ? '' : `  ${describeAudio(status)}`}`,
    );
    if (row.phase === 'recording' && status !== undefined) lines.push(`    ${levelBars(status)}`);
    else if (row.message !== '') lines.push(`    ${printable(row.message)}`);
    const file = status?.lastSegment;
    if (file !== null && file !== undefined) lines.push(`    last file ${printable(file.name)}`);
    if (row.phase === 'recording') lines.push(`    files in  ${view.recordingsFolder}/${row.workspace}/data/raw`);
    if (row.phase === 'recording' && row.reason !== 'Recording') lines.push(`    ${printable(row.message)}`);
  }
  return lines;
}

/** One line per device without anything that moves: for a log, where only changes are worth a line. */
export function describeDevice(row: DeviceRow): string {
  return `${printable(row.name)}: ${row.phase} (${row.reason}) ${printable(row.message)}`;
}

function describeAudio(status: RecorderStatus): string {
  const seconds = status.rate === 0 ? 0 : Math.floor(status.frames / status.rate);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const clock = [hours, minutes, seconds % 60].map((part) => String(part).padStart(2, '0')).join(':');
  return `${status.rate / 1000} kHz × ${status.channels} ${status.format}  ${clock}`;
}

function levelBars(status: RecorderStatus): string {
  const bars = status.levels.map(({ rmsDbfs, clipped }) => {
    const share = Math.min(1, Math.max(0, (rmsDbfs - BAR_FLOOR_DBFS) / -BAR_FLOOR_DBFS));
    const filled = Math.round(share * BAR_WIDTH);
    return `[${'█'.repeat(filled)}${' '.repeat(BAR_WIDTH - filled)}] ${Math.round(rmsDbfs)} dB${clipped ? ' CLIPPING' : ''}`;
  });
  return bars.join('  ');
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ').slice(0, 200);
}
