/** One card per service: what it is, what it may, how it fares and why; on and off, settings, restart. */
import type { VNode } from 'preact';
import type { CatalogueEntry, SettingSpec } from '../../shared/catalogue.ts';
import { type ServiceForm, serviceForm } from '../service-settings.ts';
import type { StationPicture } from '../station-picture.ts';
import type { ServiceRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { type Fragment, ServiceSwitch } from './dashboard.tsx';
import { Badge, Field, formatBytes, Page, type PageContext, PostForm, Time, Troubles } from './layout.tsx';
import { ProcessorWork } from './processor.tsx';

interface ServicesProps {
  picture: StationPicture;
  catalogue: readonly CatalogueEntry[];
  context: PageContext;
}

export interface ServicesPageProps extends ServicesProps {
  /** How the browser calls this machine. */
  host: string;
  /** A form that was refused. */
  wrong: { name: string; form: ServiceForm } | undefined;
}

const t = texts.services;
const PROCESSOR = 'processor';

export function ServicesPage(props: ServicesPageProps): VNode {
  const { picture, catalogue, context, wrong } = props;
  return (
    <Page context={context} title={t.title} live="/live?page=services">
      <h1>{t.title}</h1>
      <p class="hint">{t.intro}</p>
      <Troubles picture={picture} />
      {picture.services.length === 0 && <p class="card">{t.empty}</p>}
      <div class="services">
        {picture.services.map((row) => {
          const entry = catalogue.find(({ name }) => name === row.name);
          const form = wrong?.name === row.name ? wrong.form : undefined;
          return <ServiceCard key={row.name} {...props} row={row} entry={entry} form={form} />;
        })}
      </div>
    </Page>
  );
}

/** What moves: each card's state, and the processor's work. Settings stand still, as somebody may be typing there. */
export function serviceFragments({ picture, catalogue, context }: ServicesProps): Fragment[] {
  const troubles = { id: 'troubles', element: <Troubles picture={picture} /> };
  const cards = picture.services.flatMap((row) => {
    const title = catalogue.find(({ name }) => name === row.name)?.title ?? row.name;
    const state = { id: stateId(row), element: <ServiceState row={row} title={title} context={context} /> };
    if (row.name !== PROCESSOR) return [state];
    return [state, { id: 'processor-work', element: <ProcessorWork row={row} status={picture.processor} /> }];
  });
  return [troubles, ...cards];
}

const stateId = ({ name }: ServiceRow): string => `service-${name}-state`;

function ServiceCard({
  row,
  entry,
  form,
  picture,
  context,
  host,
}: ServicesPageProps & {
  row: ServiceRow;
  entry: CatalogueEntry | undefined;
  form: ServiceForm | undefined;
}): VNode {
  const title = entry?.title ?? row.name;
  return (
    <article class="card service" id={row.name} aria-labelledby={`${row.name}-title`}>
      <h2 id={`${row.name}-title`}>{title}</h2>
      <p>{entry?.description ?? t.notInCatalogue(row.name)}</p>
      <ServiceState row={row} title={title} context={context} />
      {row.name === PROCESSOR && <ProcessorWork row={row} status={picture.processor} />}
      {entry !== undefined && <Ports entry={entry} host={host} />}
      {entry !== undefined && entry.secrets.length > 0 && <Secrets entry={entry} />}
      {entry !== undefined && Object.keys(entry.settings).length > 0 && (
        <Settings entry={entry} row={row} form={form} context={context} />
      )}
      {entry !== undefined && <Permissions entry={entry} />}
    </article>
  );
}

function ServiceState({ row, title, context }: { row: ServiceRow; title: string; context: PageContext }): VNode {
  const applying = row.generation !== row.observedGeneration;
  return (
    <div class="service-state" id={stateId(row)}>
      <p class="reason">
        <Badge phase={row.phase} /> {row.message}{' '}
        <small class="hint">
          {t.since} <Time at={row.phaseSince} ago />
        </small>
      </p>
      <div class="row">
        <ServiceSwitch service={row} context={context} page />
        {row.enabled && (
          <PostForm action={`/services/${row.name}/restart`} context={context}>
            <button type="submit" class="quiet" aria-label={t.restartLabel(title)}>
              {t.restart}
            </button>
          </PostForm>
        )}
        {applying && <span class="effect applying">{texts.microphone.applying}</span>}
      </div>
    </div>
  );
}

function Ports({ entry, host }: { entry: CatalogueEntry; host: string }): VNode | null {
  if (entry.ports.length === 0) return null;
  return (
    <ul class="facts">
      {entry.ports.map(({ port, address }) => (
        <li key={port}>
          {address.startsWith('127.') ? t.portLocal(port) : <a href={`http://${host}:${port}/`}>{t.port(port)}</a>}
        </li>
      ))}
    </ul>
  );
}

function Secrets({ entry }: { entry: CatalogueEntry }): VNode {
  return (
    <div class="secrets">
      <h3>{t.secrets}</h3>
      <ul>
        {entry.secrets.map(({ name, description }) => (
          <li key={name}>
            <code>{t.secretPlace(entry.name, name)}</code>: {description}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Permissions({ entry }: { entry: CatalogueEntry }): VNode {
  const { limits, station } = entry;
  const told = [
    ...(station.liveSound ? [t.liveSound] : []),
    ...(station.microphones === 'none' ? [] : [t.microphones]),
    ...(station.latitudeVariable === null && station.longitudeVariable === null ? [] : [t.position]),
  ];
  const folders = Object.keys(entry.folders).join(', ');
  return (
    <details class="more">
      <summary>{t.may}</summary>
      <ul class="facts">
        <li>{t.recordings[entry.recordings]}</li>
        <li>{t.network[entry.network]}</li>
        {told.map((one) => (
          <li key={one}>{one}</li>
        ))}
        {folders !== '' && <li>{t.folders(folders)}</li>}
        <li>{t.memory(limits.memoryMebibytes)}</li>
        <li>{t.cpus(limits.cpus)}</li>
      </ul>
      <p class="hint">
        {t.image}: <code>{entry.image}</code>
      </p>
    </details>
  );
}

function Settings({
  entry,
  row,
  form = serviceForm(entry, row.settings),
  context,
}: {
  entry: CatalogueEntry;
  row: ServiceRow;
  form?: ServiceForm | undefined;
  context: PageContext;
}): VNode {
  const whole = form.problems.get('');
  return (
    <details class="more" open={form.problems.size > 0}>
      <summary>{t.settings}</summary>
      {whole !== undefined && (
        <p class="notice bad" role="alert">
          {t.settingsProblem(whole)}
        </p>
      )}
      <PostForm
        action={`/services/${row.name}/settings`}
        context={context}
        seen={Object.fromEntries(serviceForm(entry, row.settings).values)}
      >
        <div class="fields">
          {Object.entries(entry.settings).map(([name, spec]) => (
            <SettingField key={name} service={row.name} name={name} spec={spec} form={form} />
          ))}
        </div>
        <div class="row">
          <button type="submit">{t.save}</button>
          <button type="submit" name="reset" value="yes" class="quiet" formNoValidate>
            {t.reset}
          </button>
        </div>
      </PostForm>
    </details>
  );
}

function SettingField({
  service,
  name,
  spec,
  form,
}: {
  service: string;
  name: string;
  spec: SettingSpec;
  form: ServiceForm;
}): VNode {
  const id = `${service}-${name}`;
  const problem = form.problems.get(name);
  const value = form.values.get(name) ?? '';
  const common = {
    id,
    name,
    'aria-invalid': problem === undefined ? undefined : ('true' as const),
    'aria-describedby': problem === undefined ? `${id}-hint` : `${id}-hint ${id}-problem`,
  };
  const choices = choicesOf(spec, value);
  const hint = `${spec.description} ${t.asShipped(defaultText(name, spec))}`;
  return (
    <Field id={id} label={spec.title} hint={hint} problem={problem}>
      {choices === null ? (
        <input {...common} value={value} autocomplete="off" inputMode={spec.type === 'text' ? 'text' : 'decimal'} />
      ) : (
        <select {...common}>
          {choices.map(([choice, label]) => (
            <option key={choice} value={choice} selected={choice === value}>
              {label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function defaultText(name: string, spec: SettingSpec): string {
  const isBytes = name.endsWith('Bytes') && typeof spec.default === 'number';
  return isBytes ? `${spec.default} (${formatBytes(Number(spec.default))})` : String(spec.default);
}

/** With what is stored there now, even where it is not allowed. */
function choicesOf(spec: SettingSpec, value: string): [string, string][] | null {
  if (spec.type === 'boolean')
    return [
      ['true', texts.general.yes],
      ['false', texts.general.no],
    ];
  if (spec.type !== 'choice') return null;
  const choices = spec.choices ?? [];
  return [...choices, ...(choices.includes(value) ? [] : [value])].map((one) => [one, one]);
}
