/** The units as Podman's own generator and systemd read them, as root's and as a user's; and as Podman takes them. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runProgram } from '../../services/station/run-program.ts';
import { TEST_IMAGE, type TestEngine, testEngine } from './engine.ts';
import { quadletGenerator } from './quadlet-generator.ts';

const UNITS = 'services/station/quadlet';
const SERVICES = ['secrets', 'database', 'redis', 'controller', 'web'];
const DEADLINE_MS = 60_000;
let folder: string;
let generator: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-quadlet-'));
  generator = await quadletGenerator();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Units as installed, and what the generator makes of them. */
async function generate(name: string, user: boolean): Promise<{ made: string; words: string }> {
  const installed = join(folder, name);
  const made = join(folder, `${name}-made`);
  cpSync(UNITS, installed, { recursive: true });
  mkdirSync(made);
  if (user) withUsersFolder(installed);
  const env = { ...process.env, QUADLET_UNIT_DIRS: installed };
  const args = [...(user ? ['-user'] : []), made];
  const { code, stderr } = await runProgram(generator, args, { timeoutMs: DEADLINE_MS, env });
  expect(code).toBe(0);
  return {
    made,
    words: stderr
      .split('\n')
      .filter((line) => !/Loading source unit file/.test(line))
      .join('\n'),
  };
}

/** What the documentation lets a user without root do: the line stands in OPERATING.md. */
function withUsersFolder(installed: string): void {
  for (const file of readdirSync(installed)) {
    const text = readFileSync(join(installed, file), 'utf8');
    writeFileSync(join(installed, file), text.replaceAll('/var/lib/silvasonic', '%h/.local/share/silvasonic'));
  }
}

describe.each([
  ['as root', false],
  ['as a user', true],
])('%s', (name, user) => {
  test('the generator takes all of them without a word, and systemd what it makes', async () => {
    const { made, words } = await generate(name.replaceAll(' ', '-'), user);
    expect(words.trim()).toBe('');
    const services = readdirSync(made).filter((file) => file.endsWith('.service'));
    expect(services).toEqual(expect.arrayContaining(SERVICES.map((service) => `silvasonic-${service}.service`)));
    expect(readdirSync(join(made, 'default.target.wants')).length).toBe(SERVICES.length);
    const controller = readFileSync(join(made, 'silvasonic-controller.service'), 'utf8');
    expect(controller).not.toContain('network-online');
    expect(controller).toContain(user ? '%h/.local/share/silvasonic/recorder' : '-v /var/lib/silvasonic/recorder');
    const paths = services.map((file) => join(made, file));
    const verify = ['verify', '--man=no', ...(user ? ['--user'] : []), ...paths];
    const env = { ...process.env, XDG_RUNTIME_DIR: folder };
    const result = await runProgram('systemd-analyze', verify, { timeoutMs: DEADLINE_MS, env });
    // Podman's own socket is not installed everywhere that the tests run.
    expect(result.stderr.split('\n').filter((line) => line !== '' && !line.includes('podman.socket'))).toEqual([]);
    expect(result.code).toBe(0);
  });
});

test('what OPERATING.md has people write beside the units counts, and stays when an upgrade replaces those', async () => {
  const installed = join(folder, 'own');
  const made = join(folder, 'own-made');
  mkdirSync(made);
  const page = readFileSync('services/station/OPERATING.md', 'utf8');
  const [controller = '', web = ''] = [...page.matchAll(/^```ini\n([^`]+)```$/gm)].map(([, text = '']) => text);
  for (const [unit, text] of Object.entries({ controller, web })) {
    mkdirSync(join(installed, `silvasonic-${unit}.container.d`), { recursive: true });
    writeFileSync(join(installed, `silvasonic-${unit}.container.d`, 'own.conf'), text);
  }
  for (const _install of ['first', 'upgrade']) cpSync(UNITS, installed, { recursive: true });
  const env = { ...process.env, QUADLET_UNIT_DIRS: installed };
  expect((await runProgram(generator, [made], { timeoutMs: DEADLINE_MS, env })).code).toBe(0);
  const lineOf = (unit: string): string =>
    /^ExecStart=.*$/m.exec(readFileSync(join(made, `silvasonic-${unit}.service`), 'utf8'))?.[0] ?? '';
  expect(lineOf('controller')).toContain('--env SILVASONIC_USB_POLL_MS=500');
  expect(lineOf('web').match(/--publish \S+/g)).toEqual(['--publish 127.0.0.1:8090:8090']);
});

test('the generator refuses what it does not know: this check can fail', async () => {
  const installed = join(folder, 'broken');
  cpSync(UNITS, installed, { recursive: true });
  const file = join(installed, 'silvasonic-web.container');
  writeFileSync(file, readFileSync(file, 'utf8').replace('ReadOnly=', 'ReadsOnly='));
  const env = { ...process.env, QUADLET_UNIT_DIRS: installed };
  const { stderr } = await runProgram(generator, ['-dryrun'], { timeoutMs: DEADLINE_MS, env });
  expect(stderr).toContain('ReadsOnly');
});

describe('the very command line, given to Podman', () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await testEngine();
    for (const network of ['silvasonic-inside', 'silvasonic-outside'])
      await engine.podman('network', 'create', network);
  });
  afterAll(async () => await engine?.stop());

  test.each(SERVICES)('%s: the limits arrive', async (service) => {
    const { made } = await generate(`line-${service}`, false);
    const text = readFileSync(join(made, `silvasonic-${service}.service`), 'utf8');
    const line = /^ExecStart=\/usr\/bin\/podman run (.*)$/m.exec(text)?.[1] ?? '';
    const args = asSystemdSplits(line, folder).filter((word) => !/^--(rm|replace|sdnotify|cgroups|cidfile)/.test(word));
    const image = args.findIndex((word) => /^(localhost|docker\.io)\//.test(word));
    for (const source of mountedFolders(args)) mkdirSync(source, { recursive: true });
    await engine.podman('create', ...args.slice(0, image).filter((word) => word !== '-d'), TEST_IMAGE);
    const [container] = JSON.parse(await engine.podman('container', 'inspect', `silvasonic-${service}`));
    expect(container.HostConfig.Memory).toBeGreaterThanOrEqual(128 * 1024 ** 2);
    expect(container.HostConfig.PidsLimit).toBe(service === 'secrets' ? 50 : 200);
    expect(container.HostConfig.LogConfig.Type).toBe('k8s-file');
    expect(container.HostConfig.Privileged).toBe(service === 'controller');
    expect(Object.keys(container.NetworkSettings.Networks)).toContain('silvasonic-inside');
  });
});

/** Words in double quotes are one; specifiers become folders of the test. */
function asSystemdSplits(line: string, root: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)]
    .map(([, quoted, bare]) => quoted ?? bare ?? '')
    .map((word) => word.replaceAll(/%[tE]/g, `${root}/host`).replace(/^\/var\/lib\/silvasonic/, `${root}/host/data`));
}

function mountedFolders(args: string[]): string[] {
  return args.flatMap((word, index) => {
    const source = args[index - 1] === '-v' ? (word.split(':')[0] ?? '') : '';
    return source.startsWith('/') ? [source] : [];
  });
}
