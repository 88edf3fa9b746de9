/** Live sound on a microphone's page. Without JavaScript the browser's own player does it. */
import type { VNode } from 'preact';
import { livePath } from '../../shared/contract.ts';
import type { DeviceRow } from '../station-queries.ts';
import { texts } from '../texts.ts';

export function ListeningSection({
  row,
  isAllowed,
}: {
  row: Pick<DeviceRow, 'workspace'>;
  /** By the station's settings. */
  isAllowed: boolean;
}): VNode {
  const t = texts.listening;
  const address = livePath(row.workspace).replace(/wav$/, 'mp3');
  return (
    <section id="listen" key="listen" class="card" aria-labelledby="listen-title">
      <h2 id="listen-title">{t.title}</h2>
      {isAllowed ? (
        <div
          data-keep
          data-listen={address}
          data-start={t.start}
          data-stop={t.stop}
          data-connecting={t.connecting}
          data-playing={t.playing}
          data-lost={t.lost}
        >
          <button type="button" hidden>
            {t.start}
          </button>
          <p class="listening" role="status" hidden />
          <audio controls preload="none" src={address} aria-labelledby="listen-title" />
          <p class="hint">{t.hint}</p>
        </div>
      ) : (
        <>
          <p>{t.offTitle}</p>
          <p class="hint">
            {t.offHint} <a href="/settings#live-listening">{t.offLink}</a>
          </p>
        </>
      )}
    </section>
  );
}
