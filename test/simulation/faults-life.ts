/** Recorders that misbehave, containers that somebody else makes or removes, releases, and the controller's own end. */
import { LABEL, OWNER } from '../../services/shared/contract.ts';
import { FAST_BYTES_PER_SECOND } from '../unit/in-memory-registry.ts';
import { type Fault, lasting } from './fault.ts';
import { addForeign } from './invariants.ts';
import type { Random } from './random.ts';
import { cause, note, type Run } from './run.ts';
import { HELPER } from './simulated-database.ts';
import type { SimulatedContainer } from './simulated-engine.ts';
import { BEHAVIOURS } from './simulated-recorder.ts';
import { HELPER_IMAGE_ID, RECORDER_IMAGE } from './simulated-station.ts';

/** The controller is started again by whatever looks after it. */
const RESTARTS_MS = [200, 1000, 5000, 40_000];

function pickOurs(run: Run, random: Random): SimulatedContainer | null {
  const all = [...run.station.engine.containers.values()].filter(({ id }) => !run.foreign.has(id));
  return all.length === 0 ? null : random.pick(all);
}

const toOne = (name: string, happen: (run: Run, container: SimulatedContainer, random: Random) => void): Fault => ({
  name,
  happen(run, random) {
    const container = pickOurs(run, random);
    if (container === null) return false;
    note(run, () => `  ${container.id} of ${container.deviceId || container.spec.name}`);
    happen(run, container, random);
    return true;
  },
});

const recorders: readonly Fault[] = [
  toOne('killed', (run, container) => run.station.engine.kill(container, 137)),
  toOne('killed for lack of memory', (run, container) => run.station.engine.kill(container, 137, true)),
  toOne('removed by hand', (run, container) => run.station.engine.vanish(container)),
  toOne('hangs', (run, container) => {
    container.frozenAtMs ??= run.station.clock.nowMs();
  }),
  toOne('engine is busy with one', (run, container, random) => {
    if (container.state !== 'live') return;
    container.state = 'moving';
    run.station.clock.after(random.pick([100, 3000]), () => {
      if (container.state === 'moving') container.state = 'live';
    });
  }),
  {
    name: 'behaves differently from now on',
    happen(run, random) {
      const { devices } = run.station.database.state;
      if (devices.length === 0) return false;
      const { id } = random.pick(devices);
      const behaviour = random.pick([...BEHAVIOURS, 'good', 'good', 'crashes', 'stalls'] as const);
      run.station.engine.behaviours.set(id, behaviour);
      note(run, () => `  ${id}: ${behaviour}`);
      return true;
    },
  },
  {
    name: 'a stray container of ours',
    happen(run, random) {
      const stationId = run.station.disk.marker;
      if (stationId === null) return false;
      const deviceId = `nobody-${random.between(1, 3)}`;
      const container = run.station.engine.make({
        ...strayOf(run, `stray-${random.between(1, 1e6)}`),
        labels: {
          [LABEL.owner]: OWNER,
          [LABEL.station]: stationId,
          [LABEL.service]: random.pick(['recorder', 'unheard-of']),
          ...(random.chance(0.7) && { [LABEL.deviceId]: deviceId }),
        },
      });
      if (random.chance(0.7)) container.state = 'live';
      run.station.engine.announce(container.spec);
      return true;
    },
  },
  {
    name: 'made and never started',
    happen(run, random) {
      const ours = pickOurs(run, random);
      if (ours === null || ours.deviceId === '') return false;
      const held = [...run.station.engine.containers.values()].some(
        (one) => one !== ours && one.deviceId === ours.deviceId,
      );
      if (held) return false;
      run.station.engine.make({ ...ours.spec, name: `${ours.spec.name}-again` });
      return true;
    },
  },
];

const strayOf = (run: Run, name: string): SimulatedContainer['spec'] => {
  const [any] = run.station.engine.containers.values();
  if (any === undefined) throw new Error('the containers of others are gone');
  return { ...any.spec, name };
};

const images: readonly Fault[] = [
  {
    name: 'images nobody uses are cleared away',
    happen({ station: { engine } }) {
      const isUsed = [...engine.containers.values()].some(({ imageId }) => imageId === HELPER_IMAGE_ID);
      return !isUsed && engine.images.delete(HELPER.image);
    },
  },
  lasting(
    'the registry is away',
    ({ station }) => void Object.assign(station.engine.registry, { away: true }),
    ({ station }) => void Object.assign(station.engine.registry, { away: false }),
  ),
  lasting(
    'a slow line',
    ({ station }) => void Object.assign(station.engine.registry, { bytesPerSecond: 500_000 }),
    ({ station }) => void Object.assign(station.engine.registry, { bytesPerSecond: FAST_BYTES_PER_SECOND }),
  ),
  release('a new release', false),
  release('a bad release', true),
  lasting(
    'the image is gone',
    (run) => void run.station.engine.images.delete(RECORDER_IMAGE),
    (run) => {
      cause(run, '*');
      const { images } = run.station.engine;
      // Built anew, it is another one.
      if (!images.has(RECORDER_IMAGE)) images.set(RECORDER_IMAGE, `sha256:built-${run.station.clock.nowMs()}`);
    },
  ),
  lasting(
    'somebody holds our name',
    (run) => {
      const free = run.station.database.state.devices.find(
        ({ id }) => ![...run.station.engine.containers.values()].some(({ deviceId }) => deviceId === id),
      );
      if (free === undefined || run.station.disk.marker === null) return;
      addForeign(run, `silvasonic-${run.station.disk.marker.slice(0, 8)}-recorder-${free.workspace}`, {});
    },
    removeNameHolders,
  ),
];

/** Noticed within a minute, it begins the back-off anew; it explains no stop. */
function release(name: string, bad: boolean): Fault {
  return {
    name,
    happen(run, random) {
      const { engine } = run.station;
      const id = `sha256:${random.between(1, 1e9)}`;
      if (bad) engine.badImages.add(id);
      engine.images.set(RECORDER_IMAGE, id);
      cause(run, '*');
      return true;
    },
  };
}

function removeNameHolders(run: Run): void {
  for (const id of [...run.foreign].slice(2)) {
    run.foreign.delete(id);
    const container = run.station.engine.containers.get(id);
    if (container !== undefined) run.station.engine.vanish(container);
  }
}

/** Back-off is remembered by one controller only: the next one counts starts anew. */
function startAgain(run: Run, random: Random): void {
  run.station.clock.after(random.pick(RESTARTS_MS), () => {
    if (run.station.controller() !== null) return;
    cause(run, '*');
    note(run, () => '  a new controller');
    run.station.startController();
  });
}

const controller: readonly Fault[] = [
  {
    name: 'controller killed',
    happen(run, random) {
      run.station.killController();
      startAgain(run, random);
      return true;
    },
  },
  {
    name: 'controller killed at a deed',
    happen(run, random) {
      const { station } = run;
      station.onKill = () => {
        note(run, () => '  the controller is gone');
        startAgain(run, random);
      };
      station.killAtEffect(random.between(1, 8));
      return true;
    },
  },
  {
    name: 'controller restarted',
    happen(run) {
      cause(run, '*');
      run.station.restartController();
      return true;
    },
  },
  {
    name: 'controller frozen',
    happen(run, random) {
      run.station.freezeController(random.pick([500, 5000, 20_000, 60_000]));
      return true;
    },
  },
  {
    name: 'clock jumps',
    happen(run, random) {
      run.station.clock.jumpWall(random.pick([-3_600_000, 3_600_000, 3.2e10, -3.2e10]));
      return true;
    },
  },
];

export const lifeFaults: readonly Fault[] = [...recorders, ...images, ...controller];
