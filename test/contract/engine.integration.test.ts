/** A real Podman keeps the contract of the port. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { createPodman } from '../../services/controller/podman.ts';
import type { Clock, Engine } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { OBEDIENT } from '../integration/container-spec.ts';
import { silentLog, TEST_IMAGE, type TestEngine, testEngine } from '../integration/engine.ts';
import { createEngineProxy } from '../integration/engine-proxy.ts';
import { createRegistry, type Registry } from '../integration/registry.ts';
import { makeStandIn } from '../integration/stand-in-image.ts';
import { until } from '../integration/store-fixture.ts';
import { describeEngine, type EngineHarness } from './engine-contract.ts';

const BALLAST_BYTES = 8 * 1024 * 1024;
const MISSING = 'wood/nothing:1';

let host: TestEngine;
let registry: Registry;
let saved: string;
let reference: string;
beforeAll(async () => {
  registry = await createRegistry();
  Object.assign(process.env, registry.configuration);
  host = await testEngine();
  saved = mkdtempSync(join(tmpdir(), 'silvasonic-saved-'));
  const local = 'localhost/ballast:1';
  await makeStandIn(host, local, { programs: ['sh', 'sleep'], scripts: {}, ballastBytes: BALLAST_BYTES });
  await host.podman('save', '--format', 'oci-dir', '--output', join(saved, 'image'), local);
  await host.podman('rmi', local);
  registry.add('wood/ballast', '1', join(saved, 'image'));
  reference = `${registry.host}/wood/ballast:1`;
});
afterAll(async () => {
  await host?.stop();
  await registry?.remove();
  rmSync(saved, { recursive: true, force: true });
});

describeEngine('Podman', async (): Promise<EngineHarness> => {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-contract-'));
  const proxy = createEngineProxy(join(folder, 'podman.sock'), host.socketPath);
  await proxy.open();
  registry.slow = null;
  await host.podman('rmi', '--ignore', '--force', reference);
  const connect = (clock: Clock): Engine => createPodman({ socketPath: proxy.socketPath, clock, log: silentLog });
  const [engine, impatient] = [connect(createClock()), connect(hurriedClock())];
  const make = async (verb: string[], name: string, labels: Record<string, string>): Promise<void> => {
    const labelled = Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]);
    const plain = ['--network', 'none', '--oom-score-adj', '0', '--env', `TEST_SCRIPT=${OBEDIENT}`];
    await host.podman(...verb, ...plain, ...labelled, '--name', name, TEST_IMAGE);
  };
  return {
    engine,
    impatient,
    image: TEST_IMAGE,
    settle: (work) => work,
    until: async (what, holds) => void (await until(what, async () => ((await holds()) ? true : null))),
    makeForeign: (name, labels) => make(['run', '--detach'], name, labels),
    makeUnstarted: (name, labels) => make(['create'], name, labels),
    kill: async (name) => void (await host.podman('kill', name)),
    names: async () =>
      (await host.podman('ps', '--all', '--format', '{{.Names}}')).split('\n').filter((name) => name !== ''),
    async limitsOf(name) {
      const config = JSON.parse(await host.podman('inspect', '--format', '{{json .HostConfig}}', name));
      return {
        memoryBytes: config.Memory,
        cpus: config.NanoCpus / 1e9,
        pids: config.PidsLimit,
        oomScoreAdj: config.OomScoreAdj,
      };
    },
    registry: {
      reference,
      missing: `${registry.host}/${MISSING}`,
      setSlow(slow) {
        registry.slow = slow ? { bytes: 128 * 1024, pauseMs: 40 } : null;
      },
      goAway: registry.stop,
      comeBack: registry.start,
    },
    goAway: proxy.close,
    comeBack: proxy.open,
    hang: proxy.hold,
    letGo: proxy.release,
    async close() {
      await Promise.all([engine.stop(), impatient.stop()]);
      await proxy.close();
      await host.podman('rm', '--all', '--force', '--time', '0');
      rmSync(folder, { recursive: true, force: true });
    },
  };
});

/** Deadlines and delays pass ten times as fast. */
function hurriedClock(): Clock {
  const clock = createClock();
  return { ...clock, timer: (delayMs, callback) => clock.timer(delayMs / 10, callback) };
}
