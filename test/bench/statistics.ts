/** Medians, percentiles, and the rows that the bench shows. */

/** One line of the result: what was measured, against what, and whether the bar holds. */
export interface Row {
  name: string;
  /** What the engine takes by itself, measured in the same run; null where there is nothing to compare with. */
  floor: number | null;
  ours: number;
  /** ours / floor */
  ratio: number | null;
  unit: string;
  /** In words; empty: shown for information. */
  bar: string;
  /** What `ours` may be; null: there is no bar. */
  limit: number | null;
  /** 95th percentiles, of rows that are medians of several measurements. */
  floorP95: number | null;
  oursP95: number | null;
  /** How many measurements. */
  n: number;
}

/** Smallest value that is not below this part (0 to 1) of all. Throws when there is none: that was not measured. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
  if (value === undefined) throw new Error('There is nothing to take a percentile of: nothing was measured.');
  return value;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export interface Comparison {
  name: string;
  floor: readonly number[] | null;
  ours: readonly number[];
  unit: string;
  bar: string;
  /** The most that ours may be, from the median of the floor; null: there is no bar. */
  limit: ((floor: number) => number) | null;
  /** Another part than the median: 1 is the worst. */
  part?: number;
}

export function compare({ name, floor, ours, unit, bar, limit, part = 0.5 }: Comparison): Row {
  const theirs = floor === null ? null : median(floor);
  const value = percentile(ours, part);
  return {
    name,
    floor: theirs,
    ours: value,
    ratio: theirs === null ? null : value / theirs,
    unit,
    bar,
    limit: limit === null ? null : limit(theirs ?? Number.NaN),
    floorP95: floor === null ? null : percentile(floor, 0.95),
    oursP95: percentile(ours, 0.95),
    n: ours.length,
  };
}

/** null: there is no bar. */
export const holds = ({ ours, limit }: Row): boolean | null => (limit === null ? null : ours <= limit);
