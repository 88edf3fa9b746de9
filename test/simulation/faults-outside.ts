/** Database, engine and disk: away, slow, full, wiped, replaced by an older one. */
import type { DesiredState } from '../../services/controller/world.ts';
import { type Fault, lasting } from './fault.ts';
import { cause, note, type Run, seenAgain } from './run.ts';
import { freshState, QUIET_DATABASE } from './simulated-database.ts';
import { type EngineFaults, quietFaults } from './simulated-engine.ts';
import { type DiskFaults, QUIET_DISK } from './simulated-station.ts';

const databaseFault = (name: string, faults: Partial<typeof QUIET_DATABASE>): Fault =>
  lasting(
    name,
    (run) => void Object.assign(run.station.database.faults, faults),
    (run) => {
      for (const key of Object.keys(faults) as (keyof typeof QUIET_DATABASE)[])
        Object.assign(run.station.database.faults, { [key]: QUIET_DATABASE[key] });
      seenAgain(run);
      run.station.available();
    },
  );

const engineFault = (name: string, faults: Partial<EngineFaults>): Fault =>
  lasting(
    name,
    (run) => void Object.assign(run.station.engine.faults, faults),
    (run) => {
      for (const key of Object.keys(faults) as (keyof EngineFaults)[])
        Object.assign(run.station.engine.faults, { [key]: quietFaults[key] });
      seenAgain(run);
    },
  );

const diskFault = (name: string, fault: keyof DiskFaults): Fault =>
  lasting(
    name,
    (run) => void Object.assign(run.station.disk.faults, { [fault]: true }),
    (run) => void Object.assign(run.station.disk.faults, { [fault]: QUIET_DISK[fault] }),
  );

/** Another database stands there. What nobody had read of the old one is lost, which may explain a start or a stop. */
function replaceDatabase(run: Run, state: DesiredState): void {
  const { database, disk } = run.station;
  const lost = disk.lastGood === null || disk.faults.lastGoodUnwritable;
  database.state = state;
  note(
    run,
    () => `  station ${state.stationId}, ${state.devices.length} devices${lost ? ', the old one is lost' : ''}`,
  );
  cause(run, '*');
  forgive(run);
  run.station.available();
}

/** Edits that were not read before, or are not known to the older one, are as good as made now. */
function forgive(run: Run): void {
  const { database, disk } = run.station;
  const known = database.state.stationId === disk.marker ? database.state : disk.lastGood;
  for (const [id, made] of run.made) {
    const container = run.station.engine.containers.get(id);
    const row = known?.devices.find((one) => one.id === container?.deviceId);
    const same =
      row?.enabled &&
      row.enrollmentStatus === 'enrolled' &&
      row.restartToken === made.restartToken &&
      row.profileSlug === made.profileSlug &&
      row.settings === made.settings;
    if (!same) made.explainedAtMs = run.calmMs;
  }
}

const notMounted = diskFault('disk not mounted', 'markerHidden');

/** What somebody might restore one day. */
const backups = new WeakMap<Run, DesiredState>();

export const outsideFaults: readonly Fault[] = [
  databaseFault('database away', { away: true }),
  databaseFault('database hangs', { delayMs: 5000 }),
  databaseFault('database slow', { delayMs: 1500 }),
  databaseFault('database read-only', { readOnly: true }),
  databaseFault('database writes and does not say so', { writeUnanswered: 0.5 }),
  {
    name: 'database wiped',
    happen(run) {
      // Nothing remembered, no database and no disk: that is the first start of another station.
      const { lastGood, marker, faults } = run.station.disk;
      if (lastGood === null && marker !== null && faults.markerHidden) return false;
      replaceDatabase(run, freshState());
      return true;
    },
  },
  {
    name: 'database of another station',
    happen(run) {
      // Before anything is remembered, nobody can say whose it is: the marker on the disk stops it, and a person decides.
      if (run.station.disk.lastGood === null) return false;
      replaceDatabase(run, { ...freshState(), stationId: 'ffffffff-0000-4000-8000-000000000000' });
      return true;
    },
  },
  {
    name: 'database restored from a backup',
    happen(run) {
      const backup = backups.get(run);
      const { state } = run.station.database;
      if (state.stationId !== null && state.stationId === run.station.disk.marker) backups.set(run, state);
      if (backup === undefined || backup.stationId !== run.station.disk.marker) return false;
      replaceDatabase(run, backup);
      return true;
    },
  },
  lasting(
    'Redis away',
    ({ station }) => station.setRedisAway(true),
    ({ station }) => station.setRedisAway(false),
  ),
  engineFault('engine away', { away: true }),
  engineFault('engine hangs', { listDelayMs: 6000, runUnanswered: 1, removeUnanswered: 1 }),
  engineFault('lists are slow and stale', { listDelayMs: 700 }),
  engineFault('lists come late', { listDelayMs: 4000 }),
  engineFault('starts fail', { runFails: 0.5 }),
  engineFault('starts unanswered', { runUnanswered: 0.5 }),
  engineFault('stops fail', { removeFails: 0.5 }),
  engineFault('stops unanswered', { removeUnanswered: 0.5 }),
  engineFault('slow stops', { slowStop: 0.7 }),
  engineFault('events lost', { eventLost: 0.8 }),
  {
    name: 'old events again',
    happen(run, random) {
      const { engine } = run.station;
      const specs = [...engine.containers.values()].map(({ spec }) => spec);
      for (let time = 0; time < 5; time += 1) {
        const { labels, name } = random.pick(specs);
        engine.announce({ labels, name: random.chance(0.2) ? 'long-gone' : name });
      }
      return true;
    },
  },
  {
    name: 'disk not mounted',
    happen: (run, random) => run.station.disk.lastGood !== null && notMounted.happen(run, random),
  },
  diskFault('disk cannot be read', 'markerUnreadable'),
  diskFault('last good state cannot be written', 'lastGoodUnwritable'),
  diskFault('folders cannot be written', 'foldersUnwritable'),
  diskFault('status files cannot be read', 'statusUnreadable'),
];
