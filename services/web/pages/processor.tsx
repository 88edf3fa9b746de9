/** What the processor says of its own work: what waits, the disk, what cannot be used. */
import type { VNode } from 'preact';
import type { ProcessorStatus } from '../../shared/contract.ts';
import type { ServiceRow } from '../station-queries.ts';
import { texts } from '../texts.ts';
import { formatBytes, Pairs } from './layout.tsx';

const t = texts.processor;

/** `status` null: it says nothing. */
export function ProcessorWork({ row, status }: { row: ServiceRow; status: ProcessorStatus | null }): VNode {
  const runs = row.phase === 'running' || row.phase === 'stalled';
  return (
    <div id="processor-work" hidden={!runs}>
      {status === null ? <p class="hint">{t.silent}</p> : <Work status={status} />}
    </div>
  );
}

function Work({ status }: { status: ProcessorStatus }): VNode {
  return (
    <>
      <p>
        <strong>{t.states[status.state]}</strong> {status.message}
      </p>
      <Pairs rows={figures(status)} />
      {status.brokenCount > 0 && <Broken status={status} />}
    </>
  );
}

function Broken({ status }: { status: ProcessorStatus }): VNode {
  const more = status.brokenCount - status.broken.length;
  return (
    <details class="more">
      <summary class="bad">{t.broken(status.brokenCount)}</summary>
      <ul>
        {status.broken.map(({ name, message }) => (
          <li key={name}>
            <code>{name}</code>: {message}
          </li>
        ))}
        {more > 0 && <li>{t.more(more)}</li>}
      </ul>
    </details>
  );
}

function figures({ backlog, done, disk, removed }: ProcessorStatus): (readonly [string, string | number])[] {
  return [
    [t.backlog, backlog],
    [t.done, done],
    ...(disk === null ? [] : figuresOfDisk(disk)),
    ...(removed.recordings + removed.copies === 0
      ? []
      : [[t.removed, t.removedOf(removed.recordings, removed.copies)] as const]),
  ];
}

function figuresOfDisk(disk: NonNullable<ProcessorStatus['disk']>): (readonly [string, string])[] {
  return [
    [t.disk, t.diskOf(formatBytes(disk.freeBytes), formatBytes(disk.totalBytes))],
    [t.reserve, formatBytes(disk.reserveBytes)],
    ...(disk.growthBytesPerDay === null ? [] : [[t.growth, formatBytes(disk.growthBytesPerDay)] as const]),
    ...(disk.fullInDays === null ? [] : [[t.full, t.days(disk.fullInDays)] as const]),
  ];
}
