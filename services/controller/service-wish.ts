/** Whether a service of the catalogue should run, and why not where it may not. Pure. */
import { type CatalogueEntry, parseServiceSettings } from '../shared/catalogue.ts';
import type { ToldMicrophones } from '../shared/contract.ts';
import { serviceContainer, serviceFolders } from './service-spec.ts';
import type { SpecInput } from './spec.ts';
import type { Explanation, SecretVersions, ServicePhase, ServiceRow, SubjectKey, Wish } from './world.ts';

export const serviceSubject = (name: string): SubjectKey => `service:${name}`;

const lastWished = new WeakMap<ServiceRow, { from: readonly unknown[]; wish: Wish }>();

/**
 * What was wished last, while all that it came from is the very same. What a service is told of microphones is made in
 * every cycle, so one that is told is wished anew.
 */
export function rememberedServiceWish(row: ServiceRow, input: SpecInput, told: ToldMicrophones): Wish {
  const entry = input.catalogue.find(({ name }) => name === row.name);
  const isTold = entry !== undefined && (entry.station.microphones !== 'none' || entry.station.liveSound);
  const imageId = entry === undefined ? undefined : input.images[entry.image];
  const secrets = input.secrets.get(row.name);
  const from = [entry, imageId, secrets, input.operator, input.desired.config, input.workspaceProblem];
  const before = lastWished.get(row);
  if (!isTold && before !== undefined && areSame(before.from, from)) return before.wish;
  const wish = serviceWish(row, input, told);
  lastWished.set(row, { from, wish });
  return wish;
}

/** A service runs when it is switched on and the catalogue knows it. Its row alone never makes a container. */
function serviceWish(row: ServiceRow, input: SpecInput, microphones: ToldMicrophones): Wish {
  const base = {
    subject: serviceSubject(row.name),
    target: { kind: 'service' as const, name: row.name },
    generation: row.generation,
    told: row,
  };
  const off = (phase: ServicePhase, reason: string, message: string): Wish => ({
    ...base,
    kind: 'off',
    phase,
    reason,
    message,
  });
  const blocked = ({ reason, message }: Explanation): Wish => ({
    ...base,
    kind: 'hold',
    phase: 'blocked',
    untilMs: null,
    reason,
    message,
  });
  if (!row.enabled) return off('disabled', 'SwitchedOff', 'Switched off.');
  const entry = input.catalogue.find(({ name }) => name === row.name);
  if (entry === undefined) {
    const message = `There is no service ${JSON.stringify(row.name)} in the catalogue: add profiles/services/${row.name}.yml or switch it off.`;
    return off('blocked', 'NotInCatalogue', message);
  }
  const settings = parseServiceSettings(entry, row.settings);
  if (!settings.ok)
    return blocked({ reason: 'SettingsInvalid', message: `Its settings cannot be used: ${settings.message}` });
  if (entry.recordings !== 'none' && input.workspaceProblem !== null) return blocked(input.workspaceProblem);
  const taken = entry.ports.find(({ port }) => input.operator.takenPorts.includes(port));
  if (taken !== undefined) {
    const message = `Port ${taken.port} is used by the station itself: give the service another one in profiles/services/${row.name}.yml.`;
    return blocked({ reason: 'PortTaken', message });
  }
  const secrets = secretsOf(entry, input);
  if (!secrets.ok) return blocked(secrets);
  const imageId = input.images[entry.image] ?? null;
  const { operator } = input;
  const { config } = input.desired;
  const given = {
    row,
    entry,
    settings: settings.value,
    secrets: secrets.value,
    microphones,
    imageId,
    config,
    operator,
  };
  return {
    ...base,
    kind: 'run',
    ...serviceContainer(given),
    imageId,
    folders: { kind: 'service', ...serviceFolders(given) },
    processing: null,
    holder: null,
    notNow: null,
    reason: '',
    message: '',
  };
}

type Secrets = { ok: true; value: SecretVersions } | ({ ok: false } & Explanation);

/** What is missing is said with the place where it belongs, and the command that puts it there. */
function secretsOf({ name: service, secrets }: CatalogueEntry, { secrets: found, operator }: SpecInput): Secrets {
  if (secrets.length === 0) return { ok: true, value: {} };
  const reading = found.get(service);
  if (reading?.ok !== true) {
    const message = reading?.error ?? 'Its secrets have not been looked for yet.';
    return { ok: false, reason: 'SecretsUnreadable', message };
  }
  for (const { name, description } of secrets) {
    const place = `${operator.hostSecretsFolder}/${service}/${name}`;
    if (reading.value[name] === 'open') {
      const message = `Others may read its secret ${place}: make it its owner's alone with "chmod 600 ${place}".`;
      return { ok: false, reason: 'SecretOpen', message };
    }
    if (reading.value[name] === 'foreign') {
      const message = `Its secret ${place} belongs to another user than the one that the station runs as: give it to that one with "chown", since nobody else can pass it on.`;
      return { ok: false, reason: 'SecretForeign', message };
    }
    if (reading.value[name] == null) {
      const message = `Its secret ${name} is missing: ${description} Put it there with "install -D -m 600 <your file> ${place}".`;
      return { ok: false, reason: 'SecretMissing', message };
    }
  }
  return { ok: true, value: reading.value };
}

/** Part by part, of two lists of the same length. */
export function areSame(some: readonly unknown[], others: readonly unknown[]): boolean {
  return some.every((part, index) => part === others[index]);
}
