/** What a person reads of one subject: its phase, whether a change is in effect, and which changes become events. */
import { describe, expect, test } from 'vitest';
import { plan } from '../../services/controller/plan.ts';
import { type Outcome, type PlanInput, subjectOf } from '../../services/controller/plan-outcome.ts';
import { serviceSubject } from '../../services/controller/service-wish.ts';
import { recorderSubject, type SpecInput, wishes } from '../../services/controller/spec.ts';
import type { ObservedContainer, Wish } from '../../services/controller/world.ts';
import { catalogueEntrySchema } from '../../services/shared/catalogue.ts';
import { LABEL, UPDATE_WAITING } from '../../services/shared/contract.ts';
import { createMachine } from './plan-machine.ts';
import {
  containerOf,
  desiredState,
  deviceRow,
  failed,
  planInput,
  profileConfig,
  reading,
  specInput,
  status,
  strayContainer,
} from './sample-world.ts';

const ID = '2752-0007-000-0000';
const SUBJECT = recorderSubject(ID);
const REFERENCE = 'localhost/silvasonic-recorder:latest';

function wished(given: Partial<SpecInput> = {}): Wish {
  const [first] = wishes(specInput(given));
  if (first === undefined) throw new Error('no wish');
  return first;
}
const columns = (given: Parameters<typeof deviceRow>[1]) => wished({ rows: [deviceRow(ID, given)] });
// Made anew for each test: what is made while a file is loaded costs the mutation tests a thread of their own.
const toRun = () => wished();
const toOff = () => columns({ enabled: false });
const toFlapping = () => wished({ flapping: new Map([[ID, { count: 5, untilMs: 9000 }]]) });
const toBlocked = () => columns({ profileSlug: 'gone' });
const toUnread = () => wished({ present: new Map(), unknown: new Set([ID]) });

const ENTRY = catalogueEntrySchema.parse({
  name: 'helper',
  title: 'Helper',
  description: 'Helps.',
  image: 'localhost/helper:latest',
  limits: { memoryMebibytes: 128, cpus: 0.5, pids: 32 },
});
function service(imageId: string | null = 'sha256:helper'): Wish {
  const nothing = { observedGeneration: 0, phase: 'disabled' as const, reason: '', message: '' };
  const row = { name: 'helper', enabled: true, settings: {}, restartToken: '', generation: 1, ...nothing };
  const desired = desiredState({ services: [row] });
  const [wish] = wishes(specInput({ rows: [], desired, catalogue: [ENTRY], images: { [ENTRY.image]: imageId } }));
  if (wish === undefined) throw new Error('no wish');
  return wish;
}

/** One look at one wish. */
function told(wish: Wish, containers: readonly ObservedContainer[] = [], given: Partial<PlanInput> = {}): Outcome {
  const [outcome] = plan(planInput({ wishes: [wish], containers: reading([...containers], 2000), ...given })).outcomes;
  if (outcome === undefined) throw new Error('nothing is told');
  return outcome;
}
const statuses = (...given: Parameters<typeof status>) => ({
  statuses: new Map([[SUBJECT, reading(status(...given))]]),
});
const live = (given: Partial<ObservedContainer> = {}) => containerOf(toRun(), given);

describe('a change is in effect', () => {
  const away = { containers: failed<ObservedContainer[]>('away', 2000) };
  const inEffect = ({ observedGeneration }: Outcome) => observedGeneration === 1;

  test.each<[string, boolean, () => Outcome]>([
    ['switched off', true, () => told(toOff())],
    ['switched off, and still running', false, () => told(toOff(), [live()])],
    ['switched off, and the engine away', false, () => told(toOff(), [], away)],
    ['blocked', true, () => told(toBlocked())],
    ['blocked, and what runs goes on', true, () => told(toBlocked(), [live()])],
    ['on hold, and of what runs nothing is known', false, () => told(toFlapping(), [live()])],
    ['on hold', false, () => told(toFlapping())],
    ['on hold, and what runs goes on', false, () => told(toFlapping(), [live()], statuses(5))],
    ['to be started', false, () => told(toRun())],
    ['the image is missing', true, () => told(wished({ recorderImage: { reference: REFERENCE, id: null } }))],
    ['being started', false, () => told(toRun(), [], { inFlight: new Map([[SUBJECT, 'run']]) })],
    ['missed by the last look', false, () => told(wished({ missing: new Set([ID]) }))],
    ['running with other settings', false, () => told(columns({ restartToken: 'x' }), [live()])],
    ['one too many', false, () => told(toRun(), [live({ id: 'a' }), live({ id: 'b' })])],
    ['ended', false, () => told(toRun(), [live({ state: 'ended', exitCode: 3 })])],
    ['found running, seen once', false, () => told(toRun(), [live()], statuses(5))],
    ['without room', true, () => told(toRun(), [live()], statuses(5, { state: 'no_space', reason: 'DiskFull' }))],
    ['trying again', false, () => told(toRun(), [live()], statuses(5, { state: 'retrying', reason: 'Busy' }))],
    ['the engine is away, and it records', false, () => told(toRun(), [], { ...away, ...statuses(5) })],
    ['a service that runs', true, () => told(service(), [containerOf(service())])],
  ])('%s: %s', (_name, expected, outcome) => {
    expect(inEffect(outcome())).toBe(expected);
  });

  test('when what we started gives its first sound; of what ran before, when it goes on', () => {
    const machine = createMachine([toRun()]);
    machine.look();
    machine.nowMs = 250;
    expect(machine.look().outcomes[0]).toMatchObject({ phase: 'recording', observedGeneration: 1 });
    const adopting = createMachine([toRun()]);
    adopting.containers = [live()];
    adopting.statusOf = () => reading(status(5));
    expect(adopting.look().outcomes[0]).toMatchObject({ phase: 'recording', observedGeneration: 0 });
    // Also if it was on hold, or the engine away, when it was first seen.
    for (const first of [{ wishes: [toFlapping()] }, { containers: failed<ObservedContainer[]>('away', 0) }]) {
      const held = createMachine([toRun()]);
      held.containers = [live()];
      held.statusOf = () => reading(status(5));
      held.look(first);
      held.nowMs = 1000;
      expect(held.look().outcomes[0]).toMatchObject({ phase: 'recording', observedGeneration: 0 });
    }
  });
});

describe('with the engine away', () => {
  const away = { containers: failed<ObservedContainer[]>('away', 2000) };
  const off = (given: Parameters<typeof deviceRow>[1]) => told(columns({ enabled: false, ...given }), [], away).reason;

  test('what is known to be off is off; what may still run, or is on hold, is not known', () => {
    expect(off({ phase: 'disabled', observedGeneration: 1 })).toBe('SwitchedOff');
    expect(off({ phase: 'recording', observedGeneration: 1 })).toBe('EngineUnavailable');
    expect(off({ phase: 'disabled', observedGeneration: 0 })).toBe('EngineUnavailable');
    const held = deviceRow(ID, { phase: 'blocked', observedGeneration: 1, profileSlug: 'gone' });
    expect(told(wished({ rows: [held] }), [], away).reason).toBe('EngineUnavailable');
  });
});

describe('while the database has not been read', () => {
  const stray = strayContainer('nobody-knows');
  const look = (wish: Wish | null, containers: ObservedContainer[]) => {
    const policy = { stallTimeoutMs: 30_000, goodAfterMs: 60_000, autoUpdate: true };
    const input = { wishes: wish === null ? [] : [wish], containers: reading(containers, 2000), policy };
    return plan(planInput({ ...input, remembered: true }));
  };

  test('a recorder that is to be off runs on, and nobody says that it is off', () => {
    const { actions, outcomes } = look(toOff(), [live()]);
    expect(actions).toEqual([]);
    expect(outcomes).toMatchObject([{ kind: 'keep', reason: 'DatabaseUnread', observedGeneration: 0 }]);
  });

  test('one that nobody asks for runs on as well, is no update, and is told of; the engine may be at it', () => {
    const { actions, outcomes } = look(null, [stray]);
    expect(actions).toEqual([]);
    expect(outcomes).toMatchObject([{ subject: subjectOf(stray), kind: 'keep', reason: 'DatabaseUnread' }]);
    const moving = look(null, [{ ...stray, state: 'moving' }]);
    expect(moving).toMatchObject({ actions: [], outcomes: [{ kind: 'wait' }], deadlineMs: 2500 });
  });
});

describe('what is done is said', () => {
  test('while it is under way', () => {
    const flying = (kind: 'run' | 'remove') => told(toRun(), [], { inFlight: new Map([[SUBJECT, kind]]) });
    expect(flying('run')).toMatchObject({ kind: 'wait', phase: 'starting', message: 'Starting.' });
    expect(flying('remove')).toMatchObject({ kind: 'wait', phase: 'stopping', message: 'Stopping.' });
  });

  test('and a stalled one is called so until it is gone', () => {
    const machine = createMachine([toRun()]);
    machine.containers = [live()];
    machine.statusOf = () => reading(null);
    machine.look();
    machine.nowMs = 30_000;
    machine.end = () => ({ kind: 'lookAgain', message: 'not yet' });
    const [stalled] = machine.look().outcomes;
    expect(stalled).toMatchObject({ kind: 'replace', phase: 'stalled', reason: 'Stalled', observedGeneration: 0 });
    machine.nowMs += 1;
    const [flying] = machine.look({ inFlight: new Map([[SUBJECT, 'remove']]) }).outcomes;
    expect(flying).toMatchObject({ phase: 'stalled', reason: 'InFlight' });
  });

  test('in the phase that follows from it', () => {
    const ended = (given: Partial<ObservedContainer> = {}) => [live({ state: 'ended', exitCode: 3, ...given })];
    expect(told(toRun(), ended())).toMatchObject({ kind: 'remove', phase: 'backoff', reason: 'Crashed' });
    expect(told(toRun(), [live({ state: 'created' })])).toMatchObject({ phase: 'starting', reason: 'NeverStarted' });
    for (const state of ['created', 'ended', 'live'] as const)
      expect(told(toOff(), [live({ state })])).toMatchObject({ kind: 'remove', phase: 'stopping' });
    expect(told(toRun())).toMatchObject({ kind: 'run', phase: 'starting', reason: 'Starting', message: 'Starting.' });
  });

  test('a list that is older than the end of our own last action tells nothing', () => {
    const machine = createMachine([toRun()]);
    machine.look();
    machine.nowMs = 500;
    const told = (startedAtMs: number) => machine.look({ containers: reading([], startedAtMs) }).outcomes[0]?.reason;
    expect([told(-1), told(0)]).toEqual(['StaleView', 'Starting']);
  });
});

describe('one too many', () => {
  const pair = [live({ id: 'b' }), live({ id: 'a' })];
  const recording = columns({ phase: 'recording', reason: 'Recording' });

  test('is cleared away, the same one in whichever order they are listed, and the other is said to go on', () => {
    for (const containers of [pair, [...pair].reverse()]) {
      const { actions } = plan(planInput({ wishes: [recording], containers: reading(containers, 2000) }));
      expect(actions).toMatchObject([{ kind: 'remove', containerId: 'b', reason: 'Duplicate' }]);
      expect(told(recording, containers)).toMatchObject({ kind: 'remove', phase: 'recording', reason: 'Duplicate' });
    }
  });

  test('of one that is on hold: it is told as on hold', () => {
    expect(told(toFlapping(), pair)).toMatchObject({ kind: 'remove', phase: 'backoff', reason: 'FlappingPlug' });
  });
});

describe('on hold', () => {
  test('without a container: blocked where a person must act, else it waits; it is looked at when it may be over', () => {
    expect(told(toBlocked())).toMatchObject({ kind: 'blocked', phase: 'blocked', reason: 'ProfileMissing' });
    expect(told(toFlapping())).toMatchObject({ kind: 'wait', phase: 'backoff', reason: 'FlappingPlug' });
    expect(plan(planInput({ wishes: [toFlapping()] })).deadlineMs).toBe(9000);
    for (const wish of [toBlocked(), toUnread()]) expect(plan(planInput({ wishes: [wish] })).deadlineMs).toBeNull();
  });

  test('what runs is said to record only while it does', () => {
    expect(told(toFlapping(), [live()], statuses(5))).toMatchObject({ kind: 'keep', phase: 'recording' });
    expect(told(toFlapping(), [live()], statuses(5)).message).toContain('goes on as it is');
    expect(told(toFlapping(), [live()], statuses(5, { state: 'starting' }))).toMatchObject({ phase: 'backoff' });
    expect(told(toFlapping(), [live()])).toMatchObject({ kind: 'keep', phase: 'backoff' });
  });

  test('warns once, though something is cleared away meanwhile', () => {
    const machine = createMachine([toFlapping()]);
    machine.containers = [live()];
    machine.advance(500);
    machine.containers = [...machine.containers, live({ id: 'z', state: 'created' })];
    const [removal] = machine.look().actions;
    expect(removal?.kind).toBe('remove');
    machine.look({ inFlight: new Map([[SUBJECT, 'remove']]) });
    machine.nowMs += 1;
    machine.advance(2000);
    expect(machine.told.at(-1)).toBe('1 recording FlappingPlug');
    expect(machine.events).toEqual(['0 warning FlappingPlug']);
  });
});

describe('what runs', () => {
  const run = (given: Partial<SpecInput>, ...state: Parameters<typeof status>) => {
    const wish = wished(given);
    return told(wish, [containerOf(wish)], statuses(...state));
  };

  test('a service waits for no other: it has no microphone that another could hold', () => {
    const other = strayContainer('other', { labels: { [LABEL.service]: 'another' } });
    expect(told(service(), [other])).toMatchObject({ kind: 'run' });
  });

  test('says how it is: recorders record, services run', () => {
    expect(run({}, 5)).toMatchObject({ phase: 'recording', reason: 'Recording', message: 'Recording.' });
    expect(told(service(), [containerOf(service())])).toMatchObject({
      phase: 'running',
      reason: 'Running',
      message: 'Running.',
    });
    expect(run({}, 5, { silent: true })).toMatchObject({ phase: 'recording', reason: 'Silent' });
  });

  test('that we started, is starting until it advances, whatever it says; one from before is believed', () => {
    const machine = createMachine([toRun()]);
    machine.statusOf = () => reading(status(0));
    machine.look();
    machine.nowMs = 250;
    expect(machine.look()).toMatchObject({ outcomes: [{ phase: 'starting', observedGeneration: 0 }], deadlineMs: 500 });
    expect(told(toRun(), [live()], statuses(0))).toMatchObject({ phase: 'recording' });
    expect(told(toRun(), [live()], statuses(0, { state: 'starting' }))).toMatchObject({ phase: 'starting' });
  });

  test('adds what a person should know: that another rate is recorded, that an update waits', () => {
    const value = profileConfig({ audio: { rate: 384_000, channels: 'native', format: 'native' } });
    const profiles = specInput().desired.profiles.map((profile) => ({
      ...profile,
      config: { ok: true as const, value },
    }));
    const other = run({ desired: desiredState({ profiles }) }, 5);
    expect(other.reason).not.toBe('Recording');
    expect(other.message).toMatch(/^Recording\. .*384/);
    const released = wished({ recorderImage: { reference: REFERENCE, id: 'sha256:bbbb' } });
    expect(told(released, [live()], statuses(5))).toMatchObject({
      reason: UPDATE_WAITING.reason,
      message: `Recording. ${UPDATE_WAITING.message}`,
    });
    const unknownImage = wished({ recorderImage: { reference: REFERENCE, id: null } });
    expect(told(unknownImage, [live()], statuses(5))).toMatchObject({ reason: 'Recording', message: 'Recording.' });
  });

  test('what a service reports stands for it', () => {
    const reports = new Map([[serviceSubject('helper'), { reason: 'FullSoon', message: 'Ten days left.' }]]);
    expect(told(service(), [containerOf(service())], { reports })).toMatchObject({
      phase: 'running',
      reason: 'FullSoon',
      observedGeneration: 1,
    });
  });
});

test('an image of a service that is on its way is pulled; of a recorder, waited for', () => {
  const pulls = (reference: string) => ({ pulls: new Map([[reference, { kind: 'pulling' as const, message: '…' }]]) });
  expect(told(service(null), [], pulls(ENTRY.image))).toMatchObject({ phase: 'pulling', observedGeneration: 0 });
  const imageless = wished({ recorderImage: { reference: REFERENCE, id: null } });
  expect(told(imageless, [], pulls(REFERENCE))).toMatchObject({ phase: 'waiting', observedGeneration: 0 });
});

describe('who holds a microphone', () => {
  const held = wished({ holders: new Map([[ID, 'pulseaudio']]) });
  test.each([
    [11, held, /^pulseaudio holds/],
    [11, toRun(), /PulseAudio and PipeWire/],
    [3, held, /^It ended with code 3/],
  ])('is said where it was busy, and is known (exit code %i)', (exitCode, wish, sentence) => {
    const machine = createMachine([wish]);
    machine.started = { state: 'ended', exitCode };
    machine.advance(500);
    expect(machine.look().outcomes[0]?.message).toMatch(sentence);
  });
});

describe('events', () => {
  test('tell a life once: what a person did, what the recorder does, what went wrong', () => {
    const machine = createMachine([toRun()]);
    machine.advance(100_000);
    machine.wishes = [toOff()];
    machine.advance(110_000);
    machine.wishes = [columns({ enrollmentStatus: 'ignored' })];
    machine.advance(120_000);
    machine.wishes = [wished({ present: new Map() })];
    machine.advance(130_000);
    machine.wishes = [toBlocked()];
    machine.advance(140_000);
    machine.wishes = [toRun()];
    machine.started = { state: 'ended', exitCode: 13 };
    machine.advance(150_000);
    machine.wishes = [toBlocked()];
    machine.advance(160_000);
    machine.wishes = [service()];
    machine.started = {};
    machine.advance(170_000);
    expect(machine.events).toEqual([
      '0 normal Recording',
      '100 normal SwitchedOff',
      '110 normal Ignored',
      '120 normal NotPlugged',
      '130 warning ProfileMissing',
      '140 warning FormatRefused',
      '150 warning ProfileMissing',
      '160 normal Running',
    ]);
  });

  test('are not told again by a controller that has only just started', () => {
    const recording = columns({ phase: 'recording', reason: 'Recording', observedGeneration: 1 });
    const machine = createMachine([recording]);
    machine.containers = [live()];
    expect(machine.advance(60_000).events).toEqual([]);
    const other = createMachine([columns({ phase: 'offline', reason: 'NotPlugged' })]);
    other.containers = [live()];
    expect(other.advance(60_000).events).toEqual(['0 normal Recording']);
  });

  test('of what nobody asked for, and somebody does again: as if nothing had been told', () => {
    const machine = createMachine([]);
    machine.containers = [strayContainer(ID)];
    machine.end = () => ({ kind: 'lookAgain', message: 'not yet' });
    machine.look();
    machine.wishes = [columns({ phase: 'recording', reason: 'Recording' })];
    machine.containers = [live()];
    machine.nowMs = 100;
    machine.look();
    expect(machine.events).toEqual([]);
  });

  test('never tell of a glance between two actions', () => {
    const machine = createMachine([columns({ phase: 'recording', reason: 'Recording' })]);
    machine.containers = [live({ id: 'a' }), live({ id: 'b' })];
    machine.look();
    machine.look({ containers: reading(machine.containers, -1) });
    machine.look({ inFlight: new Map([[SUBJECT, 'remove']]) });
    machine.advance(1000);
    expect(machine.events.map((line) => line.split(' ')[2])).not.toContain('StaleView');
    expect(machine.events.map((line) => line.split(' ')[2])).not.toContain('InFlight');
  });

  test('tell of refused limits once, in words of their own', () => {
    const machine = createMachine([toRun()]);
    const refused = ['OomScoreRefused', 'CpuLimitRefused'].map((reason) => ({ reason, message: `${reason}.` }));
    machine.end = () => ({ kind: 'done', containerId: null, refusedLimits: refused });
    const all = [0, 1, 250, 500].flatMap((nowMs) => {
      machine.nowMs = nowMs;
      return machine.look().events;
    });
    expect(all.map(({ type, reason, message }) => [type, reason, message])).toEqual([
      ...refused.map(({ reason, message }) => ['warning', reason, message]),
      ['normal', 'Recording', 'Recording.'],
    ]);
    expect(machine.look().outcomes[0]?.message).toBe('Recording. OomScoreRefused. CpuLimitRefused.');
  });
});

describe('whose container', () => {
  const of = (labels: Record<string, string>) => subjectOf(strayContainer('x', { labels }));
  test.each([
    [{ [LABEL.service]: 'recorder', [LABEL.deviceId]: 'a' }, 'recorder:a'],
    [{ [LABEL.service]: 'helper' }, 'service:helper'],
    [{ [LABEL.service]: 'helper', [LABEL.deviceId]: 'a' }, 'service:helper'],
    [{ [LABEL.service]: 'recorder' }, 'unknown:x'],
    [{ [LABEL.deviceId]: 'a' }, 'unknown:x'],
    [{}, 'unknown:x'],
  ])('%o', (labels: Record<string, string>, subject) => {
    expect(of(labels)).toBe(subject);
  });
});

test('without wishes nothing is told and nothing done', () => {
  expect(plan(planInput({ wishes: null }))).toMatchObject({ actions: [], outcomes: [], events: [], deadlineMs: null });
});

test('of several the earliest to look at again decides when', () => {
  const rows = [ID, 'b'].map((id) => deviceRow(id));
  const flapping = new Map([
    [ID, { count: 5, untilMs: 9000 }],
    ['b', { count: 5, untilMs: 7000 }],
  ]);
  const present = new Map([...specInput().present].flatMap(([, there]) => rows.map(({ id }) => [id, there] as const)));
  expect(plan(planInput({ wishes: wishes(specInput({ rows, present, flapping })) })).deadlineMs).toBe(7000);
});

test('of what stays as it was told nothing new is remembered: a thousand such cost next to nothing', () => {
  const wishes = [toOff()];
  const first = plan(planInput({ wishes }));
  const second = plan(planInput({ wishes, memory: first.memory }));
  expect(second.memory.subjects.get(SUBJECT)).toBe(first.memory.subjects.get(SUBJECT));
});
