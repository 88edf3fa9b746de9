/** The page of the one-command station: in the same process as the controller, on the same database, without Redis. */
import { mkdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { InProcessBus } from '../controller/bus.ts';
import type { PostgresConfig } from '../shared/connections.ts';
import { createLog, type Log } from '../shared/log.ts';
import { findPackageFolder } from '../shared/surroundings.ts';
import { createPagePorts, pageSettings } from '../web/assembly.ts';
import { readWebConfig, type WebConfig } from '../web/config.ts';
import type { PageBus } from '../web/ports.ts';
import { startWeb, type WebServer } from '../web/server.ts';

export interface StationPage {
  /** Where a browser finds it, this machine's own addresses too. */
  addresses: string[];
  /** null: the station has an owner. */
  setupCode(): Promise<string | null>;
  stop(): Promise<void>;
}

export interface StationPageOptions {
  postgres: PostgresConfig;
  dataFolder: string;
  runPath: string;
  bus: InProcessBus;
  writeLog: (line: string) => void;
}

/** Throws a sentence when the port is taken or a variable is wrong. */
export async function startPage(options: StationPageOptions): Promise<StationPage> {
  const log = createLog({ service: 'web' }, options.writeLog);
  const config = pageConfig(options);
  mkdirSync(config.webWorkspace, { recursive: true, mode: 0o700 });
  const ports = createPagePorts(config, log, pageBus(options.bus));
  const web: WebServer = await startWeb(ports, settingsOf(config, log), config);
  return {
    addresses: addressesOf(config.host, web.port),
    setupCode: web.setupCode,
    async stop() {
      await web.close();
      await ports.database.stop();
    },
  };
}

function settingsOf(config: WebConfig, log: Log) {
  return pageSettings(config, findPackageFolder(import.meta.url), log);
}

function pageConfig({ postgres, dataFolder, runPath }: StationPageOptions): WebConfig {
  const read = readWebConfig(
    {
      SILVASONIC_WEB_PORT: process.env.SILVASONIC_WEB_PORT,
      SILVASONIC_WEB_BIND: process.env.SILVASONIC_WEB_BIND,
      SILVASONIC_WORKSPACE_PATH: dataFolder,
      SILVASONIC_RUN_PATH: runPath,
      SILVASONIC_REDIS_URL: '',
    },
    false,
  );
  if (!read.ok) throw new Error(read.problems.join('\n'));
  return { ...read.value, postgres, webWorkspace: join(dataFolder, 'web') };
}

/** Within one process nudges, heartbeats and log lines need no Redis. */
function pageBus(bus: InProcessBus): PageBus {
  return {
    nudge: async () => bus.nudge(),
    onHeartbeat: (callback) => bus.onHeartbeat(callback),
    onLog: (callback) => bus.onLog(callback),
    state: () => ({ state: 'up', message: 'Within the station’s own process.' }),
    stop: async () => {},
  };
}

/** Networks of containers and virtual machines: no phone is in them. */
const BRIDGES = /^(podman|docker|br-|veth|cni|virbr)/;

/** On a LAN one wants to type the address into a phone. */
function addressesOf(host: string, port: number): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [`http://${host.includes(':') ? `[${host}]` : host}:${port}`];
  const outside = Object.entries(networkInterfaces())
    .filter(([name]) => !BRIDGES.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
  return ['localhost', ...outside].map((name) => `http://${name}:${port}`);
}
