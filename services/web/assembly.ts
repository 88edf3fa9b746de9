/** The page's adapters on the real world; `main` and the one-command station start from here. */
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { createClock } from '../shared/clock.ts';
import { readPostgresPassword } from '../shared/connections.ts';
import type { Log } from '../shared/log.ts';
import { loadCatalogue, loadSeedProfiles } from '../shared/seeds.ts';
import { createPageBus } from './bus.ts';
import type { WebConfig } from './config.ts';
import { createPageDatabase } from './database.ts';
import type { PageBus, PagePorts, PageSettings } from './ports.ts';

/** `bus`: the one-command station's own; absent: Redis, where one is configured. */
export function createPagePorts(config: WebConfig, log: Log, bus?: PageBus): PagePorts {
  const clock = createClock();
  const { host, port, user, database } = config.postgres;
  const password = () => readPostgresPassword(config.postgres);
  return {
    clock,
    log,
    database: createPageDatabase({ host, port, user, password, database }, clock, log),
    bus: bus ?? createPageBus({ url: config.redisUrl, passwordFile: config.redisPasswordFile }, log),
  };
}

/** What comes with the release: seeds, catalogue, the browser's files. `packageFolder` holds `profiles/` and `dist/`. */
export function pageSettings(config: WebConfig, packageFolder: string, log: Log): PageSettings {
  const profiles = loadSeedProfiles(join(packageFolder, 'profiles', 'microphones'));
  const catalogue = loadCatalogue(join(packageFolder, 'profiles', 'services'));
  for (const problem of [...profiles.problems, ...catalogue.problems]) log('warn', problem);
  return {
    recorderWorkspace: config.recorderWorkspace,
    runPath: config.runPath,
    webWorkspace: config.webWorkspace,
    assetsFolder: join(packageFolder, 'dist', 'web-assets'),
    seedProfiles: new Map(profiles.profiles.map((profile) => [profile.slug, profile])),
    catalogue: catalogue.entries,
    version: packageJson.version,
  };
}
