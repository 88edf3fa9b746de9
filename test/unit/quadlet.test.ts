/** The units of services/station/quadlet say the same as compose.yml: two ways to bring up one appliance. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

/** Every value as its text. */
interface ComposeService {
  image: string;
  restart: string;
  command?: string[];
  entrypoint?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  networks: string[];
  tmpfs?: string[];
  mem_limit: string;
  pids_limit: string;
  oom_score_adj: string;
  stop_grace_period?: string;
  stop_signal?: string;
  privileged?: string;
  read_only?: string;
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  logging: { driver: string; options: Record<string, string> };
}

const FOLDER = 'services/station/quadlet';
const compose: { services: Record<string, ComposeService>; volumes: Record<string, unknown> } = parse(
  // Every variable at its default.
  readFileSync('compose.yml', 'utf8').replaceAll(/\$\{[A-Z_]+:-([^}]*)\}/g, '$1'),
  { merge: true, schema: 'failsafe' },
);
const files = readdirSync(FOLDER);
/** Images that compose alone builds: for the units, a command does. */
const BUILT_ONLY = ['recorder-image', 'processor-image'];
const SERVICES = ['secrets', 'database', 'redis', 'controller', 'web'];

type Unit = Map<string, string[]>;

/** `Section.Key` → its values, in order. */
function readUnit(file: string): Unit {
  const unit: Unit = new Map();
  let section = '';
  for (const line of readFileSync(join(FOLDER, file), 'utf8').split('\n')) {
    const name = /^\[(\w+)\]$/.exec(line)?.[1];
    if (name !== undefined) section = name;
    const pair = /^(\w+)=(.*)$/.exec(line);
    if (pair === null) {
      expect(line).toMatch(/^(\[\w+\]|#.*|)$/);
      continue;
    }
    const key = `${section}.${pair[1]}`;
    unit.set(key, [...(unit.get(key) ?? []), pair[2] ?? '']);
  }
  return unit;
}

const values = (unit: Unit, key: string): string[] => unit.get(`Container.${key}`) ?? [];
/** Podman's own arguments of a container: `--memory=512m` → memory: 512m. */
function podmanArgs(unit: Unit): Map<string, string> {
  const words = values(unit, 'PodmanArgs').flatMap((line) => line.split(' '));
  return new Map(
    words.map((word): [string, string] => {
      const [name = '', ...rest] = word.replace(/^--/, '').split('=');
      return [name, rest.join('=')];
    }),
  );
}

/** A unit's volume in compose's words. */
function composeMount(volume: string): string {
  return volume
    .replace(/^silvasonic-([a-z-]+)\.volume:/, '$1:')
    .replace('%t/podman', '/run/podman')
    .replace('%E/silvasonic/profiles', './profiles');
}

test('there is a unit for each service of compose.yml, and for nothing else', () => {
  expect(
    Object.keys(compose.services)
      .filter((name) => !BUILT_ONLY.includes(name))
      .sort(),
  ).toEqual([...SERVICES].sort());
  const containers = files.filter((file) => file.endsWith('.container'));
  expect(containers).toEqual(SERVICES.map((name) => `silvasonic-${name}.container`).sort());
  const volumes = files.filter((file) => file.endsWith('.volume'));
  expect(volumes).toEqual(
    Object.keys(compose.volumes)
      .map((name) => `silvasonic-${name}.volume`)
      .sort(),
  );
});

test('volumes bear the names that compose gives them, networks are as open as there', () => {
  for (const name of Object.keys(compose.volumes)) {
    expect(readUnit(`silvasonic-${name}.volume`).get('Volume.VolumeName')).toEqual([`silvasonic_${name}`]);
  }
  expect(readUnit('silvasonic-inside.network').get('Network.Internal')).toEqual(['true']);
  expect(readUnit('silvasonic-outside.network').get('Network.Internal')).toBeUndefined();
});

describe.each(SERVICES)('%s', (name) => {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`compose.yml has no ${name}`);
  const unit = readUnit(`silvasonic-${name}.container`);
  const args = podmanArgs(unit);

  test('image, ports, networks, mounts, environment', () => {
    expect(values(unit, 'Image')).toEqual([service.image]);
    expect(values(unit, 'PublishPort')).toEqual(service.ports ?? []);
    expect(values(unit, 'Network')).toEqual(service.networks.map((network) => `silvasonic-${network}.network`));
    expect(values(unit, 'Volume').map(composeMount)).toEqual(service.volumes ?? []);
    expect(values(unit, 'Environment').sort()).toEqual(
      Object.entries(service.environment ?? {})
        .map(([key, value]) => `${key}=${value}`)
        .sort(),
    );
    expect(args.get('tmpfs') ?? null).toBe(service.tmpfs?.join() ?? null);
  });

  test('limits: memory, processes, OOM score, log, time to stop', () => {
    expect(args.get('memory')).toBe(service.mem_limit);
    expect(args.get('pids-limit')).toBe(service.pids_limit);
    expect(args.get('oom-score-adj')).toBe(service.oom_score_adj);
    expect(args.get('log-driver')).toBe(service.logging.driver);
    expect(args.get('log-opt')).toBe(`max-size=${service.logging.options['max-size']}`);
    expect(args.get('stop-signal')).toBe(service.stop_signal);
    expect(args.get('stop-timeout') ?? null).toBe(service.stop_grace_period?.replace(/s$/, '') ?? null);
    // systemd must not be faster with its SIGKILL than Podman.
    if (service.stop_grace_period !== undefined) {
      expect(Number(unit.get('Service.TimeoutStopSec'))).toBeGreaterThan(
        Number.parseInt(service.stop_grace_period, 10),
      );
    }
  });

  test('rights', () => {
    expect(args.has('privileged')).toBe(service.privileged === 'true');
    expect(values(unit, 'ReadOnly').join() === 'true').toBe(service.read_only === 'true');
    expect(values(unit, 'DropCapability').map((word) => word.toUpperCase())).toEqual(service.cap_drop ?? []);
    expect(values(unit, 'AddCapability').flatMap((line) => line.split(' '))).toEqual(service.cap_add ?? []);
    const options = service.security_opt ?? [];
    expect(values(unit, 'NoNewPrivileges').join() === 'true').toBe(options.includes('no-new-privileges'));
    expect(values(unit, 'SecurityLabelDisable').join() === 'true').toBe(options.includes('label=disable'));
  });

  test('what it runs', () => {
    const [entrypoint, ...rest] = service.entrypoint ?? [];
    expect(args.get('entrypoint')).toBe(entrypoint);
    const [exec = ''] = values(unit, 'Exec');
    const words = [...exec.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare);
    expect(words).toEqual([...rest, ...(service.command ?? [])]);
  });

  test('starts at boot, without a network, and again when it ends', () => {
    expect(unit.get('Install.WantedBy')).toEqual(['multi-user.target default.target']);
    expect(unit.get('Quadlet.DefaultDependencies')).toEqual(['false']);
    expect(unit.get('Service.Restart')).toEqual([service.restart === 'no' ? 'on-failure' : service.restart]);
    // Who waits for a file by itself must not be kept down by the one that failed to make it.
    expect(unit.get('Unit.Requires')).toBeUndefined();
    // The name by which the others reach it.
    if (service.restart !== 'no') expect(args.get('network-alias')).toBe(name);
  });

  test('folders of the host are made before they are mounted', () => {
    const made = (unit.get('Service.ExecStartPre') ?? []).join(' ').split(' ');
    const bound = values(unit, 'Volume')
      .map((volume) => volume.split(':')[0] ?? '')
      .filter((source) => source.startsWith('/') || source.startsWith('%t/podman/'));
    expect(bound.filter((source) => !made.includes(source))).toEqual([]);
  });
});
