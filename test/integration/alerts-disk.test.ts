/** Alerts while the disk of the controller hangs. Needs root: it mounts a file system of its own. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { postAlert } from '../../services/controller/alert-post.ts';
import { createAlerts } from '../../services/controller/alerts.ts';
import { alertSettingsSchema } from '../../services/shared/alerts.ts';
import { quietLog } from '../unit/in-memory-world.ts';
import { deviceRow } from '../unit/sample-world.ts';

const run = promisify(execFile);
const MEBIBYTE = 1024 * 1024;
const MINUTE_MS = 60_000;
let folder: string;
let disk: string;
let server: Server;
let received: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'silvasonic-alerts-disk-'));
  disk = join(folder, 'disk');
  await mkdir(disk);
  await writeFile(join(folder, 'image'), '');
  await truncate(join(folder, 'image'), 16 * MEBIBYTE);
  await run('mkfs.ext4', ['-q', join(folder, 'image')]);
  await run('mount', ['-o', 'loop', join(folder, 'image'), disk]);
  await mkdir(join(disk, 'controller'));
  received = [];
  server = createServer((request, response) => {
    received.push(`${request.method} ${request.url}`);
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  await run('fsfreeze', ['-u', disk]).catch(() => {});
  server.closeAllConnections();
  server.close();
  await run('umount', ['-l', disk]);
  await rm(folder, { recursive: true });
});

test('a person hears of a microphone that does not record while nothing can be written; later that is kept', {
  timeout: 30_000,
}, async () => {
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/wood`;
  let nowMs = 0;
  const alerts = createAlerts({
    // An hour of the station passes within a moment, and a deadline with it.
    clock: {
      nowMs: () => nowMs,
      wallMs: () => 1e12 + nowMs,
      timer(_delayMs, callback) {
        const handle = setTimeout(callback, 20);
        return () => clearTimeout(handle);
      },
    },
    log: quietLog,
    controllerWorkspace: join(disk, 'controller'),
    runPath: join(folder, 'run'),
    post: postAlert,
  });
  const away = deviceRow('a', { name: 'Pond', phase: 'blocked', reason: 'DiskFull', message: 'It hangs.' });
  const look = {
    station: { id: 'x', name: 'Wood' },
    settings: alertSettingsSchema.parse({ webhookUrl: url }),
    devices: [away],
  };
  await alerts.look(look, () => {});
  await run('fsfreeze', ['-f', disk]);
  for (let minute = 0; minute < 30; minute += 1) {
    nowMs += MINUTE_MS;
    await alerts.look(look, () => {});
  }
  expect(received).toEqual(['POST /wood']);
  await run('fsfreeze', ['-u', disk]);
  await vi.waitFor(
    async () => {
      nowMs += MINUTE_MS;
      await alerts.look(look, () => {});
      expect(await readFile(join(disk, 'controller', 'alerts.json'), 'utf8')).toContain('"told":["notRecording');
    },
    { timeout: 10_000 },
  );
  expect(received).toEqual(['POST /wood']);
});
