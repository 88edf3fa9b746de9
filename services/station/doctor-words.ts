/** How the doctor's checks put together what they say. Pure. */
import type { DoctorFacts, Fact, Finding, Group } from './doctor-facts.ts';

/** Makes the findings of one group. */
export interface Words {
  ok(title: string, message: string): Finding;
  warning(title: string, message: string, ...cure: string[]): Finding;
  problem(title: string, message: string, ...cure: string[]): Finding;
  unknown(title: string, message: string, ...cure: string[]): Finding;
}

export function wordsOf(group: Group): Words {
  return {
    ok: (title, message) => ({ group, title, state: 'ok', message, cure: [] }),
    warning: (title, message, ...cure) => ({ group, title, state: 'warning', message, cure }),
    problem: (title, message, ...cure) => ({ group, title, state: 'problem', message, cure }),
    unknown: (title, message, ...cure) => ({ group, title, state: 'unknown', message, cure }),
  };
}

/** One finding of a fact that could be found out, another of one that could not. */
export function judge<T>(words: Words, title: string, fact: Fact<T>, how: (value: T) => Finding): Finding {
  return fact.ok ? how(fact.value) : words.unknown(title, fact.message);
}

/** A command that needs root, as this user types it on the host. */
export function asRoot({ user, insideContainer }: DoctorFacts, command: string): string {
  return user.uid === 0 && !insideContainer ? command : `sudo ${command}`;
}

/** Root's `systemctl`, or the user's own where the engine is the user's. */
export function systemctl(facts: DoctorFacts, args: string): string {
  return isRootless(facts) ? `systemctl --user ${args}` : asRoot(facts, `systemctl ${args}`);
}

/** By the engine that answers; where none does, by who asks. */
export function isRootless({ engine, user, insideContainer }: DoctorFacts): boolean {
  if (engine.info?.ok) return engine.info.value.rootless;
  return user.uid !== 0 && !insideContainer;
}

/** Installs a program by this distribution's package manager. */
export function install(facts: DoctorFacts, packages: string): string {
  const { id } = facts.machine.distribution;
  if (['fedora', 'rhel', 'centos', 'rocky', 'almalinux'].includes(id))
    return asRoot(facts, `dnf install -y ${packages}`);
  if (['arch', 'archarm', 'manjaro'].includes(id)) return asRoot(facts, `pacman -S --noconfirm ${packages}`);
  return asRoot(facts, `apt-get install -y ${packages}`);
}

/** For people: `12.3 GB`. */
export function gigabytes(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Quoted where a shell would not take it as one word. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
