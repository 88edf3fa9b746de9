/** What the whole test run shares: the engine with the real images, and what was prepared beside it. */
import { inject } from 'vitest';
import { runProgram } from '../../services/station/run-program.ts';
import type { ProvidedEngine } from './global-setup.ts';
import type { Prepared } from './prepared.ts';

export type StationEngine = Extract<ProvidedEngine, { kind: 'ready' }> & {
  /** Standard output of a successful `podman` command; throws with what it said otherwise. */
  podman(...args: string[]): Promise<string>;
};

const COMMAND_DEADLINE_MS = 60_000;

/** Throws with the reason when the engine or its images could not be made on this machine. */
export function stationEngine(): StationEngine {
  const provided = inject('stationEngine');
  if (provided.kind === 'failed') throw new Error(`No engine for the tests: ${provided.message}`);
  const env = { ...process.env, ...provided.environment };
  return {
    ...provided,
    async podman(...args) {
      const result = await runProgram('podman', args, { env, timeoutMs: COMMAND_DEADLINE_MS });
      if (result.code !== 0) throw new Error(`podman ${args.join(' ')}: ${result.stderr || result.stdout}`);
      return result.stdout.trim();
    },
  };
}

/** Throws with the reason when it could not be made. */
export function prepared(): Prepared {
  const provided = inject('prepared');
  if (provided.kind === 'failed') throw new Error(`Nothing is prepared for the tests: ${provided.message}`);
  return provided;
}
