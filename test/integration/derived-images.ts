/** Recorder images that differ from the real one in what a test is about, under names of the test's own. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RECORDER_PATH } from '../../services/shared/contract.ts';
import type { StationEngine } from './station-engine.ts';

export interface DerivedImages {
  /** `localhost/silvasonic-<random>:latest`: no other test's images can be meant by it. */
  reference: string;
  /** Makes `reference` (or another one) mean the base plus these lines of a Containerfile; answers the image's id. */
  build(lines: readonly string[], reference?: string): Promise<string>;
  /** What a name stands for; null: nothing. */
  idOf(reference: string): Promise<string | null>;
  /** Takes the name away. */
  untag(reference: string): Promise<void>;
  remove(): Promise<void>;
}

/** Lines for a recorder that is started by this shell script, which is process 1 of its container. */
export function startedBy(script: string): string[] {
  return [`ENTRYPOINT ${JSON.stringify(['sh', '-c', script])}`];
}

/** In the run folder of a `STUBBORN` recorder that has been asked to stop. */
export const ASKED_TO_STOP_FILE = 'asked-to-stop';

/** Records, and goes on when it is asked to stop: only SIGKILL ends it. */
export const STUBBORN = startedBy(
  `trap 'echo > ${RECORDER_PATH.run}/${ASKED_TO_STOP_FILE}' TERM; node /app/recorder.js & while :; do sleep 0.2; done`,
);

export function derivedImages(engine: StationEngine, base = engine.testRecorderImage): DerivedImages {
  const repository = `localhost/silvasonic-${randomUUID().slice(0, 8)}`;
  const reference = `${repository}:latest`;
  const idOf = async (name: string): Promise<string | null> => {
    // Not `podman images`: it fails when another test removes any image while it reads them all.
    const inspected = await engine.podman('image', 'inspect', '--format', '{{.Id}}', name).catch((error: Error) => {
      if (/image not known|no such image/i.test(error.message)) return null;
      throw error;
    });
    return inspected === null ? null : `sha256:${inspected}`;
  };
  return {
    reference,
    idOf,
    async build(lines, name = reference) {
      const context = mkdtempSync(join(tmpdir(), 'silvasonic-image-'));
      try {
        writeFileSync(join(context, 'Containerfile'), [`FROM ${base}`, ...lines, ''].join('\n'));
        await engine.podman('build', '--quiet', '--pull=never', '--network', 'none', '--tag', name, context);
      } finally {
        rmSync(context, { recursive: true, force: true });
      }
      const id = await idOf(name);
      if (id === null) throw new Error(`${name} was built and is not there.`);
      return id;
    },
    untag: async (name) => void (await engine.podman('untag', name, name)),
    async remove() {
      const names = await engine.podman(
        'images',
        '--format',
        '{{.Repository}}:{{.Tag}}',
        '--filter',
        `reference=${repository}`,
      );
      for (const name of names.split('\n')) if (name !== '') await engine.podman('rmi', name);
    },
  };
}
