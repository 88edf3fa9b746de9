import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../services/controller/log.ts';
import { createWorkspaces } from '../../services/controller/workspaces.ts';
import type { Clock, DesiredState, DeviceRow, Workspaces } from '../../services/controller/world.ts';
import { DEFAULT_ALERT_SETTINGS } from '../../services/shared/alerts.ts';
import { createClock } from '../../services/shared/clock.ts';
import type { RecorderStatus } from '../../services/shared/contract.ts';
import { readHostileFile } from '../../services/shared/hostile-file.ts';
import { buildProgram, runProgram } from './child-program.ts';

const WORKSPACE = 'ultramic-0a1b2c3d';

let folder = '';
let run = '';
let recorder = '';
let controller = '';
let workspaces: Workspaces;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silvasonic-workspaces-'));
  run = join(folder, 'run');
  recorder = join(folder, 'recorder');
  controller = join(folder, 'controller');
  workspaces = make();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function make(clock: Clock = createClock()): Workspaces {
  const log = createLog({ level: 'silent' });
  return createWorkspaces({
    recorderWorkspace: recorder,
    controllerWorkspace: controller,
    runPath: run,
    servicesFolder: join(recorder, '../services'),
    secretsFolder: join(recorder, '../secrets'),
    log,
    clock,
  });
}

const status: RecorderStatus = {
  schema: 1,
  run: 'k3x9',
  state: 'recording',
  reason: 'Recording',
  message: 'Recording at 48 kHz.',
  frames: 480_000,
  rate: 48_000,
  channels: 1,
  format: 'S16_LE',
  levels: [{ rmsDbfs: -50, peakDbfs: -30, clipped: false }],
  silent: false,
  overruns: 0,
  lostFrames: 0,
  lastSegment: null,
  at: 1_750_000_000_000,
};

describe('readStatus', () => {
  let file = '';
  beforeEach(() => {
    mkdirSync(join(run, WORKSPACE), { recursive: true });
    file = join(run, WORKSPACE, 'status.json');
  });

  it('hands out what a recorder wrote', async () => {
    writeFileSync(file, JSON.stringify(status));
    expect(await workspaces.readStatus(WORKSPACE)).toEqual({
      ok: true,
      value: status,
      startedAtMs: expect.any(Number),
    });
  });

  const padded = (bytes: number) => JSON.stringify({ ...status, pad: 'x'.repeat(bytes) });
  const planted: [string, () => void | Promise<void>][] = [
    ['nothing', () => {}],
    ['no folder', () => rmSync(join(run, WORKSPACE), { recursive: true })],
    ['an empty file', () => writeFileSync(file, '')],
    ['half a document', () => writeFileSync(file, JSON.stringify(status).slice(0, 100))],
    ['another document', () => writeFileSync(file, '{"schema":2}')],
    ['impossible figures', () => writeFileSync(file, JSON.stringify(status).replace('480000', '1e999'))],
    ['bytes', () => writeFileSync(file, Buffer.from([0xff, 0xfe, 0x00, 0x80]))],
    ['more than a status can be', () => writeFileSync(file, padded(64 * 1024))],
    [
      'a gigabyte',
      () => {
        writeFileSync(file, '');
        truncateSync(file, 1024 ** 3);
      },
    ],
    ['a FIFO', () => void execFileSync('mkfifo', [file])],
    ['a folder', () => mkdirSync(file)],
    ['a link to /dev/zero', () => symlinkSync('/dev/zero', file)],
    ['a link to itself', () => symlinkSync('status.json', file)],
    [
      'a link to a good status elsewhere',
      () => {
        writeFileSync(join(folder, 'elsewhere.json'), JSON.stringify(status));
        symlinkSync(join(folder, 'elsewhere.json'), file);
      },
    ],
    [
      'a link in place of the folder',
      () => {
        rmSync(join(run, WORKSPACE), { recursive: true });
        mkdirSync(join(folder, 'elsewhere'));
        writeFileSync(join(folder, 'elsewhere', 'status.json'), JSON.stringify(status));
        symlinkSync(join(folder, 'elsewhere'), join(run, WORKSPACE));
      },
    ],
    [
      'a file in place of the folder',
      () => {
        rmSync(join(run, WORKSPACE), { recursive: true });
        writeFileSync(join(run, WORKSPACE), JSON.stringify(status));
      },
    ],
  ];

  it.each(planted)('takes %s for no status', async (_name, plant) => {
    await plant();
    expect(await workspaces.readStatus(WORKSPACE)).toMatchObject({ ok: true, value: null });
  });

  it('takes a socket for no status', async () => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(file, listening));
    expect(await workspaces.readStatus(WORKSPACE)).toMatchObject({ ok: true, value: null });
    await new Promise((closed) => server.close(closed));
  });

  it('still gets to files after many FIFOs: no thread waits for one', async () => {
    const names = Array.from({ length: 8 }, (_, index) => `mic-0000000${index}`);
    for (const name of names) {
      mkdirSync(join(run, name));
      execFileSync('mkfifo', [join(run, name, 'status.json')]);
    }
    for (const read of await Promise.all(names.map((name) => workspaces.readStatus(name)))) {
      expect(read).toMatchObject({ ok: true, value: null });
    }
    writeFileSync(file, JSON.stringify(status));
    expect(await workspaces.readStatus(WORKSPACE)).toMatchObject({ ok: true, value: status });
  });

  it.each(['..', '../recorder', 'a/b-00000000', '', 'ultramic', 'Mic-0a1b2c3d', 'mic-0a1b2c3d/'])(
    'refuses the name %j',
    async (name) => {
      const read = await workspaces.readStatus(name);
      expect(read).toMatchObject({ ok: false, error: expect.stringContaining('is not the name of a workspace') });
    },
  );

  it('calls a file that it may not read unknown, not missing', async () => {
    writeFileSync(file, JSON.stringify(status));
    chmodSync(file, 0);
    for (const path of [folder, run, join(run, WORKSPACE)]) chmodSync(path, 0o755);
    const program = `
      import { createClock } from '../shared/clock.ts';
      import { createLog } from './log.ts';
      import { createWorkspaces } from './workspaces.ts';
      const workspaces = createWorkspaces({ recorderWorkspace: '/nowhere', controllerWorkspace: '/nowhere',
        runPath: process.argv[2], log: createLog({ level: 'silent' }), clock: createClock() });
      process.stdout.write(JSON.stringify(await workspaces.readStatus('${WORKSPACE}')));
    `;
    // Rights mean nothing to root.
    const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
    const { stdout } = await runProgram(await buildProgram(folder, program), [run], nobody).ended;
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      error: `Could not read the status of ${WORKSPACE}: ${file} cannot be used (the controller's user has no right to it, EACCES).`,
    });
  });
});

describe('readHostileFile', () => {
  it('throws where the disk reports an error', async () => {
    // The kernel answers EIO to a read of its own memory's first page.
    await expect(readHostileFile({ root: '/proc/self', name: 'mem' }, 100)).rejects.toThrow(
      '/proc/self/mem cannot be used (the disk reports an error, EIO).',
    );
  });

  it('reads a file of the kernel, which has no size, up to the limit', async () => {
    expect(await readHostileFile({ root: '/proc', name: 'version' }, 4096)).toMatchObject({ kind: 'text' });
    expect(await readHostileFile({ root: '/proc', name: 'version' }, 5)).toMatchObject({ kind: 'unusable' });
  });

  it('accepts exactly the limit', async () => {
    writeFileSync(join(folder, 'x'), 'x'.repeat(100));
    expect(await readHostileFile({ root: folder, name: 'x' }, 100)).toEqual({ kind: 'text', text: 'x'.repeat(100) });
    expect(await readHostileFile({ root: folder, name: 'x' }, 99)).toMatchObject({ kind: 'unusable' });
  });
});

describe('prepare', () => {
  it('makes all folders, readable for their owner, and is content with them the next time', async () => {
    for (let time = 0; time < 2; time += 1) {
      expect(await workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE })).toMatchObject({
        ok: true,
        value: null,
      });
    }
    for (const path of ['data/raw', 'data/processed', '.buffer']) {
      expect(statSync(join(recorder, WORKSPACE, path)).mode & 0o777).toBe(0o755);
    }
    expect(readdirSync(join(run, WORKSPACE))).toEqual([]);
  });

  it('keeps recordings, and clears what an earlier container left in its run folder', async () => {
    await workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE });
    writeFileSync(join(recorder, WORKSPACE, '.buffer', 'half.wav'), 'sound');
    mkdirSync(join(folder, 'elsewhere'));
    writeFileSync(join(folder, 'elsewhere', 'kept'), '');
    writeFileSync(join(run, WORKSPACE, 'status.json'), JSON.stringify(status));
    mkdirSync(join(run, WORKSPACE, 'planted', 'deep'), { recursive: true });
    symlinkSync(join(folder, 'elsewhere'), join(run, WORKSPACE, 'planted', 'link'));
    symlinkSync(join(folder, 'elsewhere'), join(run, WORKSPACE, 'link'));
    execFileSync('mkfifo', [join(run, WORKSPACE, 'fifo')]);
    expect(await workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE })).toMatchObject({ ok: true });
    expect(readdirSync(join(run, WORKSPACE))).toEqual([]);
    expect(existsSync(join(folder, 'elsewhere', 'kept'))).toBe(true);
    expect(existsSync(join(recorder, WORKSPACE, '.buffer', 'half.wav'))).toBe(true);
  });

  it.each([
    ['recorder', ''],
    ['recorder', 'data'],
    ['recorder', 'data/raw'],
    ['recorder', '.buffer'],
    ['run', ''],
  ])('follows no link in place of a folder: %s %s', async (root, path) => {
    const place = join(root === 'run' ? run : recorder, WORKSPACE, path);
    mkdirSync(join(place, '..'), { recursive: true });
    mkdirSync(join(folder, 'elsewhere'));
    writeFileSync(join(folder, 'elsewhere', 'kept'), '');
    symlinkSync(join(folder, 'elsewhere'), place);
    const made = await workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE });
    expect(made).toMatchObject({
      ok: false,
      error: `Could not prepare ${WORKSPACE}: ${place} is a link or a file where a folder belongs: remove it.`,
    });
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual(['kept']);
  });

  it('accepts a root that is a link: that is how its owner moves it to another disk', async () => {
    mkdirSync(join(folder, 'disk'));
    symlinkSync(join(folder, 'disk'), recorder);
    expect(await workspaces.prepare({ kind: 'recorder', workspace: WORKSPACE })).toMatchObject({ ok: true });
    expect(existsSync(join(folder, 'disk', WORKSPACE, 'data', 'raw'))).toBe(true);
  });

  it('refuses a name that could lead out', async () => {
    expect(await workspaces.prepare({ kind: 'recorder', workspace: '../x-00000000' })).toMatchObject({ ok: false });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('the marker', () => {
  it('is missing before it was written, and says whose disk it is afterwards', async () => {
    expect(await workspaces.readMarker()).toMatchObject({ ok: true, value: null });
    expect(await workspaces.writeMarker('5f0c1b9e-0000-4000-8000-000000000000')).toMatchObject({ ok: true });
    expect(await workspaces.readMarker()).toMatchObject({ ok: true, value: '5f0c1b9e-0000-4000-8000-000000000000' });
    expect(readdirSync(recorder)).toEqual(['.silvasonic-station']);
  });

  it('is not called missing when something else is there', async () => {
    mkdirSync(recorder);
    writeFileSync(join(recorder, '.silvasonic-station'), '');
    expect(await workspaces.readMarker()).toMatchObject({
      ok: false,
      error: expect.stringContaining('.silvasonic-station is no marker of ours (it does not hold a station id)'),
    });
    await workspaces.writeMarker('station-1');
    expect(await workspaces.readMarker()).toMatchObject({ ok: true, value: 'station-1' });
  });

  it('is written although somebody planted something beside it', async () => {
    mkdirSync(recorder);
    execFileSync('mkfifo', [join(recorder, '.silvasonic-station.new')]);
    expect(await workspaces.writeMarker('station-1')).toMatchObject({ ok: true });
    expect(await workspaces.readMarker()).toMatchObject({ ok: true, value: 'station-1' });
  });
});

const device: DeviceRow = {
  id: '0869-0389-0001',
  name: 'Oak',
  vendorId: '0869',
  productId: '0389',
  serial: null,
  serialShared: false,
  portPath: 'pci0000:00/usb1/1-2',
  product: 'UltraMic',
  manufacturer: 'Dodotronic',
  capabilities: {
    offers: [
      { format: 'S16_LE', channels: 1, rates: { kind: 'list', values: [384_000] } },
      { format: 'S24_3LE', channels: 2, rates: { kind: 'range', min: 8000, max: 96_000 } },
    ],
  },
  status: 'online',
  enabled: true,
  enrollmentStatus: 'enrolled',
  decidedBy: 'auto',
  profileSlug: 'ultramic',
  suggestedProfile: null,
  settings: { ok: true, value: { gainDb: 6, rate: null } },
  restartToken: '',
  workspace: WORKSPACE,
  firstSeenAt: 1,
  lastSeenAt: 2,
  generation: 3,
  observedGeneration: 3,
  phase: 'recording',
  reason: 'Recording',
  message: 'Recording.',
};

const state: DesiredState = {
  stationId: 'station-1',
  config: {
    name: 'Wood',
    position: { latitude: 52, longitude: 13 },
    autoEnrollment: true,
    autoUpdate: false,
    workspaceMarked: true,
    alerts: DEFAULT_ALERT_SETTINGS,
  },
  profiles: [
    {
      slug: 'ultramic',
      name: 'UltraMic',
      description: '',
      manufacturer: 'Dodotronic',
      model: '384K',
      isSystem: true,
      config: {
        ok: true,
        value: {
          match: { vid: '0869', pid: '0389', name: null, priority: 0 },
          audio: { rate: 'native', channels: 1, format: 'S16_LE' },
          segmentSeconds: 60,
          processed: { gainDb: 0, highPassHz: 0 },
          archive: 'wav',
          watch: { silentBelowDbfs: -90, silentAfterSeconds: 5, clipAtDbfs: -0.1 },
        },
      },
    },
    {
      slug: 'bad',
      name: '',
      description: '',
      manufacturer: '',
      model: '',
      isSystem: false,
      config: { ok: false, message: 'No rate.' },
    },
  ],
  devices: [device],
  services: [
    {
      name: 'processor',
      enabled: false,
      settings: { any: ['thing', null] },
      restartToken: 't',
      generation: 1,
      observedGeneration: 1,
      phase: 'disabled',
      reason: 'Off',
      message: 'Off.',
    },
  ],
  problems: ['One row could not be read.'],
};

describe('the last good state', () => {
  const file = () => join(controller, 'last-good.json');

  it('is missing at first, and comes back whole, to the next process too', async () => {
    expect(await workspaces.readLastGood()).toMatchObject({ ok: true, value: null });
    expect(await workspaces.writeLastGood(state)).toMatchObject({ ok: true });
    expect(await workspaces.readLastGood()).toEqual({ ok: true, value: state, startedAtMs: expect.any(Number) });
    expect(await make().readLastGood()).toMatchObject({ ok: true, value: state });
    expect(readdirSync(controller)).toEqual(['last-good.json']);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it('is not written again while it asks for the same', async () => {
    await workspaces.writeLastGood(state);
    const { ino } = statSync(file());
    const reported = {
      ...state,
      problems: [],
      devices: [
        {
          ...device,
          status: 'offline' as const,
          lastSeenAt: 99,
          phase: 'offline' as const,
          reason: 'Gone',
          message: 'Gone.',
        },
      ],
    };
    await workspaces.writeLastGood(reported);
    expect(statSync(file()).ino).toBe(ino);
    const next = make();
    await next.readLastGood();
    await next.writeLastGood(state);
    expect(statSync(file()).ino).toBe(ino);
  });

  it.each<[string, Partial<DesiredState>]>([
    ['a device', { devices: [{ ...device, enabled: false }] }],
    ['a setting', { devices: [{ ...device, settings: { ok: true, value: { gainDb: 7 } } }] }],
    ['a profile', { profiles: [] }],
    ['the station', { config: { ...state.config, autoUpdate: true } }],
    ['a service', { services: [] }],
  ])('is written when %s changes', async (_name, changes) => {
    await workspaces.writeLastGood(state);
    await workspaces.writeLastGood({ ...state, ...changes });
    expect(await make().readLastGood()).toMatchObject({ ok: true, value: { ...state, ...changes } });
  });

  it.each([
    ['half a file', '{"schema":1,"state":{"stationId":'],
    ['another form', JSON.stringify({ schema: 1, state: { ...state, devices: [{ ...device, enabled: 'yes' }] } })],
    ['a later release', JSON.stringify({ schema: 2, state })],
    ['nothing in it', ''],
  ])('is kept aside when it is broken: %s', async (_name, content) => {
    mkdirSync(controller);
    writeFileSync(file(), content);
    for (let time = 0; time < 2; time += 1) {
      expect(await workspaces.readLastGood()).toMatchObject({
        ok: false,
        error: expect.stringMatching(/last-good\.json could not be used \(.+\): it is kept as last-good\.json\.broken/),
      });
    }
    expect(readdirSync(controller)).toEqual(['last-good.json.broken']);
    expect(readFileSync(`${file()}.broken`, 'utf8')).toBe(content);
    await workspaces.writeLastGood(state);
    expect(await workspaces.readLastGood()).toMatchObject({ ok: true, value: state });
  });

  it('keeps the old one when the new one cannot be written', async () => {
    await workspaces.writeLastGood(state);
    mkdirSync(`${file()}.new`);
    expect(await workspaces.writeLastGood({ ...state, devices: [] })).toMatchObject({
      ok: false,
      error: expect.stringContaining(file()),
    });
    expect(await make().readLastGood()).toMatchObject({ ok: true, value: state });
    rmSync(`${file()}.new`, { recursive: true });
    expect(await workspaces.writeLastGood({ ...state, devices: [] })).toMatchObject({ ok: true });
    expect(await make().readLastGood()).toMatchObject({ ok: true, value: { devices: [] } });
  });
});

describe('a disk that does not answer', () => {
  it('costs a deadline, then nothing more', async () => {
    // Every deadline is over at once: to the adapter each of these calls takes too long.
    const hasty: Clock = {
      ...createClock(),
      timer: (_delayMs, callback) => {
        callback();
        return () => {};
      },
    };
    const slow = make(hasty);
    const reads = [slow.readMarker(), slow.readMarker(), slow.readLastGood(), slow.readStatus(WORKSPACE)];
    expect(await Promise.all(reads)).toMatchObject([
      { ok: false, error: 'Could not read the marker: no answer from the disk within 5 s.' },
      { ok: false, error: 'Could not read the marker: an earlier attempt still waits for the disk.' },
      { ok: false, error: 'Could not read the last good state: no answer from the disk within 5 s.' },
      {
        ok: false,
        error: expect.stringContaining('the disk does not answer (read the marker, read the last good state)'),
      },
    ]);
  });
});
