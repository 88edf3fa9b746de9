/** The station's dependency-free scripts, typed: they are plain CommonJS, so that they run before anything is installed. */
import { createRequire } from 'node:module';

const load = createRequire(import.meta.url);

export interface Need {
  why: string;
  commands: string[];
  apt?: string;
  dnf?: string;
  pacman?: string;
}

type Find = (name: string) => string | null;

export const bootstrap: { nodeProblem(version: string): string | null } = load('../../services/station/bootstrap.cjs');

export const commandLine: {
  parseArguments(
    argv: string[],
    env: Record<string, string>,
  ): { command: string | undefined; yes: boolean; recordings: boolean; passedOn: string[] };
} = load('../../services/station/command-line.cjs');

interface StationPort {
  use: string;
  variable: string;
  port: number;
  host?: string;
  hostVariable?: string;
}

export const preflight: {
  checkPlatform(machine: { platform: string; arch: string }): void;
  dataFolder(user: { env: Record<string, string>; uid: number; home: string }): string;
  prepareFolder(folder: string): void;
  takeStationLock(folder: string): number;
  stationPorts(env: Record<string, string>): StationPort[];
  checkPort(port: StationPort): Promise<void>;
  checkDisk(folder: string, neededBytes: number, purpose: string): void;
  checkNetwork(target: { url: string; purpose: string }): Promise<void>;
  findCommand(name: string, where: { searchPath: string; folders: string[] }): string | null;
  isDebianFrom(version: number, distribution: { id: string; version: string }): boolean;
} = load('../../services/station/preflight.cjs');

export const install: {
  needs(machine: { purpose: string; uid: number; unifiedCgroups: boolean; newDebian: boolean }): Need[];
  missingNeeds(needs: Need[], find: Find): Need[];
  planInstallation(
    missing: Need[],
    find: Find,
  ): { manager: { name: string; command: string } | null; packages: string[]; unmet: Need[] };
  findRights(
    packages: string[],
    user: { uid: number; find: Find },
  ): {
    sudo: boolean;
    wrap(command: string, args: string[], env: Record<string, string>): { command: string; args: string[] };
  };
} = load('../../services/station/install.cjs');

export const packageManagers: {
  managerProblem(command: string, output: string): string;
  listsAreFresh(folder: string, nowMs: number): boolean;
  lockHolder(file: string, locks: string): string | null;
} = load('../../services/station/package-managers.cjs');

export const nodePackages: {
  nodePackagesAreFresh(repository: string): boolean;
  npmProblem(output: string): string;
} = load('../../services/station/node-packages.cjs');

export const terminal: {
  createTerminal(options: { logPath: string | null; output: NodeJS.WritableStream }): { say(text: string): void };
  runStep(
    terminal: { say(text: string): void },
    step: {
      title: string;
      command: string;
      args: string[];
      timeoutMs: number;
      sentence(output: string): string;
    },
  ): Promise<string>;
} = load('../../services/station/terminal.cjs');
