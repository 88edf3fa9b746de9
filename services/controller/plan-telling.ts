/**
 * What a person is told of a subject: phase, reason and sentence of what runs, and which changes become events. Pure.
 */
import { LABEL, type RecorderStatus, UPDATE_WAITING } from '../shared/contract.ts';
import type { SubjectMemory } from './plan-memory.ts';
import { type Context, type Decided, settled } from './plan-outcome.ts';
import type { Watch } from './progress.ts';
import type { Explanation, ObservedContainer, Phase, ServicePhase, StationEvent, Wish } from './world.ts';

export function describeRunning(
  wish: Extract<Wish, { kind: 'run' }>,
  container: ObservedContainer,
  memory: SubjectMemory,
  { watch, status, report }: { watch: Watch; status: RecorderStatus | null; report: Explanation | null },
): Decided {
  const advanced = watch.advancingSinceMs !== null;
  const extras = notes(wish, container);
  const tellAs = (phase: Phase | ServicePhase, why: Explanation, reached: boolean): Decided => {
    const message = [why, ...extras, ...memory.refusedLimits].map((part) => part.message).join(' ');
    return settled(wish, 'keep', phase, { reason: why.reason, message }, reached, memory);
  };
  if (report !== null) return tellAs('running', report, advanced);
  if (status?.state === 'no_space')
    return tellAs('blocked', { reason: status.reason || 'NoSpace', message: status.message }, true);
  if (status?.state === 'retrying')
    return tellAs('waiting', { reason: status.reason || 'Retrying', message: status.message }, false);
  const recording = advanced || (watch.adopted && status?.state === 'recording');
  if (!recording)
    return tellAs('starting', { reason: 'Starting', message: 'Started; waiting for the first sound.' }, false);
  if (status?.silent)
    return tellAs(
      'recording',
      { reason: 'Silent', message: 'Recording, but nothing is heard: check the microphone and its cable.' },
      advanced,
    );
  const well =
    wish.target.kind === 'device'
      ? ({ phase: 'recording', reason: 'Recording', message: 'Recording.' } as const)
      : ({ phase: 'running', reason: 'Running', message: 'Running.' } as const);
  return tellAs(well.phase, { reason: extras[0]?.reason ?? well.reason, message: well.message }, advanced);
}

/** What a person should know of something that runs all the same. */
function notes(wish: Extract<Wish, { kind: 'run' }>, container: ObservedContainer): Explanation[] {
  const warnings = wish.message === '' ? [] : [{ reason: wish.reason, message: wish.message }];
  const update = isUpdateWaiting(wish, container) ? [UPDATE_WAITING] : [];
  return [...warnings, ...update];
}

export function isUpdateWaiting(wish: Extract<Wish, { kind: 'run' }>, container: ObservedContainer): boolean {
  return wish.template !== null && container.labels[LABEL.template] !== wish.template;
}

const TOLD_PHASES: Partial<Record<Phase | ServicePhase, StationEvent['type']>> = {
  offline: 'normal',
  pending: 'normal',
  disabled: 'normal',
  ignored: 'normal',
  recording: 'normal',
  running: 'normal',
  blocked: 'warning',
};
/** Reasons that make an otherwise normal phase worth a warning. */
const WARNING_REASONS = new Set([
  'Silent',
  'FlappingPlug',
  'OomScoreRefused',
  'MemoryLimitRefused',
  'ProfileInvalid',
  'SettingsInvalid',
  'DiskFull',
  'FullSoon',
  'LittleRoom',
  'NotSetUp',
  'UploadFailed',
  'RegistryUnreachable',
]);

/** An event for each change of phase or reason that matters; failures told theirs when they were counted. */
export function tell(wish: Wish, decided: Decided, context: Context): SubjectMemory {
  const { outcome, memory } = decided;
  // Glances between two actions.
  if (outcome.reason === 'InFlight' || outcome.reason === 'StaleView') return memory;
  const told = memory.told ?? wish.told;
  const changed = told.phase !== outcome.phase || told.reason !== outcome.reason;
  const type = WARNING_REASONS.has(outcome.reason) ? 'warning' : TOLD_PHASES[outcome.phase];
  const alreadyCounted = memory.failure?.reason === outcome.reason;
  if (changed && type !== undefined && !alreadyCounted) {
    // Refused limits have events of their own.
    const message = memory.refusedLimits.reduce(
      (text, limit) => text.replace(` ${limit.message}`, ''),
      outcome.message,
    );
    context.events.push({ subject: wish.subject, type, reason: outcome.reason, message });
  }
  if (!changed) return memory;
  return { ...memory, told: { phase: outcome.phase, reason: outcome.reason } };
}
