/** The import rules of services/ARCHITECTURE.md, and that the page names every file of the controller. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

const SERVICES = 'services';
const files = readdirSync(SERVICES, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => join(SERVICES, name));

/** What a file imports: packages by name, own files by path from the repository's root. */
function importsOf(file: string): string[] {
  const source = readFileSync(file, 'utf8');
  const found = [
    ...source.matchAll(/^(?:import|export)\s(?:[^;'"]*?\sfrom\s)?['"]([^'"]+)['"]/gm),
    ...source.matchAll(/import\(\s*['"]([^'"]+)['"]/g),
  ];
  return found.map(([, name = '']) => (name.startsWith('.') ? normalize(join(dirname(file), name)) : name));
}

/** A file without its comments. */
function codeOf(file: string): string {
  return readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
}

const graph = new Map(files.map((file) => [file, importsOf(file)]));
const serviceOf = (file: string): string => file.split('/')[1] ?? '';
const importersOf = (name: string): string[] =>
  [...graph]
    .filter(([, imports]) => imports.some((one) => one === name || one.startsWith(`${name}/`)))
    .map(([file]) => file);

test('services import shared, never one another; the station alone composes', () => {
  const offences = [...graph].flatMap(([file, imports]) =>
    imports
      .filter((one) => one.startsWith(`${SERVICES}/`))
      .filter(
        (one) => serviceOf(one) !== serviceOf(file) && serviceOf(one) !== 'shared' && serviceOf(file) !== 'station',
      )
      .map((one) => `${file} → ${one}`),
  );
  expect(offences).toEqual([]);
});

test('everything imported exists', () => {
  const own = [...graph].flatMap(([file, imports]) =>
    imports.filter((one) => /\.tsx?$/.test(one)).map((one) => ({ file, one })),
  );
  expect(own.length).toBeGreaterThan(50);
  expect(own.filter(({ one }) => !graph.has(one))).toEqual([]);
});

describe('a package is used in one place', () => {
  test.each([
    ['dockerode', /^services\/controller\/podman[a-z-]*\.ts$/],
    ['ioredis', /^services\/(controller|web)\/bus\.ts$/],
    ['usb', /^services\/controller\/microphones\.ts$/],
    [
      'drizzle-orm',
      /^services\/(controller\/store[a-z-]*|shared\/(schema|postgres-session)|web\/(database|owner|[a-z-]+-queries))\.ts$/,
    ],
    ['postgres', /^services\/(shared\/postgres-session|controller\/store-failure)\.ts$/],
    ['fastify', /^services\/(controller\/health|web\/.*)\.ts$/],
  ])('%s', (name, allowed) => {
    const importers = importersOf(name);
    expect(importers.length).toBeGreaterThan(0);
    expect(importers.filter((file) => !allowed.test(file))).toEqual([]);
  });
});

const PURE = [
  'world',
  'inventory',
  'device-identity',
  'device-row',
  'enrollment',
  'spec',
  'container-spec',
  'plan',
  'plan-outcome',
  'plan-memory',
  'plan-telling',
  'plan-updates',
  'progress',
  'virtual-microphones',
].map((name) => `services/controller/${name}.ts`);
PURE.push(
  'services/shared/negotiate.ts',
  'services/shared/profile.ts',
  'services/shared/contract.ts',
  'services/shared/parse.ts',
  'services/shared/catalogue.ts',
  'services/shared/recording.ts',
  'services/shared/service-contract.ts',
  'services/shared/alerts.ts',
  'services/controller/service-spec.ts',
  'services/controller/service-wish.ts',
  'services/controller/alert-rules.ts',
  'services/controller/ports.ts',
);

describe('pure files', () => {
  test.each(PURE)('%s: no async, clock, environment, randomness or adapter', (file) => {
    const code = /(world|ports)\.ts$/.test(file) ? codeOf(file).replace(/Promise</g, '') : codeOf(file);
    expect(code).not.toMatch(
      /\basync\b|\bawait\b|\bPromise\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bprocess\.|\bsetTimeout\b|\bMath\.random\b|\brandomUUID\b/,
    );
    const allowed = new Set([...PURE, 'node:crypto', 'zod', 'yaml']);
    const values = (graph.get(file) ?? []).filter((one) => !one.startsWith(SERVICES) || !isTypeOnly(file, one));
    expect(values.filter((one) => !allowed.has(one))).toEqual([]);
  });
});

const ADAPTERS = ['microphones', 'store', 'podman', 'bus', 'workspaces', 'health'].map(
  (name) => `services/controller/${name}.ts`,
);

test('adapters never import each other, and only assembly and the entry points make them', () => {
  for (const adapter of ADAPTERS)
    expect((graph.get(adapter) ?? []).filter((one) => ADAPTERS.includes(one))).toEqual([]);
  const makers = ADAPTERS.flatMap((adapter) => importersOf(adapter).filter((file) => !isTypeOnly(file, adapter)));
  const allowed =
    /^services\/(controller\/(assembly|main)|station\/[a-z-]+)\.ts$|^services\/controller\/(store|podman|bus|microphones)-[a-z-]+\.ts$/;
  expect([...new Set(makers)].filter((file) => !allowed.test(file))).toEqual([]);
});

function isTypeOnly(file: string, imported: string): boolean {
  const source = readFileSync(file, 'utf8');
  const lines = source.split('\n').filter((line) => line.includes(`/${basename(imported)}'`));
  return lines.every((line) => /^(import|export) type\b/.test(line));
}

test('the environment is read where a process begins, nowhere else', () => {
  const readers = files.filter((file) => /process\.env\b/.test(codeOf(file)));
  expect(
    readers.filter(
      (file) =>
        !/^services\/(controller\/main|(recorder|processor)\/(main|config)|web\/main|station\/[a-z-]+)\.ts$/.test(file),
    ),
  ).toEqual([]);
});

test('ARCHITECTURE.md names every file, and none that is not there', () => {
  const page = readFileSync('services/ARCHITECTURE.md', 'utf8');
  const named = new Set(
    [...page.matchAll(/`([a-z-]+(?:\/[a-z-]+)+\.(?:tsx?|cjs|js))`/g)].map(([, name]) => `services/${name}`),
  );
  expect(files.filter((file) => !named.has(file))).toEqual([]);
  const onDisk = new Set(
    readdirSync(SERVICES, { recursive: true, encoding: 'utf8' }).map((name) => join(SERVICES, name)),
  );
  expect([...named].filter((file) => !onDisk.has(file))).toEqual([]);
});

test('README.md names every variable of .env.example', () => {
  const readme = readFileSync('README.md', 'utf8');
  const variables = [...readFileSync('.env.example', 'utf8').matchAll(/^#([A-Z_]+)=/gm)].map(([, name = '']) => name);
  expect(variables.length).toBeGreaterThan(20);
  expect(variables.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
});
