/** Whatever a browser may send, to a real page on a real database: done, asked or refused in a sentence, and never a failure of ours. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { damagedForm } from '../fuzz/form-samples.ts';
import { damagedText, RUNS } from '../fuzz/fuzzing.ts';
import {
  addDevice,
  addProfile,
  becomeOwner,
  routesOf,
  type SampleDevice,
  startTestWeb,
  type TestWeb,
  type Visitor,
} from './web-fixture.ts';

let web: TestWeb;
let owner: Visitor;
let device: SampleDevice;
let token: string;
beforeAll(async () => {
  web = await startTestWeb();
  owner = await becomeOwner(web);
  await addProfile(web.sql, 'generic', { isSystem: true });
  device = await addDevice(web.sql);
  await web.sql`insert into system_services (name, enabled) values ('processor', true)`;
  token = await owner.tokenOf('/settings');
});
afterAll(() => web?.stop());

/** What the page answers must be readable by a person, and its log must know of no failure. */
async function expectAnswered(response: Response): Promise<void> {
  const text = await response.text();
  const said = `${response.status} ${response.url}: ${text.replace(/<[^>]+>/g, ' ').slice(-1500)} ${web.log.at(-1)}`;
  expect(response.status, said).toBeLessThan(500);
  // Words that PostgreSQL has for programmers.
  expect(text, said).not.toMatch(/violates (foreign key|check|unique|not-null)|relation "|invalid byte sequence/);
}

/** Streams have no end. */
const isStream = (path: string): boolean => /\/live($|\/)/.test(path);
const gets = () =>
  routesOf(web, device.workspace).filter(({ method, path }) => method === 'GET' && !isStream(path) && path !== '/*');

const posts = () => {
  // Signing out, and signing others out, would end the visit.
  const kept = (path: string): boolean => !/^\/(sign-out|sign-in|setup)$/.test(path);
  return routesOf(web, device.workspace).filter(({ method, path }) => method === 'POST' && kept(path));
};

test('every form, damaged', async () => {
  const addresses = posts().map(({ address }) => address);
  expect(addresses.length).toBeGreaterThan(12);
  for (const address of addresses) {
    await fc.assert(
      fc.asyncProperty(damagedForm, fc.boolean(), async (fields, isConfirmed) => {
        const body = new URLSearchParams();
        for (const [name, value] of Object.entries(fields)) if (value !== undefined) body.set(name, value);
        body.set('token', token);
        if (isConfirmed) body.set('confirmed', 'yes');
        await expectAnswered(await owner.post(address, body.toString()));
        // Later forms need somebody who may try, and a device that is there.
        web.pass(3_600_000);
      }),
      { numRuns: Math.ceil(RUNS / 4), endOnFailure: true },
    );
  }
}, 600_000);

const damagedNames = () =>
  fc.oneof(
    fc.constantFrom('\0', 'x\0y', '..'),
    damagedText(['generic', 'processor', device.workspace, '2026-06-21', '%00', 'ü'], 200),
  );
/** What cannot be written in UTF-8 cannot be sent either. */
const inPlaceOf = (path: string, name: string): string =>
  path.replace(/:[a-z]+/gi, encodeURIComponent(Buffer.from(name).toString()));

test('every address of a form, damaged', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...posts()), damagedNames(), async ({ path }, name) => {
      const body = new URLSearchParams({ token, confirmed: 'yes' });
      await expectAnswered(await owner.post(inPlaceOf(path, name), body.toString()));
      web.pass(3_600_000);
    }),
    { numRuns: RUNS * 2, endOnFailure: true },
  );
}, 600_000);

test('every page, with a damaged address and a damaged query', async () => {
  const values = fc.oneof(
    fc.constantFrom('\0', 'x\0y', '9'.repeat(400)),
    damagedText(['station', 'warning', '1750000000000-7', '2026-06-21', '3', 'generic', 'saved'], 1000),
  );
  const names = fc.constantFrom('subject', 'subject', 'type', 'before', 'hour', 'from', 'told', 'download');
  const queries = fc.array(fc.tuple(names, values), { minLength: 1, maxLength: 3 });
  for (const route of gets())
    await fc.assert(
      fc.asyncProperty(damagedNames(), fc.boolean(), queries, async (name, keepsName, query) => {
        const address = keepsName ? route.address : inPlaceOf(route.path, name);
        await expectAnswered(await owner.get(`${address}?${new URLSearchParams(query)}`));
      }),
      { numRuns: Math.ceil(RUNS / 2), endOnFailure: true },
    );
}, 600_000);
