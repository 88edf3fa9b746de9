/** What can happen to a station: to its hardware, its database, its engine, its recorders, its controller, by its people. */
import type { DeviceRow } from '../../services/controller/world.ts';
import { emptyDatabase } from '../unit/in-memory-world.ts';
import { UMIK_PROFILE } from '../unit/sample-world.ts';
import { RECORDER_IMAGE, type Stick } from './simulated-station.ts';
import { cause, note, type Run } from './simulation.ts';

export interface Fault {
  name: string;
  happen(run: Run): void;
}

const anyStick = (run: Run): Stick => run.random.pick(run.station.sticks);

/** Plugging is felt by every device: twins are told apart by who is there. */
function plugged(run: Run, stick: Stick, what: string): void {
  note(run, `  ${what} ${stick.serial} on port ${stick.port}, stay ${stick.stay}`);
  cause(run, '*');
  run.station.plugChanged();
}

function freePort(run: Run): number {
  const taken = new Set(run.station.sticks.map(({ port }) => port));
  const free = [1, 2, 3, 4, 5, 6, 7, 8].filter((port) => !taken.has(port));
  return run.random.pick(free);
}

/** A person's edit: columns change, the trigger counts, the page nudges (or the nudge is lost). */
function edit(run: Run, change: (row: DeviceRow) => void): void {
  const { devices } = run.station.database.state;
  if (devices.length === 0) return;
  const row = run.random.pick(devices);
  change(row);
  row.generation += 1;
  cause(run, row.id);
  note(run, `  ${row.id}: enabled ${row.enabled}, ${row.enrollmentStatus}, token ${row.restartToken}`);
  if (run.random.chance(0.8)) run.station.nudge();
}

function toggle(run: Run, set: (on: boolean) => void): void {
  set(run.random.chance(0.6));
}

const hardware: Fault[] = [
  { name: 'nothing', happen: () => {} },
  {
    name: 'unplug',
    happen(run) {
      const stick = anyStick(run);
      stick.port = null;
      plugged(run, stick, 'unplugged');
    },
  },
  {
    name: 'plug',
    happen(run) {
      const stick = anyStick(run);
      if (stick.port !== null) return;
      Object.assign(stick, { port: freePort(run), stay: stick.stay + 1, cardLate: run.random.chance(0.2) });
      plugged(run, stick, 'plugged in');
    },
  },
  {
    name: 'replug',
    happen(run) {
      const stick = anyStick(run);
      if (stick.port === null) return;
      stick.stay += 1;
      plugged(run, stick, 'replugged');
    },
  },
  {
    name: 'flap',
    happen(run) {
      const stick = anyStick(run);
      if (stick.port === null) return;
      for (let time = 0; time < 6; time += 1) {
        void run.station.clock.sleep(time * 900).then(() => {
          stick.stay += 1;
          plugged(run, stick, 'flapped');
        });
      }
    },
  },
  {
    name: 'moved',
    happen(run) {
      const stick = anyStick(run);
      Object.assign(stick, { port: freePort(run), stay: stick.stay + 1 });
      plugged(run, stick, 'moved');
    },
  },
  {
    name: 'one scan misses',
    happen(run) {
      const stick = anyStick(run);
      stick.missed = true;
      run.station.plugChanged();
    },
  },
  {
    name: 'card comes',
    happen(run) {
      for (const stick of run.station.sticks) stick.cardLate = false;
      run.station.plugChanged();
    },
  },
  { name: 'USB fails', happen: (run) => toggle(run, (on) => Object.assign(run.station, { usbFails: on })) },
];

const people: Fault[] = [
  { name: 'switch', happen: (run) => edit(run, (row) => Object.assign(row, { enabled: !row.enabled })) },
  { name: 'restart', happen: (run) => edit(run, (row) => Object.assign(row, { restartToken: `${row.generation}` })) },
  {
    name: 'ignore or take back',
    happen: (run) =>
      edit(run, (row) => {
        const enrollmentStatus = row.enrollmentStatus === 'ignored' ? 'enrolled' : 'ignored';
        Object.assign(row, { enrollmentStatus, decidedBy: 'person', profileSlug: row.profileSlug ?? 'umik-1' });
      }),
  },
  {
    name: 'profile edited',
    happen(run) {
      const profile = run.station.database.state.profiles.find(({ slug }) => slug === 'umik-1');
      if (profile === undefined) return;
      profile.config = profile.config.ok ? { ok: false, message: 'rate: -1 was given' } : UMIK_PROFILE.config;
      for (const row of run.station.database.state.devices) if (row.profileSlug === 'umik-1') row.generation += 1;
      cause(run, '*');
      run.station.nudge();
    },
  },
  {
    name: 'renamed',
    happen(run) {
      // No cause: a nicer name explains no stop.
      const row = run.station.database.state.devices[0];
      if (row !== undefined) row.name = `name ${run.random.between(1, 99)}`;
      run.station.nudge();
    },
  },
];

const database: Fault[] = [
  {
    name: 'database away',
    happen: (run) =>
      toggle(run, (on) => {
        run.station.database.faults.away = on;
        if (!on) run.station.available();
      }),
  },
  {
    name: 'database hangs',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.database.faults, { readDelayMs: on ? 5000 : 2 })),
  },
  {
    name: 'database read-only',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.database.faults, { readOnly: on })),
  },
  {
    name: 'database wiped',
    happen(run) {
      // Edits that nobody had read yet are lost with it: that may explain a start or a stop, a wipe itself does not.
      const seen = run.station.disk.lastGood !== null;
      run.station.database.state = {
        ...emptyDatabase(),
        stationId: run.random.chance(0.3) ? 'ffffffff-0000-4000-8000-000000000000' : null,
      };
      if (!seen || !run.station.database.state.stationId) cause(run, 'wiped');
      run.station.available();
    },
  },
];

const engine: Fault[] = [
  { name: 'engine away', happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { away: on })) },
  {
    name: 'engine slow',
    happen: (run) =>
      toggle(run, (on) =>
        Object.assign(run.station.engine.faults, { listDelayMs: on ? run.random.pick([500, 4000]) : 0 }),
      ),
  },
  {
    name: 'starts fail',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { runFails: on ? 0.5 : 0 })),
  },
  {
    name: 'starts unanswered',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { runUnanswered: on ? 0.5 : 0 })),
  },
  {
    name: 'stops fail',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { removeFails: on ? 0.5 : 0 })),
  },
  {
    name: 'stops unanswered',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { removeUnanswered: on ? 0.5 : 0 })),
  },
  {
    name: 'slow stops',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { slowStop: on ? 0.7 : 0 })),
  },
  {
    name: 'events lost',
    happen: (run) => toggle(run, (on) => Object.assign(run.station.engine.faults, { eventLost: on ? 0.8 : 0 })),
  },
];

const recorders: Fault[] = [
  {
    name: 'killed',
    happen(run) {
      const all = [...run.station.engine.containers.values()];
      if (all.length > 0) run.station.engine.kill(run.random.pick(all), 137);
    },
  },
  {
    name: 'removed by hand',
    happen(run) {
      const all = [...run.station.engine.containers.values()];
      if (all.length > 0) run.station.engine.vanish(run.random.pick(all));
    },
  },
  {
    name: 'stalls',
    happen(run) {
      const all = [...run.station.engine.containers.values()];
      if (all.length > 0) run.random.pick(all).frozenAtMs = run.station.clock.nowMs();
    },
  },
  {
    name: 'behaves',
    happen(run) {
      const { devices } = run.station.database.state;
      if (devices.length === 0) return;
      const { id } = run.random.pick(devices);
      run.station.engine.behaviours.set(id, run.random.pick(['good', 'crashes', 'stalls', 'silent', 'noSpace']));
    },
  },
  {
    name: 'new image',
    happen(run) {
      const id = `sha256:${run.random.between(1, 1e9)}`;
      if (run.random.chance(0.3)) run.station.engine.badImages.add(id);
      run.station.engine.images.set(RECORDER_IMAGE, id);
      // Noticed within a minute, it begins the back-off anew; it explains no stop.
      run.moreStartsUntilMs = run.station.clock.nowMs() + 180_000;
    },
  },
];

/** Back-off is remembered by one controller only: the next one counts starts anew. */
function startAfresh(run: Run): void {
  run.starts.clear();
  run.station.startController();
}

const controller: Fault[] = [
  { name: 'controller killed', happen: (run) => run.station.killController() },
  { name: 'controller started', happen: startAfresh },
  { name: 'controller restarted', happen: startAfresh },
  {
    name: 'clock jumps',
    happen: (run) => run.station.clock.jumpWall(run.random.pick([-3_600_000, 3_600_000, 3.2e10, -3.2e10])),
  },
];

export const FAULTS: readonly Fault[] = [...hardware, ...people, ...database, ...engine, ...recorders, ...controller];
