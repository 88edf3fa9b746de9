/**
 * Whether our rules take a new device in, and with which profile. Only as long as nobody decided: what a person said is
 * never undone. Pure.
 */
import { GENERIC_PROFILE_SLUG, matchProfile, type ProfileMatch } from '../shared/profile.ts';
import type { DeviceRow, EnrollmentDecision, Microphone, ProfileRow } from './world.ts';

export interface EnrollmentRules {
  profiles: readonly ProfileRow[];
  autoEnrollment: boolean;
}

/** What each microphone was last matched with: nothing is compared again while it and the profiles are the very same. */
const lastMatched = new WeakMap<Microphone, { profiles: readonly ProfileRow[]; match: ProfileMatch }>();

/** A profile whose config cannot be read matches nothing. */
function matched(microphone: Microphone, { profiles }: EnrollmentRules): ProfileMatch {
  const before = lastMatched.get(microphone);
  if (before?.profiles === profiles) return before.match;
  const usable = profiles.flatMap(({ slug, config }) => (config.ok ? [{ slug, config: config.value }] : []));
  const match = matchProfile(microphone, usable);
  lastMatched.set(microphone, { profiles, match });
  return match;
}

export function suggestProfile(microphone: Microphone, rules: EnrollmentRules): string | null {
  const match = matched(microphone, rules);
  switch (match.kind) {
    case 'exact':
    case 'named':
      return match.slug;
    case 'ambiguous':
      return match.slugs[0] ?? null;
    case 'none':
      return hasGeneric(rules) && !microphone.obstacle?.lasting ? GENERIC_PROFILE_SLUG : null;
  }
}

function hasGeneric(rules: EnrollmentRules): boolean {
  return rules.profiles.some((profile) => profile.slug === GENERIC_PROFILE_SLUG && profile.config.ok);
}

/**
 * What our rules make of a device about which nobody decided yet; null: leave it as it is. Better recorded than not,
 * but what may be a webcam or a headset waits for a person.
 */
export function decideEnrollment(
  row: DeviceRow,
  microphone: Microphone | undefined,
  rules: EnrollmentRules,
): EnrollmentDecision | null {
  if (!rules.autoEnrollment || microphone === undefined || microphone.sound === null) return null;
  if (row.enrollmentStatus !== 'pending' || row.decidedBy !== null) return null;
  const match = matched(microphone, rules);
  const enroll = (profileSlug: string): EnrollmentDecision => ({
    enrollmentStatus: 'enrolled',
    profileSlug,
    decidedBy: 'auto',
  });
  switch (match.kind) {
    case 'exact':
      return enroll(match.slug);
    case 'named':
      return microphone.kind === 'plain' ? enroll(match.slug) : null;
    case 'none':
      return microphone.kind === 'plain' && hasGeneric(rules) ? enroll(GENERIC_PROFILE_SLUG) : null;
    case 'ambiguous':
      return null;
  }
}
