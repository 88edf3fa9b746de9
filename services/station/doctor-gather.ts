/** Gathers all that the doctor knows, everything with a deadline, without changing anything and without a station. */
import { homedir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { type ControllerConfig, readConfig } from '../controller/config.ts';
import { LAST_GOOD_MAX_BYTES, parseLastGood } from '../controller/last-good.ts';
import { createMicrophoneSource } from '../controller/microphones.ts';
import { describeFailure } from '../controller/store-failure.ts';
import type { Microphone } from '../controller/world.ts';
import { type Clock, createClock } from '../shared/clock.ts';
import { readPostgresPassword } from '../shared/connections.ts';
import { WORKSPACE_MARKER_FILE } from '../shared/contract.ts';
import { readHostileFile } from '../shared/hostile-file.ts';
import { openSession, type Session, withDeadline } from '../shared/postgres-session.ts';
import type { DoctorFacts, Fact, StationHealth } from './doctor-facts.ts';
import { gatherEngine } from './doctor-gather-engine.ts';
import {
  gatherCards,
  gatherClock,
  gatherLimits,
  gatherMachine,
  gatherNodes,
  gatherPower,
  gatherSelinux,
  gatherStarting,
  gatherUsb,
  lookAtDisk,
} from './doctor-gather-host.ts';
import { andThen, askJson, attempt, attemptWithin, failed, type Look, messageOf } from './doctor-look.ts';

export interface GatherOptions {
  look: Look;
  insideContainer: boolean;
}

const MICROPHONES_DEADLINE_MS = 6000;
const FILE_DEADLINE_MS = 5000;
const DATABASE_DEADLINE_MS = 5000;
const LOOK_AGAIN_MS = 20;
const MARKER_MAX_BYTES = 256;

export async function gather({ look, insideContainer }: GatherOptions): Promise<DoctorFacts> {
  const uid = process.getuid?.() ?? 0;
  const userName = nameOf(uid);
  const { config, problems } = readSettings(look, insideContainer, uid);
  const machine = gatherMachine(look);
  const { raspberryPi } = machine;
  const who = { insideContainer, uid, userName };
  const { CONTAINER_SOCKET, SILVASONIC_PODMAN_SOCKET } = look.environment;
  const isNamed = insideContainer || Boolean(CONTAINER_SOCKET || SILVASONIC_PODMAN_SOCKET);
  const engine = await gatherEngine(look, { ...who, configured: isNamed ? config.socketPath : null });
  const storage = engine.info?.ok && !insideContainer ? engine.info.value.storageFolder : null;
  const [limits, clock, power, starting, disk, sound, health, database] = await Promise.all([
    gatherLimits(look, { uid, raspberryPi }),
    gatherClock(look, insideContainer),
    gatherPower(look, raspberryPi),
    gatherStarting(look, who),
    gatherDisk(look, config, storage),
    gatherSound(look, insideContainer),
    askHealth(config),
    askDatabase(look, config, insideContainer),
  ]);
  return {
    ...{ insideContainer, machine, engine, limits, clock, power, starting, disk, sound },
    user: { name: userName, uid, groups: process.getgroups?.() ?? [] },
    selinux: gatherSelinux(look),
    station: {
      workspacePath: config.workspacePath,
      runPath: insideContainer ? config.runPath : config.hostRunPath,
      network: config.network,
      recorderImage: config.recorderImage,
      ...{ problems, health, database },
    },
  };
}

/** The number itself for a user whom this system does not list, as in a container. */
function nameOf(uid: number): string {
  const info = attempt(() => userInfo().username);
  return info.ok ? info.value : String(uid);
}

/** What the environment says; where it is wrong, that is told, and the defaults count. */
function readSettings(look: Look, insideContainer: boolean, uid: number) {
  const given = { ...look.environment };
  // Where `npm start` puts what belongs to who is not root.
  if (!insideContainer && uid !== 0) {
    const data = given.XDG_DATA_HOME || join(homedir(), '.local', 'share');
    given.SILVASONIC_WORKSPACE_PATH ||= join(data, 'silvasonic');
    if (given.XDG_RUNTIME_DIR) given.SILVASONIC_RUN_PATH ||= join(given.XDG_RUNTIME_DIR, 'silvasonic');
  }
  const read = readConfig(given, { insideContainer });
  if (read.ok) {
    // In a container, what recorders say of themselves lies beside the socket (compose.yml).
    const runPath = insideContainer ? join(dirname(read.value.socketPath), 'silvasonic') : read.value.runPath;
    return { config: { ...read.value, runPath }, problems: [] };
  }
  const fallback = readConfig({}, { insideContainer });
  if (!fallback.ok) throw new Error(`The defaults are refused: ${fallback.problems.join(' ')}`);
  return { config: fallback.value, problems: read.problems };
}

async function gatherDisk(look: Look, config: ControllerConfig, storage: string | null): Promise<DoctorFacts['disk']> {
  const [recordings, run, images, marker, marked] = await Promise.all([
    lookAtDisk(look, config.recorderWorkspace),
    lookAtDisk(look, config.runPath),
    storage === null ? null : lookAtDisk(look, storage),
    readFileOf(`${look.root}${config.recorderWorkspace}`, WORKSPACE_MARKER_FILE, MARKER_MAX_BYTES),
    readFileOf(`${look.root}${config.controllerWorkspace}`, 'last-good.json', LAST_GOOD_MAX_BYTES),
  ]);
  return {
    ...{ recordings, run, storage: images },
    marker: andThen(marker, (text) => text !== null),
    marked: andThen(marked, (text) => {
      if (text === null) return { ok: true, value: null };
      const state = parseLastGood(text);
      return state.ok
        ? { ok: true, value: state.value.config.workspaceMarked }
        : failed(`last-good.json: ${state.message}`);
    }),
  };
}

/** null: it is not there. */
async function readFileOf(root: string, file: string, maxBytes: number): Promise<Fact<string | null>> {
  const read = await attemptWithin(FILE_DEADLINE_MS, () => readHostileFile({ root, name: file }, maxBytes));
  return andThen(read, (found): Fact<string | null> => {
    switch (found.kind) {
      case 'text':
        return { ok: true, value: found.text };
      case 'missing':
        return { ok: true, value: null };
      case 'unusable':
        return failed(`${root}/${file}: ${found.why}`);
      default:
        return found satisfies never;
    }
  });
}

async function gatherSound(look: Look, insideContainer: boolean): Promise<DoctorFacts['sound']> {
  const clock = createClock();
  const silent = { info: () => {}, warn: () => {}, error: () => {} };
  const roots = { sysRoot: `${look.root}/sys`, procRoot: `${look.root}/proc` };
  const source = createMicrophoneSource({ pollMs: LOOK_AGAIN_MS, clock, log: silent, ...roots });
  source.start(() => {});
  try {
    const microphones = await firstReading(clock, () => source.read());
    const present = microphones.ok ? microphones.value : [];
    return {
      microphones,
      holders: present.flatMap(({ sound }) => {
        const holder = sound === null ? null : source.holder(sound);
        return sound === null || holder === null ? [] : [{ hw: sound.hw, holder }];
      }),
      usb: gatherUsb(look),
      cards: gatherCards(look),
      nodes: gatherNodes(look, insideContainer),
    };
  } finally {
    source.stop();
  }
}

/** USB counts as read once two scans agree. */
async function firstReading(
  clock: Clock,
  read: () => { ok: true; value: Microphone[] } | { ok: false; error: string },
): Promise<Fact<Microphone[]>> {
  const deadlineMs = clock.nowMs() + MICROPHONES_DEADLINE_MS;
  for (;;) {
    const reading = read();
    if (reading.ok) return { ok: true, value: reading.value };
    if (clock.nowMs() > deadlineMs) return failed(reading.error);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

const healthSchema = z.object({
  status: z.string(),
  message: z.string(),
  dependencies: z.array(z.object({ name: z.string(), state: z.string(), message: z.string() })),
});

async function askHealth({ healthHost, healthPort }: ControllerConfig): Promise<Fact<StationHealth | null>> {
  const host = healthHost === '0.0.0.0' || healthHost === '::' ? '127.0.0.1' : healthHost;
  try {
    return { ok: true, value: await askJson({ host, port: healthPort }, '/healthy', healthSchema) };
  } catch (error) {
    const isNobody = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
    if (isNobody) return { ok: true, value: null };
    return failed(`What listens on port ${healthPort} gives no answer of a controller: ${messageOf(error)}.`);
  }
}

/** null: this environment names none. In the controller's container one is always meant. */
async function askDatabase(
  { environment }: Look,
  { postgres }: ControllerConfig,
  insideContainer: boolean,
): Promise<Fact<null> | null> {
  const names = ['POSTGRES_HOST', 'POSTGRES_PASSWORD', 'POSTGRES_PASSWORD_FILE'];
  if (!insideContainer && !names.some((name) => environment[name])) return null;
  const { host, port, user, database } = postgres;
  const connection = { host, port, user, database, password: () => readPostgresPassword(postgres) };
  const clock = createClock();
  const options = { applicationName: 'silvasonic-doctor', connections: 1, role: null, statementTimeoutMs: 5000 };
  let session: Session | null = null;
  try {
    session = await openSession(connection, options);
    await withDeadline(clock, DATABASE_DEADLINE_MS, session.client`select 1`);
    return { ok: true, value: null };
  } catch (error) {
    return failed(describeFailure(error, connection));
  } finally {
    session?.destroy();
  }
}
