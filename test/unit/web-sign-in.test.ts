/** Passwords, attempts, the setup code, form tokens: what stands between a stranger and the station. */
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createAttempts, LOCK_OUT_MS, MOST_FAILURES } from '../../services/web/attempts.ts';
import { DatabaseAway, Refusal } from '../../services/web/database.ts';
import { formToken, isFormToken } from '../../services/web/owner.ts';
import { hashPassword, passwordProblem, verifyPassword } from '../../services/web/password.ts';
import { describeFailure, PageError } from '../../services/web/requests.ts';
import { createSetupCode } from '../../services/web/setup-code.ts';

describe('a password', () => {
  test('is kept salted, and only the right one fits', async () => {
    const [one, other] = [await hashPassword('correct horse'), await hashPassword('correct horse')];
    expect(one).toMatch(/^scrypt\$32768\$8\$1\$/);
    expect(one).not.toBe(other);
    expect(await verifyPassword('correct horse', one)).toBe(true);
    expect(await verifyPassword('correct horsf', one)).toBe(false);
    expect(await verifyPassword('', one)).toBe(false);
  });

  test('fits however its letters are put together', async () => {
    const hash = await hashPassword('Ka\u0308uzchen ruft');
    expect(await verifyPassword('K\u00e4uzchen ruft', hash)).toBe(true);
  });

  test.each([
    '',
    'scrypt',
    'scrypt$32768$8$1$$',
    'md5$1$1$1$YQ==$YQ==',
    `scrypt$${2 ** 30}$8$1$YQ==$${'A'.repeat(43)}=`,
  ])('no hash of ours (%j) fits nothing', async (hash) => {
    expect(await verifyPassword('anything', hash)).toBe(false);
  });

  test.each([
    ['ten chars!', null],
    ['nine char', '9 characters'],
    ['x'.repeat(200), null],
    ['x'.repeat(201), '201 characters'],
    ['🦇'.repeat(10), null],
  ])('%s: %s', (password, problem) => {
    const said = passwordProblem(password);
    if (problem === null) expect(said).toBeNull();
    else expect(said).toContain(problem);
  });
});

describe('attempts', () => {
  let nowMs: number;
  const make = () => createAttempts({ nowMs: () => nowMs, wallMs: () => 0, timer: () => () => {} });
  beforeEach(() => {
    nowMs = 1000;
  });

  test('five failures lock one address out for half a minute, and no other', () => {
    const attempts = make();
    for (let count = 1; count < MOST_FAILURES; count++) attempts.failed('10.0.0.1');
    expect(attempts.waitSeconds('10.0.0.1')).toBe(0);
    attempts.failed('10.0.0.1');
    expect(attempts.waitSeconds('10.0.0.1')).toBe(30);
    expect(attempts.waitSeconds('10.0.0.2')).toBe(0);
    nowMs += LOCK_OUT_MS - 1;
    expect(attempts.waitSeconds('10.0.0.1')).toBe(1);
    nowMs += 1;
    expect(attempts.waitSeconds('10.0.0.1')).toBe(0);
    attempts.failed('10.0.0.1');
    expect(attempts.waitSeconds('10.0.0.1')).toBe(30);
  });

  test('a success begins anew', () => {
    const attempts = make();
    for (let count = 0; count < MOST_FAILURES; count++) attempts.failed('a');
    attempts.succeeded('a');
    expect(attempts.waitSeconds('a')).toBe(0);
  });

  test('from many addresses at once there is a limit too', () => {
    const attempts = make();
    for (let count = 0; count < 60; count++) attempts.failed(`10.0.1.${count}`);
    expect(attempts.waitSeconds('10.9.9.9')).toBe(60);
    nowMs += 60_000;
    expect(attempts.waitSeconds('10.9.9.9')).toBe(0);
  });
});

describe('the setup code', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'silvasonic-code-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('is the same until it is used, closed to others, and another one afterwards', async () => {
    const code = await createSetupCode(folder).read();
    expect(await createSetupCode(folder).read()).toBe(code);
    expect(statSync(join(folder, 'setup-code')).mode & 0o777).toBe(0o600);
    await createSetupCode(folder).remove();
    expect(await createSetupCode(folder).read()).not.toBe(code);
  });

  test('is taken as people type it, and nothing else is', async () => {
    const setupCode = createSetupCode(folder);
    const code = await setupCode.read();
    for (const given of [code, code.toLowerCase(), code.replace('-', ' '), ` ${code.replace('-', '')} `])
      expect(await setupCode.matches(given), given).toBe(true);
    for (const given of ['', '-', code.slice(1), `${code}A`, 'AAAAA-AAAAA', '\0'.repeat(100)])
      expect(await setupCode.matches(given), given).toBe(false);
  });

  test.each(['', 'short', 'AAAAA-AAAA0', 'x'.repeat(1000)])('a file with %j in it is none', async (content) => {
    writeFileSync(join(folder, 'setup-code'), content);
    const code = await createSetupCode(folder).read();
    expect(code).toMatch(/^[A-Z2-9]{5}-[A-Z2-9]{5}$/);
    expect(readFileSync(join(folder, 'setup-code'), 'utf8').trim()).toBe(code);
  });

  test('a link is not followed', async () => {
    const elsewhere = join(folder, 'elsewhere');
    writeFileSync(elsewhere, 'AAAAA-AAAAA\n');
    symlinkSync(elsewhere, join(folder, 'setup-code'));
    expect(await createSetupCode(folder).read()).not.toBe('AAAAA-AAAAA');
    expect(readFileSync(elsewhere, 'utf8')).toBe('AAAAA-AAAAA\n');
  });
});

describe('a form token', () => {
  test('differs each time, and fits only its own cookie', () => {
    const [one, other] = [formToken('cookie'), formToken('cookie')];
    expect(one).not.toBe(other);
    expect([isFormToken('cookie', one), isFormToken('cookie', other)]).toEqual([true, true]);
    const [nonce = '', mac = ''] = one.split('.');
    const [otherNonce = ''] = other.split('.');
    for (const forged of ['', '.', nonce, `.${mac}`, `${otherNonce}.${mac}`, `${one}.`, `${one}=`, mac])
      expect(isFormToken('cookie', forged), forged).toBe(false);
    expect(isFormToken('other cookie', one)).toBe(false);
  });
});

describe('what a person is told of a failure', () => {
  test('the sentence of whatever is meant for him, and nothing of the inside', () => {
    expect(describeFailure(new PageError(404, 'There is none.'))).toMatchObject({ statusCode: 404, isOurs: false });
    expect(describeFailure(new Refusal('It is used.'))).toMatchObject({ statusCode: 409, message: 'It is used.' });
    expect(describeFailure(new DatabaseAway('It is away.'))).toMatchObject({ statusCode: 503, hint: 'It is away.' });
    const bug = describeFailure(new TypeError('undefined is not /srv/secret'));
    expect(bug).toMatchObject({ statusCode: 500, isOurs: true });
    expect(JSON.stringify(bug)).not.toContain('secret');
    for (const odd of [null, 'text', { statusCode: 404 }, Object.assign(new Error('x'), { statusCode: 200 })])
      expect(describeFailure(odd).statusCode).toBe(500);
    expect(describeFailure(Object.assign(new Error('x'), { statusCode: 413 })).statusCode).toBe(413);
  });
});
