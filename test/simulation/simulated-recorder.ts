/** What a recorder does once it runs: well or badly, and what it tells of that in its status file. */
import type { ContainerSpec, ObservedContainer } from '../../services/controller/world.ts';
import { RECORDER_EXIT, type RecorderStatus } from '../../services/shared/contract.ts';

/** What a recorder does once it runs. */
export type Behaviour = keyof typeof ENDINGS;

/** Exit code of those that end by themselves, soon after their start; null: they go on. */
const ENDINGS = {
  good: null,
  silent: null,
  noSpace: null,
  retries: null,
  stalls: null,
  neverAdvances: null,
  writesNoStatus: null,
  crashes: 1,
  ends: RECORDER_EXIT.askedToStop,
  busy: RECORDER_EXIT.microphoneBusy,
  noPermission: RECORDER_EXIT.noPermission,
  formatRefused: RECORDER_EXIT.formatRefused,
  folderUnwritable: RECORDER_EXIT.folderUnwritable,
  badConfig: RECORDER_EXIT.badConfig,
  outOfMemory: 137,
} as const;

export const BEHAVIOURS = Object.keys(ENDINGS) as Behaviour[];

/** Nobody would agree with a stop of such a one. */
const WELL: readonly Behaviour[] = ['good', 'silent', 'noSpace', 'retries'];
export const isWell = (behaviour: Behaviour): boolean => WELL.includes(behaviour);

export const endingOf = (behaviour: Behaviour): number | null => ENDINGS[behaviour];

export interface SimulatedContainer {
  id: string;
  spec: ContainerSpec;
  deviceId: string;
  workspace: string;
  imageId: string;
  state: ObservedContainer['state'];
  exitCode: number | null;
  oomKilled: boolean;
  startedAtMs: number;
  behaviour: Behaviour;
  /** Frames stand still from here on; null: they advance. */
  frozenAtMs: number | null;
  /** Milliseconds that it takes to end after SIGTERM. */
  stopDelayMs: number;
}

/** Its program runs, whatever the engine says that it is at. */
export const isRunning = ({ state }: SimulatedContainer): boolean => state === 'live' || state === 'moving';

const FRAMES_PER_MS = 48;
const FIRST_SOUND_MS = 200;

/** The status file as it is now; null: there is none. Written once a second. */
export function statusOf(container: SimulatedContainer, nowMs: number): RecorderStatus | null {
  const { behaviour, frozenAtMs } = container;
  if (behaviour === 'writesNoStatus') return null;
  const frozen = frozenAtMs !== null && nowMs >= frozenAtMs;
  const untilMs = frozen ? frozenAtMs : nowMs;
  const waits = behaviour === 'noSpace' || behaviour === 'retries';
  const advances = !waits && behaviour !== 'neverAdvances';
  // The first sound is told at once, then once a second.
  const livedMs = untilMs - container.startedAtMs;
  const seconds = livedMs >= 1000 ? Math.floor(livedMs / 1000) : livedMs >= FIRST_SOUND_MS ? FIRST_SOUND_MS / 1000 : 0;
  return {
    schema: 1,
    run: container.id,
    state: behaviour === 'noSpace' ? 'no_space' : behaviour === 'retries' ? 'retrying' : 'recording',
    reason: behaviour === 'noSpace' ? 'NoSpace' : behaviour === 'retries' ? 'DeviceBusy' : 'Recording',
    message: waits ? 'It waits.' : 'Recording.',
    frames: advances ? seconds * 1000 * FRAMES_PER_MS : 0,
    rate: 48_000,
    channels: 1,
    format: 'S16_LE',
    levels: [],
    silent: behaviour === 'silent',
    overruns: 0,
    lostFrames: 0,
    lastSegment: null,
    at: container.startedAtMs + seconds * 1000,
  };
}
