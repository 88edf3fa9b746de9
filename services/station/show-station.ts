/** Keeps the terminal's picture of the station up to date: redrawn in place on a terminal, one line per change elsewhere. */

import type { ControllerConfig } from '../controller/config.ts';
import type { Controller } from '../controller/controller.ts';
import type { Log } from '../controller/log.ts';
import { createWorkspaces } from '../controller/workspaces.ts';
import { createClock } from '../shared/clock.ts';
import type { RecorderStatus } from '../shared/contract.ts';
import { describeDevice, renderStation } from './terminal-view.ts';

export interface ShowOptions {
  controller: Controller;
  config: ControllerConfig;
  folders: { data: string };
  log: Log;
}

const REDRAW_MS = 1000;

/** Shows until stopped. */
export function showStation({ controller, config, folders, log }: ShowOptions): {
  what: string;
  stop: () => Promise<void>;
} {
  const workspaces = createWorkspaces({ ...config, clock: createClock(), log });
  console.log(
    `Data in ${folders.data}, log in ${folders.data}/station.log, health at http://${config.healthHost}:${config.healthPort}/healthy. Ctrl-C stops.`,
  );
  const show = process.stdout.isTTY ? createPicture() : createJournal();
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void collect()
      .then(show)
      .finally(() => {
        busy = false;
      });
  }, REDRAW_MS);

  const collect = async (): Promise<Parameters<typeof renderStation>[0]> => {
    const { line, devices } = controller.snapshot();
    const statuses = new Map<string, RecorderStatus>();
    for (const { workspace, phase } of devices) {
      const status = phase === 'recording' || phase === 'starting' ? await workspaces.readStatus(workspace) : null;
      if (status?.ok && status.value !== null) statuses.set(workspace, status.value);
    }
    return { line, devices, statuses, recordingsFolder: config.recorderWorkspace };
  };

  return {
    what: 'terminal',
    stop: async () => clearInterval(timer),
  };
}

type Show = (view: Parameters<typeof renderStation>[0]) => void;

function createPicture(): Show {
  let drawn = 0;
  return (view) => {
    const width = process.stdout.columns || 80;
    const all = renderStation(view).map((line) => line.slice(0, width - 1));
    // A picture taller than the terminal could not be drawn over.
    const room = Math.max(2, (process.stdout.rows || 24) - 2);
    const lines = all.length <= room ? all : [...all.slice(0, room - 1), `… and ${all.length - room + 1} more lines`];
    // Up to where the last picture began, and away with it.
    process.stdout.write(`${drawn > 0 ? `\x1b[${drawn}A` : ''}\x1b[J${lines.join('\n')}\n`);
    drawn = lines.length;
  };
}

function createJournal(): Show {
  const told = new Map<string, string>();
  return ({ line, devices, statuses, recordingsFolder }) => {
    const current = new Map<string, string>([['', line]]);
    for (const row of devices) {
      current.set(row.id, describeDevice(row));
      const file = statuses.get(row.workspace)?.lastSegment;
      if (file != null) current.set(`${row.id} file`, `${recordingsFolder}/${row.workspace}/data/raw: ${file.name}`);
    }
    for (const [key, text] of current) if (told.get(key) !== text) console.log(text);
    for (const [key, text] of current) told.set(key, text);
  };
}
