/** The processor with the real SoX: what it makes, what it leaves, and what is there after kills at any step. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createProcessor, type Processor } from '../../services/processor/processor.ts';
import { createSox, type Sox } from '../../services/processor/sox.ts';
import {
  overviewSchema,
  type ProcessorConfig,
  processorConfigSchema,
  type SegmentName,
} from '../../services/shared/contract.ts';
import {
  archiveFile,
  copyFile,
  copyFiles,
  filesOf,
  makeProcessorPlace,
  OAK,
  POND,
  type ProcessorPlace,
  put,
  rawFile,
  type SampleSound,
  sampleWav,
  segmentAt,
} from '../unit/processor-place.ts';
import {
  bundleProcessor,
  pictureSize,
  type RunningProcessor,
  restoredWav,
  samplesOf,
  soundFacts,
  startProcessor,
} from './processor-process.ts';

let place: ProcessorPlace;
let running: RunningProcessor[];
beforeEach(() => {
  place = makeProcessorPlace();
  running = [];
});
afterEach(async () => {
  for (const one of running) {
    one.child.kill('SIGKILL');
    await one.ended;
  }
  place.remove();
});

const at = (name: string): string => join(place.recordingsPath, name);
const PLAIN: SampleSound = { rate: 48_000, channels: 1, bitsPerSample: 16, seconds: 1 };

function inProcess(
  config: Partial<ProcessorConfig> = {},
  environment: NodeJS.ProcessEnv = process.env,
  freeBytes = 1e9,
  within: (sox: Sox) => Sox = (sox) => sox,
): Processor {
  const stop = new AbortController().signal;
  return createProcessor({
    recordingsPath: place.recordingsPath,
    config: processorConfigSchema.parse({ reserveBytes: 0, reservePercent: 0, ...config }),
    sox: within(createSox({ environment, prefix: [], stop })),
    log: () => {},
    now: () => Date.now(),
    bootedAt: () => Date.now() - 3_600_000,
    diskSpace: async () => ({ freeBytes, totalBytes: 2e9 }),
    stop,
  });
}

async function workThrough(processor: Processor): Promise<void> {
  while ((await processor.step()) === 'worked');
}

function start(environment: Record<string, string | undefined>, bundle: string): RunningProcessor {
  const processor = startProcessor(place, bundle, environment);
  running.push(processor);
  return processor;
}

function isSame(one: Int32Array, other: Int32Array | undefined): boolean {
  return other !== undefined && Buffer.from(one.buffer).equals(Buffer.from(other.buffer));
}

function highestOf(samples: Int32Array): number {
  return samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 0) / 2 ** 31;
}

describe('what is made of a recording', () => {
  it.each([
    [384_000, 1, 16],
    [250_000, 1, 24],
    [96_000, 2, 24],
    [44_100, 3, 32],
    [8000, 1, 16],
  ] as const)('%i Hz, %i channel(s), %i bits', async (rate, channels, bitsPerSample) => {
    const segment = segmentAt(OAK, '2026-05-01T04:00:00Z');
    const wav = sampleWav({ rate, channels, bitsPerSample, seconds: 1.5 });
    put(place, rawFile(segment), wav);
    const processor = inProcess();
    await workThrough(processor);

    expect(await soundFacts(at(copyFile(segment, 'flac')))).toEqual({
      rate: 48_000,
      channels,
      frames: 72_000,
      bits: 16,
    });
    const picture = pictureSize(readFileSync(at(copyFile(segment, 'png'))));
    expect(picture.height).toBe(257);
    // SoX draws whole blocks of samples; a few pixels less are what is left over.
    expect(Math.abs(picture.width - 990)).toBeLessThanOrEqual(10);
    const overview = overviewSchema.parse(JSON.parse(readFileSync(at(copyFile(segment, 'json')), 'utf8')));
    expect(overview).toMatchObject({ rate, channels, frames: rate * 1.5, usedBits: bitsPerSample });
    expect([overview.minimum.length, overview.maximum.length]).toEqual([1000, 1000]);
    expect(Math.max(...overview.maximum) / 32768).toBeCloseTo(highestOf(await samplesOf(at(rawFile(segment)))), 1);
    expect(readFileSync(at(rawFile(segment))).equals(wav)).toBe(true);
    expect(filesOf(place)).toEqual([rawFile(segment), ...copyFiles(segment)].sort());
    expect(processor.status()).toMatchObject({ state: 'idle', done: 1, backlog: 0, brokenCount: 0 });
  });

  it("gain and high-pass are the device's own, and change the copy alone", async () => {
    const oak = segmentAt(OAK, '2026-05-01T04:00:00Z');
    const pond = segmentAt(POND, '2026-05-01T04:00:00Z');
    for (const segment of [oak, pond]) put(place, rawFile(segment), sampleWav(PLAIN));
    put(place, `${OAK}/processing.json`, JSON.stringify({ gainDb: -20 }));
    put(place, `${POND}/processing.json`, JSON.stringify({ highPassHz: 15_000 }));
    await workThrough(inProcess());
    const recorded = highestOf(await samplesOf(at(rawFile(oak))));
    expect(highestOf(await samplesOf(at(copyFile(oak, 'flac')))) / recorded).toBeCloseTo(0.1, 2);
    const [heard, passed] = [await samplesOf(at(rawFile(pond))), await samplesOf(at(copyFile(pond, 'flac')))];
    const power = (samples: Int32Array) => samples.reduce((sum, sample) => sum + (sample / 2 ** 31) ** 2, 0);
    expect(power(passed) / power(heard)).toBeLessThan(0.05);
  });

  it('nonsense in processing.json counts as none, and so does a FIFO', async () => {
    const segments = [segmentAt(OAK, '2026-05-01T04:00:00Z'), segmentAt(POND, '2026-05-01T04:00:00Z')];
    for (const segment of segments) put(place, rawFile(segment), sampleWav(PLAIN));
    put(place, `${OAK}/processing.json`, '{"gainDb": "loud"}');
    execFileSync('mkfifo', [at(`${POND}/processing.json`)]);
    await workThrough(inProcess());
    for (const segment of segments) expect(existsSync(at(copyFile(segment, 'json')))).toBe(true);
  });

  it('the newest comes first', async () => {
    const segments = [1, 3, 2].map((day) => segmentAt(day === 3 ? POND : OAK, `2026-05-0${day}T04:00:00Z`));
    for (const segment of segments) put(place, rawFile(segment), sampleWav(PLAIN));
    const processor = inProcess();
    const order: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      await processor.step();
      order.push(
        ...segments.map((one) => copyFile(one, 'json')).filter((file) => existsSync(at(file)) && !order.includes(file)),
      );
    }
    expect(order.map((file) => file.split('/')[3])).toEqual(['2026-05-03', '2026-05-02', '2026-05-01']);
  });
});

const GUANO =
  'GUANO|Version:1.0\nMake:Open Acoustic Devices\nModel:AudioMoth\nSamplerate:96000\nLoc Position:48.1 11.5\n';

describe('the archive form', () => {
  const archive = { processing: { gainDb: 0, highPassHz: 0, archive: 'flac' as const } };

  it.each([
    ['16 bits', { ...PLAIN, rate: 384_000 }],
    ['24 bits, an odd number of bytes', { ...PLAIN, bitsPerSample: 24 as const, seconds: 10_001 / 48_000 }],
    ['32 bits of which 24 are used', { ...PLAIN, bitsPerSample: 32 as const, zeroBits: 8 }],
  ])('%s: the recording comes back to the byte, with all that was written about it', async (_, sound) => {
    const segment = segmentAt(OAK, '2026-05-01T04:00:00Z');
    const wav = sampleWav({
      ...sound,
      after: [
        ['LIST', 'INFOIART\x04\0\0\0Oak\0'],
        ['guan', GUANO],
      ],
    });
    put(place, rawFile(segment), wav);
    utimesSync(at(rawFile(segment)), 1_700_000_000, 1_700_000_000);
    const before = await samplesOf(at(rawFile(segment)));
    await workThrough(inProcess(archive));

    expect(filesOf(place)).toEqual([archiveFile(segment), ...copyFiles(segment)].sort());
    const after = await samplesOf(at(archiveFile(segment)));
    expect(isSame(after, before)).toBe(true);
    // The reference decoder writes 24 bits where 24 bits are.
    if (sound.bitsPerSample < 32) {
      const restored = await restoredWav(at(archiveFile(segment)), join(place.path, 'restored.wav'));
      expect(restored.equals(wav)).toBe(true);
    }
    expect(statSync(at(archiveFile(segment))).mtimeMs).toBe(1_700_000_000_000);
    for (const file of [archiveFile(segment), copyFile(segment, 'flac')]) {
      expect(execFileSync('soxi', ['-a', at(file)]).toString()).toContain('Model:AudioMoth');
    }
  });

  it('what FLAC cannot hold stays as it is', async () => {
    const segment = segmentAt(OAK, '2026-05-01T04:00:00Z');
    const wav = sampleWav({ ...PLAIN, bitsPerSample: 32 });
    put(place, rawFile(segment), wav);
    const processor = inProcess(archive);
    await workThrough(processor);
    expect(filesOf(place)).toEqual([rawFile(segment), ...copyFiles(segment)].sort());
    expect(readFileSync(at(rawFile(segment))).equals(wav)).toBe(true);
    expect(processor.status()).toMatchObject({ state: 'idle', backlog: 0, brokenCount: 0 });
  });

  it('a FLAC file beside it that holds other sound costs no recording', async () => {
    const [one, other] = [segmentAt(OAK, '2026-05-01T04:00:00Z'), segmentAt(OAK, '2026-05-01T05:00:00Z')];
    put(place, rawFile(one), sampleWav(PLAIN, 1));
    put(place, rawFile(other), sampleWav(PLAIN, 2));
    await workThrough(inProcess(archive));
    put(place, rawFile(one), sampleWav(PLAIN, 2));
    put(place, rawFile(other), sampleWav(PLAIN, 2));
    // One is as a kill between the two last steps leaves it; the other has been tampered with.
    await workThrough(inProcess());
    expect(existsSync(at(rawFile(other)))).toBe(false);
    expect(existsSync(at(rawFile(one)))).toBe(true);
    expect(existsSync(at(archiveFile(one)))).toBe(true);
  });

  it('goes on with little room, whatever newer recordings wait for their copies', async () => {
    const [old, fresh] = [segmentAt(OAK, '2026-05-01T04:00:00Z'), segmentAt(POND, '2026-05-02T04:00:00Z')];
    put(place, rawFile(old), sampleWav(PLAIN));
    put(place, rawFile(fresh), sampleWav(PLAIN));
    // The copies of the older one had to go.
    put(place, `${OAK}/data/processed/.removed-until`, '2026-05-01T04:00:00.000Z\n');
    const processor = inProcess({ ...archive, reserveBytes: 1e9 }, process.env, 0.9e9);
    await workThrough(processor);
    expect(existsSync(at(archiveFile(old)))).toBe(true);
    expect(existsSync(at(rawFile(old)))).toBe(false);
    expect(existsSync(at(rawFile(fresh)))).toBe(true);
    expect(processor.status()).toMatchObject({ state: 'full', backlog: 1 });
  });

  it('copies are made of archived recordings, too', async () => {
    const segment = segmentAt(OAK, '2026-05-01T04:00:00Z');
    put(place, rawFile(segment), sampleWav({ ...PLAIN, after: [['guan', GUANO]] }));
    await workThrough(inProcess(archive));
    for (const file of copyFiles(segment)) execFileSync('rm', [at(file)]);
    await workThrough(inProcess(archive));
    expect(filesOf(place)).toEqual([archiveFile(segment), ...copyFiles(segment)].sort());
    expect(execFileSync('soxi', ['-a', at(copyFile(segment, 'flac'))]).toString()).toContain('Model:AudioMoth');
  });
});

describe('hostile ground', () => {
  it('a broken recording is named and left, and keeps no other from its copies', async () => {
    const day = (hour: number) => segmentAt(OAK, `2026-05-01T0${hour}:00:00Z`, hour);
    const wav = sampleWav(PLAIN);
    const broken: [SegmentName, Buffer][] = [
      [day(1), Buffer.alloc(0)],
      [day(2), Buffer.from('this is no recording')],
      [day(3), wav.subarray(0, wav.length / 2)],
      [day(4), Buffer.concat([wav.subarray(0, 20), Buffer.from([7]), wav.subarray(21)])],
      [day(5), wav.subarray(0, 44)],
    ];
    for (const [segment, content] of broken) put(place, rawFile(segment), content);
    const good = day(0);
    put(place, rawFile(good), wav);
    const processor = inProcess();
    await workThrough(processor);
    const status = processor.status();
    expect(status).toMatchObject({ state: 'idle', brokenCount: 5, backlog: 0, done: 1 });
    for (const [segment, content] of broken) {
      expect(status.broken.map(({ name }) => rawFile(segment).includes(name))).toContain(true);
      expect(readFileSync(at(rawFile(segment))).equals(content)).toBe(true);
    }
    expect(filesOf(place).filter((file) => file.includes('/processed/'))).toEqual(copyFiles(good).sort());
  });

  it('a recording too short for a picture, at which SoX aborts, is left at once, and nothing is tried for ever', async () => {
    const segment = segmentAt(OAK, '2026-05-01T04:00:00Z');
    put(place, rawFile(segment), sampleWav({ ...PLAIN, seconds: 3 / 48_000 }));
    const processor = inProcess();
    await workThrough(processor);
    expect(filesOf(place)).toEqual([rawFile(segment)]);
    expect(processor.status()).toMatchObject({ state: 'idle', backlog: 0, brokenCount: 1 });
  });

  it('a recording for which SoX is killed each time keeps no older day from its copies, and is left in the end', async () => {
    const old = [1, 2, 3].map((day) => segmentAt(OAK, `2026-05-0${day}T04:00:00Z`, day));
    const heavy = segmentAt(OAK, '2026-05-04T04:00:00Z', 4);
    for (const segment of [...old, heavy]) put(place, rawFile(segment), sampleWav(PLAIN));
    const { ino } = statSync(at(rawFile(heavy)));
    const processor = inProcess({}, process.env, 1e9, (sox) => ({
      async run(argumentList, files, options) {
        if ((await files[0]?.stat())?.ino === ino) throw new Error('sox was ended by SIGKILL');
        await sox.run(argumentList, files, options);
      },
    }));
    for (let step = 0; step < 10; step += 1) await processor.step();
    expect(filesOf(place)).toEqual([...old.flatMap((one) => [rawFile(one), ...copyFiles(one)]), rawFile(heavy)].sort());
    expect(processor.status()).toMatchObject({ backlog: 0, brokenCount: 1 });
  });

  it('FIFOs, links, folders and strange names in a workspace neither block nor lead out', async () => {
    const good = segmentAt(OAK, '2026-05-01T00:00:00Z');
    const wav = sampleWav(PLAIN);
    put(place, rawFile(good), wav);
    execFileSync('mkfifo', [at(rawFile(segmentAt(OAK, '2026-05-01T01:00:00Z')))]);
    mkdirSync(at(rawFile(segmentAt(OAK, '2026-05-01T02:00:00Z'))));
    const secret = join(place.path, 'secret.wav');
    writeFileSync(secret, wav);
    symlinkSync(secret, at(rawFile(segmentAt(OAK, '2026-05-01T03:00:00Z'))));
    put(place, `${OAK}/data/raw/2026-05-01/${'x'.repeat(200)}.wav`, wav);
    put(place, `${OAK}/data/raw/2026-99-01/${OAK}_20269901_000000_run1_000001.wav`, wav);
    // Another device's processed folder is a link out of the station.
    const pond = segmentAt(POND, '2026-05-01T00:00:00Z');
    put(place, rawFile(pond), wav);
    const outside = join(place.path, 'outside');
    mkdirSync(outside);
    symlinkSync(outside, at(`${POND}/data/processed`));
    const processor = inProcess();
    await workThrough(processor);
    await workThrough(processor);
    expect(copyFiles(good).filter((file) => !existsSync(at(file)))).toEqual([]);
    expect(readdirSync(outside)).toEqual([]);
    expect(processor.status().message).toContain(`${POND}/data/processed is no folder: remove it`);
  });

  it('without SoX no recording is called broken', async () => {
    put(place, rawFile(segmentAt(OAK, '2026-05-01T00:00:00Z')), sampleWav(PLAIN));
    const processor = inProcess({}, { PATH: place.path });
    for (let count = 0; count < 5; count += 1) await processor.step();
    expect(processor.status()).toMatchObject({ state: 'retrying', brokenCount: 0, backlog: 1 });
    expect(processor.status().message).toContain('install the package sox');
  });
});

describe('as a process', () => {
  /** Whatever is visible is whole: each recording once at least, each copy complete. */
  async function checkWhole(
    segments: readonly SegmentName[],
    sounds: ReadonlyMap<SegmentName, Int32Array>,
  ): Promise<void> {
    for (const segment of segments) {
      const kept = [rawFile(segment), archiveFile(segment)].filter((file) => existsSync(at(file)));
      expect(kept.length).toBeGreaterThan(0);
      for (const file of kept) expect(isSame(await samplesOf(at(file)), sounds.get(segment))).toBe(true);
      const [flac, png, json] = copyFiles(segment).map(at);
      if (flac !== undefined && existsSync(flac)) expect((await samplesOf(flac)).length).toBe(144_000);
      if (png !== undefined && existsSync(png)) pictureSize(readFileSync(png));
      if (json !== undefined && existsSync(json)) overviewSchema.parse(JSON.parse(readFileSync(json, 'utf8')));
    }
  }

  it('killed at any step, again and again, it goes on where it was and leaves nothing half-done', async () => {
    const segments = [0, 1, 2, 3, 4].map((hour) => segmentAt(OAK, `2026-05-01T0${hour}:00:00Z`));
    const sounds = new Map<SegmentName, Int32Array>();
    for (const [index, segment] of segments.entries()) {
      put(place, rawFile(segment), sampleWav({ ...PLAIN, rate: 192_000, seconds: 3 }, index + 1));
      sounds.set(segment, await samplesOf(at(rawFile(segment))));
    }
    const settings = `${OAK}/processing.json`;
    put(place, settings, JSON.stringify({ archive: 'flac' }));
    const bundle = await bundleProcessor(place);
    const notOurs = `${OAK}/data/processed/.work/keep me.txt`;
    put(place, notOurs, 'x');
    const wanted = [
      ...segments.flatMap((segment) => [archiveFile(segment), ...copyFiles(segment)]),
      notOurs,
      settings,
    ].sort();
    let kills = 0;
    for (let filesSeen = 0; kills < 60; kills += 1) {
      const processor = start({}, bundle);
      // The next kill comes a little after something changed on disk: each time at another step.
      const deadline = Date.now() + 20_000;
      while (Date.now() < deadline && filesSeen === changeCount()) await new Promise((next) => setTimeout(next, 5));
      await new Promise((next) => setTimeout(next, (kills * 37) % 300));
      processor.child.kill('SIGKILL');
      await processor.ended;
      filesSeen = changeCount();
      await checkWhole(segments, sounds);
      if (wanted.every((file) => existsSync(at(file))) && segments.every((one) => !existsSync(at(rawFile(one))))) break;
    }
    expect(kills).toBeGreaterThan(5);
    const last = start({}, bundle);
    await last.status(({ state, backlog, steps }) => state === 'idle' && backlog === 0 && steps > 0);
    last.child.kill('SIGTERM');
    expect((await last.ended).code).toBe(0);
    expect(filesOf(place)).toEqual(wanted);
    await checkWhole(segments, sounds);
  });

  /** Grows or shrinks with each file that appears in its place or goes. */
  function changeCount(): number {
    return filesOf(place).reduce((sum, file) => sum + file.length * (file.includes('.work') ? 1 : 1000), 0);
  }

  it('SIGTERM ends it in mid-work with 0, with its status saying so', async () => {
    const bundle = await bundleProcessor(place);
    const segment = segmentAt(OAK, '2026-05-01T00:00:00Z');
    put(place, rawFile(segment), sampleWav({ ...PLAIN, rate: 384_000, seconds: 20 }));
    const processor = start({}, bundle);
    const deadline = Date.now() + 30_000;
    while (!existsSync(at(`${OAK}/data/processed/.work`)) && Date.now() < deadline) {
      await new Promise((next) => setTimeout(next, 5));
    }
    processor.child.kill('SIGTERM');
    expect(await processor.ended).toMatchObject({ code: 0, signal: null });
    const status = JSON.parse(readFileSync(join(place.runPath, 'status.json'), 'utf8'));
    expect(status).toMatchObject({ state: 'stopping', reason: 'AskedToStop' });
    expect(readdirSync(at(`${OAK}/data/processed/.work`))).toEqual([]);
  });

  it('every thread of it, and so every program it starts, has the lowest priority', async () => {
    const bundle = await bundleProcessor(place);
    const processor = start({}, bundle);
    await processor.status(({ state }) => state === 'idle');
    const tasks = readdirSync(`/proc/${processor.child.pid}/task`);
    const nices = tasks.map((task) => {
      const stat = readFileSync(`/proc/${processor.child.pid}/task/${task}/stat`, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
    });
    expect([...new Set(nices)]).toEqual([19]);
  });

  it('a configuration that is wrong ends it with 64 and a sentence that names the field', async () => {
    const bundle = await bundleProcessor(place);
    const config = JSON.stringify({ retention: 'shred', reserveBytes: -1 });
    const { code, errors } = await start({ SILVASONIC_PROCESSOR_CONFIG_JSON: config }, bundle).ended;
    expect(code).toBe(64);
    expect(errors).toContain('field retention was given');
    expect(errors).toContain('field reserveBytes was given');
  });
});
