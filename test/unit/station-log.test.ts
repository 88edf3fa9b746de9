import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openStationLog } from '../../services/station/station-log.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-station-log-'));
  path = join(folder, 'station.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const content = (file = path): string => readFileSync(file, 'utf8');

test('a full disk costs lines and nothing else; once there is room it goes on', async () => {
  symlinkSync('/dev/full', path);
  const log = openStationLog(path);
  // The disk's answer comes a few turns later, while more is said.
  for (let line = 0; line < 50; line += 1) {
    log.write(`line ${line}\n`);
    await new Promise(setImmediate);
  }
  rmSync(path);
  await vi.waitFor(() => {
    log.write('here again\n');
    expect(content()).toContain('here again');
  });
});

test('it begins anew when it has grown long, while the station runs too, and keeps the one before', async () => {
  writeFileSync(path, 'before\n');
  const log = openStationLog(path, 100);
  const lines = Array.from({ length: 50 }, (_, index) => `line ${index}\n`);
  for (const line of lines) {
    log.write(line);
    await vi.waitFor(() => expect(content()).toContain(line));
  }
  expect(statSync(path).size).toBeLessThan(120);
  expect(statSync(`${path}.1`).size).toBeLessThan(120);
  expect(lines.join('')).toContain(content(`${path}.1`) + content());
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test('a log of the last run goes on', async () => {
  writeFileSync(path, 'before\n');
  openStationLog(path).write('after\n');
  await vi.waitFor(() => expect(content()).toBe('before\nafter\n'));
});
