/** Who may do what on the page: the real page over HTTP, on a real database. */
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
  type SampleDevice,
  signInTo,
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
  await web.sql`insert into system_services (name, enabled) values ('processor', true)`;
  await web.sql`insert into system_config (key, value) values ('station_id', '"04ef07f9-9b58-4c2f-8b0f-643e2437047c"')`;
});
afterAll(() => web.stop());

const stranger = (): Visitor => createVisitor(() => web.address);
/** Every route with something in the place of its parameters. */
const routes = () =>
  web.server.routes.map((route) => ({
    ...route,
    address: route.path
      .replace(':workspace', device.workspace)
      .replace(':slug', 'generic')
      .replace(':name', 'processor')
      .replace(/:[a-z]+/gi, 'x')
      .replace('*', 'x'),
  }));
/** What nobody gets without a session. */
const hidden = () => [
  ...routes().filter(({ isPublic }) => !isPublic),
  ...['wav', 'mp3', 'x'].map((ending) => ({ method: 'GET', address: `/live/${device.workspace}.${ending}` })),
];
const forms = () => routes().filter(({ method, isPublic }) => method === 'POST' && !isPublic);
const pages = () =>
  routes().filter(({ method, path, isPublic }) => method === 'GET' && !isPublic && !/[:*]|live|bundle/.test(path));
const html = async (path: string): Promise<string> => await (await owner.get(path)).text();

describe('before there is an owner', () => {
  test('every visitor is led to the first visit, whose code survives a restart and is gone once it was used', async () => {
    const visitor = stranger();
    expect((await visitor.get('/')).headers.get('location')).toBe('/setup');
    const code = await web.server.setupCode();
    expect(code).toMatch(/^[A-Z2-9]{5}-[A-Z2-9]{5}$/);
    await web.restart();
    expect(await web.server.setupCode()).toBe(code);
    const fields = { code: 'AAAAA-AAAAA', password: PASSWORD, repeat: PASSWORD };
    expect((await visitor.submit('/setup', '/setup', fields)).status).toBe(422);
    const weak = await visitor.submit('/setup', '/setup', { code: code ?? '', password: 'short', repeat: 'other' });
    expect(await weak.text()).toContain('not the same');
    expect(readdirSync(`${web.workspace}/web`)).toEqual(['setup-code']);

    owner = await becomeOwner(web);
    expect(readdirSync(`${web.workspace}/web`)).toEqual([]);
    expect(await web.server.setupCode()).toBeNull();
    const again = await visitor.get('/setup');
    expect([again.status, again.headers.get('location')]).toEqual([303, '/sign-in']);
    const token = await visitor.tokenOf('/sign-in');
    const second = new URLSearchParams({
      token,
      code: code ?? '',
      password: 'another password',
      repeat: 'another password',
    });
    expect((await visitor.post('/setup', second.toString())).headers.get('location')).toBe('/sign-in');
    await signInTo(web);
  });
});

describe('without a session', () => {
  test('only these are public', () => {
    const open = routes().filter(({ isPublic }) => isPublic);
    // Live sound is heard by services too, each with a token of its own: the next test comes without one.
    const paths = [...new Set(open.map(({ path }) => path))].sort();
    expect(paths).toEqual(['/assets/*', '/healthy', '/live/:file', '/setup', '/sign-in']);
    expect(routes().length).toBeGreaterThan(30);
  });

  test('nothing else is answered, by any route and any method', async () => {
    const visitor = stranger();
    const answers = [];
    for (const { method, address } of hidden()) {
      const response = await fetch(web.address + address, { method, redirect: 'manual' });
      const text = await response.text();
      answers.push(`${method} ${address} ${response.status} ${response.headers.get('location') ?? ''}`);
      expect(text, address).not.toContain('UMIK-1');
    }
    expect(answers.filter((line) => !/ (303 \/sign-in|401 )$/.test(line))).toEqual([]);
    for (const path of [
      '/nowhere',
      '/microphones/',
      '/.env',
      '/assets/../server.ts',
      '/assets/%2e%2e/%2e%2e/package.json',
    ]) {
      const response = await visitor.get(path);
      expect([303, 400, 403, 404], path).toContain(response.status);
      expect(await response.text()).not.toMatch(/devDependencies|import /);
    }
  });

  test('a session that nobody signed in is none', async () => {
    const visitor = stranger();
    for (const value of ['fixed-by-somebody-else', '', 'x'.repeat(5000), '%00', '../../etc']) {
      visitor.cookies.set('silvasonic_session', value);
      expect((await visitor.get('/settings')).status, value.slice(0, 20)).toBe(303);
    }
  });
});

describe('signing in', () => {
  test('makes a new session each time, whatever cookie was there before; nobody can give one away', async () => {
    const visitor = stranger();
    visitor.cookies.set('silvasonic_session', 'planted');
    const response = await visitor.submit('/sign-in', '/sign-in', { password: PASSWORD });
    const [line = ''] = response.headers.getSetCookie();
    expect(line).toMatch(/^silvasonic_session=[\w-]{43}; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Lax$/);
    expect(visitor.cookies.get('silvasonic_session')).not.toBe('planted');
    const other = await signInTo(web);
    expect(other.cookies.get('silvasonic_session')).not.toBe(visitor.cookies.get('silvasonic_session'));
    const [stored] = await web.sql`select count(*)::int as count from sessions where token_hash in
      (${visitor.cookies.get('silvasonic_session') ?? ''}, ${other.cookies.get('silvasonic_session') ?? ''})`;
    expect(stored).toEqual({ count: 0 });
  });

  test('the cookie of forms is closed to scripts too', async () => {
    const [line = ''] = (await stranger().get('/sign-in')).headers.getSetCookie();
    expect(line).toMatch(/^silvasonic_form=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
  });

  test('five wrong passwords lock out for half a minute, also with the right one and other headers', async () => {
    const visitor = stranger();
    const attempt = (password: string) => visitor.submit('/sign-in', '/sign-in', { password });
    for (let count = 0; count < 5; count++) expect((await attempt(`wrong ${count}`)).status).toBe(403);
    const locked = await attempt(PASSWORD);
    expect(locked.status).toBe(429);
    expect(await locked.text()).toMatch(/try again in (30|29) seconds/);
    const token = await visitor.tokenOf('/sign-in');
    const body = new URLSearchParams({ token, password: PASSWORD }).toString();
    expect((await visitor.post('/sign-in', body, { 'x-forwarded-for': '10.1.2.3' })).status).toBe(429);
    web.pass(29_000);
    expect((await attempt(PASSWORD)).status).toBe(429);
    web.pass(2000);
    expect((await attempt(PASSWORD)).status).toBe(303);
  });

  test('guesses that come at once are no more than one after the other', async () => {
    const visitor = stranger();
    const token = await visitor.tokenOf('/sign-in');
    const guess = (_: unknown, index: number) =>
      visitor.post('/sign-in', new URLSearchParams({ token, password: `guess ${index}` }).toString());
    const answers = (await Promise.all(Array.from({ length: 20 }, guess))).map(({ status }) => status);
    expect(answers.filter((status) => status === 403).length).toBe(5);
    expect(answers.filter((status) => status === 429).length).toBe(15);
    web.pass(31_000);
  });

  test('asking for the old password cannot be used to guess it', async () => {
    const visitor = await signInTo(web);
    const attempt = (old: string) =>
      visitor.submit('/settings', '/settings/password', { old, password: 'a new password', repeat: 'a new password' });
    for (let count = 0; count < 5; count++) expect((await attempt(`wrong ${count}`)).status).toBe(422);
    expect((await attempt(PASSWORD)).status).toBe(429);
    web.pass(31_000);
    await signInTo(web);
  });

  test('signing out ends the session on the server', async () => {
    const visitor = await signInTo(web);
    const session = visitor.cookies.get('silvasonic_session') ?? '';
    expect((await visitor.submit('/', '/sign-out')).headers.get('location')).toBe('/sign-in?told=signedOut');
    expect(visitor.cookies.has('silvasonic_session')).toBe(false);
    visitor.cookies.set('silvasonic_session', session);
    expect((await visitor.get('/')).status).toBe(303);
  });

  test('a new password signs every other browser out, at once', async () => {
    const [here, there] = [await signInTo(web), await signInTo(web)];
    const fields = { old: PASSWORD, password: 'quite another password', repeat: 'quite another password' };
    expect((await here.submit('/settings', '/settings/password', fields)).status).toBe(303);
    expect((await there.get('/')).status).toBe(303);
    expect((await here.get('/')).status).toBe(200);
    const back = { old: 'quite another password', password: PASSWORD, repeat: PASSWORD };
    expect((await here.submit('/settings', '/settings/password', back)).status).toBe(303);
    owner = here;
  });

  test('all others can be signed out, and a stream of theirs ends', async () => {
    const other = await signInTo(web);
    const stream = await other.get('/live?page=dashboard');
    const before = await owner.read('/settings');
    expect(before).toContain('Sign out all others');
    expect((await owner.submit('/settings', '/settings/browsers')).status).toBe(303);
    expect((await other.get('/live?page=dashboard')).status).toBe(401);
    // All that was sent, which has an end now.
    expect(await stream.text()).toContain('event: part');
    expect(await owner.read('/settings')).not.toContain('Sign out all others');
  });
});

describe('a form that this page did not make for this browser', () => {
  const rows = async () =>
    JSON.stringify([
      await web.sql`select * from devices order by id`,
      await web.sql`select * from system_services order by name`,
      await web.sql`select * from microphone_profiles order by slug`,
      await web.sql`select * from system_config order by key`,
      await web.sql`select password_hash from owner`,
    ]);

  test('changes nothing: no token, a wrong one, that of another session, a foreign origin', async () => {
    const before = await rows();
    const [mine, theirs] = [await owner.tokenOf('/settings'), await (await signInTo(web)).tokenOf('/settings')];
    const anonymous = await stranger().tokenOf('/sign-in');
    expect(mine).not.toBe(await owner.tokenOf('/settings'));
    const fields = { enabled: 'no', confirmed: 'yes', decision: 'ignore', name: 'forged', profile: 'generic' };
    const body = (token?: string) =>
      new URLSearchParams({ ...fields, ...(token !== undefined && { token }) }).toString();
    const answers = [];
    for (const { address } of forms()) {
      for (const token of [undefined, '', '.', `${mine}x`, mine.split('.')[1], theirs, anonymous])
        answers.push((await owner.post(address, body(token))).status);
      for (const origin of ['http://evil.example', 'null', `${web.address}.evil.example`])
        answers.push((await owner.post(address, body(mine), { origin })).status);
      answers.push((await owner.post(address, JSON.stringify(fields), { 'content-type': 'application/json' })).status);
      answers.push((await owner.post(address, body(), { 'content-type': 'text/plain' })).status);
    }
    expect(answers.length).toBeGreaterThan(100);
    expect([...new Set(answers)]).toEqual([403]);
    expect(await rows()).toBe(before);
  });

  test('and with our own origin it is taken', async () => {
    const token = await owner.tokenOf('/settings');
    const body = new URLSearchParams({ token, name: 'Ours', latitude: '', longitude: '' }).toString();
    expect((await owner.post('/settings/place', body, { origin: web.address })).status).toBe(303);
    expect(await html('/settings')).toContain('value="Ours"');
  });
});

describe('what cannot be read', () => {
  test('is refused with a page of ours, and nothing of the inside', async () => {
    const token = await owner.tokenOf('/settings');
    const form = (fields: string) => `token=${encodeURIComponent(token)}&${fields}`;
    const given: [number, Promise<Response>][] = [
      [413, owner.post('/settings/place', form(`name=${'x'.repeat(300_000)}`))],
      [422, owner.post('/settings/place', form(`name=${'x'.repeat(3000)}`))],
      [422, owner.post('/settings/place', form('name=a%00b'))],
      [422, owner.post('/settings/place', form('name=x&latitude=1e5&longitude=NaN'))],
      [422, owner.post('/settings/alerts', form('ntfyUrl=javascript:alert(1)'))],
      [422, owner.post('/settings/alerts', form('webhookUrl=file:///etc/passwd'))],
      [422, owner.post('/profiles-new', form('name=x&slug=../../etc'))],
      [415, owner.post('/settings/place', form(''), { 'content-type': 'application/xml' })],
      [415, owner.post('/settings/place', form(''), { 'content-type': 'multipart/form-data; boundary=x' })],
      [400, owner.post('/settings/place', '{"token":', { 'content-type': 'application/json' })],
      [403, owner.post('/settings/place', '%ZZ&=&&&token')],
      [403, owner.post('/settings/place', 'token[__proto__][x]=1&__proto__=1&constructor=2')],
      [400, owner.get('/microphones/%E0%A4%A')],
      [404, owner.get('/microphones/..%2f..%2fetc%2fpasswd')],
      [404, owner.get(`/microphones/${'a'.repeat(299)}`)],
      [404, owner.get('/profiles/%00')],
      [404, owner.get('/profiles/__proto__')],
      [404, owner.get('/live?page=__proto__')],
      [404, owner.get('/live?page[]=dashboard')],
      [200, owner.get('/events?subject=%00&type=x&before=99999999999999999999-1')],
      [200, owner.get('/events?before=9999999999999999-1')],
      [200, owner.get('/events?subject[]=a&subject[]=b')],
      [200, owner.get('/?told=constructor')],
      [200, owner.get('/profiles-new?from[]=x')],
    ];
    for (const [index, [status, answer]] of given.entries()) {
      const response = await answer;
      const text = await response.text();
      expect(response.status, `${index}: ${text.slice(0, 200)}`).toBe(status);
      expect(text).not.toMatch(/\.ts:\d|node_modules|at \w+ \(|select \w+ from|syntax error/i);
      expect(text).not.toContain('constructor');
    }
    expect((await fetch(`${web.address}/healthy`)).status).toBe(200);
  });

  test('other methods than GET, HEAD and POST do nothing', async () => {
    const cookie = [...owner.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'BREW'])
      for (const path of ['/', '/settings/place', `/microphones/${device.workspace}`, '/sign-in', '/assets/page.js']) {
        const { status } = await fetch(web.address + path, { method, headers: { cookie } }).catch(() => ({
          status: 0,
        }));
        expect([0, 400, 403, 404, 405, 501], `${method} ${path}`).toContain(status);
      }
    expect(await rawRequest('TRACE / HTTP/1.1\r\nHost: x\r\nCookie: secret=1\r\n\r\n')).not.toContain('secret=1');
    expect(await rawRequest('nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/);
    expect(await rawRequest(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431/,
    );
  });

  test('no answer leads elsewhere, and nothing given gets into a header', async () => {
    const token = await owner.tokenOf('/services');
    const body = new URLSearchParams({ token, enabled: 'yes', from: 'page' }).toString();
    const names = ['%0d%0aset-cookie:a=b', '%2f%2fevil.example', 'x%0aLocation:%20http://evil.example', '..%2f..'];
    for (const name of names)
      for (const path of [`/services/${name}/enabled`, `/microphones/${name}/enabled`, `/profiles/${name}/reset`]) {
        const response = await owner.post(path, body, { host: 'evil.example' });
        expect(response.headers.get('set-cookie')).toBeNull();
        expect(response.headers.get('location') ?? '/').not.toMatch(/evil|^\/\/|^http/);
        expect(response.status, path).toBe(404);
      }
    const told = await html('/?told=%3Cscript%3Ealert(1)%3C/script%3E');
    expect(told).not.toContain('alert(1)');
    expect(await html('/?told=saved')).toContain('Saved.');
  });
});

/** What a client that keeps to no rules gets. */
async function rawRequest(text: string): Promise<string> {
  const { hostname, port } = new URL(web.address);
  return await new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.setTimeout(3000, () => socket.destroy());
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk;
      socket.end();
    });
    socket.on('close', () => resolve(answer)).on('error', reject);
  });
}

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
