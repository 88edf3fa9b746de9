/**
 * Runs the real microphone source and answers what it is asked, a line of JSON for each line of its input. For the contract,
 * which starts it where `/sys` and `/proc` are a tree of its own. Ends at the end of its input.
 */
import { createInterface } from 'node:readline';
import { createMicrophoneSource } from '../../services/controller/microphones.ts';
import type { SoundCard } from '../../services/controller/world.ts';
import { createClock } from '../../services/shared/clock.ts';
import { askedSource } from './asked-source.ts';

export type Question = { ask: 'start' | 'read' | 'stop' } | { ask: 'holder'; sound: SoundCard };

const POLL_MS = 50;
const log = { info() {}, warn() {}, error() {} };
const source = askedSource(createMicrophoneSource({ pollMs: POLL_MS, clock: createClock(), log }));

for await (const line of createInterface({ input: process.stdin })) {
  const question: Question = JSON.parse(line);
  const answer = question.ask === 'holder' ? await source.holder(question.sound) : await source[question.ask]();
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
await source.stop();
