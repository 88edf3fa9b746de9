/** An empty or foreign database becomes this station's: what the station remembers is put back, what is there stays. */
import { isDeepStrictEqual } from 'node:util';
import { sql } from 'drizzle-orm';
import {
  CONFIG_KEY,
  DEVICE_PHASES,
  devices,
  microphoneProfiles,
  SERVICE_PHASES,
  systemConfig,
  systemServices,
  TEXT_LIMIT,
} from '../shared/schema.ts';
import { DEFAULT_CONFIG } from './store-rows.ts';
import { fitJson, fitText } from './store-text.ts';
import { factColumns, markWorkspace, type Statements } from './store-write.ts';
import type { DesiredState, DeviceRow, ProfileRow, ServiceRow, StationConfig } from './world.ts';

/**
 * Must run in a transaction. The station id becomes that of `state`. Of the configuration, keys that the database has
 * win: somebody wrote them there since. Devices and services of `state` win over rows of the same key, since
 * recorders run by them; rows that `state` does not know stay. Throws when `state` has no station id.
 */
export async function adoptState(statements: Statements, state: DesiredState): Promise<void> {
  if (state.stationId === null) throw new Error('A database cannot be given to a station without an id.');
  await statements
    .insert(systemConfig)
    .values({ key: CONFIG_KEY.stationId, value: state.stationId })
    .onConflictDoUpdate({ target: systemConfig.key, set: { value: sql`excluded.value` } });
  await restoreConfig(statements, state.config);
  const known = await restoreProfiles(statements, state.profiles);
  for (const device of state.devices) await restoreDevice(statements, device, known);
  for (const service of state.services) await restoreService(statements, service);
}

/** Only what differs from the defaults: a key that nobody wrote goes on to have its default. */
async function restoreConfig(statements: Statements, config: StationConfig): Promise<void> {
  const rows = [
    { key: CONFIG_KEY.stationName, value: fitText(config.name, TEXT_LIMIT.name), untouched: DEFAULT_CONFIG.name },
    { key: CONFIG_KEY.position, value: config.position, untouched: DEFAULT_CONFIG.position },
    { key: CONFIG_KEY.autoEnrollment, value: config.autoEnrollment, untouched: DEFAULT_CONFIG.autoEnrollment },
    { key: CONFIG_KEY.autoUpdate, value: config.autoUpdate, untouched: DEFAULT_CONFIG.autoUpdate },
    {
      key: CONFIG_KEY.alerts,
      value: config.alerts,
      untouched: isDeepStrictEqual(config.alerts, DEFAULT_CONFIG.alerts) ? config.alerts : null,
    },
  ]
    .filter(({ value, untouched }) => value !== untouched)
    .map(({ key, value }) => ({ key, value }));
  if (rows.length > 0) await statements.insert(systemConfig).values(rows).onConflictDoNothing();
  // Not a wish but a safeguard: once marked, always marked.
  if (config.workspaceMarked) await markWorkspace(statements);
}

/**
 * Stands for what could not be read before it was lost, and cannot be read either: a recorder that went on meanwhile
 * goes on still, and its device says what a person has to mend. Something readable would replace or stop it.
 */
const UNREADABLE = { profile: {}, settings: { lost: 'These settings could not be read, and were lost.' } } as const;

/**
 * A person's own profiles and edits are put back; a profile of the release that is as it was is not written. Answers
 * with the slugs that devices may point to.
 */
async function restoreProfiles(statements: Statements, profiles: readonly ProfileRow[]): Promise<Set<string>> {
  for (const { slug, name, description, manufacturer, model, isSystem, config } of profiles) {
    const columns = {
      name: fitText(name, TEXT_LIMIT.name),
      description: fitText(description, TEXT_LIMIT.description),
      manufacturer: fitText(manufacturer, TEXT_LIMIT.hardware),
      model: fitText(model, TEXT_LIMIT.hardware),
      config: config.ok ? fitJson(config.value) : UNREADABLE.profile,
      isSystem,
    };
    if (!config.ok) {
      await statements
        .insert(microphoneProfiles)
        .values({ slug, ...columns })
        .onConflictDoNothing();
      continue;
    }
    // The seed's digest stays, and no longer fits: from now on the profile counts as edited, as it was.
    await statements
      .insert(microphoneProfiles)
      .values({ slug, ...columns })
      .onConflictDoUpdate({
        target: microphoneProfiles.slug,
        set: columns,
        setWhere: sql`(${microphoneProfiles.name}, ${microphoneProfiles.description}, ${microphoneProfiles.manufacturer}, ${microphoneProfiles.model}, ${microphoneProfiles.config})
          is distinct from (excluded.name, excluded.description, excluded.manufacturer, excluded.model, excluded.config)`,
      });
  }
  const rows = await statements.execute<{ slug: string }>(sql`select slug from ${microphoneProfiles}`);
  return new Set(rows.map(({ slug }) => slug));
}

async function restoreDevice(statements: Statements, row: DeviceRow, knownProfiles: Set<string>): Promise<void> {
  const { vendorId, productId, portPath, status } = row;
  const columns = {
    ...{ vendorId, productId, portPath, status },
    ...factColumns(row),
    name: fitText(row.name, TEXT_LIMIT.name),
    enabled: row.enabled,
    enrollmentStatus: row.enrollmentStatus,
    decidedBy: row.decidedBy,
    profileSlug: row.profileSlug !== null && knownProfiles.has(row.profileSlug) ? row.profileSlug : null,
    settings: row.settings.ok ? fitJson(row.settings.value) : UNREADABLE.settings,
    restartToken: fitText(row.restartToken, TEXT_LIMIT.restartToken),
    workspace: row.workspace,
    firstSeen: new Date(row.firstSeenAt),
    generation: row.generation,
    observedGeneration: row.observedGeneration,
    phase: DEVICE_PHASES.find((phase) => phase === row.phase) ?? 'waiting',
    reason: fitText(row.reason, TEXT_LIMIT.reason),
    message: fitText(row.message, TEXT_LIMIT.message),
  };
  await statements
    .insert(devices)
    .values({ id: row.id, ...columns })
    .onConflictDoUpdate({ target: devices.id, set: columns });
}

async function restoreService(statements: Statements, row: ServiceRow): Promise<void> {
  const columns = {
    enabled: row.enabled,
    settings: typeof row.settings === 'object' && row.settings !== null ? fitJson(row.settings) : {},
    restartToken: fitText(row.restartToken, TEXT_LIMIT.restartToken),
    generation: row.generation,
    observedGeneration: row.observedGeneration,
    phase: SERVICE_PHASES.find((phase) => phase === row.phase) ?? 'disabled',
    reason: fitText(row.reason, TEXT_LIMIT.reason),
    message: fitText(row.message, TEXT_LIMIT.message),
  };
  await statements
    .insert(systemServices)
    .values({ name: row.name, ...columns })
    .onConflictDoUpdate({ target: systemServices.name, set: columns });
}
