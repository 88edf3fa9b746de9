/**
 * The adapters on the real world, made as the configuration says. The only place that makes them: `main` and the
 * one-command station start from here.
 */
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import type { CatalogueEntry } from '../shared/catalogue.ts';
import { createClock } from '../shared/clock.ts';
import { PAGE_USER, readPasswordFile, readPostgresPassword } from '../shared/connections.ts';
import { captureHash, type SeedProfile } from '../shared/profile.ts';
import { loadCatalogue, loadSeedProfiles } from '../shared/seeds.ts';
import { postAlert } from './alert-post.ts';
import { createAlerts } from './alerts.ts';
import { createInProcessBus, createRedisBus } from './bus.ts';
import type { ControllerConfig } from './config.ts';
import type { ControllerPorts, ControllerSettings } from './controller.ts';
import { readHostLoad } from './host-load.ts';
import type { Log } from './log.ts';
import { createMicrophoneSource } from './microphones.ts';
import { createPodman } from './podman.ts';
import { createStore, type PageLogin } from './store.ts';
import { createWorkspaces } from './workspaces.ts';

/** Advancing for this long is good running. */
const GOOD_AFTER_MS = 60_000;

/** What comes with a release in `profiles/`. */
export interface Seeds {
  profiles: SeedProfile[];
  catalogue: CatalogueEntry[];
}

/** Reads `profiles/`; what cannot be used is logged, and the rest is used. */
export function loadSeeds(config: ControllerConfig, log: Log): Seeds {
  const profiles = loadSeedProfiles(join(config.profilesFolder, 'microphones'));
  const catalogue = loadCatalogue(join(config.profilesFolder, 'services'));
  for (const problem of profiles.problems) log.warn({ problem }, 'A seed profile is left out.');
  for (const problem of catalogue.problems) log.warn({ problem }, 'A service of the catalogue is left out.');
  return { profiles: profiles.profiles, catalogue: catalogue.entries };
}

/** The adapters on the real world, as the configuration says. */
export function createPorts(config: ControllerConfig, seeds: Seeds, log: Log): ControllerPorts {
  const clock = createClock();
  return {
    clock,
    log,
    microphones: createMicrophoneSource({ pollMs: config.usbPollMs, clock, log }),
    store: createStore({
      connection: {
        host: config.postgres.host,
        port: config.postgres.port,
        user: config.postgres.user,
        password: () => readPostgresPassword(config.postgres),
        database: config.postgres.database,
      },
      migrationsFolder: config.migrationsFolder,
      seedProfiles: seeds.profiles,
      seedServices: seeds.catalogue.map(({ name, enabled }) => ({ name, enabled, settings: {} })),
      pageLogin: pageLogin(config),
      clock,
      log,
    }),
    engine: createPodman({ socketPath: config.socketPath, log, clock }),
    bus:
      config.redisUrl === null
        ? createInProcessBus()
        : createRedisBus({
            url: config.redisUrl,
            passwordFile: config.redisPasswordFile,
            log,
            clock,
            instance: 'controller',
          }),
    workspaces: createWorkspaces({
      recorderWorkspace: config.recorderWorkspace,
      controllerWorkspace: config.controllerWorkspace,
      runPath: config.runPath,
      servicesFolder: config.servicesFolder,
      secretsFolder: config.secretsFolder,
      log,
      clock,
    }),
    alerts: createAlerts({
      clock,
      log,
      controllerWorkspace: config.controllerWorkspace,
      runPath: config.runPath,
      post: postAlert,
    }),
  };
}

function pageLogin({ pagePasswordFile }: ControllerConfig): PageLogin | null {
  if (pagePasswordFile === null) return null;
  return { user: PAGE_USER, password: () => readPasswordFile('SILVASONIC_PAGE_PASSWORD_FILE', pagePasswordFile) };
}

/** The configuration in the controller's own terms. */
export function controllerSettings(config: ControllerConfig, seeds: Seeds, onCycle: () => void): ControllerSettings {
  return {
    operator: {
      recorderImage: config.recorderImage,
      hostRecorderWorkspace: config.hostRecorderWorkspace,
      hostRunPath: config.hostRunPath,
      recorderMemoryBytes: config.recorderMemoryBytes,
      recorderCpus: config.recorderCpus,
      network: config.network,
      hostServicesFolder: config.hostServicesFolder,
      hostSecretsFolder: config.hostSecretsFolder,
      // Podman gives this name of the host to every container.
      pageUrl: `http://host.containers.internal:${config.webPort}`,
      takenPorts: [config.healthPort, config.webPort],
    },
    catalogue: seeds.catalogue,
    seedHashes: new Map(seeds.profiles.map(({ slug, config }) => [slug, captureHash(config)])),
    virtualMicrophones: config.virtualMicrophones,
    graceMs: config.offlineGraceMs,
    stallTimeoutMs: config.stallTimeoutMs,
    goodAfterMs: GOOD_AFTER_MS,
    version: packageJson.version,
    recorderImage: config.recorderImage,
    hostLoad: () => readHostLoad(config.recorderWorkspace),
    tickMs: config.reconcileIntervalMs,
    onShutdown: config.onShutdown,
    onCycle,
  };
}
