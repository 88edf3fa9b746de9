/** Who may do what on the page: the real page over HTTP, on a real database. */
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  addDevice,
  addProfile,
  becomeOwner,
  createVisitor,
  PASSWORD,
  routesOf,
  type SampleDevice,
  signInTo,
  startTestWeb,
  type TestWeb,
  type Visitor,
} from './web-fixture.ts';

let web: TestWeb;
let owner: Visitor;
let device: SampleDevice;

beforeAll(async () => {
  web = await startTestWeb();
  await addProfile(web.sql, 'generic', { isSystem: true });
  device = await addDevice(web.sql, { serial: 'SERIAL-4711' });
  await web.sql`insert into system_services (name, enabled) values ('processor', true)`;
  await web.sql`insert into system_config (key, value) values ('station_id', '"04ef07f9-9b58-4c2f-8b0f-643e2437047c"')`;
});
afterAll(() => web.stop());

const stranger = (): Visitor => createVisitor(() => web.address);
const routes = () => routesOf(web, device.workspace);
/** What nobody gets without a session. */
const hidden = () => [
  ...routes().filter(({ isPublic }) => !isPublic),
  ...['wav', 'mp3', 'x'].map((ending) => ({ method: 'GET', address: `/live/${device.workspace}.${ending}` })),
];
const forms = () => routes().filter(({ method, isPublic }) => method === 'POST' && !isPublic);
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
    expect(await locked.text()).toMatch(/try again in (30|2\d) seconds/);
    const token = await visitor.tokenOf('/sign-in');
    const body = new URLSearchParams({ token, password: PASSWORD }).toString();
    expect((await visitor.post('/sign-in', body, { 'x-forwarded-for': '10.1.2.3' })).status).toBe(429);
    // Real time passes too.
    web.pass(20_000);
    expect((await attempt(PASSWORD)).status).toBe(429);
    web.pass(11_000);
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
