import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODE_BASE_IMAGE } from '../../services/station/base-image.ts';
import { baseImages, copiedPaths, inputsHash } from '../../services/station/containerfile.ts';
import { containerProblem, RECORDER_IMAGE } from '../../services/station/images.ts';

const EXAMPLE = `ARG BASE=docker.io/library/node:24
FROM \${BASE} AS build
COPY --chown=1:1 package.json package-lock.json ./
COPY services/shared \\
     services/recorder /build/
COPY services/*/profile.yml /build/
FROM --platform=linux/amd64 scratch
FROM build
FROM quay.io/x/y:1
COPY --from=build /build/out /app
`;

describe('a Containerfile', () => {
  it('stands on images, not on its own stages', () => {
    expect(baseImages(EXAMPLE)).toEqual(['docker.io/library/node:24', 'quay.io/x/y:1']);
  });

  it('copies from the context, not from its own stages', () => {
    expect(copiedPaths(EXAMPLE)).toEqual([
      'package-lock.json',
      'package.json',
      'services',
      'services/recorder',
      'services/shared',
    ]);
  });

  it("of the recorder stands on the image that a stand-in can be made of, and counts the recorder's sources", () => {
    const text = readFileSync(resolve(import.meta.dirname, '../..', RECORDER_IMAGE.containerfile), 'utf8');
    expect(baseImages(text)).toEqual([NODE_BASE_IMAGE]);
    expect(copiedPaths(text)).toEqual(expect.arrayContaining(['services/recorder', 'services/shared']));
  });
});

describe('the inputs of an image', () => {
  let context = '';
  const text = 'FROM scratch\nCOPY app /app\n';
  const write = (name: string, content: string) => writeFileSync(join(context, name), content);
  beforeEach(() => {
    context = mkdtempSync(join(tmpdir(), 'silvasonic-context-'));
    mkdirSync(join(context, 'app', 'node_modules'), { recursive: true });
    write('app/a', 'one');
  });
  afterEach(() => rmSync(context, { recursive: true, force: true }));

  it('change with a copied file, its name, the Containerfile, the ignore file and its bases', () => {
    const seen = new Set([inputsHash(context, text, [])]);
    const grows = (hash: string) => {
      const before = seen.size;
      seen.add(hash);
      expect(seen.size).toBe(before + 1);
    };
    write('app/a', 'two');
    grows(inputsHash(context, text, []));
    write('app/b', '');
    grows(inputsHash(context, text, []));
    write('.containerignore', 'app/b');
    grows(inputsHash(context, text, []));
    grows(inputsHash(context, `${text}# more`, []));
    grows(inputsHash(context, text, ['sha']));
  });

  it('do not change with anything else', () => {
    const before = inputsHash(context, text, []);
    write('README.md', 'new');
    write('app/node_modules/package', 'new');
    expect(inputsHash(context, text, [])).toBe(before);
  });
});

describe('a container that does not start', () => {
  it.each([
    ['cannot set up namespace using "/usr/bin/newuidmap": exit status 1', /--add-subuids/],
    ['runc: error setting rlimit type 7: operation not permitted', /default_ulimits/],
    ['crun: cgroups in hybrid mode not supported, drop all controllers', /install runc/],
    ['cannot clone: Operation not permitted\nError: cannot re-exec process', /does not permit containers/],
    ['Error: something else', /^Podman answered "Error: something else"/],
  ])('"%s" has a cure', (answer, sentence) => {
    expect(containerProblem(answer)).toMatch(sentence);
  });
});
