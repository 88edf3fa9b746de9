import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readDebianArchive } from '../../services/station/debian-sources.ts';

let apt = '';
beforeEach(() => {
  apt = mkdtempSync(join(tmpdir(), 'silvasonic-apt-'));
  mkdirSync(join(apt, 'sources.list.d'));
});
afterEach(() => rmSync(apt, { recursive: true, force: true }));
const write = (name: string, ...lines: string[]) => writeFileSync(join(apt, name), `${lines.join('\n')}\n`);

describe("the host's Debian archive", () => {
  it('is read from the one-line format', () => {
    write(
      'sources.list',
      '# deb http://commented.example/debian bookworm main',
      'deb-src http://sources.example/debian bookworm main',
      'deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm main contrib # ours',
      'deb http://mirror.example/debian bookworm-updates main',
      'deb http://security.example/debian-security bookworm-security main',
    );
    expect(readDebianArchive(apt)).toEqual({
      mainUri: 'http://mirror.example/debian',
      securityUri: 'http://security.example/debian-security',
    });
  });

  it('is read from stanzas, comments between their lines and values over several lines included', () => {
    write(
      'sources.list.d/debian.sources',
      'Types: deb',
      '# a snapshot was here',
      'URIs: https://mirror.example/debian',
      'Suites: trixie',
      ' trixie-updates',
      'Components: main non-free-firmware',
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp',
      '',
      'Types: deb deb-src',
      'URIs: https://security.example/debian-security/',
      'Suites: trixie-security',
      'Components: main',
    );
    expect(readDebianArchive(apt)).toEqual({
      mainUri: 'https://mirror.example/debian',
      securityUri: 'https://security.example/debian-security/',
    });
  });

  it('is not the repository of somebody else, nor one that is switched off', () => {
    write(
      'sources.list.d/a.list',
      'deb [signed-by=/etc/apt/keyrings/vpn.gpg] https://vpn.example/debian bookworm main',
    );
    write('sources.list.d/b.list', 'deb https://containers.example/linux/debian bookworm stable');
    write(
      'sources.list.d/c.sources',
      'Types: deb',
      'URIs: https://node.example',
      'Suites: nodistro',
      'Components: main',
    );
    write(
      'sources.list.d/d.sources',
      'Enabled: no',
      'Types: deb',
      'URIs: https://off.example',
      'Suites: bookworm',
      'Components: main',
    );
    expect(() => readDebianArchive(apt)).toThrow(/No Debian archive is configured.*add the line/);
    write('sources.list.d/z.list', 'deb https://mirror.example/debian bookworm main');
    expect(readDebianArchive(apt)).toEqual({ mainUri: 'https://mirror.example/debian', securityUri: null });
  });

  it('of a cloud image is the first mirror of its list', () => {
    write('mirrors.list', '# mirrors', 'https://first.example/debian', 'https://second.example/debian');
    write('sources.list', `deb mirror+file://${join(apt, 'mirrors.list')} bookworm main`);
    expect(readDebianArchive(apt).mainUri).toBe('https://first.example/debian');
  });
});
