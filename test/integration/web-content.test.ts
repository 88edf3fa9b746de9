/** What the page shows and what it keeps to itself: the real page over HTTP, on a real database. */
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DatabaseAway } from '../../services/web/database.ts';
import {
  addDevice,
  addProfile,
  becomeOwner,
  createVisitor,
  PASSWORD,
  routesOf,
  type SampleDevice,
  startTestWeb,
  type TestWeb,
  type Visitor,
} from './web-fixture.ts';

let web: TestWeb;
let owner: Visitor;
let device: SampleDevice;
const HOSTILE = `<img src=x onerror="alert(1)">&'"</title></script><b>bold</b>`;

beforeAll(async () => {
  web = await startTestWeb();
  await addProfile(web.sql, 'generic', { isSystem: true });
  device = await addDevice(web.sql, { serial: 'SERIAL-4711' });
  owner = await becomeOwner(web);
  await web.sql`insert into system_services (name, enabled) values ('processor', true)`;
  await web.sql`insert into system_config (key, value) values ('station_id', '"04ef07f9-9b58-4c2f-8b0f-643e2437047c"')`;
});
afterAll(() => web.stop());

const stranger = (): Visitor => createVisitor(() => web.address);
const routes = () => routesOf(web, device.workspace);
const pages = () =>
  routes().filter(({ method, path, isPublic }) => method === 'GET' && !isPublic && !/[:*]|live|bundle/.test(path));
const html = async (path: string): Promise<string> => await (await owner.get(path)).text();

describe('every page', () => {
  test('has headers that leave no room for foreign scripts, and neither script nor style of its own', async () => {
    const seen = [];
    const more = [
      '/sign-in',
      '/nowhere',
      `/microphones/${device.workspace}`,
      '/profiles/generic',
      '/profiles/generic/edit',
    ];
    for (const path of [...pages().map(({ address }) => address), ...more]) {
      const response = await owner.get(path, { 'accept-encoding': 'identity' });
      const text = await response.text();
      seen.push(path);
      const policy = response.headers.get('content-security-policy') ?? '';
      expect(policy, path).toContain("default-src 'none'");
      expect(policy, path).not.toMatch(/unsafe|\*|data:|https?:/);
      expect(response.headers.get('x-content-type-options'), path).toBe('nosniff');
      expect(response.headers.get('referrer-policy'), path).toBe('same-origin');
      expect(response.headers.get('x-frame-options'), path).toBe('SAMEORIGIN');
      expect(response.headers.get('cache-control'), path).toBe('no-store');
      expect(response.headers.get('strict-transport-security'), path).toBeNull();
      expect(response.headers.get('x-powered-by'), path).toBeNull();
      expect(text, path).not.toMatch(
        /<[^>]+\s(style|on[a-z]+)=|<style|<script(?! type="module" src="\/assets\/)|javascript:/i,
      );
    }
    expect(seen).toEqual(
      expect.arrayContaining(['/', '/settings', '/about', '/logs', '/events', '/services', '/profiles']),
    );
  });

  test('shows names as the text that they are, wherever they come from', async () => {
    const { sql } = web;
    await addProfile(sql, 'hostile', { name: HOSTILE, description: HOSTILE });
    await addProfile(sql, 'hostile-broken', { name: HOSTILE, config: { audio: { rate: HOSTILE } } });
    const hostile = await addDevice(sql, { serial: 'S-HOSTILE', name: HOSTILE, product: HOSTILE, profile: 'hostile' });
    await sql`update devices set message = ${HOSTILE} where id = ${hostile.id}`;
    await sql`update system_services set message = ${HOSTILE}`;
    await sql`insert into system_services (name, message) values ('unknown-service', ${HOSTILE})`;
    await sql`insert into events (subject, type, reason, message) values ('station', 'warning', 'X', ${HOSTILE}), (${HOSTILE}, 'normal', 'X', 'y')`;
    await sql`insert into system_config (key, value) values ('station_name', ${sql.json(HOSTILE)})
      on conflict (key) do update set value = excluded.value`;
    await sql`update sessions set user_agent = ${HOSTILE}`;
    const more = [
      `/microphones/${hostile.workspace}`,
      '/profiles/hostile',
      '/profiles/hostile/edit',
      '/profiles/hostile-broken',
      '/profiles/hostile-broken/edit',
      '/profiles-new?from=hostile',
      `/events?subject=${encodeURIComponent(HOSTILE)}`,
    ];
    for (const path of [...pages().map(({ address }) => address), ...more]) {
      const text = await html(path);
      expect(text, path).not.toContain('<img src=x');
      expect(text, path).not.toContain('<b>bold');
      expect(text, path).toContain('&lt;img src=x');
    }
    await sql`delete from devices where id <> ${device.id} and status = 'offline'`;
    await sql`update system_config set value = '"Wood"' where key = 'station_name'`;
  });
});

describe('the support bundle', () => {
  test('holds no secret: no password, session, token, address, serial number or place', async () => {
    const { sql } = web;
    const alerts = {
      ntfyUrl: 'https://me:hunter2secret@ntfy.example/my-hidden-topic',
      webhookUrl: 'https://hooks.example/services/T0KEN?key=abcdef',
    };
    await sql`insert into system_config (key, value) values ('alerts', ${sql.json(alerts)}), ('position', '{"latitude":52.516312,"longitude":13.377712}'), ('somebody_elses', '"their-own-secret"')
      on conflict (key) do update set value = excluded.value`;
    await sql`update devices set restart_token = 'restart-token-1'`;
    await sql`insert into events (subject, type, reason, message) values
      (${`recorder:${device.id}`}, 'warning', 'X', ${`SERIAL-4711 at https://me:hunter2secret@ntfy.example/my-hidden-topic and postgres://u:pw12345@db/x`})`;
    const response = await owner.get('/about/bundle');
    expect(response.headers.get('content-disposition')).toMatch(
      /^attachment; filename="silvasonic-04ef07f9-[\d-]+\.json"$/,
    );
    const text = await response.text();
    const session = owner.cookies.get('silvasonic_session') ?? '';
    const [{ password_hash: hash } = { password_hash: '' }] = await sql<
      { password_hash: string }[]
    >`select password_hash from owner`;
    const digests = await sql<{ token_hash: string }[]>`select token_hash from sessions`;
    expect(hash.length).toBeGreaterThan(20);
    const secrets = [
      session,
      hash,
      ...digests.map(({ token_hash }) => token_hash),
      PASSWORD,
      'hunter2secret',
      'my-hidden-topic',
      'T0KEN',
      'abcdef',
      'their-own-secret',
      'restart-token-1',
      'SERIAL-4711',
      '52.516',
      '13.377',
      'pw12345',
    ];
    expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    const bundle = JSON.parse(text);
    expect(bundle.station).toMatchObject({
      position: 'set',
      alerts: { ntfy: 'https://ntfy.example/…' },
      otherKeys: ['somebody_elses'],
    });
    expect(bundle.devices).toEqual(
      expect.arrayContaining([expect.objectContaining({ workspace: device.workspace, serial: 'given' })]),
    );
    expect(bundle.events[0].subject).toBe(`recorder:${device.workspace}`);
    expect(bundle.page.version).toMatch(/^\d/);
  });

  test('comes too where a password holds a percent sign, and without it', async () => {
    const alerts = { ntfyUrl: 'https://me:50%off@ntfy.example/my-other-topic' };
    await web.sql`create table alerts_before as select * from system_config where key = 'alerts'`;
    await web.sql`update system_config set value = ${web.sql.json(alerts)} where key = 'alerts'`;
    await web.sql`insert into events (subject, type, reason, message) values ('station', 'warning', 'X', 'With 50%off it went wrong.')`;
    const response = await owner.get('/about/bundle');
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toContain('it went wrong');
    expect(text).not.toMatch(/50%off|my-other-topic/);
    await web.sql`delete from system_config where key = 'alerts'`;
    await web.sql`insert into system_config select * from alerts_before`;
  });

  test('an address of an alert never comes back to a browser; left empty it stays, and it can be removed', async () => {
    const page = await html('/settings');
    expect(page).toContain('https://ntfy.example/…');
    expect(page).not.toMatch(/hunter2secret|my-hidden-topic|T0KEN/);
    const stored = async () => (await web.sql`select value from system_config where key = 'alerts'`)[0]?.value;
    const fields = { ntfyUrl: '', webhookUrl: '', notRecordingMinutes: '15', silentMinutes: '60', diskFullDays: '7' };
    expect((await owner.submit('/settings', '/settings/alerts', { ...fields, webhookUrlRemove: 'yes' })).status).toBe(
      303,
    );
    expect(await stored()).toMatchObject({
      ntfyUrl: 'https://me:hunter2secret@ntfy.example/my-hidden-topic',
      webhookUrl: null,
      notRecordingMinutes: 15,
    });
    const before = (await stored()).testToken;
    expect((await owner.submit('/settings', '/settings/alerts/test')).status).toBe(303);
    expect((await stored()).testToken).not.toBe(before);
  });
});

describe('what the page itself may do', () => {
  test('it writes a person’s columns and no others', async () => {
    const granted = await web.sql<{ table_name: string; column_name: string; privilege_type: string }[]>`
      select table_name, column_name, privilege_type from information_schema.column_privileges
      where grantee = 'silvasonic_web' and privilege_type = 'UPDATE' order by table_name, column_name`;
    const of = (table: string) =>
      granted.filter(({ table_name }) => table_name === table).map(({ column_name }) => column_name);
    expect(of('devices')).toEqual([
      'decided_by',
      'enabled',
      'enrollment_status',
      'name',
      'profile_slug',
      'restart_token',
      'settings',
    ]);
    expect(of('system_services')).toEqual(['enabled', 'restart_token', 'settings']);
    expect(of('microphone_profiles')).toEqual(['config', 'description', 'manufacturer', 'model', 'name']);
    expect(of('events')).toEqual([]);
    const run = (statement: string) => web.database.query((connection) => connection.execute(statement));
    expect(await run('select current_user as name')).toEqual([{ name: 'silvasonic_web' }]);
    for (const statement of [
      `update devices set phase = 'recording'`,
      `update devices set message = 'x'`,
      `insert into devices (id) values ('x')`,
      `update system_services set phase = 'running'`,
      `insert into events (subject, type, reason, message) values ('station', 'normal', 'x', 'x')`,
      `update system_config set value = '"x"' where key = 'station_id'`,
      `drop table devices`,
      `create table planted (id int)`,
    ])
      await expect(run(statement), statement).rejects.toThrow(/permission denied|alone|must be owner/);
  });

  test('and only its own folder', () => {
    const files = readdirSync(web.workspace, { recursive: true, encoding: 'utf8' }).sort();
    expect(files).toEqual(['recorder', 'run', 'web']);
  });
});

describe('much of everything', () => {
  test('the first page with fifty microphones stays below 100 KB, and lists have an end', async () => {
    const { sql } = web;
    for (let index = 0; index < 50; index++)
      await addDevice(sql, { serial: `MANY-${index}`, name: `Microphone number ${index} by the brook` });
    await sql`insert into events (subject, type, reason, message)
      select 'station', 'warning', 'Reason' || n, 'Something happened for the ' || n || 'th time' from generate_series(1, 1000) as n`;
    const assets = [...(await html('/')).matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? '');
    const sizes = await Promise.all(
      ['/', ...new Set(assets)].map(async (path) => [path, await transferred(path)] as const),
    );
    expect(sizes.length).toBeGreaterThan(3);
    const total = sizes.reduce((sum, [, size]) => sum + size, 0);
    expect(await html('/')).toContain('Microphone number 49');
    expect(total, JSON.stringify(sizes)).toBeLessThan(100_000);
    for (const path of ['/events', '/logs', '/services', '/profiles', '/settings', '/about'])
      expect(await transferred(path), path).toBeLessThan(100_000);
    const events = await html('/events?subject=station');
    expect(events.match(/<li class="warning/g)?.length).toBe(50);
    const older = /href="([^"]*before=[^"]*)"/.exec(events)?.[1]?.replaceAll('&amp;', '&') ?? '';
    const next = await html(older);
    expect(next.match(/<li class="(warning|normal)/g)?.length).toBe(50);
    expect(shownOf(next).filter((one) => shownOf(events).includes(one))).toEqual([]);
  });
});

const shownOf = (page: string): string[] =>
  [...page.matchAll(/for the (\d+)th time/g)].map(([, number]) => number ?? '');

/** Bytes of a body as they go over the line. */
async function transferred(path: string): Promise<number> {
  const cookie = [...owner.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const { hostname, port } = new URL(web.address);
  const head = `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\nCookie: ${cookie}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n`;
  return await new Promise((resolve, reject) => {
    let bytes = 0;
    const socket = connect(Number(port), hostname, () => socket.write(head));
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.on('close', () => resolve(bytes)).on('error', reject);
  });
}

describe('a database that is away', () => {
  test('gives pages that say so, and comes back by itself', async () => {
    await owner.read('/');
    await web.postgres.shutDown();
    const dashboard = await owner.get('/');
    expect(dashboard.status).toBe(200);
    expect(await dashboard.text()).toContain('The database is away');
    for (const path of ['/settings', '/events']) {
      const response = await owner.get(path);
      expect(response.status, `${path} ${web.log.at(-1)}`).toBe(503);
      expect(await response.text()).toContain('The database is away');
    }
    expect((await stranger().get('/sign-in')).status).toBe(503);
    expect((await stranger().get('/')).status).toBe(503);
    expect((await stranger().get('/healthy')).status).toBe(200);
    await expect(web.database.query((connection) => connection.execute('select 1'))).rejects.toThrow(DatabaseAway);
    await web.postgres.startAgain();
    await expect.poll(async () => (await owner.get('/settings')).status, { timeout: 20_000 }).toBe(200);
    expect(await html('/')).not.toContain('The database is away');
  });
});
