/** Judges what happens after a reboot, and how the station itself fares. Pure. */
import type { DoctorFacts, Finding } from './doctor-facts.ts';
import { asRoot, isRootless, judge, systemctl, wordsOf } from './doctor-words.ts';

const starting = wordsOf('Starting by itself');
const station = wordsOf('Station');

/** What the units of services/station/quadlet come to. */
export const STATION_UNIT = 'silvasonic-controller.service';
export const SOCKET_UNIT = 'podman.socket';
export const RESTART_UNIT = 'podman-restart.service';

export function checkStarting(facts: DoctorFacts): Finding[] {
  if (!facts.machine.systemd && !facts.insideContainer) {
    return [
      starting.warning(
        'systemd',
        'It does not run here, so nothing starts Podman and the station after a reboot, and Podman runs no health checks: have something else run "npm start".',
      ),
    ];
  }
  const rootless = isRootless(facts);
  return [socketUnit(facts), restartUnit(facts), ...(rootless ? [linger(facts)] : [])];
}

export function checkStation(facts: DoctorFacts): Finding[] {
  return [configuration(facts), health(facts), ...database(facts)];
}

const stateOf = (facts: DoctorFacts, name: string) =>
  facts.starting.units.find((unit) => unit.name === name)?.state ?? {
    ok: false as const,
    message: `${name} was not looked at.`,
  };

function socketUnit(facts: DoctorFacts): Finding {
  return judge(starting, SOCKET_UNIT, stateOf(facts, SOCKET_UNIT), (state) =>
    ['enabled', 'enabled-runtime', 'static'].includes(state)
      ? starting.ok(SOCKET_UNIT, 'Podman’s API is there after a reboot.')
      : starting.warning(
          SOCKET_UNIT,
          `It is ${state}: after a reboot the appliance finds no engine. ("npm start" needs none.)`,
          systemctl(facts, 'enable --now podman.socket'),
        ),
  );
}

/** Units of the station start by themselves; compose's containers need this one. */
function restartUnit(facts: DoctorFacts): Finding {
  const own = stateOf(facts, STATION_UNIT);
  if (own.ok && ['generated', 'enabled'].includes(own.value)) {
    return starting.ok(STATION_UNIT, 'The station’s units are installed; systemd starts them.');
  }
  return judge(starting, RESTART_UNIT, stateOf(facts, RESTART_UNIT), (state) =>
    state === 'enabled'
      ? starting.ok(RESTART_UNIT, 'Containers of "podman compose" come back after a reboot.')
      : starting.warning(
          RESTART_UNIT,
          `It is ${state}: after a reboot, containers of "podman compose" may stay down. The units of services/station/quadlet do not need it.`,
          systemctl(facts, 'enable podman-restart.service'),
        ),
  );
}

function linger(facts: DoctorFacts): Finding {
  return judge(starting, 'Linger', facts.starting.linger, (does) =>
    does
      ? starting.ok('Linger', `What ${facts.user.name} runs goes on without a login.`)
      : starting.problem(
          'Linger',
          `What ${facts.user.name} runs ends with the last logout, recorders too, and does not start at boot.`,
          asRoot(facts, `loginctl enable-linger ${facts.user.name}`),
        ),
  );
}

function configuration({ station: { problems, workspacePath } }: DoctorFacts): Finding {
  const title = 'Configuration';
  if (problems.length === 0) return station.ok(title, `No variable is wrong; recordings go to ${workspacePath}.`);
  return station.problem(title, problems.join(' '));
}

function health(facts: DoctorFacts): Finding {
  const title = 'Controller';
  return judge(station, title, facts.station.health, (body) => {
    if (body === null) return station.ok(title, 'None answers here: no station runs, and none is needed for this.');
    const down = body.dependencies.filter(({ state }) => state === 'down');
    if (body.status === 'ok') return station.ok(title, body.message);
    const parts = down.map(({ name, message }) => `${name}: ${message}`).join(' ');
    const text = `It says "${body.status}". ${body.message} ${parts}`.trim();
    return body.status === 'degraded' ? station.warning(title, text) : station.problem(title, text);
  });
}

function database({ station: { database: fact } }: DoctorFacts): Finding[] {
  if (fact === null) return [];
  if (fact.ok) return [station.ok('Database', 'It answers.')];
  return [
    station.problem(
      'Database',
      `${fact.message} Recorders that run go on, and the controller goes by its last good state.`,
    ),
  ];
}
