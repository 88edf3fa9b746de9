/** All profiles: whose they are, what they are recognised by, who uses them. */
import type { VNode } from 'preact';
import type { ProfileConfig, SeedProfile } from '../../shared/profile.ts';
import { differences } from '../profile-impact.ts';
import type { DevicePicture, StationPicture } from '../station-picture.ts';
import type { ProfileRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { formatRate, Page, type PageContext } from './layout.tsx';
import { deviceName } from './microphone-card.tsx';

const t = texts.profiles;

export function ProfilesPage({
  picture,
  seeds,
  context,
}: {
  picture: StationPicture;
  seeds: ReadonlyMap<string, SeedProfile>;
  context: PageContext;
}): VNode {
  const own = picture.profiles.filter(({ isSystem }) => !isSystem);
  const shipped = picture.profiles.filter(({ isSystem }) => isSystem);
  return (
    <Page context={context} title={t.title}>
      <h1>{t.title}</h1>
      <p class="hint">{t.intro}</p>
      <p>
        <a class="button" href="/profiles-new">
          {t.create}
        </a>
      </p>
      {[
        { id: 'own', title: t.own, profiles: own },
        { id: 'shipped', title: t.shipped, profiles: shipped },
      ]
        .filter(({ profiles }) => profiles.length > 0)
        .map(({ id, title, profiles }) => (
          <section key={id} aria-labelledby={`${id}-title`}>
            <h2 id={`${id}-title`}>{title}</h2>
            <ul class="list">
              {profiles.map((profile) => (
                <ProfileLine key={profile.slug} profile={profile} seed={seeds.get(profile.slug)} picture={picture} />
              ))}
            </ul>
          </section>
        ))}
    </Page>
  );
}

function ProfileLine({
  profile,
  seed,
  picture,
}: {
  profile: ProfileRow;
  seed: SeedProfile | undefined;
  picture: StationPicture;
}): VNode {
  const users = picture.devices.filter(({ row }) => row.profileSlug === profile.slug);
  return (
    <li>
      <div class="row">
        <a href={`/profiles/${profile.slug}`}>
          <strong>{profile.name}</strong>
        </a>
        <ProfileBadges profile={profile} seed={seed} />
      </div>
      <ul class="facts">
        {profile.config !== null && <li>{matchText(profile.config.match)}</li>}
        {profile.config !== null && <li>{soundText(profile.config.audio)}</li>}
        {users.length > 0 && (
          <li>
            {t.usedBy} <Users users={users} />
          </li>
        )}
      </ul>
    </li>
  );
}

/** What one must know of it at a glance. */
export function ProfileBadges({ profile, seed }: { profile: ProfileRow; seed: SeedProfile | undefined }): VNode {
  const isChanged = profile.isSystem && seed !== undefined && differences(profile, seed).length > 0;
  return (
    <>
      {profile.config === null && <span class="badge blocked">{t.unreadable}</span>}
      {isChanged && profile.config !== null && <span class="badge pending">{t.changed}</span>}
    </>
  );
}

/** Microphones by name, each a link to its page. */
export function Users({ users }: { users: readonly DevicePicture[] }): VNode {
  return (
    <>
      {users.map(({ row }, index) => (
        <span key={row.id}>
          {index > 0 && ', '}
          <a href={`/microphones/${row.workspace}`}>{deviceName(row)}</a>
        </span>
      ))}
    </>
  );
}

/** What a microphone is recognised by. */
export function matchText({ vid, pid, name }: ProfileConfig['match']): string {
  const ids = pid === null ? vid : `${vid}:${pid}`;
  const words = [...(ids === null ? [] : [t.matchIds(ids)]), ...(name === null ? [] : [t.matchName(name)])];
  return words.length === 0 ? t.matchNothing : words.join(', ');
}

export function soundText({ rate, channels, format }: ProfileConfig['audio']): string {
  if (rate === 'native' && channels === 'native' && format === 'native') return t.allNative;
  const words = [
    rate === 'native' ? t.nativeRate : formatRate(rate),
    channels === 'native' ? t.nativeChannels : t.channelCount(channels),
    format === 'native' ? t.nativeFormat : format,
  ];
  return words.join(', ');
}
