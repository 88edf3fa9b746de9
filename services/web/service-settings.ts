/** The settings of a service of the catalogue as a form: text of fields in, what is stored in its row out. */
import { type CatalogueEntry, parseServiceSettings, type SettingSpec } from '../shared/catalogue.ts';
import { numberOrText } from './form-text.ts';

/** What stands in the fields, and what is wrong with them. */
export interface ServiceForm {
  values: ReadonlyMap<string, string>;
  problems: ReadonlyMap<string, string>;
}

export type ServiceOutcome = { ok: true; settings: Record<string, unknown> } | { ok: false; form: ServiceForm };

/** The form as the row has it: what is not stored there is as the catalogue says. */
export function serviceForm(entry: CatalogueEntry, stored: unknown): ServiceForm {
  const given = new Map<string, unknown>(typeof stored === 'object' && stored !== null ? Object.entries(stored) : []);
  const values = Object.entries(entry.settings).map(
    ([name, spec]) => [name, String(given.get(name) ?? spec.default)] as const,
  );
  return { values: new Map(values), problems: problemsOf(entry, stored) };
}

/** Reads a filled-in form. What is as the catalogue says is not stored, so that it follows the catalogue's next release. */
export function readServiceForm(
  entry: CatalogueEntry,
  fields: Readonly<Record<string, string | undefined>>,
): ServiceOutcome {
  const given = Object.entries(entry.settings).flatMap(([name, spec]) => {
    const value = readField(spec, fields[name]);
    return value === undefined || value === spec.default ? [] : [[name, value] as const];
  });
  const settings = Object.fromEntries(given);
  const problems = problemsOf(entry, settings);
  if (problems.size === 0) return { ok: true, settings };
  const values = Object.entries(entry.settings).map(
    ([name, spec]) => [name, fields[name] ?? String(spec.default)] as const,
  );
  return { ok: false, form: { values: new Map(values), problems } };
}

/** Those of the whole stand under the empty name. */
function problemsOf(entry: CatalogueEntry, settings: unknown): Map<string, string> {
  const parsed = parseServiceSettings(entry, settings);
  const problems = parsed.ok ? [] : parsed.fields.map(({ path, message }) => [path, message] as const);
  return new Map(problems);
}

/** undefined: nothing was filled in, so the catalogue's holds. Text may be empty on purpose. */
function readField(spec: SettingSpec, given: string | undefined): unknown {
  if (given === undefined) return undefined;
  const value = given.trim();
  switch (spec.type) {
    case 'integer':
    case 'number':
      return value === '' ? undefined : numberOrText(value);
    case 'boolean':
      return value === 'true' ? true : value === 'false' ? false : value;
    case 'choice':
    case 'text':
      return value;
    default: {
      const impossible: never = spec.type;
      return impossible;
    }
  }
}
