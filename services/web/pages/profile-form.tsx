/** A profile as a form: made, edited, repaired. */
import type { VNode } from 'preact';
import { SAMPLE_FORMATS } from '../../shared/recording.ts';
import type { ConfigField, ProfileField, ProfileForm } from '../profile-form.ts';
import type { DevicePicture } from '../station-picture.ts';
import { texts } from '../texts.ts';
import { Field, Page, type PageContext, PostForm } from './layout.tsx';
import { Users } from './profiles.tsx';

export interface ProfileFormProps {
  form: ProfileForm;
  /** Of the profile that is edited; null: it is a new one. */
  slug: string | null;
  users: readonly DevicePicture[];
  /** As it is stored; absent: nothing is yet. */
  stored?: ProfileForm['values'];
  /** What is stored can be used. */
  isReadable: boolean;
  context: PageContext;
}

const t = texts.profiles;

/** In groups, in this order. */
const GROUPS: readonly { title: keyof typeof t.groupHints; fields: readonly ConfigField[] }[] = [
  { title: 'match', fields: ['match.vid', 'match.pid', 'match.name', 'match.priority'] },
  { title: 'audio', fields: ['audio.rate', 'audio.channels', 'audio.format', 'segmentSeconds'] },
  { title: 'after', fields: ['archive', 'processed.gainDb', 'processed.highPassHz'] },
  { title: 'watch', fields: ['watch.silentBelowDbfs', 'watch.silentAfterSeconds', 'watch.clipAtDbfs'] },
];

const CHOICES: Partial<Record<ProfileField, readonly string[]>> = {
  'audio.format': ['native', ...SAMPLE_FORMATS],
  archive: ['wav', 'flac'],
};
const SUGGESTIONS: Partial<Record<ProfileField, readonly string[]>> = {
  'audio.rate': ['native', '48000', '96000', '192000', '250000', '384000'],
  'audio.channels': ['native', '1', '2'],
};

export function ProfileFormPage({ form, slug, users, stored, isReadable, context }: ProfileFormProps): VNode {
  const title = slug === null ? t.create : isReadable ? t.editTitle : t.repairTitle;
  const back = slug === null ? '/profiles' : `/profiles/${slug}`;
  const whole = form.problems.get('');
  return (
    <Page context={context} title={title}>
      <p class="up">
        <a href={back}>{slug === null ? t.up : form.values.name || slug}</a>
      </p>
      <h1>{title}</h1>
      {users.length > 0 && (
        <p class="hint">
          {t.usedBy} <Users users={users} />. {t.usedHint}
        </p>
      )}
      {whole !== undefined && (
        <p class="notice bad" role="alert">
          {whole}
        </p>
      )}
      <PostForm action={slug === null ? '/profiles-new' : `${back}/edit`} context={context} class="stack" seen={stored}>
        <section class="card" aria-labelledby="words-title">
          <h2 id="words-title">{t.groups.words}</h2>
          <div class="fields">
            <Input field="name" form={form} />
            {slug === null && <Input field="slug" form={form} />}
            <Input field="manufacturer" form={form} />
            <Input field="model" form={form} />
          </div>
          <Input field="description" form={form} />
        </section>
        {GROUPS.map((group) => (
          <section key={group.title} class="card" aria-labelledby={`${group.title}-title`}>
            <h2 id={`${group.title}-title`}>{t.groups[group.title]}</h2>
            <p class="hint">{t.groupHints[group.title]}</p>
            <div class="fields">
              {group.fields.map((field) => (
                <Input key={field} field={field} form={form} />
              ))}
            </div>
          </section>
        ))}
        <div class="row">
          <button type="submit">{texts.general.save}</button>
          <a class="button quiet" href={back}>
            {texts.general.cancel}
          </a>
        </div>
      </PostForm>
    </Page>
  );
}

function Input({ field, form }: { field: ProfileField; form: ProfileForm }): VNode {
  const id = `field-${field.replace('.', '-')}`;
  const hint = Object.hasOwn(t.hints, field) ? t.hints[field as keyof typeof t.hints] : undefined;
  const problem = form.problems.get(field);
  const ids = [...(hint === undefined ? [] : [`${id}-hint`]), ...(problem === undefined ? [] : [`${id}-problem`])];
  const common = {
    id,
    name: field,
    'aria-invalid': problem === undefined ? undefined : ('true' as const),
    'aria-describedby': ids.join(' ') || undefined,
  };
  return (
    <Field id={id} label={t.fields[field]} hint={hint} problem={problem}>
      <Control field={field} value={form.values[field]} common={common} />
    </Field>
  );
}

function Control({
  field,
  value,
  common,
}: {
  field: ProfileField;
  value: string;
  common: { id: string; name: string };
}): VNode {
  if (field === 'description') return <textarea {...common} value={value} rows={3} />;
  const choices = CHOICES[field];
  if (choices !== undefined) {
    // What is stored there now, even where it is not allowed.
    const all = value === '' || choices.includes(value) ? choices : [...choices, value];
    return (
      <select {...common}>
        {all.map((choice) => (
          <option key={choice} value={choice} selected={choice === value}>
            {choice}
          </option>
        ))}
      </select>
    );
  }
  const suggestions = SUGGESTIONS[field];
  return (
    <>
      <input
        {...common}
        value={value}
        autocomplete="off"
        spellcheck={false}
        list={suggestions === undefined ? undefined : `${common.id}-list`}
      />
      {suggestions !== undefined && (
        <datalist id={`${common.id}-list`}>
          {suggestions.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </>
  );
}
