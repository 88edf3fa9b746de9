/**
 * What a file says about itself, after its samples: RIFF INFO, which every player shows, and GUANO 1.0 (guano-md.org),
 * which the tools for bats and birds read: UTF-8 lines `Key: value` in a chunk `guan`, each key once, ours under
 * `Silvasonic|`.
 */
import type { GapCause, RecorderConfig } from '../shared/contract.ts';
import type { ClockStep } from './clock.ts';

export interface Gap {
  /** Unix milliseconds, when it was noticed. */
  at: number;
  frames: number;
  cause: GapCause;
}

/** What is known of one segment beside its samples. */
export interface SegmentFacts {
  name: string;
  /** Unix milliseconds of its first frame. */
  startedAt: number;
  /** Of a salvaged file only the second is known. */
  startKnownTo: 'millisecond' | 'second';
  rate: number;
  channels: number;
  bitsPerSample: number;
  frames: number;
  /** Null: not known. */
  clockSynchronised: boolean | null;
  clockSteps: ClockStep[];
  gaps: Gap[];
  salvaged: boolean;
}

/** Beyond this many, only their number is told: the list shall not grow with what goes wrong. */
const MOST_LISTED = 50;

/** The chunks that follow a segment's samples, each of even length. */
export function metadataChunks(facts: SegmentFacts, config: RecorderConfig): Buffer {
  const guano = guanoFields(facts, config).map(([key, value]) => `${key}: ${oneLine(value)}\n`);
  return Buffer.concat([infoList(facts, config), chunk('guan', Buffer.from(guano.join(''), 'utf8'), ' ')]);
}

function guanoFields(facts: SegmentFacts, config: RecorderConfig): [string, string][] {
  const { microphone, station } = config;
  const gapFrames = facts.gaps.reduce((sum, gap) => sum + gap.frames, 0);
  const fields: [string, string][] = [
    ['GUANO|Version', '1.0'],
    ['Timestamp', timestamp(facts)],
    ['Make', microphone.manufacturer],
    ['Model', microphone.model],
    ['Samplerate', String(facts.rate)],
    ['Length', (facts.frames / facts.rate).toFixed(6)],
    ['Original Filename', facts.name],
    ['Loc Position', position(config)],
    ['Serial', microphone.serial],
    ['Silvasonic|Device', microphone.deviceId],
    ['Silvasonic|Microphone', microphone.name],
    ['Silvasonic|Station', station.name],
    ['Silvasonic|Station Id', station.id],
    ['Silvasonic|Format', `${facts.bitsPerSample} bit, ${facts.channels} channel(s)`],
    ['Silvasonic|Clock Synchronised', yesNo(facts.clockSynchronised)],
    ['Silvasonic|Clock Steps', listed(facts.clockSteps.map((step) => `${iso(step.at)} ${step.seconds} s`))],
    ['Silvasonic|Lost Frames', String(gapFrames)],
    ['Silvasonic|Gaps', listed(facts.gaps.map((gap) => `${iso(gap.at)} ${gap.frames} frames ${gap.cause}`))],
    ['Silvasonic|Salvaged', facts.salvaged ? 'yes: the recorder was killed or the power failed while it wrote' : ''],
  ];
  return fields.filter(([, value]) => value.trim() !== '');
}

/** INFO as in the RIFF specification (1991): each text ends in a zero byte. */
function infoList(facts: SegmentFacts, config: RecorderConfig): Buffer {
  const { microphone, station } = config;
  const texts: [string, string][] = [
    ['INAM', facts.name],
    ['IART', station.name],
    ['ISRC', [microphone.manufacturer, microphone.model, microphone.serial].filter((word) => word !== '').join(' ')],
    ['ICRD', timestamp(facts)],
    ['ISFT', 'Silvasonic'],
    ['ICMT', facts.salvaged ? 'salvaged after a power cut or crash' : ''],
  ];
  const parts = texts
    .filter(([, text]) => text.trim() !== '')
    .map(([id, text]) => chunk(id, Buffer.from(`${oneLine(text)}\0`, 'utf8'), '\0'));
  return chunk('LIST', Buffer.concat([Buffer.from('INFO', 'latin1'), ...parts]), '\0');
}

/** A RIFF chunk. GUANO wants its padding to be white space inside the chunk; elsewhere the size does not count it. */
function chunk(id: string, content: Buffer, padding: ' ' | '\0'): Buffer {
  const pad = Buffer.from(content.length % 2 === 1 ? padding : '', 'latin1');
  const head = Buffer.alloc(8);
  head.write(id, 0, 'latin1');
  head.writeUInt32LE(content.length + (padding === ' ' ? pad.length : 0), 4);
  return Buffer.concat([head, content, pad]);
}

function timestamp(facts: SegmentFacts): string {
  const text = iso(facts.startedAt);
  return facts.startKnownTo === 'second' ? text.replace(/\.\d+Z$/, 'Z') : text;
}

function iso(unixMs: number): string {
  return new Date(unixMs).toISOString();
}

function position(config: RecorderConfig): string {
  const { position: at } = config.station;
  return at === null ? '' : `${at.latitude.toFixed(6)} ${at.longitude.toFixed(6)}`;
}

function yesNo(value: boolean | null): string {
  if (value === null) return 'unknown';
  return value ? 'yes' : 'no';
}

function listed(entries: string[]): string {
  const more = entries.length - MOST_LISTED;
  return [...entries.slice(0, MOST_LISTED), ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** A line feed would begin a new field; GUANO writes it as backslash and n. Other control characters go. */
function oneLine(text: string): string {
  return [...text.replace(/\r\n?|\n/g, '\\n')].filter((character) => character >= ' ' || character === '\0').join('');
}
