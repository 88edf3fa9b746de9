/** The microphone profiles and the catalogue of services that come with a release. */
import { type CatalogueEntry, parseCatalogueYaml, portClash } from './catalogue.ts';
import { parseProfileYaml, type SeedProfile } from './profile.ts';
import { readSeedFolder } from './seed-folder.ts';

/** Reads `profiles/microphones`. Never throws: what cannot be used is a sentence in `problems`. */
export function loadSeedProfiles(folder: string): { profiles: SeedProfile[]; problems: string[] } {
  const { values, problems } = readSeedFolder({
    folder,
    parse: parseProfileYaml,
    keyOf: ({ slug }) => slug,
    keyName: 'slug',
  });
  return { profiles: values, problems };
}

/** Reads `profiles/services`. Never throws: what cannot be used is a sentence in `problems`. */
export function loadCatalogue(folder: string): { entries: CatalogueEntry[]; problems: string[] } {
  const { values, problems } = readSeedFolder({
    folder,
    parse: parseCatalogueYaml,
    keyOf: ({ name }) => name,
    keyName: 'name',
  });
  const entries: CatalogueEntry[] = [];
  for (const entry of values) {
    const clash = portClash(entry, entries);
    if (clash === null) entries.push(entry);
    else problems.push(`${entry.name}: ${clash}`);
  }
  return { entries, problems };
}
