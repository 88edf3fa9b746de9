/** How a new release reaches what runs: one at a time, and only forward from an image that proved itself. Pure. */
import type { SubjectMemory, Updating } from './plan-memory.ts';
import { type Context, type Outcome, type PlanInput, removal, subjectOf } from './plan-outcome.ts';
import { isUpdateWaiting } from './plan-telling.ts';
import { isGood } from './progress.ts';
import type { Action, ObservedContainer, SubjectKey, Wish } from './world.ts';

/**
 * With `auto_update`, one running recorder at a time takes the new release; the next after this one has proven itself.
 * Answers which one that is now.
 */
export function rollOut(
  input: PlanInput,
  wishes: readonly Wish[],
  updating: Updating | null,
  actions: Action[],
  outcomes: Outcome[],
  subjects: ReadonlyMap<SubjectKey, SubjectMemory>,
): Updating | null {
  if (!input.policy.autoUpdate || !input.containers.ok) return updating;
  const wishesBySubject = new Map(wishes.map((wish) => [wish.subject, wish]));
  // Of several one, any: where there are several nothing is kept as it is.
  const bySubject = new Map(input.containers.value.map((container) => [subjectOf(container), container]));
  let only: SubjectKey | null = null;
  if (updating !== null && wishesBySubject.get(updating.subject)?.kind === 'run') {
    const container = bySubject.get(updating.subject);
    // Still the old one: it could not be removed, and is tried again before anybody else.
    if (container?.id === updating.replacedId) only = updating.subject;
    else if (!runsWell(container, subjects.get(updating.subject), input)) return updating;
  }
  for (const [index, outcome] of outcomes.entries()) {
    const wish = wishesBySubject.get(outcome.subject);
    const container = bySubject.get(outcome.subject);
    if (outcome.kind !== 'keep' || wish?.kind !== 'run' || container === undefined || !isUpdateWaiting(wish, container))
      continue;
    if (only !== null && only !== outcome.subject) continue;
    const why = { reason: 'Update', message: 'A new release is applied, one recorder at a time.' };
    actions.push(removal(outcome.subject, container, why));
    outcomes[index] = { ...outcome, kind: 'replace', phase: 'stopping', ...why };
    return { subject: outcome.subject, replacedId: container.id };
  }
  return only === null ? null : updating;
}

/** On whichever release: another one may have come while this one was proving itself. */
function runsWell(
  container: ObservedContainer | undefined,
  memory: SubjectMemory | undefined,
  input: PlanInput,
): boolean {
  const watch = memory?.watch ?? null;
  return container !== undefined && watch?.containerId === container.id && isGood(watch, input.policy.goodAfterMs);
}

/** An image under which a recorder ran well is tagged, so that a bad one can be rolled back to it. */
export function tagProven(context: Context, subjects: ReadonlyMap<SubjectKey, SubjectMemory>): Action[] {
  const { image, inFlight, containers } = context.input;
  const subject = 'image:recorder';
  if (!containers.ok || inFlight.has(subject)) return [];
  const proven = image.currentId;
  if (proven === null || proven === image.lastGoodId || proven === context.images.taggedId) return [];
  if (![...subjects.values()].some(({ provenImageId }) => provenImageId === proven)) return [];
  context.images = { ...context.images, taggedId: proven };
  const message = 'A recorder ran well with this image: it is the one to come back to.';
  return [{ kind: 'tag', subject, imageId: proven, reference: image.lastGoodReference, reason: 'Proven', message }];
}
