/**
 * The Debian archive that this host installs from, read out of its apt sources: a base image made here takes its
 * packages from the same mirror. Both of apt's formats are read (sources.list(5)); repositories of others are left out.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface DebianArchive {
  /** Of the main archive, e.g. what stands before `bookworm main`. */
  mainUri: string;
  /** null: the host has no security updates configured. */
  securityUri: string | null;
}

interface Source {
  uri: string;
  suite: string;
  components: string[];
  signedBy: string;
}

/**
 * @param aptFolder `/etc/apt`
 * @throws Error with a sentence for a person, when no source of Debian is configured
 */
export function readDebianArchive(aptFolder: string): DebianArchive {
  const sources = sourceFiles(aptFolder)
    .flatMap((file) => parseSources(file, readFile(file)))
    .filter(isDebian);
  const main = sources.find(({ suite }) => !suite.includes('-') && !suite.includes('/'));
  const security = sources.find(({ suite }) => /-security$|\/updates$/.test(suite));
  if (main === undefined) {
    throw new Error(
      `No Debian archive is configured in ${aptFolder}/sources.list or ${aptFolder}/sources.list.d: add the line "deb <address of a Debian mirror> bookworm main" there.`,
    );
  }
  return {
    mainUri: resolveMirror(main.uri),
    securityUri: security === undefined ? null : resolveMirror(security.uri),
  };
}

function sourceFiles(aptFolder: string): string[] {
  const single = join(aptFolder, 'sources.list');
  const folder = join(aptFolder, 'sources.list.d');
  const parts = existsSync(folder) ? readdirSync(folder).sort() : [];
  return [
    ...(existsSync(single) ? [single] : []),
    ...parts.filter((name) => /\.(list|sources)$/.test(name)).map((name) => join(folder, name)),
  ];
}

/** What one file declares. Its name's ending says which of the two formats it is in. */
export function parseSources(fileName: string, text: string): Source[] {
  return fileName.endsWith('.sources') ? parseStanzas(text) : parseLines(text);
}

/** `deb [option=value …] uri suite component…` */
function parseLines(text: string): Source[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[(?<options>[^\]]*)\]\s+)?(?<uri>\S+)\s+(?<suite>\S+)(?<components>[^#]*)/.exec(line);
    if (match?.groups === undefined) return [];
    const { options = '', uri = '', suite = '', components = '' } = match.groups;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1] ?? '';
    return [{ uri, suite, components: words(components), signedBy }];
  });
}

/** Stanzas of `Field: value`, a value going on in lines that begin with a blank. */
function parseStanzas(text: string): Source[] {
  const withoutComments = text.replace(/^#.*\n?/gm, '');
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string =>
      new RegExp(`^${name}:([^\n]*(?:\n[ \t][^\n]*)*)`, 'im').exec(stanza)?.[1]?.trim() ?? '';
    if (!words(field('Types')).includes('deb') || field('Enabled').toLowerCase() === 'no') return [];
    const rest = { components: words(field('Components')), signedBy: field('Signed-By') };
    return words(field('URIs')).flatMap((uri) => words(field('Suites')).map((suite) => ({ uri, suite, ...rest })));
  });
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${path} cannot be read (${why}): mend or remove what names it in apt's sources.`, { cause });
  }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** As programs can fetch from: neither half an address nor a medium that may not be inserted (`cdrom:[…]/`). */
const ADDRESS = /^[a-z][a-z0-9+.-]*:\/[^\s\p{Cc}]*$/iu;

/** A repository signed by somebody else, or without Debian's main component, is not Debian's. */
function isDebian({ uri, components, signedBy, suite }: Source): boolean {
  if (!ADDRESS.test(uri)) return false;
  const suites = /^(bookworm|trixie|forky|duke|sid|oldstable|stable|testing|unstable)(-security|-updates|\/updates)?$/;
  return components.includes('main') && suites.test(suite) && (signedBy === '' || signedBy.includes('debian-archive'));
}

/** Cloud images name a file with mirrors in it: the first of them can be named anywhere. */
function resolveMirror(uri: string): string {
  const file = /^mirror\+file:(?:\/\/)?(?<path>\/.*)$/.exec(uri)?.groups?.path;
  if (file === undefined) return uri;
  const first = words(readFile(file).replace(/#.*$/gm, '')).find((word) => word.includes('://') && ADDRESS.test(word));
  if (first === undefined) throw new Error(`${file} names no mirror: add the address of a Debian mirror.`);
  return first;
}
