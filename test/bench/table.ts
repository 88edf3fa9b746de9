/** The result on a terminal. */
import { holds, type Row } from './statistics.ts';

const HEADINGS = ['what', 'floor', 'ours', 'ratio', 'p95', 'n', 'bar', ''];

/** Lines of a table; what does not hold says so in words, not in colour alone. */
export function table(rows: readonly Row[]): string {
  const cells = [HEADINGS, ...rows.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...cells.map((line) => (line[column] ?? '').length)));
  return cells
    .map((line) =>
      line
        .map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const isText = (column: number): boolean => column === 0 || column >= 6;

function cellsOf(row: Row): string[] {
  const value = (of: number | null): string => (of === null ? '–' : `${round(of)} ${row.unit}`.trim());
  const verdict = holds(row) === null ? '' : holds(row) ? 'holds' : `DOES NOT HOLD, ${excess(row)}`;
  return [
    row.name,
    value(row.floor),
    value(row.ours),
    row.ratio === null ? '–' : row.ratio.toFixed(2),
    row.n > 1 ? value(row.oursP95) : '–',
    String(row.n),
    row.bar === '' ? '(to compare)' : row.bar,
    verdict,
  ];
}

/** By how much a bar is missed. */
export function excess({ ours, limit, unit }: Row): string {
  return ['by', round(ours - (limit ?? ours)), unit].join(' ').trim();
}

/** Three digits are as many as such a measurement is worth. */
function round(value: number): string {
  if (value !== 0 && Math.abs(value) < 10) return value.toFixed(Math.abs(value) < 1 ? 3 : 2);
  return value.toFixed(Math.abs(value) < 100 ? 1 : 0);
}
