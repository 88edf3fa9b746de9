/** What the page needs of the world. The one-command station hands it an in-process bus, the appliance Redis. */
import type { CatalogueEntry } from '../shared/catalogue.ts';
import type { Clock } from '../shared/clock.ts';
import type { Heartbeat, LogLine } from '../shared/contract.ts';
import type { Log } from '../shared/log.ts';
import type { SeedProfile } from '../shared/profile.ts';
import type { PageDatabase } from './database.ts';

export interface BusState {
  state: 'up' | 'down' | 'absent';
  /** A sentence. */
  message: string;
}

export interface PageBus {
  /** Best effort: a nudge that is lost costs at most a tick. */
  nudge(): Promise<void>;
  /** Both return their cancellation. */
  onHeartbeat(callback: (heartbeat: Heartbeat) => void): () => void;
  /** Log lines come only while somebody listens here. */
  onLog(callback: (line: LogLine) => void): () => void;
  state(): BusState;
  stop(): Promise<void>;
}

export interface PagePorts {
  clock: Clock;
  log: Log;
  database: PageDatabase;
  bus: PageBus;
}

export interface PageSettings {
  /** Recordings of all microphones, only read; as this process sees it. */
  recorderWorkspace: string;
  runPath: string;
  /** All that the page may write. */
  webWorkspace: string;
  /** Folder of the browser's files: script, style, icon. */
  assetsFolder: string;
  /** As shipped, to reset a profile to; by slug. */
  seedProfiles: ReadonlyMap<string, SeedProfile>;
  catalogue: readonly CatalogueEntry[];
  version: string;
}
