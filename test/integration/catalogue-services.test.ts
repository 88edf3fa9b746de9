/**
 * Foreign services of the catalogue on a real engine, with stand-ins for their images: the files of the catalogue are the
 * ones that are shipped, but for the names of images and ports. An engine of this file's own, as it has to trust a registry.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { alertSchema } from '../../services/shared/alerts.ts';
import {
  CHANNEL,
  LIVE_TOKENS_FILE,
  liveTokensSchema,
  logLineSchema,
  mayHearLive,
  toldMicrophonesSchema,
} from '../../services/shared/contract.ts';
import { type TestEngine, testEngine } from './engine.ts';
import { createRegistry, type Registry } from './registry.ts';
import { makeStandIn } from './stand-in-image.ts';
import { createTestStation, freePort, type TestStation } from './test-station.ts';

const PROGRAMS = [
  'bash',
  'sh',
  'awk',
  'cat',
  'chmod',
  'cmp',
  'cp',
  'date',
  'id',
  'ls',
  'mkdir',
  'mv',
  'rm',
  'sleep',
  'touch',
];
/** Listens to the first stream of its settings, and says so; then it talks. */
const BIRDNET = `#!/bin/bash
trap 'exit 0' TERM
echo "threshold $BIRDNET_THRESHOLD at $BIRDNET_LATITUDE, $BIRDNET_LONGITUDE"
while IFS= read -r line; do
  case "$line" in *'url: "'*) url="\${line#*url: \\"}"; url="\${url%\\"}"; break ;; esac
done < "$HOME/.config/birdnet-go/config.yaml"
rest="\${url#http://}"; host="\${rest%%:*}"; rest="\${rest#*:}"; port="\${rest%%/*}"; path="/\${rest#*/}"
{ exec 3<>"/dev/tcp/$host/$port" && printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$path" >&3 && IFS= read -r status <&3; } 2>&1
echo "\${status%%$'\\r'}" > /data/heard.new; mv /data/heard.new /data/heard
for ((number = 0; ; number++)); do echo "robin $number ♪"; sleep 0.05 & wait $!; done
`;
const RCLONE = `#!/bin/bash
printf '%s\\n' "$@" > /data/arguments
ls -d /app/recordings/*/data/raw/*/* > /data/uploaded 2>/dev/null
case "$3" in broken:*) echo "cannot reach $3" >&2; exit 1 ;; esac
read -r first < "$RCLONE_CONFIG" && echo "with $first"
`;

let registry: Registry;
let engine: TestEngine;
let station: TestStation;
let door: Server;
let folder: string;
/** What has been made, to be undone in reverse whatever fails on the way. */
const undo: (() => unknown)[] = [];
/** Whose token opened the door, in order; null: nobody's. */
const visitors: (string | null)[] = [];

/** The page's door to live sound, as the contract says, without the sound. */
function openDoor(port: number): Server {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://door');
    const tokens = liveTokensSchema.parse(JSON.parse(readFileSync(join(station.runPath, LIVE_TOKENS_FILE), 'utf8')));
    const visitor = mayHearLive(tokens, url.searchParams.get('token') ?? '');
    visitors.push(visitor);
    response.statusCode = visitor === null ? 401 : 200;
    response.end();
  });
  return server.listen(port, '0.0.0.0');
}

function install(name: string, change: (text: string) => string = (text) => text): void {
  const file = join(station.packageFolder, 'profiles/services', `${name}.yml`);
  const shipped = join(import.meta.dirname, '../../profiles/services', `${name}.yml`);
  writeFileSync(file, change(existsSync(shipped) ? readFileSync(shipped, 'utf8') : ''));
}

beforeAll(async () => {
  registry = await createRegistry();
  undo.push(registry.remove);
  Object.assign(process.env, registry.configuration);
  engine = await testEngine();
  undo.push(engine.stop);
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-saved-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  await makeStandIn(engine, 'localhost/birdnet-go:1', {
    programs: PROGRAMS,
    scripts: { 'birdnet-go': BIRDNET },
    ballastBytes: 4 * 1024 * 1024,
  });
  await engine.podman('save', '--format', 'oci-dir', '--output', join(folder, 'image'), 'localhost/birdnet-go:1');
  await engine.podman('rmi', 'localhost/birdnet-go:1');
  registry.add('tphakala/birdnet-go', '1', join(folder, 'image'));
  await makeStandIn(engine, 'localhost/rclone:1', { programs: PROGRAMS, scripts: { rclone: RCLONE } });
  const [webPort, birdPort] = [await freePort(), await freePort()];
  station = await createTestStation({
    firstCard: 96,
    services: true,
    environment: {
      CONTAINER_SOCKET: engine.socketPath,
      SILVASONIC_WEB_PORT: String(webPort),
      SILVASONIC_VIRTUAL_MICROPHONES: '1',
      SILVASONIC_RECORDER_IMAGE: 'localhost/not-needed-here:1',
      SILVASONIC_RECONCILE_INTERVAL_S: '2',
    },
  });
  undo.push(station.remove);
  door = openDoor(webPort);
  undo.push(() => door.close());
  await once(door, 'listening');
  rmSync(join(station.packageFolder, 'profiles/services/processor.yml'));
  install('birdnet-go', (text) =>
    text
      .replace(/^image: .*$/m, `image: ${registry.host}/tphakala/birdnet-go:1`)
      .replace('port: 8080', `port: ${birdPort}`),
  );
  install('rclone', (text) => text.replace(/^image: .*$/m, 'image: localhost/rclone:1'));
  install('away', () => AWAY);
  await station.start();
  await station.until('the catalogue has its rows', async () => (await rows()).length === 3);
});

afterAll(async () => {
  for (const one of undo.reverse()) await one();
});

/** A service that a person dropped in, whose registry nobody reaches. */
const AWAY = `
name: away
title: Away
description: Its registry is away.
image: 127.0.0.1:9/wood/away:1
limits: { memoryMebibytes: 16, cpus: 0.1, pids: 10 }
`;

interface ServiceColumns {
  name: string;
  phase: string;
  reason: string;
  message: string;
}
const rows = async (): Promise<ServiceColumns[]> =>
  await station.sql<ServiceColumns[]>`select name, phase, reason, message from system_services order by name`;
const row = async (name: string): Promise<ServiceColumns | undefined> =>
  (await rows()).find((one) => one.name === name);
const untilRow = (name: string, is: (found: ServiceColumns) => boolean): Promise<ServiceColumns> =>
  station.until(`${name} is as expected`, async () => {
    const found = await row(name);
    return found !== undefined && is(found) ? found : null;
  });
const change = async (name: string, columns: Record<string, unknown>): Promise<void> => {
  await station.sql`update system_services set ${station.sql(columns)} where name = ${name}`;
  await station.nudge();
};
/** What `podman inspect` says, as far as it is looked at here. */
interface Inspected {
  Id: string;
  Args: string[];
  Config: unknown;
  EffectiveCaps: string[] | null;
  HostConfig: { PortBindings: Record<string, unknown> };
  Mounts: { Destination: string; RW: boolean }[];
}
const containerOf = async (name: string): Promise<Inspected | null> => {
  const id = (await station.stationId()).slice(0, 8);
  const listed = await engine.podman(
    'ps',
    '--all',
    '--quiet',
    '--no-trunc',
    '--filter',
    `name=^silvasonic-${id}-${name}$`,
  );
  return listed === '' ? null : JSON.parse(await engine.podman('inspect', listed))[0];
};
const existing = async (name: string): Promise<Inspected> => {
  const found = await containerOf(name);
  if (found === null) throw new Error(`${name} has no container`);
  return found;
};
const kept = (...path: string[]): string => join(station.workspace, 'services', ...path);

describe('BirdNET-Go', () => {
  test('is fetched with progress in its row, and hears the microphones through the door of the page', async () => {
    registry.slow = { bytes: 64 * 1024, pauseMs: 50 };
    await station.sql`insert into system_config (key, value) values ('position', '{"latitude": 52.5, "longitude": 13.4}')`;
    await change('birdnet-go', { enabled: true });
    const pulling = await untilRow('birdnet-go', ({ message }) => /pulling \d+ % of \d+ MB/.test(message));
    expect(pulling).toMatchObject({ phase: 'pulling', reason: 'Pulling' });
    registry.slow = null;
    await untilRow('birdnet-go', ({ phase }) => phase === 'running');
    const heard = kept('birdnet-go', 'data', 'heard');
    await station.until('it has listened', () => existsSync(heard) && readFileSync(heard, 'utf8').trim() !== '');
    expect(readFileSync(heard, 'utf8').trim()).toBe('HTTP/1.1 200 OK');
    expect(visitors).toEqual(['birdnet-go']);
  });

  test('it is confined, its folders are kept, and what it is told holds no more than it needs', async () => {
    const container = await existing('birdnet-go');
    expect(container.HostConfig).toMatchObject({ ReadonlyRootfs: true, OomScoreAdj: 600, Memory: 1024 * 1024 * 1024 });
    expect(container.EffectiveCaps ?? []).toEqual([]);
    expect(Object.keys(container.HostConfig.PortBindings)).toEqual(['8080/tcp']);
    expect(container.Mounts.map(({ Destination }) => Destination).sort()).toEqual([
      '/data',
      '/root/.config/birdnet-go',
      '/run/silvasonic',
    ]);
    const run = join(station.runPath, 'services', 'birdnet-go');
    const told = toldMicrophonesSchema.parse(JSON.parse(readFileSync(join(run, 'microphones.json'), 'utf8')));
    expect(told.microphones).toHaveLength(1);
    expect(told.station.position).toEqual({ latitude: 52.5, longitude: 13.4 });
    for (const secret of ['live-token', 'live.m3u']) expect(statSync(join(run, secret)).mode & 0o777).toBe(0o600);
    const token = readFileSync(join(run, 'live-token'), 'utf8').trim();
    expect(readFileSync(join(station.runPath, LIVE_TOKENS_FILE), 'utf8')).not.toContain(token);
    expect(JSON.stringify([container.Config, container.Args])).not.toContain(token);
  });

  test('what it writes is told on Redis while somebody listens: each line once, though its container is replaced', async () => {
    const lines = (await station.redis?.listen(CHANNEL.logs)) ?? [];
    const numbers = (): number[] =>
      lines.flatMap((text) => {
        const line = logLineSchema.parse(JSON.parse(text));
        expect(line).toMatchObject({ service: 'birdnet-go', instance: 'birdnet-go' });
        const number = /^robin (\d+) ♪$/.exec(line.text)?.[1];
        return number === undefined ? [] : [Number(number)];
      });
    await station.until('it is heard', () => numbers().length > 40);
    await change('birdnet-go', { settings: station.sql.json({ threshold: 0.4 }) });
    await station.until('its successor is heard from its beginning', () =>
      lines.some((text) => text.includes('threshold 0.4 at 52.5, 13.4')),
    );
    const before = lines.length;
    await station.until('its successor is heard', () => lines.length > before + 40);
    const all = numbers();
    const second = all.lastIndexOf(0);
    for (const part of [all.slice(0, second), all.slice(second)]) {
      const first = part[0] ?? 0;
      expect(part).toEqual(part.map((_, index) => first + index));
    }
  });

  test('switched off, its token opens nothing any more; what it kept stays', async () => {
    const token = readFileSync(join(station.runPath, 'services', 'birdnet-go', 'live-token'), 'utf8').trim();
    const lets = (): string | null =>
      mayHearLive(
        liveTokensSchema.parse(JSON.parse(readFileSync(join(station.runPath, LIVE_TOKENS_FILE), 'utf8'))),
        token,
      );
    expect(lets()).toBe('birdnet-go');
    await change('birdnet-go', { enabled: false });
    await station.until('it is gone', async () => (await containerOf('birdnet-go')) === null);
    await station.until('its token is forgotten', () => lets() === null);
    expect(readFileSync(kept('birdnet-go', 'config', 'config.yaml'), 'utf8')).toContain('/live/');
  });
});

describe('rclone', () => {
  const secret = (): string => join(station.workspace, 'secrets', 'rclone', 'rclone.conf');
  const put = (text: string, mode: number): void => {
    mkdirSync(join(station.workspace, 'secrets', 'rclone'), { recursive: true });
    writeFileSync(secret(), text);
    chmodSync(secret(), mode);
  };

  test('without its secret it says where to put it and how; one that others can read is refused', async () => {
    await change('rclone', { enabled: true, settings: station.sql.json({ remote: 'wood', minutes: 1 }) });
    const missing = await untilRow('rclone', ({ phase }) => phase === 'blocked');
    expect(missing.reason).toBe('SecretMissing');
    expect(missing.message).toContain(`install -D -m 600 <your file> ${secret()}`);
    put('[wood]\n', 0o644);
    const open = await untilRow('rclone', ({ reason }) => reason === 'SecretOpen');
    expect(open.message).toContain(`chmod 600 ${secret()}`);
  });

  test('with it: finished recordings are copied, and nothing that is still being written', async () => {
    const day = join(station.workspace, 'recorder', 'robin-12345678', 'data', 'raw', '2026-05-01');
    const buffer = join(station.workspace, 'recorder', 'robin-12345678', '.buffer');
    for (const path of [day, buffer]) mkdirSync(path, { recursive: true });
    writeFileSync(join(day, 'finished.wav'), 'x');
    writeFileSync(join(buffer, 'unfinished.wav'), 'x');
    put('[wood]\n', 0o600);
    const running = await untilRow('rclone', ({ phase }) => phase === 'running');
    expect(running.message).not.toContain('[wood]');
    const uploaded = kept('rclone', 'data', 'uploaded');
    await station.until('a round is done', () => existsSync(uploaded) && readFileSync(uploaded, 'utf8') !== '');
    expect(readFileSync(uploaded, 'utf8')).toBe('/app/recordings/robin-12345678/data/raw/2026-05-01/finished.wav\n');
    expect(
      readFileSync(kept('rclone', 'data', 'arguments'), 'utf8')
        .split('\n')
        .slice(0, 5),
    ).toEqual(['copy', '/app/recordings', 'wood:silvasonic', '--include', '/*/data/raw/**.{wav,flac}']);
    const container = await existing('rclone');
    const recordings = container.Mounts.find(({ Destination }) => Destination === '/app/recordings');
    expect(recordings?.RW).toBe(false);
  });

  test('a storage that fails is told in its row, a new secret starts it anew', async () => {
    await change('rclone', { settings: station.sql.json({ remote: 'broken', minutes: 1 }) });
    await untilRow('rclone', ({ phase, reason }) => phase === 'running' && reason === 'UploadFailed');
    const before = await existing('rclone');
    put('[wood]\ntype = local\n', 0o600);
    await station.until('it has been replaced', async () => {
      const now = await containerOf('rclone');
      return now !== null && now.Id !== before.Id;
    });
    expect(readFileSync(kept('rclone', 'data', 'rclone.conf'), 'utf8')).toContain('type = local');
  });
});

test('a registry that is away: told in its own row, while all others go on as they are', async () => {
  const before = await existing('rclone');
  await change('away', { enabled: true });
  const away = await untilRow('away', ({ reason }) => reason === 'RegistryUnreachable');
  expect(away).toMatchObject({ phase: 'pulling' });
  expect(away.message).toMatch(/127\.0\.0\.1:9\/wood\/away:1 cannot be fetched: .*It is tried again by itself\./);
  expect((await existing('rclone')).Id).toBe(before.Id);
  await change('away', { enabled: false });
  await untilRow('away', ({ phase }) => phase === 'disabled');
});

test('an alert to try it, asked for by a row: it arrives once, and an event says so', async () => {
  const received: string[] = [];
  const receiver = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => received.push(chunk.toString()));
    request.on('end', () => response.end());
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const address = receiver.address();
  const webhookUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`;
  try {
    const value = station.sql.json({ webhookUrl, testToken: 'first' });
    await station.sql`insert into system_config (key, value) values ('alerts', ${value})`;
    await station.nudge();
    const sent = await station.until('an event says so', async () =>
      (await station.events()).find(({ reason }) => reason.startsWith('Alert')),
    );
    expect(sent).toMatchObject({ subject: 'station', type: 'normal', reason: 'AlertSent', count: 1 });
    expect(received.map((text) => alertSchema.parse(JSON.parse(text)).kind)).toEqual(['test']);
    await expect(station.sql`update system_config set value = '[]' where key = 'alerts'`).rejects.toThrow(
      /system_config_value/,
    );
  } finally {
    receiver.close();
  }
});

test('the programs of the shipped files are valid for a plain shell', () => {
  for (const name of ['birdnet-go', 'rclone']) {
    const text = readFileSync(join(import.meta.dirname, '../../profiles/services', `${name}.yml`), 'utf8');
    const script = text.slice(text.indexOf('  - |\n') + '  - |\n'.length).replaceAll(/^ {4}/gm, '');
    expect(spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  }
});
