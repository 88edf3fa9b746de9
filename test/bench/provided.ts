/** Stands in for the test runner: hands the integration tests' fixtures the engine that was made for them. */
import setup, { type ProvidedEngine } from '../integration/global-setup.ts';

const provided = new Map<string, unknown>();

/** Makes the engine and its images as for `npm test`. Resolves with what removes it. */
export async function prepareEngine(): Promise<() => Promise<void>> {
  const project = { provide: (name: string, value: unknown) => void provided.set(name, value) };
  const remove = await setup(project);
  const engine = inject('stationEngine');
  if (engine.kind === 'ready') return remove;
  await remove();
  throw new Error(`No engine for the bench: ${engine.message}`);
}

/** Under the name by which the fixtures ask for it. */
export function inject(name: 'stationEngine'): ProvidedEngine {
  return provided.get(name) as ProvidedEngine;
}
