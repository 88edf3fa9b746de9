/** The engine with the real images that the whole test run shares. */
import { inject } from 'vitest';
import { runProgram } from '../../services/station/run-program.ts';
import type { ProvidedEngine } from './global-setup.ts';

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
