/** What people do: on the page, and with the database. Their nudges are sometimes lost. */
import type { DeviceRow, ProfileRow } from '../../services/controller/world.ts';
import { UMIK_PROFILE } from '../unit/sample-world.ts';
import type { Fault } from './fault.ts';
import type { Random } from './random.ts';
import { cause, note, type Run, stickOf } from './run.ts';
import { editDevice, editService, HELPER } from './simulated-database.ts';

type Edit = (row: DeviceRow, random: Random, run: Run) => Partial<DeviceRow>;

function applyEdit(run: Run, random: Random, id: string, edit: Edit): void {
  const { database } = run.station;
  const row = database.state.devices.find((one) => one.id === id);
  if (row === undefined) return;
  const change = edit(row, random, run);
  editDevice(database, id, change);
  cause(run, id);
  note(run, () => `  ${id}: ${JSON.stringify(change)}`);
}

function nudge(run: Run, random: Random): void {
  if (random.chance(0.8)) run.station.nudge();
}

const edited = (name: string, edit: Edit): Fault => ({
  name,
  happen(run, random) {
    const { devices } = run.station.database.state;
    if (devices.length === 0) return false;
    applyEdit(run, random, random.pick(devices).id, edit);
    nudge(run, random);
    return true;
  },
});

const switched: Edit = ({ enabled }) => ({ enabled: !enabled });
const restarted: Edit = ({ generation }, random) => ({ restartToken: `${generation}-${random.between(1, 1e6)}` });
const ignored: Edit = ({ enrollmentStatus, profileSlug }) => ({
  enrollmentStatus: enrollmentStatus === 'enrolled' ? 'ignored' : 'enrolled',
  decidedBy: 'person',
  profileSlug: profileSlug ?? 'generic',
});

/** A profile's config changes: the trigger counts for every device that has it. */
function editProfile(run: Run, slug: string, config: ProfileRow['config']): void {
  const { database } = run.station;
  const profiles = database.state.profiles.map((profile) => (profile.slug === slug ? { ...profile, config } : profile));
  const devices = database.state.devices.map((row) =>
    row.profileSlug === slug ? { ...row, generation: row.generation + 1 } : row,
  );
  database.state = { ...database.state, profiles, devices };
  for (const row of devices) if (row.profileSlug === slug) cause(run, row.id);
}

function changeConfig(run: Run, random: Random, change: Record<string, unknown>): boolean {
  const { database } = run.station;
  database.state = { ...database.state, config: { ...database.state.config, ...change } };
  note(run, () => `  ${JSON.stringify(change)}`);
  cause(run, '*');
  nudge(run, random);
  return true;
}

export const peopleFaults: readonly Fault[] = [
  edited('switched on or off', switched),
  edited('told to restart', restarted),
  edited('ignored or taken back', ignored),
  edited('another profile', ({ profileSlug }) => ({
    profileSlug: profileSlug === 'generic' ? 'umik-1' : 'generic',
    decidedBy: 'person',
  })),
  edited('its profile taken away', () => ({ profileSlug: null, decidedBy: 'person' })),
  edited('own settings', (_row, random) => ({
    settings: random.pick<DeviceRow['settings']>([
      { ok: true, value: {} },
      { ok: true, value: { segmentSeconds: 30 } },
      { ok: true, value: { rate: 96_000 } },
      { ok: false, message: 'rate: -1 was given.' },
    ]),
  })),
  {
    name: 'edited in mid-cycle',
    happen(run, random) {
      const { devices } = run.station.database.state;
      if (devices.length === 0) return false;
      const { id } = random.pick(devices);
      const edit = random.pick([switched, restarted, ignored]);
      // Between what the controller reads and what it writes.
      run.station.database.beforeNextWrite = () => {
        applyEdit(run, random, id, edit);
        nudge(run, random);
      };
      return true;
    },
  },
  {
    name: 'a profile edited',
    happen(run, random) {
      const profile = run.station.database.state.profiles.find(({ slug }) => slug === 'umik-1');
      if (profile === undefined) return false;
      const segmentSeconds = random.pick([30, 60, 120]);
      const valid = UMIK_PROFILE.config.ok ? { ...UMIK_PROFILE.config.value, segmentSeconds } : null;
      const breaks = valid === null || (profile.config.ok && random.chance(0.5));
      editProfile(run, 'umik-1', breaks ? { ok: false, message: 'rate: -1 was given' } : { ok: true, value: valid });
      nudge(run, random);
      return true;
    },
  },
  {
    name: 'given a nicer name',
    happen(run, random) {
      // No generation, no cause: it explains no stop.
      const { database } = run.station;
      const [first] = database.state.devices;
      if (first === undefined) return false;
      const name = `name ${random.between(1, 99)}`;
      const devices = database.state.devices.map((row) => (row === first ? { ...row, name } : row));
      database.state = { ...database.state, devices, config: { ...database.state.config, name } };
      nudge(run, random);
      return true;
    },
  },
  {
    name: 'forgotten',
    happen(run, random) {
      const { database } = run.station;
      const gone = database.state.devices.filter((row) => row.status === 'offline' && stickOf(run, row) === undefined);
      if (gone.length === 0) return false;
      const { id } = random.pick(gone);
      database.state = { ...database.state, devices: database.state.devices.filter((row) => row.id !== id) };
      cause(run, id);
      note(run, () => `  ${id}`);
      nudge(run, random);
      return true;
    },
  },
  {
    name: 'automatic enrolment on or off',
    happen: (run, random) =>
      changeConfig(run, random, { autoEnrollment: !run.station.database.state.config.autoEnrollment }),
  },
  {
    name: 'automatic updates on or off',
    happen: (run, random) => changeConfig(run, random, { autoUpdate: !run.station.database.state.config.autoUpdate }),
  },
  {
    name: 'a service switched or restarted',
    happen(run, random) {
      const { database } = run.station;
      const service = database.state.services.find(({ name }) => name === HELPER.name);
      if (service === undefined) return false;
      const restartToken = `${service.generation}`;
      editService(database, HELPER.name, random.chance(0.6) ? { enabled: !service.enabled } : { restartToken });
      cause(run, HELPER.name);
      nudge(run, random);
      return true;
    },
  },
];
