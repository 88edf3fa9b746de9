/** One profile: all that it says, who uses it, what differs from how it came; edit, duplicate, reset, remove. */
import type { VNode } from 'preact';
import type { ProfileConfig, SeedProfile } from '../../shared/profile.ts';
import { type Difference, differences } from '../profile-impact.ts';
import type { StationPicture } from '../station-picture.ts';
import type { ProfileRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { formatRate, Page, type PageContext, Pairs, PostForm } from './layout.tsx';
import { matchText, ProfileBadges, Users } from './profiles.tsx';

export interface ProfilePageProps {
  picture: StationPicture;
  profile: ProfileRow;
  /** As it came with the station; undefined: it did not. */
  seed: SeedProfile | undefined;
  context: PageContext;
}

const t = texts.profiles;

export function ProfilePage({ picture, profile, seed, context }: ProfilePageProps): VNode {
  const users = picture.devices.filter(({ row }) => row.profileSlug === profile.slug);
  const changes = seed !== undefined && profile.isSystem ? differences(profile, seed) : [];
  return (
    <Page context={context} title={profile.name}>
      <p class="up">
        <a href="/profiles">{t.up}</a>
      </p>
      <article class="card stack" aria-labelledby="profile-name">
        <header>
          <h1 id="profile-name">{profile.name}</h1>
          <ProfileBadges profile={profile} seed={seed} />
        </header>
        {profile.description !== '' && <p class="text">{profile.description}</p>}
        {profile.problem !== null && (
          <p class="notice bad" role="alert">
            {t.problem(profile.problem)}
          </p>
        )}
        <Pairs
          rows={[
            [t.slug, <code>{profile.slug}</code>],
            [t.whose, profile.isSystem ? t.comesWithStation : t.yourOwn],
            ...(profile.manufacturer === '' ? [] : [[t.fields.manufacturer, profile.manufacturer] as const]),
            ...(profile.model === '' ? [] : [[t.fields.model, profile.model] as const]),
            [t.usedBy, users.length === 0 ? t.nobody : <Users users={users} />],
          ]}
        />
        {profile.config !== null && <Pairs rows={whatItSays(profile.config)} />}
        <div class="row">
          <a class="button" href={`/profiles/${profile.slug}/edit`}>
            {profile.config === null ? t.repair : t.edit}
          </a>
          <a class="button quiet" href={`/profiles-new?from=${profile.slug}`}>
            {t.duplicate}
          </a>
          {!profile.isSystem && users.length === 0 && (
            <PostForm action={`/profiles/${profile.slug}/delete`} context={context}>
              <button type="submit" class="quiet">
                {t.remove}
              </button>
            </PostForm>
          )}
        </div>
        {!profile.isSystem && users.length > 0 && <p class="hint">{t.removeLater}</p>}
      </article>
      {changes.length > 0 && <Changes profile={profile} changes={changes} context={context} />}
    </Page>
  );
}

function whatItSays({ match, audio, segmentSeconds, archive, processed, watch }: ProfileConfig) {
  const native = (value: number | string, shown: (value: number) => string): string =>
    typeof value === 'number' ? shown(value) : value === 'native' ? t.native : value;
  return [
    [t.recognisedBy, match.priority === 0 ? matchText(match) : `${matchText(match)}, ${t.priorityOf(match.priority)}`],
    [t.fields['audio.rate'], native(audio.rate, formatRate)],
    [t.fields['audio.channels'], native(audio.channels, String)],
    [t.fields['audio.format'], native(audio.format, String)],
    [t.fields.segmentSeconds, t.seconds(segmentSeconds)],
    [t.fields.archive, texts.microphonePage.archives[archive]],
    [t.fields['processed.gainDb'], `${processed.gainDb} dB`],
    [t.fields['processed.highPassHz'], processed.highPassHz === 0 ? t.noHighPass : `${processed.highPassHz} Hz`],
    [t.silent, t.silentOf(watch.silentBelowDbfs, watch.silentAfterSeconds)],
    [t.fields['watch.clipAtDbfs'], `${watch.clipAtDbfs} dBFS`],
  ] as const;
}

function Changes({
  profile,
  changes,
  context,
}: {
  profile: ProfileRow;
  changes: readonly Difference[];
  context: PageContext;
}): VNode {
  return (
    <section class="card changes" aria-labelledby="changes-title">
      <h2 id="changes-title">{t.changes}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{t.field}</th>
            <th scope="col">{t.here}</th>
            <th scope="col">{t.asItCame}</th>
          </tr>
        </thead>
        <tbody>
          {changes.map(({ field, here, shipped }) => (
            <tr key={field}>
              <th scope="row">{labelOf(field)}</th>
              <td>{here === '' ? '–' : here}</td>
              <td>{shipped === '' ? '–' : shipped}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <PostForm action={`/profiles/${profile.slug}/reset`} context={context} class="after">
        <button type="submit" class="quiet">
          {t.reset}
        </button>
      </PostForm>
    </section>
  );
}

function labelOf(field: string): string {
  return Object.hasOwn(t.fields, field) ? t.fields[field as keyof typeof t.fields] : field;
}
