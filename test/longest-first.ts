/**
 * The order of test files: those that take longest begin first, so that at the end no worker waits for a file that began
 * last. vitest knows durations only from an earlier run in the same folder; a fresh clone has none.
 */
import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Names of the files that mostly wait, the longest first. Which of them begins a little earlier does not matter. */
const LONG = [
  'appliance.test.ts',
  'recorder-capture.test.ts',
  'identity.test.ts',
  'outages.test.ts',
  'chaos.test.ts',
  'plug.test.ts',
  // Not at the very beginning, when images are built and six stations start at once: what they see takes a few seconds
  // of real time, by the product's own deadlines.
  'recorder-failures.test.ts',
  'neighbours.test.ts',
  'settings.test.ts',
  'microphone.test.ts',
  'simulation.test.ts',
  'backup.test.ts',
  'recorder.test.ts',
  'wishes.test.ts',
  'recordings.test.ts',
  'dashboard.test.ts',
  'updates.test.ts',
  'recorder-disk.test.ts',
  'store-outages.test.ts',
  'controller-process.test.ts',
  'processor-retention.test.ts',
  'nudges.test.ts',
  'listening.test.ts',
  'catalogue-services.test.ts',
  'logs.test.ts',
  'embedded-postgres.test.ts',
  'recorder-telling.test.ts',
  'profiles.test.ts',
  'security.test.ts',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files);
    // A stable sort: what is not named keeps the order that vitest gave it.
    return others.sort((a, b) => groupOf(a) - groupOf(b) || rankOf(a) - rankOf(b));
  }
}

const groupOf = (file: TestSpecification): number => file.project.config.sequence.groupOrder;

function rankOf(file: TestSpecification): number {
  const rank = file.project.name === 'unit' ? -1 : LONG.indexOf(basename(file.moduleId));
  return rank === -1 ? LONG.length : rank;
}
