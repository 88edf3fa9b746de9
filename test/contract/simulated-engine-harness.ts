/** The two engines that are none, with the hands that the contract needs. Their programs are the scripts of `container-spec`. */
import { isOurs } from '../../services/controller/podman-container.ts';
import type { Clock, ContainerSpec, Engine, EngineLogLine } from '../../services/controller/world.ts';
import { STUBBORN } from '../integration/container-spec.ts';
import { createRandom } from '../simulation/random.ts';
import { createSimulatedClock } from '../simulation/simulated-clock.ts';
import { createSimulatedEngine, quietFaults } from '../simulation/simulated-engine.ts';
import type { InMemoryRegistry } from '../unit/in-memory-registry.ts';
import { createManualClock, createWorld } from '../unit/in-memory-world.ts';
import type { EngineHarness } from './engine-contract.ts';
import { type RegistryHands, WRITINGS, type Writing } from './engine-streams-contract.ts';
import { passing } from './passing-time.ts';

const IMAGE = 'localhost/silvasonic-contract:latest';
const FOREIGN: ContainerSpec = {
  name: '',
  image: IMAGE,
  env: {},
  labels: {},
  network: 'none',
  binds: [],
  devices: [],
  limits: { memoryBytes: 1, cpus: 1, pids: 1, oomScoreAdj: 0, logBytes: 1 },
  capabilities: [],
  readOnlyRoot: true,
  tmpfs: {},
  stopTimeoutS: 1,
  ports: [],
  entrypoint: null,
  command: null,
  user: null,
};

const END_MS = 50;

/** What a script does by itself: what it writes, and the code that it ends with, or null. */
function writingOf({ env }: ContainerSpec): Writing {
  const script = env.TEST_SCRIPT ?? '';
  const code = /^exit (\d+)$/.exec(script)?.[1];
  const plain = { script, says: [], endsWith: code === undefined ? null : Number(code) };
  return WRITINGS.find((writing) => writing.script === script) ?? plain;
}

/** Has it done. */
function runScript(spec: ContainerSpec, clock: Clock, write: WriteLine, end: (exitCode: number) => void): void {
  const { says, endsWith } = writingOf(spec);
  for (const { afterMs, stream, text } of says) clock.timer(afterMs, () => write(stream, text));
  if (endsWith !== null) clock.timer((says.at(-1)?.afterMs ?? 0) + END_MS, () => end(endsWith));
}
type WriteLine = (stream: EngineLogLine['stream'], text: string) => void;

/** A registry with one image, which takes two seconds when it is slow. */
function handsOn(registry: InMemoryRegistry): RegistryHands {
  const bytes = 8_000_000;
  const reference = 'registry.example/wood/ballast:1';
  registry.images.set(reference, { id: `sha256:${'b'.repeat(64)}`, bytes });
  return {
    reference,
    missing: 'registry.example/wood/nothing:1',
    setSlow: (slow) => void Object.assign(registry, { bytesPerSecond: slow ? bytes / 2 : bytes * 1000 }),
    goAway: async () => void Object.assign(registry, { away: true }),
    comeBack: async () => void Object.assign(registry, { away: false }),
  };
}

export async function simulatedEngineHarness(): Promise<EngineHarness> {
  const clock = createSimulatedClock();
  const view = clock.view(() => true);
  const simulated = createSimulatedEngine(clock, createRandom(7));
  simulated.images.set(IMAGE, `sha256:${'a'.repeat(64)}`);
  simulated.onStart = (container) => {
    if (container.spec.env.TEST_SCRIPT === STUBBORN) container.stopDelayMs = 1e9;
    const write: WriteLine = (stream, text) => {
      if (container.state === 'live') simulated.logs.write(container.id, stream, text);
    };
    runScript(container.spec, view, write, (code) => simulated.kill(container, code));
  };
  const engine = simulated.port(() => true);
  const { settle, until } = passing((byMs) => clock.advance(byMs));
  const named = (name: string) => {
    const found = [...simulated.containers.values()].find(({ spec }) => spec.name === name);
    if (found === undefined) throw new Error(`There is no container ${name}.`);
    return found;
  };
  const make = async (name: string, labels: Record<string, string>): Promise<void> => {
    await settle(engine.run({ ...FOREIGN, name, labels }));
  };
  return {
    engine,
    impatient: engine,
    image: IMAGE,
    settle,
    until,
    makeForeign: make,
    async makeUnstarted(name, labels) {
      await make(name, labels);
      named(name).state = 'created';
    },
    kill: async (name) => simulated.kill(named(name), 137),
    names: async () => [...simulated.containers.values()].map(({ spec }) => spec.name),
    async limitsOf(name) {
      const { logBytes: _, ...limits } = named(name).spec.limits;
      return limits;
    },
    registry: handsOn(simulated.registry),
    goAway: async () => void Object.assign(simulated.faults, { away: true }),
    comeBack: async () => void Object.assign(simulated.faults, { away: false }),
    hang: () => void Object.assign(simulated.faults, { listDelayMs: 1e9, runUnanswered: 1, removeUnanswered: 1 }),
    letGo: () => void Object.assign(simulated.faults, quietFaults),
    close: () => engine.stop(),
  };
}

export async function inMemoryEngineHarness(): Promise<EngineHarness> {
  const clock = createManualClock();
  const { state, ports } = createWorld(clock);
  state.images = { [IMAGE]: `sha256:${'a'.repeat(64)}` };
  const { settle, until } = passing((byMs) => clock.advance(byMs));
  const specs = new Map<string, ContainerSpec>();
  let watched = '';
  let missed = false;
  const kill = async (name: string, exitCode = 137): Promise<void> => {
    const found = state.containers.find((container) => container.name === name && container.state === 'live');
    if (found === undefined) throw new Error(`Nothing named ${name} runs.`);
    Object.assign(found, { state: 'ended', exitCode });
    // The adapter hears nothing of others, and nothing while the engine is away; what it missed it finds afterwards.
    if (!isOurs(found.labels, watched)) return;
    if (state.engineAway) missed = true;
    else ports.engine.event(name);
  };
  const engine: Engine = {
    ...ports.engine,
    watch(stationId, onEvent) {
      watched = stationId;
      ports.engine.watch(stationId, onEvent);
    },
    async run(spec) {
      const outcome = await ports.engine.run(spec);
      specs.set(spec.name, spec);
      if (outcome.kind !== 'done') return outcome;
      const id = outcome.containerId ?? '';
      const write: WriteLine = (stream, text) => state.logs.write(id, stream, text);
      runScript(spec, clock, write, (code) => void kill(spec.name, code));
      return outcome;
    },
  };
  const make = async (name: string, labels: Record<string, string>): Promise<void> => {
    await settle(engine.run({ ...FOREIGN, name, labels }));
  };
  return {
    engine,
    impatient: engine,
    image: IMAGE,
    settle,
    until,
    makeForeign: make,
    async makeUnstarted(name, labels) {
      await make(name, labels);
      for (const container of state.containers) if (container.name === name) container.state = 'created';
    },
    kill: (name) => kill(name),
    names: async () => state.containers.map(({ name }) => name),
    async limitsOf(name) {
      const { logBytes: _, ...limits } = specs.get(name)?.limits ?? FOREIGN.limits;
      return limits;
    },
    registry: handsOn(state.registry),
    goAway: async () => void Object.assign(state, { engineAway: true }),
    async comeBack() {
      state.engineAway = false;
      if (missed) ports.engine.event('');
    },
    hang: () => void Object.assign(state, { engineHangs: true }),
    letGo: () => void Object.assign(state, { engineHangs: false }),
    close: () => engine.stop(),
  };
}
