/** How a new release reaches what runs: one at a time, and only forward from an image that proved itself. Pure. */
import type { SubjectMemory } from './plan-memory.ts';
import { type Context, type Outcome, type PlanInput, removal, subjectOf } from './plan-outcome.ts';
import { isUpdateWaiting } from './plan-telling.ts';
import { isGood } from './progress.ts';
import type { Action, ObservedContainer, SubjectKey, Wish } from './world.ts';

/** With `auto_update`, one running recorder at a time takes the new release; the next after this one has proven itself. */
export function rollOut(
  input: PlanInput,
  updating: SubjectKey | null,
  actions: Action[],
  outcomes: Outcome[],
  subjects: ReadonlyMap<SubjectKey, SubjectMemory>,
): SubjectKey | null {
  if (!input.policy.autoUpdate || !input.containers.ok) return updating;
  const wishesBySubject = new Map((input.wishes ?? []).map((wish) => [wish.subject, wish]));
  const liveBySubject = new Map(
    input.containers.value.filter(({ state }) => state === 'live').map((live) => [subjectOf(live), live]),
  );
  if (
    updating !== null &&
    !hasProvenItself(wishesBySubject.get(updating), liveBySubject.get(updating), subjects, input)
  )
    return updating;
  for (const [index, outcome] of outcomes.entries()) {
    const wish = wishesBySubject.get(outcome.subject);
    const container = liveBySubject.get(outcome.subject);
    if (outcome.kind !== 'keep' || wish?.kind !== 'run' || container === undefined || !isUpdateWaiting(wish, container))
      continue;
    const why = { reason: 'Update', message: 'A new release is applied, one recorder at a time.' };
    actions.push(removal(outcome.subject, container, why));
    outcomes[index] = { ...outcome, kind: 'replace', phase: 'stopping', ...why };
    return outcome.subject;
  }
  return null;
}

/** The one that was updated last runs well on the new release, or is not wished any more. */
function hasProvenItself(
  wish: Wish | undefined,
  container: ObservedContainer | undefined,
  subjects: ReadonlyMap<SubjectKey, SubjectMemory>,
  input: PlanInput,
): boolean {
  if (wish?.kind !== 'run') return true;
  const watch = subjects.get(wish.subject)?.watch;
  const itself = container !== undefined && watch?.containerId === container.id && !isUpdateWaiting(wish, container);
  return itself && isGood(watch, input.policy.goodAfterMs);
}

/** An image under which a recorder ran well is tagged, so that a bad one can be rolled back to it. */
export function tagProven(context: Context, subjects: ReadonlyMap<SubjectKey, SubjectMemory>): Action[] {
  const { image, inFlight, containers } = context.input;
  const subject = 'image:recorder';
  if (!containers.ok || inFlight.has(subject)) return [];
  const proven = [...subjects.values()]
    .map((memory) => memory.provenImageId)
    .find((id) => id !== null && id === image.currentId);
  if (proven === undefined || proven === null || proven === image.lastGoodId || proven === context.images.taggedId)
    return [];
  context.images = { ...context.images, taggedId: proven };
  const message = 'A recorder ran well with this image: it is the one to come back to.';
  return [{ kind: 'tag', subject, imageId: proven, reference: image.lastGoodReference, reason: 'Proven', message }];
}
