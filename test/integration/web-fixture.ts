/** The page in the test's own process: real server, real database, folders of its own; and a visitor who keeps cookies. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres, { type Sql } from 'postgres';
import { createClock } from '../../services/shared/clock.ts';
import { pageSettings } from '../../services/web/assembly.ts';
import { createAbsentBus } from '../../services/web/bus.ts';
import { createPageDatabase, type PageDatabase } from '../../services/web/database.ts';
import type { PageBus } from '../../services/web/ports.ts';
import { startWeb, type WebServer } from '../../services/web/server.ts';
import { makePagePackage } from '../e2e/page-process.ts';
import { type PostgresFixture, startPostgres } from './postgres.ts';

export interface TestWeb {
  /** `http://127.0.0.1:<port>`. */
  address: string;
  server: WebServer;
  postgres: PostgresFixture;
  /** As the database's superuser. */
  sql: Sql;
  /** As the page itself. */
  database: PageDatabase;
  /** With the folders `recorder`, `run` and `web`. */
  workspace: string;
  log: string[];
  /** Time goes on at once by so much. */
  pass(ms: number): void;
  /** The page anew, on the same database and folders. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export const PASSWORD = 'correct horse battery';

/** `bus`: absent, there is none. */
export async function startTestWeb({ bus = createAbsentBus() }: { bus?: PageBus } = {}): Promise<TestWeb> {
  const folder = mkdtempSync(join(tmpdir(), 'silvasonic-web-'));
  const workspace = join(folder, 'workspace');
  for (const name of ['recorder', 'run', 'web']) mkdirSync(join(workspace, name), { recursive: true });
  const packageFolder = makePagePackage(folder);
  const fixture = await startPostgres();
  const access = await fixture.createDatabase({ migrated: true });
  const sql = postgres({ ...access, max: 2, onnotice: () => {} });
  const clock = createClock();
  let aheadMs = 0;
  const log: string[] = [];
  const ports = {
    clock: { ...clock, nowMs: () => clock.nowMs() + aheadMs },
    log: (_level: string, message: string) => void log.push(message),
    bus,
  };
  const open = () => createPageDatabase(access, ports.clock, ports.log);
  const config = {
    port: 0,
    host: '127.0.0.1',
    postgres: { ...access, passwordFile: null },
    redisUrl: null,
    redisPasswordFile: null,
    recorderWorkspace: join(workspace, 'recorder'),
    runPath: join(workspace, 'run'),
    webWorkspace: join(workspace, 'web'),
  };
  const settings = pageSettings(config, packageFolder, ports.log);
  let database = open();
  let server = await startWeb({ ...ports, database }, settings, config);
  const end = async (): Promise<void> => {
    await server.close();
    await database.stop();
  };
  return {
    get address() {
      return `http://127.0.0.1:${server.port}`;
    },
    get server() {
      return server;
    },
    get database() {
      return database;
    },
    postgres: fixture,
    sql,
    workspace,
    log,
    pass(ms) {
      aheadMs += ms;
    },
    async restart() {
      await end();
      database = open();
      server = await startWeb({ ...ports, database }, settings, config);
    },
    async stop() {
      await end();
      await sql.end({ timeout: 1 });
      await fixture.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface Visitor {
  cookies: Map<string, string>;
  /** Follows nothing. */
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  /** The text of a page, which must be there. */
  read(path: string): Promise<string>;
  /** A form, with the token of the page that it is on. */
  submit(page: string, action: string, fields?: Record<string, string>): Promise<Response>;
  /** Whatever is given, and nothing else. */
  post(path: string, body: string | Uint8Array, headers?: Record<string, string>): Promise<Response>;
  /** Of the last page's form. */
  tokenOf(page: string): Promise<string>;
}

export function createVisitor(address: () => string): Visitor {
  const cookies = new Map<string, string>();
  const send = async (path: string, init: RequestInit): Promise<Response> => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...(cookie !== '' && { cookie }), ...(init.headers as Record<string, string>) };
    const response = await fetch(`${address()}${path}`, { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) keepCookie(cookies, line);
    return response;
  };
  const visitor: Visitor = {
    cookies,
    get: (path, headers = {}) => send(path, { headers }),
    async read(path) {
      const response = await visitor.get(path);
      const text = await response.text();
      if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text.slice(0, 300)}`);
      return text;
    },
    post: (path, body, headers = {}) =>
      send(path, {
        method: 'POST',
        body: body as string,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      }),
    async tokenOf(page) {
      const [, token] = /name="token" value="([^"]+)"/.exec(await visitor.read(page)) ?? [];
      if (token === undefined) throw new Error(`${page} has no form.`);
      return token;
    },
    async submit(page, action, fields = {}) {
      const token = await visitor.tokenOf(page);
      return await visitor.post(action, new URLSearchParams({ token, ...fields }).toString());
    },
  };
  return visitor;
}

function keepCookie(cookies: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(';');
  const at = pair.indexOf('=');
  const isOver = attributes.some((one) => /^\s*(max-age=0|expires=thu, 01 jan 1970)/i.test(one));
  if (isOver) cookies.delete(pair.slice(0, at));
  else cookies.set(pair.slice(0, at), pair.slice(at + 1));
}

/** The first visit: sets the password, and is signed in then. */
export async function becomeOwner(web: TestWeb): Promise<Visitor> {
  const visitor = createVisitor(() => web.address);
  const code = (await web.server.setupCode()) ?? '';
  const response = await visitor.submit('/setup', '/setup', { code, password: PASSWORD, repeat: PASSWORD });
  if (response.status !== 303) throw new Error(`The password cannot be set: ${await response.text()}`);
  return visitor;
}

export async function signInTo(web: TestWeb): Promise<Visitor> {
  const visitor = createVisitor(() => web.address);
  const response = await visitor.submit('/sign-in', '/sign-in', { password: PASSWORD });
  if (response.status !== 303) throw new Error(`Nobody can sign in: ${await response.text()}`);
  return visitor;
}

export interface SampleDevice {
  id: string;
  workspace: string;
}

/** A device as the controller would have made it. */
export async function addDevice(
  sql: Sql,
  given: { serial?: string; name?: string; product?: string; profile?: string; phase?: string } = {},
): Promise<SampleDevice> {
  const { serial = 'SN1234', name = '', product = 'UMIK-1', profile = 'generic', phase = 'recording' } = given;
  const id = `usb-2752-0007-${serial}`;
  const workspace = `umik-1-${await digestOf(sql, id)}`;
  await sql`insert into devices (id, name, vendor_id, product_id, serial, port_path, product, manufacturer, status,
      enrollment_status, decided_by, profile_slug, workspace, phase, reason, message, observed_generation)
    values (${id}, ${name}, '2752', '0007', ${serial}, '1-1.2', ${product}, ${product}, 'online', 'enrolled', 'auto', ${profile},
      ${workspace}, ${phase}, 'Recording', 'Recording.', 1)`;
  return { id, workspace };
}

async function digestOf(sql: Sql, id: string): Promise<string> {
  const [row] = await sql<{ digest: string }[]>`
    select left(encode(sha256(convert_to(${id}, 'UTF8')), 'hex'), 8) as digest`;
  return row?.digest ?? '';
}

/** Every route of the page with something in the place of its parameters. */
export function routesOf(web: TestWeb, workspace: string) {
  return web.server.routes.map((route) => ({
    ...route,
    address: route.path
      .replace(':workspace', workspace)
      .replace(':slug', 'generic')
      .replace(':name', 'processor')
      .replace(/:[a-z]+/gi, 'x')
      .replace('*', 'x'),
  }));
}

const NATIVE = { match: {}, audio: { rate: 'native', channels: 'native', format: 'native' } };

export async function addProfile(
  sql: Sql,
  slug: string,
  given: { name?: string; config?: object; isSystem?: boolean; description?: string } = {},
): Promise<void> {
  const { name = `Name of ${slug}`, config = NATIVE, isSystem = false, description = '' } = given;
  await sql`insert into microphone_profiles (slug, name, description, config, is_system)
    values (${slug}, ${name}, ${description}, ${sql.json(JSON.parse(JSON.stringify(config)))}, ${isSystem})`;
}
