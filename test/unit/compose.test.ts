/** What compose.yml may not use, as one of the providers would not understand it, and what each of its services must have. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { controllerVariables } from '../../services/controller/config.ts';

const serviceSchema = z.object({
  image: z.string(),
  restart: z.string(),
  mem_limit: z.string(),
  pids_limit: z.int(),
  oom_score_adj: z.literal(0),
  stop_grace_period: z.string().optional(),
  logging: z.object({ driver: z.literal('k8s-file'), options: z.object({ 'max-size': z.string() }) }),
  networks: z.array(z.string()).min(1),
  depends_on: z.array(z.string()).optional(),
  ports: z.array(z.string()).optional(),
  volumes: z.array(z.string()).optional(),
  privileged: z.boolean().optional(),
  environment: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
});

const text = readFileSync('compose.yml', 'utf8');
const compose = z
  .object({ services: z.record(z.string(), serviceSchema), networks: z.record(z.string(), z.looseObject({})) })
  .parse(parse(text, { merge: true }));
const services = Object.entries(compose.services);
const fixed = services.filter(([, { restart }]) => restart === 'always');

describe('what every provider understands', () => {
  test('interpolations are neither nested nor empty', () => {
    const found = [...text.matchAll(/\$\{?[^\s/:"]*[^\s"]*/g)]
      .map(([whole]) => whole)
      .filter((one) => one.startsWith('$'));
    expect(found.length).toBeGreaterThan(20);
    for (const one of found) expect(one).toMatch(/^\$\{[A-Z_]+:-[^{}$]+\}[^{}$]*$/);
  });

  test('nothing waits for health, and nothing has a network of its own kind', () => {
    // Conditions would make `depends_on` a mapping, which the schema above refuses.
    expect(text).not.toMatch(/condition:|healthcheck:|network_mode:|profiles:$/m);
  });

  test('every variable is explained in .env.example, with the same default', () => {
    const example = readFileSync('.env.example', 'utf8');
    for (const [, name, fallback] of text.matchAll(/\$\{([A-Z_]+):-([^}]+)\}/g))
      expect(example.split('\n')).toContain(`#${name}=${fallback}`);
  });

  test('what a person may set of the controller reaches it, but for what compose itself decides', () => {
    const decided = /^(POSTGRES_|SILVASONIC_(REDIS|PAGE|PODMAN|CONTROLLER|WORKSPACE|RUN)_|CONTAINER_SOCKET$)/;
    const given = Object.keys(compose.services.controller?.environment ?? {});
    expect(Object.keys(controllerVariables).filter((name) => !decided.test(name) && !given.includes(name))).toEqual([]);
  });
});

describe('the fixed services', () => {
  test('are four, come back by themselves, and have time to stop', () => {
    expect(fixed.map(([name]) => name).sort()).toEqual(['controller', 'database', 'redis', 'web']);
    for (const [, { stop_grace_period: grace }] of fixed) expect(grace).toBe('30s');
  });

  test('database and Redis are where nobody from outside is, and publish nothing', () => {
    expect(compose.networks.inside).toEqual({ internal: true });
    for (const name of ['database', 'redis']) expect(compose.services[name]).toHaveProperty('networks', ['inside']);
    const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port.split('$')[0]]));
    expect(published).toEqual([
      ['controller', '127.0.0.1:'],
      ['web', ''],
    ]);
  });

  test("the socket is the controller's alone, and so is privilege", () => {
    const withSocket = services.filter(([, { volumes = [] }]) =>
      volumes.some((volume) => /PODMAN_FOLDER:-[^}]+\}:/.test(volume)),
    );
    expect(withSocket.map(([name]) => name)).toEqual(['controller']);
    expect(services.filter(([, { privileged }]) => privileged === true).map(([name]) => name)).toEqual(['controller']);
  });
});
