/** What all folders behind the port `Workspaces` do: the same cases for the fake and for a real disk. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Reading, Workspaces } from '../../services/controller/world.ts';
import { workspaceName } from '../../services/shared/contract.ts';
import { desiredState, deviceRow, STATION_ID } from '../unit/sample-world.ts';

/** Folders in which nothing is yet, and in which no recorder runs. */
export interface WorkspacesHarness {
  workspaces: Workspaces;
  settle<T>(work: Promise<T>): Promise<T>;
  /** A recorder runs and tells how it fares, until it is ended, as by a crash. */
  record(workspace: string): Promise<{ end(): void }>;
  close(): Promise<void>;
}

const WORKSPACE = workspaceName('a', 'AudioMoth');
const OTHER = workspaceName('b', 'AudioMoth');
const FOREIGN = ['..', '.', '', 'audiomoth', '../audiomoth-0a1b2c3d', `${WORKSPACE}/..`];
const PROCESSING = { gainDb: 6, highPassHz: 200, archive: 'flac' } as const;

export function describeWorkspaces(implementation: string, open: () => Promise<WorkspacesHarness>): void {
  describe(`the workspaces port: ${implementation}`, () => {
    let harness: WorkspacesHarness;
    let workspaces: Workspaces;
    beforeEach(async () => {
      harness = await open();
      workspaces = harness.workspaces;
    });
    afterEach(() => harness?.close());
    const value = async <T>(reading: Promise<Reading<T>>): Promise<T> => {
      const read = await harness.settle(reading);
      if (!read.ok) throw new Error(read.error);
      return read.value;
    };

    test('what is not there is read as that, and is no failure', async () => {
      expect(await value(workspaces.readStatus(WORKSPACE))).toBeNull();
      expect(await value(workspaces.readReport('processor'))).toBeNull();
      expect(await value(workspaces.readMarker())).toBeNull();
      expect(await value(workspaces.readLastGood())).toBeNull();
      expect(await value(workspaces.readSecrets('birdnet-go', ['password', 'token']))).toEqual({
        password: null,
        token: null,
      });
    });

    test('the marker says whose disk it is', async () => {
      await value(workspaces.writeMarker(STATION_ID));
      expect(await value(workspaces.readMarker())).toBe(STATION_ID);
    });

    test('the last good state comes back as it was, and is a copy', async () => {
      const state = desiredState({
        devices: [deviceRow('a'), deviceRow('b', { settings: { ok: false, message: 'No.' } })],
      });
      const before = structuredClone(state);
      await value(workspaces.writeLastGood(state));
      for (const row of state.devices) row.enabled = false;
      expect(await value(workspaces.readLastGood())).toEqual(before);
      await value(workspaces.writeLastGood(state));
      expect((await value(workspaces.readLastGood()))?.devices.map(({ enabled }) => enabled)).toEqual([false, false]);
    });

    test('folders are made as often as one likes, and a recorder that has not begun has no status', async () => {
      for (let time = 0; time < 2; time += 1) {
        await value(workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE }));
        await value(workspaces.writeProcessing(WORKSPACE, PROCESSING));
        expect(await value(workspaces.readStatus(WORKSPACE))).toBeNull();
      }
    });

    test('what a recorder told stays when it ends, until the folders are prepared for the next one', async () => {
      const read = () => value(workspaces.readStatus(WORKSPACE));
      await value(workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE }));
      const recorder = await harness.record(WORKSPACE);
      const told = await read();
      expect(told).toMatchObject({ schema: 1, state: 'recording', frames: expect.any(Number) });
      recorder.end();
      expect(await read()).toEqual(told);
      expect(await value(workspaces.readStatus(OTHER))).toBeNull();
      await value(workspaces.prepare({ kind: 'recorder', workspace: OTHER }));
      expect(await read()).toEqual(told);
      await value(workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE }));
      expect(await read()).toBeNull();
    });

    test('a name that is none of ours leads nowhere: it is refused with a sentence', async () => {
      for (const name of FOREIGN) {
        for (const reading of [
          workspaces.prepare({ kind: 'recorder', workspace: name }),
          workspaces.writeProcessing(name, PROCESSING),
          workspaces.readStatus(name),
        ])
          expect(await harness.settle<Reading<unknown>>(reading)).toMatchObject({
            ok: false,
            error: expect.stringContaining('not the name of a workspace'),
          });
      }
    });
  });
}
