import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { terminal as script } from './station-scripts.ts';

let folder = '';
let shown = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-terminal-'));
  shown = '';
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function run(shell: string, timeoutMs = 20_000): Promise<string> {
  const output = new PassThrough().setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  const terminal = script.createTerminal({ logPath: join(folder, 'logs', 'install.log'), output });
  const sentence = (said: string) => (said.includes('lost') ? 'The network was lost.' : 'It failed.');
  return script.runStep(terminal, { title: 'Installing', command: 'sh', args: ['-c', shell], timeoutMs, sentence });
}
const log = () => readFileSync(join(folder, 'logs', 'install.log'), 'utf8');

describe('a step', () => {
  it('shows its begin and end with the time, and keeps its long output in the log', async () => {
    await expect(run('echo out; echo err >&2')).resolves.toContain('out');
    expect(shown).toMatch(/\[ +\d+ s\] Installing …\n\[ +\d+ s\] Installing: done\n/);
    expect(shown).not.toContain('err');
    expect(log()).toContain('out');
    expect(log()).toContain('err');
  });

  it('fails with a sentence, and with the end of what the command said', async () => {
    await expect(run('exec 2>&1; seq 1000; echo connection lost >&2; exit 7')).rejects.toMatchObject({
      message: 'The network was lost.',
      details: expect.stringMatching(/^(9\d\d|1000)\n[\s\S]*connection lost$/),
    });
    expect(shown).toContain('Installing: failed');
    expect(log()).toMatch(/^1$/m);
  });

  it('is ended at its deadline', async () => {
    await expect(run('echo begun; exec sleep 60', 300)).rejects.toMatchObject({
      message: 'It failed.',
      details: expect.stringContaining('not finished after 0.3 s'),
    });
  });

  it('fails with a sentence when the command does not exist', async () => {
    const output = new PassThrough().resume();
    const terminal = script.createTerminal({ logPath: null, output });
    const step = { title: 'X', command: join(folder, 'none'), args: [], timeoutMs: 1000, sentence: () => 'Not there.' };
    await expect(script.runStep(terminal, step)).rejects.toMatchObject({
      message: 'Not there.',
      details: expect.stringContaining('ENOENT'),
    });
  });
});
