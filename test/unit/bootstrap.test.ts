import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { transform } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { bootstrap, commandLine } from './station-scripts.ts';

const SCRIPT = resolve(import.meta.dirname, '../../services/station/bootstrap.cjs');
const folder = mkdtempSync(join(tmpdir(), 'silvasonic-bootstrap-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('bootstrap on an old Node', () => {
  it('has no syntax that Node 6 does not know', async () => {
    const source = readFileSync(SCRIPT, 'utf8');
    const modern = await transform(source, { target: 'esnext' });
    // What is newer than the target would be rewritten, or refused.
    const old = await transform(source, { target: 'node6', supported: { 'template-literal': true } });
    expect(old.code).toBe(modern.code);
  });

  it.each(['0.10.48', '12.22.12', '18.20.4', '20.18.3'])('refuses Node %s with the cure', (version) => {
    expect(bootstrap.nodeProblem(version)).toMatch(new RegExp(`^Node ${version} is too old.*20\\.19.*nodejs\\.org`));
  });

  it.each(['20.19.0', '20.20.2', '22.0.0', '24.1.0'])('takes Node %s', (version) => {
    expect(bootstrap.nodeProblem(version)).toBeNull();
  });

  it('says it in one line, ends with 1, and loads nothing else before', () => {
    const old = join(folder, 'old-node.cjs');
    writeFileSync(
      old,
      `Object.defineProperty(process.versions, 'node', { value: '8.17.0' });
       const Module = require('node:module');
       const load = Module._load;
       Module._load = (name, ...rest) => {
         if (!name.endsWith('bootstrap.cjs')) throw new Error('loaded ' + name);
         return load(name, ...rest);
       };`,
    );
    const result = spawnSync(process.execPath, ['--require', old, SCRIPT, 'start'], { encoding: 'utf8' });
    expect(result.stderr.trim().split('\n')).toEqual([expect.stringContaining('Node 8.17.0 is too old')]);
    expect(result.status).toBe(1);
  });
});

describe('command line', () => {
  it('passes on what is not its own', () => {
    const parsed = commandLine.parseArguments(['test', '--yes', 'test/unit/x.test.ts', '--reporter=dot'], {});
    expect(parsed).toMatchObject({ command: 'test', yes: true, passedOn: ['test/unit/x.test.ts', '--reporter=dot'] });
  });

  it('understands "npm start --yes", of which npm keeps the switch to itself', () => {
    expect(commandLine.parseArguments(['start'], { npm_config_yes: 'true' }).yes).toBe(true);
    // What a person's .npmrc may say.
    expect(commandLine.parseArguments(['start'], { npm_config_yes: '' }).yes).toBe(false);
  });

  it('removes recordings only when told to', () => {
    expect(commandLine.parseArguments(['clean', '--yes'], {}).recordings).toBe(false);
    expect(commandLine.parseArguments(['clean', '--recordings'], {})).toMatchObject({ recordings: true, passedOn: [] });
  });

  it('says what can be done when asked for something else', () => {
    const result = spawnSync(process.execPath, [SCRIPT, 'dance'], { encoding: 'utf8' });
    expect(result.stderr).toContain('npm run clean');
    expect(result.status).toBe(1);
  });

  it('answers a wrong setting with one sentence and 1', () => {
    const env = { ...process.env, SILVASONIC_WORKSPACE_PATH: 'somewhere' };
    const result = spawnSync(process.execPath, [SCRIPT, 'start'], { encoding: 'utf8', env });
    expect(result.stderr.trim().split('\n')).toEqual([expect.stringContaining('"somewhere"')]);
    expect(result.status).toBe(1);
  });
});
