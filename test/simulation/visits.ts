/** The table of what was seen when: how often each kind of fault met a device in each phase. */
import { FAULTS } from './faults.ts';
import { PHASES, visitIndex } from './simulation.ts';

const NAME_WIDTH = 38;
const CELL_WIDTH = 10;

export function visitTable(visits: Uint32Array): string {
  const head = `${'fault'.padEnd(NAME_WIDTH)}${PHASES.map((phase) => phase.padStart(CELL_WIDTH)).join('')}`;
  const lines = FAULTS.map(({ name }, fault) => {
    const cells = PHASES.map((_, phase) => String(visits[visitIndex(phase, fault)] ?? 0).padStart(CELL_WIDTH));
    return `${name.padEnd(NAME_WIDTH)}${cells.join('')}`;
  });
  return [head, ...lines].join('\n');
}

/** Pairs of phase and fault that were seen less often. */
export function countSeldom(visits: Uint32Array, least: number): [phase: string, fault: string][] {
  return PHASES.flatMap((phase, row) =>
    FAULTS.flatMap(({ name }, fault): [string, string][] =>
      (visits[visitIndex(row, fault)] ?? 0) < least ? [[phase, name]] : [],
    ),
  );
}
