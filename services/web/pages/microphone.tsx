/** One microphone: what it does, what it records, how it is to record, and what it is. */
import type { VNode } from 'preact';
import { negotiate } from '../../shared/negotiate.ts';
import { type Capabilities, capabilitiesSchema, type ProfileConfig } from '../../shared/profile.ts';
import { SAMPLE_FORMATS } from '../../shared/recording.ts';
import {
  OVERRIDES,
  type Override,
  type SettingsField,
  type SettingsForm,
  settingsForm,
} from '../microphone-settings.ts';
import type { DevicePicture } from '../station-picture.ts';
import type { ProfileRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { Field, formatRate, Page, type PageContext, PostForm } from './layout.tsx';
import { deviceName } from './microphone-card.tsx';
import { type MicrophoneView, microphoneFragments } from './microphone-state.tsx';

export interface MicrophonePageProps {
  view: MicrophoneView;
  form: SettingsForm;
  /** They stand still while the rest moves. */
  recordings: VNode;
}

const t = texts.microphonePage;

export function MicrophonePage({ view, form, recordings }: MicrophonePageProps): VNode {
  const { context, device, profiles } = view;
  const parts = new Map(microphoneFragments(view).map(({ id, element }) => [id, element]));
  const address = `/live?page=microphone&workspace=${device.row.workspace}`;
  return (
    <Page context={context} title={deviceName(device.row)} live={address}>
      <p class="up">
        <a href="/">{t.up}</a>
      </p>
      {parts.get('troubles')}
      <div class="columns">
        <div>
          {parts.get('state')}
          {parts.get('listen')}
          {recordings}
          {parts.get('wellbeing')}
          {parts.get('happened')}
        </div>
        <div>
          {device.row.enrollmentStatus === 'enrolled' && (
            <Settings device={device} profiles={profiles} form={form} context={context} />
          )}
          {parts.get('device')}
          {parts.get('leave')}
        </div>
      </div>
    </Page>
  );
}

function Settings({
  device: { row, profile },
  profiles,
  form,
  context,
}: {
  device: DevicePicture;
  profiles: readonly ProfileRow[];
  form: SettingsForm;
  context: PageContext;
}): VNode {
  const config = profile?.config ?? null;
  const capabilities = capabilitiesSchema.safeParse(row.capabilities).data ?? { offers: [] };
  const outcome = config === null ? null : negotiate(config, capabilities, row.settings);
  const remarks = outcome === null ? [] : outcome.ok ? outcome.warnings : [outcome];
  return (
    <section id="settings" class="card" aria-labelledby="settings-title">
      <h2 id="settings-title">{t.settings}</h2>
      {row.settingsProblem !== null && <p class="notice bad">{t.settingsProblem(row.settingsProblem)}</p>}
      {remarks.map(({ reason, message }) => (
        <p key={reason} class="notice warning">
          {message}
        </p>
      ))}
      <PostForm action={`/microphones/${row.workspace}/settings`} context={context} seen={settingsForm(row).values}>
        <Field id="name-field" label={t.name} hint={t.nameHint(row.product)} problem={form.problems.get('name')}>
          <input
            name="name"
            value={form.values.name}
            autocomplete="off"
            {...described('name-field', true, form, 'name')}
          />
        </Field>
        <Field
          id="profile"
          label={texts.microphone.profile}
          hint={t.profileHint}
          problem={form.problems.get('profile')}
        >
          <select name="profile" {...described('profile', true, form, 'profile')}>
            {profiles.map(({ slug, name }) => (
              <option key={slug} value={slug} selected={slug === form.values.profile}>
                {slug === row.suggestedProfile ? `${name} (${texts.microphone.suggested})` : name}
              </option>
            ))}
          </select>
        </Field>
        <p>
          <a href={`/profiles/${form.values.profile}`}>{t.editProfile}</a>
        </p>
        <fieldset>
          <legend>{t.settingsHint}</legend>
          {OVERRIDES.map((field) => (
            <OverrideField key={field} field={field} form={form} config={config} capabilities={capabilities} />
          ))}
        </fieldset>
        <div class="row">
          <button type="submit">{t.save}</button>
          <button type="submit" name="reset" value="yes" class="quiet" formNoValidate>
            {t.asProfile}
          </button>
        </div>
      </PostForm>
    </section>
  );
}

function described(id: string, hinted: boolean, { problems }: SettingsForm, field: SettingsField) {
  const isWrong = problems.has(field);
  const ids = [...(hinted ? [`${id}-hint`] : []), ...(isWrong ? [`${id}-problem`] : [])];
  return {
    id,
    'aria-invalid': isWrong ? ('true' as const) : undefined,
    'aria-describedby': ids.join(' ') || undefined,
  };
}

function OverrideField({
  field,
  form,
  config,
  capabilities,
}: {
  field: Override;
  form: SettingsForm;
  config: ProfileConfig | null;
  capabilities: Capabilities;
}): VNode {
  const hint = field === 'rate' || field === 'archive' || field === 'gainDb' ? t.fieldHints[field] : undefined;
  const said = config === null ? '' : t.fromProfile(profileSays(config, field));
  const common = { name: field, ...described(field, hint !== undefined, form, field) };
  const value = form.values[field];
  const choices = choicesOf(field, capabilities);
  return (
    <Field id={field} label={t.fields[field]} hint={hint} problem={form.problems.get(field)}>
      {field === 'format' || field === 'archive' ? (
        <select {...common}>
          <option value="">{said}</option>
          {choices.map((choice) => (
            <option key={choice} value={choice} selected={choice === value}>
              {field === 'archive' ? t.archives[choice === 'flac' ? 'flac' : 'wav'] : choice}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...common}
          value={value}
          placeholder={said}
          inputMode={field === 'gainDb' ? 'text' : 'decimal'}
          autocomplete="off"
          list={choices.length > 0 ? `${field}-choices` : undefined}
        />
      )}
      {choices.length > 0 && field !== 'format' && field !== 'archive' && (
        <datalist id={`${field}-choices`}>
          {choices.map((choice) => (
            <option key={choice} value={choice} />
          ))}
        </datalist>
      )}
    </Field>
  );
}

/** Of a range of rates: those that people know. */
const KNOWN_RATES = [16_000, 32_000, 44_100, 48_000, 96_000, 192_000, 250_000, 384_000];

function choicesOf(field: Override, { offers }: Capabilities): string[] {
  switch (field) {
    case 'rate': {
      const rates = offers.flatMap((offer) =>
        offer.rates.kind === 'list'
          ? offer.rates.values
          : [offer.rates.min, offer.rates.max, ...KNOWN_RATES.filter((rate) => isWithin(rate, offer.rates))],
      );
      return [...new Set(rates)].sort((a, b) => a - b).map(String);
    }
    case 'channels':
      return [...new Set(offers.map(({ channels }) => channels))].sort((a, b) => a - b).map(String);
    case 'format':
      return [...SAMPLE_FORMATS];
    case 'archive':
      return ['wav', 'flac'];
    case 'segmentSeconds':
      return ['10', '60', '300', '600'];
    case 'gainDb':
    case 'highPassHz':
      return [];
    default: {
      const impossible: never = field;
      return impossible;
    }
  }
}

function isWithin(rate: number, rates: Capabilities['offers'][number]['rates']): boolean {
  return rates.kind === 'range' && rate > rates.min && rate < rates.max;
}

function profileSays(config: ProfileConfig, field: Override): string {
  const native = (value: number | string, shown: (value: number) => string): string =>
    typeof value === 'number' ? shown(value) : value === 'native' ? t.native : value;
  switch (field) {
    case 'rate':
      return native(config.audio.rate, formatRate);
    case 'channels':
      return native(config.audio.channels, String);
    case 'format':
      return native(config.audio.format, String);
    case 'segmentSeconds':
      return t.seconds(config.segmentSeconds);
    case 'archive':
      return t.archives[config.archive];
    case 'gainDb':
      return `${config.processed.gainDb} dB`;
    case 'highPassHz':
      return `${config.processed.highPassHz} Hz`;
    default: {
      const impossible: never = field;
      return impossible;
    }
  }
}
