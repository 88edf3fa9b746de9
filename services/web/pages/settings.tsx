/** The station's own settings, one form for each kind. */
import type { VNode } from 'preact';
import { type CatalogueEntry, parseServiceSettings } from '../../shared/catalogue.ts';
import { TEXT_LIMIT } from '../../shared/schema.ts';
import { browserName } from '../browser-name.ts';
import type { Fields } from '../form-text.ts';
import { PASSWORD_LENGTH } from '../password.ts';
import type { SignedInBrowser } from '../session-queries.ts';
import {
  ALERT_ADDRESSES,
  ALERT_LIMITS,
  limitsForm,
  maskedAddress,
  type Problems,
  placeForm,
  SWITCHES,
  storedAlerts,
  switchesForm,
} from '../settings-form.ts';
import type { StationPicture } from '../station-picture.ts';
import { texts } from '../texts.ts';
import { Field, Page, type PageContext, PostForm, Time } from './layout.tsx';
import { PasswordFields, type SetupProblems } from './sign-in.tsx';

/** Forms that were refused: what was filled in, and what is wrong with it. */
export interface SettingsForms {
  place: { fields: Fields; problems: Problems };
  alerts: { fields: Fields; problems: Problems };
  password: Pick<SetupProblems, 'password' | 'repeat'> & { old?: string };
}

export interface SettingsProps {
  picture: StationPicture;
  catalogue: readonly CatalogueEntry[];
  browsers: readonly SignedInBrowser[];
  /** Digest of the browser that asks. */
  current: string;
  wrong: Partial<SettingsForms>;
  context: PageContext;
}

const t = texts.settings;

export function SettingsPage(props: SettingsProps): VNode {
  return (
    <Page context={props.context} title={t.title}>
      <h1>{t.title}</h1>
      <div class="columns">
        <div>
          <Place {...props} />
          <Switches {...props} />
          <Storage {...props} />
          <Browsers {...props} />
        </div>
        <div>
          <Alerts {...props} />
          <Password {...props} />
        </div>
      </div>
    </Page>
  );
}

const NOTHING_WRONG: Problems = new Map();

function Place({ picture: { settings }, wrong: { place }, context }: SettingsProps): VNode {
  const problems = place?.problems ?? NOTHING_WRONG;
  const stored = placeForm(settings);
  const values = place === undefined ? stored : place.fields;
  return (
    <section id="place" class="card" aria-labelledby="place-title">
      <h2 id="place-title">{t.place}</h2>
      <PostForm action="/settings/place" context={context} seen={stored}>
        <Field id="station-name" label={t.name} hint={t.nameHint} problem={problems.get('name')}>
          <input
            name="name"
            value={values.name}
            maxLength={TEXT_LIMIT.name}
            autocomplete="off"
            {...described('station-name', true, problems.has('name'))}
          />
        </Field>
        <div class="fields">
          {(['latitude', 'longitude'] as const).map((name) => (
            <Field key={name} id={name} label={t[name]} hint={t.degreesHint[name]} problem={problems.get(name)}>
              <input
                name={name}
                value={values[name]}
                inputMode="text"
                autocomplete="off"
                {...described(name, true, problems.has(name))}
              />
            </Field>
          ))}
        </div>
        <p class="hint">{t.positionHint}</p>
        <button type="submit">{texts.general.save}</button>
      </PostForm>
    </section>
  );
}

/** `hinted`: the field has a hint; `isWrong`: and a sentence about what is wrong. */
function described(id: string, hinted: boolean, isWrong: boolean) {
  const ids = [...(hinted ? [`${id}-hint`] : []), ...(isWrong ? [`${id}-problem`] : [])];
  return {
    id,
    'aria-invalid': isWrong ? ('true' as const) : undefined,
    'aria-describedby': ids.join(' ') || undefined,
  };
}

function Switches({ picture: { settings }, context }: SettingsProps): VNode {
  return (
    <section id="switches" class="card" aria-labelledby="switches-title">
      <h2 id="switches-title">{t.switches}</h2>
      <PostForm action="/settings/switches" context={context} seen={switchesForm(settings)}>
        {SWITCHES.map((name) => (
          <div key={name} class="check">
            <input
              type="checkbox"
              id={name}
              name={name}
              value="yes"
              checked={settings[name]}
              aria-describedby={`${name}-hint`}
            />
            <label for={name}>{t.switch[name].title}</label>
            <small id={`${name}-hint`} class="hint">
              {t.switch[name].hint}
            </small>
          </div>
        ))}
        <button type="submit">{texts.general.save}</button>
      </PostForm>
    </section>
  );
}

/** Retention is the processor's, and is set there. */
function Storage({ picture, catalogue }: SettingsProps): VNode | null {
  const row = picture.services.find(({ name }) => name === 'processor');
  const entry = catalogue.find(({ name }) => name === 'processor');
  if (row === undefined || entry === undefined) return null;
  const read = parseServiceSettings(entry, row.settings);
  const { retention } = read.ok ? read.value : {};
  const says =
    retention === 'overwrite' ? t.retention.overwrite : retention === 'keep' ? t.retention.keep : t.retention.unknown;
  return (
    <section id="storage" class="card" aria-labelledby="storage-title">
      <h2 id="storage-title">{t.storage}</h2>
      <p>{row.enabled ? says : t.retention.off}</p>
      <p>
        <a href="/services#processor">{t.retention.change}</a>
      </p>
    </section>
  );
}

function Alerts({ picture: { settings }, wrong, context }: SettingsProps): VNode {
  const { alerts, problem } = storedAlerts(settings.alerts);
  const problems = wrong.alerts?.problems ?? NOTHING_WRONG;
  const hasReceiver = alerts.ntfyUrl !== null || alerts.webhookUrl !== null;
  return (
    <section id="alerts" class="card" aria-labelledby="alerts-title">
      <h2 id="alerts-title">{t.alerts}</h2>
      <p class="hint">{t.alertsHint}</p>
      {problem !== null && <p class="notice bad">{t.alertsProblem(problem)}</p>}
      <PostForm action="/settings/alerts" context={context} seen={limitsForm(alerts)}>
        {ALERT_ADDRESSES.map((name) => (
          <AddressField
            key={name}
            name={name}
            stored={alerts[name]}
            typed={wrong.alerts?.fields[name]}
            problem={problems.get(name)}
          />
        ))}
        <div class="fields">
          {ALERT_LIMITS.map((name) => (
            <Field key={name} id={name} label={t.limits[name]} problem={problems.get(name)}>
              <input
                name={name}
                value={wrong.alerts?.fields[name] ?? String(alerts[name])}
                inputMode="numeric"
                autocomplete="off"
                {...described(name, false, problems.has(name))}
              />
            </Field>
          ))}
        </div>
        <button type="submit">{texts.general.save}</button>
      </PostForm>
      {hasReceiver && (
        <PostForm action="/settings/alerts/test" context={context} class="after">
          <button type="submit" class="quiet">
            {t.test}
          </button>{' '}
          <a href="/events?subject=station">{t.testWhere}</a>
        </PostForm>
      )}
    </section>
  );
}

function AddressField({
  name,
  stored,
  typed,
  problem,
}: {
  name: (typeof ALERT_ADDRESSES)[number];
  stored: string | null;
  typed: string | undefined;
  problem: string | undefined;
}): VNode {
  const { label, hint } = t.addresses[name];
  return (
    <>
      <Field id={name} label={label} hint={stored === null ? hint : t.kept(maskedAddress(stored))} problem={problem}>
        <input
          name={name}
          value={typed ?? ''}
          type="text"
          inputMode="url"
          placeholder={stored === null ? 'https://' : maskedAddress(stored)}
          autocomplete="off"
          spellcheck={false}
          {...described(name, true, problem !== undefined)}
        />
      </Field>
      {stored !== null && (
        <div class="check">
          <input type="checkbox" id={`${name}Remove`} name={`${name}Remove`} value="yes" />
          <label for={`${name}Remove`}>{t.removeAddress}</label>
        </div>
      )}
    </>
  );
}

function Password({ wrong, context }: SettingsProps): VNode {
  const problems = wrong.password ?? {};
  return (
    <section id="password-form" class="card" aria-labelledby="password-title">
      <h2 id="password-title">{t.password}</h2>
      <PostForm action="/settings/password" context={context}>
        <Field id="old" label={t.oldPassword} problem={problems.old}>
          <input
            name="old"
            type="password"
            autocomplete="current-password"
            maxLength={PASSWORD_LENGTH.max}
            required
            {...described('old', false, problems.old !== undefined)}
          />
        </Field>
        <PasswordFields problems={problems} />
        <p class="hint">{t.passwordHint}</p>
        <button type="submit">{t.changePassword}</button>
      </PostForm>
    </section>
  );
}

function Browsers({ browsers, current, context }: SettingsProps): VNode {
  return (
    <section id="browsers" class="card" aria-labelledby="browsers-title">
      <h2 id="browsers-title">{t.browsers}</h2>
      <ul class="plain">
        {browsers.map(({ digest, userAgent, createdAt, lastUsedAt }) => (
          <li key={digest}>
            <strong>{browserName(userAgent)}</strong>
            {digest === current && ` ${t.thisBrowser}`}
            <br />
            <small class="hint">
              {t.signedInAt} <Time at={createdAt} />, {t.lastUsed} <Time at={lastUsedAt} ago />
            </small>
          </li>
        ))}
      </ul>
      {browsers.length > 1 && (
        <PostForm action="/settings/browsers" context={context} class="after">
          <button type="submit" class="quiet">
            {t.signOutOthers}
          </button>
        </PostForm>
      )}
    </section>
  );
}
