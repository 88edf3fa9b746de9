/** All checks of the doctor, and what they come to. Pure. */
import { checkClock, checkDisk } from './doctor-disk.ts';
import { checkEngine, checkMachine } from './doctor-engine.ts';
import { type DoctorFacts, type Finding, GROUPS } from './doctor-facts.ts';
import { checkLimits } from './doctor-limits.ts';
import { checkMicrophones, checkPower } from './doctor-microphones.ts';
import { checkStarting, checkStation } from './doctor-starting.ts';

const CHECKS = [
  checkMachine,
  checkClock,
  checkPower,
  checkEngine,
  checkLimits,
  checkDisk,
  checkMicrophones,
  checkStarting,
  checkStation,
];

/** Every finding, by group. */
export function examine(facts: DoctorFacts): Finding[] {
  const findings = CHECKS.flatMap((check) => check(facts));
  return GROUPS.flatMap((group) => findings.filter((finding) => finding.group === group));
}

/** How the doctor ends: 0 when nothing is a problem. */
export function exitCode(findings: readonly Finding[]): 0 | 1 {
  return findings.some(({ state }) => state === 'problem') ? 1 : 0;
}
