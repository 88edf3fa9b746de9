/** The folders of the tests, and those on a real disk, keep the contract of the port. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createWorkspaces } from '../../services/controller/workspaces.ts';
import type { ObservedContainer } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { STATUS_FILE } from '../../services/shared/contract.ts';
import { testSpec } from '../integration/container-spec.ts';
import { createRandom } from '../simulation/random.ts';
import { createSimulatedClock } from '../simulation/simulated-clock.ts';
import { createSimulatedFolders } from '../simulation/simulated-controller.ts';
import { createSimulatedStation, RECORDER_IMAGE } from '../simulation/simulated-station.ts';
import { createManualClock, createWorld, quietLog } from '../unit/in-memory-world.ts';
import { STATION_ID, status } from '../unit/sample-world.ts';
import { passing } from './passing-time.ts';
import { describeWorkspaces } from './workspaces-contract.ts';

describeWorkspaces('in memory', async () => {
  const { state, ports } = createWorld(createManualClock());
  return {
    workspaces: ports.workspaces,
    settle: (work) => work,
    async record(workspace) {
      const container: ObservedContainer = {
        ...{ id: 'c1', name: `silvasonic-0a1b2c3d-${workspace}`, imageId: 'sha256:a', state: 'live' },
        ...{ exitCode: null, oomKilled: false, labels: {} },
      };
      state.containers.push(container);
      return { end: () => void Object.assign(container, { state: 'ended', exitCode: 1 }) };
    },
    close: async () => {},
  };
});

describeWorkspaces('simulated', async () => {
  const clock = createSimulatedClock();
  const station = createSimulatedStation(clock, createRandom(7));
  return {
    workspaces: createSimulatedFolders(station, { alive: () => true, effect: () => {} }),
    settle: passing((byMs) => clock.advance(byMs)).settle,
    async record(workspace) {
      const binds = [{ source: `/srv/recorder/${workspace}`, target: '/app/workspace', readOnly: false }];
      const container = station.engine.make(testSpec(STATION_ID, { binds, image: RECORDER_IMAGE }));
      station.engine.start(container);
      return { end: () => station.engine.kill(container, 1) };
    },
    close: async () => {},
  };
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
  const record = async (workspace: string) => {
    writeFileSync(join(folder, 'run', workspace, STATUS_FILE), JSON.stringify(status(48_000)));
    return { end() {} };
  };
  return {
    workspaces,
    settle: (work) => work,
    record,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
