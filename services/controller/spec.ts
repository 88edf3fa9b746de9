/**
 * What should run: from rows, what is present and the operator's settings to one wish per subject, with the complete
 * container and its two hashes. Pure.
 */

import type { CatalogueEntry } from '../shared/catalogue.ts';
import { isWorkspaceName, type Processing, type RecorderConfig, workspaceDigest } from '../shared/contract.ts';
import { type Negotiation, negotiate } from '../shared/negotiate.ts';
import type { ProfileConfig } from '../shared/profile.ts';
import { type Operator, recorderContainer } from './container-spec.ts';
import { isSameButForStatus } from './device-row.ts';
import { toldMicrophones } from './service-spec.ts';
import { areSame, rememberedServiceWish } from './service-wish.ts';
import type {
  DesiredState,
  DeviceRow,
  Explanation,
  ImageIds,
  Microphone,
  Phase,
  ProfileRow,
  Reading,
  SecretVersions,
  SubjectKey,
  Wish,
} from './world.ts';

export interface SpecInput {
  operator: Operator;
  desired: DesiredState;
  /** As `inventory` left them. */
  rows: readonly DeviceRow[];
  present: ReadonlyMap<string, Microphone>;
  /** Present, but the last look at USB missed them. */
  missing: ReadonlySet<string>;
  /** Neither there nor known to be gone. */
  unknown: ReadonlySet<string>;
  flapping: ReadonlyMap<string, { count: number; untilMs: number }>;
  /** The image a recorder is to be made of; `id` null: not there. */
  recorderImage: { reference: string; id: string | null };
  catalogue: readonly CatalogueEntry[];
  /** Slug → `captureHash` of the profile as this release ships it. */
  seedHashes: ReadonlyMap<string, string>;
  /** Ids behind the images of the catalogue, by reference; null or absent: not there. */
  images: ImageIds;
  /** Of services that should run and need some, by name. */
  secrets: ReadonlyMap<string, Reading<SecretVersions>>;
  /** Device id → which program holds its microphone, where that was looked up. */
  holders: ReadonlyMap<string, string>;
  /** Why nothing can be written (disk not mounted); null: all is well. */
  workspaceProblem: Explanation | null;
}

/** Free space that recorders leave, so that database and system stay alive on a full disk. */
const RESERVE_BYTES = 512 * 1024 * 1024;
const MISSED: Explanation = {
  reason: 'MicrophoneMissed',
  message: 'The last look at USB did not find it: nothing is started before it is there again.',
};

export const recorderSubject = (deviceId: string): SubjectKey => `recorder:${deviceId}`;

/** One wish for every device and every service, in a fixed order. */
export function wishes(input: SpecInput): Wish[] {
  const profiles = new Map(input.desired.profiles.map((profile) => [profile.slug, profile]));
  const audio: Audio = new Map();
  const devices = [...input.rows]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((row) => rememberedWish(row, profiles, input, audio));
  const told = toldMicrophones(input.rows, audio, input.desired.config, input.operator.pageUrl);
  return [...devices, ...input.desired.services.map((row) => rememberedServiceWish(row, input, told))];
}

/** Device id → what was settled with the hardware. */
type Audio = Map<string, Heard>;
type Heard = { rate: number; channels: number };

/** What was last wished of a row, and what from: nothing is worked out again while all of that is the very same. */
interface LastWish {
  row: DeviceRow;
  from: readonly unknown[];
  wish: Wish;
  heard: Heard | undefined;
}

/** By station and device id. */
const lastWished = new WeakMap<Operator, Map<string, LastWish>>();

function rememberedWish(
  row: DeviceRow,
  profiles: ReadonlyMap<string, ProfileRow>,
  input: SpecInput,
  audio: Audio,
): Wish {
  const { operator, seedHashes, recorderImage, desired, workspaceProblem } = input;
  const from = [
    row.profileSlug === null ? null : profiles.get(row.profileSlug),
    input.present.get(row.id),
    input.unknown.has(row.id),
    input.missing.has(row.id),
    input.flapping.get(row.id)?.untilMs,
    input.holders.get(row.id),
    ...[recorderImage.reference, recorderImage.id, operator, seedHashes, desired.config, workspaceProblem],
  ];
  const known = lastWished.get(operator) ?? new Map<string, LastWish>();
  lastWished.set(operator, known);
  const before = known.get(row.id);
  if (before === undefined || !isSameButForStatus(before.row, row) || !areSame(before.from, from)) {
    const wish = deviceWish(row, profiles, input, audio);
    known.set(row.id, { row, from, wish, heard: audio.get(row.id) });
    return wish;
  }
  if (before.heard !== undefined) audio.set(row.id, before.heard);
  if (before.row === row) return before.wish;
  const wish = { ...before.wish, told: row };
  known.set(row.id, { ...before, row, wish });
  return wish;
}

function deviceWish(row: DeviceRow, profiles: ReadonlyMap<string, ProfileRow>, input: SpecInput, audio: Audio): Wish {
  const base = {
    subject: recorderSubject(row.id),
    target: { kind: 'device' as const, id: row.id },
    generation: row.generation,
    told: row,
  };
  const off = (phase: Phase, reason: string, message: string): Wish => ({
    ...base,
    kind: 'off',
    phase,
    reason,
    message,
  });
  const hold = (phase: Phase, why: Explanation, untilMs: number | null = null): Wish => ({
    ...base,
    kind: 'hold',
    phase,
    reason: why.reason,
    message: why.message,
    untilMs,
  });

  if (row.enrollmentStatus === 'ignored') return off('ignored', 'Ignored', 'You chose to ignore this device.');
  const microphone = input.present.get(row.id);
  if (microphone === undefined && input.unknown.has(row.id)) {
    if (!row.enabled) return off('disabled', 'SwitchedOff', 'Switched off.');
    return hold('waiting', {
      reason: 'UsbUnknown',
      message: 'USB has not been read for long enough yet; what runs goes on.',
    });
  }
  if (microphone === undefined) return off('offline', 'NotPlugged', 'Not plugged in.');
  if (row.enrollmentStatus === 'pending') return pendingWish(row, microphone, off);
  if (!row.enabled) return off('disabled', 'SwitchedOff', 'Switched off.');
  if (row.profileSlug === null) return off('pending', 'NoProfile', 'Choose a profile for this microphone.');

  const obstacle = findObstacle(row, microphone, input);
  if (obstacle !== null) return hold(obstacle.phase, obstacle);
  const flap = input.flapping.get(row.id);
  if (flap !== undefined) return hold('backoff', flappingPlug(), flap.untilMs);
  const prepared = prepare(row, microphone, profiles.get(row.profileSlug), input);
  if (!prepared.ok) return hold('blocked', prepared);
  audio.set(row.id, prepared.config);
  return {
    ...base,
    kind: 'run',
    ...recorderContainer(row, microphone, prepared.profile, prepared.config, input),
    imageId: input.recorderImage.id,
    folders: { kind: 'recorder', workspace: row.workspace },
    processing: processingOf(prepared.config),
    holder: input.holders.get(row.id) ?? null,
    notNow: input.missing.has(row.id) ? MISSED : null,
    reason: prepared.warnings[0]?.reason ?? '',
    message: prepared.warnings.map((warning) => warning.message).join(' '),
  };
}

function pendingWish(
  row: DeviceRow,
  microphone: Microphone,
  off: (phase: Phase, reason: string, message: string) => Wish,
): Wish {
  if (microphone.obstacle !== null) return off('pending', microphone.obstacle.reason, microphone.obstacle.message);
  const suggestion =
    row.suggestedProfile === null ? 'no profile matches' : `suggested profile: ${row.suggestedProfile}`;
  return off('pending', 'DecisionNeeded', `New: choose a profile or ignore it (${suggestion}).`);
}

function flappingPlug(): Explanation {
  return {
    reason: 'FlappingPlug',
    message: 'The plug comes and goes: check cable, hub and power supply. Recording resumes once it stays connected.',
  };
}

function findObstacle(
  row: DeviceRow,
  microphone: Microphone,
  input: SpecInput,
): (Explanation & { phase: Phase }) | null {
  if (microphone.sound === null) {
    const why = microphone.obstacle ?? {
      reason: 'WaitingForSound',
      message: 'Waiting for the sound system.',
      lasting: false,
    };
    return { phase: why.lasting ? 'blocked' : 'waiting', reason: why.reason, message: why.message };
  }
  if (input.workspaceProblem !== null) return { phase: 'blocked', ...input.workspaceProblem };
  if (!isWorkspaceName(row.workspace) || !row.workspace.endsWith(`-${workspaceDigest(row.id)}`)) {
    return {
      phase: 'blocked',
      reason: 'WorkspaceNameWrong',
      message: `The folder name in the database, ${JSON.stringify(row.workspace.slice(0, 60))}, is not the one that belongs to this device; it must end in -${workspaceDigest(row.id)}. Restore the database from a backup, or forget this device.`,
    };
  }
  return null;
}

function processingOf({ processed, archive }: RecorderConfig): Processing {
  return { ...processed, archive };
}

type Prepared =
  | { ok: true; profile: ProfileRow; config: RecorderConfig; warnings: Explanation[] }
  | ({ ok: false } & Explanation);

/** Settles profile, person and hardware. What cannot be settled blocks this one device and says why. */
function prepare(row: DeviceRow, microphone: Microphone, profile: ProfileRow | undefined, input: SpecInput): Prepared {
  if (profile === undefined) {
    return {
      ok: false,
      reason: 'ProfileMissing',
      message: `There is no profile ${JSON.stringify(row.profileSlug)}: choose another one.`,
    };
  }
  if (!profile.config.ok) {
    return {
      ok: false,
      reason: 'ProfileInvalid',
      message: `Profile ${profile.slug} cannot be used: ${profile.config.message}`,
    };
  }
  if (!row.settings.ok) {
    return {
      ok: false,
      reason: 'SettingsInvalid',
      message: `This microphone's own settings cannot be used: ${row.settings.message}`,
    };
  }
  // What could not be read this time may have been read when the device was first seen.
  const offered = microphone.sound?.capabilities ?? row.capabilities;
  const capabilities = offered.offers.length > 0 ? offered : row.capabilities;
  const negotiated = negotiate(profile.config.value, capabilities, row.settings.value);
  if (!negotiated.ok) return negotiated;
  return {
    ok: true,
    profile,
    config: recorderConfig(row, profile, profile.config.value, negotiated, input),
    warnings: negotiated.warnings,
  };
}

function recorderConfig(
  row: DeviceRow,
  profile: ProfileRow,
  config: ProfileConfig,
  negotiated: Extract<Negotiation, { ok: true }>,
  input: SpecInput,
): RecorderConfig {
  return {
    ...negotiated.audio,
    segmentSeconds: negotiated.segmentSeconds,
    processed: negotiated.processed,
    archive: negotiated.archive,
    watch: config.watch,
    microphone: {
      deviceId: row.id,
      workspace: row.workspace,
      name: row.name.slice(0, 200),
      manufacturer: (profile.manufacturer || row.manufacturer).slice(0, 200),
      model: (profile.model || row.product).slice(0, 200),
      serial: (row.serial ?? '').slice(0, 200),
    },
    station: {
      id: input.operator.stationId,
      name: input.desired.config.name.slice(0, 200),
      position: input.desired.config.position,
    },
    reserveBytes: RESERVE_BYTES,
  };
}
