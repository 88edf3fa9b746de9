/** What a person wishes, and what the station makes of it: the real controller, engine, database, Redis and recorders. */
import { spawnSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { LABEL, RECORDER_ENV } from '../../services/shared/contract.ts';
import { CONFIG_KEY } from '../../services/shared/schema.ts';
import {
  asPage,
  change,
  deviceRow,
  inEffect,
  lives,
  overlaps,
  recorderRuns,
  type TruthWatch,
  watchTruth,
} from './station-observation.ts';
import { createTestStation, type RunningController, type TestStation } from './test-station.ts';
import { plainMicrophone, webcam } from './usb-devices.ts';
import type { PluggedDevice } from './usb-tree.ts';

const FIRST = '0000-0001-virtual-1';
const SECOND = '0000-0001-virtual-2';
const FIELD = '1234-5678-A1';

let station: TestStation;
let controller: RunningController;
let field: PluggedDevice;
let truth: TruthWatch;

beforeAll(async () => {
  station = await createTestStation({ firstCard: 30, environment: { SILVASONIC_VIRTUAL_MICROPHONES: '2' } });
  field = station.plug(plainMicrophone(), { port: '1' });
  controller = await station.start();
  await station.stationId();
  for (const id of [FIRST, SECOND, FIELD]) await station.untilPhase('recording', id);
  truth = watchTruth(station);
});
afterEach(() => {
  // Each lie is told of the test in which it was found.
  expect(truth.lies.splice(0)).toEqual([]);
});
afterAll(async () => {
  await truth?.stop();
  await station?.remove();
});

test('off means off, on means on, and nobody else notices', async () => {
  const { [FIRST]: _first, ...others } = await lives(station);
  await change(station, FIRST, { enabled: false });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'disabled', reason: 'SwitchedOff' });
  expect(await lives(station)).toEqual(others);
  expect(await station.containers()).toHaveLength(2);

  await change(station, FIRST, { enabled: true });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
  expect(await lives(station)).toEqual({ ...others, [FIRST]: expect.any(String) });
});

test('what is ignored stays so, unplugged, plugged in again, and for a new controller', async () => {
  const { [FIELD]: _field, ...others } = await lives(station);
  await change(station, FIELD, { enrollment_status: 'ignored' });
  expect(await inEffect(station, FIELD)).toMatchObject({ phase: 'ignored', decided_by: 'person' });
  expect(await lives(station)).toEqual(others);

  station.usb.unplug(field);
  await station.until('it is gone', async () => (await deviceRow(station, FIELD)).status === 'offline');
  field = station.plug(plainMicrophone(), { port: '1' });
  await station.until('it is back', async () => (await deviceRow(station, FIELD)).status === 'online');
  await passOn();
  expect(await deviceRow(station, FIELD)).toMatchObject({ phase: 'ignored', enrollment_status: 'ignored' });

  await controller.kill('SIGTERM');
  controller = await station.start();
  await passOn();
  expect(await deviceRow(station, FIELD)).toMatchObject({ phase: 'ignored', enrollment_status: 'ignored' });
  const { [SECOND]: _second, ...untouched } = others;
  expect(await lives(station)).toMatchObject(untouched);
  expect(await lives(station)).not.toHaveProperty([FIELD]);
});

test('a person takes a decision back: nothing runs, and no rule of ours undoes that', async () => {
  await change(station, FIRST, { profile_slug: null });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'pending', reason: 'NoProfile' });
  await change(station, FIRST, { enrollment_status: 'pending' });
  await passOn();
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'pending', decided_by: 'person', profile_slug: null });
  expect(await lives(station)).not.toHaveProperty([FIRST]);
  await change(station, FIRST, { enrollment_status: 'enrolled', profile_slug: 'virtual' });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
});

test('another profile is applied at once, and never do two recorders run on one microphone', async () => {
  await asPage(
    station,
    (sql) => sql`
    insert into microphone_profiles (slug, name, config)
    select 'night', 'Night', jsonb_set(config, '{segmentSeconds}', '30') from microphone_profiles where slug = 'virtual'`,
  );
  const before = await recorderRuns(station, FIRST);
  await change(station, FIRST, { profile_slug: 'night' });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording', decided_by: 'person' });
  expect(await recorderConfig(FIRST)).toMatchObject({ segmentSeconds: 30 });

  // Somebody who cannot decide.
  for (const profile_slug of ['virtual', 'night', 'virtual', 'night', 'virtual', 'night'])
    await change(station, FIRST, { profile_slug });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording', profile_slug: 'night' });
  const runs = await recorderRuns(station, FIRST);
  expect(runs.length).toBeGreaterThan(before.length);
  expect(overlaps(runs)).toEqual([]);
});

test('a profile in use cannot be removed, and the refusal names who uses it', async () => {
  await change(station, FIRST, { name: 'Owl <b>& Co</b>' });
  const remove = asPage(station, (sql) => sql`delete from microphone_profiles where slug = 'night'`);
  await expect(remove).rejects.toThrow(/"Night" is used by "Owl <b>& Co<\/b>"/);
});

test('a profile edited to nonsense: what runs goes on and the device says why; mended, all is as before', async () => {
  const before = await lives(station);
  const rate = (value: unknown) => station.sql`
    update microphone_profiles set config = jsonb_set(config, '{audio,rate}', ${station.sql.json(JSON.parse(JSON.stringify(value)))})
    where slug = 'night'`;
  await rate('loud');
  await station.nudge();
  const row = await inEffect(station, FIRST);
  expect(row).toMatchObject({ phase: 'recording', reason: 'ProfileInvalid' });
  expect(row.message).toMatch(/night.*audio\.rate.*"loud"/);
  expect(await lives(station)).toEqual(before);

  await rate(48_000);
  await station.nudge();
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording', reason: 'Recording' });
  expect(await lives(station)).toEqual(before);

  // Now it ends by itself while nobody could say how to go on.
  await rate(-1);
  await station.nudge();
  await inEffect(station, FIRST);
  const [container] = (await station.containers()).filter(({ Config }) => Config.Labels[LABEL.deviceId] === FIRST);
  await station.engine.podman('kill', container?.Id ?? '');
  expect(await station.untilPhase('blocked', FIRST)).toMatchObject({ reason: 'ProfileInvalid' });
  await station.until('that was seen to be true', () => truth.confirmed.blocked);
  await rate(48_000);
  await station.nudge();
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
});

test('an edited profile is applied to what is recorded with it, and to nothing else', async () => {
  const before = await lives(station);
  await asPage(
    station,
    (sql) =>
      sql`update microphone_profiles set config = jsonb_set(config, '{segmentSeconds}', '45') where slug = 'night'`,
  );
  await station.nudge();
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
  expect(await recorderConfig(FIRST)).toMatchObject({ segmentSeconds: 45 });
  expect(await lives(station)).toEqual({ ...before, [FIRST]: expect.not.stringMatching(before[FIRST] ?? '') });
});

test('any slug that the database takes is one to record with', async () => {
  await asPage(
    station,
    (sql) => sql`insert into microphone_profiles (slug, name, config)
      select ${`-${'9'.repeat(59)}`}, 'Odd', config from microphone_profiles where slug = 'virtual'`,
  );
  await change(station, FIRST, { profile_slug: `-${'9'.repeat(59)}` });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
});

test.each([
  ['out of range', { rate: 5 }],
  ['of another type', { rate: '48000' }],
  ['unknown', { volume: 11 }],
  ['deeper than any', { rate: JSON.parse(`${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`) }],
  ['beyond all numbers', { segmentSeconds: 1e300 }],
  ['longer than any', { ['x'.repeat(60_000)]: true }],
])('settings that are %s are told on that one device', async (_what, settings) => {
  const before = await lives(station);
  await change(station, SECOND, { settings });
  const row = await inEffect(station, SECOND);
  expect(row).toMatchObject({ phase: 'recording', reason: 'SettingsInvalid' });
  expect(row.message).toMatch(/settings cannot be used: ./);
  expect(await deviceRow(station, FIRST)).toMatchObject({ phase: 'recording', reason: 'Recording' });
  expect(await lives(station)).toEqual(before);
});

test('settings that are no object are refused by the database; those that make sense are applied', async () => {
  for (const settings of ['[]', '"loud"', 'null', '7'])
    await expect(
      asPage(station, (sql) => sql`update devices set settings = ${settings}::text::jsonb where id = ${SECOND}`),
    ).rejects.toThrow(/devices_settings/);
  const before = await lives(station);
  await change(station, SECOND, { settings: { segmentSeconds: 20, gainDb: null } });
  expect(await inEffect(station, SECOND)).toMatchObject({ phase: 'recording', reason: 'Recording' });
  expect(await recorderConfig(SECOND)).toMatchObject({ segmentSeconds: 20 });
  expect(await lives(station)).toEqual({ ...before, [SECOND]: expect.not.stringMatching(before[SECOND] ?? '') });
});

test('without auto-enrolment a new microphone waits for a person, with a suggestion', async () => {
  const enroll = (value: boolean) =>
    asPage(
      station,
      (sql) => sql`
    insert into system_config (key, value) values (${CONFIG_KEY.autoEnrollment}, ${sql.json(value)})
    on conflict (key) do update set value = excluded.value`,
    );
  await enroll(false);
  await station.nudge();
  const product = `<img src=x onerror=alert(1)> 🦉'; drop table devices; --`;
  const device = station.plug(plainMicrophone({ serial: 'B2', product }), { port: '2' });
  const row = await station.untilPhase('pending', '1234-5678-B2');
  expect(row).toMatchObject({ suggested_profile: 'generic', profile_slug: null, decided_by: null, product });
  expect(row.message).toMatch(/suggested profile: generic/);
  expect(await lives(station)).not.toHaveProperty([row.id]);

  await enroll(true);
  await station.nudge();
  expect(await station.untilPhase('recording', row.id)).toMatchObject({ decided_by: 'auto', profile_slug: 'generic' });
  await expect(forget(row.id)).rejects.toThrow(/is plugged in: unplug it/);
  station.usb.unplug(device);
  await station.untilPhase('offline', row.id);
  await forget(row.id);
  await passOn();
  expect((await station.devices()).map(({ id }) => id)).not.toContain(row.id);
});

test('two profiles that fit equally well leave the choice to a person, until only one fits', async () => {
  for (const slug of ['twin-a', 'twin-b'])
    await asPage(
      station,
      (sql) => sql`
      insert into microphone_profiles (slug, name, config)
      select ${slug}, ${slug}, jsonb_set(config, '{match}', '{"vid": "4444", "pid": "0001"}')
      from microphone_profiles where slug = 'generic'`,
    );
  await station.nudge();
  const device = station.plug(plainMicrophone({ vendorId: '4444', productId: '0001', serial: 'T' }), { port: '3' });
  const row = await station.untilPhase('pending', '4444-0001-T');
  expect(row).toMatchObject({ suggested_profile: 'twin-a', reason: 'DecisionNeeded' });

  await asPage(station, (sql) => sql`delete from microphone_profiles where slug = 'twin-a'`);
  await station.nudge();
  expect(await station.untilPhase('recording', row.id)).toMatchObject({ profile_slug: 'twin-b', decided_by: 'auto' });
  station.usb.unplug(device);
  await station.untilPhase('offline', row.id);
});

test('a restart that is asked for happens exactly once', async () => {
  const before = await recorderRuns(station, FIRST);
  await change(station, FIRST, { restart_token: 'please' });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording' });
  await change(station, FIRST, { restart_token: 'please' });
  await passOn();
  await passOn();
  const runs = await recorderRuns(station, FIRST);
  expect(runs).toHaveLength(before.length + 1);
  expect(overlaps(runs)).toEqual([]);
});

test.each([
  ['markup', `<script>alert('${'x'.repeat(20)}')</script> "quoted" & so on`],
  ['lines and a bell', 'first\nsecond\r\n\tthird \u0007'],
  ['owls', `a${'🦉'.repeat(199)}`],
  ['nothing', ''],
])('a name of %s is carried as it is, and changes without a restart', async (_what, name) => {
  const before = await lives(station);
  await change(station, FIRST, { name });
  await passOn();
  expect(await lives(station)).toMatchObject({ [FIRST]: before[FIRST] });
  expect(await deviceRow(station, FIRST)).toMatchObject({ name, phase: 'recording' });

  await change(station, FIRST, { restart_token: name.slice(0, 20) });
  expect(await inEffect(station, FIRST)).toMatchObject({ phase: 'recording', name });
  const { microphone } = await recorderConfig(FIRST);
  expect(name.startsWith(microphone.name.replace(/\p{Surrogate}$/u, ''))).toBe(true);
  expect(microphone.name.length).toBeGreaterThanOrEqual(Math.min(200, name.length));
});

test("what hardware and controller say is not the page's to write", async () => {
  const forbidden = {
    status: 'offline',
    phase: 'disabled',
    observed_generation: 1000,
    generation: 1000,
    port_path: 'x',
    serial: 'x',
    workspace: 'other-00000000',
    capabilities: {},
  };
  const before = await lives(station);
  for (const [column, value] of Object.entries(forbidden))
    await expect(change(station, FIRST, { [column]: value })).rejects.toThrow(/permission denied/);
  const stationId = await station.stationId();
  await expect(
    asPage(station, (sql) => sql`update system_config set value = '"x"' where key = ${CONFIG_KEY.stationId}`),
  ).rejects.toThrow(/written by the controller alone/);
  await expect(asPage(station, (sql) => sql`delete from events`)).rejects.toThrow(/permission denied/);
  await passOn();
  expect(await lives(station)).toMatchObject({ [FIRST]: before[FIRST] });
  expect(await station.stationId()).toBe(stationId);
});

test('a profile in a file that came later takes a pending device in, whatever lies beside it', async () => {
  const camera = station.plug(webcam(), { port: '4' });
  const row = await station.untilPhase('pending', '046d-0825-8A63');
  const before = await lives(station);
  await controller.kill('SIGTERM');
  const folder = join(station.packageFolder, 'profiles', 'microphones');
  const put = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
  const profile = (slug: string) =>
    `slug: ${slug}\nname: Camera\ndescription: d\nmanufacturer: m\nmodel: m\nmatch: {vid: '046d', pid: '0825'}\naudio: {rate: native, channels: native, format: native}\n`;
  put('camera.yml', profile('camera'));
  const bombs = Array.from({ length: 30 }, (_, at) => `a${at + 1}: &a${at + 1} [${`*a${at},`.repeat(9)}]`).join('\n');
  put('bomb.yml', `a0: &a0 [x]\n${bombs}\n`);
  put('copy.yml', profile('camera'));
  put('empty.yml', '');
  put('huge.yml', `${profile('huge')}# ${'x'.repeat(2_000_000)}\n`);
  put('latin.yml', Buffer.from(profile('latin').replace('Camera', 'Caméra'), 'latin1'));
  symlinkSync('/etc/passwd', join(folder, 'link.yml'));
  spawnSync('mkfifo', [join(folder, 'pipe.yml')]);
  controller = await station.start();

  expect(await station.untilPhase('recording', row.id)).toMatchObject({ profile_slug: 'camera', decided_by: 'auto' });
  const warned = controller.log.flatMap(({ problem }) => (typeof problem === 'string' ? [problem] : []));
  for (const file of ['bomb', 'copy', 'empty', 'huge', 'latin', 'link', 'pipe'])
    expect(warned.filter((problem) => problem.startsWith(`${file}.yml: `))).toHaveLength(1);
  expect(warned).toHaveLength(7);
  // The new controller found everyone at work, and had no reason to touch anybody.
  expect(await lives(station)).toMatchObject(before);
  station.usb.unplug(camera);
  await station.untilPhase('offline', row.id);
});

test('at every moment so far, what the rows claimed to be in effect was', () => {
  const phases = ['recording', 'disabled', 'ignored', 'pending', 'offline', 'blocked'];
  expect(Object.keys(truth.confirmed)).toEqual(expect.arrayContaining(phases));
});

function forget(id: string): Promise<unknown> {
  return asPage(station, (sql) => sql`delete from devices where id = ${id}`);
}

/** Lets the station go through more than one cycle: a change elsewhere takes effect, and is undone. */
async function passOn(): Promise<void> {
  for (const enabled of [false, true]) {
    await change(station, SECOND, { enabled });
    await inEffect(station, SECOND);
  }
}

async function recorderConfig(id: string): Promise<{ segmentSeconds: number; microphone: { name: string } }> {
  const container = (await station.containers()).find(({ Config }) => Config.Labels[LABEL.deviceId] === id);
  const variable = container?.Config.Env.find((line) => line.startsWith(`${RECORDER_ENV.configJson}=`)) ?? '';
  return JSON.parse(variable.slice(RECORDER_ENV.configJson.length + 1));
}
