/** What can happen to a station: to its hardware, its database, its engine, its recorders, its controller, by its people. */
import type { Fault } from './fault.ts';
import { hardwareFaults } from './faults-hardware.ts';
import { lifeFaults } from './faults-life.ts';
import { outsideFaults } from './faults-outside.ts';
import { peopleFaults } from './faults-people.ts';

export const FAULTS: readonly Fault[] = [
  { name: 'nothing', happen: () => true },
  ...hardwareFaults,
  ...peopleFaults,
  ...outsideFaults,
  ...lifeFaults,
];
