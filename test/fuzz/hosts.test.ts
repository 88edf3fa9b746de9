/** What hosts say of themselves, damaged: their package sources, and where a container's folders lie. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { readConfig } from '../../services/controller/config.ts';
import { foldersByMounts, type Mount, possibleContainerIds } from '../../services/controller/own-mounts.ts';
import { parseSources, readDebianArchive } from '../../services/station/debian-sources.ts';
import { corpus, damagedText, fuzz, isSentence, isUnpolluted } from './fuzzing.ts';

describe("the host's Debian archive", () => {
  let apt: string;
  beforeAll(() => {
    apt = mkdtempSync(join(tmpdir(), 'silvasonic-fuzz-'));
    mkdirSync(join(apt, 'sources.list.d'));
  });
  afterAll(() => rmSync(apt, { recursive: true, force: true }));

  const texts = damagedText(corpus('apt-'));
  const lists = damagedText(corpus('mirrors'));
  const isThere = fc.boolean();

  fuzz(
    'is the address of one, or a sentence that says what to add',
    fc.tuple(texts, texts, lists, isThere),
    (given) => {
      const [lines, stanzas, mirrors, hasMirrors] = given;
      const list = join(apt, 'mirrors.list');
      writeFileSync(join(apt, 'sources.list'), lines.replaceAll('/etc/apt/mirrors/debian.list', list));
      writeFileSync(join(apt, 'sources.list.d/debian.sources'), stanzas);
      if (hasMirrors) writeFileSync(list, mirrors);
      else rmSync(list, { force: true });
      let archive: ReturnType<typeof readDebianArchive>;
      try {
        archive = readDebianArchive(apt);
      } catch (error) {
        const sentence = error instanceof Error ? error.message : String(error);
        expect(sentence).toSatisfy(isSentence);
        expect(sentence).toMatch(/: (add|mend|remove) .*\.$/);
        return;
      }
      for (const uri of [archive.mainUri, archive.securityUri])
        if (uri !== null) expect(uri).toMatch(/^[a-z][a-z0-9+.-]*:\/[^\s\p{Cc}]*$/iu);
    },
  );

  fuzz('however a file of it was damaged, it declares sources in whole words, soon', texts, (text) => {
    for (const name of ['sources.list', 'debian.sources'])
      for (const { uri, suite, components } of parseSources(name, text))
        for (const word of [uri, suite, ...components]) expect(word).toMatch(/^\S+$/);
  });

  fuzz(
    'files that are made to take long are read at once',
    fc.tuple(
      fc.constantFrom('deb ', 'deb [', '\n ', 'URIs: ', 'Types: deb\n', ' a', '#', '\n\n', 'deb a b ', ']'),
      fc.integer({ min: 1, max: 100_000 }),
    ),
    ([piece, length]) => {
      const text = piece.repeat(Math.ceil(length / piece.length));
      for (const name of ['sources.list', 'debian.sources']) expect(Array.isArray(parseSources(name, text))).toBe(true);
    },
    6,
  );
});

describe('a container in which the controller runs', () => {
  const ID = 'a1'.repeat(32);

  fuzz(
    'is looked for under names that a container can have, each once',
    fc.record({
      containerenv: damagedText([`engine="podman-4.3.1"\nname="x"\nid="${ID}"\nimage="y"\n`]),
      mountinfo: damagedText(corpus('own-mountinfo')),
      cgroup: damagedText([
        `12:pids:/libpod_parent/libpod-${ID}\n`,
        `0::/machine.slice/libpod-${ID}.scope/container\n`,
      ]),
      hostname: damagedText(['a1a1a1a1a1a1\n', 'station', ''], 300),
    }),
    (texts) => {
      const ids = possibleContainerIds(texts);
      for (const id of ids) expect(id).toMatch(/^([0-9a-f]{12}|[0-9a-f]{64})$/);
      expect(new Set(ids).size).toBe(ids.length);
    },
  );

  const DESTINATIONS = [
    ...['/app/recorder-workspace', '/app/services', '/app/secrets', '/run/podman', '/run/silvasonic'],
  ];
  const SOURCES = [
    '/mnt/ssd/recorder',
    '/mnt/ssd/services',
    '/var/lib/containers/storage/volumes/secrets/_data',
    '/run',
  ];
  const mounts: fc.Arbitrary<Mount[]> = fc
    .tuple(
      fc.array(
        fc.record({
          source: fc.oneof(fc.constantFrom(...SOURCES, ''), damagedText(SOURCES, 300)),
          destination: fc.oneof(fc.constantFrom(...DESTINATIONS), damagedText(DESTINATIONS, 300)),
        }),
        { maxLength: 4 },
      ),
      fc.boolean(),
    )
    .map(([some, isComplete]) => {
      const all = DESTINATIONS.map((destination, index) => ({
        source: SOURCES[index % SOURCES.length] ?? '',
        destination,
      }));
      return isComplete ? [...some, ...all] : some;
    });

  fuzz(
    'has its folders on the host under paths of the host, or a sentence names what is to be mounted',
    fc.tuple(mounts, fc.option(fc.constantFrom('/mnt/ssd', '/mnt/hdd')), fc.option(fc.constantFrom('/run', '/tmp/x'))),
    ([given, workspacePath, runPath]) => {
      const config = readConfig(
        {
          CONTAINER_SOCKET: '/run/podman/podman.sock',
          ...(workspacePath !== null && { SILVASONIC_WORKSPACE_PATH: workspacePath }),
          ...(runPath !== null && { SILVASONIC_RUN_PATH: runPath }),
        },
        { insideContainer: true },
      );
      if (!config.ok) throw new Error(config.problems.join());
      const folders = foldersByMounts(config.value, given);
      expect(isUnpolluted()).toBe(true);
      if (!folders.ok) {
        expect(folders.message).toSatisfy(isSentence);
        expect(folders.message).toMatch(/: mount |; allowed: /);
        return;
      }
      const { hostRecorderWorkspace, hostServicesFolder, hostSecretsFolder, hostRunPath } = folders.value;
      for (const path of [hostRecorderWorkspace, hostServicesFolder, hostSecretsFolder, hostRunPath])
        expect(path).toMatch(/^\//);
    },
  );
});
