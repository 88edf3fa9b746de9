/** The folders of the tests, and those on a real disk, keep the contract of the port. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createWorkspaces } from '../../services/controller/workspaces.ts';
import { createClock } from '../../services/shared/clock.ts';
import { createManualClock, createWorld, quietLog } from '../unit/in-memory-world.ts';
import { describeWorkspaces } from './workspaces-contract.ts';

describeWorkspaces('in memory', async () => {
  const { ports } = createWorld(createManualClock());
  return { workspaces: ports.workspaces, close: async () => {} };
});

describeWorkspaces('on disk', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-contract-'));
  const made = (name: string): string => {
    mkdirSync(join(folder, name));
    return join(folder, name);
  };
  const workspaces = createWorkspaces({
    recorderWorkspace: made('recorder'),
    controllerWorkspace: made('controller'),
    runPath: made('run'),
    servicesFolder: made('services'),
    secretsFolder: made('secrets'),
    log: quietLog,
    clock: createClock(),
  });
  return { workspaces, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
